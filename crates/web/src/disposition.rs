//! The value of `Content-Disposition` (RFC 6266) for a name of any bytes.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands for itself in an extended value: `attr-char` of RFC 8187 §3.2.1.
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// What a browser is to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Show it, if it can.
    Inline,
    /// Keep it.
    Attachment,
}

impl Disposition {
    /// The header's value for a file called `name`.
    ///
    /// A client that knows `filename*` gets the name itself, as far as it is text, without control
    /// characters. Any other gets ASCII with `_` for the rest, without what clients read in
    /// different ways: quotes, backslashes and percent signs (RFC 6266 appendix D).
    pub(crate) fn header(self, name: &[u8]) -> HeaderValue {
        let kind = match self {
            Self::Inline => "inline",
            Self::Attachment => "attachment",
        };
        let text: String = String::from_utf8_lossy(name)
            .chars()
            .map(|character| {
                if character.is_control() {
                    '_'
                } else {
                    character
                }
            })
            .collect();
        let plain: String = text
            .chars()
            .map(|character| match character {
                '"' | '\\' | '%' => '_',
                ' '..='~' => character,
                _ => '_',
            })
            .collect();
        let value = match plain == text {
            true => format!("{kind}; filename=\"{plain}\""),
            false => {
                let extended = utf8_percent_encode(&text, NOT_ATTR_CHAR);
                format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{extended}")
            }
        };
        HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_can_be_said() {
        let cases: &[(&[u8], &str)] = &[
            (b"a.txt", "filename=\"a.txt\""),
            (b"two words; x=y", "filename=\"two words; x=y\""),
            (
                b"say \"hi\"\\%41",
                "filename=\"say _hi___41\"; filename*=UTF-8''say%20%22hi%22%5C%2541",
            ),
            (
                "na\u{ef}ve \u{6587}".as_bytes(),
                "filename=\"na_ve _\"; filename*=UTF-8''na%C3%AFve%20%E6%96%87",
            ),
            (b"a\r\nSet-Cookie: x", "filename=\"a__Set-Cookie: x\""),
            (
                b"\xff.bin",
                "filename=\"_.bin\"; filename*=UTF-8''%EF%BF%BD.bin",
            ),
        ];
        for (name, expected) in cases {
            let header = Disposition::Attachment.header(name);
            assert_eq!(header.to_str().unwrap(), format!("attachment; {expected}"));
        }
    }
}
