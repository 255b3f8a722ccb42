//! When others should take over what a slow connection owes.
//!
//! At the end of a download over a bad line some connections have nothing left to do, while another,
//! which had bad luck, would need many times as long for its last groups as they.

use std::collections::VecDeque;
use std::time::Duration;

use packhorse_protocol::limits::GROUP_BYTES;
use tokio::time::Instant;

use crate::pace::rate;

/// How many times as soon others must be. What has come of a group is lost, and so is what the
/// connection had of the line.
const FACTOR: u32 = 3;

/// What has come in this time is what a connection brings now: long enough for a loss and its
/// repair.
const RECENT: Duration = Duration::from_secs(2);

/// What the end of an answer takes: so much is missing where no more than that is.
const END_BYTES: u64 = 64;

/// How often that is looked at.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What one connection brings while something is asked of it.
#[derive(Debug)]
pub(crate) struct Speed {
    /// Bytes of earlier times in which something was asked of it, and how long these were.
    before: (u64, Duration),
    /// Since when something is, and what had come by then.
    since: Option<Mark>,
    /// What had come at several moments since then, of which the first is at least [`RECENT`] ago
    /// or the start.
    marks: VecDeque<Mark>,
    /// What had come with the last whole group.
    whole: u64,
    /// How long what had come has waited here, and since when it does.
    held: (Duration, Option<Instant>),
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    bytes: u64,
}

impl Speed {
    /// Of a connection of which nothing is asked yet.
    pub(crate) fn new() -> Self {
        Self {
            before: (0, Duration::ZERO),
            since: None,
            marks: VecDeque::new(),
            whole: 0,
            held: (Duration::ZERO, None),
        }
    }

    /// What has come waits for the disk, for memory or for the rate limit, and so does what is
    /// behind it: that says nothing of the line.
    pub(crate) fn hold(&mut self, now: Instant) {
        self.held.1.get_or_insert(now);
    }

    /// It waits no more.
    pub(crate) fn go_on(&mut self, now: Instant) {
        if let Some(since) = self.held.1.take() {
            self.held.0 += now - since;
        }
    }

    /// Holes have come: they take no bytes, and are no sign of a slow line.
    pub(crate) fn handle_holes(&mut self) {
        self.marks.clear();
    }

    /// A whole group has come, `bytes` in all.
    pub(crate) fn handle_group(&mut self, bytes: u64) {
        self.whole = bytes;
    }

    /// `bytes` have come in all, and nothing is asked of it. What it has brought a second, if that
    /// is known.
    pub(crate) fn look_idle(&mut self, now: Instant, bytes: u64) -> Option<u64> {
        if let Some(since) = self.since.take() {
            self.before.0 += bytes - since.bytes;
            self.before.1 += now - since.at;
            self.marks.clear();
        }
        let (bytes, time) = self.before;
        (!time.is_zero()).then(|| rate(bytes, time))
    }

    /// `bytes` have come in all, and `groups` are under way, or only the ends of their reads. How
    /// long these will take, if that is known.
    pub(crate) fn look_busy(&mut self, now: Instant, bytes: u64, groups: u64) -> Option<Duration> {
        if self.since.is_none() {
            self.since = Some(Mark { at: now, bytes });
            self.whole = bytes;
        }
        // Others are taken for no faster than they were with all their waiting, and this one for no
        // slower than its line.
        let now = self.held.1.unwrap_or(now) - self.held.0;
        let mark = Mark { at: now, bytes };
        if self
            .marks
            .back()
            .is_none_or(|last| now - last.at >= LOOK_PAUSE)
        {
            self.marks.push_back(mark);
        }
        while self
            .marks
            .get(1)
            .is_some_and(|next| now - next.at >= RECENT)
        {
            self.marks.pop_front();
        }
        let first = self.marks.front()?;
        let time = now - first.at;
        let missing = (groups * GROUP_BYTES as u64).saturating_sub(bytes - self.whole);
        let missing = missing.max(END_BYTES);
        (time >= RECENT).then(|| time_for(missing, rate(bytes - first.bytes, time)))
    }
}

