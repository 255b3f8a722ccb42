//! What a client speaks, by the first bytes that it sends.

use std::time::Duration;

/// A first line is looked at this far for its end.
pub const FIRST_LINE_BYTES_MAX: usize = 8 * 1024;

/// A name of the plain mode that comes without a line end is complete once nothing has followed it
/// for this long.
pub const NAME_PAUSE: Duration = Duration::from_millis(200);

/// The same for a name in which the target of a request has begun. No file is likely to be called
/// so, while a long request comes in several segments, and one that is lost is sent again only after
/// 200 ms or more (RFC 6298).
const TARGET_PAUSE: Duration = Duration::from_secs(1);

/// The longest registered method is UPDATEREDIRECTREF; a longer word is none.
const METHOD_BYTES_MAX: usize = 20;

/// How the preface of HTTP/2 begins, RFC 9113 §3.4.
const HTTP2_FIRST_LINE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// The content type of a TLS record that holds a handshake message, RFC 8446 §5.1.
const TLS_HANDSHAKE: u8 = 0x16;

/// What some bytes are the beginning of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBytes {
    /// It depends on what follows.
    NeedMore,
    /// A TLS hello.
    Tls,
    /// A clear-text HTTP/1.x request, the method in whatever case.
    Http,
    /// HTTP/2 in clear text, without a word of HTTP/1 before it (RFC 9113 §3.3).
    Http2,
    /// Anything else, the plain mode's file names among them.
    Other,
}

impl FirstBytes {
    /// Places a prefix of what a client sends.
    ///
    /// What is decided stays decided whatever follows, so the answer does not depend on how the
    /// bytes were cut into segments.
    #[must_use]
    pub fn classify(prefix: &[u8]) -> Self {
        let window = &prefix[..prefix.len().min(FIRST_LINE_BYTES_MAX)];
        match window.first() {
            None => return Self::NeedMore,
            Some(&TLS_HANDSHAKE) => return Self::Tls,
            Some(_) => {}
        }
        if !may_begin_a_request(window) {
            return Self::Other;
        }
        match window.iter().position(|&byte| byte == b'\n') {
            Some(end) if window[..=end] == *HTTP2_FIRST_LINE => Self::Http2,
            Some(end) if ends_in_version(&window[..end]) => Self::Http,
            Some(_) => Self::Other,
            None if window.len() < FIRST_LINE_BYTES_MAX => Self::NeedMore,
            // No name is as long, while a path of 4 KiB takes three times that when it is escaped.
            None if has_target(window) => Self::Http,
            None => Self::Other,
        }
    }
}

/// How long silence must last behind `prefix`, which could become a request, before it is taken for
/// a name of the plain mode.
#[must_use]
pub fn pause_after(prefix: &[u8]) -> Duration {
    match has_target(prefix) {
        true => TARGET_PAUSE,
        false => NAME_PAUSE,
    }
}

/// Whether the target of a request begins behind the first word.
fn has_target(prefix: &[u8]) -> bool {
    let space = prefix.iter().position(|&byte| byte == b' ');
    space.is_some_and(|space| prefix.get(space + 1) == Some(&b'/'))
}

/// Whether it begins with a method, or as much of one as is there. Without this, the name of a
/// file that comes without a newline could never be told from a request that is still arriving.
fn may_begin_a_request(window: &[u8]) -> bool {
    let method = window
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'-')
        .count();
    let followed_by_space = window.get(method).is_none_or(|&byte| byte == b' ');
    window[0].is_ascii_alphabetic() && method <= METHOD_BYTES_MAX && followed_by_space
}

fn ends_in_version(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.split_last()
        .is_some_and(|(minor, rest)| minor.is_ascii_digit() && rest.ends_with(b" HTTP/1."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        let long = |length: usize| [b"GET /".as_slice(), &vec![b'a'; length - 5]].concat();
        let vague = [b"GET ".as_slice(), &[b'a'; FIRST_LINE_BYTES_MAX]].concat();
        let cases: &[(&[u8], FirstBytes)] = &[
            (b"", FirstBytes::NeedMore),
            (b"\x16", FirstBytes::Tls),
            (b"\x16\x03\x01\x02\x00\x01", FirstBytes::Tls),
            (b"G", FirstBytes::NeedMore),
            (b"GET ", FirstBytes::NeedMore),
            (b"GET / HTTP/1.1", FirstBytes::NeedMore),
            (b"GET / HTTP/1.1\r\n", FirstBytes::Http),
            (b"GET / HTTP/1.0\nHost: a\n\n", FirstBytes::Http),
            (b"M-SEARCH * HTTP/1.1\r\n", FirstBytes::Http),
            (b"GET a b HTTP/1.9\r\n", FirstBytes::Http),
            (b"GET /\r\n", FirstBytes::Other),
            (b"GET /HTTP/1.1\r\n", FirstBytes::Other),
            (b"GET / HTTP/1.\r\n", FirstBytes::Other),
            (b"GET / HTTP/2.0\r\n", FirstBytes::Other),
            (b"PRI * HTTP/2.0", FirstBytes::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FirstBytes::Http2),
            (b"PRI * HTTP/2.0\n", FirstBytes::Other),
            (b"get / HTTP/1.1\r\n", FirstBytes::Http),
            (b"readme", FirstBytes::NeedMore),
            (b"readme.md", FirstBytes::Other),
            (b" HTTP/1.1\r\n", FirstBytes::Other),
            (b"\n", FirstBytes::Other),
            (b"\r\nGET / HTTP/1.1\r\n", FirstBytes::Other),
            (b"README", FirstBytes::NeedMore),
            (b"README\n", FirstBytes::Other),
            (b"README.md", FirstBytes::Other),
            (b"Makefile", FirstBytes::NeedMore),
            (b"two words\n", FirstBytes::Other),
            (b"ABCDEFGHIJKLMNOPQRSTU", FirstBytes::Other),
            (b"SSH-2.0-OpenSSH_9.9\r\n", FirstBytes::Other),
            (b"\x15\x03\x03", FirstBytes::Other),
            (b"\xff\xfe", FirstBytes::Other),
            (&long(FIRST_LINE_BYTES_MAX - 1), FirstBytes::NeedMore),
            (&long(FIRST_LINE_BYTES_MAX), FirstBytes::Http),
            (&vague, FirstBytes::Other),
        ];
        for (prefix, expected) in cases {
            let shown = prefix.escape_ascii();
            assert_eq!(FirstBytes::classify(prefix), *expected, "{shown}");
        }
    }

    #[test]
    fn what_is_decided_stays_decided() {
        let late = [
            &vec![b'A'; 3][..],
            b" ",
            &vec![b'b'; 9000],
            b" HTTP/1.1\r\n",
        ]
        .concat();
        let long = [b"GET /", &vec![b'a'; 9000][..], b" HTTP/1.1\r\n"].concat();
        let streams: [&[u8]; 8] = [
            b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"README.md\nsecond HTTP/1.1\n",
            b"GET / HTTP/2.0\r\nx HTTP/1.1\r\n",
            b"\x16\x03\x01 / HTTP/1.1\n",
            &late,
            &long,
        ];
        for stream in streams {
            let mut decided = FirstBytes::NeedMore;
            for end in 0..=stream.len() {
                let now = FirstBytes::classify(&stream[..end]);
                assert!(decided == FirstBytes::NeedMore || decided == now, "{end}");
                decided = now;
            }
            assert_ne!(decided, FirstBytes::NeedMore);
        }
    }
}
