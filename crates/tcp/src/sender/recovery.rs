//! Finding losses, and what is done about them.

use alloc::boxed::Box;

use super::acknowledge::Report;
use super::{Sender, Urge};
use crate::congestion::{Acked, Congested};
use crate::prr::Prr;
use crate::rack::DUPLICATE_THRESHOLD;
use crate::scoreboard::SentStatus;
use crate::spurious::Episode;
use crate::stats::Counters;
use crate::tail_loss::ProbeOutcome;
use crate::time::Instant;
use crate::timestamps::{is_before, ticks};

/// What the sender is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// Nothing is known to be lost.
    Open,
    /// Fast recovery, until everything up to `point` is acknowledged (RFC 6675 §5).
    Recovery { point: u64, prr: Prr },
    /// After a time-out of the segment at `first`, until everything up to `point` is acknowledged.
    Loss { point: u64, first: u64 },
}

impl Sender {
    /// What may be in flight, bytes.
    pub(super) fn congestion_window(&self) -> u64 {
        match &self.phase {
            Phase::Recovery { prr, .. } => prr.window(),
            Phase::Open | Phase::Loss { .. } => self.controller.window(),
        }
    }

    /// Looks for losses in what an acknowledgement reports, and answers them.
    pub(super) fn react(&mut self, now: Instant, ack: u64, report: &Report, stats: &mut Counters) {
        self.tell_rack(now, ack, report);
        self.judge_episode(ack, report, stats);
        self.leave_recovery(ack);
        let dsack = report.dsack.is_some();
        let probe = self.tail.on_ack(ack, dsack, report.empty);
        // Only now: what was lost before may be acknowledged, or taken back.
        let lost_before = self.board.lost_bytes();
        if self.settings.sack {
            self.detect_losses(now);
        } else {
            self.count_duplicates(report);
        }
        let newly_lost = self.count_lost(lost_before, stats);
        if matches!(self.phase, Phase::Open) {
            if newly_lost {
                self.enter_recovery(now, report, stats);
            } else if probe == ProbeOutcome::MendedLoss {
                // RFC 8985 §7.4.2: the probe hid a loss from us, not from the network.
                self.controller
                    .on_loss(&self.congested(now, report.before.outstanding));
            }
        }
        self.grow(now, report, newly_lost);
    }

    /// A segment is given up because its reordering window is over (RFC 8985 §6.2 step 5).
    pub(super) fn handle_reordering_timeout(&mut self, now: Instant, stats: &mut Counters) {
        let before = self.board.lost_bytes();
        self.detect_losses(now);
        if self.count_lost(before, stats) && matches!(self.phase, Phase::Open) {
            let flight = self.board.outstanding() - self.board.sacked_bytes();
            self.begin_recovery(now, flight, stats);
            self.advance_prr(0, false);
        }
    }

    /// The retransmission timer has run out (RFC 6298 §5.4 to §5.6).
    pub(super) fn handle_rto(&mut self, now: Instant, stats: &mut Counters) {
        stats.rtos += 1;
        // RFC 2018 §8: the first segment cannot be at the peer and yet not acknowledged,
        // unless the peer has thrown away what it reported (behaviour 12).
        if self
            .board
            .first()
            .is_some_and(|first| first.status == SentStatus::Sacked)
        {
            stats.reneges += 1;
            self.board.forget_sacks();
        }
        let before = self.board.lost_bytes();
        let window = self.reordering_window();
        let (rack, sack, unacked) = (&self.rack, self.settings.sack, self.board.unacked());
        self.board
            .mark_lost_where(|sent| !sack || rack.is_lost_at_timeout(sent, unacked, now, window));
        self.count_lost(before, stats);
        let first = self.board.unacked();
        // RFC 5681 §3.1: the threshold falls once for each segment that the timer runs out for.
        let repeated = matches!(self.phase, Phase::Loss { first: before, .. } if before == first);
        let congested = self.congested(now, self.board.outstanding());
        self.controller.on_rto(&congested, repeated);
        let goes_on = matches!(self.phase, Phase::Loss { .. });
        match &mut self.episode {
            // RFC 5682 §2.1, step 1: F-RTO is not tried in the recovery from a time-out.
            Some(episode) if goes_on => episode.give_up_forward(),
            episode => {
                let began_after = self.board.transmissions();
                *episode = Some(Box::new(Episode::timeout(began_after)));
            }
        }
        self.phase = Phase::Loss {
            point: self.board.next(),
            first,
        };
        self.presumed_bytes = 0;
        self.reordering_due = None;
        self.tail.reset();
        self.timer.back_off(now);
        self.urge = Urge::Retransmit;
        self.update_pacing();
    }

