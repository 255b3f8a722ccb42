//! A segment in its IP packet.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bytes::{Buf, Bytes};

use super::checksum::Checksum;
use super::ip::{self, Ecn, IpPacket};
use super::segment::{PLAIN_HEADER_BYTES, Parsed, Segment};
use super::{OPTIONS_BYTES_MAX, TCP_HEADER_BYTES};

/// A segment with its addresses, as an IP packet carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes to.
    pub destination: SocketAddr,
    /// The ECN bits of the IP header.
    pub ecn: Ecn,
    /// The segment.
    pub segment: Segment,
}

/// Why a packet is not a segment for us; each is reason to drop it in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// It ends before it should.
    Truncated,
    /// The checksum of the IPv4 header is wrong.
    IpChecksum,
    /// A fragment; reassembly of IP packets belongs below this crate.
    Fragment,
    /// It carries something else, or has a header that we cannot skip.
    NotTcp,
    /// The checksum over segment and pseudo-header is wrong (RFC 9293 §3.1, MUST-3).
    TcpChecksum,
    /// The TCP header is said to be shorter than it can be, or longer than the packet.
    BadDataOffset,
    /// An option ends before it begins, or behind the header.
    BadOptionLength,
}

impl Packet {
    /// Reads a packet that begins with its IP header; the payload is not copied.
    ///
    /// # Errors
    /// See [`ParseError`]. IP and TCP checksums are verified.
    pub fn parse(packet: &Bytes) -> Result<Self, ParseError> {
        Self::from_bytes(packet.clone())
    }

