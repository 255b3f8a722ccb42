//! The one URL that a person pastes: `ph://KEY@HOST:PORT/PATH`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use thiserror::Error;

use crate::key::{Key, KeyError};
use crate::path::{PathError, RelativePath};

/// The port that a server listens on and an address means where none is given.
pub const DEFAULT_PORT: u16 = 7225;

const SCHEME: &str = "ph://";

/// A host and a port, not yet looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A host name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Which server, with what right, and which path below its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `None` in a bare address: the identity must be known from before.
    pub key: Option<Key>,
    /// Where the server listens.
    pub place: HostPort,
    /// What is asked for; the root if the address ends behind the port.
    pub path: RelativePath,
    /// The address ends in `/` behind a name: only a directory will do.
    pub directory_only: bool,
}

/// Why some text is not an address. All but `Key` are mistakes in usage; `Key` means that the key
/// cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It begins with something else.
    #[error("an address begins with `ph://`, as in ph://KEY@HOST:PORT/PATH")]
    Scheme,
    /// The part before the `@`.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The host is missing or has characters that no host name has.
    #[error("the host in the address is missing or malformed")]
    Host,
    /// An IPv6 address without brackets, behind which nobody can tell the port from it.
    #[error("an IPv6 host stands in brackets: {0}")]
    Brackets(String),
    /// The port is not a number from 1 to 65535.
    #[error("the port in the address must be a number from 1 to 65535")]
    Port,
    /// A `%` that two hexadecimal digits do not follow.
    #[error(
        "the path in the address has a `%` without two hexadecimal digits; write `%25` for a `%`"
    )]
    Percent,
    /// The path breaks a rule.
    #[error("the path in the address cannot be asked for: {0}")]
    Path(#[from] PathError),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(AddressError::Scheme)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (key, place) = match authority.rsplit_once('@') {
            Some((key, place)) => (Some(Key::parse(key)?), place),
            None => (None, authority),
        };
        let place = HostPort::parse(place, Some(DEFAULT_PORT))?;
        let bytes = decode_percent(path)?;
        let (bytes, directory_only) = match bytes.strip_suffix(b"/") {
            Some(stripped) => (stripped.to_vec(), true),
            None => (bytes, false),
        };
        if bytes.is_empty() && directory_only {
            return Err(PathError::EmptyPart.into());
        }
        Ok(Self {
            key,
            place,
            path: RelativePath::parse(&bytes)?,
            directory_only,
        })
    }
}

impl Address {
    /// The address as text with its key: for standard output, and nowhere else.
    #[must_use]
    pub fn reveal(&self) -> String {
        let key = self
            .key
            .as_ref()
            .map_or_else(String::new, |key| key.reveal() + "@");
        format!("{SCHEME}{key}{}", self.without_key())
    }

    /// All that stands behind the key.
    fn without_key(&self) -> String {
        let end = if self.directory_only { "/" } else { "" };
        format!("{}/{}{end}", self.place, encode_path(&self.path))
    }
}

/// Printed without the key, so that it may stand in messages and logs.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SCHEME}{}", self.without_key())
    }
}

impl HostPort {
    /// Reads `HOST:PORT`, `[IPV6]:PORT`, or a host alone where there is a `default_port`.
    ///
    /// # Errors
    /// `Host`, `Brackets` or `Port`.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, AddressError> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(AddressError::Host)?;
            let (ip, zone) = host.split_once('%').unwrap_or((host, "0"));
            if ip.parse::<Ipv6Addr>().is_err() || !is_plain(zone) {
                return Err(AddressError::Host);
            }
            match rest {
                "" => (host, None),
                _ => (
                    host,
                    Some(rest.strip_prefix(':').ok_or(AddressError::Port)?),
                ),
            }
        } else {
            if let Some(place) = in_brackets(text) {
                return Err(AddressError::Brackets(place));
            }
            let (host, port) = text
                .split_once(':')
                .map_or((text, None), |(host, port)| (host, Some(port)));
            if !is_plain(host) {
                return Err(AddressError::Host);
            }
            (host, port)
        };
        let port = match (port, default_port) {
            (None, Some(port)) => port,
            (None, None) => return Err(AddressError::Port),
            (Some(digits), _) => parse_port(digits)?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// Percent-encodes a path so that it can stand in an address or a URL.
#[must_use]
pub fn encode_path(path: &RelativePath) -> String {
    /// What RFC 3986 lets stand in a path segment, and the separator, stay as they are.
    const ESCAPED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}')
        .add(b'\'')
        .add(b'(')
        .add(b')')
        .add(b'*')
        .add(b'!')
        .add(b'$')
        .add(b'&')
        .add(b';');
    percent_encode(path.as_bytes(), ESCAPED).to_string()
}

