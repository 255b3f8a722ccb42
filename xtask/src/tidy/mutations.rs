//! The rows of `cargo xtask mutate`: each must still break something.

use super::Finding;
use crate::mutate;
use crate::tree::Tree;

/// What a row breaks stands in its file exactly once, and its script is there.
///
/// Building every broken stack takes half an hour; that a row has gone stale is seen at once.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.text(mutate::LIST) else {
        return Vec::new();
    };
    let stale = mutate::stale(list, tree).into_iter();
    stale
        .map(|(line, message)| Finding::new(mutate::LIST, line, message))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::check as check_rule;

    const ROW: &str = "# A list.\n\n[[mutation]]\nrule = 'r'\nfile = 'a.rs'\nold = '<'\nnew = '<='\nscript = 's.pkt'\n";
    const SCRIPT: (&str, &str) = ("crates/sim/scripts/s.pkt", "");

    #[test]
    fn a_row_that_breaks_nothing_is_found() {
        let same = ROW.replace("'<='", "'<'");
        for (row, code, message) in [
            (ROW, Some("a < b"), None),
            (ROW, Some("a > b"), Some("not there any more")),
            (ROW, Some("a < b < c"), Some("2 times")),
            (ROW, None, Some("a.rs is gone")),
            (&same, Some("a < b"), Some("the same as `old`")),
        ] {
            let files = [(mutate::LIST, row), SCRIPT];
            let files = files.into_iter().chain(code.map(|code| ("a.rs", code)));
            let expected = message.map(|message| (mutate::LIST, 3, message));
            check_rule(check, files, expected.as_slice());
        }
    }

    #[test]
    fn a_row_without_its_script_or_its_fields_is_found() {
        let files = [(mutate::LIST, ROW), ("a.rs", "a < b")];
        check_rule(check, files, &[(mutate::LIST, 3, "s.pkt is gone")]);
        let files = [(mutate::LIST, "[[mutation]]\n"), SCRIPT];
        check_rule(check, files, &[(mutate::LIST, 1, "has no `rule`")]);
        check_rule(check, [SCRIPT], &[]);
    }
}
