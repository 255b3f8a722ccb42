//! What is in flight, segment by segment, and what is known of each (RFC 6675).

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use crate::delivery_rate::SentMark;
use crate::range_set::RangeSet;
use crate::seq::SequenceSpace;
use crate::time::Instant;

/// Records of transmissions kept above those of segments in flight before they are weeded.
const STALE_RECORDS_MAX: usize = 256;

/// A run of the sequence space that was sent as one segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) start: u64,
    /// Behind its last byte, or behind its FIN.
    pub(crate) end: u64,
    /// When it was sent last.
    pub(crate) sent_at: Instant,
    /// The number of its last transmission; later ones have larger numbers.
    pub(crate) transmission: u64,
    pub(crate) retransmitted: bool,
    /// Whether the peer's window cut its last transmission short.
    pub(crate) cut: bool,
    pub(crate) status: SentStatus,
    /// What the rate estimator noted when it was sent last.
    pub(crate) mark: SentMark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentStatus {
    /// Thought to be on its way.
    InFlight,
    /// Given up, waiting to be sent again.
    Lost,
    /// Acknowledged selectively.
    Sacked,
}

impl Sent {
    pub(crate) fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// All segments between SND.UNA and SND.NXT, without gaps.
///
/// Bounded by `Config::segments_in_flight_max`. No operation walks all of them for
/// each acknowledgement: SACK blocks are compared with what was reported before, lost
/// segments have an index, and losses are looked for in order of transmission.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    entries: VecDeque<Sent>,
    /// How many were taken out at the front.
    taken_out: u64,
    /// How many are or were before the first that waits for its first transmission to arrive;
    /// first transmissions are in the order of the stream.
    waiting_from: u64,
    /// Entries that were sent again.
    sent_again: usize,
    /// Second and later transmissions in order: number and end. Those that no longer count are
    /// dropped late.
    again: VecDeque<(u64, u64)>,
    /// The ends of the lost ones.
    lost: BTreeSet<u64>,
    sacked: RangeSet,
    sacked_bytes: u64,
    sacked_count: usize,
    lost_bytes: u64,
    transmissions: u64,
    unacked: u64,
    next: u64,
    /// Records looked at one by one.
    steps: u64,
}

