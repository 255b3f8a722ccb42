//! How far ahead a connection asks for content.

use std::time::Duration;

use tokio::time::Instant;

/// What comes in this time is asked for ahead: more than a round trip takes, so that the server
/// never waits for a request, and so little that no connection keeps much work from the others.
const AHEAD_TIME: Duration = Duration::from_secs(1);

/// Groups asked for ahead, at least: with a server far away one besides that which is coming, with
/// one nearby enough for everything on the way to be busy.
const AHEAD_GROUPS_MIN_FAR: u64 = 2;
const AHEAD_GROUPS_MIN_NEAR: u64 = 32;
const AHEAD_GROUPS_MAX: u64 = 64;

/// Groups asked for ahead, at least, while holes come: these say nothing of how fast data would
/// come, and in the middle of many holes a round trip for two groups would be long.
const AHEAD_GROUPS_MIN_HOLES: u64 = 16;

/// The rate is measured over at least this long.
const WINDOW: Duration = Duration::from_millis(100);

/// What one connection brings, and how far ahead it therefore asks.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    groups: u64,
    groups_per_second: u64,
    ahead_min: u64,
    /// What came last was a hole.
    is_in_holes: bool,
}

impl Pace {
    /// Of a connection that has brought nothing yet.
    pub(crate) fn new(now: Instant, is_far: bool) -> Self {
        let ahead_min = match is_far {
            true => AHEAD_GROUPS_MIN_FAR,
            false => AHEAD_GROUPS_MIN_NEAR,
        };
        Self {
            ahead_min,
            since: now,
            groups: 0,
            groups_per_second: 0,
            is_in_holes: false,
        }
    }

    /// Holes have come.
    pub(crate) fn handle_holes(&mut self) {
        self.is_in_holes = true;
    }

    /// `count` groups of data have come.
    pub(crate) fn handle_groups(&mut self, now: Instant, count: u64) {
        self.is_in_holes = false;
        self.groups += count;
        let elapsed = now - self.since;
        if elapsed < WINDOW {
            return;
        }
        let rate = rate(self.groups, elapsed);
        // It follows a rise at once, as that of slow start, and a fall by halves.
        self.groups_per_second = rate.max((self.groups_per_second + rate) / 2);
        (self.since, self.groups) = (now, 0);
    }

    /// Groups to ask for while `asked` are under way.
    pub(crate) fn groups_wanted(&self, asked: u64) -> u64 {
        let ahead = self.groups_per_second.saturating_mul(AHEAD_TIME.as_secs());
        let ahead_min = match self.is_in_holes {
            true => self.ahead_min.max(AHEAD_GROUPS_MIN_HOLES),
            false => self.ahead_min,
        };
        let ahead = ahead.clamp(ahead_min, AHEAD_GROUPS_MAX);
        if asked > ahead / 2 { 0 } else { ahead - asked }
    }
}

/// How much a second it is if `amount` comes in `time`.
pub(crate) fn rate(amount: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(amount) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_connection_asks_for_two_groups_and_a_fast_one_for_many() {
        let start = Instant::now();
        let mut pace = Pace::new(start, true);
        assert_eq!([0, 1, 2].map(|asked| pace.groups_wanted(asked)), [2, 1, 0]);
        pace.handle_groups(start + 20 * WINDOW, 1);
        assert_eq!(pace.groups_wanted(0), 2);
        pace.handle_groups(start + 21 * WINDOW, 2);
        let wanted = [0, 10, 11].map(|asked| pace.groups_wanted(asked));
        assert_eq!(wanted, [20, 10, 0]);
        pace.handle_groups(start + 31 * WINDOW, 2);
        assert_eq!(pace.groups_wanted(0), 11);
        pace.handle_groups(start + 32 * WINDOW, 1000);
        assert_eq!(pace.groups_wanted(0), AHEAD_GROUPS_MAX);
    }

    /// Holes were taken for a fast line, of which one connection then kept 64 groups.
    #[test]
    fn holes_do_not_make_a_slow_connection_fast() {
        let start = Instant::now();
        let mut pace = Pace::new(start, true);
        pace.handle_groups(start + WINDOW, 1);
        for _ in 0..1000 {
            pace.handle_holes();
        }
        assert_eq!(pace.groups_wanted(0), AHEAD_GROUPS_MIN_HOLES);
        pace.handle_groups(start + 30 * WINDOW, 1);
        assert_eq!(pace.groups_wanted(0), 5);
    }

    #[test]
    fn a_moment_is_no_measure() {
        let start = Instant::now();
        let mut pace = Pace::new(start, true);
        pace.handle_groups(start + WINDOW / 2, 100);
        assert_eq!(pace.groups_wanted(0), AHEAD_GROUPS_MIN_FAR);
        assert_eq!(
            Pace::new(start, false).groups_wanted(0),
            AHEAD_GROUPS_MIN_NEAR
        );
        assert_eq!(rate(5, Duration::ZERO), 5_000_000);
    }
}
