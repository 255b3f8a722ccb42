//! A stream that reads more than it is asked for.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Keeps what it has read until it is asked for, so that a stream's first bytes can be looked at
/// and the small reads of a TLS engine (4 KiB in rustls 0.23) become few large ones.
///
/// Writes pass straight through.
#[derive(Debug)]
pub struct ReadAhead<S> {
    inner: S,
    buffer: Box<[u8]>,
    /// `buffer[start..end]` is read and not yet asked for.
    start: usize,
    end: usize,
    /// The buffer is given back once what is in it has been asked for.
    is_last: bool,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(inner: S, bytes_max: usize) -> Self {
        Self {
            inner,
            buffer: vec![0; bytes_max].into_boxed_slice(),
            start: 0,
            end: 0,
            is_last: false,
        }
    }

    /// Reads no more ahead: what is read already is the last that the buffer holds.
    pub(crate) fn read_no_more_ahead(&mut self) {
        self.is_last = true;
        self.give_back();
    }

    /// Without its buffer, every read is as large as that, or larger.
    fn give_back(&mut self) {
        if self.is_last && self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.buffer = Box::default();
        }
    }

    /// The stream itself.
    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }

    /// What is read and not yet asked for.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    /// Reads once more, behind what is unread; 0 at the end of the stream and of the room.
    pub(crate) async fn look_further(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_look_further(cx)).await
    }

    fn poll_look_further(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let mut room = ReadBuf::new(&mut self.buffer[self.end..]);
        if room.capacity() == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread().is_empty() {
            if out.remaining() >= this.buffer.len() {
                return Pin::new(&mut this.inner).poll_read(cx, out);
            }
            ready!(this.poll_look_further(cx))?;
        }
        let count = out.remaining().min(this.unread().len());
        out.put_slice(&this.unread()[..count]);
        this.start += count;
        this.give_back();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_buffer_goes_with_its_last_byte() {
        let (mut far, near) = duplex(64);
        let mut near = ReadAhead::new(near, 6);
        far.write_all(b"abcdefgh").await.unwrap();
        far.shutdown().await.unwrap();
        near.look_further().await.unwrap();
        near.read_no_more_ahead();
        let mut first = [0; 4];
        near.read_exact(&mut first).await.unwrap();
        assert_eq!((&first, near.buffer.len()), (b"abcd", 6));
        near.read_exact(&mut first[..2]).await.unwrap();
        assert_eq!(near.buffer.len(), 0);
        let mut rest = String::new();
        near.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "gh");
        let mut unread = ReadAhead::new(far, 6);
        unread.read_no_more_ahead();
        assert_eq!(unread.buffer.len(), 0);
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_again() {
        let (mut far, near) = duplex(64);
        let mut near = ReadAhead::new(near, 6);
        for (sent, seen, count) in [("abc", "abc", 3), ("defg", "abcdef", 3), ("", "abcdef", 0)] {
            far.write_all(sent.as_bytes()).await.unwrap();
            assert_eq!(near.look_further().await.unwrap(), count);
            assert_eq!(near.unread(), seen.as_bytes());
        }
        far.write_all(b"hijklmnopq").await.unwrap();
        far.shutdown().await.unwrap();
        let mut first = [0; 4];
        near.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"abcd");
        let mut rest = String::new();
        near.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "efghijklmnopq");
        assert_eq!(near.look_further().await.unwrap(), 0);
    }
}
