//! Asking a silent peer whether it is still there (RFC 9293 §3.8.4).

use alloc::boxed::Box;

use crate::config::KeepAlive;
use crate::time::Instant;

/// When the peer was last heard, and how often it was asked since.
#[derive(Debug)]
pub(crate) struct KeepAliveTimer {
    /// Seldom there.
    settings: Option<Box<KeepAlive>>,
    heard_at: Instant,
    asked: u32,
}

/// What is to be done when the timer runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    NotYet,
    Ask,
    GiveUp,
}

impl KeepAliveTimer {
    pub(crate) fn new(settings: Option<KeepAlive>, now: Instant) -> Self {
        Self {
            settings: settings.map(Box::new),
            heard_at: now,
            asked: 0,
        }
    }

    /// Something came from the peer.
    pub(crate) fn on_heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.asked = 0;
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let settings = self.settings.as_ref()?;
        let asked = settings.interval.saturating_mul(self.asked);
        Some(self.heard_at + settings.idle.saturating_add(asked))
    }

    pub(crate) fn expire(&mut self, now: Instant) -> Expired {
        match (self.due(), &self.settings) {
            (Some(due), Some(settings)) if due <= now => {
                if self.asked >= settings.probes_max {
                    return Expired::GiveUp;
                }
                self.asked += 1;
                Expired::Ask
            }
            _ => Expired::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn a_peer_is_asked_a_few_times_and_given_up() {
        let settings = KeepAlive {
            idle: Duration::from_secs(100),
            interval: Duration::from_secs(10),
            probes_max: 2,
        };
        let mut timer = KeepAliveTimer::new(Some(settings), Instant::default());
        timer.on_heard(Instant::from_millis(50_000));
        for (seconds, expired) in [
            (149, Expired::NotYet),
            (150, Expired::Ask),
            (159, Expired::NotYet),
            (160, Expired::Ask),
            (170, Expired::GiveUp),
        ] {
            let now = Instant::from_millis(seconds * 1_000);
            assert_eq!(timer.expire(now), expired, "{seconds}");
        }
        assert_eq!(KeepAliveTimer::new(None, Instant::default()).due(), None);
    }
}
