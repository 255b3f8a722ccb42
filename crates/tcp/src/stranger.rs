//! The answer to a segment for which there is no connection.

use crate::addresses::is_unicast;
use crate::seq::SeqNumber;
use crate::wire::{Ecn, Flags, Packet, Segment};

/// The reset that answers `packet` where nobody listens; `None` if it is a reset itself, or
/// one of its addresses is not that of one host (RFC 1122 §4.2.3.10).
///
/// RFC 9293 §3.10.7.1. It takes its numbers from the segment, so that the peer
/// believes it, and needs no state.
#[must_use]
pub fn answer_stranger(packet: &Packet) -> Option<Packet> {
    let segment = &packet.segment;
    let ends = [packet.source.ip(), packet.destination.ip()];
    if segment.flags.contains(Flags::RST) || !ends.into_iter().all(is_unicast) {
        return None;
    }
    let mut reset = match segment.ack {
        Some(ack) => Segment::new(ack, None),
        None => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a packet holds less than 2^32 bytes"
            )]
            let taken = segment.sequence_bytes() as u32;
            let ack = segment.seq.advanced_by(taken);
            Segment::new(SeqNumber::new(0), Some(ack))
        }
    };
    reset.flags = Flags::RST;
    Some(Packet {
        source: packet.destination,
        destination: packet.source,
        ecn: Ecn::NotCapable,
        segment: reset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        flags: Flags,
        ack: Option<u32>,
        payload: &'static [u8],
        answer: Option<(u32, Option<u32>)>,
    ) {
        let mut segment = Segment::new(SeqNumber::new(u32::MAX), ack.map(SeqNumber::new));
        segment.flags = flags;
        segment.payload = payload.into();
        let packet = Packet {
            source: "192.0.2.1:7".parse().unwrap(),
            destination: "192.0.2.2:9".parse().unwrap(),
            ecn: Ecn::NotCapable,
            segment,
        };
        let reset = answer_stranger(&packet);
        let numbers = reset.as_ref().map(|reset| {
            assert_eq!(reset.segment.flags, Flags::RST);
            assert_eq!(
                (reset.source, reset.destination),
                (packet.destination, packet.source)
            );
            (
                reset.segment.seq.get(),
                reset.segment.ack.map(SeqNumber::get),
            )
        });
        assert_eq!(numbers, answer, "{flags:?} {ack:?}");
    }

    /// RFC 9293 §3.10.7.1.
    #[test]
    fn a_stranger_is_reset_with_numbers_that_it_believes() {
        check(Flags::SYN, None, b"", Some((0, Some(0))));
        check(Flags::SYN | Flags::FIN, None, b"abc", Some((0, Some(4))));
        check(Flags::NONE, Some(77), b"abc", Some((77, None)));
        check(Flags::SYN, Some(77), b"", Some((77, None)));
    }

    /// RFC 9293 §3.10.7.1: a reset is never answered, or two stacks would go on for ever.
    #[test]
    fn a_reset_is_not_answered() {
        check(Flags::RST, None, b"", None);
        check(Flags::RST, Some(77), b"", None);
    }
}
