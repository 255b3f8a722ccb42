//! The address of a file that is fetched in the plain mode: `plain://HOST:PORT/NAME`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::address::{AddressError, DEFAULT_PORT, HostPort, decode_percent};
use crate::escape::Escaped;
use crate::limits::PLAIN_NAME_BYTES_MAX;
use crate::path::{Name, PathError};

const SCHEME: &str = "plain://";

/// Where a server of the plain mode listens, and what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainAddress {
    /// Where the server listens.
    pub place: HostPort,
    /// The file; `None` if the address ends behind the port.
    pub name: Option<PlainName>,
}

/// A name as it goes to a server of the plain mode: 1 to [`PLAIN_NAME_BYTES_MAX`] bytes without a
/// line end. What it means is the server's affair.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainName(Vec<u8>);

/// Why some bytes cannot be sent as a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PlainNameError {
    /// There are none.
    #[error("the name is empty")]
    Empty,
    /// They would be several names.
    #[error("a name cannot have a line end in it")]
    LineEnd,
    /// They are more than any server takes.
    #[error("a name cannot be longer than {PLAIN_NAME_BYTES_MAX} bytes")]
    TooLong,
}

/// Why some text is not the address of a file in the plain mode.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlainAddressError {
    /// Scheme, host, port or percent-encoding.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The name.
    #[error(transparent)]
    Name(#[from] PlainNameError),
}

impl PlainName {
    /// Checks `bytes` as a name.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn parse(bytes: &[u8]) -> Result<Self, PlainNameError> {
        match bytes {
            [] => Err(PlainNameError::Empty),
            _ if bytes.len() > PLAIN_NAME_BYTES_MAX => Err(PlainNameError::TooLong),
            _ if bytes.contains(&b'\n') => Err(PlainNameError::LineEnd),
            _ => Ok(Self(bytes.to_vec())),
        }
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What a file that is fetched is called here: the part behind the last `/`.
    ///
    /// # Errors
    /// That part is no name.
    pub fn local_name(&self) -> Result<Name, PathError> {
        let part = self.0.rsplit(|&byte| byte == b'/').next();
        Name::parse(part.unwrap_or_default())
    }
}

/// Printed escaped.
impl fmt::Display for PlainName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(out)
    }
}

impl fmt::Debug for PlainName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PlainName({self})")
    }
}

impl PlainAddress {
    /// Whether `text` is meant as one, well-formed or not.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.trim_start().starts_with(SCHEME)
    }
}

impl FromStr for PlainAddress {
    type Err = PlainAddressError;

    /// What stands behind the first `/` is the name, percent-encoded as in a `ph://` address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(AddressError::Scheme)?;
        let (place, name) = rest.split_once('/').unwrap_or((rest, ""));
        let place = HostPort::parse(place, Some(DEFAULT_PORT))?;
        let name = match name {
            "" => None,
            name => Some(PlainName::parse(&decode_percent(name)?)?),
        };
        Ok(Self { place, name })
    }
}

impl fmt::Display for PlainAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SCHEME}{}/", self.place)?;
        match &self.name {
            Some(name) => name.fmt(out),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let cases: [(&str, &str, Option<&[u8]>); 7] = [
            ("plain://host:1/a.txt", "host:1", Some(b"a.txt")),
            ("plain://host/dir/b c", "host:7225", Some(b"dir/b c")),
            ("plain://host:1/b%20c%25", "host:1", Some(b"b c%")),
            ("plain://[::1]:9//etc/x", "[::1]:9", Some(b"/etc/x")),
            ("plain://host:1/../x", "host:1", Some(b"../x")),
            ("plain://host:1/", "host:1", None),
            ("plain://host:1", "host:1", None),
        ];
        for (text, place, name) in cases {
            let address: PlainAddress = text.parse().unwrap();
            assert_eq!(address.place.to_string(), place);
            assert_eq!(address.name.as_ref().map(PlainName::as_bytes), name);
        }
    }

    #[test]
    fn what_is_not_an_address_says_why() {
        let long = format!("plain://h/{}", "x".repeat(PLAIN_NAME_BYTES_MAX + 1));
        let cases = [
            ("ph://h/a", AddressError::Scheme.into()),
            ("plain://", AddressError::Host.into()),
            ("plain://k@h/a", AddressError::Host.into()),
            ("plain://h:0/a", AddressError::Port.into()),
            ("plain://h/a%2", AddressError::Percent.into()),
            ("plain://h/a%0ab", PlainNameError::LineEnd.into()),
            (&long, PlainNameError::TooLong.into()),
        ];
        for (text, error) in cases {
            let found: Result<PlainAddress, PlainAddressError> = text.parse();
            assert_eq!(found, Err(error), "{text}");
        }
    }

    #[test]
    fn the_last_part_is_the_name_here() {
        let cases: [(&[u8], Option<&[u8]>); 5] = [
            (b"a.txt", Some(b"a.txt")),
            (b"/etc/x y", Some(b"x y")),
            (b"dir/", None),
            (b"..", None),
            (b"a/.packhorse-partial", None),
        ];
        for (name, local) in cases {
            let found = PlainName::parse(name).unwrap().local_name().ok();
            assert_eq!(found.as_ref().map(Name::as_bytes), local);
        }
    }
}
