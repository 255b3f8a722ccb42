//! How long to go on dialling a server that was lost.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The first wait before a lost connection is dialled again; it doubles up to the longest. Of each,
/// a random part of its second half is left out.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Pauses between one dial and the next, which grow while no connection is of use.
#[derive(Debug)]
struct Pauses {
    next: Duration,
}

impl Pauses {
    const fn new() -> Self {
        Self { next: BACKOFF }
    }

    /// The next one.
    fn take(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(BACKOFF_MAX);
        spread(pause)
    }
}

/// How long to wait before a connection is tried in place of one that has ended.
#[derive(Debug)]
pub(crate) struct Backoff {
    until: Instant,
    pauses: Pauses,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            until: Instant::now(),
            pauses: Pauses::new(),
        }
    }
}

impl Backoff {
    /// Whether there is nothing to wait for.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) {
        sleep_until(self.until).await;
    }

    /// A connection was lost, or could not be had.
    pub(crate) fn handle_failure(&mut self) {
        self.until = Instant::now() + self.pauses.take();
    }

    /// A connection was of use: that it stood and was greeted is not enough.
    pub(crate) fn handle_use(&mut self) {
        self.pauses = Pauses::new();
    }
}

/// Between half of `wait` and all of it: many clients that one server has lost at once should not
/// all come back at once.
fn spread(wait: Duration) -> Duration {
    // Each state of these hashers begins with random numbers of its own.
    let random = RandomState::new().build_hasher().finish();
    let half = wait / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

/// Counts the time since a connection was lost behind which nothing was won.
#[derive(Debug)]
pub(crate) struct Patience {
    retry_for: Duration,
    lost_at: Option<Instant>,
    progress: u64,
    pauses: Pauses,
}

impl Patience {
    /// Goes on for `retry_for` without progress; `progress` is a number that changes with it.
    pub(crate) fn new(retry_for: Duration, progress: u64) -> Self {
        Self {
            retry_for,
            lost_at: None,
            progress,
            pauses: Pauses::new(),
        }
    }

    /// How long to wait before dialling again, where nobody else makes progress; `None` if that has
    /// gone on for too long.
    pub(crate) fn next_wait(&mut self, progress: u64) -> Option<Duration> {
        self.goes_on(progress).then(|| self.pauses.take())
    }

    /// Whether to dial again behind a loss.
    pub(crate) fn goes_on(&mut self, progress: u64) -> bool {
        if progress != self.progress {
            *self = Self::new(self.retry_for, progress);
        }
        let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
        lost_at.elapsed() < self.retry_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_differ_and_stay_within_their_bounds() {
        let wait = Duration::from_secs(8);
        let waits: Vec<_> = (0..50).map(|_| spread(wait)).collect();
        assert!(waits.iter().all(|it| (wait / 2..=wait).contains(it)));
        assert!(waits.iter().any(|it| *it != waits[0]));
    }
}
