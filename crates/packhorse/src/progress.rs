//! The progress line: how far, how fast, and an honest guess of how long.

use std::collections::VecDeque;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use packhorse_client::report::{FetchedAgain, Totals};
use serde::Serialize;

use crate::byte_count::{ByteCount, Clock};
use crate::output::say;

/// How often the line is drawn anew.
const INTERVAL: Duration = Duration::from_millis(100);

/// How far back speed is measured: long enough to be steady, short enough to follow the network.
const WINDOW: Duration = Duration::from_secs(8);

/// Before this much was seen, a guess would be a lie.
const WINDOW_MIN: Duration = Duration::from_millis(1500);

/// A line at the bottom of a terminal; nothing where standard error is none. What is said through it
/// stands above it.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    bar: ProgressBar,
}

impl ProgressLine {
    /// An empty line; never shown if not `wanted`.
    #[must_use]
    pub(crate) fn new(wanted: bool) -> Self {
        let bar = if wanted && io::stderr().is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(20))
        } else {
            ProgressBar::hidden()
        };
        let style =
            ProgressStyle::with_template("{wide_msg}").expect("the template is well-formed");
        bar.set_style(style);
        Self { bar }
    }

    /// Says something; see [`say`].
    pub(crate) fn say(&self, line: impl Display) {
        self.bar.suspend(|| say(line));
    }

    /// Does `act`, which writes to the terminal, while the line is out of the way.
    pub(crate) fn suspend<T>(&self, act: impl FnOnce() -> T) -> T {
        self.bar.suspend(act)
    }

    /// Shows `totals` as they grow, until it is dropped.
    pub(crate) async fn follow(&self, totals: &Totals) -> std::convert::Infallible {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.bar.is_hidden() {
                continue;
            }
            let so_far = SoFar::of(totals);
            pace.note(start.elapsed(), so_far.bytes_done(), so_far.files_done());
            self.bar.set_message(
                Line {
                    so_far,
                    pace: &pace,
                }
                .to_string(),
            );
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// What has been done at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SoFar {
    pub(crate) files_seen: u64,
    pub(crate) bytes_seen: u64,
    pub(crate) listing_ended: bool,
    pub(crate) files_fetched: u64,
    pub(crate) bytes_fetched: u64,
    pub(crate) files_kept: u64,
    pub(crate) bytes_kept: u64,
    pub(crate) bytes_resumed: u64,
    pub(crate) again: Again,
    pub(crate) half_done: u64,
    pub(crate) links: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) damaged: u64,
}

/// Bytes that were fetched though they had been fetched before, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Again {
    /// They came damaged.
    pub(crate) damaged: u64,
    /// What an interrupted run has left is not what the server has.
    pub(crate) differing: u64,
    /// The file changed on the server.
    pub(crate) changed: u64,
    /// The disk did not confirm that it has them.
    pub(crate) unconfirmed: u64,
}

impl Again {
    fn of(again: &FetchedAgain) -> Self {
        let FetchedAgain {
            damaged,
            differing,
            changed,
            unconfirmed,
        } = again;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self {
            damaged: read(damaged),
            differing: read(differing),
            changed: read(changed),
            unconfirmed: read(unconfirmed),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            damaged: self.damaged + other.damaged,
            differing: self.differing + other.differing,
            changed: self.changed + other.changed,
            unconfirmed: self.unconfirmed + other.unconfirmed,
        }
    }
}

impl Display for Again {
    /// What was fetched twice, each with why; nothing if nothing was.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whys = [
            (self.damaged, "damaged on the way"),
            (self.differing, "left by an interrupted run and not right"),
            (self.changed, "changed on the server meanwhile"),
            (self.unconfirmed, "not confirmed by the disk"),
        ];
        let mut before = "fetched again: ";
        for (bytes, why) in whys.into_iter().filter(|(bytes, _)| *bytes > 0) {
            write!(out, "{before}{} {why}", ByteCount(bytes))?;
            before = ", ";
        }
        Ok(())
    }
}

impl SoFar {
    /// What `totals` say now.
    #[must_use]
    pub(crate) fn of(totals: &Totals) -> Self {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self {
            files_seen: read(&totals.files_seen),
            bytes_seen: read(&totals.bytes_seen),
            listing_ended: totals.listing_ended.load(Ordering::Relaxed),
            files_fetched: read(&totals.files_fetched),
            bytes_fetched: read(&totals.bytes_fetched),
            files_kept: read(&totals.files_kept),
            bytes_kept: read(&totals.bytes_kept),
            bytes_resumed: read(&totals.bytes_resumed),
            again: Again::of(&totals.again),
            half_done: read(&totals.half_done),
            links: read(&totals.links),
            skipped: read(&totals.skipped),
            failed: read(&totals.failed),
            damaged: read(&totals.damaged),
        }
    }

    /// This and `other` together.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            files_seen: self.files_seen + other.files_seen,
            bytes_seen: self.bytes_seen + other.bytes_seen,
            listing_ended: self.listing_ended && other.listing_ended,
            files_fetched: self.files_fetched + other.files_fetched,
            bytes_fetched: self.bytes_fetched + other.bytes_fetched,
            files_kept: self.files_kept + other.files_kept,
            bytes_kept: self.bytes_kept + other.bytes_kept,
            bytes_resumed: self.bytes_resumed + other.bytes_resumed,
            again: self.again.and(other.again),
            half_done: self.half_done + other.half_done,
            links: self.links + other.links,
            skipped: self.skipped + other.skipped,
            failed: self.failed + other.failed,
            damaged: self.damaged + other.damaged,
        }
    }

    fn bytes_done(self) -> u64 {
        // What came damaged is not counted as fetched, and of what differed nothing was counted.
        let twice = self.again.changed + self.again.unconfirmed;
        (self.bytes_fetched + self.bytes_kept).saturating_sub(twice)
    }

    fn files_done(self) -> u64 {
        self.files_fetched + self.files_kept + self.failed
    }
}

