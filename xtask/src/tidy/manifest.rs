//! The crates' manifests, and the rules that need nothing else.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Finding;
use crate::rust_code::line_of;
use crate::tree::Tree;

/// The crates that may depend on `anyhow`: those that report to a person.
const ANYHOW_ALLOWED: [&str; 3] = ["packhorse", "packhorse-wan", "xtask"];

/// What the rules ask of a `Cargo.toml`.
#[derive(Debug)]
pub(super) struct Manifest<'a> {
    pub(super) path: &'a str,
    pub(super) package: String,
    /// Where the name stands.
    pub(super) package_line: usize,
    inherits_lints: bool,
    /// Those for tests, for builds and for single targets too.
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub(super) struct Dependency {
    /// The crate's own name, whatever this manifest calls it.
    pub(super) package: String,
    pub(super) line: usize,
}

impl Manifest<'_> {
    /// The crate's folder: `tcp` for `crates/tcp/Cargo.toml`.
    pub(super) fn folder(&self) -> &str {
        let mut parts = self.path.rsplit('/');
        parts.nth(1).unwrap_or_default()
    }
}

/// The manifests of the workspace's members that can be read.
pub(super) fn all(tree: &Tree) -> Vec<Manifest<'_>> {
    members(tree)
        .filter_map(|(path, text)| parse(path, text).ok())
        .collect()
}

/// Every manifest must be TOML with a package name.
pub(super) fn check_readable(tree: &Tree) -> Vec<Finding> {
    members(tree)
        .filter_map(|(path, text)| parse(path, text).err())
        .collect()
}

/// A folder is named as its crate, without the prefix.
pub(super) fn check_folders(tree: &Tree) -> Vec<Finding> {
    let manifests = all(tree).into_iter();
    let misnamed = manifests.filter(|manifest| {
        let package = manifest.package.as_str();
        package.strip_prefix("packhorse-").unwrap_or(package) != manifest.folder()
    });
    misnamed
        .map(|manifest| {
            let (package, folder) = (&manifest.package, manifest.folder());
            let message = format!(
                "crate `{package}` lives in the folder `{folder}`; \
                 name the folder after the crate, without `packhorse-`"
            );
            Finding::new(manifest.path, manifest.package_line, message)
        })
        .collect()
}

/// Every crate takes its lints from the workspace.
pub(super) fn check_lints(tree: &Tree) -> Vec<Finding> {
    let without = all(tree)
        .into_iter()
        .filter(|manifest| !manifest.inherits_lints);
    without
        .map(|manifest| {
            let message = "no workspace lints; add `[lints]` with `workspace = true`";
            Finding::new(manifest.path, 1, message)
        })
        .collect()
}

/// A library's errors are its own types.
pub(super) fn check_anyhow(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in all(tree) {
        if ANYHOW_ALLOWED.contains(&manifest.package.as_str()) {
            continue;
        }
        let uses = manifest
            .dependencies
            .iter()
            .filter(|used| used.package == "anyhow");
        findings.extend(uses.map(|used| {
            let message = format!(
                "library `{}` depends on `anyhow`; give the operation an error enum \
                 with `thiserror`",
                manifest.package
            );
            Finding::new(manifest.path, used.line, message)
        }));
    }
    findings
}

fn members(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.texts()
        .filter(|(path, _)| match path.strip_suffix("/Cargo.toml") {
            Some("tools/wan" | "xtask") => true,
            Some(folder) => folder
                .strip_prefix("crates/")
                .is_some_and(|name| !name.contains('/')),
            None => false,
        })
}

fn parse<'a>(path: &'a str, text: &str) -> Result<Manifest<'a>, Finding> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Finding::new(path, line, format!("not readable: {}", error.message()))
    })?;
    let document = document.get_ref();
    let package = document
        .get("package")
        .and_then(|package| package.get_ref().get("name"));
    let named = package.and_then(|name| Some((name.get_ref().as_str()?, name.span().start)));
    let (package, package_at) =
        named.ok_or_else(|| Finding::new(path, 1, "no package name; add `[package] name`"))?;
    let lints = document
        .get("lints")
        .and_then(|lints| lints.get_ref().get("workspace"));
    Ok(Manifest {
        path,
        package: package.to_owned(),
        package_line: line_of(text, package_at),
        inherits_lints: lints.and_then(|value| value.get_ref().as_bool()) == Some(true),
        dependencies: dependencies(document, text),
    })
}

