//! How long a file and a function may be.

use super::Finding;
use crate::rust_code::{code_only, functions, line_of, test_items};
use crate::tree::Tree;

/// Lines of a file outside its `#[cfg(test)]` items.
const FILE_LINES_MAX: usize = 700;

/// Lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 80;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust_files()
        .flat_map(|(path, source)| check_file(path, source))
        .collect()
}

fn check_file(path: &str, source: &str) -> Vec<Finding> {
    let code = code_only(source);
    let tests = test_items(&code);
    let mut findings = Vec::new();

    let test_lines: usize = tests
        .iter()
        .map(|span| 1 + code[span.clone()].matches('\n').count())
        .sum();
    let lines = source.lines().count() - test_lines;
    let head = source
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("//"));
    if lines > FILE_LINES_MAX && !head.into_iter().any(is_reason) {
        let message = format!(
            "{lines} lines besides tests, {FILE_LINES_MAX} at most; \
             split the file, or say why at its top: `// tidy: long because …`"
        );
        findings.push(Finding::new(path, 1, message));
    }

    if is_test_file(path) {
        return findings;
    }
    for function in functions(&code) {
        let start = function.span.start;
        let lines = 1 + code[function.span].matches('\n').count();
        let exempt = lines <= FUNCTION_LINES_MAX
            || tests.iter().any(|span| span.contains(&start))
            || has_reason_above(source, start);
        if !exempt {
            let message = format!(
                "function `{}` has {lines} lines, {FUNCTION_LINES_MAX} at most; \
                 split it, or say why above it: `// tidy: long because …`",
                function.name
            );
            findings.push(Finding::new(path, line_of(&code, start), message));
        }
    }
    findings
}

/// Whether the whole file is tests: `tests/…`, `benches/…` or a `tests.rs`.
fn is_test_file(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "benches" | "tests.rs"))
}

/// Whether a reason stands in the comments and attributes above the function at `start`.
fn has_reason_above(source: &str, start: usize) -> bool {
    // The last line is the function's own, up to its `fn`.
    let above = source[..start].lines().rev().skip(1).map(str::trim_start);
    above
        .take_while(|line| line.starts_with("//") || line.starts_with("#["))
        .any(is_reason)
}

fn is_reason(line: &str) -> bool {
    line.strip_prefix("// tidy: long because ")
        .is_some_and(|reason| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::check as check_rule;
    use super::*;

    const PATH: &str = "crates/tcp/src/lib.rs";

    fn function(lines: usize) -> String {
        format!(
            "    pub fn long() {{\n{}    }}\n",
            "        step();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let test_module = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(900));
        for (source, found) in [
            ("//\n".repeat(700), false),
            ("//\n".repeat(701), true),
            ("//\n".repeat(690) + &test_module, false),
            ("//\n".repeat(701) + &test_module, true),
            (
                format!("#[cfg(test)]\nmod tests;\n{}", "//\n".repeat(700)),
                true,
            ),
            (
                "//! A table.\n\n// tidy: long because a table\n".to_owned() + &"//\n".repeat(700),
                false,
            ),
            (
                "// tidy: long because \n".to_owned() + &"//\n".repeat(700),
                true,
            ),
            (
                "use a;\n// tidy: long because a table\n".to_owned() + &"//\n".repeat(700),
                true,
            ),
        ] {
            let expected: &[_] = if found {
                &[(PATH, 1, "700 at most; split the file")]
            } else {
                &[]
            };
            check_rule(check, [(PATH, source.as_str())], expected);
        }
    }

    #[test]
    fn a_long_function_needs_a_reason() {
        let long = "function `long` has 81 lines, 80 at most";
        for (source, line) in [
            (function(80), None),
            (function(81), Some(1)),
            (format!("impl A {{\n{}}}\n", function(81)), Some(2)),
            (
                format!("    // tidy: long because a table\n{}", function(81)),
                None,
            ),
            (
                format!(
                    "    // tidy: long because a table\n    #[inline]\n{}",
                    function(81)
                ),
                None,
            ),
            (
                format!("    // tidy: long because\n{}", function(81)),
                Some(2),
            ),
            (
                format!("    // tidy: long because a table\n\n{}", function(81)),
                Some(3),
            ),
            (
                format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(81)),
                None,
            ),
        ] {
            let expected: Vec<_> = line.iter().map(|line| (PATH, *line, long)).collect();
            check_rule(check, [(PATH, source.as_str())], &expected);
        }
    }

    #[test]
    fn a_test_may_be_long() {
        for path in [
            "crates/tcp/tests/it/main.rs",
            "crates/tcp/src/sender/tests.rs",
        ] {
            check_rule(check, [(path, function(200).as_str())], &[]);
        }
    }
}
