//! A line of the shell as words, and back.
//!
//! A name is typed as it is shown: `\n`, `\xff` and `\u{202e}` mean what the list prints them for.
//! Quotes of either kind, or a backslash before it, let a space be part of a word.

use std::fmt::{self, Display, Write as _};

use packhorse_protocol::escape::Escaped;

use crate::text::Named;

/// Why a line is not words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WordError {
    /// A quote that is not closed.
    Quote,
    /// A backslash with nothing, or half of something, behind it.
    Backslash,
}

/// The word at the end of a line that is still being typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LastWord {
    /// Where it begins in the line, in bytes.
    pub(crate) start: usize,
    /// What it means so far.
    pub(crate) bytes: Vec<u8>,
    /// How many words stand before it.
    pub(crate) index: usize,
}

/// The words of a line.
///
/// # Errors
/// Something is left open.
pub(crate) fn split(line: &str) -> Result<Vec<Vec<u8>>, WordError> {
    let mut reader = Reader::new(line);
    let mut words = Vec::new();
    while reader.skip_spaces() {
        words.push(reader.word()?);
    }
    Ok(words)
}

/// The last word of `line`; an empty one behind a space. Open quotes may stay open.
pub(crate) fn last(line: &str) -> Option<LastWord> {
    let mut reader = Reader::new(line);
    let mut last = LastWord {
        start: 0,
        bytes: Vec::new(),
        index: 0,
    };
    let mut index = 0;
    while reader.skip_spaces() {
        let start = reader.at();
        let bytes = match reader.word() {
            Ok(bytes) => bytes,
            Err(WordError::Quote) => std::mem::take(&mut reader.partial),
            Err(WordError::Backslash) => return None,
        };
        last = LastWord {
            start,
            bytes,
            index,
        };
        index += 1;
    }
    if line.ends_with(is_space) && reader.ended_between_words {
        last = LastWord {
            start: line.len(),
            bytes: Vec::new(),
            index,
        };
    }
    Some(last)
}

/// Shows a word as the text that means it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in Escaped(self.0).to_string().chars() {
            if matches!(character, ' ' | '"' | '\'') {
                out.write_char('\\')?;
            }
            out.write_char(character)?;
        }
        Ok(())
    }
}

impl Named for Quoted<'_> {}

/// Other spaces, such as one that does not break, are part of a word.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

struct Reader<'a> {
    line: &'a str,
    rest: &'a str,
    /// The word that is being read.
    partial: Vec<u8>,
    ended_between_words: bool,
}

impl<'a> Reader<'a> {
    fn new(line: &'a str) -> Self {
        Self {
            line,
            rest: line,
            partial: Vec::new(),
            ended_between_words: false,
        }
    }

    fn at(&self) -> usize {
        self.line.len() - self.rest.len()
    }

    /// Whether a word follows.
    fn skip_spaces(&mut self) -> bool {
        let trimmed = self.rest.trim_start_matches(is_space);
        self.ended_between_words = trimmed.len() < self.rest.len();
        self.rest = trimmed;
        !trimmed.is_empty()
    }

    fn word(&mut self) -> Result<Vec<u8>, WordError> {
        self.partial.clear();
        let mut quote = None;
        let mut characters = self.rest.chars();
        while let Some(character) = characters.next() {
            match (character, quote) {
                ('"' | '\'', None) => quote = Some(character),
                (_, Some(open)) if character == open => quote = None,
                ('\\', None | Some('"')) => {
                    self.rest = characters.as_str();
                    self.escape()?;
                    characters = self.rest.chars();
                }
                (_, None) if is_space(character) => break,
                _ => self.push(character),
            }
            self.rest = characters.as_str();
        }
        match quote {
            None => Ok(std::mem::take(&mut self.partial)),
            Some(_) => Err(WordError::Quote),
        }
    }

    /// Reads what stands behind a backslash.
    fn escape(&mut self) -> Result<(), WordError> {
        let mut characters = self.rest.chars();
        let character = characters.next().ok_or(WordError::Backslash)?;
        self.rest = characters.as_str();
        match character {
            'n' => self.push('\n'),
            'r' => self.push('\r'),
            't' => self.push('\t'),
            'x' => {
                let digits = self.rest.get(..2).ok_or(WordError::Backslash)?;
                let byte = u8::from_str_radix(digits, 16).map_err(|_| WordError::Backslash)?;
                self.partial.push(byte);
                self.rest = &self.rest[2..];
            }
            'u' => {
                let behind = self.rest.strip_prefix('{').ok_or(WordError::Backslash)?;
                let (digits, behind) = behind.split_once('}').ok_or(WordError::Backslash)?;
                let code = u32::from_str_radix(digits, 16).map_err(|_| WordError::Backslash)?;
                self.push(char::from_u32(code).ok_or(WordError::Backslash)?);
                self.rest = behind;
            }
            _ => self.push(character),
        }
        Ok(())
    }

    fn push(&mut self, character: char) {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        self.partial.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_split() {
        let cases: [(&str, &[&[u8]]); 10] = [
            ("", &[]),
            ("  ", &[]),
            ("a.txt", &[b"a.txt"]),
            (" get  a  b ", &[b"get", b"a", b"b"]),
            ("'a b' \"c d\"", &[b"a b", b"c d"]),
            ("a\\ b", &[b"a b"]),
            ("a' 'b\"'\"", &[b"a b'"]),
            ("''", &[b""]),
            ("'a\\n'", &[b"a\\n"]),
            ("a\\nb\\\\c\\xffd\\u{202e}", &[b"a\nb\\c\xffd\xe2\x80\xae"]),
        ];
        for (line, words) in cases {
            let found = split(line).unwrap();
            assert!(found.iter().eq(words), "{line}: {found:?}");
        }
    }

    #[test]
    fn what_is_left_open_is_told() {
        let cases = [
            ("'a", WordError::Quote),
            ("a \"b\\\"", WordError::Quote),
            ("a\\", WordError::Backslash),
            ("\\xg0", WordError::Backslash),
            ("\\x\u{20ac}", WordError::Backslash),
            ("\\u{d800}", WordError::Backslash),
            ("\\u{41", WordError::Backslash),
        ];
        for (line, error) in cases {
            assert_eq!(split(line), Err(error), "{line}");
        }
    }

    #[test]
    fn the_last_word_is_what_is_being_typed() {
        let cases: [(&str, usize, &[u8], usize); 9] = [
            ("", 0, b"", 0),
            ("ca", 0, b"ca", 0),
            ("cat ", 4, b"", 1),
            ("cat a", 4, b"a", 1),
            ("cat 'a b", 4, b"a b", 1),
            ("cat 'a ", 4, b"a ", 1),
            ("cat a\\ b", 4, b"a b", 1),
            ("cat a\\ ", 4, b"a ", 1),
            ("get a b/", 6, b"b/", 2),
        ];
        for (line, start, bytes, index) in cases {
            let expected = LastWord {
                start,
                bytes: bytes.to_vec(),
                index,
            };
            assert_eq!(last(line), Some(expected), "{line:?}");
        }
        assert_eq!(last("cat a\\"), None);
    }

    proptest! {
        #[test]
        fn a_quoted_word_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
            let text = Quoted(&bytes).to_string();
            prop_assert_eq!(split(&text), Ok(vec![bytes.clone()]));
            prop_assert_eq!(last(&text).map(|last| last.bytes), Some(bytes));
        }

        #[test]
        fn no_line_panics(line in ".{0,40}") {
            let _ = (split(&line), last(&line));
        }
    }
}
