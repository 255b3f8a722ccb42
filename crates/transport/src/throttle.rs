//! A rate that bytes may pass at, shared by whoever holds the same throttle.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets bytes pass at a steady rate, in the order in which they ask.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: u64,
    free_at: Mutex<Option<Instant>>,
}

impl Throttle {
    /// How many bytes to send at most before asking again, so that the rate is even.
    pub const CHUNK_BYTES: usize = 16 << 10;

    /// A throttle of `bytes_per_second`, at least 1.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            free_at: Mutex::new(None),
        }
    }

    /// Waits until `bytes` may pass.
    pub async fn pass(&self, bytes: usize) {
        let at = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let at = free_at.map_or(now, |free_at| free_at.max(now));
            *free_at = Some(at + self.time_for(bytes));
            at
        };
        sleep_until(at).await;
    }

    fn time_for(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate() {
        let throttle = Throttle::new(1000);
        let start = Instant::now();
        for _ in 0..5 {
            throttle.pass(500).await;
        }
        assert_eq!(start.elapsed().as_millis(), 2000);
    }
}
