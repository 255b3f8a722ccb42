//! The retransmission timer (RFC 6298 §5).

use core::time::Duration;

use crate::config::RtoBounds;
use crate::rtt::RttEstimator;
use crate::time::Instant;

/// Doublings after which the time-out is at its bound anyway.
const BACKOFF_MAX: u32 = 16;

/// When the timer was started, and how often it has run out since something was measured.
#[derive(Debug)]
pub(crate) struct RetransmitTimer {
    bounds: RtoBounds,
    started: Option<Instant>,
    backoff: u32,
}

impl RetransmitTimer {
    pub(crate) const fn new(bounds: RtoBounds) -> Self {
        Self {
            bounds,
            started: None,
            backoff: 0,
        }
    }

    /// The time-out as it stands, doubled for each time that the timer has run out.
    pub(crate) fn rto(&self, rtt: &RttEstimator) -> Duration {
        let rto = rtt.rto(&self.bounds);
        rto.saturating_mul(1 << self.backoff)
            .min(self.bounds.max.max(rto))
    }

    /// Takes `initial` for the time-out before the first measurement, if it is longer.
    pub(crate) fn raise_initial(&mut self, initial: Duration) {
        self.bounds.initial = self.bounds.initial.max(initial);
    }

    /// Starts the timer unless it runs (RFC 6298 §5.1).
    pub(crate) fn ensure_started(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    /// Starts the timer anew (RFC 6298 §5.3).
    pub(crate) fn restart(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// Stops the timer: nothing is outstanding (RFC 6298 §5.2).
    pub(crate) fn stop(&mut self) {
        self.started = None;
    }

    /// When it runs out.
    pub(crate) fn expires_at(&self, rtt: &RttEstimator) -> Option<Instant> {
        Some(self.started? + self.rto(rtt))
    }

    /// Doubles the time-out (RFC 6298 §5.5) and starts the timer (§5.6).
    pub(crate) fn back_off(&mut self, now: Instant) {
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
        self.started = Some(now);
    }

    /// Takes the doublings back: something sent once was measured (Karn, RFC 6298 §3).
    pub(crate) fn collapse(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Behaviour 9: the time-out doubles up to its bound, and collapses when measured.
    #[test]
    fn rto_doubles_and_collapses() {
        let rtt = RttEstimator::new();
        let mut timer = RetransmitTimer::new(RtoBounds::default());
        let mut now = Instant::default();
        assert_eq!(timer.expires_at(&rtt), None);
        timer.ensure_started(now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(
                timer.expires_at(&rtt),
                Some(now + Duration::from_secs(seconds))
            );
            now = now + Duration::from_secs(seconds);
            timer.back_off(now);
        }
        timer.collapse();
        assert_eq!(timer.rto(&rtt), Duration::from_secs(1));
        timer.stop();
        assert_eq!(timer.expires_at(&rtt), None);
    }
}
