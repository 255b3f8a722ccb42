//! The Internet checksum (RFC 1071), over pieces.

use core::net::IpAddr;

/// The sum of 16-bit words in one's complement, taken over pieces in order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checksum {
    sum: u64,
    odd: bool,
}

impl Checksum {
    /// The pseudo-header of a segment of `tcp_bytes` (RFC 9293 §3.1, RFC 8200 §8.1).
    pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, tcp_bytes: usize) -> Self {
        let mut checksum = Self::default();
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => checksum.add(&address.octets()),
                IpAddr::V6(address) => checksum.add(&address.octets()),
            }
        }
        checksum.sum += u64::from(super::PROTOCOL_TCP) + tcp_bytes as u64;
        checksum
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if self.odd
            && let Some((first, tail)) = rest.split_first()
        {
            self.sum += u64::from(*first);
            self.odd = false;
            rest = tail;
        }
        let (words, last) = rest.as_chunks::<2>();
        self.sum += words
            .iter()
            .map(|word| u64::from(u16::from_be_bytes(*word)))
            .sum::<u64>();
        if let [last] = last {
            self.sum += u64::from(*last) << 8;
            self.odd = true;
        }
    }

    /// The checksum that makes the whole come out right; zero over a whole that is right.
    pub(super) fn finish(self) -> u16 {
        let mut sum = self.sum;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits above")]
        let folded = sum as u16;
        !folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 §3.
    const EXAMPLE: [u8; 8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

    #[test]
    fn the_example_of_the_rfc() {
        let mut checksum = Checksum::default();
        checksum.add(&EXAMPLE);
        assert_eq!(checksum.finish(), !0xddf2);
    }

    #[test]
    fn pieces_of_any_length_give_the_sum_of_the_whole() {
        for first in 0..=EXAMPLE.len() {
            for second in first..=EXAMPLE.len() {
                let mut checksum = Checksum::default();
                checksum.add(&EXAMPLE[..first]);
                checksum.add(&EXAMPLE[first..second]);
                checksum.add(&EXAMPLE[second..]);
                assert_eq!(checksum.finish(), !0xddf2, "{first} {second}");
            }
        }
    }
}
