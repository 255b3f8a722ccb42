//! What goes out at once: one segment, or several of equal length in a row.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::wire::{Ecn, Flags, Packet, Segment};

/// Something to send: a run of segments that follow each other, all but the last of equal length.
///
/// For drivers that can hand several to the kernel or the card at once; `packets` and `encode`
/// take it apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The first segment, with the payload of all; PSH and FIN are the last one's.
    packet: Packet,
    /// The payload of each segment but the last, not zero.
    segment_bytes: usize,
}

impl Transmit {
    pub(crate) fn new(
        source: SocketAddr,
        destination: SocketAddr,
        segment: Segment,
        segment_bytes: usize,
    ) -> Self {
        Self {
            packet: Packet {
                source,
                destination,
                ecn: Ecn::NotCapable,
                segment,
            },
            segment_bytes: segment_bytes.max(1),
        }
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        let payload = self.packet.segment.payload.len();
        payload.div_ceil(self.segment_bytes).max(1)
    }

    /// The payload of each segment but the last, bytes; of the only one, or more.
    #[must_use]
    pub const fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// All of it as if it were one segment, as what cuts it up itself wants it (TSO): at most
    /// 65,535 bytes with its headers.
    #[must_use]
    pub const fn whole(&self) -> &Packet {
        &self.packet
    }

    /// Appends the headers of `whole` to `out`, for a device that completes the checksum of TCP,
    /// 16 bytes into its header: the sum of the pseudo-header stands there. Gives where TCP's
    /// header begins behind what was in `out`.
    pub fn encode_headers(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        self.packet.encode_open_headers(out) - start
    }

    /// The packets, in the order in which they go out.
    pub fn packets(self) -> impl Iterator<Item = Packet> {
        (0..self.segments()).map(move |index| self.packet(index))
    }

    /// Appends the packets to `out`, one behind the other, and the end of each to `ends`.
    pub fn encode(&self, out: &mut Vec<u8>, ends: &mut Vec<usize>) {
        let last = self.segments() - 1;
        if last > 0 {
            let mut equal = self.packet.clone();
            equal.segment.payload.truncate(last * self.segment_bytes);
            equal.segment.flags = self.flags(0);
            equal.encode_run(self.segment_bytes, out, ends);
        }
        self.packet(last).encode(out);
        ends.push(out.len());
    }

    fn packet(&self, index: usize) -> Packet {
        let whole = &self.packet.segment;
        let from = index * self.segment_bytes;
        let to = whole.payload.len().min(from + self.segment_bytes);
        let segment = Segment {
            #[expect(clippy::cast_possible_truncation, reason = "at most 65,535 bytes")]
            seq: whole.seq.advanced_by(from as u32),
            flags: self.flags(index),
            payload: whole.payload.slice(from..to),
            ..*whole
        };
        Packet {
            segment,
            ..self.packet
        }
    }

    fn flags(&self, index: usize) -> Flags {
        let flags = self.packet.segment.flags;
        if index + 1 < self.segments() {
            flags.without(Flags::PSH | Flags::FIN)
        } else {
            flags
        }
    }
}

impl From<Packet> for Transmit {
    fn from(packet: Packet) -> Self {
        Self {
            segment_bytes: packet.segment.payload.len().max(1),
            packet,
        }
    }
}
