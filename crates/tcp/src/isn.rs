//! Initial sequence numbers that nobody else can guess (RFC 6528).

use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;

use crate::seq::SeqNumber;
use crate::time::Instant;

/// Makes initial sequence numbers: a clock of 4 µs plus a keyed hash of both ends.
///
/// RFC 6528 §3, with SipHash-2-4. The same pair of ends gets rising numbers, so that
/// segments of an old connection do not fit into a new one; another pair's tell
/// nothing about them. The key must be random and kept for as long as connections may
/// be remembered by peers.
#[derive(Clone)]
pub struct IsnGenerator {
    key: [u8; 16],
}

impl IsnGenerator {
    /// A generator with this secret.
    #[must_use]
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The initial sequence number for a connection that begins `now`.
    #[must_use]
    pub fn generate(&self, local: SocketAddr, remote: SocketAddr, now: Instant) -> SeqNumber {
        #[expect(clippy::cast_possible_truncation, reason = "a clock of 32 bits wraps")]
        let clock = (now.as_nanos() / 4_000) as u32;
        SeqNumber::new(clock).advanced_by(self.hash(b'i', local, remote))
    }

    /// What to add to the clock in the timestamps of a connection (RFC 7323 §7.1).
    #[must_use]
    pub fn timestamp_offset(&self, local: SocketAddr, remote: SocketAddr) -> u32 {
        self.hash(b't', local, remote)
    }

    fn hash(&self, purpose: u8, local: SocketAddr, remote: SocketAddr) -> u32 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(&[purpose]);
        for end in [local, remote] {
            match end.ip() {
                IpAddr::V4(address) => hasher.write(&address.octets()),
                IpAddr::V6(address) => hasher.write(&address.octets()),
            }
            hasher.write(&end.port().to_be_bytes());
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "half of the hash is enough"
        )]
        let low = hasher.finish() as u32;
        low
    }
}

/// Without the key.
impl core::fmt::Debug for IsnGenerator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("IsnGenerator(..)")
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn ends(remote_port: u16) -> (SocketAddr, SocketAddr) {
        (
            "192.0.2.1:80".parse().unwrap(),
            SocketAddr::new("192.0.2.2".parse().unwrap(), remote_port),
        )
    }

    /// RFC 6528 §3: ISN = M + F(...), where M ticks every 4 µs.
    #[test]
    fn the_same_ends_get_rising_numbers() {
        let generator = IsnGenerator::new([7; 16]);
        let (local, remote) = ends(9);
        let now = Instant::from_millis(1_000);
        let first = generator.generate(local, remote, now);
        let later = generator.generate(local, remote, now + Duration::from_millis(4));
        assert_eq!(later.span_since(first), Some(1_000));
    }

    #[test]
    fn others_and_other_keys_get_unrelated_numbers() {
        let now = Instant::default();
        let (local, remote) = ends(9);
        let isn = IsnGenerator::new([7; 16]).generate(local, remote, now);
        let (_, neighbour) = ends(10);
        let generator = IsnGenerator::new([7; 16]);
        let next = generator.generate(local, neighbour, now);
        let swapped = generator.generate(remote, local, now);
        let other_key = IsnGenerator::new([8; 16]).generate(local, remote, now);
        for other in [next, swapped, other_key] {
            assert!(
                other.distance_from(isn).unsigned_abs() > 1 << 16,
                "{other:?}"
            );
        }
        let offset = generator.timestamp_offset(local, remote);
        assert_ne!(offset, isn.get());
    }
}
