//! What a document promises: that its links lead somewhere and that it stays short.

use std::collections::BTreeMap;

use super::Finding;
use crate::tree::Tree;

const ARCHITECTURE_LINES_MAX: usize = 250;

/// Relative links must lead to a file or folder of the project.
pub(super) fn check_links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in links(text) {
            if resolve(path, target).is_none_or(|target| !tree.contains(&target)) {
                let message = format!("the link to `{target}` leads nowhere; mend or remove it");
                findings.push(Finding::new(path, line, message));
            }
        }
    }
    findings
}

/// `ARCHITECTURE.md` can be read in one sitting, and each decision has a number and a title.
pub(super) fn check_shape(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let architecture = "ARCHITECTURE.md";
    let lines = tree
        .text(architecture)
        .map_or(0, |text| text.lines().count());
    if lines > ARCHITECTURE_LINES_MAX {
        let message = format!("{lines} lines, {ARCHITECTURE_LINES_MAX} at most; shorten it");
        findings.push(Finding::new(
            architecture,
            ARCHITECTURE_LINES_MAX + 1,
            message,
        ));
    }

    let mut records = BTreeMap::new();
    for path in tree.paths() {
        let Some(name) = path.strip_prefix("decisions/") else {
            continue;
        };
        let Some(number) = decision_number(name) else {
            let message = "a decision is named NNNN-title.md, in lower case; rename it";
            findings.push(Finding::new(path, 1, message));
            continue;
        };
        if let Some(first) = records.insert(number, path) {
            let message = format!("{first} has this number too; take the next free one");
            findings.push(Finding::new(path, 1, message));
        }
    }
    findings
}

/// The number of the decision record `name`, if it is named as one.
fn decision_number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let numbered = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    let titled = title.split('-').all(|word| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    });
    (numbered && titled).then_some(number)
}

/// The relative links in `text`, outside code, each with its line.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        // Every other part between backticks is code; a link's text may be code too,
        // so what counts is where its target stands.
        for prose in line.split('`').step_by(2) {
            let inline = prose
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            found.extend(inline.map(|target| (index + 1, target)));
        }
        if let Some((_, target)) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
        {
            found.push((index + 1, target));
        }
    }
    found
        .into_iter()
        .filter_map(|(line, target)| Some((line, file_part(target)?)))
        .collect()
}

/// The file that a link's target names; `None` for another site or a place in this file.
fn file_part(target: &str) -> Option<&str> {
    let target = target.trim().split(' ').next()?;
    let target = target
        .trim_start_matches('<')
        .trim_end_matches('>')
        .split('#')
        .next()?;
    (!target.is_empty() && !target.contains(':')).then_some(target)
}

/// The path from the root that `target` means in the document `from`; `None` above the root.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn links_lead_to_files() {
        for (text, found) in [
            ("[a](../README.md), ![b](img/b.png \"title\")", None),
            (
                "[a](/docs/img/), [b](<img/b.png>), [c](../README.md#top)",
                None,
            ),
            (
                "[a](https://example.org/x), [b](#top), [c](mailto:a@example.org)",
                None,
            ),
            ("`[a](none.md)`\n```\n[a](none.md)\n```\n", None),
            ("[here]: ../README.md", None),
            ("one\n[a](none.md)", Some((2, "`none.md`"))),
            (
                "[a](../README.md) [`code`](none.md#part)",
                Some((1, "`none.md`")),
            ),
            ("[a](README.md)", Some((1, "`README.md`"))),
            ("[a](../../README.md)", Some((1, "`../../README.md`"))),
            ("```\n```\n\n[here]: none.md", Some((4, "`none.md`"))),
        ] {
            let path = "docs/guide.md";
            let expected: Vec<_> = found
                .iter()
                .map(|(line, words)| (path, *line, *words))
                .collect();
            check(
                check_links,
                [("README.md", ""), ("docs/img/b.png", ""), (path, text)],
                &expected,
            );
        }
    }

    #[test]
    fn the_architecture_is_short() {
        let lines = |count| "line\n".repeat(count);
        check(check_shape, [("ARCHITECTURE.md", lines(250).as_str())], &[]);
        check(
            check_shape,
            [("ARCHITECTURE.md", lines(251).as_str())],
            &[("ARCHITECTURE.md", 251, "251 lines, 250 at most")],
        );
    }

    #[test]
    fn decisions_have_a_number_and_a_title() {
        check(check_shape, [("decisions/0001-one-port.md", "")], &[]);
        for name in [
            "1-a.md",
            "0001.md",
            "0001-A.md",
            "0001-a.txt",
            "0001-a-.md",
            "0001-/a.md",
        ] {
            let path = format!("decisions/{name}");
            check(
                check_shape,
                [(path.as_str(), "")],
                &[(path.as_str(), 1, "NNNN-title.md")],
            );
        }
        check(
            check_shape,
            [("decisions/0001-a.md", ""), ("decisions/0001-b.md", "")],
            &[(
                "decisions/0001-b.md",
                1,
                "decisions/0001-a.md has this number too",
            )],
        );
    }
}
