//! Text by the columns of a terminal that it takes.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns that `text` takes.
#[must_use]
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `columns`: of one that is longer, the beginning and the end, for names often
/// differ there only.
#[must_use]
pub(crate) fn cut_in_the_middle(text: &str, columns: usize) -> String {
    const GAP: char = '…';

    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let head = fitting(text.chars(), room / 2);
    let head_bytes: usize = text.chars().take(head).map(char::len_utf8).sum();
    let rest = &text[head_bytes..];
    let head_text = &text[..head_bytes];
    let tail = fitting(rest.chars().rev(), room - width(head_text));
    let tail_bytes: usize = rest.chars().rev().take(tail).map(char::len_utf8).sum();
    // An accent whose letter is gone would stand on the gap.
    let tail_text = rest[rest.len() - tail_bytes..].trim_start_matches(is_without_width);
    format!("{head_text}{GAP}{tail_text}")
}

/// How many of `characters` fit into `columns`.
fn fitting(characters: impl Iterator<Item = char>, columns: usize) -> usize {
    let mut taken = 0;
    characters
        .take_while(|character| {
            taken += character.width().unwrap_or(0);
            taken <= columns
        })
        .count()
}

fn is_without_width(character: char) -> bool {
    character.width().unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_in_the_middle_by_columns() {
        let cases = [
            ("short.txt", 20, "short.txt"),
            ("abcdefghij.txt", 9, "abcd….txt"),
            ("abcdefghij.txt", 1, "…"),
            ("abcdefghij.txt", 0, ""),
            // Each of these takes two columns.
            ("照片二零二四年.jpg", 18, "照片二零二四年.jpg"),
            ("照片二零二四年.jpg", 10, "照片….jpg"),
            ("照片二零二四年.jpg", 11, "照片…年.jpg"),
            ("照片二零二四年", 4, "…年"),
            ("ae\u{301}e\u{301}e\u{301}z", 4, "a…e\u{301}z"),
        ];
        for (text, columns, cut) in cases {
            let found = cut_in_the_middle(text, columns);
            assert_eq!(found, cut, "{text} in {columns}");
            assert!(width(&found) <= columns, "{text} in {columns}");
        }
    }
}
