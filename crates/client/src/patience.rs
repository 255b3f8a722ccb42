//! How long to go on dialling a server that was lost.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The first wait before a lost connection is dialled again; it doubles up to the longest.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// How long to wait before a further connection is tried, behind one that was lost.
#[derive(Debug)]
pub(crate) struct Backoff {
    until: Instant,
    wait: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            until: Instant::now(),
            wait: BACKOFF,
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

    /// A connection was lost, after it had been of use or before.
    pub(crate) fn handle_failure(&mut self, was_of_use: bool) {
        self.wait = match was_of_use {
            true => BACKOFF,
            false => (self.wait * 2).min(BACKOFF_MAX),
        };
        self.until = Instant::now() + self.wait;
    }
}

/// Counts the time since a connection was lost behind which nothing was won.
#[derive(Debug)]
pub(crate) struct Patience {
    retry_for: Duration,
    lost_at: Option<Instant>,
    progress: u64,
    wait: Duration,
}

impl Patience {
    /// Goes on for `retry_for` without progress; `progress` is a number that changes with it.
    pub(crate) fn new(retry_for: Duration, progress: u64) -> Self {
        Self {
            retry_for,
            lost_at: None,
            progress,
            wait: BACKOFF,
        }
    }

    /// How long to wait before dialling again; `None` if that has gone on for too long.
    pub(crate) fn next_wait(&mut self, progress: u64) -> Option<Duration> {
        if progress != self.progress {
            *self = Self::new(self.retry_for, progress);
        }
        let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
        if lost_at.elapsed() >= self.retry_for {
            return None;
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(BACKOFF_MAX);
        Some(wait)
    }
}
