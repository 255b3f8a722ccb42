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
        let addresses = sum_of_address(source) + sum_of_address(destination);
        Self {
            sum: addresses + u64::from(super::PROTOCOL_TCP) + tcp_bytes as u64,
            odd: false,
        }
    }

    /// The header of IPv4 (RFC 791 §3.1), of which all but the first 20 bytes are options.
    #[inline]
    pub(super) fn of_ipv4_header(fixed: &[u8; 20], options: &[u8]) -> Self {
        let mut checksum = Self::default();
        checksum.add_words(fixed.as_chunks().0);
        if !options.is_empty() {
            checksum.add(options);
        }
        checksum
    }

    /// This, and two 16-bit words more.
    pub(super) fn with_number(mut self, number: u32) -> Self {
        debug_assert!(!self.odd, "a number begins with a word");
        self.sum += u64::from(number);
        self
    }

    /// Adds words of 32 bits, of which there are few.
    #[inline]
    pub(super) fn add_words(&mut self, words: &[[u8; 4]]) {
        debug_assert!(!self.odd, "a word begins with another");
        let words = words
            .iter()
            .map(|word| u64::from(u32::from_be_bytes(*word)));
        self.sum += words.sum::<u64>();
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
        let (rows, rest) = rest.as_chunks::<8>();
        self.sum += sum_of_rows(rows);
        let (words, last) = rest.as_chunks::<2>();
        for word in words {
            self.sum += u64::from(u16::from_be_bytes(*word));
        }
        if let [last] = last {
            self.sum += u64::from(*last) << 8;
            self.odd = true;
        }
    }

    /// The checksum that makes the whole come out right; zero over a whole that is right.
    pub(super) fn finish(self) -> u16 {
        !fold(self.sum)
    }
}

/// The sum of many words, four at a time and as the machine reads them: the order of bytes in a
/// word makes no difference until the end (RFC 1071 §2).
///
/// Of the rows the upper halves are summed, and the whole rows, whose carries are lost: what is
/// left of that without the upper halves is the sum of the lower ones, which has none to lose.
/// That is three operations for each row, which compilers do for several rows at once.
fn sum_of_rows(rows: &[[u8; 8]]) -> u64 {
    let (mut whole, mut upper) = (0_u64, 0_u64);
    for row in rows {
        let row = u64::from_ne_bytes(*row);
        whole = whole.wrapping_add(row);
        upper += row >> 32;
    }
    let lower = whole.wrapping_sub(upper << 32);
    u64::from(u16::from_be_bytes(fold(upper + lower).to_ne_bytes()))
}

fn sum_of_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0]
                .map(|shift| bits >> shift & 0xffff_ffff)
                .iter()
                .sum::<u128>() as u64
        }
    }
}

fn fold(sum: u64) -> u16 {
    // What is left has 33 bits, 32, 17 and 16.
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits above")]
    let folded = sum as u16;
    folded
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

    /// What two bytes at a time give, for every length and content that can carry.
    #[test]
    fn many_words_at_once_give_what_one_by_one_do() {
        for filling in [0, 1, 0x7f, 0xff] {
            for length in 0..200_usize {
                let bytes: alloc::vec::Vec<u8> = (0..length)
                    .map(|at| {
                        if at % 7 == 0 {
                            filling
                        } else {
                            0xff - at as u8
                        }
                    })
                    .collect();
                let mut sum = 0_u64;
                for pair in bytes.chunks(2) {
                    let low = pair.get(1).copied().unwrap_or(0);
                    sum += u64::from(u16::from_be_bytes([pair[0], low]));
                }
                let mut checksum = Checksum::default();
                checksum.add(&bytes);
                assert_eq!(checksum.finish(), !fold(sum), "{filling} {length}");
            }
        }
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
