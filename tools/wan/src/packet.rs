//! The few things that a line does to the inside of a packet: congestion marks and bit errors.

use std::ops::Range;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Flips one bit of the payload, which one `random` says. With `mend`, mends the transport checksum,
/// so that the receiver's kernel cannot tell. Returns false, with nothing changed, if the packet has
/// no payload to hurt or no checksum to mend.
pub(crate) fn flip_bit(packet: &mut [u8], random: u64, mend: bool) -> bool {
    let Some(layout) = Layout::of(packet) else {
        return false;
    };
    let checksum_at = match (mend, layout.checksum_at) {
        (true, None) => return false,
        (true, at) => at,
        (false, _) => None,
    };
    let bits = layout.payload.len() as u128 * 8;
    let bit = ((u128::from(random) * bits) >> 64) as usize;
    let at = layout.payload.start + bit / 8;
    let old = packet[at];
    let new = old ^ (1 << (bit % 8));
    packet[at] = new;
    if let Some(checksum_at) = checksum_at {
        // Words are counted from the transport header, whose start is as even as its checksum's.
        let is_high = (at - checksum_at).is_multiple_of(2);
        let word = |byte: u8| u16::from(byte) << if is_high { 8 } else { 0 };
        let mut sum = updated(be16(packet, checksum_at), word(old), word(new));
        // In UDP, 0 says that there is none.
        if layout.is_udp && sum == 0 {
            sum = 0xffff;
        }
        packet[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    true
}

/// Marks congestion on a packet whose sender understands that. Returns false if it does not.
///
/// RFC 3168 §5.
pub(crate) fn mark_congestion(packet: &mut [u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= 20 => {
            if packet[1] & 3 == 0 {
                return false;
            }
            let old = be16(packet, 0);
            packet[1] |= 3;
            let sum = updated(be16(packet, 10), old, be16(packet, 0));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            true
        }
        Some(6) if packet.len() >= 40 => {
            if (packet[1] >> 4) & 3 == 0 {
                return false;
            }
            packet[1] |= 0x30;
            true
        }
        _ => false,
    }
}

/// Where in an IP packet the transport's payload and checksum lie.
#[derive(Debug)]
struct Layout {
    payload: Range<usize>,
    /// `None` if it cannot be mended: of a fragment, or of UDP that has none.
    checksum_at: Option<usize>,
    is_udp: bool,
}

impl Layout {
    /// Of TCP or UDP with a payload.
    fn of(packet: &[u8]) -> Option<Self> {
        let (protocol, header, end, is_fragment) = match packet.first()? >> 4 {
            4 if packet.len() >= 20 => {
                let header = usize::from(packet[0] & 15) * 4;
                let end = usize::from(be16(packet, 2)).min(packet.len());
                // More fragments, or an offset.
                (packet[9], header, end, be16(packet, 6) & 0x3fff != 0)
            }
            6 if packet.len() >= 40 => {
                let end = (40 + usize::from(be16(packet, 4))).min(packet.len());
                (packet[6], 40, end, false)
            }
            _ => return None,
        };
        let (payload, checksum_at) = match protocol {
            TCP if header + 20 <= end => {
                let offset = usize::from(packet[header + 12] >> 4) * 4;
                (header + offset, header + 16)
            }
            UDP if header + 8 <= end => (header + 8, header + 6),
            _ => return None,
        };
        // A data offset below its least would put the checksum into the payload.
        if payload >= end || payload < checksum_at + 2 {
            return None;
        }
        let is_udp = protocol == UDP;
        let has_none = is_fragment || is_udp && be16(packet, checksum_at) == 0;
        Some(Self {
            payload: payload..end,
            checksum_at: (!has_none).then_some(checksum_at),
            is_udp,
        })
    }
}

fn be16(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// A checksum after one word has changed: RFC 1624 §3, equation 3.
fn updated(sum: u16, old: u16, new: u16) -> u16 {
    !folded(u32::from(!sum) + u32::from(!old) + u32::from(new))
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn summed(parts: &[&[u8]]) -> u16 {
        let words = parts.iter().flat_map(|part| part.chunks(2));
        folded(
            words
                .map(|word| {
                    let low = word.get(1).copied().unwrap_or(0);
                    u32::from(u16::from_be_bytes([word[0], low]))
                })
                .sum(),
        )
    }

    /// Whether the checksums of an IPv4 packet are right, the header's and the transport's.
    fn is_valid(packet: &[u8]) -> bool {
        let header = usize::from(packet[0] & 15) * 4;
        let segment = &packet[header..];
        let length = (segment.len() as u16).to_be_bytes();
        let pseudo = [&packet[12..20], &[0, packet[9]], &length].concat();
        summed(&[&packet[..header]]) == 0xffff && summed(&[&pseudo, segment]) == 0xffff
    }

    /// A packet from 10.77.0.1 to 10.77.0.2 of a sender that understands marks.
    pub(crate) fn packet(protocol: u8, option_bytes: usize, payload_bytes: usize) -> Vec<u8> {
        let header = if protocol == TCP {
            20 + option_bytes
        } else {
            8
        };
        let length = 20 + header + payload_bytes;
        let mut packet = vec![0; length];
        packet[..2].copy_from_slice(&[0x45, 2]);
        packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        packet[6..10].copy_from_slice(&[0x40, 0, 64, protocol]);
        packet[12..20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
        for (number, byte) in packet[20 + header..].iter_mut().enumerate() {
            *byte = (number * 7 + 3) as u8;
        }
        let segment_bytes = ((header + payload_bytes) as u16).to_be_bytes();
        let checksum_at = if protocol == TCP {
            packet[32] = ((header / 4) as u8) << 4;
            36
        } else {
            packet[24..26].copy_from_slice(&segment_bytes);
            26
        };
        let sum = !summed(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let pseudo = [&packet[12..20], &[0, protocol], &segment_bytes].concat();
        let sum = !summed(&[&pseudo, &packet[20..]]);
        packet[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn a_flipped_bit_is_caught_unless_the_checksum_is_mended() {
        for protocol in [TCP, UDP] {
            for bytes in [1, 2, 3, 100, 1447, 1448] {
                let good = packet(protocol, if protocol == TCP { 12 } else { 0 }, bytes);
                assert!(is_valid(&good));
                let payload = Layout::of(&good).unwrap().payload;
                for number in 0..200_u64 {
                    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let (mut caught, mut silent) = (good.clone(), good.clone());
                    assert!(flip_bit(&mut caught, random, false));
                    assert!(flip_bit(&mut silent, random, true));
                    assert!(!is_valid(&caught) && is_valid(&silent));
                    assert_eq!(caught[payload.clone()], silent[payload.clone()]);
                    assert_ne!(good[payload.clone()], silent[payload.clone()]);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_hurt_is_left_alone() {
        let mut fragment = packet(TCP, 12, 100);
        fragment[6] = 0x20;
        let mut no_checksum = packet(UDP, 0, 100);
        no_checksum[26..28].fill(0);
        let mut short_offset = packet(TCP, 0, 100);
        short_offset[32] = 0x10;
        for (name, packet, mend) in [
            ("an acknowledgement", packet(TCP, 12, 0), false),
            ("a fragment", fragment, true),
            ("UDP without a checksum", no_checksum, true),
            ("a data offset below five", short_offset, true),
            ("ICMP", packet(1, 0, 100), false),
            ("nothing", Vec::new(), false),
            ("a stump", vec![0x45; 19], false),
        ] {
            let mut changed = packet.clone();
            assert!(!flip_bit(&mut changed, 5, mend), "{name}");
            assert_eq!(packet, changed, "{name}");
        }
    }

    #[test]
    fn congestion_is_marked_where_it_is_understood() {
        let mut able = packet(TCP, 12, 100);
        assert!(mark_congestion(&mut able) && able[1] & 3 == 3 && is_valid(&able));
        let mut unable = packet(UDP, 0, 10);
        unable[1] = 0;
        assert!(!mark_congestion(&mut unable));
    }
}
