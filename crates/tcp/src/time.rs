//! Time as the caller counts it: this crate has no clock.

use core::fmt;
use core::num::NonZeroU64;
use core::ops::Add;
use core::time::Duration;

/// A point in time, in nanoseconds since an epoch of the caller's choice.
///
/// Only differences count. 2^64 ns are 584 years; arithmetic saturates there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Nanoseconds, and one: a connection has many deadlines, and one that is not set is the zero.
    number: NonZeroU64,
}

impl Instant {
    /// The last point there is, where arithmetic saturates.
    pub(crate) const LAST: Self = Self {
        number: NonZeroU64::MAX,
    };

    /// The point `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        let number = NonZeroU64::MIN.saturating_add(nanos);
        Self { number }
    }

    /// The point `millis` milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_nanos(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.number.get() - 1
    }

    /// Whole milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.as_nanos() / 1_000_000
    }

    /// The time since `earlier`, zero if that is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.as_nanos().saturating_sub(earlier.as_nanos()))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// The point `span` later, or the last one there is.
    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let number = self.number.saturating_add(nanos);
        Self { number }
    }
}

impl Default for Instant {
    /// The epoch.
    fn default() -> Self {
        Self::from_nanos(0)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instant").field(&self.as_nanos()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let late = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(late + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(late + Duration::MAX, Instant::LAST);
        assert_eq!(Instant::default().as_nanos(), 0);
        assert_eq!(Instant::default().saturating_since(late), Duration::ZERO);
        let three = Instant::from_millis(3) + Duration::from_micros(1_500);
        assert_eq!(three.as_millis(), 4);
        assert_eq!(
            three.saturating_since(Instant::from_millis(3)),
            Duration::from_micros(1_500)
        );
    }
}
