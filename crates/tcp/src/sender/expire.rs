//! What the sender does when its time comes.

use super::{Sender, Urge};
use crate::deadline::Reason;
use crate::stats::Counters;
use crate::time::Instant;

impl Sender {
    /// Does what is due by `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant, stats: &mut Counters) {
        while let Some(deadline) = self.poll_timeout()
            && deadline.at() <= now
        {
            match deadline.reason() {
                Reason::Retransmit => self.handle_rto(now, stats),
                Reason::LossProbe => self.handle_loss_probe(now),
                Reason::Reordering => {
                    self.reordering_due = None;
                    self.handle_reordering_timeout(now, stats);
                }
                Reason::WindowProbe => self.handle_window_probe(now, stats),
                Reason::SmallWindow => {
                    self.small_due = None;
                    self.urge = Urge::Small;
                }
                // `poll_transmit` sets it again if it is too early still.
                _ => self.pacing_due = None,
            }
        }
    }

    fn handle_loss_probe(&mut self, now: Instant) {
        self.tail.cancel();
        if self.board.is_empty() {
            return;
        }
        self.urge = Urge::LossProbe;
        // RFC 8985 §7.3: the time-out counts from the probe.
        self.timer.restart(now);
    }

    fn handle_window_probe(&mut self, now: Instant, stats: &mut Counters) {
        let rto = self.rto();
        self.probe.on_sent(now, rto);
        if self.is_window_closed() && self.has_unacked() {
            stats.window_probes += 1;
            self.urge = Urge::WindowProbe;
        } else {
            self.probe.stop();
        }
    }
}
