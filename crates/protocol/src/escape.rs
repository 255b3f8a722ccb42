//! How bytes from a peer or a disk are shown to a person: never able to steer a terminal.

use std::fmt::{self, Write};

/// Shows bytes as text, with everything that could steer a terminal or mislead a reader escaped.
///
/// Control characters (C0, C1, DEL), characters that reorder or hide text (bidirectional marks,
/// zero-width and line separators), the backslash and bytes that are not UTF-8 appear as `\n`,
/// `\\`, `\u{202e}` or `\xff`.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                write_escaped(out, character)?;
            }
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn write_escaped(out: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\\' => out.write_str("\\\\"),
        _ if character.is_control() || misleads(character) => {
            write!(out, "\\u{{{:x}}}", u32::from(character))
        }
        _ => out.write_char(character),
    }
}

/// Characters that print as nothing or change the order of their neighbours.
fn misleads(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        let cases: &[(&[u8], &str)] = &[
            (b"plain name.txt", "plain name.txt"),
            ("na\u{ef}ve \u{6587}".as_bytes(), "na\u{ef}ve \u{6587}"),
            (b"a\nb\tc\\", "a\\nb\\tc\\\\"),
            (b"\x1b[2J\x07\x7f", "\\u{1b}[2J\\u{7}\\u{7f}"),
            (
                "\u{9b}31m \u{202e}txt".as_bytes(),
                "\\u{9b}31m \\u{202e}txt",
            ),
            (b"\xff\xc3", "\\xff\\xc3"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(Escaped(bytes).to_string(), *shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_controls_gets_through(bytes: Vec<u8>) {
            prop_assert!(!Escaped(&bytes).to_string().chars().any(|c| c.is_control() || misleads(c)));
        }
    }
}
