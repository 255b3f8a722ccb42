//! How a number of bytes grew over time.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the number is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// A number of bytes at several moments, the first of them the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    samples: Vec<(Duration, u64)>,
}

impl Course {
    /// One of which nothing is known but its beginning.
    fn new() -> Self {
        Self {
            samples: vec![(Duration::ZERO, 0)],
        }
    }

    /// A course from a table: how many bytes there were after which time. What does not grow is left
    /// out.
    #[must_use]
    pub fn of(samples: impl IntoIterator<Item = (Duration, u64)>) -> Self {
        let mut course = Self::new();
        for (at, bytes) in samples {
            course.note(at, bytes);
        }
        course
    }

    /// How many bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.last().1
    }

    /// How long it was.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.last().0
    }

    /// Bytes a second in the second half of the time, when whatever has to get going has done so;
    /// `None` if nothing can be said.
    #[must_use]
    pub fn steady_rate(&self) -> Option<u64> {
        let half = self.time() / 2;
        rate(self.bytes_at(half), self.bytes(), self.time() - half)
    }

    /// Bytes a second in each of `count` equal parts of the time.
    #[must_use]
    pub fn rates(&self, count: usize) -> Vec<u64> {
        let parts = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let moment = |part: u32| self.time().mul_f64(f64::from(part) / f64::from(parts));
        (0..parts)
            .map(|part| {
                let (start, end) = (moment(part), moment(part + 1));
                let (before, then) = (self.bytes_at(start), self.bytes_at(end));
                rate(before, then, end.saturating_sub(start)).unwrap_or(0)
            })
            .collect()
    }

    /// Into how many parts it makes sense to cut the time.
    #[must_use]
    pub fn parts_max(&self) -> usize {
        self.samples.len() - 1
    }

    fn note(&mut self, at: Duration, bytes: u64) {
        let (last_at, last_bytes) = self.last();
        if at > last_at && bytes >= last_bytes {
            self.samples.push((at, bytes));
        }
    }

    fn last(&self) -> (Duration, u64) {
        self.samples.last().copied().unwrap_or_default()
    }

    /// How many bytes there were at that moment, if they came evenly between two looks.
    fn bytes_at(&self, at: Duration) -> u64 {
        let behind = self.samples.partition_point(|(then, _)| *then < at);
        let (end, end_bytes) = self.samples.get(behind).copied().unwrap_or(self.last());
        let Some((start, start_bytes)) = behind.checked_sub(1).map(|index| self.samples[index])
        else {
            return 0;
        };
        let span = end.saturating_sub(start).as_secs_f64();
        if span <= 0.0 {
            return end_bytes;
        }
        let share = at.saturating_sub(start).as_secs_f64() / span;
        start_bytes + ((end_bytes - start_bytes) as f64 * share.min(1.0)) as u64
    }
}

/// Does `work` and looks at `count` meanwhile, for `time` at most; `tell` hears of each look.
pub async fn follow<T>(
    work: impl Future<Output = T>,
    count: impl Fn() -> u64,
    time: Duration,
    tell: &mut (dyn FnMut(&Course) + Send),
) -> (T, Course) {
    let (start, first) = (Instant::now(), count());
    let mut course = Course::new();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut work = std::pin::pin!(work);
    loop {
        let ended = tokio::select! {
            biased;
            _ = ticks.tick() => None,
            ended = &mut work => Some(ended),
        };
        // Behind the end only what was asked for before it comes.
        if course.time() < time {
            course.note(start.elapsed(), count().saturating_sub(first));
            tell(&course);
        }
        if let Some(ended) = ended {
            return (ended, course);
        }
    }
}

fn rate(before: u64, then: u64, time: Duration) -> Option<u64> {
    let seconds = time.as_secs_f64();
    (seconds > 0.0).then(|| (then.saturating_sub(before) as f64 / seconds) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(samples: &[(u64, u64)]) -> Course {
        let samples = samples.iter();
        Course::of(samples.map(|&(at, bytes)| (Duration::from_millis(at), bytes)))
    }

    #[test]
    fn rates_are_of_what_came_in_each_part() {
        check(&[], &[0, 0], None);
        check(&[(1000, 100)], &[100], Some(100));
        check(&[(1000, 100)], &[100; 4], Some(100));
        check(&[(1000, 100), (2000, 400)], &[100, 300], Some(300));
        check(&[(1000, 100), (2000, 100)], &[100, 0], Some(0));
        // Looks are not always on time, and what shrinks is no look.
        let odd = [(500, 5), (400, 9), (600, 4), (1500, 15), (2000, 20)];
        check(&odd, &[10; 4], Some(10));
    }

    #[track_caller]
    fn check(samples: &[(u64, u64)], rates: &[u64], steady: Option<u64>) {
        let course = course(samples);
        assert_eq!(course.rates(rates.len()), rates);
        assert_eq!(course.steady_rate(), steady);
    }

    #[test]
    fn no_part_is_lost_between_two() {
        let samples: Vec<_> = (1..50).map(|n| (n * 97, n * n * 1000)).collect();
        let course = course(&samples);
        for parts in 1..120 {
            let rates = course.rates(parts);
            let seconds = course.time().as_secs_f64() / parts as f64;
            let total = rates.iter().sum::<u64>() as f64 * seconds;
            let missing = course.bytes() as f64 - total;
            assert!(missing.abs() < 1000.0, "{parts} parts: {missing} missing");
        }
    }
}
