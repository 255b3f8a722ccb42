//! Whether anything goes on on a connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::limits::REST_TIME;

/// The requests under way on one connection, and when something last happened to one.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    under_way: usize,
    last: Instant,
    /// What is to be written waits for its share of a rate.
    is_held: bool,
    /// What is to be written waits for the client.
    is_stalled: bool,
    /// When that last ended. HTTP/2 writes also what is no answer, so this is not `last`.
    taken: Instant,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            under_way: 0,
            last: now,
            is_held: false,
            is_stalled: false,
            taken: now,
        }))
    }

    /// A request has arrived.
    pub(crate) fn begin(self: &Arc<Self>) -> Turn {
        let mut state = self.lock();
        state.under_way += 1;
        state.last = Instant::now();
        drop(state);
        Turn(Arc::clone(self))
    }

    /// What is to be written begins or ends to wait for its share of a rate. Nothing can happen
    /// meanwhile, and it is nobody's fault.
    pub(crate) fn set_held(&self, is_held: bool) {
        let mut state = self.lock();
        if state.is_held || is_held {
            state.last = Instant::now();
        }
        state.is_held = is_held;
    }

    /// What is to be written begins or ends to wait for the client.
    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        let mut state = self.lock();
        state.is_stalled = is_stalled;
        state.taken = Instant::now();
    }

    /// Returns once nothing has been under way for a time, and nothing waits to be written: since
    /// when, is the answer.
    pub(crate) async fn until_rest(&self) -> Instant {
        // Looks now and then, so that a request costs no more for it; and a second time before it
        // believes what it sees, since hyper yields in the midst of what it has read.
        let mut was_resting = false;
        loop {
            let now = Instant::now();
            let since = self.rests_since();
            let deadline = since.unwrap_or(now) + REST_TIME;
            match since {
                Some(since) if deadline <= now && was_resting => return since,
                Some(_) if deadline <= now => {
                    was_resting = true;
                    yield_now().await;
                }
                _ => {
                    was_resting = false;
                    sleep_until(deadline).await;
                }
            }
        }
    }

    fn rests_since(&self) -> Option<Instant> {
        let state = self.lock();
        let rests = state.under_way == 0 && !state.is_held && !state.is_stalled;
        rests.then(|| state.last.max(state.taken))
    }

    /// When something must have happened: the next request, or that an answer goes on.
    pub(crate) fn deadline(&self, idle_time: Duration, stall_time: Duration) -> Instant {
        let mut state = self.lock();
        if state.is_held {
            state.last = Instant::now();
        }
        match state.under_way {
            0 => state.last + idle_time,
            _ => state.last + stall_time,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The answer goes on.
    pub(crate) fn touch(&self) {
        self.0.lock().last = Instant::now();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way -= 1;
        state.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_has_its_own_time() {
        let (idle, stall) = (Duration::from_secs(1), Duration::from_secs(10));
        let activity = Arc::new(Activity::new());
        let start = Instant::now();
        assert_eq!(activity.deadline(idle, stall), start + idle);
        let turn = activity.begin();
        assert_eq!(activity.deadline(idle, stall), start + stall);
        tokio::time::advance(Duration::from_secs(5)).await;
        turn.touch();
        assert_eq!(activity.deadline(idle, stall), Instant::now() + stall);
        activity.set_held(true);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(activity.deadline(idle, stall), Instant::now() + stall);
        activity.set_held(false);
        drop(turn);
        assert_eq!(activity.deadline(idle, stall), Instant::now() + idle);
    }

    /// hyper answers 16 requests that came at once, and yields. If the machine was suspended then,
    /// or this thread for long, the others must not wait for the client to say more.
    #[tokio::test(start_paused = true)]
    async fn a_connection_goes_on_before_its_rest_is_believed() {
        let activity = Arc::new(Activity::new());
        drop(activity.begin());
        let last = Instant::now();
        tokio::time::advance(2 * REST_TIME).await;
        let mut looks = 0;
        let going_on = std::future::poll_fn(|_| {
            looks += 1;
            if looks == 2 {
                drop(activity.begin());
            }
            Poll::<()>::Pending
        });
        let since = tokio::select! {
            biased;
            () = going_on => unreachable!(),
            since = activity.until_rest() => since,
        };
        assert_eq!(since, last + 2 * REST_TIME);
    }
}
