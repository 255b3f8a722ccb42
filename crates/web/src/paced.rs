//! A stream that keeps to a rate.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::activity::Activity;
use crate::limits::PACE_BYTES;
use crate::service::Pace;

/// Writes no faster than it may. Beneath it, who takes nothing can be told from who has to wait.
pub(crate) struct Paced<S> {
    inner: S,
    pace: Option<Arc<dyn Pace>>,
    activity: Arc<Activity>,
    /// Bytes that may be written now.
    credit: usize,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(inner: S, pace: Option<Arc<dyn Pace>>, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            pace,
            activity,
            credit: 0,
            waiting: None,
        }
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
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let allowed = ready!(this.poll_credit(cx, bytes.len()));
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, &bytes[..allowed]))?;
        this.credit = this.credit.saturating_sub(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.pace.is_none() {
            return Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.pace.is_none() && self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
