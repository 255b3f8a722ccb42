//! The round trip, measured and smoothed (RFC 6298 §2).

use core::time::Duration;

use crate::config::RtoBounds;
use crate::time::Instant;

/// How long a least round trip is believed (RFC 8985 §6.2 leaves it open; 5 min as in Linux).
const MIN_RTT_WINDOW: Duration = Duration::from_secs(300);

/// G of RFC 6298 §2: no timer runs out sooner.
const GRANULARITY: Duration = Duration::from_millis(1);

/// Smoothed round trip and its variation, and the least one of late.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RttEstimator {
    smoothed: Option<Duration>,
    variation: Duration,
    least: Option<(Duration, Instant)>,
}

impl RttEstimator {
    pub(crate) const fn new() -> Self {
        Self {
            smoothed: None,
            variation: Duration::ZERO,
            least: None,
        }
    }

    /// Takes a measurement, of which `per_round_trip` are expected in each round trip.
    ///
    /// RFC 6298 §2.2 and §2.3, with the weights of RFC 7323 appendix G.
    pub(crate) fn sample(&mut self, rtt: Duration, per_round_trip: u32, now: Instant) {
        let expected = per_round_trip.max(1);
        match self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            Some(smoothed) => {
                let deviation = smoothed.abs_diff(rtt);
                self.variation = approach(self.variation, deviation, 4 * expected);
                self.smoothed = Some(approach(smoothed, rtt, 8 * expected));
            }
        }
        self.observe(rtt, now);
    }

    /// Takes a measurement for the least round trip only.
    pub(crate) fn observe(&mut self, rtt: Duration, now: Instant) {
        match self.least {
            Some((least, at)) if rtt > least && now.saturating_since(at) < MIN_RTT_WINDOW => {}
            _ => self.least = Some((rtt, now)),
        }
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    pub(crate) fn least(&self) -> Option<Duration> {
        self.least.map(|(rtt, _)| rtt)
    }

    /// The retransmission time-out before any back-off (RFC 6298 §2.3 to §2.5).
    pub(crate) fn rto(&self, bounds: &RtoBounds) -> Duration {
        let rto = match self.smoothed {
            None => bounds.initial,
            Some(smoothed) => smoothed.saturating_add((4 * self.variation).max(bounds.margin_min)),
        };
        rto.min(bounds.max).max(GRANULARITY)
    }
}

/// `from`, moved towards `to` by one `parts`-th of the way.
fn approach(from: Duration, to: Duration, parts: u32) -> Duration {
    if to >= from {
        from + (to - from) / parts
    } else {
        from - (from - to) / parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: &[u64], smoothed: u64, rto: u64) {
        let mut estimator = RttEstimator::new();
        for sample in samples {
            estimator.sample(Duration::from_millis(*sample), 1, Instant::default());
        }
        let bounds = RtoBounds::default();
        assert_eq!(
            estimator.smoothed(),
            Some(Duration::from_millis(smoothed)),
            "{samples:?}"
        );
        assert_eq!(
            estimator.rto(&bounds),
            Duration::from_millis(rto),
            "{samples:?}"
        );
    }

    /// RFC 6298 §2.1 to §2.3.
    #[test]
    fn the_time_out_follows_the_measurements() {
        let initial = RttEstimator::new().rto(&RtoBounds::default());
        assert_eq!(initial, Duration::from_secs(1));
        check(&[400], 400, 400 + 4 * 200);
        check(&[400, 800], 450, 450 + 4 * 250);
        check(&[80, 80, 80, 80], 80, 280);
        check(&[59_000], 59_000, 60_000);
    }

    #[test]
    fn the_least_round_trip_is_forgotten_in_time() {
        let mut estimator = RttEstimator::new();
        estimator.sample(Duration::from_millis(10), 1, Instant::default());
        estimator.sample(Duration::from_millis(50), 1, Instant::from_millis(1));
        assert_eq!(estimator.least(), Some(Duration::from_millis(10)));
        estimator.sample(Duration::from_millis(50), 1, Instant::from_millis(300_001));
        assert_eq!(estimator.least(), Some(Duration::from_millis(50)));
    }

    #[test]
    fn no_measurement_overflows() {
        let mut estimator = RttEstimator::new();
        for _ in 0..3 {
            estimator.sample(Duration::from_nanos(u64::MAX), 1, Instant::default());
            estimator.sample(Duration::ZERO, u32::MAX >> 4, Instant::default());
        }
        assert!(estimator.rto(&RtoBounds::default()) <= Duration::from_secs(60));
    }
}
