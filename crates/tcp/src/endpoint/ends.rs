//! What tells one connection from another.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Both ends of a connection as one key: 37 bytes, which compare quickly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends([u8; 37]);

impl Ends {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let mut key = [0; 37];
        // Without it an IPv4 address would be the same as the IPv6 one that is made of it.
        key[36] = u8::from(remote.is_ipv6());
        key[..2].copy_from_slice(&remote.port().to_be_bytes());
        key[2..4].copy_from_slice(&local.port().to_be_bytes());
        key[4..20].copy_from_slice(&octets(remote.ip()));
        key[20..36].copy_from_slice(&octets(local.ip()));
        Self(key)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ends(..)")
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
