//! Where a server is told to listen.

use std::fmt;
use std::str::FromStr;

use packhorse_protocol::address::{AddressError, DEFAULT_PORT, HostPort};
use packhorse_transport::kernel::ListenAt;
use tokio::net::lookup_host;

use crate::exit::{CommandError, Exit, OrExit};
use crate::text::{Text, usage};

/// A host to listen on, or all addresses, and a port; port 0 means any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenPlace {
    /// `None` for all addresses of this machine.
    pub(crate) host: Option<String>,
    /// The TCP port.
    pub(crate) port: u16,
}

impl Default for ListenPlace {
    fn default() -> Self {
        Self {
            host: None,
            port: DEFAULT_PORT,
        }
    }
}

impl ListenPlace {
    /// The addresses that it means.
    ///
    /// # Errors
    /// The host has none.
    pub(crate) async fn look_up(&self) -> Result<ListenAt, CommandError> {
        let Self { host, port } = self;
        let Some(host) = host else {
            return Ok(ListenAt::Everywhere { port: *port });
        };
        let found = lookup_host((host.as_str(), *port)).await;
        let found = found.or_exit(Exit::Usage, || usage::cannot_listen(host))?;
        let mut addresses: Vec<_> = found.collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(ListenAt::Addresses(addresses))
    }
}

impl FromStr for ListenPlace {
    type Err = Text;

    /// Reads `HOST:PORT`, `[IPV6]:PORT`, a host alone, `:PORT` or a port alone.
    fn from_str(text: &str) -> Result<Self, Text> {
        // A number alone would be an IPv4 address to the system's resolver, which nobody means.
        if let Ok(port) = text.parse() {
            return Ok(Self { host: None, port });
        }
        if let Err(error @ AddressError::Brackets(_)) = HostPort::parse(text, Some(DEFAULT_PORT)) {
            return Err(error.into());
        }
        // A port of 0 means nothing in an address, so the address's own reader does not take it.
        let (place, is_any_port) = match text.strip_suffix(":0") {
            Some(host) if !host.ends_with(':') && (host.ends_with(']') || !host.contains(':')) => {
                (host, true)
            }
            _ => (text, false),
        };
        if place.is_empty() && is_any_port {
            return Ok(Self {
                host: None,
                port: 0,
            });
        }
        let (place, has_host) = match place.strip_prefix(':') {
            Some(_) => (format!("all{place}"), false),
            None => (place.to_owned(), true),
        };
        let Ok(HostPort { host, port }) = HostPort::parse(&place, Some(DEFAULT_PORT)) else {
            return Err(usage::not_a_place());
        };
        Ok(Self {
            host: has_host.then_some(host),
            port: if is_any_port { 0 } else { port },
        })
    }
}

impl fmt::Display for ListenPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(out, "[{host}]:{}", self.port),
            Some(host) => write!(out, "{host}:{}", self.port),
            None => write!(out, ":{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let cases = [
            ("127.0.0.1:0", Some((Some("127.0.0.1"), 0))),
            ("127.0.0.1:7000", Some((Some("127.0.0.1"), 7000))),
            ("host", Some((Some("host"), 7225))),
            ("[::1]:0", Some((Some("::1"), 0))),
            ("[::1]", Some((Some("::1"), 7225))),
            ("[fe80::1%eth0]:5", Some((Some("fe80::1%eth0"), 5))),
            (":7000", Some((None, 7000))),
            (":0", Some((None, 0))),
            ("7000", Some((None, 7000))),
            ("0", Some((None, 0))),
            ("::0", None),
            ("a:5:0", None),
            ("a:", None),
            ("", None),
            ("a:99999", None),
            ("a b:1", None),
        ];
        for (text, expected) in cases {
            let place = text.parse::<ListenPlace>().ok();
            let found = place
                .as_ref()
                .map(|place| (place.host.as_deref(), place.port));
            assert_eq!(found, expected, "{text}");
        }
    }
}
