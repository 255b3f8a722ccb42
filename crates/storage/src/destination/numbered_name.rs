//! Names for a file that is kept beside one that has its name: `name (1).ext`.

use packhorse_protocol::limits::NAME_BYTES_MAX;
use packhorse_protocol::path::Name;

/// How many numbers are tried before giving up.
pub(super) const NUMBERS_MAX: u32 = 10_000;

/// A longer ending is taken for a part of the name that happens to follow a dot.
const EXTENSION_BYTES_MAX: usize = 32;

/// `name` with `number` before its extension; cut, between characters, where it would be too long.
pub(super) fn numbered(name: &Name, number: u32) -> Name {
    let bytes = name.as_bytes();
    let (stem, extension) = bytes.split_at(extension_at(bytes));
    let mark = format!(" ({number})");
    let room = NAME_BYTES_MAX - mark.len() - extension.len();
    let stem = &stem[..cut_between_characters(stem, room)];
    Name::parse(&[stem, mark.as_bytes(), extension].concat())
        .expect("a part of a name with a mark in parentheses is a name of bounded length")
}

/// Where the extension begins, with its dot; at the end if there is none. `.tar.gz` is one.
fn extension_at(bytes: &[u8]) -> usize {
    let last_dot = |bytes: &[u8]| {
        let at = bytes.iter().rposition(|&byte| byte == b'.')?;
        (at > 0).then_some(at)
    };
    let Some(at) = last_dot(bytes) else {
        return bytes.len();
    };
    let at = match last_dot(&bytes[..at]) {
        Some(before) if &bytes[before..at] == b".tar" => before,
        _ => at,
    };
    if bytes.len() - at > EXTENSION_BYTES_MAX {
        bytes.len()
    } else {
        at
    }
}

/// The length, at most `room`, at which `bytes` can be cut without splitting a UTF-8 character.
fn cut_between_characters(bytes: &[u8], room: usize) -> usize {
    if bytes.len() <= room {
        return bytes.len();
    }
    let is_boundary = |at: &usize| bytes[*at] & 0b1100_0000 != 0b1000_0000;
    // Four bytes at most make a character; bytes that are no text are cut anywhere.
    (room.saturating_sub(3)..=room)
        .rev()
        .find(is_boundary)
        .unwrap_or(room)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_number_stands_before_the_extension() {
        let cases: &[(&[u8], u32, &[u8])] = &[
            (b"notes", 1, b"notes (1)"),
            (b"notes.txt", 2, b"notes (2).txt"),
            (b"a.b.c", 1, b"a.b (1).c"),
            (b"data.tar.gz", 3, b"data (3).tar.gz"),
            (b".tar.gz", 1, b".tar (1).gz"),
            (b".profile", 1, b".profile (1)"),
            (b"ends.", 1, b"ends (1)."),
            (b"...", 1, b".. (1)."),
        ];
        for (name, number, expected) in cases {
            let made = numbered(&Name::parse(name).unwrap(), *number);
            assert_eq!(made.as_bytes(), *expected, "{made}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let name = Name::parse(
            &[
                &b"x".repeat(200)[..],
                "\u{6587}".repeat(17).as_bytes(),
                b".txt",
            ]
            .concat(),
        );
        let made = numbered(&name.unwrap(), 12);
        let text = std::str::from_utf8(made.as_bytes()).unwrap();
        assert!(
            text.len() <= NAME_BYTES_MAX && text.ends_with("\u{6587} (12).txt"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn any_name_can_be_numbered(bytes in proptest::collection::vec(1u8.., 1..=NAME_BYTES_MAX), number in 1..=NUMBERS_MAX) {
            if let Ok(name) = Name::parse(&bytes) {
                let made = numbered(&name, number);
                prop_assert_ne!(&made, &name);
                prop_assert_ne!(made, numbered(&name, number + 1));
            }
        }
    }
}
