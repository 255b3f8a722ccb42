//! What a client of the plain mode asks for, name by name.
//!
//! The plain mode is for whoever has `nc`, or nothing but a socket. A client sends a name; what
//! comes back is the content of that file and nothing else. A name ends with LF or CRLF, with the
//! client's half-close, or with a silence, so that a client need not know about line ends. An empty
//! line ends the conversation, as does the half-close.
//!
//! ```
//! use packhorse_protocol::plain::{PlainNames, PlainRequest};
//!
//! let mut names = PlainNames::default();
//! names.handle_bytes(b"a.txt\r\nb.t");
//! assert_eq!(names.next_request(), Ok(Some(PlainRequest::File(b"a.txt".to_vec()))));
//! assert_eq!(names.next_request(), Ok(None));
//! names.handle_bytes(b"xt");
//! names.handle_silence();
//! assert_eq!(names.next_request(), Ok(Some(PlainRequest::File(b"b.txt".to_vec()))));
//! names.handle_end();
//! assert_eq!(names.next_request(), Ok(Some(PlainRequest::End)));
//! ```

use thiserror::Error;

use crate::limits::PLAIN_NAME_BYTES_MAX;

/// What a client asks for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainRequest {
    /// The file of this name, which nobody has looked at yet.
    File(Vec<u8>),
    /// Nothing more.
    End,
}

/// A name is longer than [`PLAIN_NAME_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("its name is longer than {PLAIN_NAME_BYTES_MAX} bytes")]
pub struct PlainNameTooLong;

/// Makes names of what a client sends, however that is cut into segments.
///
/// It holds what was given and has not come out: call [`next_request`](Self::next_request) until it
/// has nothing more before giving it more bytes.
#[derive(Debug, Default)]
pub struct PlainNames {
    bytes: Vec<u8>,
    /// What is there is complete, though no line end has come.
    is_complete: bool,
    is_over: bool,
}

impl PlainNames {
    /// Takes what has come.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing has come for a while: what is there is a whole name.
    pub fn handle_silence(&mut self) {
        self.is_complete = self.is_begun();
    }

    /// Nothing more will come.
    pub fn handle_end(&mut self) {
        self.is_over = true;
    }

    /// Whether a name has begun whose end is not there.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        !self.bytes.is_empty() && !self.bytes.contains(&b'\n')
    }

    /// What is asked for next; `None` if that is not known yet.
    ///
    /// # Errors
    /// [`PlainNameTooLong`]; what follows it cannot be told from it.
    pub fn next_request(&mut self) -> Result<Option<PlainRequest>, PlainNameTooLong> {
        let line_end = self.bytes.iter().position(|&byte| byte == b'\n');
        let (name, taken) = match line_end {
            Some(at) => (&self.bytes[..at], at + 1),
            None if self.is_complete || self.is_over => (&self.bytes[..], self.bytes.len()),
            // One more may be the CR of its line end.
            None if self.bytes.len() > PLAIN_NAME_BYTES_MAX + 1 => return Err(PlainNameTooLong),
            None => return Ok(None),
        };
        let name = name.strip_suffix(b"\r").unwrap_or(name);
        if name.len() > PLAIN_NAME_BYTES_MAX {
            return Err(PlainNameTooLong);
        }
        if name.is_empty() {
            return Ok(Some(PlainRequest::End));
        }
        let name = name.to_vec();
        self.bytes.drain(..taken);
        self.is_complete = false;
        Ok(Some(PlainRequest::File(name)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client sends; `None` is a silence. At the end it half-closes.
    type Pieces<'a> = &'a [Option<&'a [u8]>];

    fn asked(pieces: Pieces<'_>) -> Vec<Result<PlainRequest, PlainNameTooLong>> {
        let mut names = PlainNames::default();
        let mut asked = Vec::new();
        for piece in pieces.iter().copied().map(Some).chain([None]) {
            match piece {
                Some(Some(bytes)) => names.handle_bytes(bytes),
                Some(None) => names.handle_silence(),
                None => names.handle_end(),
            }
            while let Some(request) = names.next_request().transpose() {
                let is_last = !matches!(request, Ok(PlainRequest::File(_)));
                asked.push(request);
                if is_last {
                    return asked;
                }
            }
        }
        asked
    }

    fn file(name: &[u8]) -> Result<PlainRequest, PlainNameTooLong> {
        Ok(PlainRequest::File(name.to_vec()))
    }

    const END: Result<PlainRequest, PlainNameTooLong> = Ok(PlainRequest::End);

    #[test]
    fn names_end_with_a_line_a_silence_or_the_input() {
        let cases: &[(Pieces<'_>, &[&[u8]])] = &[
            (&[], &[]),
            (&[Some(b"\n")], &[]),
            (&[Some(b"\r\n"), Some(b"a\n")], &[]),
            (&[Some(b"a")], &[b"a"]),
            (&[Some(b"a\n")], &[b"a"]),
            (&[Some(b"a\r\n")], &[b"a"]),
            (&[Some(b"a\r"), Some(b"\n")], &[b"a"]),
            (&[Some(b"a\nb\n\nc\n")], &[b"a", b"b"]),
            (&[Some(b"a\nb")], &[b"a", b"b"]),
            (&[Some(b"a"), None, Some(b"b"), None], &[b"a", b"b"]),
            (&[Some(b"a"), None, Some(b"\n"), Some(b"b\n")], &[b"a"]),
            (
                &[Some(b"a\r"), None, Some(b"b"), Some(b"c\n")],
                &[b"a", b"bc"],
            ),
            (&[None, Some(b"a"), Some(b"b"), None], &[b"ab"]),
            (&[Some(b" a b \xff\0\n")], &[b" a b \xff\0"]),
        ];
        for (pieces, names) in cases {
            let mut expected: Vec<_> = names.iter().map(|name| file(name)).collect();
            expected.push(END);
            assert_eq!(asked(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_name_has_its_limit_however_it_comes() {
        let longest = vec![b'x'; PLAIN_NAME_BYTES_MAX];
        for end in [&b""[..], b"\n", b"\r\n"] {
            let line = [&longest, end].concat();
            assert_eq!(asked(&[Some(&line)]), [file(&longest), END]);
            let line = [&longest, &b"x"[..], end].concat();
            assert_eq!(asked(&[Some(&line)]), [Err(PlainNameTooLong)]);
        }
        let mut names = PlainNames::default();
        names.handle_bytes(&vec![b'x'; PLAIN_NAME_BYTES_MAX + 2]);
        assert_eq!(
            names.next_request(),
            Err(PlainNameTooLong),
            "it need not end to be too long"
        );
    }

    proptest! {
        #[test]
        fn how_it_is_cut_makes_no_difference(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 0..40),
            cuts in proptest::collection::vec(0..40_usize, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| Some(&bytes[cut[0]..cut[1]])).collect();
            prop_assert_eq!(asked(&pieces), asked(&[Some(&bytes)]));
        }
    }
}
