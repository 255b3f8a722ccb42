//! Connections that peers open.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use packhorse_tcp::{ListenAt, ListenerId};

use super::Shared;
use super::stream::{Socket, TcpStream};

/// Takes connections, like tokio's; dropped, it takes no more, and resets those that wait.
#[derive(Debug)]
pub struct TcpListener {
    shared: Arc<Shared>,
    id: ListenerId,
    at: ListenAt,
}

impl TcpListener {
    pub(super) fn new(shared: Arc<Shared>, id: ListenerId, at: ListenAt) -> Self {
        Self { shared, id, at }
    }

    /// What it takes connections for.
    #[must_use]
    pub fn at(&self) -> ListenAt {
        self.at
    }

    /// Waits for the next connection; dropped while it waits, it loses none.
    ///
    /// # Errors
    /// What the device broke with.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Takes the next connection, if there is one.
    ///
    /// # Errors
    /// What the device broke with.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let mut inner = self.shared.lock();
        let Some(id) = inner.endpoint.accept(self.id) else {
            inner.broken()?;
            inner.sockets.accepter_waits(self.id, cx);
            return Poll::Pending;
        };
        let socket = Socket::new(&self.shared, &mut inner, id);
        drop(inner);
        let stream = TcpStream::new(socket);
        let peer = stream.peer_addr()?;
        Poll::Ready(Ok((stream, peer)))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        inner.endpoint.close_listener(now, self.id);
        inner.sockets.forget_listener(self.id);
        inner.handles -= 1;
        drop(inner);
        self.shared.work.notify_one();
    }
}