impl Scoreboard {
    pub(crate) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            taken_out: 0,
            waiting_from: 0,
            sent_again: 0,
            again: VecDeque::new(),
            lost: BTreeSet::new(),
            sacked: RangeSet::default(),
            sacked_bytes: 0,
            sacked_count: 0,
            lost_bytes: 0,
            transmissions: 0,
            unacked: SequenceSpace::ORIGIN + 1,
            next: SequenceSpace::ORIGIN + 1,
            steps: 0,
        }
    }

    /// Gives back the memory of records that are no more.
    pub(crate) fn shed(&mut self) {
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
            self.again = VecDeque::new();
        }
    }

    /// SND.UNA.
    pub(crate) fn unacked(&self) -> u64 {
        self.unacked
    }

    /// SND.NXT.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// FlightSize of RFC 5681: everything that is not acknowledged cumulatively.
    pub(crate) fn outstanding(&self) -> u64 {
        self.next - self.unacked
    }

    /// Pipe of RFC 6675: what is thought to be in the network.
    pub(crate) fn in_flight(&self) -> u64 {
        self.outstanding() - self.sacked_bytes - self.lost_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn sacked_bytes(&self) -> u64 {
        self.sacked_bytes
    }

    /// Segments acknowledged selectively.
    pub(crate) fn sacked_count(&self) -> usize {
        self.sacked_count
    }

    pub(crate) fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }

    /// Records looked at one by one so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The number of the last transmission.
    pub(crate) fn transmissions(&self) -> u64 {
        self.transmissions
    }

    pub(crate) fn first(&self) -> Option<&Sent> {
        self.entries.front()
    }

    pub(crate) fn last(&self) -> Option<&Sent> {
        self.entries.back()
    }

    /// The lost segment that comes first in the stream.
    pub(crate) fn first_lost(&self) -> Option<&Sent> {
        let end = self.lost.first()?;
        self.entries.get(self.index_of(*end)?)
    }

    /// The end of the segment that begins at `start`.
    pub(crate) fn end_of(&self, start: u64) -> Option<u64> {
        let index = self.entries.partition_point(|sent| sent.start < start);
        let sent = self.entries.get(index)?;
        (sent.start == start).then_some(sent.end)
    }

    /// Notes that everything up to `end` was sent now, in segments of `segment_bytes` and a rest.
    pub(crate) fn push(&mut self, end: u64, segment_bytes: u64, now: Instant, mark: SentMark) {
        debug_assert!(end > self.next && segment_bytes > 0);
        while self.next < end {
            let to = end.min(self.next + segment_bytes);
            self.transmissions += 1;
            self.entries.push_back(Sent {
                start: self.next,
                end: to,
                sent_at: now,
                transmission: self.transmissions,
                retransmitted: false,
                cut: false,
                status: SentStatus::InFlight,
                mark,
            });
            self.next = to;
        }
    }

    /// Notes that the segment that ends at `end` was sent again now, as far as `to`.
    pub(crate) fn retransmit(&mut self, end: u64, to: u64, now: Instant, mark: SentMark) {
        self.transmissions += 1;
        let transmission = self.transmissions;
        let Some(index) = self.index_of(end) else {
            return;
        };
        self.set_status(index, SentStatus::InFlight);
        let Some(sent) = self.entries.get_mut(index) else {
            return;
        };
        sent.sent_at = now;
        sent.transmission = transmission;
        self.sent_again += usize::from(!sent.retransmitted);
        sent.retransmitted = true;
        sent.cut = to < end;
        sent.mark = mark;
        self.again.push_back((transmission, end));
        self.weed_again();
    }

    /// Takes out what lies before `ack`; what was not known to have arrived goes to `delivered`.
    ///
    /// Of segments that were all sent once and in order and reported together, that is the first
    /// and the last: nobody asks for more of those between than that they were there.
    pub(crate) fn acknowledge(&mut self, ack: u64, delivered: &mut Vec<Sent>) {
        if self.is_plain() {
            self.take_out_run(ack, delivered);
        }
        while let Some(sent) = self.entries.front().copied()
            && sent.end <= ack
        {
            self.steps += 1;
            if sent.status != SentStatus::Sacked {
                delivered.push(sent);
            }
            self.set_status(0, SentStatus::InFlight);
            self.entries.pop_front();
            self.taken_out += 1;
            self.sent_again -= usize::from(sent.retransmitted);
        }
        if let Some(first) = self.entries.front_mut()
            && first.start < ack
        {
            let cut = ack - first.start;
            first.start = ack;
            match first.status {
                SentStatus::InFlight => {}
                SentStatus::Lost => self.lost_bytes -= cut,
                SentStatus::Sacked => self.sacked_bytes -= cut,
            }
            if first.cut && first.status == SentStatus::InFlight {
                // What is left of it was not sent with the rest.
                self.set_status(0, SentStatus::Lost);
            }
        }
        self.unacked = self.unacked.max(ack).min(self.next);
        self.sacked.remove_before(self.unacked);
    }

    /// Marks the segments within `block` as arrived; those newly so go to `delivered`.
    ///
    /// A segment that is covered in part stays as it was: what of it arrived is known
    /// when the rest has.
    pub(crate) fn sack(&mut self, block: Range<u64>, delivered: &mut Vec<Sent>) {
        let block = block.start.max(self.unacked)..block.end.min(self.next);
        for gap in self.sacked.gaps(block) {
            self.steps += 1;
            let mut index = self.entries.partition_point(|sent| sent.start < gap.start);
            while let Some(sent) = self.entries.get(index).copied()
                && sent.end <= gap.end
            {
                self.steps += 1;
                if sent.status != SentStatus::Sacked {
                    self.set_status(index, SentStatus::Sacked);
                    delivered.push(sent);
                }
                self.sacked.insert(sent.start..sent.end);
                index += 1;
            }
        }
    }

    /// The segment in flight that was sent first, by its last transmission.
    pub(crate) fn oldest_in_flight(&mut self) -> Option<Sent> {
        let once = self.oldest_sent_once();
        let again = self.oldest_sent_again();
        once.into_iter()
            .chain(again)
            .min_by_key(|sent| sent.transmission)
    }

    fn oldest_sent_once(&mut self) -> Option<Sent> {
        self.waiting_from = self.waiting_from.max(self.taken_out);
        while let Some(sent) = self.entries.get(self.index_at(self.waiting_from)) {
            if sent.status == SentStatus::InFlight && !sent.retransmitted {
                return Some(*sent);
            }
            self.steps += 1;
            self.waiting_from += 1;
        }
        None
    }

    fn oldest_sent_again(&mut self) -> Option<Sent> {
        while let Some((transmission, end)) = self.again.front().copied() {
            self.steps += 1;
            if let Some(sent) = self.in_flight_by(transmission, end) {
                return Some(sent);
            }
            self.again.pop_front();
        }
        None
    }

    /// Gives up the segment that ends at `end`, unless it has arrived or is lost already.
    pub(crate) fn mark_lost(&mut self, end: u64) {
        if let Some(index) = self.index_of(end)
            && self.entries[index].status == SentStatus::InFlight
        {
            self.set_status(index, SentStatus::Lost);
        }
    }

    /// Gives up everything in flight for which `lost` holds.
    pub(crate) fn mark_lost_where(&mut self, lost: impl Fn(&Sent) -> bool) {
        self.steps += self.entries.len() as u64;
        for index in 0..self.entries.len() {
            if self.entries[index].status == SentStatus::InFlight && lost(&self.entries[index]) {
                self.set_status(index, SentStatus::Lost);
            }
        }
        self.weed_again();
    }

    /// Takes everything lost for in flight again: nothing had been lost (RFC 4015).
    pub(crate) fn forget_losses(&mut self) {
        self.steps += (self.lost.len() + self.again.len()) as u64;
        let lost: Vec<u64> = self.lost.iter().copied().collect();
        for end in lost {
            let Some(index) = self.index_of(end) else {
                continue;
            };
            let sent = self.entries[index];
            self.set_status(index, SentStatus::InFlight);
            if sent.retransmitted {
                self.again.push_back((sent.transmission, sent.end));
            } else {
                let place = self.taken_out + index as u64;
                self.waiting_from = self.waiting_from.min(place);
            }
        }
        self.weed_again();
        // Two runs in order, or nearly: the stable sort joins them in one pass.
        self.again.make_contiguous().sort();
    }

    /// Takes everything the peer acknowledged selectively for lost (RFC 2018 §8).
    pub(crate) fn forget_sacks(&mut self) {
        self.steps += self.entries.len() as u64;
        for index in 0..self.entries.len() {
            if self.entries[index].status == SentStatus::Sacked {
                self.set_status(index, SentStatus::Lost);
            }
        }
        self.sacked.clear();
    }

    /// Whether any part of the stream was acknowledged selectively.
    pub(crate) fn has_sacked(&self) -> bool {
        !self.sacked.is_empty()
    }

    fn set_status(&mut self, index: usize, status: SentStatus) {
        let Some(sent) = self.entries.get_mut(index) else {
            return;
        };
        let (len, end) = (sent.len(), sent.end);
        let before = core::mem::replace(&mut sent.status, status);
        match before {
            SentStatus::InFlight => {}
            SentStatus::Lost => {
                self.lost_bytes -= len;
                self.lost.remove(&end);
            }
            SentStatus::Sacked => {
                self.sacked_bytes -= len;
                self.sacked_count -= 1;
            }
        }
        match status {
            SentStatus::InFlight => {}
            SentStatus::Lost => {
                self.lost_bytes += len;
                self.lost.insert(end);
            }
            SentStatus::Sacked => {
                self.sacked_bytes += len;
                self.sacked_count += 1;
            }
        }
    }

    fn index_of(&self, end: u64) -> Option<usize> {
        let index = self.entries.partition_point(|sent| sent.end < end);
        let sent = self.entries.get(index)?;
        (sent.end == end).then_some(index)
    }

    fn in_flight_by(&self, transmission: u64, end: u64) -> Option<Sent> {
        let sent = self.entries.get(self.index_of(end)?)?;
        let current = sent.transmission == transmission && sent.status == SentStatus::InFlight;
        current.then_some(*sent)
    }

    /// Whether everything is in flight for the first time.
    fn is_plain(&self) -> bool {
        self.sent_again == 0 && self.lost.is_empty() && self.sacked.is_empty()
    }

    /// Takes out what lies before `ack` where all is plain.
    fn take_out_run(&mut self, ack: u64, delivered: &mut Vec<Sent>) {
        let before = |sent: &&Sent| sent.end <= ack;
        let count = self.entries.iter().take_while(before).count();
        self.steps += count.min(2) as u64;
        let places = [Some(0), count.checked_sub(1).filter(|last| *last > 0)];
        if count > 0 {
            delivered.extend(
                places
                    .into_iter()
                    .flatten()
                    .map(|place| self.entries[place]),
            );
            self.entries.drain(..count);
            self.taken_out += count as u64;
            self.again.clear();
        }
    }

    /// Where the entry is now before which `count` are or were.
    fn index_at(&self, count: u64) -> usize {
        usize::try_from(count - self.taken_out).unwrap_or(usize::MAX)
    }

    /// Drops records of transmissions that no longer count, once there are many.
    fn weed_again(&mut self) {
        if self.again.len() > 2 * self.sent_again + STALE_RECORDS_MAX {
            self.steps += self.again.len() as u64;
            let again = core::mem::take(&mut self.again);
            self.again = again
                .into_iter()
                .filter(|(transmission, end)| self.in_flight_by(*transmission, *end).is_some())
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: u64 = SequenceSpace::ORIGIN + 1;

    fn board(segments: u64) -> Scoreboard {
        let mut board = Scoreboard::new();
        for index in 1..=segments {
            let now = Instant::from_millis(index);
            board.push(FIRST + index * 100, 100, now, SentMark::default());
        }
        board
    }

    fn ends(sent: &[Sent]) -> Vec<u64> {
        sent.iter().map(|sent| sent.end - FIRST).collect()
    }

    #[test]
    fn what_is_acknowledged_twice_is_delivered_once() {
        let mut board = board(5);
        let mut delivered = Vec::new();
        board.sack(FIRST + 100..FIRST + 300, &mut delivered);
        assert_eq!(ends(&delivered), [200, 300]);
        assert_eq!((board.sacked_bytes(), board.in_flight()), (200, 300));
        board.sack(FIRST + 100..FIRST + 400, &mut delivered);
        board.acknowledge(FIRST + 450, &mut delivered);
        assert_eq!(ends(&delivered), [200, 300, 400, 100]);
        assert_eq!((board.outstanding(), board.in_flight()), (50, 50));
        assert_eq!(board.sacked_count(), 0);
    }

    #[test]
    fn a_segment_covered_in_part_has_not_arrived() {
        let mut board = board(3);
        let mut delivered = Vec::new();
        board.sack(FIRST + 150..FIRST + 250, &mut delivered);
        assert_eq!(ends(&delivered), []);
        board.sack(FIRST + 100..FIRST + 250, &mut delivered);
        assert_eq!(ends(&delivered), [200]);
    }

    #[test]
    fn the_oldest_transmission_comes_first() {
        let mut board = board(3);
        board.mark_lost(FIRST + 100);
        assert_eq!(
            board.oldest_in_flight().map(|sent| sent.end),
            Some(FIRST + 200)
        );
        board.retransmit(
            FIRST + 100,
            FIRST + 100,
            Instant::from_millis(9),
            SentMark::default(),
        );
        board.mark_lost(FIRST + 200);
        board.mark_lost(FIRST + 300);
        assert_eq!(
            board.oldest_in_flight().map(|sent| sent.end),
            Some(FIRST + 100)
        );
        assert_eq!(board.first_lost().map(|sent| sent.end), Some(FIRST + 200));
        board.forget_losses();
        assert_eq!(
            board.oldest_in_flight().map(|sent| sent.end),
            Some(FIRST + 200)
        );
        assert_eq!(board.in_flight(), 300);
    }

    /// A peer without SACK never asks for the oldest transmission: records must not pile up.
    #[test]
    fn records_of_transmissions_are_bounded() {
        let mut board = board(2);
        for _ in 0..10_000 {
            board.mark_lost(FIRST + 100);
            board.retransmit(
                FIRST + 100,
                FIRST + 100,
                Instant::default(),
                SentMark::default(),
            );
        }
        assert!(board.again.len() <= STALE_RECORDS_MAX + 3);
    }

    proptest! {
        /// Counters against a recount, whatever is done in whatever order.
        #[test]
        fn the_counters_are_right(
            steps in prop::collection::vec((0_u8..8, 0_u64..2_500, 1_u64..900), 1..200),
        ) {
            let mut board = board(20);
            let mut delivered = Vec::new();
            for (time, (step, at, span)) in steps.into_iter().enumerate() {
                let now = Instant::from_millis(100 + time as u64);
                let end = FIRST + at.next_multiple_of(100);
                match step {
                    0 => board.acknowledge((FIRST + at).min(board.next()), &mut delivered),
                    1 | 2 => board.sack(FIRST + at..FIRST + at + span, &mut delivered),
                    3 | 4 => board.mark_lost(end),
                    5 => if let Some(end) = board.first_lost().map(|sent| sent.end) {
                        board.retransmit(end, end - span % 2, now, SentMark::default());
                    },
                    6 => board.push(board.next() + span, 300, now, SentMark::default()),
                    _ => if span < 300 { board.forget_losses() } else if span < 500 { board.forget_sacks() },
                }
                let sum = |status| board.entries.iter().filter(|sent| sent.status == status).map(Sent::len).sum::<u64>();
                prop_assert_eq!(board.sacked_bytes, sum(SentStatus::Sacked));
                prop_assert_eq!(board.lost_bytes, sum(SentStatus::Lost));
                prop_assert_eq!(board.in_flight(), sum(SentStatus::InFlight));
                let mut at = board.unacked();
                for sent in &board.entries {
                    prop_assert_eq!(sent.start, at);
                    at = sent.end;
                }
                prop_assert_eq!(at, board.next());
                let first_lost = board.entries.iter().find(|sent| sent.status == SentStatus::Lost);
                prop_assert_eq!(board.first_lost().map(|sent| sent.end), first_lost.map(|sent| sent.end));
                let oldest = board.entries.iter().filter(|sent| sent.status == SentStatus::InFlight).map(|sent| sent.transmission).min();
                prop_assert_eq!(board.oldest_in_flight().map(|sent| sent.transmission), oldest);
            }
            let mut once: Vec<_> = delivered.iter().map(|sent| (sent.start, sent.end)).collect();
            once.sort_unstable();
            once.dedup();
            prop_assert!(once.len() <= delivered.len());
        }
    }
}
