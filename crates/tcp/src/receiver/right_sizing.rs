//! How much a receiver should hold: what the user reads in a round trip, and more.

use core::time::Duration;

use crate::time::Instant;

/// A reader who comes back later than that is slow, and not given more for it.
const ROUND_MAX: Duration = Duration::from_secs(1);

/// A connection of which so long a round has shown nothing else is at rest.
const REST: Duration = Duration::from_secs(5);

/// Measures round trips and what the user reads in each.
///
/// A window of twice that never holds the peer up at its present rate. A peer whose rate doubles
/// with each round trip, as in slow start, has doubled twice before what this round has shown is
/// of use to it.
#[derive(Debug, Default)]
pub(super) struct RightSizing {
    round_trip: Option<Duration>,
    /// When this round began, and what has come and was read in it.
    began: Instant,
    came: u64,
    read: u64,
    /// The most that came and was read in a round.
    most: u64,
    /// The timestamp that the peer echoed last.
    echo: Option<u32>,
    /// When a window was offered, and where it ends: what fills it was sent later.
    offered_at: Instant,
    offered_to: u64,
}

/// The timestamp that a segment with new data echoes, and how long ago it was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Echo {
    pub(crate) value: u32,
    pub(crate) age: Duration,
}

impl RightSizing {
    /// Before the first data, with the round trip that was measured in another way.
    pub(super) fn new(round_trip: Option<Duration>) -> Self {
        Self {
            round_trip,
            ..Self::default()
        }
    }

    /// `bytes` have come, and everything up to `next`; the peer may go on to `edge`.
    pub(super) fn on_arrival(
        &mut self,
        bytes: u64,
        next: u64,
        edge: u64,
        echo: Option<Echo>,
        now: Instant,
    ) {
        self.came += bytes;
        match echo {
            // Of several that echo the same, the later ones have waited for their turn.
            Some(echo) if self.echo == Some(echo.value) => {}
            Some(echo) => {
                let is_first = self.echo.replace(echo.value).is_none();
                if !is_first {
                    self.sample(echo.age);
                }
            }
            None if next >= self.offered_to => {
                let filled = now.saturating_since(self.offered_at);
                if self.offered_to > 0 && self.round_trip.is_none_or(|known| filled < known) {
                    // It is a round trip at least, and much more if there was little to send.
                    self.round_trip = Some(filled);
                }
                self.offered_at = now;
                self.offered_to = edge;
            }
            None => {}
        }
    }

    /// The user has read `bytes`; at the end of a round, what the receiver should hold.
    pub(super) fn on_read(&mut self, bytes: u64, now: Instant) -> Option<u64> {
        self.read += bytes;
        let lasted = now.saturating_since(self.began);
        let due = self.round_trip?;
        if lasted < due {
            return None;
        }
        let read = self.share_of(lasted);
        let gained = read.saturating_sub(self.most);
        (self.began, self.came, self.read) = (now, 0, 0);
        self.most += gained;
        Some(2 * read + 4 * gained.min(read / 2))
    }

    /// What the receiver should hold if the reader does not end this round, once it is long.
    pub(super) fn at_rest(&self, now: Instant) -> Option<u64> {
        let lasted = now.saturating_since(self.began);
        (lasted >= REST).then(|| 2 * self.share_of(lasted))
    }

    /// What was read in a round trip of a round that has `lasted` so long.
    fn share_of(&self, lasted: Duration) -> u64 {
        let part = self.round_trip.unwrap_or_default().max(ROUND_MAX);
        // When a hole is filled, more is read than any round brings.
        share(self.read.min(self.came), part, lasted)
    }

    fn sample(&mut self, round_trip: Duration) {
        self.round_trip = Some(match self.round_trip {
            Some(known) if known < round_trip => known + (round_trip - known) / 8,
            _ => round_trip,
        });
    }
}