    /// Plans the tail loss probe where there can be one (RFC 8985 §7.2).
    pub(super) fn schedule_loss_probe(&mut self, now: Instant) {
        let applies = self.settings.sack
            && matches!(self.phase, Phase::Open)
            && !self.board.has_sacked()
            && !self.board.is_empty();
        if applies {
            let one = self.board.len() == 1;
            let rto_at = self.timer.expires_at(&self.rtt);
            self.tail.schedule(now, self.rtt.smoothed(), one, rto_at);
        } else {
            self.tail.cancel();
        }
    }

    fn tell_rack(&mut self, now: Instant, ack: u64, report: &Report) {
        let offset = self.settings.timestamp_offset;
        let echo = report.echo;
        // DEVIATION: RFC 8985 §6.2 step 2 looks at the echo of whatever is acknowledged. While
        // there is a hole, though, the peer echoes what came before it (RFC 7323 §4.3), and so of
        // what it has behind the hole an old echo says nothing.
        let is_original = |sent: &crate::scoreboard::Sent| {
            sent.end <= ack
                && matches!((offset, echo), (Some(offset), Some(echo))
                    if is_before(echo, ticks(sent.sent_at, offset)))
        };
        let least = self.rtt.least();
        self.rack
            .on_delivered(&mut self.delivered, now, least, is_original);
        if report.dsack.is_some() {
            self.rack.on_dsack(self.board.unacked(), self.board.next());
        }
    }

    /// Undoes what was done about a loss, if there was none.
    fn judge_episode(&mut self, ack: u64, report: &Report, stats: &mut Counters) {
        let Some(episode) = &mut self.episode else {
            return;
        };
        if let Some((start, end)) = report.dsack {
            episode.on_dsack(start, end);
        }
        let began_after = episode.began_after();
        let original = self
            .delivered
            .iter()
            .any(|sent| !sent.retransmitted && sent.transmission <= began_after);
        let echo = if report.acked > 0 { report.echo } else { None };
        if episode.judge(ack, echo, original).is_some() {
            let (unacked, next) = (self.board.unacked(), self.board.next());
            if self.undo_limit.permit(unacked, next) {
                stats.spurious_undone += 1;
                self.undo();
            } else {
                self.episode = None;
            }
            return;
        }
        if report.acked > 0 {
            episode.on_advance();
        } else if report.duplicate {
            episode.give_up_forward();
        }
    }

    fn undo(&mut self) {
        if matches!(self.phase, Phase::Recovery { .. }) {
            self.rack.on_undone();
        }
        self.controller.on_spurious();
        self.board.forget_losses();
        self.phase = Phase::Open;
        self.episode = None;
        self.presumed_bytes = 0;
        self.timer.collapse();
        self.tail.reset();
    }

    fn leave_recovery(&mut self, ack: u64) {
        let (Phase::Recovery { point, .. } | Phase::Loss { point, .. }) = self.phase else {
            return;
        };
        if ack >= point {
            self.phase = Phase::Open;
            self.rack.on_recovered();
            self.presumed_bytes = 0;
        }
    }

