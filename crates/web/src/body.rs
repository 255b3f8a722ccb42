//! What an answer carries: nothing, some bytes, or what disk workers read piece by piece.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use packhorse_protocol::entry::Refusal;
use packhorse_storage::source::SourceError;
use packhorse_storage::workers::{DiskWorkers, JobLost};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::record::Record;

/// What is read at once for an answer that got a part of the memory for reading ahead.
const LARGE_CHUNK_BYTES: usize = 256 << 10;

/// What is read at once for one that did not.
const SMALL_CHUNK_BYTES: usize = 32 << 10;

/// How much of the memory for reading ahead an answer takes: one chunk that is sent, one that waits.
const AHEAD_BYTES: u32 = 2 * LARGE_CHUNK_BYTES as u32;

/// The unit in which that memory is counted.
const AHEAD_UNIT_BYTES: usize = 64 << 10;

/// Makes the pieces of an answer, on a disk worker.
pub(crate) trait Produce: Send + 'static {
    /// The next piece, of about `bytes` bytes and never empty; `None` at the end.
    ///
    /// # Errors
    /// Why the rest cannot be had. The answer is broken off.
    fn next(&mut self, bytes: usize) -> Result<Option<Bytes>, BodyError>;
}

/// Why an answer is broken off: its length was promised, and nothing else can take its place.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("it changed while it was sent")]
    Changed,
    #[error("it cannot be read any more: {0}")]
    Source(#[from] SourceError),
    #[error(transparent)]
    Lost(#[from] JobLost),
    #[error("it became another length than was promised")]
    Length,
}

impl From<Refusal> for BodyError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Changed => Self::Changed,
            other => Self::Source(other.into()),
        }
    }
}

/// Memory for reading ahead, for all answers together.
#[derive(Debug, Clone)]
pub(crate) struct Ahead(Arc<Semaphore>);

impl Ahead {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / AHEAD_UNIT_BYTES)))
    }
}

/// The body of an answer.
pub(crate) struct Body {
    content: Content,
    record: Option<Record>,
}

enum Content {
    Empty,
    Bytes(Bytes),
    Pieces(Box<Pieces>),
}

struct Pieces {
    workers: Arc<DiskWorkers>,
    state: State,
    /// What is still to come; `None` where the length is not known before the end.
    rest: Option<u64>,
    ahead: Option<OwnedSemaphorePermit>,
}

type Made = (Box<dyn Produce>, Result<Option<Bytes>, BodyError>);

enum State {
    /// The next piece is asked for when the connection wants it.
    Waiting(Box<dyn Produce>),
    Making(Pin<Box<dyn Future<Output = Result<Made, JobLost>> + Send>>),
    Ended,
}

impl Body {
    pub(crate) fn empty() -> Self {
        Content::Empty.into()
    }

    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        match bytes.is_empty() {
            true => Self::empty(),
            false => Content::Bytes(bytes).into(),
        }
    }

    /// What `producer` makes: `length` bytes, if that is known.
    pub(crate) fn pieces(
        producer: Box<dyn Produce>,
        length: Option<u64>,
        workers: &Arc<DiskWorkers>,
        ahead: &Ahead,
    ) -> Self {
        if length == Some(0) {
            return Self::empty();
        }
        let units = AHEAD_BYTES / AHEAD_UNIT_BYTES as u32;
        let permit = Arc::clone(&ahead.0).try_acquire_many_owned(units).ok();
        Content::Pieces(Box::new(Pieces {
            workers: Arc::clone(workers),
            state: State::Waiting(producer),
            rest: length,
            ahead: permit,
        }))
        .into()
    }

    /// What is written into the log when this body is sent, or given up.
    pub(crate) fn set_record(&mut self, mut record: Record) {
        record.expect(self.length());
        self.record = Some(record);
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.content {
            Content::Empty => Some(0),
            Content::Bytes(bytes) => Some(bytes.len() as u64),
            Content::Pieces(pieces) => pieces.rest,
        }
    }
}

impl From<Content> for Body {
    fn from(content: Content) -> Self {
        Self {
            content,
            record: None,
        }
    }
}

