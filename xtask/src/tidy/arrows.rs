//! Which crate of the workspace may use which.

use super::{Finding, manifest};
use crate::tree::Tree;

/// Every crate by its folder, with those it may depend on, in tests as elsewhere.
///
/// An arrow that is missing here is a decision about the architecture: change
/// `ARCHITECTURE.md` with it, and say why in a decision record.
const ARROWS: [(&str, &[&str]); 11] = [
    (
        "packhorse",
        &[
            "client",
            "protocol",
            "server",
            "storage",
            "tcp",
            "transport",
            "web",
        ],
    ),
    ("server", &["protocol", "storage", "transport", "web"]),
    ("client", &["protocol", "storage", "transport"]),
    ("web", &["protocol", "storage"]),
    ("transport", &["protocol", "tcp"]),
    ("storage", &["protocol"]),
    ("protocol", &[]),
    ("tcp", &[]),
    // Beside the house: no product crate depends on these.
    ("wan", &[]),
    ("packetdrill", &["tcp"]),
    (
        "sim",
        &[
            "client",
            "packetdrill",
            "packhorse",
            "protocol",
            "server",
            "storage",
            "tcp",
            "transport",
            "web",
        ],
    ),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in manifest::all(tree) {
        let Some(from) = crate_name(&manifest.package) else {
            continue;
        };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
            let message = format!(
                "crate `{}` is not in the list of crates; \
                 give it a row and its arrows in xtask/src/tidy/arrows.rs",
                manifest.package
            );
            findings.push(Finding::new(manifest.path, manifest.package_line, message));
            continue;
        };
        for used in &manifest.dependencies {
            let Some(to) = crate_name(&used.package) else {
                continue;
            };
            if !allowed.contains(&to) {
                let message = format!(
                    "`{from}` may not depend on `{to}`, only on [{}]; \
                     move the code to where its users may reach it",
                    allowed.join(", ")
                );
                findings.push(Finding::new(manifest.path, used.line, message));
            }
        }
    }
    findings
}

/// A workspace crate's name without the prefix; `None` for any other crate.
fn crate_name(package: &str) -> Option<&str> {
    if package == "packhorse" {
        Some(package)
    } else {
        package.strip_prefix("packhorse-")
    }
}

#[cfg(test)]
mod tests {
    use super::super::check as check_rule;
    use super::*;

    #[test]
    fn only_listed_arrows_are_allowed() {
        for (from, kind, to, message) in [
            ("packhorse", "dependencies", "packhorse-server", None),
            ("packhorse-server", "dependencies", "packhorse-web", None),
            ("packhorse-storage", "dependencies", "bytes", None),
            (
                "packhorse-sim",
                "dev-dependencies",
                "packhorse-client",
                None,
            ),
            (
                "packhorse-packetdrill",
                "dependencies",
                "packhorse-tcp",
                None,
            ),
            (
                "packhorse-storage",
                "dependencies",
                "packhorse-transport",
                Some("`storage` may not depend on `transport`, only on [protocol]"),
            ),
            (
                "packhorse-tcp",
                "dev-dependencies",
                "packhorse-sim",
                Some("`tcp` may not depend on `sim`"),
            ),
            (
                "packhorse-web",
                "build-dependencies",
                "packhorse",
                Some("`web` may not depend on `packhorse`"),
            ),
            (
                "packhorse-web",
                "target.'cfg(unix)'.dependencies",
                "packhorse-tcp",
                Some("`web` may not depend on `tcp`"),
            ),
        ] {
            let text = format!("[package]\nname = '{from}'\n[{kind}]\n{to}.workspace = true\n");
            let path = "crates/x/Cargo.toml";
            let expected: Vec<_> = message.iter().map(|words| (path, 4, *words)).collect();
            check_rule(check, [(path, text.as_str())], &expected);
        }
    }

    #[test]
    fn a_crate_must_be_listed() {
        let text = "[package]\nname = 'packhorse-queue'\n";
        check_rule(
            check,
            [("crates/queue/Cargo.toml", text)],
            &[(
                "crates/queue/Cargo.toml",
                2,
                "crate `packhorse-queue` is not in the list",
            )],
        );
    }

    #[test]
    fn arrows_point_to_listed_crates() {
        for (from, allowed) in ARROWS {
            for to in allowed {
                assert!(ARROWS.iter().any(|(name, _)| name == to), "{from} to {to}");
            }
        }
    }
}