    fn reordering_window(&self) -> core::time::Duration {
        let in_recovery = !matches!(self.phase, Phase::Open);
        self.rack.reordering_window(
            in_recovery,
            self.board.sacked_count(),
            self.rtt.least(),
            self.rtt.smoothed(),
        )
    }

    fn detect_losses(&mut self, now: Instant) {
        let window = self.reordering_window();
        self.reordering_due = self.rack.detect_losses(&mut self.board, now, window);
    }

    /// Without SACK: the third duplicate and each partial acknowledgement tell of the
    /// first segment that it is lost (RFC 5681 §3.2, RFC 6582 §3.2).
    fn count_duplicates(&mut self, report: &Report) {
        let lost = match self.phase {
            Phase::Open => {
                if report.acked > 0 {
                    self.duplicates = 0;
                } else if report.duplicate {
                    self.duplicates = self.duplicates.saturating_add(1);
                }
                self.duplicates == DUPLICATE_THRESHOLD
            }
            Phase::Recovery { .. } => report.acked > 0,
            Phase::Loss { .. } => false,
        };
        if lost && let Some(first) = self.board.first() {
            let end = first.end;
            self.board.mark_lost(end);
        }
    }

    /// Whether more is lost than `before`; counts it.
    fn count_lost(&mut self, before: u64, stats: &mut Counters) -> bool {
        let more = self.board.lost_bytes().saturating_sub(before);
        stats.segments_lost += more.div_ceil(self.settings.mss);
        more > 0
    }

    fn congested(&self, now: Instant, flight: u64) -> Congested {
        Congested { now, flight }
    }

    fn enter_recovery(&mut self, now: Instant, report: &Report, stats: &mut Counters) {
        // RecoverFS of RFC 9937 §6.1: what was in flight before this acknowledgement.
        let flight = report.before.outstanding - report.before.sacked;
        self.begin_recovery(now, flight, stats);
    }

    fn begin_recovery(&mut self, now: Instant, flight: u64, stats: &mut Counters) {
        stats.fast_recoveries += 1;
        self.controller.on_loss(&self.congested(now, flight));
        let target = self.controller.slow_start_threshold();
        self.phase = Phase::Recovery {
            point: self.board.next(),
            prr: Prr::new(flight, target),
        };
        let episode = Episode::fast(self.board.transmissions());
        self.episode = Some(Box::new(episode));
        self.tail.reset();
    }

    fn advance_prr(&mut self, delivered: u64, safe: bool) {
        let (pipe, mss) = (self.in_flight(), self.settings.mss);
        if let Phase::Recovery { prr, .. } = &mut self.phase {
            prr.on_ack(delivered, pipe, safe, mss);
        }
    }

    /// Moves the congestion window by what was acknowledged.
    fn grow(&mut self, now: Instant, report: &Report, newly_lost: bool) {
        if report.duplicate {
            self.controller.on_duplicate_ack(now);
        }
        if matches!(self.phase, Phase::Recovery { .. }) {
            self.advance_prr(report.delivered, report.acked > 0 && !newly_lost);
        } else if report.acked > 0 {
            let window = self.controller.window();
            let filled = report.before.in_flight + self.settings.mss > window
                || self.controller.in_slow_start() && 2 * report.before.in_flight >= window;
            let once = self.delivered.iter().filter(|sent| !sent.retransmitted);
            let latest = once.map(|sent| sent.sent_at).max();
            self.controller.on_ack(&Acked {
                now,
                // Not what was reported before the hole was filled: it has been counted.
                bytes: report.delivered,
                rtt: latest.map(|at| now.saturating_since(at)),
                srtt: self.rtt.smoothed(),
                min_rtt: self.rtt.least(),
                in_flight: report.before.in_flight,
                window_limited: self.window_limited || filled,
                acked_to: self.board.unacked(),
                sent_to: self.board.next(),
                rate: report.rate,
            });
        }
    }
}
