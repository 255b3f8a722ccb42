//! How fast it goes, and how long the rest takes at that pace.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back speed is measured: long enough to be steady, short enough to follow the network.
const WINDOW: Duration = Duration::from_secs(8);

/// Before this much was seen, a guess would be a lie.
const WINDOW_MIN: Duration = Duration::from_millis(1500);

/// Nor where less than this has come of much more: it may be all there is to the small files.
const DONE_BYTES_MIN: u64 = 16 << 10;

/// What was done at some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) at: Duration,
    /// Bytes that have come over the connections.
    pub(super) received: u64,
    /// Bytes that were here already.
    pub(super) kept: u64,
    /// Files of which nothing is left to do.
    pub(super) files: u64,
}

/// How fast it went lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: VecDeque<Sample>,
}

impl Pace {
    /// Takes note of what is done by now.
    pub(super) fn note(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        while self.samples.len() > 2 && self.samples[1].at + WINDOW <= sample.at {
            self.samples.pop_front();
        }
    }

    /// Bytes a second that come over the connections; `None` before anything can be said.
    pub(super) fn rate(&self) -> Option<u64> {
        self.speed(|sample| sample.received)
            .map(|speed| speed as u64)
    }

    /// How long it takes at this pace to do the rest, be it many bytes or many files.
    pub(super) fn left(&self, bytes: u64, files: u64) -> Option<Duration> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        if last.at - first.at < WINDOW_MIN {
            return None;
        }
        let done = (last.received + last.kept).saturating_sub(first.received + first.kept);
        if done < DONE_BYTES_MIN.min(bytes) {
            return None;
        }
        let time = |rest: u64, speed: f64| match rest {
            0 => Some(0.0),
            _ => (speed > 0.0).then(|| rest as f64 / speed),
        };
        // Where large files take long, no file may have ended lately: then bytes alone must tell.
        let by_bytes = time(bytes, self.speed(|sample| sample.received + sample.kept)?);
        let by_files = time(files, self.speed(|sample| sample.files)?);
        let seconds = match (by_bytes, by_files) {
            (Some(by_bytes), Some(by_files)) if bytes == 0 => by_bytes.max(by_files),
            (Some(by_bytes), _) => by_bytes,
            (None, _) => return None,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }

    fn speed(&self, count: impl Fn(&Sample) -> u64) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = (last.at - first.at).as_secs_f64();
        let done = count(last).saturating_sub(count(first));
        (seconds > 0.0).then(|| done as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(samples: &[(u64, u64, u64)]) -> Pace {
        let mut pace = Pace::default();
        for &(milliseconds, received, files) in samples {
            pace.note(Sample {
                at: Duration::from_millis(milliseconds),
                received,
                kept: 0,
                files,
            });
        }
        pace
    }

    #[test]
    fn speed_follows_the_last_seconds() {
        let mut samples: Vec<_> = (0..=100).map(|tick| (tick * 100, tick * 1000, 0)).collect();
        let slow = (1..=100).map(|tick| (10_000 + tick * 100, 100_000 + tick * 10, 0));
        samples.extend(slow);
        let rate = pace(&samples).rate().unwrap();
        assert!((99..=101).contains(&rate), "{rate}");
    }

    #[test]
    fn no_guess_before_there_is_something_to_guess_from() {
        assert_eq!(pace(&[]).rate(), None);
        assert_eq!(pace(&[(0, 0, 0), (100, 1000, 1)]).left(1000, 1), None);
        assert_eq!(pace(&[(0, 0, 0), (2000, 0, 0)]).left(1000, 1), None);
        // The small files have come, and nothing of the large one: it would have said 71 hours.
        assert_eq!(pace(&[(0, 0, 0), (2000, 8, 3)]).left(60_000_000, 1), None);
        let many_small = pace(&[(0, 0, 0), (2000, 2000, 100)]);
        assert_eq!(many_small.left(0, 100), Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_is_kept_shortens_the_rest_and_is_no_rate() {
        let mut pace = pace(&[(0, 0, 0)]);
        pace.note(Sample {
            at: Duration::from_secs(2),
            received: 2000,
            kept: 6000,
            files: 0,
        });
        assert_eq!(pace.rate(), Some(1000));
        assert_eq!(pace.left(8000, 1), Some(Duration::from_secs(2)));
    }
}
