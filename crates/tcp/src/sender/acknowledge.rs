//! Taking an acknowledgement.

use core::ops::Range;

use super::Sender;
use super::recovery::Phase;
use crate::delivery_rate::RateSample;
use crate::scoreboard::Sent;
use crate::stats::Counters;
use crate::time::Instant;
use crate::timestamps;
use crate::wire::SackBlocks;

/// What an acceptable segment says about what we sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ack {
    pub(crate) ack: u64,
    /// The position of the segment that carries it.
    pub(crate) seq: u64,
    /// Scaled.
    pub(crate) window: u64,
    pub(crate) sack: SackBlocks,
    /// The timestamp that it echoes.
    pub(crate) echo: Option<u32>,
    /// Whether the segment takes sequence space of its own.
    pub(crate) has_data: bool,
}

/// An acknowledgement, placed against `(SND.UNA, SND.NXT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckClass {
    /// Of what was never sent.
    BeyondSent,
    /// Older than any window there was (RFC 5961 §5.2).
    TooOld,
    /// Older than the latest.
    Old,
    /// Of nothing new.
    Repeat,
    /// Of this many bytes more.
    Advances(u64),
}

/// What one acknowledgement told of our segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    /// Bytes that SND.UNA moved by.
    pub(super) acked: u64,
    /// Bytes that are known to have arrived now and were not before.
    pub(super) delivered: u64,
    /// What it called a duplicate, from its first position to behind its last (RFC 2883).
    pub(super) dsack: Option<(u64, u64)>,
    /// Whether it repeats the one before it (RFC 5681 §2), or adds SACK blocks.
    pub(super) duplicate: bool,
    /// Whether it tells nothing at all, SACK blocks and window included.
    pub(super) empty: bool,
    pub(super) echo: Option<u32>,
    /// As it was before.
    pub(super) before: Before,
    /// The rate of delivery, once it is measured.
    pub(super) rate: Option<RateSample>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) in_flight: u64,
    pub(super) outstanding: u64,
    pub(super) sacked: u64,
}

impl Sender {
    /// Places `ack` against the sequence space in flight; changes nothing.
    ///
    /// RFC 9293 §3.10.7.4, fifth check, with the lower bound of RFC 5961 §5.2.
    pub(crate) fn classify_ack(&self, ack: u64) -> AckClass {
        let (unacked, next) = (self.board.unacked(), self.board.next());
        if ack > next {
            AckClass::BeyondSent
        } else if ack + self.window.size_max() < unacked {
            AckClass::TooOld
        } else if ack < unacked {
            AckClass::Old
        } else if ack == unacked {
            AckClass::Repeat
        } else {
            AckClass::Advances(ack - unacked)
        }
    }

    /// Takes an acknowledgement; one that is old or beyond what was sent changes nothing.
    pub(crate) fn handle_ack(&mut self, now: Instant, ack: &Ack, stats: &mut Counters) -> AckClass {
        let class = self.classify_ack(ack.ack);
        let acked = match class {
            AckClass::Repeat => 0,
            AckClass::Advances(acked) => acked,
            AckClass::BeyondSent | AckClass::TooOld | AckClass::Old => return class,
        };
        if acked == 0 && ack.sack.is_empty() && self.learns_nothing_from(ack.window) {
            self.note_no_news(ack.seq, ack.ack);
        } else {
            self.take_in(now, ack, acked, stats);
        }
        class
    }

    /// Draws every consequence of an acknowledgement that moves SND.UNA by `acked`.
    fn take_in(&mut self, now: Instant, ack: &Ack, acked: u64, stats: &mut Counters) {
        let was_closed = self.is_window_closed();
        let window_changed = self.window.update(ack.seq, ack.ack, ack.window, acked > 0);
        let mut report = self.take_report(ack, acked, window_changed, stats);
        report.rate = self.measure(now, &report);
        self.buffer.release(ack.ack);
        self.react(now, ack.ack, &report, stats);
        if was_closed && !self.is_window_closed() && acked == 0 {
            self.resume_after_closed_window();
        }
        self.restart_timers(now, acked);
        if acked > 0 || self.is_window_closed() || was_closed {
            self.progress_at = now;
        }
        self.update_pacing();
    }

    /// Whether nothing is awaited that an acknowledgement which repeats the last one, without SACK
    /// blocks, could be about: one of these comes with each segment of a peer that only sends.
    #[inline]
    pub(crate) fn learns_nothing_from(&self, window: u64) -> bool {
        self.board.is_empty()
            && window == self.window.size()
            && !self.is_window_closed()
            && matches!(self.phase, Phase::Open)
            && self.episode.is_none()
            && !self.tail.has_probe()
    }

    /// What `take_in` comes to for such a one, at `seq`.
    #[inline]
    pub(crate) fn note_no_news(&mut self, seq: u64, ack: u64) {
        self.window.update(seq, ack, self.window.size(), false);
        self.delivered.clear();
        self.reordering_due = None;
        self.probe.stop();
        self.timer.stop();
        self.tail.cancel();
    }

