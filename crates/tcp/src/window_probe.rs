//! Probing a window that is closed (RFC 9293 §3.8.6.1).

use core::time::Duration;

use crate::time::Instant;

/// Doublings after which the wait is at its bound anyway.
const BACKOFF_MAX: u32 = 16;

/// When the closed window is probed next.
#[derive(Debug)]
pub(crate) struct WindowProbe {
    wait_max: Duration,
    started: Option<(Instant, Duration)>,
    backoff: u32,
    /// When the first probe went out that was not answered since.
    unanswered_since: Option<Instant>,
}

impl WindowProbe {
    /// Waits at most `wait_max` between two probes.
    pub(crate) const fn new(wait_max: Duration) -> Self {
        Self {
            wait_max,
            started: None,
            backoff: 0,
            unanswered_since: None,
        }
    }

    /// Begins to wait, unless it waits already; first for a retransmission time-out (SHLD-29).
    pub(crate) fn ensure_started(&mut self, now: Instant, rto: Duration) {
        self.started.get_or_insert((now, rto));
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let (started, rto) = self.started?;
        let wait = rto.saturating_mul(1 << self.backoff);
        Some(started + wait.min(self.wait_max.max(rto)))
    }

    /// A probe went out: the next one waits twice as long (SHLD-30).
    pub(crate) fn on_sent(&mut self, now: Instant, rto: Duration) {
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
        self.started = Some((now, rto));
        self.unanswered_since.get_or_insert(now);
    }

    /// The peer is there, and its window is as closed as before.
    pub(crate) fn on_answered(&mut self) {
        self.unanswered_since = None;
    }

    /// Since when the peer owes us an answer to a probe.
    pub(crate) fn unanswered_since(&self) -> Option<Instant> {
        self.unanswered_since
    }

    /// The window has opened, or there is nothing to send.
    pub(crate) fn stop(&mut self) {
        self.started = None;
        self.backoff = 0;
        self.unanswered_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_back_off_to_a_bound() {
        let mut probe = WindowProbe::new(Duration::from_secs(60));
        let rto = Duration::from_secs(3);
        let mut now = Instant::from_millis(500);
        for seconds in [3, 6, 12, 24, 48, 60, 60] {
            probe.ensure_started(now, rto);
            assert_eq!(probe.due(), Some(now + Duration::from_secs(seconds)));
            now = now + Duration::from_secs(seconds);
            probe.on_sent(now, rto);
        }
        assert_eq!(probe.unanswered_since(), Some(Instant::from_millis(3_500)));
        probe.on_answered();
        assert_eq!(probe.unanswered_since(), None);
        probe.stop();
        assert_eq!(probe.due(), None);
        probe.ensure_started(now, rto);
        assert_eq!(probe.due(), Some(now + rto));
    }
}