/// Undoes percent-encoding, once.
pub(crate) fn decode_percent(text: &str) -> Result<Vec<u8>, AddressError> {
    let bytes = text.as_bytes();
    let malformed = |at: usize| {
        !bytes
            .get(at + 1..at + 3)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && malformed(at)) {
        return Err(AddressError::Percent);
    }
    Ok(percent_decode_str(text).collect())
}

fn parse_port(digits: &str) -> Result<u16, AddressError> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::Port);
    }
    digits
        .parse()
        .ok()
        .filter(|&port| port != 0)
        .ok_or(AddressError::Port)
}

/// `text` as it should be written, if it is an IPv6 address with or without a port behind it.
///
/// What can be read as address and port is, since a port is what most addresses have.
fn in_brackets(text: &str) -> Option<String> {
    let is_ipv6 = |host: &str| {
        let (ip, zone) = host.split_once('%').unwrap_or((host, "0"));
        ip.parse::<Ipv6Addr>().is_ok() && is_plain(zone)
    };
    match text.rsplit_once(':') {
        Some((host, port)) if is_ipv6(host) && parse_port(port).is_ok() => {
            Some(format!("[{host}]:{port}"))
        }
        _ => is_ipv6(text).then(|| format!("[{text}]")),
    }
}

fn is_plain(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::Pin;

    fn key() -> String {
        Key {
            pin: Pin::from([1; 16]),
            token: Some([2; 16].into()),
        }
        .reveal()
    }

    #[test]
    fn addresses_are_read() {
        let cases = [
            (
                format!("ph://{}@host:1234/a/b", key()),
                "host:1234",
                &b"a/b"[..],
                false,
            ),
            ("ph://host".into(), "host:7225", b"", false),
            ("ph://host/".into(), "host:7225", b"", false),
            ("ph://[::1]:99/x/".into(), "[::1]:99", b"x", true),
            (
                "ph://[fe80::1%eth0]/x".into(),
                "[fe80::1%eth0]:7225",
                b"x",
                false,
            ),
            (
                "ph://10.0.0.1/a%20b%ff%252e?x#y".into(),
                "10.0.0.1:7225",
                b"a b\xff%2e?x#y",
                false,
            ),
        ];
        for (text, place, path, directory_only) in cases {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.place.to_string(), place);
            assert_eq!(address.path.as_bytes(), path);
            assert_eq!(address.directory_only, directory_only);
        }
    }

    #[test]
    fn what_is_not_an_address_says_why() {
        let cases = [
            ("http://host/", AddressError::Scheme),
            ("host:7225", AddressError::Scheme),
            ("ph://", AddressError::Host),
            ("ph://ho st/", AddressError::Host),
            ("ph://[::g]/", AddressError::Host),
            ("ph://::1/", AddressError::Brackets("[::1]".into())),
            (
                "ph://2001:db8::5:7413/",
                AddressError::Brackets("[2001:db8::5]:7413".into()),
            ),
            (
                "ph://fe80::1%eth0:7413/",
                AddressError::Brackets("[fe80::1%eth0]:7413".into()),
            ),
            (
                "ph://1:2:3:4:5:6:7:8/",
                AddressError::Brackets("[1:2:3:4:5:6:7:8]".into()),
            ),
            ("ph://a:b:c/", AddressError::Port),
            ("ph://host:0/", AddressError::Port),
            ("ph://host:+1/", AddressError::Port),
            ("ph://host:65536/", AddressError::Port),
            ("ph://host/%zz", AddressError::Percent),
            ("ph://host/a%2", AddressError::Percent),
            ("ph://host/a/../b", AddressError::Path(PathError::DotPart)),
            ("ph://host/%2e%2e/b", AddressError::Path(PathError::DotPart)),
            ("ph://host//etc", AddressError::Path(PathError::EmptyPart)),
            ("ph://host/a%00", AddressError::Path(PathError::Nul)),
            ("ph://wrong@host/", AddressError::Key(KeyError)),
            ("ph://@host/", AddressError::Key(KeyError)),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_key_shows_only_when_revealed() {
        for path in ["", "a", "a/b/"] {
            let text = format!("ph://{}@host:1/{path}", key());
            let address: Address = text.parse().unwrap();
            assert_eq!(address.reveal(), text);
            assert_eq!(address.to_string(), format!("ph://host:1/{path}"));
        }
    }

    proptest! {
        #[test]
        fn any_path_survives_an_address(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let Ok(path) = RelativePath::parse(&bytes) else { return Ok(()) };
            let address = Address { key: None, place: HostPort { host: "h".into(), port: 1 }, path, directory_only: false };
            prop_assert_eq!(address.reveal().parse::<Address>().unwrap(), address);
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<Address>();
            let _ = format!("ph://{text}").parse::<Address>();
        }
    }
}
