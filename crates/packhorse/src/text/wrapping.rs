//! Where a line of help may be broken.

use unicode_width::UnicodeWidthChar;

/// From this share of the width on, help stands below what it is of: this many hundredths.
const SPECIFICATION_PERCENT_MAX: usize = 45;

/// How far it is then indented.
const BELOW_INDENT: usize = 10;

/// The columns that `text` takes on a terminal; escape sequences for colours take none.
fn columns(text: &str) -> usize {
    let mut is_in_escape = false;
    let width_of = |character: char| {
        if is_in_escape {
            is_in_escape = character != 'm';
            return 0;
        }
        is_in_escape = character == '\x1b';
        character.width().unwrap_or(0)
    };
    text.chars().map(width_of).sum()
}

/// Breaks a line so that no part of it takes more than `columns_max`. What follows is indented as
/// the line is, or, where two spaces divide it, as what stands behind them.
#[must_use]
pub(crate) fn wrap(line: &str, columns_max: usize) -> String {
    let start = line.len() - line.trim_start_matches(' ').len();
    let divided = line[start..].find("  ").map(|at| {
        let behind = &line[start + at..];
        start + at + behind.len() - behind.trim_start_matches(' ').len()
    });
    if columns(line) <= columns_max {
        return line.to_owned();
    }
    let (mut wrapped, indent, rest) = match divided {
        None => (line[..start].to_owned(), start, &line[start..]),
        Some(at) if columns(&line[..at]) * 100 <= columns_max * SPECIFICATION_PERCENT_MAX => {
            (line[..at].to_owned(), columns(&line[..at]), &line[at..])
        }
        Some(at) => {
            let head = line[..at].trim_end();
            let indent = " ".repeat(BELOW_INDENT);
            (format!("{head}\n{indent}"), BELOW_INDENT, &line[at..])
        }
    };
    let mut column = indent;
    for part in unbreakable_parts(rest) {
        let width = columns(part.trim_end());
        if column > indent && column + width > columns_max {
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        }
        wrapped.push_str(part);
        column += columns(part);
    }
    wrapped
}

/// Cuts text where a line may end: behind a space, and beside a Chinese character, but not before
/// what closes, nor behind what opens, nor within square brackets.
fn unbreakable_parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut pairs = rest.char_indices().zip(rest.chars().skip(1));
        let mut is_in_brackets = false;
        let end = pairs.find_map(|((at, before), after)| {
            is_in_brackets = before == '[' || is_in_brackets && before != ']';
            if is_in_brackets {
                return None;
            }
            let is_chinese = |c: char| c >= '\u{2e80}';
            let may_end = before == ' ' && after != ' '
                || (is_chinese(before) || is_chinese(after))
                    && after != ' '
                    && !"，。、；：！？）》」】".contains(after)
                    && !"（《「【".contains(before);
            may_end.then_some(at + before.len_utf8())
        });
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_a_terminal() {
        let cases = [
            ("", 0),
            ("a b", 3),
            ("文件", 4),
            ("a，b", 4),
            ("\x1b[1ma\x1b[0mb", 2),
        ];
        for (text, expected) in cases {
            assert_eq!(columns(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_are_broken_where_they_may_be() {
        let cases = [
            ("短", 10, "短"),
            ("一二三四五六", 8, "一二三四\n五六"),
            ("一二三四，五六", 8, "一二三\n四，五六"),
            ("一二三（四五）", 8, "一二三\n（四五）"),
            ("  ab  一二三四五", 14, "  ab  一二三四\n      五"),
            (
                "  abcdefgh  一二三四",
                14,
                "  abcdefgh\n          一二\n          三四",
            ),
            ("一二 word 三四", 9, "一二 word\n三四"),
            ("一二 [默认：四五]", 14, "一二\n[默认：四五]"),
            ("aaa bbb ccc", 7, "aaa bbb\nccc"),
            ("verylongword", 4, "verylongword"),
        ];
        for (line, columns_max, expected) in cases {
            assert_eq!(wrap(line, columns_max), expected, "{line:?}");
        }
    }
}
