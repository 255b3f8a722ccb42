//! Who is connected to a message server, and what is on its way to each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use crate::limits::PARTS_WAITING_MAX;

/// A peer: its number in the order of arrival, from 1 on, and its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Never given to another.
    pub number: u64,
    /// Where it dials from.
    pub address: SocketAddr,
}

/// To whom a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Whoever came last and is still here.
    Newest,
    /// The peer with this number.
    Number(u64),
    /// Everyone.
    All,
}

/// Why a line did not go to everyone that it was for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// Nobody is connected.
    #[error("nobody is connected")]
    Nobody,
    /// That peer is not here, or no longer.
    #[error("peer @{0} is not connected")]
    NotHere(u64),
    /// Too much is on its way to it already, which it does not take.
    #[error("peer @{0} takes nothing of what was sent to it; the line was dropped")]
    Deaf(u64),
}

/// The peers of a message server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queues: Mutex<BTreeMap<u64, mpsc::Sender<Vec<u8>>>>,
    /// How many are connected.
    count: watch::Sender<usize>,
}

/// What waits to be sent to one peer.
pub(super) type Queue = mpsc::Receiver<Vec<u8>>;

/// A peer's entry; taken out when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    peers: Peers,
    number: u64,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                queues: Mutex::default(),
                count: watch::Sender::new(0),
            }),
        }
    }

    /// Has `bytes` sent to one or all, each of which takes it at its own speed.
    ///
    /// # Errors
    /// The first [`SendError`]; the others still get theirs.
    pub fn send(&self, to: To, bytes: &[u8]) -> Result<(), SendError> {
        let queues = self.lock();
        let send = |(number, queue): (&u64, &mpsc::Sender<Vec<u8>>)| {
            queue.try_send(bytes.to_vec()).map_err(|error| match error {
                TrySendError::Full(_) => SendError::Deaf(*number),
                TrySendError::Closed(_) => SendError::NotHere(*number),
            })
        };
        match to {
            To::Newest => send(queues.last_key_value().ok_or(SendError::Nobody)?),
            To::Number(number) => match queues.get_key_value(&number) {
                Some(entry) => send(entry),
                None => Err(SendError::NotHere(number)),
            },
            To::All if queues.is_empty() => Err(SendError::Nobody),
            To::All => queues.iter().map(send).fold(Ok(()), Result::and),
        }
    }

    /// As [`send`](Self::send), and waits for those who take their time.
    ///
    /// # Errors
    /// `Nobody`, `NotHere`.
    pub async fn send_patiently(&self, to: To, bytes: &[u8]) -> Result<(), SendError> {
        let queues: Vec<_> = {
            let queues = self.lock();
            match to {
                To::Newest => queues.last_key_value().into_iter().collect(),
                To::Number(number) => queues.get_key_value(&number).into_iter().collect(),
                To::All => queues.iter().collect::<Vec<_>>(),
            }
            .into_iter()
            .map(|(number, queue)| (*number, queue.clone()))
            .collect()
        };
        let mut sent = match (queues.is_empty(), to) {
            (false, _) => Ok(()),
            (true, To::Number(number)) => Err(SendError::NotHere(number)),
            (true, _) => Err(SendError::Nobody),
        };
        for (number, queue) in queues {
            let gone = |_| SendError::NotHere(number);
            sent = sent.and(queue.send(bytes.to_vec()).await.map_err(gone));
        }
        sent
    }

    /// Waits until somebody is connected.
    pub async fn wait_for_one(&self) {
        // The sender lives as long as this.
        let _ = self
            .shared
            .count
            .subscribe()
            .wait_for(|count| *count > 0)
            .await;
    }

    pub(super) fn enter(&self, number: u64) -> (Entry, mpsc::Sender<Vec<u8>>, Queue) {
        let (sender, queue) = mpsc::channel(PARTS_WAITING_MAX);
        self.change(|queues| queues.insert(number, sender.clone()));
        let peers = self.clone();
        (Entry { peers, number }, sender, queue)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<u64, mpsc::Sender<Vec<u8>>>) -> T) {
        let mut queues = self.lock();
        change(&mut queues);
        self.shared.count.send_replace(queues.len());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, mpsc::Sender<Vec<u8>>>> {
        let queues = self.shared.queues.lock();
        queues.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.peers.change(|queues| queues.remove(&self.number));
    }
}
