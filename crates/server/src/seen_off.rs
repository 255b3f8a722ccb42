//! A stream that learns at its end whether what was written last has arrived.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// What is read of a client at once that has nothing more to say.
const READ_BYTES: usize = 1 << 10;

/// Once told that it matters, is shut down only when the other side has ended too, and fails if that
/// broke instead: a write says only that this machine has the bytes, and a client that leaves with
/// something unread resets the connection (RFC 2525 §2.17).
#[derive(Debug)]
pub(crate) struct SeenOff<S> {
    inner: S,
    /// Something comes behind the content, in TLS or in HTTP/2. The other side may have left without
    /// reading that, which is a reset then, and many leave without such a word of their own.
    has_last_word: bool,
    matters: watch::Receiver<bool>,
    /// How long the other side may take for its end.
    time_max: Duration,
    /// Set while that is waited for.
    waiting: Option<Pin<Box<Sleep>>>,
    /// The other side has ended, in order.
    has_left: bool,
    /// How the connection broke. Asked again, it would seem to have ended in order.
    broken: Option<io::ErrorKind>,
}

impl<S> SeenOff<S> {
    pub(crate) fn new(
        inner: S,
        has_last_word: bool,
        matters: watch::Receiver<bool>,
        time_max: Duration,
    ) -> Self {
        Self {
            inner,
            has_last_word,
            matters,
            time_max,
            waiting: None,
            has_left: false,
            broken: None,
        }
    }

    fn note<T>(&mut self, done: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = done {
            self.broken = Some(error.kind());
        }
    }
}

impl<S: AsyncRead + Unpin> SeenOff<S> {
    /// Reads to the other side's end; who takes its time for that has had enough of it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let time_max = self.time_max;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(time_max)));
        if waiting.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => return Poll::Ready(Ok(())),
                Ok(()) => {}
                Err(_) if self.has_last_word => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SeenOff<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        let read = match ready!(Pin::new(&mut this.inner).poll_read(cx, out)) {
            Err(error) if this.has_last_word && error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(())
            }
            read => read,
        };
        this.has_left |= read.is_ok() && out.filled().len() == before;
        let read = Poll::Ready(read);
        this.note(&read);
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SeenOff<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.note(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.note(&flushed);
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.waiting.is_none() {
            match ready!(Pin::new(&mut this.inner).poll_shutdown(cx)) {
                Err(_) if this.has_last_word && this.has_left => return Poll::Ready(Ok(())),
                shut_down => shut_down?,
            }
        }
        if !*this.matters.borrow() {
            return Poll::Ready(Ok(()));
        }
        match this.broken {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None => this.poll_end(cx),
        }
    }
}
