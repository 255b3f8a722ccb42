//! White space, and what a debugging session leaves behind.

use super::Finding;
use crate::rust_code::{code_only, words};
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, text)| is_ours(path, text)) {
        let is_rust = path.ends_with(".rs");
        let code = if is_rust {
            code_only(text)
        } else {
            String::new()
        };
        let mut code_lines = code.lines();
        // Split, not `lines`, which would hide a carriage return.
        for (index, line) in text.split('\n').enumerate() {
            let mut found = |message| findings.push(Finding::new(path, index + 1, message));
            if line.ends_with(char::is_whitespace) {
                found("white space at the end of the line; remove it");
            }
            if is_rust && line.contains('\t') {
                found("a tab; indent with spaces, write `\\t` in a string");
            }
            if code_lines.next().is_some_and(calls_dbg) {
                found("`dbg!` is for the moment; remove it");
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            let message = "no newline at the end of the file; add one";
            findings.push(Finding::new(path, text.lines().count(), message));
        }
    }
    findings
}

/// Whether a person wrote `path` here: source, documents, settings and scripts.
fn is_ours(path: &str, text: &str) -> bool {
    let extensions = [".rs", ".md", ".toml", ".sh", ".py", ".yml", ".yaml"];
    extensions.iter().any(|extension| path.ends_with(extension)) || text.starts_with("#!")
}

fn calls_dbg(code: &str) -> bool {
    words(code).any(|(at, word)| word == "dbg" && code[at + word.len()..].starts_with("!("))
}

#[cfg(test)]
mod tests {
    use super::super::check as check_rule;
    use super::*;

    #[test]
    fn every_fault_is_found_on_its_line() {
        for (path, text, expected) in [
            ("a.rs", "fn f() {}\n", vec![]),
            ("a.rs", "fn f() {} \n", vec![(1, "white space")]),
            ("a.rs", "fn f() {\n\tg()\n}\n", vec![(2, "a tab")]),
            ("a.rs", "fn f() {\n    dbg!(g())\n}\n", vec![(2, "`dbg!`")]),
            ("a.rs", "// dbg!(x)\nconst A: &str = \"dbg!(\";\n", vec![]),
            ("a.rs", "fn f() {}", vec![(1, "no newline")]),
            (
                "a.md",
                "one\r\ntwo",
                vec![(1, "white space"), (2, "no newline")],
            ),
            ("a.toml", "a = 1  \n", vec![(1, "white space")]),
            (
                ".ci/run",
                "#!/bin/sh\ntrue ",
                vec![(2, "white space"), (2, "no newline")],
            ),
            ("a.snap", "golden ", vec![]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(line, words)| (path, line, words))
                .collect();
            check_rule(check, [(path, text)], &expected);
        }
    }
}
