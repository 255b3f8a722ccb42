//! The IP headers around a segment: IPv4 (RFC 791) and IPv6 (RFC 8200).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use super::PROTOCOL_TCP;
use super::checksum::Checksum;
use super::packet::ParseError;

pub(super) const IPV4_HEADER_BYTES: usize = 20;
pub(super) const IPV6_HEADER_BYTES: usize = 40;

/// Hop limit or time to live of what we send (RFC 1700: 64).
const HOP_LIMIT: u8 = 64;

/// Extension headers that we skip before we give a packet up.
const EXTENSIONS_MAX: usize = 8;

/// The two ECN bits of an IP header (RFC 3168 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Ecn {
    /// Not ECN-capable.
    #[default]
    NotCapable = 0,
    /// ECT(1).
    Capable1 = 1,
    /// ECT(0).
    Capable0 = 2,
    /// Congestion experienced.
    CongestionExperienced = 3,
}

impl Ecn {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotCapable,
            1 => Self::Capable1,
            2 => Self::Capable0,
            _ => Self::CongestionExperienced,
        }
    }
}

/// What an IP header says that TCP wants to know.
#[derive(Debug, Clone)]
pub(super) struct IpPacket {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ecn: Ecn,
    /// Where its payload lies in the packet.
    pub(super) payload: Range<usize>,
}

impl IpPacket {
    /// Reads the header of IPv4; what the link added behind the packet is cut off.
    #[inline]
    pub(super) fn parse_v4(packet: &[u8]) -> Result<Self, ParseError> {
        let fixed = packet
            .first_chunk::<IPV4_HEADER_BYTES>()
            .ok_or(ParseError::Truncated)?;
        let header = usize::from(fixed[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if header < IPV4_HEADER_BYTES || total < header || total > packet.len() {
            return Err(ParseError::Truncated);
        }
        if Checksum::of_ipv4_header(fixed, &packet[IPV4_HEADER_BYTES..header]).finish() != 0 {
            return Err(ParseError::IpChecksum);
        }
        // Everything but "don't fragment" and the reserved bit is about fragments.
        if u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0 {
            return Err(ParseError::Fragment);
        }
        if fixed[9] != PROTOCOL_TCP {
            return Err(ParseError::NotTcp);
        }
        Ok(Self {
            source: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]).into(),
            destination: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]).into(),
            ecn: Ecn::from_bits(fixed[1]),
            payload: header..total,
        })
    }

    /// Reads the header of IPv6, and skips those behind it.
    pub(super) fn parse_v6(packet: &[u8]) -> Result<Self, ParseError> {
        let fixed = packet
            .first_chunk::<IPV6_HEADER_BYTES>()
            .ok_or(ParseError::Truncated)?;
        let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        let end = IPV6_HEADER_BYTES + length;
        if end > packet.len() {
            return Err(ParseError::Truncated);
        }
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&fixed[at..at + 16]);
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        Ok(Self {
            source: address(8),
            destination: address(24),
            ecn: Ecn::from_bits(fixed[1] >> 4),
            payload: skip_extensions(fixed[6], &packet[..end])?..end,
        })
    }
}

/// Skips the headers between IPv6 and TCP (RFC 8200 §4), and gives where they end.
fn skip_extensions(mut next: u8, packet: &[u8]) -> Result<usize, ParseError> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let mut at = IPV6_HEADER_BYTES;
    for _ in 0..EXTENSIONS_MAX {
        let rest = &packet[at..];
        match next {
            PROTOCOL_TCP => return Ok(at),
            FRAGMENT => return Err(ParseError::Fragment),
            HOP_BY_HOP | ROUTING | DESTINATION => {}
            _ => return Err(ParseError::NotTcp),
        }
        let &[following, words, ..] = rest else {
            return Err(ParseError::Truncated);
        };
        let bytes = (usize::from(words) + 1) * 8;
        if bytes > rest.len() {
            return Err(ParseError::Truncated);
        }
        // With segments left, the destination in the header is not the last one, and
        // the pseudo-header would need the last one.
        if next == ROUTING && rest.get(3) != Some(&0) {
            return Err(ParseError::NotTcp);
        }
        next = following;
        at += bytes;
    }
    Err(ParseError::NotTcp)
}

/// Appends the IP header of a packet that carries `tcp_bytes` of TCP.
///
/// Mixed families cannot be sent; a v4 address becomes its v6-mapped form then.
/// A length that the header cannot say is cut to the most that it can.
pub(super) fn encode(
    source: IpAddr,
    destination: IpAddr,
    ecn: Ecn,
    tcp_bytes: usize,
    out: &mut Vec<u8>,
) {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = u16::try_from(IPV4_HEADER_BYTES + tcp_bytes).unwrap_or(u16::MAX);
            let start = out.len();
            out.extend([0x45, ecn as u8]);
            out.extend(total.to_be_bytes());
            // RFC 6864 §4.1: the identification may be anything where DF is set.
            out.extend([0, 0, 0x40, 0, HOP_LIMIT, PROTOCOL_TCP, 0, 0]);
            out.extend(source.octets());
            out.extend(destination.octets());
            if let Some(header) = out[start..].first_chunk_mut() {
                let checksum = Checksum::of_ipv4_header(header, &[]).finish();
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
        }
        (source, destination) => {
            let length = u16::try_from(tcp_bytes).unwrap_or(u16::MAX);
            out.extend([0x60, (ecn as u8) << 4, 0, 0]);
            out.extend(length.to_be_bytes());
            out.extend([PROTOCOL_TCP, HOP_LIMIT]);
            out.extend(to_v6(source).octets());
            out.extend(to_v6(destination).octets());
        }
    }
}

fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