/// The dependencies of every kind, also those under `[target.…]`.
fn dependencies(document: &DeTable<'_>, text: &str) -> Vec<Dependency> {
    let targets = document
        .get("target")
        .and_then(|targets| targets.get_ref().as_table());
    let for_targets = targets
        .into_iter()
        .flat_map(DeTable::values)
        .filter_map(|t| t.get_ref().as_table());
    let mut found = Vec::new();
    for parent in std::iter::once(document).chain(for_targets) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = parent
                .get(kind)
                .and_then(|table| table.get_ref().as_table());
            for (key, value) in table.into_iter().flatten() {
                found.push(Dependency {
                    package: real_name(value).unwrap_or(key.get_ref()).to_owned(),
                    line: line_of(text, key.span().start),
                });
            }
        }
    }
    found
}

/// The name under `package`, by which a dependency goes that was given another.
fn real_name<'a>(value: &'a Spanned<DeValue<'_>>) -> Option<&'a str> {
    value.get_ref().get("package")?.get_ref().as_str()
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const GOOD: &str = "[package]\nname = 'packhorse-tcp'\n[lints]\nworkspace = true\n";

    #[test]
    fn a_manifest_can_be_read() {
        check(check_readable, [("crates/tcp/Cargo.toml", GOOD)], &[]);
        check(
            check_readable,
            [("crates/tcp/Cargo.toml", "[package]\nname 1\n")],
            &[("crates/tcp/Cargo.toml", 2, "not readable")],
        );
        check(
            check_readable,
            [("crates/tcp/Cargo.toml", "[package]\n")],
            &[("crates/tcp/Cargo.toml", 1, "no package name")],
        );
    }

    #[test]
    fn a_folder_has_its_crates_name() {
        check(check_folders, [("crates/tcp/Cargo.toml", GOOD)], &[]);
        check(
            check_folders,
            [("crates/udp/Cargo.toml", GOOD)],
            &[("crates/udp/Cargo.toml", 2, "lives in the folder `udp`")],
        );
    }

    #[test]
    fn lints_come_from_the_workspace() {
        check(check_lints, [("crates/tcp/Cargo.toml", GOOD)], &[]);
        for lints in [
            "",
            "[lints]\nworkspace = false\n",
            "[lints.rust]\nunsafe_code = 'allow'\n",
        ] {
            let text = format!("[package]\nname = 'packhorse-tcp'\n{lints}");
            check(
                check_lints,
                [("crates/tcp/Cargo.toml", text.as_str())],
                &[("crates/tcp/Cargo.toml", 1, "no workspace lints")],
            );
        }
    }

    #[test]
    fn a_library_has_no_anyhow() {
        for (package, dependency, lines) in [
            (
                "packhorse",
                "[dependencies]\nanyhow.workspace = true\n",
                vec![],
            ),
            ("packhorse-tcp", "[dependencies]\nthiserror = '2'\n", vec![]),
            (
                "packhorse-tcp",
                "[dependencies]\nanyhow.workspace = true\n",
                vec![4],
            ),
            (
                "packhorse-tcp",
                "[dev-dependencies]\nx = { package = 'anyhow' }\n",
                vec![4],
            ),
            (
                "packhorse-tcp",
                "[target.'cfg(unix)'.dependencies]\nanyhow = '1'\n",
                vec![4],
            ),
        ] {
            let text = format!("[package]\nname = '{package}'\n{dependency}");
            let path = "crates/tcp/Cargo.toml";
            let expected: Vec<_> = lines
                .iter()
                .map(|line| (path, *line, "thiserror"))
                .collect();
            check(check_anyhow, [(path, text.as_str())], &expected);
        }
    }
}