/// How fast it went lately.
#[derive(Debug, Default)]
struct Pace {
    /// Moments, with what was done by then.
    samples: VecDeque<(Duration, u64, u64)>,
}

impl Pace {
    fn note(&mut self, at: Duration, bytes: u64, files: u64) {
        self.samples.push_back((at, bytes, files));
        while self.samples.len() > 2 && self.samples[1].0 + WINDOW <= at {
            self.samples.pop_front();
        }
    }

    /// Bytes and files a second; `None` before anything can be said.
    fn speed(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = (last.0 - first.0).as_secs_f64();
        let per_second = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        (seconds > 0.0).then(|| (per_second(first.1, last.1), per_second(first.2, last.2)))
    }

    /// How long it takes at that speed to do the rest, be it many bytes or many files.
    fn left(&self, bytes: u64, files: u64) -> Option<Duration> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        if last.0 - first.0 < WINDOW_MIN {
            return None;
        }
        let (byte_speed, file_speed) = self.speed()?;
        let time = |rest: u64, speed: f64| match rest {
            0 => Some(0.0),
            _ => (speed > 0.0).then(|| rest as f64 / speed),
        };
        // Where large files take long, no file may have ended lately: then bytes alone must tell.
        let by_bytes = time(bytes, byte_speed);
        let by_files = time(files, file_speed);
        let seconds = match (by_bytes, by_files) {
            (Some(by_bytes), Some(by_files)) if bytes == 0 => by_bytes.max(by_files),
            (Some(by_bytes), _) => by_bytes,
            (None, _) => return None,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// The text of the line.
struct Line<'a> {
    so_far: SoFar,
    pace: &'a Pace,
}

impl Display for Line<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let so_far = self.so_far;
        let (bytes, files) = (so_far.bytes_done(), so_far.files_done());
        let bytes_left = so_far.bytes_seen.saturating_sub(bytes);
        let files_left = so_far.files_seen.saturating_sub(files);
        if so_far.listing_ended {
            // Rounded down: 100 % means that nothing is left.
            let percent = match so_far.bytes_seen {
                0 => 100,
                seen => u128::from(bytes.min(seen)) * 100 / u128::from(seen),
            };
            write!(
                out,
                "{percent:3}%  {} of {}",
                ByteCount(bytes),
                ByteCount(so_far.bytes_seen)
            )?;
        } else {
            write!(out, "{}", ByteCount(bytes))?;
        }
        if let Some((speed, _)) = self.pace.speed() {
            write!(out, "  {}/s", ByteCount(speed as u64))?;
            if so_far.listing_ended {
                match self.pace.left(bytes_left, files_left) {
                    Some(left) => write!(out, "  {} left", Clock(left))?,
                    None if speed == 0.0 => out.write_str("  waiting")?,
                    None => {}
                }
            }
        }
        let more = if so_far.listing_ended { "" } else { "+" };
        write!(out, "  {files} of {}{more} files", so_far.files_seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(samples: &[(u64, u64, u64)]) -> Pace {
        let mut pace = Pace::default();
        for &(milliseconds, bytes, files) in samples {
            pace.note(Duration::from_millis(milliseconds), bytes, files);
        }
        pace
    }

    #[test]
    fn the_line_says_what_is_known() {
        let whole = SoFar {
            files_seen: 20,
            bytes_seen: 4_000_000,
            listing_ended: true,
            files_fetched: 9,
            bytes_fetched: 900_000,
            files_kept: 1,
            bytes_kept: 100_000,
            ..SoFar::default()
        };
        let partial = SoFar {
            listing_ended: false,
            ..whole
        };
        let steady = pace(&[(0, 0, 0), (2000, 1_000_000, 10)]);
        let stuck = pace(&[(0, 1_000_000, 10), (2000, 1_000_000, 10)]);
        let cases = [
            (
                whole,
                &steady,
                " 25%  1.00 MB of 4.00 MB  500 kB/s  0:06 left  10 of 20 files",
            ),
            (
                whole,
                &stuck,
                " 25%  1.00 MB of 4.00 MB  0 B/s  waiting  10 of 20 files",
            ),
            (
                whole,
                &pace(&[]),
                " 25%  1.00 MB of 4.00 MB  10 of 20 files",
            ),
            (partial, &steady, "1.00 MB  500 kB/s  10 of 20+ files"),
        ];
        for (so_far, pace, text) in cases {
            assert_eq!(Line { so_far, pace }.to_string(), text);
        }
    }

    #[test]
    fn speed_follows_the_last_seconds() {
        let mut samples: Vec<_> = (0..=100).map(|tick| (tick * 100, tick * 1000, 0)).collect();
        let slow = (1..=100).map(|tick| (10_000 + tick * 100, 100_000 + tick * 10, 0));
        samples.extend(slow);
        let (speed, _) = pace(&samples).speed().unwrap();
        assert!((speed - 100.0).abs() < 1.0, "{speed}");
    }

    #[test]
    fn no_guess_before_there_is_something_to_guess_from() {
        assert_eq!(pace(&[(0, 0, 0), (100, 1000, 1)]).left(1000, 1), None);
        assert_eq!(pace(&[(0, 0, 0), (2000, 0, 0)]).left(1000, 1), None);
        let many_small = pace(&[(0, 0, 0), (2000, 2000, 100)]);
        assert_eq!(many_small.left(0, 100), Some(Duration::from_secs(2)));
    }
}
