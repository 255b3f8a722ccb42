//! The two directions of a stream, apart.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Socket;

/// What comes from the peer.
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<Socket>);

/// What goes to the peer; dropped, it closes this direction.
#[derive(Debug)]
pub struct OwnedWriteHalf(Arc<Socket>);

impl OwnedReadHalf {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self(socket)
    }
}

impl OwnedWriteHalf {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self(socket)
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buffer)
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shut_down();
        Poll::Ready(Ok(()))
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}