    /// Enters what `ack` says into the scoreboard.
    fn take_report(
        &mut self,
        ack: &Ack,
        acked: u64,
        window_changed: bool,
        stats: &mut Counters,
    ) -> Report {
        let before = Before {
            in_flight: self.in_flight(),
            outstanding: self.board.outstanding(),
            sacked: self.board.sacked_bytes(),
        };
        self.delivered.clear();
        self.board.acknowledge(ack.ack, &mut self.delivered);
        let mut dsack = None;
        let mut sacked = 0;
        if self.settings.sack {
            let told = self.delivered.len();
            dsack = self.take_sack(ack);
            sacked = self.delivered[told..].iter().map(Sent::len).sum();
        }
        stats.bytes_acked += acked;
        stats.bytes_sacked += sacked;
        stats.dsacks_received += u64::from(dsack.is_some());
        let empty =
            acked == 0 && !ack.has_data && !window_changed && ack.sack.as_slice().is_empty();
        let bare = acked == 0 && !ack.has_data && !window_changed && before.outstanding > 0;
        let duplicate = if self.settings.sack {
            sacked > 0 && acked == 0
        } else {
            bare
        };
        stats.duplicate_acks += u64::from(bare || duplicate);
        let mut delivered = (acked + self.board.sacked_bytes()).saturating_sub(before.sacked);
        if !self.settings.sack {
            delivered = self.presume_delivered(acked, duplicate);
        }
        Report {
            acked,
            delivered,
            dsack,
            duplicate,
            empty,
            echo: ack.echo,
            before,
            rate: None,
        }
    }

    /// Marks what the SACK blocks report; gives the first of them if it is a D-SACK.
    fn take_sack(&mut self, ack: &Ack) -> Option<(u64, u64)> {
        let place = |number| self.space.position(number, self.board.next());
        let blocks = ack.sack.as_slice().iter();
        let mut ranges = blocks.map(|block| place(block.left)..place(block.right));
        let mut placed: [Range<u64>; SackBlocks::COUNT_MAX] = core::array::from_fn(|_| 0..0);
        for (slot, range) in placed.iter_mut().zip(&mut ranges) {
            *slot = range;
        }
        let is_dsack = self.is_dsack(ack.ack, &placed[0], &placed[1]);
        let dsack = is_dsack.then_some((placed[0].start, placed[0].end));
        for range in placed.into_iter().skip(usize::from(is_dsack)) {
            // RFC 2018 leaves open what a block outside of the window means; it is ignored.
            if range.start < range.end
                && range.start >= self.board.unacked()
                && range.end <= self.board.next()
            {
                self.board.sack(range, &mut self.delivered);
            }
        }
        dsack
    }

    /// Whether the first block reports a duplicate (RFC 2883 §4).
    fn is_dsack(&self, ack: u64, first: &Range<u64>, second: &Range<u64>) -> bool {
        if first.is_empty() || first.end > self.board.next() {
            return false;
        }
        let plausible = first.start + self.window.size_max() >= self.board.unacked();
        let below = first.end <= ack;
        let inside = second.start <= first.start && first.end <= second.end;
        plausible && (below || inside && !second.is_empty())
    }

    /// Counts what a peer without SACK has, by its duplicate acknowledgements (RFC 9937 §6.2).
    fn presume_delivered(&mut self, acked: u64, duplicate: bool) -> u64 {
        let mss = self.settings.mss;
        if duplicate {
            let most = self.board.outstanding().saturating_sub(mss);
            let more = mss.min(most.saturating_sub(self.presumed_bytes));
            self.presumed_bytes += more;
            return mss;
        }
        // What filled the hole, and then what had been presumed, is acknowledged.
        let filled = acked.min(mss);
        let presumed = self.presumed_bytes.min(acked - filled);
        self.presumed_bytes -= presumed;
        acked - presumed
    }

    /// Takes the round trip and the rate of delivery.
    fn measure(&mut self, now: Instant, report: &Report) -> Option<RateSample> {
        // Karn (RFC 6298 §3): of segments sent again it is not known which one is answered,
        // and what is acknowledged with them may have waited behind them.
        let repeated = self.delivered.iter().any(|sent| sent.retransmitted);
        let times = || self.delivered.iter().map(|sent| sent.sent_at);
        let per_round = report.before.outstanding.div_ceil(2 * self.settings.mss);
        let per_round = u32::try_from(per_round)
            .unwrap_or(u32::MAX >> 4)
            .min(u32::MAX >> 4);
        if !repeated && let (Some(first), Some(last)) = (times().min(), times().max()) {
            self.rtt.sample(now.saturating_since(first), per_round, now);
            self.rtt.observe(now.saturating_since(last), now);
            self.timer.collapse();
        } else if report.acked > 0
            && let (Some(offset), Some(echo)) = (self.settings.timestamp_offset, report.echo)
            && let Some(rtt) = timestamps::age(offset, echo, now)
            && !self.repeats_lost_ack(now, offset, echo)
        {
            self.rtt.sample(rtt, per_round, now);
            self.timer.collapse();
        }
        let latest = self.delivered.iter().max_by_key(|sent| sent.transmission);
        let latest = latest.map(|sent| (sent.sent_at, sent.mark));
        let least = self.rtt.least();
        self.rate.on_delivered(now, report.delivered, latest, least)
    }

