//! The receiving half of a connection: what arrives, in order or not, and what is said of it.

mod ack_schedule;
mod read_queue;
mod reassembly;
mod right_sizing;
mod sack_report;
mod window;

use alloc::boxed::Box;
use core::time::Duration;

use bytes::{Buf, Bytes};

use crate::config::Config;
use crate::seq::{SeqNumber, SequenceSpace};
use crate::time::Instant;
use crate::wire::{SackBlock, SackBlocks};
use ack_schedule::AckSchedule;
use read_queue::ReadQueue;
use reassembly::Reassembly;
pub(crate) use right_sizing::Echo;
use right_sizing::RightSizing;
use sack_report::SackReport;
use window::ReceiveWindow;
pub(crate) use window::{SHIFT_MAX, shift_for};

/// Everything between the segments that arrive and what the user reads.
#[derive(Debug)]
pub(crate) struct Receiver {
    space: SequenceSpace,
    /// The position of the first byte that has not arrived (RCV.NXT).
    next: u64,
    /// What the peer was last told of it.
    last_ack_sent: u64,
    window: ReceiveWindow,
    /// From the first data on.
    sizing: Option<Box<RightSizing>>,
    ready: ReadQueue,
    reassembly: Reassembly,
    report: SackReport,
    acks: AckSchedule,
    /// Where the peer's FIN is, once it has been seen.
    fin: Option<u64>,
}

/// What became of a segment's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Arrival {
    /// Bytes that the user can read now and could not before.
    pub(crate) ready: u64,
    /// Whether some of it waits for what is missing before it.
    pub(crate) out_of_order: bool,
    /// Whether some of it had arrived before.
    pub(crate) duplicate: bool,
    /// Pieces dropped for want of room.
    pub(crate) dropped: u64,
    /// Whether the peer's FIN is next in order now, and was not before.
    pub(crate) finished: bool,
}

impl Receiver {
    /// A receiver for what follows the peer's SYN, in `space`.
    pub(crate) fn new(config: &Config, space: SequenceSpace, mss: u64, shift: u8) -> Self {
        let next = SequenceSpace::ORIGIN + 1;
        Self {
            space,
            next,
            last_ack_sent: next,
            window: ReceiveWindow::new(next, config.receive_bytes(), mss, shift),
            sizing: None,
            ready: ReadQueue::default(),
            reassembly: Reassembly::new(config.reassembly_pieces_max),
            report: SackReport::default(),
            acks: AckSchedule::new(config.delayed_ack, config.quick_acks, mss),
            fin: None,
        }
    }

    pub(crate) fn space(&self) -> SequenceSpace {
        self.space
    }

    /// RCV.NXT.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Behind the last position that the peer may use.
    pub(crate) fn edge(&self) -> u64 {
        self.window.edge()
    }

    /// By how much our windows are shifted.
    pub(crate) fn shift(&self) -> u8 {
        self.window.shift()
    }

    /// Last.ACK.sent of RFC 7323 §4.3.
    pub(crate) fn last_ack_sent(&self) -> u64 {
        self.last_ack_sent
    }

    /// Takes the data of a segment that begins at `start`, as far as the window goes.
    pub(crate) fn take(
        &mut self,
        start: u64,
        mut payload: Bytes,
        fin: bool,
        now: Instant,
    ) -> Arrival {
        let end = start + payload.len() as u64;
        let mut arrival = Arrival::default();
        self.note_fin(end, fin);
        if start < self.next && end > start {
            arrival.duplicate = true;
            self.report.on_duplicate(start..end.min(self.next));
        }
        let before = self.next;
        let from = start.max(self.next);
        let room_end = self.window.room_end(self.next, self.ready.len());
        let to = end.min(room_end).min(self.fin.unwrap_or(u64::MAX));
        // Promised, and given back since: the peer sends it again when there may be room.
        arrival.dropped += u64::from(end.min(self.window.edge()) > room_end);
        let had_hole = !self.reassembly.is_empty();
        if from < to {
            payload.truncate(offset(start, to));
            payload.advance(offset(start, from));
            if from == self.next {
                self.append(payload);
            } else {
                self.keep(from, payload, &mut arrival);
            }
        }
        if fin && self.fin == Some(end) && end > self.next {
            arrival.out_of_order = true;
            self.keep_fin(start, end, &mut arrival);
        }
        arrival.ready = self.next - before;
        if self.fin == Some(self.next) {
            self.next += 1;
            self.reassembly.remove_before(self.next);
            arrival.finished = true;
        }
        let is_unusual = arrival.out_of_order || arrival.duplicate || self.next == before;
        if is_unusual || had_hole || fin {
            // RFC 5681 §4.2: out of order, filling a hole, or nothing new: at once. A FIN, too.
            self.acks.demand();
        } else {
            self.acks.on_data(arrival.ready, now);
        }
        arrival
    }

    /// Whether data of `bytes` at `seq` is all that is needed to have everything in order up to its
    /// end, and there is room for it in the window.
    #[inline]
    pub(crate) fn expects(&self, seq: SeqNumber, bytes: u64) -> bool {
        bytes > 0
            && seq == self.space.number(self.next)
            && self.next + bytes <= self.window.room_end(self.next, self.ready.len())
            && self.reassembly.is_empty()
            && self.fin.is_none()
    }

    /// Takes such data.
    #[inline]
    pub(crate) fn take_next(&mut self, payload: Bytes, now: Instant) {
        let bytes = payload.len() as u64;
        self.next += bytes;
        self.ready.push(payload);
        self.acks.on_data(bytes, now);
    }

