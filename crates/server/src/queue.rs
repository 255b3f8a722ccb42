//! The requests of one connection that wait for their answer, in order.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_protocol::frame::FrameType;
use packhorse_protocol::message::Request;
use packhorse_protocol::session::{ServerEvent, ServerSession, Violation};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Between the half of a driver that reads requests and the half that answers them. It holds the
/// session, so that both see the same count of what is unanswered.
#[derive(Debug)]
pub(crate) struct RequestQueue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    session: ServerSession,
    waiting: VecDeque<Request>,
    /// Since when the client waits for nothing, if it does.
    idle_since: Option<Instant>,
    ended: bool,
}

impl RequestQueue {
    /// A queue behind an admitted session.
    pub(crate) fn new(session: ServerSession) -> Self {
        let inner = Inner {
            session,
            waiting: VecDeque::new(),
            idle_since: Some(Instant::now()),
            ended: false,
        };
        Self {
            inner: Mutex::new(inner),
            changed: Notify::new(),
        }
    }

    /// How long the next request may be, in bytes.
    pub(crate) fn body_bytes_max(&self) -> usize {
        self.lock().session.body_bytes_max()
    }

    /// Takes a frame from the client; the requests in it come out of `next`.
    pub(crate) fn handle_frame(&self, kind: FrameType, body: &[u8]) -> Result<(), Violation> {
        let mut inner = self.lock();
        match inner.session.handle_frame(kind, body)? {
            ServerEvent::Request(request) => {
                inner.waiting.push_back(request);
                inner.idle_since = None;
            }
            ServerEvent::Admitted(_) | ServerEvent::Denied(..) => {
                return Err(Violation::Unexpected(kind));
            }
        }
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// No more requests will come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }

    /// The next request to answer; `None` once all are answered and no more will come.
    pub(crate) async fn next(&self) -> Option<Request> {
        loop {
            {
                let mut inner = self.lock();
                if let Some(request) = inner.waiting.pop_front() {
                    return Some(request);
                }
                if inner.ended {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// The request that came out last has been dealt with.
    pub(crate) fn handle_answered(&self, was_answered: bool) {
        let mut inner = self.lock();
        if inner.waiting.is_empty() {
            inner.idle_since = Some(Instant::now());
        }
        if was_answered {
            inner.session.handle_answered();
        }
    }

    /// Since when the client waits for nothing; `None` while it waits.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.lock().idle_since
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
