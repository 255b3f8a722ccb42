//! Where `unsafe` may stand.

use super::Finding;
use crate::rust_code::{code_only, line_of, words};
use crate::tree::Tree;

/// The crates that may hold `unsafe`, by their folder, with the decision record that
/// says why.
const ALLOWED: [(&str, &str); 1] = [("packetdrill", "decisions/0023-unsafe-where-c-calls-in.md")];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    check_against(&ALLOWED, tree)
}

fn check_against(allowed: &[(&str, &str)], tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.rust_files() {
        let owner = path
            .strip_prefix("crates/")
            .unwrap_or(path)
            .split('/')
            .next();
        let record = allowed.iter().find(|(folder, _)| Some(*folder) == owner);
        let message = match record {
            Some((_, record)) if tree.contains(record) => continue,
            Some((_, record)) => format!("`unsafe`, but its record {record} is missing; write it"),
            None => "`unsafe` in a crate without a record for it; do without, or write a \
                     decision record and list it in xtask/src/tidy/unsafe_code.rs"
                .to_owned(),
        };
        let code = code_only(source);
        let uses = words(&code).filter(|(_, word)| *word == "unsafe");
        findings.extend(uses.map(|(at, _)| Finding::new(path, line_of(&code, at), &*message)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::check as check_rule;
    use super::*;

    const SOURCE: &str = "// unsafe\nfn f() {\n    unsafe { g() }\n}\n";
    const FILE: (&str, &str) = ("crates/tcp/src/lib.rs", SOURCE);
    const RECORD: &str = "decisions/0007-unsafe-in-tcp.md";

    #[test]
    fn unsafe_needs_a_listed_crate_and_its_record() {
        check_rule(check, [FILE], &[(FILE.0, 3, "without a record")]);
        let listed = |tree: &Tree| check_against(&[("tcp", RECORD)], tree);
        check_rule(
            listed,
            [FILE],
            &[(FILE.0, 3, "record decisions/0007-unsafe-in-tcp.md is miss")],
        );
        check_rule(listed, [FILE, (RECORD, "")], &[]);
    }

    #[test]
    fn a_comment_or_a_name_is_not_unsafe_code() {
        let source = "#![forbid(unsafe_code)]\n/// An unsafe thing.\nconst A: &str = \"unsafe\";\n";
        check_rule(check, [("crates/tcp/src/lib.rs", source)], &[]);
    }
}
