//! Who is connected: how many, who has proven nothing yet, and who has to go first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts connections, and sends the oldest unproven one away where there are too many.
#[derive(Debug)]
pub(crate) struct Clients {
    unproven_max: usize,
    proven_max: usize,
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order of arrival, with what sends each away.
    unproven: BTreeMap<u64, Arc<Notify>>,
    proven: usize,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    clients: Arc<Clients>,
    number: u64,
    sent_away: Arc<Notify>,
    proven: bool,
}

impl Clients {
    pub(crate) fn new(proven_max: usize, unproven_max: usize) -> Self {
        Self {
            unproven_max,
            proven_max,
            state: Mutex::default(),
            left: Notify::new(),
        }
    }

    /// Takes a place for a new connection; the oldest unproven one goes if there are too many.
    pub(crate) fn arrive(self: &Arc<Self>) -> Place {
        let mut state = self.lock();
        if state.unproven.len() >= self.unproven_max {
            state.send_oldest_away();
        }
        let number = state.next;
        state.next += 1;
        let sent_away = Arc::new(Notify::new());
        state.unproven.insert(number, Arc::clone(&sent_away));
        drop(state);
        Place {
            clients: Arc::clone(self),
            number,
            sent_away,
            proven: false,
        }
    }

    /// How many connections are admitted.
    pub(crate) fn proven(&self) -> usize {
        self.lock().proven
    }

    /// Sends the oldest unproven connection away, to get its descriptor back.
    pub(crate) fn send_oldest_away(&self) {
        self.lock().send_oldest_away();
    }

    /// Waits until nobody is left who was admitted. A stranger is not waited for: whoever wanted to
    /// could keep the server for ever.
    pub(crate) async fn all_left(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.lock().proven == 0 {
                return;
            }
            left.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send_oldest_away(&mut self) {
        if let Some((_, sent_away)) = self.unproven.pop_first() {
            sent_away.notify_one();
        }
    }
}

impl Place {
    /// Returns once this connection, still unproven, has to make room for another.
    pub(crate) fn sent_away(&self) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.sent_away).notified_owned()
    }

    /// Whether the client has proven who it is.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven
    }

    /// The client has proven who it is. False if there are as many as may be, or if the connection
    /// was just sent away.
    pub(crate) fn prove(&mut self) -> bool {
        let mut state = self.clients.lock();
        if state.proven >= self.clients.proven_max || state.unproven.remove(&self.number).is_none()
        {
            return false;
        }
        state.proven += 1;
        self.proven = true;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.clients.lock();
        if self.proven {
            state.proven -= 1;
        } else {
            state.unproven.remove(&self.number);
        }
        drop(state);
        self.clients.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_unproven_goes_first() {
        let clients = Arc::new(Clients::new(2, 2));
        let mut proven = clients.arrive();
        assert!(proven.prove());
        let mut first = clients.arrive();
        let mut second = clients.arrive();
        let mut third = clients.arrive();
        first.sent_away().await;
        assert!(!first.prove(), "it was sent away");
        assert!(second.prove());
        assert!(!third.prove(), "there are two already");
        drop(proven);
        assert!(third.prove());
        drop((first, second, third));
        clients.all_left().await;
    }
}
