//! TCP over IP as scripts and traces see it: written a second time, so that no fault in the
//! product's codec can hide itself.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

/// The flags of a TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// No more data.
    pub const FIN: Self = Self(0x01);
    /// Here begin the sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// The connection is gone.
    pub const RST: Self = Self(0x04);
    /// Hand the data on.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement counts.
    pub const ACK: Self = Self(0x10);

    /// Each flag with its letter, as tcpdump and packetdrill write them.
    pub const LETTERS: [(char, u16); 9] = [
        ('F', 0x01),
        ('S', 0x02),
        ('R', 0x04),
        ('P', 0x08),
        ('.', 0x10),
        ('U', 0x20),
        ('E', 0x40),
        ('W', 0x80),
        ('A', 0x100),
    ];

    /// Whether all of `flags` are set.
    #[must_use]
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        // The dot comes last, as tcpdump writes it.
        let letters = Self::LETTERS.iter().filter(|(_, bit)| self.0 & bit != 0);
        for (letter, _) in letters.clone().filter(|(letter, _)| *letter != '.') {
            write!(f, "{letter}")?;
        }
        for (letter, _) in letters.filter(|(letter, _)| *letter == '.') {
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

/// An option of a TCP header; padding is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpOption {
    /// RFC 9293 §3.7.1, bytes.
    Mss(u16),
    /// RFC 7323 §2, a shift.
    WindowScale(u8),
    /// RFC 2018 §2.
    SackPermitted,
    /// RFC 2018 §3, first and behind last of each block.
    Sack(Vec<(u32, u32)>),
    /// RFC 7323 §3.
    Timestamps {
        /// TSval.
        value: u32,
        /// TSecr.
        echo: u32,
    },
    /// Any other: its kind and what follows its length.
    Other(u8, Vec<u8>),
}

/// A TCP segment in its IP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpPacket {
    /// From whom.
    pub source: SocketAddr,
    /// To whom; of the same family.
    pub destination: SocketAddr,
    /// The sequence number of its first byte.
    pub seq: u32,
    /// What comes next from the other side, if the ACK flag is set.
    pub ack: u32,
    /// The flags.
    pub flags: Flags,
    /// The window as it is on the wire, unscaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// In their order, padding left out.
    pub options: Vec<TcpOption>,
    /// The data.
    pub payload: Bytes,
}

/// Why bytes are no TCP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Neither IPv4 nor IPv6, or not TCP.
    #[error("not TCP over IP")]
    NotTcp,
    /// A length that does not fit the bytes.
    #[error("a length does not fit")]
    Length,
    /// The sum over the IPv4 header or over the segment is wrong.
    #[error("a checksum is wrong")]
    Checksum,
    /// An option that does not fit, or has a length that it cannot have.
    #[error("an option is malformed")]
    Option,
}

const PROTOCOL_TCP: u8 = 6;

impl TcpPacket {
    /// How much of the sequence space it takes.
    #[must_use]
    pub fn sequence_length(&self) -> u32 {
        let flags = [Flags::SYN, Flags::FIN];
        let flagged = flags.iter().filter(|flag| self.flags.has(**flag)).count();
        (self.payload.len() + flagged) as u32
    }

    /// Reads a packet from its IP header on, and checks every length and sum.
    ///
    /// # Errors
    /// `WireError`: the first thing that is wrong.
    pub fn decode(packet: &Bytes) -> Result<Self, WireError> {
        let (source, destination, segment) = decode_ip(packet)?;
        if segment.len() < 20 {
            return Err(WireError::Length);
        }
        if checksum(&pseudo_header(source, destination, segment.len()), &segment) != 0 {
            return Err(WireError::Checksum);
        }
        let header_length = usize::from(segment[12] >> 4) * 4;
        if header_length < 20 || header_length > segment.len() {
            return Err(WireError::Length);
        }
        let word = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
        let long = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
        Ok(Self {
            source: SocketAddr::new(source, word(0)),
            destination: SocketAddr::new(destination, word(2)),
            seq: long(4),
            ack: long(8),
            flags: Flags(word(12) & 0x1ff),
            window: word(14),
            urgent: word(18),
            options: decode_options(&segment[20..header_length])?,
            payload: segment.slice(header_length..),
        })
    }

