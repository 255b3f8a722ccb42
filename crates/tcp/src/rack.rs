//! Loss detection by time (RACK, RFC 8985 §6).

use core::time::Duration;

use crate::scoreboard::{Scoreboard, Sent};
use crate::seq::SequenceSpace;
use crate::time::Instant;

/// Acknowledged segments behind a hole from which on it counts as lost at once.
pub(crate) const DUPLICATE_THRESHOLD: usize = 3;

/// Recoveries for which a window widened by D-SACK is kept (RFC 8985 §6.2 step 4).
const WINDOW_KEPT_RECOVERIES: u32 = 16;

/// What RACK knows of the segment sent last among those that have arrived.
#[derive(Debug)]
pub(crate) struct Rack {
    /// The number of that segment's transmission.
    transmission: u64,
    /// Its round trip.
    rtt: Duration,
    /// The furthest position that has arrived.
    furthest: u64,
    reordering_seen: bool,
    window_factor: u32,
    window_kept: u32,
    /// SND.NXT when a D-SACK last widened the window; once per round trip is enough.
    widened_at: u64,
}

impl Rack {
    pub(crate) const fn new() -> Self {
        Self {
            transmission: 0,
            rtt: Duration::ZERO,
            furthest: SequenceSpace::ORIGIN,
            reordering_seen: false,
            window_factor: 1,
            window_kept: 0,
            widened_at: 0,
        }
    }

    pub(crate) fn reordering_seen(&self) -> bool {
        self.reordering_seen
    }

    /// Notes the segments that one acknowledgement reports (RFC 8985 §6.2, steps 1 to 3).
    ///
    /// `is_original` tells whether the acknowledgement proves, by its timestamp, that
    /// it was caused by an earlier transmission of a segment sent again.
    pub(crate) fn on_delivered(
        &mut self,
        delivered: &mut [Sent],
        now: Instant,
        min_rtt: Option<Duration>,
        is_original: impl Fn(&Sent) -> bool,
    ) {
        // Several holes that one acknowledgement fills are no sign of reordering.
        delivered.sort_unstable_by_key(|sent| sent.end);
        for sent in delivered.iter() {
            let rtt = now.saturating_since(sent.sent_at);
            let doubtful = sent.retransmitted
                && (is_original(sent) || min_rtt.is_some_and(|min_rtt| rtt < min_rtt));
            if !doubtful && sent.transmission > self.transmission {
                self.transmission = sent.transmission;
                self.rtt = rtt;
            }
            if sent.end > self.furthest {
                self.furthest = sent.end;
            } else if sent.end < self.furthest && !sent.retransmitted {
                self.reordering_seen = true;
            }
        }
    }

    /// The peer reported a duplicate: we had been too quick (RFC 8985 §6.2 step 4).
    pub(crate) fn on_dsack(&mut self, unacked: u64, next: u64) {
        if unacked >= self.widened_at {
            self.widened_at = next;
            self.window_factor = self.window_factor.saturating_add(1);
            self.window_kept = WINDOW_KEPT_RECOVERIES;
        }
    }

    /// A recovery is over; a widened window is given up after some of them.
    pub(crate) fn on_recovered(&mut self) {
        self.window_kept = self.window_kept.saturating_sub(1);
        if self.window_kept == 0 {
            self.window_factor = 1;
        }
    }

    /// A fast recovery was needless: the segments came, only in another order.
    pub(crate) fn on_undone(&mut self) {
        self.reordering_seen = true;
    }

    /// How much later than its successors a segment may arrive (RFC 8985 §6.2 step 4).
    pub(crate) fn reordering_window(
        &self,
        in_recovery: bool,
        sacked_count: usize,
        min_rtt: Option<Duration>,
        srtt: Option<Duration>,
    ) -> Duration {
        if !self.reordering_seen && (in_recovery || sacked_count >= DUPLICATE_THRESHOLD) {
            return Duration::ZERO;
        }
        let window = (min_rtt.unwrap_or_default() / 4).saturating_mul(self.window_factor);
        window.min(srtt.unwrap_or_default())
    }

    /// Gives up what was sent long enough before the latest segment that has arrived.
    ///
    /// RFC 8985 §6.2 step 5. The time is when the next one has to be given up.
    pub(crate) fn detect_losses(
        &self,
        board: &mut Scoreboard,
        now: Instant,
        window: Duration,
    ) -> Option<Instant> {
        while let Some(sent) = board.oldest_in_flight() {
            if sent.transmission >= self.transmission {
                return None;
            }
            let due = sent.sent_at + self.rtt.saturating_add(window);
            if due > now {
                return Some(due);
            }
            board.mark_lost(sent.end);
        }
        None
    }

