//! Watches both ends of a path from outside, and holds each to what any TCP must keep to, whatever
//! the stack itself believes.

use bytes::Bytes;

use crate::wire::{Flags, TcpOption, TcpPacket};
use crate::world::Side;

/// The largest shift there may be (RFC 7323 §2.3).
const SHIFT_MAX: u8 = 14;

/// A rule that a segment broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foul {
    /// RFC 9293 §3.8.6; a window probe may be one byte beyond.
    #[error("{0:?} sent {1} bytes beyond the window that it was told of")]
    BeyondWindow(Side, i64),
    /// RFC 9293 §3.7.1, RFC 6691.
    #[error("{0:?} sent {1} bytes of options and data to a peer that takes {2}")]
    BeyondMss(Side, usize, usize),
    /// RFC 9293 §3.4.
    #[error("{0:?} acknowledged {1} bytes more than came")]
    AckOfNothing(Side, i64),
    /// RFC 9293 §3.4: acknowledgements are cumulative.
    #[error("{0:?} took {1} acknowledged bytes back")]
    AckTakenBack(Side, i64),
    /// RFC 9293 §3.8.6 (SHLD-14).
    #[error("{0:?} took {1} bytes of its window back")]
    WindowTakenBack(Side, i64),
    /// RFC 2018 §3 and §4.
    #[error("{0:?} told a SACK block of what never came")]
    SackOfNothing(Side),
    /// RFC 7323 §3.2, RFC 2018 §2.
    #[error("{0:?} used an option that was not agreed upon")]
    NotAgreed(Side),
    /// What it sent is no TCP segment, or a damaged one.
    #[error("{0:?} sent something that cannot be read")]
    Unreadable(Side),
}

/// Both ends as they look from outside.
#[derive(Debug, Default)]
pub struct Monitor {
    ends: [End; 2],
}

/// What one end has sent and heard; numbers are relative to the first SYN of their side.
#[derive(Debug, Default)]
struct End {
    /// Its first sequence number, from its SYN.
    isn: Option<u32>,
    /// Its SYN's options.
    mss: Option<u16>,
    shift: Option<u8>,
    has_timestamps: bool,
    permits_sack: bool,
    /// Behind what has arrived here from the other side.
    arrived_to: i64,
    /// What it may send up to, as it was told.
    may_send_to: i64,
    /// The last acknowledgement that it sent, and the window's end that it told of.
    acked: i64,
    offered_to: i64,
    /// Whether the other side's SYN has arrived here.
    has_heard_syn: bool,
}

impl Monitor {
    /// A segment leaves `side`.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn on_sent(&mut self, side: Side, bytes: &Bytes) -> Result<(), Foul> {
        let packet = TcpPacket::decode(bytes).map_err(|_| Foul::Unreadable(side))?;
        if packet.flags.has(Flags::RST) {
            return Ok(());
        }
        if packet.flags.has(Flags::SYN) {
            self.ends[side.index()].note_syn(&packet);
            return Ok(());
        }
        let [here, there] = self.pair(side);
        let (Some(isn), Some(peer_isn)) = (here.isn, there.isn) else {
            return Ok(());
        };
        let end = relative(packet.seq, isn) + i64::from(packet.sequence_length());
        let beyond = end - here.may_send_to;
        // A FIN, and the byte of a probe, may lie beyond it.
        if beyond > 1 {
            return Err(Foul::BeyondWindow(side, beyond));
        }
        let takes = usize::from(there.mss.unwrap_or(536));
        let options = options_length(&packet.options);
        if !packet.payload.is_empty() && packet.payload.len() + options > takes.max(64) {
            return Err(Foul::BeyondMss(side, packet.payload.len() + options, takes));
        }
        here.check_agreement(side, &packet, there)?;
        let shift = here.shift_with(there);
        let ack = relative(packet.ack, peer_isn);
        self.ends[side.index()].check_ack(side, &packet, ack, peer_isn, shift)
    }

    /// An undamaged segment has arrived at `side`.
    pub fn on_arrived(&mut self, side: Side, bytes: &Bytes) {
        let Ok(packet) = TcpPacket::decode(bytes) else {
            return;
        };
        let [here, there] = self.pair(side);
        let (isn, Some(peer_isn)) = (here.isn, there.isn) else {
            return;
        };
        let is_syn = packet.flags.has(Flags::SYN);
        let shift = if is_syn { 0 } else { there.shift_with(here) };
        let end = relative(packet.seq, peer_isn) + i64::from(packet.sequence_length());
        let window = i64::from(packet.window) << shift;
        let here = &mut self.ends[side.index()];
        here.has_heard_syn |= is_syn;
        here.arrived_to = here.arrived_to.max(end);
        if let Some(isn) = isn
            && packet.flags.has(Flags::ACK)
        {
            let told = relative(packet.ack, isn) + window;
            here.may_send_to = here.may_send_to.max(told);
        } else if is_syn {
            // A SYN that crosses ours tells of its window before it acknowledges anything.
            here.may_send_to = here.may_send_to.max(1 + window);
        }
    }

    fn pair(&self, side: Side) -> [&End; 2] {
        [&self.ends[side.index()], &self.ends[side.other().index()]]
    }
}

