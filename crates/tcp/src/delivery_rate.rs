//! How fast data is delivered (draft-ietf-ccwg-bbr §4.1, delivery rate estimation).

use core::time::Duration;

use crate::time::Instant;

/// What is noted with each transmission.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SentMark {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    app_limited: bool,
}

/// The rate at which data arrived over one stretch of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSample {
    /// Bytes that arrived in `interval`.
    pub delivered: u64,
    /// The longer of the times that sending and acknowledging them took.
    pub interval: Duration,
    /// Whether there was not enough to send, so that the path may carry more.
    pub app_limited: bool,
    /// Bytes delivered before the stretch began.
    pub prior_delivered: u64,
}

impl RateSample {
    /// Bytes per second; `None` over no time at all.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        let nanos = self.interval.as_nanos();
        let bytes = u128::from(self.delivered) * 1_000_000_000;
        u64::try_from(bytes.checked_div(nanos)?).ok()
    }
}

/// Counts what is delivered, and when.
#[derive(Debug, Default)]
pub(crate) struct DeliveryRate {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// The count at which the last data sent while there was too little will be delivered.
    app_limited_until: Option<u64>,
    /// The rate that was measured last, bytes per second.
    latest: u64,
}

impl DeliveryRate {
    /// The rate that was measured last, bytes per second; zero before.
    pub(crate) fn latest(&self) -> u64 {
        self.latest
    }

    /// What to note with a segment sent now, `idle` if nothing else was in flight.
    pub(crate) fn on_sent(&mut self, now: Instant, idle: bool) -> SentMark {
        if idle {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        SentMark {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.app_limited_until.is_some(),
        }
    }

    /// There is less to send than may be sent, with `in_flight` on its way.
    pub(crate) fn on_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = Some(self.delivered + in_flight.max(1));
    }

    /// `bytes` arrived, of which the segment sent last was sent at `sent_at` with `mark`.
    pub(crate) fn on_delivered(
        &mut self,
        now: Instant,
        bytes: u64,
        latest: Option<(Instant, SentMark)>,
        min_rtt: Option<Duration>,
    ) -> Option<RateSample> {
        if bytes > 0 {
            self.delivered += bytes;
            self.delivered_at = now;
        }
        if self
            .app_limited_until
            .is_some_and(|until| self.delivered > until)
        {
            self.app_limited_until = None;
        }
        let (sent_at, mark) = latest?;
        self.first_sent_at = sent_at;
        let sending = sent_at.saturating_since(mark.first_sent_at);
        let acknowledging = now.saturating_since(mark.delivered_at);
        let interval = sending.max(acknowledging);
        // Over less than a round trip, several acknowledgements at once would count
        // as a rate that no path has.
        if interval.is_zero() || min_rtt.is_some_and(|min_rtt| interval < min_rtt) {
            return None;
        }
        let sample = RateSample {
            delivered: self.delivered - mark.delivered,
            interval,
            app_limited: mark.app_limited,
            prior_delivered: mark.delivered,
        };
        self.latest = sample.bytes_per_second().unwrap_or(self.latest);
        Some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_slower_direction() {
        let at = Instant::from_millis;
        let mut rate = DeliveryRate::default();
        let first = rate.on_sent(at(0), true);
        let second = rate.on_sent(at(1), false);
        let min_rtt = Some(Duration::from_millis(10));
        let sample = rate.on_delivered(at(10), 1_000, Some((at(0), first)), min_rtt);
        assert_eq!(
            sample.and_then(|sample| sample.bytes_per_second()),
            Some(100_000)
        );
        // Both acknowledgements together arrive late: 2,000 bytes in 20 ms.
        let sample = rate.on_delivered(at(20), 1_000, Some((at(1), second)), min_rtt);
        let sample = sample.unwrap();
        assert_eq!(sample.bytes_per_second(), Some(100_000));
        assert!(!sample.app_limited);
        let third = rate.on_sent(at(20), true);
        let sample = rate.on_delivered(at(30), 1_000, Some((at(20), third)), min_rtt);
        assert_eq!(sample.unwrap().delivered, 1_000, "and none of the first");
        assert_eq!(rate.latest(), 100_000);
    }

    #[test]
    fn less_than_a_round_trip_shows_no_rate() {
        let at = Instant::from_millis;
        for (millis, min_rtt, is_shown) in [
            (10, Some(10), true),
            (9, Some(10), false),
            (1, None, true),
            (0, None, false),
        ] {
            let mut rate = DeliveryRate::default();
            let sent = rate.on_sent(at(5), true);
            let min_rtt = min_rtt.map(Duration::from_millis);
            let sample = rate.on_delivered(at(5 + millis), 1_000, Some((at(5), sent)), min_rtt);
            assert_eq!(sample.is_some(), is_shown, "{millis} {min_rtt:?}");
            assert_eq!(rate.latest() > 0, is_shown, "{millis} {min_rtt:?}");
        }
    }

    #[test]
    fn what_is_sent_while_there_is_too_little_is_marked_until_delivered() {
        let at = Instant::from_millis;
        let mut rate = DeliveryRate::default();
        let before = rate.on_sent(at(0), true);
        rate.on_app_limited(1_000);
        let during = rate.on_sent(at(1), false);
        for bytes in [400, 600] {
            rate.on_delivered(at(10), bytes, Some((at(0), before)), None);
            assert!(rate.on_sent(at(10), false).app_limited, "{bytes}");
        }
        let sample = rate.on_delivered(at(11), 1_000, Some((at(1), during)), None);
        assert!(sample.unwrap().app_limited);
        assert!(!rate.on_sent(at(12), true).app_limited);
    }
}
