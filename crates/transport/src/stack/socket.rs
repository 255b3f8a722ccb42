//! Who waits for what, and what an outcome of TCP is called elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::task::{Context, Waker};

use packhorse_tcp::{ConnectionId, EndpointEvent, Event, Failure, Instant, ListenerId};

/// The tasks that wait for a socket.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    readers: BTreeMap<ConnectionId, Waker>,
    writers: BTreeMap<ConnectionId, Waker>,
    accepters: BTreeMap<ListenerId, Vec<Waker>>,
}

impl Sockets {
    /// One task may wait to read; a later one takes its place.
    pub(super) fn reader_waits(&mut self, id: ConnectionId, cx: &Context<'_>) {
        wait(&mut self.readers, id, cx);
    }

    /// One task may wait to write, or for the connection to be open.
    pub(super) fn writer_waits(&mut self, id: ConnectionId, cx: &Context<'_>) {
        wait(&mut self.writers, id, cx);
    }

    /// Any number of tasks may wait to accept.
    pub(super) fn accepter_waits(&mut self, id: ListenerId, cx: &Context<'_>) {
        let waiting = self.accepters.entry(id).or_default();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.readers.remove(&id);
        self.writers.remove(&id);
    }

    pub(super) fn forget_listener(&mut self, id: ListenerId) {
        self.accepters.remove(&id);
    }

    /// Gives those whom `event` concerns to `wake`, which must not be called under the lock.
    pub(super) fn take(&mut self, event: EndpointEvent, wake: &mut Vec<Waker>) {
        match event {
            EndpointEvent::Acceptable(id) => {
                wake.extend(self.accepters.remove(&id).unwrap_or_default());
            }
            EndpointEvent::Connection(id, event) => {
                let (reads, writes) = match event {
                    Event::Readable | Event::PeerClosed => (true, false),
                    Event::Connected | Event::Writable | Event::Finished => (false, true),
                    Event::Failed(_) | Event::Closed => (true, true),
                };
                if reads {
                    wake.extend(self.readers.remove(&id));
                }
                if writes {
                    wake.extend(self.writers.remove(&id));
                }
            }
        }
    }

    /// Gives everybody.
    pub(super) fn take_all(&mut self, wake: &mut Vec<Waker>) {
        let Self {
            readers,
            writers,
            accepters,
        } = std::mem::take(self);
        wake.extend(readers.into_values());
        wake.extend(writers.into_values());
        wake.extend(accepters.into_values().flatten());
    }
}

fn wait(waiting: &mut BTreeMap<ConnectionId, Waker>, id: ConnectionId, cx: &Context<'_>) {
    waiting
        .entry(id)
        .and_modify(|waker| waker.clone_from(cx.waker()))
        .or_insert_with(|| cx.waker().clone());
}

pub(super) fn now_since(start: tokio::time::Instant) -> Instant {
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(nanos)
}

pub(super) fn error(failure: Failure) -> io::Error {
    let kind = match failure {
        Failure::Refused => io::ErrorKind::ConnectionRefused,
        Failure::Reset => io::ErrorKind::ConnectionReset,
        Failure::TimedOut => io::ErrorKind::TimedOut,
        Failure::NotUnicast => io::ErrorKind::InvalidInput,
        Failure::Aborted => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, failure)
}