impl Pieces {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.rest == Some(0) {
            return Poll::Ready(None);
        }
        loop {
            let making = match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Making(making) => making,
                State::Waiting(_) => {
                    self.begin();
                    continue;
                }
            };
            let made = ready!(making.as_mut().poll(cx));
            self.state = State::Ended;
            let (producer, piece) = match made {
                Ok(made) => made,
                Err(lost) => return Poll::Ready(Some(Err(lost.into()))),
            };
            let piece = match (piece, self.rest) {
                (Err(error), _) => return Poll::Ready(Some(Err(error))),
                (Ok(None), None) => return Poll::Ready(None),
                (Ok(None), Some(_)) => return Poll::Ready(Some(Err(BodyError::Length))),
                (Ok(Some(piece)), None) => piece,
                (Ok(Some(piece)), Some(rest)) => match rest.checked_sub(piece.len() as u64) {
                    Some(rest) => {
                        self.rest = Some(rest);
                        piece
                    }
                    None => return Poll::Ready(Some(Err(BodyError::Length))),
                },
            };
            self.state = State::Waiting(producer);
            if self.ahead.is_some() && self.rest != Some(0) {
                self.begin();
                // A job takes its place in the queue when it is first polled.
                if let State::Making(making) = &mut self.state
                    && let Poll::Ready(made) = making.as_mut().poll(cx)
                {
                    self.state = State::Making(Box::pin(std::future::ready(made)));
                }
            }
            return Poll::Ready(Some(Ok(piece)));
        }
    }

    fn begin(&mut self) {
        let State::Waiting(mut producer) = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        let bytes = match self.ahead {
            Some(_) => LARGE_CHUNK_BYTES,
            None => SMALL_CHUNK_BYTES,
        };
        let job = move || {
            let piece = producer.next(bytes);
            (producer, piece)
        };
        self.state = State::Making(Box::pin(self.workers.run(job)));
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let piece = match &mut this.content {
            Content::Empty => None,
            Content::Bytes(_) => match std::mem::replace(&mut this.content, Content::Empty) {
                Content::Bytes(bytes) => Some(Ok(bytes)),
                _ => None,
            },
            Content::Pieces(pieces) => ready!(pieces.poll_next(cx)),
        };
        if let Some(record) = &mut this.record {
            match &piece {
                Some(Ok(bytes)) => record.count(bytes.len()),
                Some(Err(error)) => record.fail(error),
                None => record.end(),
            }
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use super::*;

    struct Script(VecDeque<Result<Option<&'static [u8]>, BodyError>>);

    impl Produce for Script {
        fn next(&mut self, _bytes: usize) -> Result<Option<Bytes>, BodyError> {
            let piece = self.0.pop_front().unwrap_or(Ok(None))?;
            Ok(piece.map(Bytes::from_static))
        }
    }

    async fn read(
        script: Vec<Result<Option<&'static [u8]>, BodyError>>,
        length: Option<u64>,
        ahead_bytes: usize,
    ) -> (Vec<u8>, Option<String>) {
        let workers = Arc::new(DiskWorkers::new(1, 4).unwrap());
        let ahead = Ahead::new(ahead_bytes);
        let producer = Box::new(Script(script.into()));
        let mut body = Body::pieces(producer, length, &workers, &ahead);
        let mut bytes = Vec::new();
        while let Some(frame) =
            poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await
        {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
                Err(error) => return (bytes, Some(error.to_string())),
            }
        }
        (bytes, None)
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_to_the_promised_length() {
        let pieces = || vec![Ok(Some(&b"ab"[..])), Ok(Some(b"c")), Ok(Some(b"def"))];
        for ahead_bytes in [0, 64 << 20] {
            for length in [None, Some(6)] {
                let (bytes, error) = read(pieces(), length, ahead_bytes).await;
                assert_eq!((bytes.as_slice(), error), (&b"abcdef"[..], None));
            }
            let (bytes, error) = read(pieces(), Some(5), ahead_bytes).await;
            assert_eq!(bytes, b"abc");
            assert!(error.unwrap().contains("another length"));
            let (bytes, error) = read(pieces(), Some(7), ahead_bytes).await;
            assert_eq!(bytes, b"abcdef");
            assert!(error.unwrap().contains("another length"));
            let broken = vec![Ok(Some(&b"ab"[..])), Err(BodyError::Changed)];
            let (bytes, error) = read(broken, Some(6), ahead_bytes).await;
            assert_eq!(bytes, b"ab");
            assert!(error.unwrap().contains("changed"));
        }
    }
}
