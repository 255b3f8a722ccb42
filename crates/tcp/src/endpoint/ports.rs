//! Ephemeral ports that nobody can guess (RFC 6056).

use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;

use super::ends::Ends;

/// The first ephemeral port; the last is the last there is (RFC 6056 §3.2 wants many).
const PORT_MIN: u16 = 32_768;

/// How many ephemeral ports there are.
const PORTS: u32 = u16::MAX as u32 - PORT_MIN as u32 + 1;

/// The length of the table of counters (RFC 6056 §3.3.4).
const COUNTERS: usize = 64;

/// The double-hash selection of RFC 6056 §3.3.4.
///
/// The ports to one remote end rise one by one from a secret place, so that each comes again as
/// late as can be; how many connections go to one says nothing of those to most others.
pub(super) struct Ports {
    key: [u8; 16],
    counters: [u32; COUNTERS],
}

impl Ports {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self {
            key,
            counters: [0; COUNTERS],
        }
    }

    /// The next port for which `is_free` holds; `None` if it holds for none.
    pub(super) fn choose(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        is_free: impl Fn(SocketAddr) -> bool,
    ) -> Option<u16> {
        let ends = Ends::new(SocketAddr::new(local, 0), remote);
        let offset = self.hash(b'p', &ends) % PORTS;
        let counter = &mut self.counters[self.hash(b'c', &ends) as usize % COUNTERS];
        for _ in 0..PORTS {
            let place = offset.wrapping_add(*counter) % PORTS;
            *counter = (*counter + 1) % PORTS;
            let port = PORT_MIN + u16::try_from(place).unwrap_or(0);
            if is_free(SocketAddr::new(local, port)) {
                return Some(port);
            }
        }
        None
    }

    fn hash(&self, purpose: u8, ends: &Ends) -> u32 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(&[purpose]);
        hasher.write(ends.as_bytes());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "half of the hash is enough"
        )]
        let low = hasher.finish() as u32;
        low
    }
}

/// Without the key.
impl core::fmt::Debug for Ports {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ports(..)")
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    fn remote(port: u16) -> SocketAddr {
        SocketAddr::new("192.0.2.9".parse().unwrap(), port)
    }

    /// RFC 6056 §3.3.4: each once before any comes again, and all of them.
    #[test]
    fn every_port_comes_once_before_any_comes_twice() {
        let mut ports = Ports::new([3; 16]);
        let local = "192.0.2.1".parse().unwrap();
        let mut seen = BTreeSet::new();
        for _ in 0..PORTS {
            let port = ports.choose(local, remote(80), |_| true).unwrap();
            assert!(port >= PORT_MIN && seen.insert(port), "{port}");
        }
        let free = |end: SocketAddr| end.port() == 40_000;
        assert_eq!(ports.choose(local, remote(80), free), Some(40_000));
        assert_eq!(ports.choose(local, remote(80), |_| false), None);
    }

    #[test]
    fn each_remote_end_and_each_key_has_its_own_beginning() {
        let local = "192.0.2.1".parse().unwrap();
        let first = |key, port| Ports::new([key; 16]).choose(local, remote(port), |_| true);
        let begins: BTreeSet<_> = (1..=8)
            .flat_map(|n| [first(1, u16::from(n)), first(n, 80)])
            .collect();
        assert!(begins.len() > 12, "{begins:?}");
    }
}
