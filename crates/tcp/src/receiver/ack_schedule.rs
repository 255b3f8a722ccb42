//! When an acknowledgement goes out (RFC 9293 §3.8.6.3, RFC 5681 §4.2).

use core::time::Duration;

use crate::time::Instant;

/// The longest that an acknowledgement may wait (RFC 9293 §3.8.6.3, MUST-40: below 500 ms).
const DELAY_MAX: Duration = Duration::from_millis(499);

/// Delays acknowledgements, by bytes and by time.
#[derive(Debug)]
pub(super) struct AckSchedule {
    delay: Duration,
    mss: u64,
    /// Segments that are still acknowledged at once.
    quick: u32,
    /// The largest segment seen: what the peer takes for a full one.
    largest: u64,
    unacked: u64,
    due: Option<Instant>,
    demanded: bool,
}

impl AckSchedule {
    pub(super) fn new(delay: Duration, quick: u32, mss: u64) -> Self {
        Self {
            delay: delay.min(DELAY_MAX),
            mss,
            quick,
            largest: 0,
            unacked: 0,
            due: None,
            demanded: false,
        }
    }

    /// `bytes` came in order: the second full segment is acknowledged at once (SHLD-19).
    pub(super) fn on_data(&mut self, bytes: u64, now: Instant) {
        self.largest = self.largest.max(bytes.min(self.mss));
        self.unacked += bytes;
        let second = self.unacked >= 2 * self.largest && self.unacked > bytes;
        if self.quick > 0 {
            self.quick -= 1;
            self.demanded = true;
        } else if second || bytes >= 2 * self.mss {
            self.demanded = true;
        } else {
            self.due.get_or_insert(now + self.delay);
        }
    }

    /// One has to go out at once.
    pub(super) fn demand(&mut self) {
        self.demanded = true;
    }

    /// One went out.
    pub(super) fn on_sent(&mut self) {
        self.unacked = 0;
        self.due = None;
        self.demanded = false;
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.demanded || self.due.is_some_and(|due| due <= now)
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(quick: u32) -> AckSchedule {
        AckSchedule::new(Duration::from_millis(40), quick, 1_000)
    }

    /// RFC 9293 §3.8.6.3: every second full segment, and after a while in any case.
    #[test]
    fn the_second_full_segment_is_acknowledged_at_once() {
        let now = Instant::from_millis(100);
        for (segments, due) in [
            (&[1_000][..], false),
            (&[1_000, 1_000], true),
            (&[1_000, 600], false),
            (&[1_000, 600, 400], true),
            (&[2_000], true),
        ] {
            let mut acks = schedule(0);
            for bytes in segments {
                acks.on_data(*bytes, now);
            }
            assert_eq!(acks.is_due(now), due, "{segments:?}");
            assert!(acks.is_due(now + Duration::from_millis(40)), "{segments:?}");
            acks.on_sent();
            assert!(!acks.is_due(now + Duration::from_secs(1)), "{segments:?}");
        }
    }

    #[test]
    fn the_first_segments_are_acknowledged_at_once() {
        let mut acks = schedule(2);
        for due in [true, true, false] {
            acks.on_data(1_000, Instant::default());
            assert_eq!(acks.is_due(Instant::default()), due);
            acks.on_sent();
        }
    }

    #[test]
    fn no_delay_reaches_half_a_second() {
        let mut acks = AckSchedule::new(Duration::from_secs(5), 0, 1_000);
        acks.on_data(1, Instant::default());
        assert_eq!(acks.due_at(), Some(Instant::from_millis(499)));
    }
}
