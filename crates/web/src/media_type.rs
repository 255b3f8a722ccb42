//! What kind of content a file has.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use packhorse_protocol::path::Name;

/// How much of a file's start is looked at.
pub(crate) const HEAD_BYTES: usize = 4096;

/// What a browser is told of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// The value of `Content-Type`.
    pub(crate) value: String,
    /// A browser that shows it may run a script in it.
    pub(crate) is_active: bool,
}

/// What a picture or text can be previewed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preview {
    Picture,
    Text,
}

impl MediaType {
    /// By the name; where that says nothing or speaks of text, by the first bytes too.
    pub(crate) fn of(name: &Name, head: &[u8]) -> Self {
        let by_name = by_name(name);
        let is_text = is_text(head);
        let value = match by_name {
            // Names that mean source code to most who have them, and films or games to a few.
            Some("video/vnd.dlna.mpeg-tts" | "video/mp2t") if is_text && !head.is_empty() => {
                "text/plain"
            }
            // What browsers would rather download than show.
            Some("text/markdown" | "text/x-markdown") if is_text => "text/plain",
            Some(by_name) => by_name,
            None if is_text => "text/plain",
            None => "application/octet-stream",
        };
        let is_active = value == "text/html" || value.ends_with("xml");
        let value = match value.starts_with("text/") && is_text {
            true => format!("{value}; charset=utf-8"),
            false => value.to_owned(),
        };
        Self { value, is_active }
    }
}

impl Preview {
    /// As what a file of this name can be shown, as far as its name says.
    pub(crate) fn of(name: &Name) -> Option<Self> {
        const TEXT: [&str; 5] = [
            "application/json",
            "application/javascript",
            "application/toml",
            "application/x-sh",
            "application/xml",
        ];
        const PICTURES: [&str; 6] = [
            "image/avif",
            "image/bmp",
            "image/gif",
            "image/jpeg",
            "image/png",
            "image/webp",
        ];
        match by_name(name) {
            Some(kind) if PICTURES.contains(&kind) => Some(Self::Picture),
            Some("image/svg+xml") => Some(Self::Picture),
            Some(kind) if kind.starts_with("text/") || TEXT.contains(&kind) => Some(Self::Text),
            Some(_) => None,
            None => {
                const WITHOUT_EXTENSION: [&[u8]; 8] = [
                    b"README",
                    b"LICENSE",
                    b"COPYING",
                    b"NOTICE",
                    b"AUTHORS",
                    b"CHANGELOG",
                    b"Makefile",
                    b"Dockerfile",
                ];
                WITHOUT_EXTENSION
                    .contains(&name.as_bytes())
                    .then_some(Self::Text)
            }
        }
    }
}

fn by_name(name: &Name) -> Option<&'static str> {
    mime_guess::from_path(Path::new(OsStr::from_bytes(name.as_bytes()))).first_raw()
}

/// UTF-8, cut anywhere, without control characters that text does not have.
fn is_text(head: &[u8]) -> bool {
    let has_control = |text: &[u8]| {
        text.iter()
            .any(|&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
    };
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && !has_control(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_what_they_are_called_or_what_they_hold() {
        let cases: &[(&str, &[u8], &str, bool)] = &[
            ("a.png", b"\x89PNG", "image/png", false),
            ("a.txt", b"hi", "text/plain; charset=utf-8", false),
            ("a.txt", b"\xff\xfeh\0", "text/plain", false),
            (
                "a.txt",
                "\u{6587}".as_bytes().split_at(2).0,
                "text/plain; charset=utf-8",
                false,
            ),
            ("README", b"hi", "text/plain; charset=utf-8", false),
            ("README.md", b"# hi", "text/plain; charset=utf-8", false),
            (
                "data",
                b"\x7fELF\x02\x01\x01\0",
                "application/octet-stream",
                false,
            ),
            ("a.html", b"<p>", "text/html; charset=utf-8", true),
            ("a.svg", b"<svg>", "image/svg+xml", true),
            ("a.xml", b"<x/>", "text/xml; charset=utf-8", true),
            ("a.ts", b"let a = 1", "text/plain; charset=utf-8", false),
            ("a.ts", b"\x47\0\0", "video/vnd.dlna.mpeg-tts", false),
            ("a.json", b"{}", "application/json", false),
            ("a.tar.gz", b"\x1f\x8b", "application/gzip", false),
        ];
        for (name, head, value, is_active) in cases {
            let name = Name::parse(name.as_bytes()).unwrap();
            let expected = MediaType {
                value: (*value).to_owned(),
                is_active: *is_active,
            };
            assert_eq!(MediaType::of(&name, head), expected, "{name}");
        }
    }
}
