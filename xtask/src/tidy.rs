//! Rules that the compiler and clippy do not know.
//!
//! A rule is a function from the tree to its findings. Each lives in the file named
//! after what it looks at, beside the tests that show it failing.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::tree::Tree;

mod arrows;
mod documents;
mod engines;
mod length;
mod manifest;
mod mutations;
mod names;
mod text;
mod unsafe_code;

const RULES: [fn(&Tree) -> Vec<Finding>; 13] = [
    manifest::check_readable,
    manifest::check_folders,
    manifest::check_lints,
    manifest::check_anyhow,
    arrows::check,
    engines::check,
    unsafe_code::check,
    length::check,
    names::check,
    text::check,
    mutations::check,
    documents::check_links,
    documents::check_shape,
];

/// Applies every rule to the repository at `root` and prints what it finds.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let tree = Tree::read(root)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files in order", tree.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} to mend", findings.len());
    Ok(ExitCode::FAILURE)
}

/// What is wrong at one place, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            message,
        } = self;
        write!(f, "{path}:{line}: {message}")
    }
}

/// Checks that `rule` finds exactly `expected` in `files`: path and line, and words
/// that the message must hold.
#[cfg(test)]
#[track_caller]
fn check<'a>(
    rule: impl Fn(&Tree) -> Vec<Finding>,
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    expected: &[(&str, usize, &str)],
) {
    let findings = rule(&Tree::of(files));
    let agree = findings.len() == expected.len()
        && findings
            .iter()
            .zip(expected)
            .all(|(finding, (path, line, words))| {
                finding.path == *path && finding.line == *line && finding.message.contains(words)
            });
    assert!(agree, "expected {expected:#?}, found {findings:#?}");
}
