//! Who listens where, and which connections wait to be accepted.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;

use super::table::ConnectionId;

/// What a listener takes connections for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenAt {
    /// This address.
    Address(SocketAddr),
    /// This port, on every address that packets come for.
    Port(u16),
    /// Everything: for a proxy that is a path, not an end.
    Anything,
}

/// A listener of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u32);

#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_place: BTreeMap<ListenAt, ListenerId>,
    queues: BTreeMap<ListenerId, Queue>,
    /// Those whose users have to hear that something waits.
    news: VecDeque<ListenerId>,
    opened: u32,
}

#[derive(Debug)]
struct Queue {
    at: ListenAt,
    backlog: usize,
    waiting: VecDeque<ConnectionId>,
    /// It is among the news.
    is_news: bool,
}

impl Listeners {
    pub(super) fn open(&mut self, at: ListenAt, backlog: usize) -> Option<ListenerId> {
        if self.by_place.contains_key(&at) {
            return None;
        }
        let id = ListenerId(self.opened);
        self.opened += 1;
        self.by_place.insert(at, id);
        let queue = Queue {
            at,
            backlog: backlog.max(1),
            waiting: VecDeque::new(),
            is_news: false,
        };
        self.queues.insert(id, queue);
        Some(id)
    }

    pub(super) fn close(&mut self, listener: ListenerId) {
        if let Some(queue) = self.queues.remove(&listener) {
            self.by_place.remove(&queue.at);
        }
    }

    /// Who listens for `local`: the most particular one.
    pub(super) fn find(&self, local: SocketAddr) -> Option<ListenerId> {
        [
            ListenAt::Address(local),
            ListenAt::Port(local.port()),
            ListenAt::Anything,
        ]
        .iter()
        .find_map(|at| self.by_place.get(at).copied())
    }

    /// Whether one more connection could not wait; also where nobody listens any more.
    pub(super) fn is_full(&self, listener: ListenerId) -> bool {
        self.queues
            .get(&listener)
            .is_none_or(|queue| queue.waiting.len() >= queue.backlog)
    }

    pub(super) fn push(&mut self, listener: ListenerId, id: ConnectionId) {
        if let Some(queue) = self.queues.get_mut(&listener) {
            queue.waiting.push_back(id);
            if !core::mem::replace(&mut queue.is_news, true) {
                self.news.push_back(listener);
            }
        }
    }

    pub(super) fn pop(&mut self, listener: ListenerId) -> Option<ConnectionId> {
        self.queues.get_mut(&listener)?.waiting.pop_front()
    }

    /// A connection has failed before its turn.
    pub(super) fn withdraw(&mut self, listener: ListenerId, id: ConnectionId) {
        if let Some(queue) = self.queues.get_mut(&listener) {
            queue.waiting.retain(|waiting| *waiting != id);
        }
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// A listener whose user has to hear that something waits.
    pub(super) fn next_news(&mut self) -> Option<ListenerId> {
        loop {
            let listener = self.news.pop_front()?;
            if let Some(queue) = self.queues.get_mut(&listener) {
                queue.is_news = false;
                return Some(listener);
            }
        }
    }
}
