//! Under which addresses others may reach this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// More than these nobody reads.
const ADDRESSES_MAX: usize = 16;

/// Which families of addresses a server listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Families {
    /// IPv4.
    pub(crate) v4: bool,
    /// IPv6.
    pub(crate) v6: bool,
}

/// This machine's addresses of `families` that others can use, the likeliest first, loopback last.
#[must_use]
pub(crate) fn useful_addresses(families: Families) -> Vec<IpAddr> {
    let of_interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let all = of_interfaces.iter().map(if_addrs::Interface::ip);
    let outgoing = [
        outgoing_address(
            (Ipv4Addr::UNSPECIFIED, 0).into(),
            (Ipv4Addr::new(192, 0, 2, 1), 9).into(),
        ),
        outgoing_address(
            (Ipv6Addr::UNSPECIFIED, 0).into(),
            (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
        ),
    ];
    choose(all.collect(), outgoing, families)
}

/// The address that packets to the rest of the world bear. None is sent.
fn outgoing_address(from: SocketAddr, to: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn choose(mut all: Vec<IpAddr>, outgoing: [Option<IpAddr>; 2], families: Families) -> Vec<IpAddr> {
    // With loopback alone, those on this machine can still come.
    all.push(match families.v4 {
        true => Ipv4Addr::LOCALHOST.into(),
        false => Ipv6Addr::LOCALHOST.into(),
    });
    all.retain(|address| match address {
        IpAddr::V4(address) => families.v4 && !address.is_unspecified() && !address.is_link_local(),
        // A link-local address means something only together with an interface of the other side.
        IpAddr::V6(address) => families.v6 && !address.is_unicast_link_local(),
    });
    // IPv4 first: it is what is typed and what works everywhere.
    let rank = |address: &IpAddr| {
        (
            address.is_ipv6(),
            !outgoing.contains(&Some(*address)),
            *address,
        )
    };
    all.sort_by_key(rank);
    all.dedup();
    let (loopback, others): (Vec<_>, Vec<_>) = all.into_iter().partition(IpAddr::is_loopback);
    let others = others.into_iter().take(ADDRESSES_MAX - 1);
    // One loopback address says as much as two.
    others.chain(loopback.into_iter().take(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_likeliest_come_first_and_loopback_last() {
        let all = of(&[
            "127.0.0.1",
            "::1",
            "fe80::1",
            "172.17.0.1",
            "169.254.3.4",
            "2001:db8::5",
            "10.0.0.2",
            "10.0.0.2",
            "fd00::1",
        ]);
        let outgoing = [Some("172.17.0.1".parse().unwrap()), None];
        let both = Families { v4: true, v6: true };
        let cases = [
            (
                both,
                &[
                    "172.17.0.1",
                    "10.0.0.2",
                    "2001:db8::5",
                    "fd00::1",
                    "127.0.0.1",
                ][..],
            ),
            (
                Families { v6: false, ..both },
                &["172.17.0.1", "10.0.0.2", "127.0.0.1"],
            ),
            (
                Families { v4: false, ..both },
                &["2001:db8::5", "fd00::1", "::1"],
            ),
        ];
        for (families, expected) in cases {
            assert_eq!(choose(all.clone(), outgoing, families), of(expected));
        }
        assert_eq!(choose(vec![], [None; 2], both), of(&["127.0.0.1"]));
    }

    #[test]
    fn very_many_are_cut_and_loopback_stays() {
        let all = (0..100)
            .map(|last| Ipv4Addr::new(10, 0, 0, last).into())
            .collect();
        let chosen = choose(
            all,
            [None; 2],
            Families {
                v4: true,
                v6: false,
            },
        );
        assert_eq!(chosen.len(), ADDRESSES_MAX);
        assert_eq!(chosen.last(), Some(&Ipv4Addr::LOCALHOST.into()));
    }
}