    /// Writes it from its IP header on.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut options = Vec::new();
        for option in &self.options {
            encode_option(&mut options, option);
        }
        options.resize(options.len().next_multiple_of(4), 0);
        let header_length = 20 + options.len();
        let mut segment = Vec::with_capacity(header_length + self.payload.len());
        segment.extend(self.source.port().to_be_bytes());
        segment.extend(self.destination.port().to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend(((header_length as u16 / 4) << 12 | self.flags.0).to_be_bytes());
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 2]);
        segment.extend(self.urgent.to_be_bytes());
        segment.extend(options);
        segment.extend(&self.payload[..]);
        let (source, destination) = (self.source.ip(), self.destination.ip());
        let sum = checksum(&pseudo_header(source, destination, segment.len()), &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        encode_ip(source, destination, &segment)
    }
}

fn decode_ip(packet: &Bytes) -> Result<(IpAddr, IpAddr, Bytes), WireError> {
    match packet.first().ok_or(WireError::Length)? >> 4 {
        4 => decode_ipv4(packet),
        6 => decode_ipv6(packet),
        _ => Err(WireError::NotTcp),
    }
}

fn decode_ipv4(packet: &Bytes) -> Result<(IpAddr, IpAddr, Bytes), WireError> {
    let header = usize::from(packet[0] & 0xf) * 4;
    if header < 20 || packet.len() < header {
        return Err(WireError::Length);
    }
    if checksum(&[], &packet[..header]) != 0 {
        return Err(WireError::Checksum);
    }
    if usize::from(u16::from_be_bytes([packet[2], packet[3]])) != packet.len() {
        return Err(WireError::Length);
    }
    let is_fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
    if packet[9] != PROTOCOL_TCP || is_fragment {
        return Err(WireError::NotTcp);
    }
    let address = |at: usize| {
        let bytes: [u8; 4] = packet[at..at + 4].try_into().expect("four bytes");
        IpAddr::from(bytes)
    };
    Ok((address(12), address(16), packet.slice(header..)))
}

fn decode_ipv6(packet: &Bytes) -> Result<(IpAddr, IpAddr, Bytes), WireError> {
    if packet.len() < 40 {
        return Err(WireError::Length);
    }
    if usize::from(u16::from_be_bytes([packet[4], packet[5]])) != packet.len() - 40 {
        return Err(WireError::Length);
    }
    if packet[6] != PROTOCOL_TCP {
        return Err(WireError::NotTcp);
    }
    let address = |at: usize| {
        let bytes: [u8; 16] = packet[at..at + 16].try_into().expect("sixteen bytes");
        IpAddr::from(bytes)
    };
    Ok((address(8), address(24), packet.slice(40..)))
}

fn encode_ip(source: IpAddr, destination: IpAddr, segment: &[u8]) -> Bytes {
    let mut packet = Vec::with_capacity(40 + segment.len());
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = (20 + segment.len()) as u16;
            packet.extend([0x45, 0]);
            packet.extend(length.to_be_bytes());
            // No identification; not to be cut into fragments; 64 hops.
            packet.extend([0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            let sum = checksum(&[], &packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((segment.len() as u16).to_be_bytes());
            packet.extend([PROTOCOL_TCP, 64]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
        }
        _ => panic!("both ends of a packet are of one family"),
    }
    packet.extend(segment);
    Bytes::from(packet)
}

fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(40);
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => header.extend(address.octets()),
            IpAddr::V6(address) => header.extend(address.octets()),
        }
    }
    header.extend((length as u32).to_be_bytes());
    header.extend([0, 0, 0, PROTOCOL_TCP]);
    header
}