    /// Whether an acknowledgement seems to repeat one that was lost.
    ///
    /// It answers what we sent last, but echoes what arrived first: the time between the
    /// two is that of our timer and not of the path.
    fn repeats_lost_ack(&self, now: Instant, offset: u32, echo: u32) -> bool {
        let Some(last) = self.delivered.iter().map(|sent| sent.sent_at).max() else {
            return false;
        };
        timestamps::is_before(echo, timestamps::ticks(last, offset))
            && self
                .rtt
                .least()
                .is_some_and(|least| now.saturating_since(last) >= least)
    }

    /// The peer's window opens again: what had probed it, and was refused, goes out again.
    fn resume_after_closed_window(&mut self) {
        if let Some(first) = self.board.first() {
            let end = first.end;
            self.board.mark_lost(end);
        }
    }

    /// Sets the timers as an acknowledgement leaves them.
    fn restart_timers(&mut self, now: Instant, acked: u64) {
        if self.is_window_closed() && self.has_unacked() {
            self.timer.stop();
            self.tail.cancel();
            self.probe.on_answered();
            self.probe.ensure_started(now, self.timer.rto(&self.rtt));
            return;
        }
        self.probe.stop();
        if self.board.is_empty() {
            // RFC 6298 §5.2.
            self.timer.stop();
            self.tail.cancel();
        } else if acked > 0 {
            // RFC 6298 §5.3: by new data only, not by duplicates (behaviour 10).
            self.timer.restart(now);
            self.schedule_loss_probe(now);
        } else {
            self.timer.ensure_started(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;
    use core::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::{Agreed, Room};
    use super::*;
    use crate::config::Config;
    use crate::seq::{SeqNumber, SequenceSpace};
    use crate::wire::SackBlock;

    const FIRST: u64 = SequenceSpace::ORIGIN + 1;

    fn sender(sack: bool, pacing: bool) -> Sender {
        let config = Config {
            pacing,
            ..Config::default()
        };
        let space = SequenceSpace::new(SeqNumber::new(0));
        let mut sender = Sender::new(&config, space, Instant::default());
        let agreed = Agreed {
            mss: 100,
            sack,
            timestamp_offset: None,
            seq: FIRST,
            window: 1_000,
            rtt: Some(Duration::from_millis(20)),
            syn_lost: false,
        };
        sender.begin(&agreed, Instant::default());
        sender
    }

    proptest! {
        /// The short way and the long one leave the same sender behind, whatever came before.
        #[test]
        fn an_acknowledgement_without_news_is_taken_as_any_other(
            sack: bool,
            pacing: bool,
            steps in prop::collection::vec((0_u8..8, 0_u64..12, 0_u64..40), 1..80),
        ) {
            let mut twins = [sender(sack, pacing), sender(sack, pacing)];
            let mut stats = [Counters::default(); 2];
            let (mut now, mut seq) = (Instant::from_millis(100), FIRST);
            let room = Room { again: 100, new: 100, segments_max: 4 };
            for (step, count, millis) in steps {
                now = now + Duration::from_millis(millis);
                seq += count;
                let unacked = twins[0].unacked();
                let ack = match step {
                    0..4 => unacked,
                    _ => twins[0].next().min(unacked + 100 * count),
                };
                let block = SackBlock {
                    left: SeqNumber::new(100 * count as u32 + 101),
                    right: SeqNumber::new(100 * count as u32 + 201),
                };
                let ack = Ack {
                    ack,
                    seq,
                    window: if step == 1 { 200 * (count % 3) } else { 1_000 },
                    sack: if step == 5 { [block].into_iter().collect() } else { SackBlocks::default() },
                    echo: None,
                    has_data: count % 2 == 0,
                };
                for (is_short, (twin, stats)) in [true, false].into_iter().zip(twins.iter_mut().zip(&mut stats)) {
                    twin.handle_timeout(now, stats);
                    if step == 7 {
                        twin.write(Bytes::from(vec![0; 130 * count as usize]), now);
                    }
                    while twin.poll_transmit(now, room, None, stats).is_some() {}
                    if is_short {
                        twin.handle_ack(now, &ack, stats);
                    } else {
                        twin.take_in(now, &ack, ack.ack - unacked, stats);
                    }
                }
                prop_assert_eq!(format!("{:?}", twins[0]), format!("{:?}", twins[1]));
                prop_assert_eq!(stats[0], stats[1]);
            }
        }
    }
}
