//! Spreading data over the round trip.

use core::time::Duration;

use crate::time::Instant;

/// How late a driver may come back without losing rate.
const CATCH_UP: Duration = Duration::from_millis(2);

/// Lets segments go at a rate; without one, at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pacer {
    /// Bytes per second.
    rate: Option<u64>,
    next: Instant,
}

impl Pacer {
    /// Sets the rate, in bytes per second.
    pub(crate) fn set_rate(&mut self, rate: Option<u64>) {
        self.rate = rate;
    }

    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// When the next segment may go, if not now.
    pub(crate) fn wait(&self, now: Instant) -> Option<Instant> {
        (self.rate.is_some() && self.next > now).then_some(self.next)
    }

    /// How many of `count` segments of `bytes` may go now; what it is asked of is spent.
    pub(crate) fn permits(&mut self, count: u64, bytes: u64, now: Instant) -> u64 {
        if self.rate.is_none() {
            return count;
        }
        let goes = |_: &u64| {
            let goes = self.wait(now).is_none();
            self.on_sent(bytes, now);
            goes
        };
        (0..count).take_while(goes).count() as u64
    }

    /// `bytes` went out.
    pub(crate) fn on_sent(&mut self, bytes: u64, now: Instant) {
        let Some(rate) = self.rate else {
            return;
        };
        // 2^64 ns are enough for 18 GB: no segment is longer.
        let nanos = bytes.saturating_mul(1_000_000_000) / rate.max(1);
        let span = Duration::from_nanos(nanos);
        let late = now.saturating_since(self.next).min(CATCH_UP);
        let from = if self.next >= now { self.next } else { now };
        self.next = from + span.saturating_sub(late);
    }
}

/// The rate at which a window goes out within `gain_percent` of a round trip.
pub(crate) fn window_rate(window: u64, srtt: Duration, gain_percent: u64) -> Option<u64> {
    let nanos = srtt.as_nanos();
    let bytes = u128::from(window) * u128::from(gain_percent) * 10_000_000;
    let rate = bytes.checked_div(nanos)?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_spaced_by_their_length() {
        let mut pacer = Pacer::default();
        let start = Instant::from_millis(1_000);
        pacer.on_sent(1_000, start);
        assert_eq!(pacer.wait(start), None, "no rate, no wait");
        pacer.set_rate(Some(100_000));
        pacer.on_sent(1_000, start);
        // The first takes up what was missed before it.
        assert_eq!(pacer.wait(start), Some(Instant::from_millis(1_008)));
        let next = Instant::from_millis(1_008);
        assert_eq!(pacer.wait(next), None);
        pacer.on_sent(1_000, next);
        assert_eq!(pacer.wait(next), Some(Instant::from_millis(1_018)));
    }

    #[test]
    fn a_late_driver_catches_up_but_does_not_burst() {
        let mut pacer = Pacer::default();
        pacer.set_rate(Some(1_000_000));
        let mut now = Instant::from_millis(1_000);
        let mut burst = 0;
        now = now + Duration::from_secs(10);
        while pacer.wait(now).is_none() {
            pacer.on_sent(1_000, now);
            burst += 1;
        }
        assert!(burst <= 3, "{burst}");
    }

    #[test]
    fn a_rate_is_a_window_in_a_round_trip() {
        assert_eq!(
            window_rate(10_000, Duration::from_millis(100), 120),
            Some(120_000)
        );
        assert_eq!(window_rate(10_000, Duration::ZERO, 120), None);
        assert_eq!(
            window_rate(u64::MAX, Duration::from_nanos(1), 200),
            Some(u64::MAX)
        );
    }
}
