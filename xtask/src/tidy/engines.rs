//! Engines are given the time; clippy keeps them from asking for it.

use toml::de::{DeTable, DeValue};

use super::Finding;
use crate::tree::Tree;

/// The crates that do no I/O, by their folder.
const ENGINES: [&str; 2] = ["protocol", "tcp"];

/// What the `clippy.toml` of an engine must ban.
const BANNED: [&str; 3] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::sleep",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for engine in ENGINES {
        if !tree.contains(&format!("crates/{engine}")) {
            continue;
        }
        let path = format!("crates/{engine}/clippy.toml");
        let banned = tree.text(&path).map(disallowed_methods).unwrap_or_default();
        let missing = BANNED
            .iter()
            .filter(|method| !banned.iter().any(|name| name == *method));
        findings.extend(missing.map(|method| {
            let message =
                format!("engine `{engine}` must ban `{method}`; add it to disallowed-methods");
            Finding::new(&path, 1, message)
        }));
    }
    findings
}

/// The paths under `disallowed-methods`, each a string or a table with a `path`.
fn disallowed_methods(text: &str) -> Vec<String> {
    let Ok(document) = DeTable::parse(text) else {
        return Vec::new();
    };
    let methods = document.get_ref().get("disallowed-methods");
    let methods = methods.and_then(|list| list.get_ref().as_array());
    let paths = methods
        .into_iter()
        .flatten()
        .filter_map(|method| match method.get_ref() {
            DeValue::Table(table) => table.get("path")?.get_ref().as_str(),
            other => other.as_str(),
        });
    paths.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::check as check_rule;
    use super::*;

    const LIB: (&str, &str) = ("crates/tcp/src/lib.rs", "");
    const PATH: &str = "crates/tcp/clippy.toml";

    #[test]
    fn an_engine_bans_the_clock() {
        let good = "disallowed-methods = [
            'std::time::Instant::now',
            { path = 'std::time::SystemTime::now', reason = 'none' },
            'std::thread::sleep',
        ]";
        check_rule(check, [LIB, (PATH, good)], &[]);
    }

    #[test]
    fn a_missing_ban_is_found() {
        let missing = BANNED.map(|method| (PATH, 1, method));
        let commented = "# std::time::Instant::now, std::thread::sleep";
        check_rule(check, [LIB], &missing);
        check_rule(check, [LIB, (PATH, commented)], &missing);
        let one = "disallowed-methods = ['std::time::Instant::now']";
        check_rule(check, [LIB, (PATH, one)], &missing[1..]);
    }

    #[test]
    fn other_crates_may_read_the_clock() {
        check_rule(check, [("crates/client/src/lib.rs", "")], &[]);
    }
}