/// RFC 1071, over `first` (of even length) and `second`.
fn checksum(first: &[u8], second: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for bytes in [first, second] {
        let mut pairs = bytes.chunks_exact(2);
        for pair in &mut pairs {
            sum += u64::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
        if let [last] = pairs.remainder() {
            sum += u64::from(*last) << 8;
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn decode_options(mut bytes: &[u8]) -> Result<Vec<TcpOption>, WireError> {
    let mut options = Vec::new();
    while let [kind, rest @ ..] = bytes {
        match kind {
            0 => break,
            1 => bytes = rest,
            _ => {
                let length = usize::from(*rest.first().ok_or(WireError::Option)?);
                if length < 2 || length > bytes.len() {
                    return Err(WireError::Option);
                }
                options.push(decode_option(*kind, &bytes[2..length])?);
                bytes = &bytes[length..];
            }
        }
    }
    Ok(options)
}

fn decode_option(kind: u8, body: &[u8]) -> Result<TcpOption, WireError> {
    let long = |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    Ok(match (kind, body.len()) {
        (2, 2) => TcpOption::Mss(u16::from_be_bytes([body[0], body[1]])),
        (3, 1) => TcpOption::WindowScale(body[0]),
        (4, 0) => TcpOption::SackPermitted,
        (5, 8 | 16 | 24 | 32) => {
            let blocks = (0..body.len() / 8).map(|block| (long(block * 8), long(block * 8 + 4)));
            TcpOption::Sack(blocks.collect())
        }
        (8, 8) => TcpOption::Timestamps {
            value: long(0),
            echo: long(4),
        },
        (2 | 3 | 4 | 5 | 8, _) => return Err(WireError::Option),
        _ => TcpOption::Other(kind, body.to_vec()),
    })
}

fn encode_option(options: &mut Vec<u8>, option: &TcpOption) {
    let (kind, body) = match option {
        TcpOption::Mss(mss) => (2, mss.to_be_bytes().to_vec()),
        TcpOption::WindowScale(shift) => (3, vec![*shift]),
        TcpOption::SackPermitted => (4, Vec::new()),
        TcpOption::Sack(blocks) => {
            let edges = blocks.iter().flat_map(|(first, behind)| [first, behind]);
            (5, edges.flat_map(|edge| edge.to_be_bytes()).collect())
        }
        TcpOption::Timestamps { value, echo } => {
            (8, [value.to_be_bytes(), echo.to_be_bytes()].concat())
        }
        TcpOption::Other(kind, body) => (*kind, body.clone()),
    };
    options.extend([kind, body.len() as u8 + 2]);
    options.extend(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: &str, destination: &str) -> TcpPacket {
        TcpPacket {
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            seq: 0xffff_fff0,
            ack: 7,
            flags: Flags::ACK | Flags::PSH,
            window: 512,
            urgent: 0,
            options: vec![
                TcpOption::Mss(1460),
                TcpOption::Timestamps { value: 1, echo: 2 },
                TcpOption::Sack(vec![(1, 2), (3, 4)]),
                TcpOption::Other(254, vec![9]),
            ],
            payload: Bytes::from_static(b"odd"),
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        for (source, destination) in [
            ("192.0.2.1:80", "192.168.0.1:4000"),
            ("[2001:db8::1]:80", "[fd3d::2]:4000"),
        ] {
            let packet = packet(source, destination);
            assert_eq!(TcpPacket::decode(&packet.encode()), Ok(packet));
        }
    }

    #[test]
    fn a_known_packet() {
        // RFC 1071 §3's way of summing, worked by hand for the smallest SYN.
        let packet = TcpPacket {
            options: Vec::new(),
            payload: Bytes::new(),
            flags: Flags::SYN,
            seq: 1,
            ack: 0,
            window: 0xffff,
            ..packet("1.2.3.4:5", "6.7.8.9:10")
        };
        let bytes = packet.encode();
        assert_eq!(
            bytes[..],
            [
                0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x28, 0xbb, 1, 2, 3, 4, 6, 7, 8, 9, 0, 5, 0,
                10, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0x9d, 0xbd, 0, 0
            ]
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let packet = packet("192.0.2.1:80", "192.168.0.1:4000");
        let clean = packet.encode();
        for bit in 0..clean.len() * 8 {
            let mut bytes = clean.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let decoded = TcpPacket::decode(&Bytes::from(bytes));
            assert!(decoded.is_err(), "bit {bit}: {decoded:?}");
        }
    }
}
