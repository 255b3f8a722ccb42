//! One connection as a stream of bytes.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use packhorse_tcp::{ConnectionId, Read};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::error;
use super::split::{OwnedReadHalf, OwnedWriteHalf};
use super::{Inner, Shared};

/// The most that one `write` takes, so that a small buffer of a slow reader is not copied anew
/// with each try.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// A connection, like tokio's: dropped, what was written is still sent; what was not read resets
/// the peer.
#[derive(Debug)]
pub struct TcpStream {
    socket: Socket,
}

/// What a stream and its halves have of a connection.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) shared: Arc<Shared>,
    pub(super) id: ConnectionId,
    /// Dropped, it resets the peer whatever there is to send.
    resets: AtomicBool,
}

impl TcpStream {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket }
    }

    /// Our end.
    ///
    /// # Errors
    /// None; as tokio's has one.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.with(|connection| connection.local())
    }

    /// The peer's end.
    ///
    /// # Errors
    /// None; as tokio's has one.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.with(|connection| connection.remote())
    }

    /// Whether small writes go out at once.
    ///
    /// # Errors
    /// None; as tokio's has one.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.with(|connection| connection.nodelay())
    }

    /// Sets whether small writes go out at once, and do not wait for an acknowledgement.
    ///
    /// # Errors
    /// None; as tokio's has one.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let mut inner = self.socket.shared.lock();
        inner.endpoint.set_nodelay(self.socket.id, nodelay);
        self.socket.shared.wake_driver(inner);
        Ok(())
    }

    /// Sets whether the peer is reset when this is dropped, whatever there is to send: what
    /// `SO_LINGER` with a time of zero does.
    pub fn set_zero_linger(&self, resets: bool) {
        self.socket.resets.store(resets, Ordering::Relaxed);
    }

    /// What happened on the connection so far.
    ///
    /// # Errors
    /// None; as `local_addr`.
    pub fn stats(&self) -> io::Result<packhorse_tcp::Stats> {
        self.socket.with(|connection| connection.stats())
    }

    /// Returns once there is something to read, an end or a failure.
    pub async fn readable(&self) {
        poll_fn(|cx| self.socket.poll_readable(cx)).await;
    }

    /// Two halves that can live apart; the writing one closes its side when it is dropped.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let socket = Arc::new(self.socket);
        (
            OwnedReadHalf::new(Arc::clone(&socket)),
            OwnedWriteHalf::new(socket),
        )
    }
}

impl Socket {
    pub(super) fn new(shared: &Arc<Shared>, inner: &mut Inner, id: ConnectionId) -> Self {
        inner.handles += 1;
        Self {
            shared: Arc::clone(shared),
            id,
            resets: AtomicBool::new(false),
        }
    }

    pub(super) fn with<T>(
        &self,
        ask: impl FnOnce(&packhorse_tcp::Connection) -> T,
    ) -> io::Result<T> {
        let inner = self.shared.lock();
        let connection = inner.endpoint.connection(self.id);
        connection
            .map(ask)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.lock();
        let connection = inner.endpoint.connection(self.id);
        if connection.is_none_or(|connection| connection.readable() > 0) || inner.broken.is_some() {
            return Poll::Ready(());
        }
        let outcome = inner.endpoint.read(self.shared.now(), self.id, 0);
        if outcome != Read::Pending {
            return Poll::Ready(());
        }
        inner.sockets.reader_waits(self.id, cx);
        Poll::Pending
    }

    pub(super) fn poll_read(
        &self,
        cx: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.shared.lock();
        let now = self.shared.now();
        let room = buffer.remaining();
        let count = inner
            .endpoint
            .read_pieces(now, self.id, room, |piece| buffer.put_slice(&piece));
        if count == 0 && room > 0 {
            match inner.endpoint.read(now, self.id, room) {
                Read::Failed(failure) => return Poll::Ready(Err(error(failure))),
                Read::Pending => {
                    inner.broken()?;
                    inner.sockets.reader_waits(self.id, cx);
                    return Poll::Pending;
                }
                Read::End | Read::Data(_) => return Poll::Ready(Ok(())),
            }
        }
        self.shared.wake_driver(inner);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write(&self, cx: &Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.shared.lock();
        inner.broken()?;
        let Some(connection) = inner.endpoint.connection(self.id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(failure) = connection.failure() {
            return Poll::Ready(Err(error(failure)));
        }
        if connection.is_shut_down() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = usize::try_from(connection.writable()).unwrap_or(usize::MAX);
        // Without room one byte is offered, so that the connection says when there is some.
        let length = data.len().min(room).clamp(1, WRITE_BYTES_MAX);
        let now = self.shared.now();
        let offered = Bytes::copy_from_slice(&data[..length]);
        let taken = inner.endpoint.write(now, self.id, offered);
        if taken == 0 {
            inner.sockets.writer_waits(self.id, cx);
            return Poll::Pending;
        }
        self.shared.wake_driver(inner);
        Poll::Ready(Ok(taken))
    }

    pub(super) fn shut_down(&self) {
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        inner.endpoint.shutdown(now, self.id);
        self.shared.wake_driver(inner);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        if self.resets.load(Ordering::Relaxed) {
            inner.endpoint.abort(now, self.id);
        }
        inner.endpoint.release(now, self.id);
        inner.sockets.forget(self.id);
        inner.handles -= 1;
        drop(inner);
        self.shared.work.notify_one();
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket.poll_read(cx, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.shut_down();
        Poll::Ready(Ok(()))
    }
}