    /// `bytes` have come in a segment that echoes `echo`; the handshake, or what we sent, has
    /// measured `round_trip`.
    pub(crate) fn on_arrival(
        &mut self,
        bytes: u64,
        echo: Option<Echo>,
        round_trip: Option<Duration>,
        now: Instant,
    ) {
        let sizing = self
            .sizing
            .get_or_insert_with(|| Box::new(RightSizing::new(round_trip)));
        sizing.on_arrival(bytes, self.next, self.window.edge(), echo, now);
    }

    /// The next bytes for the user, at most `bytes_max` and one piece; `on_read` follows.
    pub(crate) fn take_out(&mut self, bytes_max: usize) -> Bytes {
        self.ready.pop(bytes_max)
    }

    /// The user has taken `bytes`; true if the peer should hear of the room.
    ///
    /// The window may grow by `spare` bytes.
    pub(crate) fn on_read(&mut self, bytes: u64, now: Instant, spare: u64) -> bool {
        if let Some(sizing) = &mut self.sizing
            && let Some(wanted) = sizing.on_read(bytes, now)
        {
            let held = self.held();
            self.window.resize(wanted, held, spare);
        }
        self.window.is_update_due(self.next, self.ready.len())
    }

    /// Bytes that wait for the user.
    pub(crate) fn readable(&self) -> u64 {
        self.ready.len()
    }

    /// What is held at most for a reader who is behind.
    pub(crate) fn capacity(&self) -> u64 {
        self.window.capacity()
    }

    /// By how much it has grown.
    pub(crate) fn grown(&self) -> u64 {
        self.window.grown()
    }

    /// Others need what this has grown by: it gives back what it has not needed for a while.
    pub(crate) fn give_back(&mut self, now: Instant) {
        if let Some(sizing) = &self.sizing
            && let Some(wanted) = sizing.at_rest(now)
        {
            self.window.give_back(wanted.max(self.held()));
        }
    }

    /// Pieces looked at one by one so far.
    pub(crate) fn steps(&self) -> u64 {
        self.reassembly.steps()
    }

    /// Whether everything up to the peer's FIN has arrived.
    pub(crate) fn is_finished(&self) -> bool {
        self.fin.is_some_and(|fin| self.next > fin)
    }

    /// Forgets what nobody will read.
    pub(crate) fn discard(&mut self) {
        self.ready = ReadQueue::default();
        self.reassembly.clear();
    }

    /// Gives back the memory of what is empty.
    pub(crate) fn shed(&mut self) {
        if self.ready.len() == 0 {
            self.ready = ReadQueue::default();
        }
    }

    /// An acknowledgement has to go out at once.
    pub(crate) fn demand_ack(&mut self) {
        self.acks.demand();
    }

    /// Whether one is due now.
    pub(crate) fn is_ack_due(&self, now: Instant) -> bool {
        self.acks.is_due(now)
    }

    /// When the delayed acknowledgement is due.
    pub(crate) fn ack_due_at(&self) -> Option<Instant> {
        self.acks.due_at()
    }

    /// The window field of a segment that acknowledges everything in order so far.
    pub(crate) fn window_field(&mut self) -> u16 {
        self.window.field(self.next, self.ready.len())
    }

    /// A segment has told the peer of everything in order so far, and of the rest if `whole`.
    pub(crate) fn on_ack_sent(&mut self, whole: bool) {
        self.last_ack_sent = self.next;
        if whole {
            self.acks.on_sent();
            self.report.on_sent();
        }
    }

    /// Whether there is anything for SACK blocks to say.
    pub(crate) fn has_sack_blocks(&self) -> bool {
        self.report.has_duplicate() || !self.reassembly.is_empty()
    }

    /// The SACK blocks of a segment sent now, as many as there is room for.
    pub(crate) fn sack_blocks(&self, count_max: usize) -> SackBlocks {
        let ranges = self.report.blocks(self.next, &self.reassembly, count_max);
        let number = |position| self.space.number(position);
        let blocks = ranges.into_iter().map(|range| SackBlock {
            left: number(range.start),
            right: number(range.end),
        });
        blocks.collect()
    }

    /// Remembers where the FIN is; one that contradicts what has arrived is ignored.
    fn note_fin(&mut self, end: u64, fin: bool) {
        let fits = end >= self.next && (end < self.window.edge() || end == self.next);
        if fin && fits && self.fin.is_none() && self.reassembly.end().is_none_or(|last| last <= end)
        {
            self.fin = Some(end);
        }
    }

    /// The bytes from the first that was not read to the last that has come.
    fn held(&self) -> u64 {
        let last = self.reassembly.end().unwrap_or(0).max(self.next);
        last - self.next + self.ready.len()
    }

    fn append(&mut self, piece: Bytes) {
        self.next += piece.len() as u64;
        self.ready.push(piece);
        while let Some(piece) = self.reassembly.pop(self.next) {
            self.next += piece.len() as u64;
            self.ready.push(piece);
        }
    }

    /// A FIN at `end`, of a segment that begins at `start`, lies behind what has arrived.
    fn keep_fin(&mut self, start: u64, end: u64, arrival: &mut Arrival) {
        if self.reassembly.run_at(end).is_none() {
            self.reassembly.insert_fin(end);
        } else if start == end {
            arrival.duplicate = true;
            self.report.on_duplicate(end..end + 1);
        }
        self.report.on_arrival(end);
    }

    fn keep(&mut self, from: u64, piece: Bytes, arrival: &mut Arrival) {
        let kept = self.reassembly.insert(from, piece);
        arrival.out_of_order = true;
        arrival.dropped += kept.dropped;
        self.report.on_arrival(from);
        if let Some(duplicate) = kept.duplicate {
            arrival.duplicate = true;
            self.report.on_duplicate(duplicate);
        }
    }
}

/// The distance between two positions in one segment.
fn offset(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
