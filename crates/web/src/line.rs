//! The stream of one connection, as HTTP sees it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::activity::Activity;
use crate::limits::PACE_BYTES;
use crate::service::Pace;

/// What is written has left this stream when it is flushed; beneath it, TLS may hold more, and says
/// nothing of how that goes on. So a flush may take several times as long as a write.
const FLUSH_STALLS_MAX: u32 = 5;

/// Writes no faster than it may, and fails with `TimedOut` once nothing that may be written could be
/// for a time: who takes nothing is told from who has to wait. Can be given back what was read.
pub(crate) struct Line<S> {
    inner: S,
    activity: Arc<Activity>,
    /// What was read already, and is read again.
    unread: Bytes,
    pace: Option<Arc<dyn Pace>>,
    /// Bytes that may be written now.
    credit: usize,
    /// Set while a write waits for more of that.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stall_time: Duration,
    /// Set while a write waits for the other end.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Line<S> {
    pub(crate) fn new(
        inner: S,
        pace: Option<Arc<dyn Pace>>,
        stall_time: Duration,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            inner,
            activity,
            unread: Bytes::new(),
            pace,
            credit: 0,
            waiting: None,
            stall_time,
            stall: None,
        }
    }

    /// Has `bytes`, which were read last, read again.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.unread = match self.unread.is_empty() {
            true => bytes,
            false => [bytes, std::mem::take(&mut self.unread)].concat().into(),
        };
    }

    /// How many of `bytes` may be written.
    fn poll_credit(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<usize> {
        let Some(pace) = &self.pace else {
            return Poll::Ready(bytes);
        };
        if self.credit == 0 {
            let asked = bytes.min(PACE_BYTES);
            let waiting = self.waiting.get_or_insert_with(|| pace.pass(asked));
            let passed = waiting.as_mut().poll(cx);
            self.activity.set_held(passed.is_pending());
            ready!(passed);
            self.waiting = None;
            self.credit = asked;
        }
        Poll::Ready(bytes.min(self.credit))
    }

    /// Fails once `written` has been pending for `time_max`.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        time_max: Duration,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stall.take().is_some() {
                self.activity.set_stalled(false);
            }
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| {
            self.activity.set_stalled(true);
            Box::pin(sleep(time_max))
        });
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client takes nothing of what is sent",
            ))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> Line<S> {
    /// Waits for something to read, or for the end, and takes no memory for it.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn until_readable(&mut self) -> io::Result<()> {
        let mut first = [0; 1];
        let count = self.inner.read(&mut first).await?;
        let bytes = [&self.unread, &first[..count]].concat();
        self.unread = bytes.into();
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, out);
        }
        let count = out.remaining().min(this.unread.len());
        out.put_slice(&this.unread[..count]);
        this.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let allowed = ready!(this.poll_credit(cx, bytes.len()));
        let written = Pin::new(&mut this.inner).poll_write(cx, &bytes[..allowed]);
        let written = ready!(this.watch(cx, written, this.stall_time))?;
        this.credit = this.credit.saturating_sub(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.pace.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[], |slice| slice));
        }
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.watch(cx, written, this.stall_time)
    }

    fn is_write_vectored(&self) -> bool {
        self.pace.is_none() && self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.watch(cx, flushed, this.stall_time * FLUSH_STALLS_MAX)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut_down = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.watch(cx, shut_down, this.stall_time * FLUSH_STALLS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn line(inner: DuplexStream) -> Line<DuplexStream> {
        let stall_time = Duration::from_secs(60);
        Line::new(inner, None, stall_time, Arc::new(Activity::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_something_now_and_then_is_waited_for() {
        let (mut far, near) = duplex(8);
        let mut near = line(near);
        let reader = tokio::spawn(async move {
            let mut some = [0; 4];
            for _ in 0..5 {
                sleep(Duration::from_secs(50)).await;
                far.read_exact(&mut some).await.unwrap();
            }
            far
        });
        near.write_all(&[1; 28]).await.unwrap();
        let _far = reader.await.unwrap();
        let error = near.write_all(&[1; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_is_put_back_is_read_again_in_its_order() {
        let (mut far, near) = duplex(64);
        let mut near = line(near);
        far.write_all(b"abcdefgh").await.unwrap();
        near.until_readable().await.unwrap();
        let mut two = [0; 2];
        near.read_exact(&mut two).await.unwrap();
        near.put_back(Bytes::copy_from_slice(&two));
        near.until_readable().await.unwrap();
        near.read_exact(&mut two[..1]).await.unwrap();
        near.put_back(Bytes::copy_from_slice(&two[..1]));
        drop(far);
        let mut all = String::new();
        near.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "abcdefgh");
    }
}
