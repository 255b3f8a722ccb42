//! A TCP segment: its header and what it carries.

use alloc::vec::Vec;
use core::ops::BitOr;

use bytes::Bytes;

use super::options::Options;
use super::packet::ParseError;
use super::{OPTIONS_BYTES_MAX, TCP_HEADER_BYTES};
use crate::seq::SeqNumber;

/// A parsed segment; its ports are in the [`Packet`](super::Packet) around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The number of the first byte, or of the SYN if there is one.
    pub seq: SeqNumber,
    /// What the sender expects next, if the ACK flag is set.
    pub ack: Option<SeqNumber>,
    /// The other flags.
    pub flags: Flags,
    /// The window field as it is on the wire, not yet scaled.
    pub window: u16,
    /// The urgent pointer; this stack delivers urgent data in line and sends none.
    pub urgent: u16,
    /// The options.
    pub options: Options,
    /// The data.
    pub payload: Bytes,
}

impl Segment {
    /// A segment without flags, window, options or data.
    #[must_use]
    pub fn new(seq: SeqNumber, ack: Option<SeqNumber>) -> Self {
        Self {
            seq,
            ack,
            flags: Flags::NONE,
            window: 0,
            urgent: 0,
            options: Options::default(),
            payload: Bytes::new(),
        }
    }

    /// How much of the sequence space it takes: its data, its SYN, its FIN.
    #[must_use]
    pub fn sequence_bytes(&self) -> u64 {
        self.payload.len() as u64
            + u64::from(self.flags.contains(Flags::SYN))
            + u64::from(self.flags.contains(Flags::FIN))
    }

    /// The bytes of its header with options.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        TCP_HEADER_BYTES + self.options.wire_bytes()
    }

    /// Appends header and options, with a checksum of zero.
    pub(super) fn encode_header(&self, source: u16, destination: u16, out: &mut Vec<u8>) {
        let Self {
            seq,
            ack,
            flags,
            window,
            urgent,
            options,
            payload: _,
        } = self;
        let start = out.len();
        out.extend(source.to_be_bytes());
        out.extend(destination.to_be_bytes());
        out.extend(seq.get().to_be_bytes());
        out.extend(ack.unwrap_or_default().get().to_be_bytes());
        out.extend([0, 0]);
        out.extend(window.to_be_bytes());
        out.extend([0, 0]);
        out.extend(urgent.to_be_bytes());
        options.encode(out);
        let header = out.len() - start;
        debug_assert!(header <= TCP_HEADER_BYTES + OPTIONS_BYTES_MAX);
        #[expect(clippy::cast_possible_truncation, reason = "at most 15 words")]
        let words = (header / 4) as u16;
        let acknowledges = if ack.is_some() { ACK } else { 0 };
        let field = words << 12 | flags.0 | acknowledges;
        out[start + 12..start + 14].copy_from_slice(&field.to_be_bytes());
    }

    /// Reads a segment without its payload from `tcp`, whose checksum is right; gives where the
    /// payload begins, too.
    pub(super) fn parse(tcp: &[u8]) -> Result<(Parsed, usize), ParseError> {
        let Some(fixed) = tcp.first_chunk::<TCP_HEADER_BYTES>() else {
            return Err(ParseError::Truncated);
        };
        let header = header_bytes(fixed);
        if header < TCP_HEADER_BYTES || header > tcp.len() {
            return Err(ParseError::BadDataOffset);
        }
        let options = Options::parse(&tcp[TCP_HEADER_BYTES..header])?;
        Ok((Self::from_header(fixed, options), header))
    }

    /// Like `parse`, of a segment that has timestamps, no other option, and data: as nearly all
    /// have that carry any. Gives its header, too; whether the checksum is right is still to be
    /// seen.
    #[inline]
    pub(super) fn parse_plain(tcp: &[u8]) -> Option<(&[u8; PLAIN_HEADER_BYTES], Parsed)> {
        let header = tcp.first_chunk::<PLAIN_HEADER_BYTES>()?;
        let (fixed, options) = header.split_first_chunk()?;
        if header_bytes(fixed) != PLAIN_HEADER_BYTES || tcp.len() == PLAIN_HEADER_BYTES {
            return None;
        }
        let options = Options::parse_timestamps(options.first_chunk()?)?;
        Some((header, Self::from_header(fixed, options)))
    }

    #[inline(always)]
    fn from_header(fixed: &[u8; TCP_HEADER_BYTES], options: Options) -> Parsed {
        let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let word = |at: usize| {
            u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        let field = half(12);
        let segment = Self {
            seq: SeqNumber::new(word(4)),
            ack: (field & ACK != 0).then(|| SeqNumber::new(word(8))),
            flags: Flags(field & Flags::ALL),
            window: half(14),
            urgent: half(18),
            options,
            payload: Bytes::new(),
        };
        Parsed {
            source: half(0),
            destination: half(2),
            segment,
        }
    }
}

/// The header of TCP with timestamps and no other option.
pub(super) const PLAIN_HEADER_BYTES: usize = TCP_HEADER_BYTES + 12;

/// What the header of TCP says.
pub(super) struct Parsed {
    pub(super) source: u16,
    pub(super) destination: u16,
    /// Without its payload.
    pub(super) segment: Segment,
}

/// The length of the header, as it says itself.
fn header_bytes(fixed: &[u8; TCP_HEADER_BYTES]) -> usize {
    usize::from(fixed[12] >> 4) * 4
}

/// The ACK flag, which `Segment::ack` stands for.
const ACK: u16 = 0x010;

/// A set of flags; ACK is not among them, see [`Segment::ack`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The sender has no more data.
    pub const FIN: Self = Self(0x001);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// There is no such connection.
    pub const RST: Self = Self(0x004);
    /// Push.
    pub const PSH: Self = Self(0x008);
    /// The urgent pointer means something.
    pub const URG: Self = Self(0x020);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN (RFC 9768).
    pub const AE: Self = Self(0x100);

    const ALL: u16 = 0x1ef;

    const NAMES: [(Self, &str); 8] = [
        (Self::FIN, "FIN"),
        (Self::SYN, "SYN"),
        (Self::RST, "RST"),
        (Self::PSH, "PSH"),
        (Self::URG, "URG"),
        (Self::ECE, "ECE"),
        (Self::CWR, "CWR"),
        (Self::AE, "AE"),
    ];

    /// Whether all flags of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set without the flags of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::fmt::Debug for Flags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let names = Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag));
        f.debug_set().entries(names.map(|(_, name)| name)).finish()
    }
}