/// Whether a connection that needs `own` for `groups` should leave them to one that brings `rate`
/// bytes a second, and hears of it `away` later.
pub(crate) fn is_better(own: Duration, groups: u64, rate: u64, away: Duration) -> bool {
    let theirs = away + time_for(groups * GROUP_BYTES as u64, rate);
    own > theirs.saturating_mul(FACTOR)
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(rate.max(1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_a_connection_brings_now_says_how_long_the_rest_takes() {
        let start = Instant::now();
        let mut speed = Speed::new();
        assert_eq!(speed.look_idle(start, 100), None);
        assert_eq!(speed.look_busy(start, 100, 4), None);
        assert_eq!(speed.look_busy(start + SECOND, 100 + MIB / 2, 4), None);
        // A group and a half in two seconds, and two and a half to come.
        speed.handle_group(100 + MIB);
        let left = speed.look_busy(start + 2 * SECOND, 100 + 3 * MIB / 2, 3);
        assert_eq!(left, Some(Duration::from_micros(3_333_333)));
        // And then nothing for as long.
        let mut left = None;
        for tenths in 20..=40 {
            left = speed.look_busy(start + SECOND * tenths / 10, 100 + 3 * MIB / 2, 3);
        }
        assert!(left > Some(1000 * SECOND), "{left:?}");
    }

    #[test]
    fn what_a_connection_has_brought_leaves_out_when_nothing_was_asked_of_it() {
        let start = Instant::now();
        let mut speed = Speed::new();
        for turn in [0, 10] {
            let bytes = u64::from(turn) * MIB;
            speed.look_busy(start + turn * SECOND, bytes, 1);
            let mut at = |after| speed.look_idle(start + (turn + after) * SECOND, bytes + 10 * MIB);
            assert_eq!([at(5), at(9)], [Some(2 * MIB); 2]);
        }
        // It is not taken for slow right away when it is asked again.
        assert_eq!(speed.look_busy(start + 50 * SECOND, 20 * MIB, 2), None);
    }

    /// A disk that was slow for a moment, or holes, were taken for a slow line.
    #[test]
    fn only_what_the_line_brings_counts() {
        let start = Instant::now();
        let mut speed = Speed::new();
        let left = |speed: &mut Speed, tenths: u32, bytes| {
            speed.look_busy(start + SECOND * tenths / 10, bytes, 4)
        };
        for tenths in 0..20 {
            assert_eq!(left(&mut speed, tenths, u64::from(tenths) * MIB / 10), None);
        }
        speed.hold(start + 2 * SECOND);
        speed.hold(start + 30 * SECOND);
        // Two of four groups have come, at one a second.
        let two_seconds = Some(2 * SECOND);
        assert_eq!(left(&mut speed, 400, 2 * MIB), two_seconds);
        speed.go_on(start + 50 * SECOND);
        assert_eq!(left(&mut speed, 500, 2 * MIB), two_seconds);
        speed.handle_holes();
        assert_eq!(left(&mut speed, 540, 2 * MIB), None);
        assert_eq!(left(&mut speed, 550, 2 * MIB), None);
    }

    /// All groups had come, and nobody took over what was left: the others waited for a minute.
    #[test]
    fn an_end_that_does_not_come_is_missing_too() {
        let start = Instant::now();
        let mut speed = Speed::new();
        let mut left = None;
        for tenths in 0..=40 {
            let bytes = 2 * MIB * u64::from(tenths.min(20)) / 20;
            left = speed.look_busy(start + SECOND * tenths / 10, bytes, 0);
            if tenths == 20 {
                assert!(left < Some(SECOND / 100), "{left:?}");
                assert!(!is_better(left.unwrap(), 0, MIB, SECOND / 50));
            }
        }
        assert_eq!(left, Some(64 * SECOND));
        assert!(is_better(left.unwrap(), 0, MIB, SECOND));
    }

    #[test]
    fn others_must_be_much_better() {
        let better = |own: u32| is_better(own * SECOND, 2, MIB / 2, SECOND);
        assert_eq!([14, 15, 16].map(better), [false, false, true]);
    }
}
