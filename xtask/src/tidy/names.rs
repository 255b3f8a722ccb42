//! Names that say nothing.

use super::Finding;
use crate::rust_code::{code_only, line_of, words};
use crate::tree::Tree;

const FORBIDDEN: [&str; 10] = [
    "util", "utils", "common", "helper", "helpers", "shared", "misc", "impl", "impls", "types",
];

const ADVICE: &str = "says nothing of what is inside; name it after the thing";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree.paths().filter(|path| is_source(path)) {
        findings.extend(forbidden_part(path).map(|part| {
            let message = format!("the name `{part}` {ADVICE}");
            Finding::new(path, 1, message)
        }));
    }
    for (path, source) in tree.rust_files() {
        let code = code_only(source);
        let words: Vec<_> = words(&code).collect();
        let modules = words
            .windows(2)
            .filter(|pair| pair[0].1 == "mod")
            .map(|pair| pair[1]);
        let forbidden = modules.filter(|(_, name)| FORBIDDEN.contains(name));
        findings.extend(forbidden.map(|(at, name)| {
            let message = format!("the module name `{name}` {ADVICE}");
            Finding::new(path, line_of(&code, at), message)
        }));
    }
    findings
}

fn is_source(path: &str) -> bool {
    [".rs", ".py", ".sh"]
        .iter()
        .any(|extension| path.ends_with(extension))
}

/// The first folder or file name, without what follows its first dot, that is forbidden.
fn forbidden_part(path: &str) -> Option<&str> {
    let mut stems = path.split('/').filter_map(|part| part.split('.').next());
    stems.find(|stem| FORBIDDEN.contains(stem))
}

#[cfg(test)]
mod tests {
    use super::super::check as check_rule;
    use super::*;

    #[test]
    fn files_and_folders_are_named_after_things() {
        for name in FORBIDDEN {
            for path in [
                format!("crates/tcp/src/{name}.rs"),
                format!("tests/{name}/a.py"),
            ] {
                check_rule(check, [(path.as_str(), "")], &[(path.as_str(), 1, name)]);
            }
        }
        for path in [
            "crates/tcp/src/rto.rs",
            "crates/tcp/src/shared_link.rs",
            "docs/types.md",
        ] {
            check_rule(check, [(path, "")], &[]);
        }
    }

    #[test]
    fn modules_are_named_after_things() {
        let source = "// mod misc\nmod rto;\nmod utils {\n}\n";
        check_rule(
            check,
            [("a.rs", source)],
            &[("a.rs", 3, "the module name `utils`")],
        );
    }
}