impl End {
    fn note_syn(&mut self, packet: &TcpPacket) {
        self.isn = Some(packet.seq);
        for option in &packet.options {
            match option {
                TcpOption::Mss(mss) => self.mss = Some(*mss),
                TcpOption::WindowScale(shift) => self.shift = Some((*shift).min(SHIFT_MAX)),
                TcpOption::SackPermitted => self.permits_sack = true,
                TcpOption::Timestamps { .. } => self.has_timestamps = true,
                _ => {}
            }
        }
    }

    /// By how much the windows that this end tells of are shifted.
    fn shift_with(&self, other: &Self) -> u8 {
        match (self.shift, other.shift) {
            (Some(shift), Some(_)) => shift,
            _ => 0,
        }
    }

    fn check_agreement(&self, side: Side, packet: &TcpPacket, peer: &Self) -> Result<(), Foul> {
        let timestamps = self.has_timestamps && peer.has_timestamps;
        let sack = self.permits_sack && peer.permits_sack;
        let has = |kind: fn(&TcpOption) -> bool| packet.options.iter().any(kind);
        let told = has(|option| matches!(option, TcpOption::Timestamps { .. }));
        let sacked = has(|option| matches!(option, TcpOption::Sack(_)));
        // Once agreed upon, every segment has timestamps.
        if told != timestamps || (sacked && !sack) {
            return Err(Foul::NotAgreed(side));
        }
        Ok(())
    }

    fn check_ack(
        &mut self,
        side: Side,
        packet: &TcpPacket,
        ack: i64,
        peer_isn: u32,
        shift: u8,
    ) -> Result<(), Foul> {
        if ack > self.arrived_to {
            return Err(Foul::AckOfNothing(side, ack - self.arrived_to));
        }
        if ack < self.acked {
            return Err(Foul::AckTakenBack(side, self.acked - ack));
        }
        self.acked = ack;
        let offered = ack + (i64::from(packet.window) << shift);
        // Rounding to the scale's unit may take a part of one back (RFC 7323 §2.4).
        let back = self.offered_to - offered;
        if back >= 1 << shift && self.offered_to > 0 {
            return Err(Foul::WindowTakenBack(side, back));
        }
        self.offered_to = self.offered_to.max(offered);
        for option in &packet.options {
            let TcpOption::Sack(blocks) = option else {
                continue;
            };
            for (first, behind) in blocks {
                let (first, behind) = (relative(*first, peer_isn), relative(*behind, peer_isn));
                if first >= behind || behind > self.arrived_to {
                    return Err(Foul::SackOfNothing(side));
                }
            }
        }
        Ok(())
    }
}

/// How far `number` is from `isn`, in streams of less than 2 GiB.
fn relative(number: u32, isn: u32) -> i64 {
    i64::from(number.wrapping_sub(isn) as i32)
}

