//! When a server that owes an answer counts as silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use packhorse_protocol::frame::FRAME_HEADER_BYTES;
use packhorse_protocol::limits::FRAME_BYTES_MAX;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

/// A frame that is on its way slowly brings at least this many bytes in each span of silence, as
/// over a line of 70 bytes a second. Less would let a server keep a client for years.
const SLOW_BYTES_MIN: u64 = 4 << 10;

/// A reader that counts what it reads.
#[derive(Debug)]
pub(crate) struct CountedReader<R> {
    reader: R,
    bytes: Arc<AtomicU64>,
    /// What all connections to the server have read.
    all_bytes: Arc<AtomicU64>,
}

/// Since when an answer is waited for, and what has come meanwhile.
#[derive(Debug)]
pub(crate) struct Silence {
    bytes: Arc<AtomicU64>,
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    deadline: Instant,
    bytes_at_start: u64,
    bytes_at_last: u64,
}

impl Silence {
    /// Watches over what comes through `reader`, and adds it to `all_bytes` too.
    pub(crate) fn over<R>(reader: R, all_bytes: &Arc<AtomicU64>) -> (CountedReader<R>, Self) {
        let bytes = Arc::<AtomicU64>::default();
        let counted = CountedReader {
            reader,
            bytes: Arc::clone(&bytes),
            all_bytes: Arc::clone(all_bytes),
        };
        (counted, Self { bytes, wait: None })
    }

    /// Bytes that have come over this connection.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Until when to wait for an answer: for `limit` from the first call behind the last answer.
    pub(crate) fn deadline(&mut self, limit: Duration) -> Instant {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let wait = self.wait.get_or_insert_with(|| Wait {
            deadline: Instant::now() + limit,
            bytes_at_start: bytes,
            bytes_at_last: bytes,
        });
        wait.deadline
    }

    /// The deadline has passed. Whether the answer is on its way, only slowly; then there is another
    /// deadline.
    ///
    /// Frames that are skipped are no answers. Of those, no more than one is ever under way in
    /// place of an answer, and all together may not be longer than the longest answer.
    pub(crate) fn is_only_slow(&mut self, is_within_frame: bool, limit: Duration) -> bool {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let Some(wait) = &mut self.wait else {
            return false;
        };
        let in_all = bytes - wait.bytes_at_start;
        if !is_within_frame
            || bytes - wait.bytes_at_last < SLOW_BYTES_MIN
            || in_all > (FRAME_HEADER_BYTES + FRAME_BYTES_MAX) as u64
        {
            return false;
        }
        wait.deadline = Instant::now() + limit;
        wait.bytes_at_last = bytes;
        true
    }

    /// An answer has come.
    pub(crate) fn handle_answer(&mut self) {
        self.wait = None;
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for CountedReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.reader).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        self.all_bytes.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