    /// Like `parse`, and what is left of `packet` is the payload: for who has no other use for it.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn from_bytes(packet: Bytes) -> Result<Self, ParseError> {
        Self::read(packet, true)
    }

    /// Like `from_bytes`, for what a device has verified, or never sent over a wire: the checksum
    /// of TCP is not looked at. It may be several segments that a device has put together.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn from_verified_bytes(packet: Bytes) -> Result<Self, ParseError> {
        Self::read(packet, false)
    }

    fn read(packet: Bytes, verify: bool) -> Result<Self, ParseError> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => Self::take_apart(IpPacket::parse_v4(&packet)?, packet, verify),
            Some(6) => Self::take_apart(IpPacket::parse_v6(&packet)?, packet, verify),
            Some(_) => Err(ParseError::NotIp),
            None => Err(ParseError::Truncated),
        }
    }

    /// Nearly every packet goes a way of its own, on which nothing is read as a whole that was just
    /// written in pieces: a processor waits for that.
    #[inline(always)]
    fn take_apart(ip: IpPacket, mut packet: Bytes, verify: bool) -> Result<Self, ParseError> {
        let tcp = &packet[ip.payload.clone()];
        let Some((header, parsed)) = Segment::parse_plain(tcp) else {
            return Self::take_apart_any(ip, packet, verify);
        };
        let mut checksum = Checksum::pseudo_header(ip.source, ip.destination, tcp.len());
        checksum.add_words(header.as_chunks().0);
        packet.truncate(ip.payload.end);
        packet.advance(ip.payload.start + PLAIN_HEADER_BYTES);
        if verify {
            checksum.add(&packet);
            if checksum.finish() != 0 {
                return Err(ParseError::TcpChecksum);
            }
        }
        Ok(Self::around(&ip, parsed, packet))
    }

    fn take_apart_any(ip: IpPacket, mut packet: Bytes, verify: bool) -> Result<Self, ParseError> {
        let tcp = &packet[ip.payload.clone()];
        if verify {
            let mut checksum = Checksum::pseudo_header(ip.source, ip.destination, tcp.len());
            checksum.add(tcp);
            if checksum.finish() != 0 {
                return Err(ParseError::TcpChecksum);
            }
        }
        let (parsed, header) = Segment::parse(tcp)?;
        if header < tcp.len() {
            packet.truncate(ip.payload.end);
            packet.advance(ip.payload.start + header);
        } else {
            // It would hold on to the packet.
            packet = Bytes::new();
        }
        Ok(Self::around(&ip, parsed, packet))
    }

    #[inline(always)]
    fn around(ip: &IpPacket, parsed: Parsed, payload: Bytes) -> Self {
        let Parsed {
            source,
            destination,
            mut segment,
        } = parsed;
        segment.payload = payload;
        Self {
            source: SocketAddr::new(ip.source, source),
            destination: SocketAddr::new(ip.destination, destination),
            ecn: ip.ecn,
            segment,
        }
    }

    /// Appends the packet, from its IP header on, checksums included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let tcp_bytes = self.segment.header_bytes() + self.segment.payload.len();
        out.reserve(ip::IPV6_HEADER_BYTES + tcp_bytes);
        let start = self.encode_headers(tcp_bytes, out);
        out.extend_from_slice(&self.segment.payload);
        let mut checksum = self.pseudo_header(tcp_bytes);
        checksum.add(&out[start..]);
        write_checksum(&mut out[start..], checksum);
    }

    /// Appends packets for as much of the payload as makes whole segments of `segment_bytes`, and
    /// the end of each to `ends`; they differ in number and payload only.
    ///
    /// # Panics
    /// Not if `segment_bytes` is not zero.
    pub(crate) fn encode_run(
        &self,
        segment_bytes: usize,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) {
        let segment = &self.segment;
        let tcp_bytes = segment.header_bytes() + segment_bytes;
        let count = segment.payload.len() / segment_bytes;
        out.reserve(count * (ip::IPV6_HEADER_BYTES + tcp_bytes));
        let mut headers =
            Vec::with_capacity(ip::IPV6_HEADER_BYTES + TCP_HEADER_BYTES + OPTIONS_BYTES_MAX);
        let tcp_at = self.encode_headers(tcp_bytes, &mut headers);
        let mut common = self.pseudo_header(tcp_bytes);
        headers[tcp_at + 4..tcp_at + 8].fill(0);
        common.add(&headers[tcp_at..]);
        let mut number = segment.seq;
        for payload in segment.payload.chunks_exact(segment_bytes) {
            headers[tcp_at + 4..tcp_at + 8].copy_from_slice(&number.get().to_be_bytes());
            let mut checksum = common.with_number(number.get());
            checksum.add(payload);
            write_checksum(&mut headers[tcp_at..], checksum);
            out.extend_from_slice(&headers);
            out.extend_from_slice(payload);
            ends.push(out.len());
            #[expect(clippy::cast_possible_truncation, reason = "no packet has 2^32 bytes")]
            let bytes = segment_bytes as u32;
            number = number.advanced_by(bytes);
        }
    }

    /// Appends the headers with what a device that completes checksums adds the rest to: the sum
    /// of the pseudo-header. Gives where TCP's header begins.
    pub(crate) fn encode_open_headers(&self, out: &mut Vec<u8>) -> usize {
        let tcp_bytes = self.segment.header_bytes() + self.segment.payload.len();
        let start = self.encode_headers(tcp_bytes, out);
        let sum = !self.pseudo_header(tcp_bytes).finish();
        out[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
        start
    }

    /// Appends IP and TCP headers, the checksum of TCP left out; gives where TCP's begins.
    fn encode_headers(&self, tcp_bytes: usize, out: &mut Vec<u8>) -> usize {
        let Self {
            source,
            destination,
            ecn,
            segment,
        } = self;
        ip::encode(source.ip(), destination.ip(), *ecn, tcp_bytes, out);
        let start = out.len();
        segment.encode_header(source.port(), destination.port(), out);
        start
    }

    fn pseudo_header(&self, tcp_bytes: usize) -> Checksum {
        Checksum::pseudo_header(self.source.ip(), self.destination.ip(), tcp_bytes)
    }

    /// The bytes of IP and TCP headers together, without options.
    pub(crate) const fn header_bytes(address: IpAddr) -> usize {
        let ip = match address {
            IpAddr::V4(_) => ip::IPV4_HEADER_BYTES,
            IpAddr::V6(_) => ip::IPV6_HEADER_BYTES,
        };
        ip + TCP_HEADER_BYTES
    }
}

/// Writes `checksum` into the TCP header at the beginning of `tcp`.
fn write_checksum(tcp: &mut [u8], checksum: Checksum) {
    tcp[16..18].copy_from_slice(&checksum.finish().to_be_bytes());
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotIp => "neither IPv4 nor IPv6",
            Self::Truncated => "the packet ends before it should",
            Self::IpChecksum => "the checksum of the IP header is wrong",
            Self::Fragment => "a fragment of an IP packet",
            Self::NotTcp => "no TCP segment",
            Self::TcpChecksum => "the TCP checksum is wrong",
            Self::BadDataOffset => "the TCP header has an impossible length",
            Self::BadOptionLength => "a TCP option has an impossible length",
        })
    }
}

