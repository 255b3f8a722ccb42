//! What a peer says, cut into messages.

use std::ops::Range;

use crate::limits::MESSAGE_BYTES_MAX;

/// What a message can have with its line end.
const BYTES_WITH_LINE_END_MAX: usize = MESSAGE_BYTES_MAX + 2;

/// One thing that a peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
    text_length: usize,
}

impl Message {
    /// All of it, as it came.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says: all but its line end.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.bytes[..self.text_length]
    }

    /// How it ended: `\n`, `\r\n`, or nothing where a silence or the connection's end ended it.
    #[must_use]
    pub fn line_end(&self) -> &[u8] {
        &self.bytes[self.text_length..]
    }
}

/// Makes messages of what comes, however that is cut into segments: lines where there are lines,
/// and otherwise what comes between two silences, in parts of at most [`MESSAGE_BYTES_MAX`], to which
/// a line end may come.
///
/// It holds what was given and has not come out: call [`next_message`](Self::next_message) until it
/// has nothing more before giving it more bytes.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// Where the first byte is that was not looked at.
    seen: usize,
    is_complete: bool,
}

impl Messages {
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing has come for a while, or nothing more will: what is there is a message.
    pub(super) fn handle_pause(&mut self) {
        self.is_complete = true;
    }

    /// Whether a message has begun whose end is not there.
    pub(super) fn is_begun(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Whether more has come without a line end than a message may have. What could be the first
    /// half of a line end behind the last byte is waited for.
    fn is_over_limit(&self) -> bool {
        match self.bytes.get(MESSAGE_BYTES_MAX..) {
            None | Some([]) => false,
            Some([b'\r']) => false,
            Some(_) => true,
        }
    }

    pub(super) fn next_message(&mut self) -> Option<Message> {
        let window: Range<usize> = self.seen..self.bytes.len().min(BYTES_WITH_LINE_END_MAX);
        let line_end = self.bytes[window.clone()]
            .iter()
            .position(|&byte| byte == b'\n')
            .map(|at| self.seen + at);
        let line_end = line_end
            .filter(|&at| at <= MESSAGE_BYTES_MAX || self.bytes[MESSAGE_BYTES_MAX] == b'\r');
        let length = match line_end {
            Some(at) => at + 1,
            None if self.is_over_limit() => MESSAGE_BYTES_MAX,
            None if self.is_complete && self.is_begun() => self.bytes.len().min(MESSAGE_BYTES_MAX),
            None => {
                self.seen = window.end;
                self.is_complete = false;
                return None;
            }
        };
        let rest = self.bytes.split_off(length);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        self.seen = 0;
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let text = match line_end {
            Some(_) => text.strip_suffix(b"\r").unwrap_or(text),
            None => &bytes,
        };
        let text_length = text.len();
        Some(Message { bytes, text_length })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `pieces` come to; `None` among them is a silence, as is their end.
    fn messages(pieces: &[Option<&[u8]>]) -> Vec<Message> {
        let mut messages = Messages::default();
        let mut found = Vec::new();
        for piece in pieces.iter().chain([&None]) {
            match piece {
                Some(bytes) => messages.handle_bytes(bytes),
                None => messages.handle_pause(),
            }
            found.extend(std::iter::from_fn(|| messages.next_message()));
        }
        assert!(!messages.is_begun());
        found
    }

    #[test]
    fn lines_and_what_comes_between_silences_are_messages() {
        type Pieces<'a> = &'a [Option<&'a [u8]>];
        type Parts<'a> = &'a [(&'a [u8], &'a [u8])];
        let cases: [(Pieces<'_>, Parts<'_>); 8] = [
            (&[], &[]),
            (&[None, None], &[]),
            (&[Some(b"a\nb\r\n")], &[(b"a", b"\n"), (b"b", b"\r\n")]),
            (&[Some(b"a"), Some(b"b\n")], &[(b"ab", b"\n")]),
            (&[Some(b"a"), None, Some(b"b")], &[(b"a", b""), (b"b", b"")]),
            (&[Some(b"a\nb")], &[(b"a", b"\n"), (b"b", b"")]),
            (&[Some(b"\n\r\n")], &[(b"", b"\n"), (b"", b"\r\n")]),
            (&[Some(b"a\r"), None], &[(b"a\r", b"")]),
        ];
        for (pieces, expected) in cases {
            let found = messages(pieces);
            let found: Vec<_> = found.iter().map(|m| (m.text(), m.line_end())).collect();
            assert_eq!(found, expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_message_has_its_limit() {
        let endless = vec![b'x'; 2 * MESSAGE_BYTES_MAX + 1];
        let lengths = |pieces: &[Option<&[u8]>]| -> Vec<_> {
            let found = messages(pieces);
            found.iter().map(|message| message.bytes().len()).collect()
        };
        let most = MESSAGE_BYTES_MAX;
        assert_eq!(lengths(&[Some(&endless)]), [most, most, 1]);
        let full = &endless[..most];
        for (end, expected) in [
            (&b""[..], &[most][..]),
            (b"\n", &[most + 1]),
            (b"\r\n", &[most + 2]),
            (b"\r", &[most, 1]),
            (b"\rx", &[most, 2]),
            (b"x\n", &[most, 2]),
            (b"\nx\n", &[most + 1, 2]),
        ] {
            let whole = [full, end].concat();
            assert_eq!(lengths(&[Some(&whole)]), expected, "{end:?}");
            assert_eq!(lengths(&[Some(full), Some(end)]), expected, "{end:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_cuts_make_no_difference(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 0..40),
            cut in 0..40_usize,
        ) {
            let (before, behind) = bytes.split_at(cut.min(bytes.len()));
            let found = messages(&[Some(before), Some(behind)]);
            let all: Vec<u8> = found.iter().flat_map(|message| message.bytes().to_vec()).collect();
            prop_assert_eq!(&all, &bytes);
            prop_assert_eq!(found, messages(&[Some(&bytes)]));
        }
    }
}