/// What of `bytes` falls on `part` of the time `whole`.
fn share(bytes: u64, part: Duration, whole: Duration) -> u64 {
    if whole <= part {
        return bytes;
    }
    let share = u128::from(bytes) * part.as_nanos() / whole.as_nanos();
    u64::try_from(share).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    /// Reads so many bytes a round trip apart, and gives what the last round asks for.
    fn wanted(reads: &[u64]) -> Option<u64> {
        let mut sizing = RightSizing::new(Some(RTT));
        let mut now = Instant::from_millis(1_000_000);
        sizing.on_read(0, now);
        let rounds = reads.iter().map(|bytes| {
            now = now + RTT;
            sizing.came = 1_000_000;
            sizing.on_read(*bytes, now)
        });
        rounds.last().flatten()
    }

    #[test]
    fn twice_what_is_read_and_four_times_while_that_doubles() {
        for (reads, expected) in [
            (&[1_000][..], 4_000),
            (&[1_000, 1_000], 2_000),
            (&[1_000, 2_000], 8_000),
            (&[1_000, 1_100], 2_600),
            (&[1_000, 500], 1_000),
            (&[1_000, 0], 0),
            (&[1_000, 0, 1_000], 2_000),
            (&[5_000_000], 4_000_000),
        ] {
            assert_eq!(wanted(reads), Some(expected), "{reads:?}");
        }
    }

    #[test]
    fn who_comes_back_late_does_not_seem_fast() {
        let mut sizing = RightSizing::new(Some(RTT));
        let mut now = Instant::from_millis(1_000_000);
        for _ in 0..5 {
            now = now + Duration::from_secs(100);
            sizing.came = 1_000_000;
            let wanted = sizing.on_read(1_000_000, now).unwrap();
            assert!(wanted <= 40_000, "{wanted}");
        }
    }

    #[test]
    fn a_long_round_shows_what_is_needed_at_rest() {
        let began = Instant::from_millis(1_000_000);
        for (came, read, seconds, wanted) in [
            (1_000_000, 1_000_000, 4, None),
            (1_000_000, 1_000_000, 5, Some(400_000)),
            (1_000_000, 500_000, 5, Some(200_000)),
            (100_000, 500_000, 5, Some(40_000)),
            (1_000_000, 1_000_000, 1_000, Some(2_000)),
            (0, 0, 5, Some(0)),
        ] {
            let mut sizing = RightSizing::new(Some(RTT));
            (sizing.began, sizing.came, sizing.read) = (began, came, read);
            let now = began + Duration::from_secs(seconds);
            assert_eq!(sizing.at_rest(now), wanted, "{came} {read} {seconds}");
        }
    }

    #[test]
    fn a_round_trip_is_told_by_timestamps() {
        let mut sizing = RightSizing::default();
        for (value, millis, expected) in [
            // What the first one echoes may be as old as the handshake.
            (1, 5_000, None),
            (1, 5_100, None),
            (2, 80, Some(80_000)),
            (2, 99, Some(80_000)),
            (3, 160, Some(90_000)),
            (4, 60, Some(60_000)),
        ] {
            let age = Duration::from_millis(millis);
            let echo = Some(Echo { value, age });
            sizing.on_arrival(1, 1, 2, echo, Instant::default());
            let micros = sizing.round_trip.map(|known| known.as_micros());
            assert_eq!(micros, expected, "{value} {millis}");
        }
    }

    #[test]
    fn without_timestamps_by_a_window_that_is_filled() {
        let mut sizing = RightSizing::default();
        let at = Instant::from_millis;
        sizing.on_arrival(1, 1_000, 11_000, None, at(5_000));
        sizing.on_arrival(1, 9_000, 19_000, None, at(5_050));
        assert_eq!(sizing.round_trip, None);
        sizing.on_arrival(1, 11_000, 21_000, None, at(5_080));
        assert_eq!(sizing.round_trip, Some(Duration::from_millis(80)));
        sizing.on_arrival(1, 21_000, 31_000, None, at(9_000));
        assert_eq!(sizing.round_trip, Some(Duration::from_millis(80)));
    }
}