impl core::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::{Flags, Options, SackBlock, Timestamps, UserTimeoutOption};
    use super::*;
    use crate::seq::SeqNumber;
    use proptest::prelude::*;

    /// A SYN as another stack writes it: IPv4, 192.0.2.1:1025 to 198.51.100.2:80.
    const SYN: [u8; 44] = [
        0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0x4e, 0x95, 192, 0, 2, 1, 198, 51, 100, 2, 4, 1, 0,
        80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0xa7, 0x9d, 0, 0, 2, 4, 5, 0xb4,
    ];

    fn syn() -> Packet {
        let mut segment = Segment::new(SeqNumber::new(1), None);
        segment.flags = Flags::SYN;
        segment.window = 65_535;
        segment.options.mss = Some(1460);
        Packet {
            source: "192.0.2.1:1025".parse().unwrap(),
            destination: "198.51.100.2:80".parse().unwrap(),
            ecn: Ecn::NotCapable,
            segment,
        }
    }

    #[test]
    fn a_syn_byte_by_byte() {
        let mut bytes = Vec::new();
        syn().encode(&mut bytes);
        assert_eq!(bytes, SYN);
        assert_eq!(Packet::parse(&Bytes::from_static(&SYN)), Ok(syn()));
    }

    #[test]
    fn padding_behind_the_packet_is_cut_off() {
        let mut padded = SYN.to_vec();
        padded.extend([0; 6]);
        assert_eq!(Packet::parse(&padded.into()), Ok(syn()));
    }

    #[test]
    fn no_byte_of_a_plain_segment_may_change() {
        for address in ["192.0.2.1:1025", "[2001:db8::1]:1025"] {
            let mut packet = syn();
            packet.source = address.parse().unwrap();
            packet.destination = packet.source;
            packet.segment = Segment::new(SeqNumber::new(1), Some(SeqNumber::new(2)));
            packet.segment.options.timestamps = Some(Timestamps { value: 3, echo: 4 });
            packet.segment.payload = Bytes::from_static(b"odd");
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            let tcp_at = bytes.len() - 35;
            assert_eq!(Packet::from_bytes(bytes.clone().into()), Ok(packet.clone()));
            for at in tcp_at..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x10;
                let read = Packet::from_bytes(damaged.clone().into());
                assert_eq!(read, Err(ParseError::TcpChecksum), "byte {at}");
                let unseen = Packet::from_verified_bytes(damaged.into());
                assert_ne!(unseen, Err(ParseError::TcpChecksum), "byte {at}");
            }
        }
    }

    #[test]
    fn each_defect_has_its_error() {
        for (at, byte, error) in [
            (0, 0x55, ParseError::NotIp),
            (0, 0x44, ParseError::Truncated),
            (3, 45, ParseError::Truncated),
            (8, 63, ParseError::IpChecksum),
            (43, 0, ParseError::TcpChecksum),
        ] {
            let mut damaged = SYN.to_vec();
            damaged[at] = byte;
            assert_eq!(Packet::parse(&damaged.into()), Err(error), "byte {at}");
        }
        assert_eq!(Packet::parse(&Bytes::new()), Err(ParseError::Truncated));
    }

    /// Replaces bytes and mends both checksums, so that what is behind them is seen.
    fn mended(changes: &[(usize, u8)]) -> Bytes {
        let mut packet = SYN.to_vec();
        for (at, byte) in changes {
            packet[*at] = *byte;
        }
        packet[10..12].fill(0);
        let mut checksum = Checksum::default();
        checksum.add(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.finish().to_be_bytes());
        packet[36..38].fill(0);
        let source = "192.0.2.1".parse().unwrap();
        let destination = "198.51.100.2".parse().unwrap();
        let mut checksum = Checksum::pseudo_header(source, destination, 24);
        checksum.add(&packet[20..]);
        packet[36..38].copy_from_slice(&checksum.finish().to_be_bytes());
        packet.into()
    }

    #[test]
    fn a_right_checksum_does_not_excuse_the_rest() {
        for (at, byte, error) in [
            (6, 0x20, ParseError::Fragment),
            (7, 1, ParseError::Fragment),
            (9, 17, ParseError::NotTcp),
            (32, 0x40, ParseError::BadDataOffset),
            (32, 0x70, ParseError::BadDataOffset),
            (41, 1, ParseError::BadOptionLength),
        ] {
            assert_eq!(
                Packet::parse(&mended(&[(at, byte)])),
                Err(error),
                "byte {at}"
            );
        }
    }

    #[test]
    fn extension_headers_of_ipv6_are_skipped() {
        let packet = Packet {
            source: "[2001:db8::1]:7".parse().unwrap(),
            destination: "[2001:db8::2]:9".parse().unwrap(),
            ..syn()
        };
        let mut plain = Vec::new();
        packet.encode(&mut plain);
        let mut extended = plain.clone();
        extended[5] += 16;
        extended[6] = 0;
        extended.splice(40..40, [60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(Packet::parse(&extended.clone().into()), Ok(packet));
        extended[40] = 44;
        assert_eq!(Packet::parse(&extended.into()), Err(ParseError::Fragment));
    }

    fn any_segment() -> impl Strategy<Value = Segment> {
        let options = (
            any::<Option<u16>>(),
            any::<Option<u8>>(),
            any::<bool>(),
            any::<Option<(u32, u32)>>(),
            any::<Option<(bool, u16)>>(),
            prop::collection::vec(any::<(u32, u32)>(), 0..=1),
        )
            .prop_map(
                |(mss, window_scale, sack_permitted, times, timeout, sack)| Options {
                    mss,
                    window_scale,
                    sack_permitted,
                    timestamps: times.map(|(value, echo)| Timestamps { value, echo }),
                    user_timeout: timeout.map(|(minutes, count)| UserTimeoutOption {
                        minutes,
                        count: count & 0x7fff,
                    }),
                    sack: sack
                        .into_iter()
                        .map(|(left, right)| SackBlock {
                            left: SeqNumber::new(left),
                            right: SeqNumber::new(right),
                        })
                        .collect(),
                },
            );
        let flags = prop::sample::subsequence(
            vec![
                Flags::FIN,
                Flags::SYN,
                Flags::RST,
                Flags::PSH,
                Flags::ECE,
                Flags::AE,
            ],
            0..=6,
        );
        let payload = prop::collection::vec(any::<u8>(), 0..50);
        (
            any::<(u32, Option<u32>, u16, u16)>(),
            flags,
            options,
            payload,
        )
            .prop_map(
                |((seq, ack, window, urgent), flags, options, payload)| Segment {
                    seq: SeqNumber::new(seq),
                    ack: ack.map(SeqNumber::new),
                    flags: flags.into_iter().fold(Flags::NONE, |all, flag| all | flag),
                    window,
                    urgent,
                    options,
                    payload: payload.into(),
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_parsed(segment in any_segment(), v6: bool) {
            let (source, destination) = if v6 {
                ("[2001:db8::1]:7", "[2001:db8::2]:9")
            } else {
                ("192.0.2.1:7", "192.0.2.2:9")
            };
            let packet = Packet {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                ecn: Ecn::Capable0,
                segment,
            };
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            prop_assert_eq!(Packet::parse(&bytes.into()), Ok(packet));
        }

        #[test]
        fn any_bytes_are_parsed_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            version in prop::sample::select(vec![0x45_u8, 0x4f, 0x60]),
        ) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let mut whole = bytes.clone();
            let _ = Packet::parse(&bytes.into());
            // Behind the checksums too: as a segment, and in a packet that a device has verified.
            let _ = Segment::parse(&whole);
            let body = whole.len().saturating_sub(ip::IPV6_HEADER_BYTES) as u16;
            if let Some(header) = whole.first_chunk_mut::<{ ip::IPV6_HEADER_BYTES }>() {
                header[0] = 0x60;
                header[4..6].copy_from_slice(&body.to_be_bytes());
                header[6] = crate::wire::PROTOCOL_TCP;
            }
            let _ = Packet::from_verified_bytes(whole.into());
        }

        #[test]
        fn one_flipped_bit_is_noticed(segment in any_segment(), at: prop::sample::Index, bit in 0..8) {
            let packet = Packet { segment, ..syn() };
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(Packet::parse(&bytes.into()) != Ok(packet));
        }
    }
}
