//! Whom a connection can be with (RFC 9293 §3.9.2.3, RFC 1122 §4.2.3.10).

use core::net::IpAddr;

/// Whether `address` can be one end of a connection: it is of one host.
///
/// It is not that of a group, of everybody, or of nobody. The broadcast address of a
/// subnet looks like any other; only who knows its mask can refuse it.
#[must_use]
pub fn is_unicast(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let is_this_network = address.octets()[0] == 0;
            !is_this_network && !address.is_multicast() && !address.is_broadcast()
        }
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_one_host_can_be_ends() {
        for (address, expected) in [
            ("192.0.2.1", true),
            ("127.0.0.1", true),
            ("240.0.0.1", true),
            ("2001:db8::1", true),
            ("::1", true),
            ("fe80::1", true),
            ("::ffff:192.0.2.1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("255.255.255.255", false),
            ("::", false),
            ("ff02::1", false),
            ("::ffff:224.0.0.1", false),
            ("::ffff:0.0.0.0", false),
        ] {
            assert_eq!(is_unicast(address.parse().unwrap()), expected, "{address}");
        }
    }
}
