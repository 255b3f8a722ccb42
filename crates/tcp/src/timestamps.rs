//! Timestamps: the round trip of every segment, and protection against old ones.

use core::time::Duration;

use crate::time::Instant;
use crate::wire::Timestamps;

/// How long a peer's timestamp is believed while nothing arrives (RFC 7323 §5.5: 24 days).
const RECENT_KEPT: Duration = Duration::from_secs(24 * 24 * 3_600);

/// Both sides' timestamps on a connection that has them (RFC 7323 §3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimestampState {
    offset: u32,
    /// The peer's value that we echo (TS.Recent), and when it came.
    recent: u32,
    recent_at: Instant,
}

impl TimestampState {
    /// Begins with the value in the peer's SYN.
    pub(crate) fn new(offset: u32, peer: u32, now: Instant) -> Self {
        Self {
            offset,
            recent: peer,
            recent_at: now,
        }
    }

    /// The peer's value that we echo (TS.Recent).
    pub(crate) fn recent(&self) -> u32 {
        self.recent
    }

    /// The option of a segment sent now.
    pub(crate) fn option(&self, now: Instant) -> Timestamps {
        Timestamps {
            value: ticks(now, self.offset),
            echo: self.recent,
        }
    }

    /// Whether a segment is older than one that came before it (PAWS, RFC 7323 §5.3 R1).
    pub(crate) fn is_old(&self, value: u32, now: Instant) -> bool {
        is_before(value, self.recent) && now.saturating_since(self.recent_at) < RECENT_KEPT
    }

    /// Takes the value of an acceptable segment that begins at `start` (RFC 7323 §4.3).
    ///
    /// Only a segment that covers what we last acknowledged counts: of several that one
    /// acknowledgement answers, the first is echoed, and of one behind a hole nothing.
    pub(crate) fn update(&mut self, value: u32, start: u64, last_ack_sent: u64, now: Instant) {
        if start <= last_ack_sent && !is_before(value, self.recent) || self.has_expired(now) {
            self.recent = value;
            self.recent_at = now;
        }
    }

    fn has_expired(&self, now: Instant) -> bool {
        now.saturating_since(self.recent_at) >= RECENT_KEPT
    }
}

/// Our clock in timestamps: milliseconds (RFC 7323 §5.4 allows 1 ms to 1 s).
pub(crate) fn ticks(now: Instant, offset: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a clock of 32 bits wraps")]
    let millis = now.as_millis() as u32;
    millis.wrapping_add(offset)
}

/// How long ago the value that `echo` repeats was sent; `None` if it lies ahead.
///
/// In steps of a millisecond, each counted in full.
pub(crate) fn age(offset: u32, echo: u32, now: Instant) -> Option<Duration> {
    let age = ticks(now, offset).wrapping_sub(echo);
    (age < 1 << 31).then(|| Duration::from_millis(u64::from(age.max(1))))
}

/// Whether timestamp `a` lies before `b` (RFC 7323 §5.2).
pub(crate) const fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Behaviour 15, first half: the TS.Recent update rule (RFC 7323 §4.3).
    #[test]
    fn ts_recent_follows_the_segments_that_cover_the_last_acknowledgement() {
        let now = Instant::default();
        let mut state = TimestampState::new(0, 100, now);
        for (value, start, recent) in [
            (105, 50, 105),
            (110, 51, 105),
            (104, 50, 105),
            (105, 40, 105),
            (106, 40, 106),
        ] {
            state.update(value, start, 50, now);
            assert_eq!(state.option(now).echo, recent, "{value} {start}");
        }
    }

    /// Behaviour 15, second half: PAWS across the wrap, and its expiry (RFC 7323 §5.5).
    #[test]
    fn paws_expires_after_24_days() {
        let start = Instant::from_millis(5);
        let mut state = TimestampState::new(0, u32::MAX - 1, start);
        assert!(!state.is_old(3, start), "the clock has wrapped");
        assert!(state.is_old(u32::MAX - 2, start));
        let later = start + RECENT_KEPT;
        assert!(!state.is_old(u32::MAX - 2, later));
        state.update(7, 99, 50, later);
        assert_eq!(state.option(later).echo, 7);
        assert!(state.is_old(6, later));
    }

    #[test]
    fn an_echo_has_an_age_unless_it_lies_ahead() {
        let now = Instant::from_millis(100);
        let value = ticks(Instant::from_millis(60), u32::MAX);
        let age_of = |echo| age(u32::MAX, echo, now);
        assert_eq!(age_of(value), Some(Duration::from_millis(40)));
        assert_eq!(
            age_of(value.wrapping_add(40)),
            Some(Duration::from_millis(1))
        );
        assert_eq!(age_of(value.wrapping_add(41)), None);
    }
}