    /// Whether `sent` counts as lost when the retransmission timer runs out (§6.3).
    pub(crate) fn is_lost_at_timeout(
        &self,
        sent: &Sent,
        unacked: u64,
        now: Instant,
        window: Duration,
    ) -> bool {
        sent.start == unacked || sent.sent_at + self.rtt.saturating_add(window) <= now
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::delivery_rate::SentMark;

    const FIRST: u64 = SequenceSpace::ORIGIN + 1;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn flight(segments: u64) -> Scoreboard {
        let mut board = Scoreboard::new();
        for index in 1..=segments {
            board.push(FIRST + index, 1, at(index), SentMark::default());
        }
        board
    }

    fn arrive(rack: &mut Rack, board: &mut Scoreboard, segment: u64, now: Instant) {
        let mut delivered = Vec::new();
        board.sack(FIRST + segment - 1..FIRST + segment, &mut delivered);
        rack.on_delivered(
            &mut delivered,
            now,
            Some(Duration::from_millis(100)),
            |_| false,
        );
    }

    /// RFC 8985 §6.2 step 5: lost only when a later one has arrived, and then in time.
    #[test]
    fn a_segment_is_lost_a_window_after_its_successor_arrived() {
        let (mut rack, mut board) = (Rack::new(), flight(4));
        let window = Duration::from_millis(25);
        assert_eq!(rack.detect_losses(&mut board, at(99_999), window), None);
        arrive(&mut rack, &mut board, 3, at(103));
        // Sent at 1 ms with a round trip of 100 ms and a window of 25 ms.
        assert_eq!(
            rack.detect_losses(&mut board, at(103), window),
            Some(at(126))
        );
        assert_eq!(
            rack.detect_losses(&mut board, at(126), window),
            Some(at(127))
        );
        assert_eq!(board.lost_bytes(), 1);
        assert_eq!(rack.detect_losses(&mut board, at(999), window), None);
        assert_eq!(board.lost_bytes(), 2, "what was sent after it is not lost");
    }

    /// RFC 8985 §6.2 step 4: three acknowledged segments close the window...
    #[test]
    fn the_window_is_closed_by_three_unless_reordering_was_seen() {
        let mut rack = Rack::new();
        let (least, smooth) = (
            Some(Duration::from_millis(80)),
            Some(Duration::from_millis(90)),
        );
        for (in_recovery, sacked, reordering, millis) in [
            (false, 2, false, 20),
            (false, 3, false, 0),
            (true, 0, false, 0),
            (false, 3, true, 20),
            (true, 9, true, 20),
        ] {
            rack.reordering_seen = reordering;
            let window = rack.reordering_window(in_recovery, sacked, least, smooth);
            assert_eq!(
                window,
                Duration::from_millis(millis),
                "{in_recovery} {sacked}"
            );
        }
        // ... and D-SACK widens it, once per round trip, up to the smoothed round trip.
        for (unacked, next, millis) in [
            (10, 20, 40),
            (15, 25, 40),
            (20, 30, 60),
            (30, 40, 80),
            (40, 50, 90),
        ] {
            rack.on_dsack(unacked, next);
            let window = rack.reordering_window(false, 3, least, smooth);
            assert_eq!(window, Duration::from_millis(millis), "{unacked}");
        }
        for _ in 0..WINDOW_KEPT_RECOVERIES {
            rack.on_recovered();
        }
        assert_eq!(
            rack.reordering_window(false, 0, least, smooth),
            Duration::from_millis(20)
        );
    }

    /// RFC 8985 §6.2 step 3.
    #[test]
    fn a_segment_that_comes_late_shows_reordering() {
        let (mut rack, mut board) = (Rack::new(), flight(4));
        arrive(&mut rack, &mut board, 3, at(103));
        assert!(!rack.reordering_seen());
        arrive(&mut rack, &mut board, 2, at(104));
        assert!(rack.reordering_seen());
    }

    #[test]
    fn a_retransmission_that_comes_late_shows_nothing() {
        let (mut rack, mut board) = (Rack::new(), flight(4));
        arrive(&mut rack, &mut board, 3, at(103));
        board.retransmit(FIRST + 1, FIRST + 1, at(110), SentMark::default());
        arrive(&mut rack, &mut board, 1, at(120));
        assert!(!rack.reordering_seen());
        // 10 ms are less than any round trip: it was the original that arrived, and the
        // fourth segment is not lost by it.
        assert_eq!(
            rack.detect_losses(&mut board, at(120), Duration::ZERO),
            None
        );
    }
}