/// What the options take in the header, padding included.
fn options_length(options: &[TcpOption]) -> usize {
    let length = |option: &TcpOption| match option {
        TcpOption::Mss(_) => 4,
        TcpOption::WindowScale(_) => 3,
        TcpOption::SackPermitted => 2,
        TcpOption::Sack(blocks) => 2 + 8 * blocks.len(),
        TcpOption::Timestamps { .. } => 10,
        TcpOption::Other(_, body) => 2 + body.len(),
    };
    let sum: usize = options.iter().map(length).sum();
    sum.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: u32 = u32::MAX - 10;
    const RIGHT: u32 = 5_000;

    fn segment(side: Side, seq: u32, ack: u32, length: usize) -> TcpPacket {
        let ends = ["192.0.2.1:40000", "192.0.2.2:80"].map(|end| end.parse().expect("an address"));
        let (here, there) = (side.index(), side.other().index());
        let isns = [LEFT, RIGHT];
        TcpPacket {
            source: ends[here],
            destination: ends[there],
            seq: isns[here].wrapping_add(seq),
            ack: isns[there].wrapping_add(ack),
            flags: Flags::ACK,
            window: 2000,
            urgent: 0,
            options: Vec::new(),
            payload: vec![0; length].into(),
        }
    }

    /// Both SYNs have come; each side may send 2000 bytes, in segments of 1000.
    fn open() -> Monitor {
        let mut monitor = Monitor::default();
        for (side, flags) in [
            (Side::Left, Flags::SYN),
            (Side::Right, Flags::SYN | Flags::ACK),
        ] {
            let mut syn = segment(side, 0, 1, 0);
            syn.flags = flags;
            syn.options = vec![TcpOption::Mss(1000), TcpOption::SackPermitted];
            let bytes = syn.encode();
            assert_eq!(monitor.on_sent(side, &bytes), Ok(()));
            monitor.on_arrived(side.other(), &bytes);
        }
        monitor
    }

    /// The left side sends `packets`; the last one breaks a rule, or none does.
    fn check(monitor: &mut Monitor, packets: &[TcpPacket], expected: Result<(), Foul>) {
        let (last, before) = packets.split_last().expect("there is one at least");
        for packet in before {
            assert_eq!(monitor.on_sent(Side::Left, &packet.encode()), Ok(()));
        }
        assert_eq!(monitor.on_sent(Side::Left, &last.encode()), expected);
    }

    #[test]
    fn every_foul_is_seen() {
        let left = |seq, ack, length| segment(Side::Left, seq, ack, length);
        let with = |option| TcpPacket {
            options: vec![option],
            ..left(1, 1, 0)
        };
        let sack = |first, behind| {
            let block = (RIGHT.wrapping_add(first), RIGHT.wrapping_add(behind));
            with(TcpOption::Sack(vec![block]))
        };
        let smaller = TcpPacket {
            window: 1999,
            ..left(1, 1, 0)
        };
        let stamp = TcpOption::Timestamps { value: 1, echo: 0 };
        let side = Side::Left;
        for (packets, expected) in [
            (vec![left(1, 1, 1000), left(1001, 1, 1000)], Ok(())),
            (vec![left(1001, 1, 1000), left(2001, 1, 1)], Ok(())),
            (vec![left(1501, 1, 502)], Err(Foul::BeyondWindow(side, 2))),
            (
                vec![left(1, 1, 1001)],
                Err(Foul::BeyondMss(side, 1001, 1000)),
            ),
            (vec![left(1, 2, 0)], Err(Foul::AckOfNothing(side, 1))),
            (
                vec![left(1, 1, 0), left(1, 0, 0)],
                Err(Foul::AckTakenBack(side, 1)),
            ),
            (
                vec![left(1, 1, 0), smaller],
                Err(Foul::WindowTakenBack(side, 1)),
            ),
            (vec![sack(1, 2)], Err(Foul::SackOfNothing(side))),
            (vec![with(stamp)], Err(Foul::NotAgreed(side))),
        ] {
            check(&mut open(), &packets, expected);
        }
        let unreadable = Bytes::from_static(&[0x45, 0]);
        let told = open().on_sent(side, &unreadable);
        assert_eq!(told, Err(Foul::Unreadable(side)));
    }

    #[test]
    fn what_arrives_moves_what_is_allowed() {
        let mut monitor = open();
        let data = segment(Side::Right, 1, 501, 100).encode();
        assert_eq!(
            monitor.on_sent(Side::Right, &data),
            Err(Foul::AckOfNothing(Side::Right, 500))
        );
        monitor.on_arrived(Side::Left, &data);
        let left = |seq, ack, length| segment(Side::Left, seq, ack, length);
        // 500 acknowledged and 2000 offered; 100 bytes came.
        check(&mut monitor, &[left(1501, 101, 1000)], Ok(()));
        let beyond = Foul::BeyondWindow(Side::Left, 2);
        check(&mut monitor, &[left(1503, 101, 1000)], Err(beyond));
    }
}
