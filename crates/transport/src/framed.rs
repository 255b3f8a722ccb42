//! Whole frames from a byte stream.

use std::io;
use std::sync::Arc;

use bytes::BufMut;
use packhorse_protocol::frame::{FRAME_HEADER_BYTES, FrameError, FrameHeader, FrameType};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::frame_buffers::FrameBuffers;

/// Reads frames. What was read of a frame is kept when a call is dropped, so `next` can stand in a
/// `select!`.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    header: [u8; FRAME_HEADER_BYTES],
    header_filled: usize,
    body: Option<Body>,
    buffers: Option<Arc<FrameBuffers>>,
}

/// A body under way; `kind` is `None` where it is to be skipped.
#[derive(Debug)]
struct Body {
    kind: Option<FrameType>,
    length: usize,
    bytes: Vec<u8>,
}

/// Why no frame can be read.
#[derive(Debug, Error)]
pub enum FrameReadError {
    /// The stream failed, or ended within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer's frame breaks the protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader at the start of a frame.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            header: [0; FRAME_HEADER_BYTES],
            header_filled: 0,
            body: None,
            buffers: None,
        }
    }

    /// The same, with bodies in memory from `buffers`, for whoever gives that back.
    #[must_use]
    pub fn with_buffers(self, buffers: Arc<FrameBuffers>) -> Self {
        Self {
            buffers: Some(buffers),
            ..self
        }
    }

    /// The next frame of a known type, its body at most `body_bytes_max` long; `None` if the stream
    /// ends between frames.
    ///
    /// # Errors
    /// The stream fails or ends within a frame; a header breaks the protocol.
    pub async fn next(
        &mut self,
        body_bytes_max: usize,
    ) -> Result<Option<(FrameType, Vec<u8>)>, FrameReadError> {
        loop {
            if self.body.is_none() {
                self.body = self.read_header(body_bytes_max).await?;
            }
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            while body.bytes.len() < body.length {
                let missing = body.length - body.bytes.len();
                let mut rest = (&mut body.bytes).limit(missing);
                if self.stream.read_buf(&mut rest).await.map_err(plainly)? == 0 {
                    return Err(ended_within().into());
                }
            }
            let Body { kind, bytes, .. } = self.body.take().expect("a body was just completed");
            if let Some(kind) = kind {
                return Ok(Some((kind, bytes)));
            }
        }
    }

    /// Whether a frame has begun and not ended.
    pub fn is_within_frame(&self) -> bool {
        self.header_filled > 0 || self.body.is_some()
    }

    async fn read_header(&mut self, body_bytes_max: usize) -> Result<Option<Body>, FrameReadError> {
        while self.header_filled < FRAME_HEADER_BYTES {
            let rest = &mut self.header[self.header_filled..];
            let read = self.stream.read(rest).await.map_err(plainly)?;
            if read == 0 && self.header_filled == 0 {
                return Ok(None);
            }
            if read == 0 {
                return Err(ended_within().into());
            }
            self.header_filled += read;
        }
        let (kind, length) = match FrameHeader::parse(self.header, body_bytes_max)? {
            FrameHeader::Known(kind, length) => (Some(kind), length),
            FrameHeader::Skippable(length) => (None, length),
        };
        self.header_filled = 0;
        let bytes = match &self.buffers {
            Some(buffers) => buffers.take(length),
            None => Vec::with_capacity(length),
        };
        Ok(Some(Body {
            kind,
            length,
            bytes,
        }))
    }
}

/// A TLS stream that ends without a farewell says so in words that help nobody.
fn plainly(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it was cut off"),
        _ => error,
    }
}

fn ended_within() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the connection ended in the middle of a message",
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn frames(bytes: &[u8]) -> Vec<Result<Option<(FrameType, Vec<u8>)>, String>> {
        let mut reader = FrameReader::new(bytes);
        let mut all = Vec::new();
        loop {
            let next = reader.next(100).await.map_err(|error| error.to_string());
            let ended = !matches!(next, Ok(Some(_)));
            all.push(next);
            if ended {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn frames_are_read_and_unknown_ones_skipped() {
        let stream = [3, 1, 0, 0, 0, 9, 200, 2, 0, 0, 0, 1, 1, 3, 0, 0, 0, 0];
        let read = frames(&stream).await;
        let expected = [
            Ok(Some((FrameType::More, vec![9]))),
            Ok(Some((FrameType::More, vec![]))),
            Ok(None),
        ];
        assert_eq!(read, expected);
    }

    #[tokio::test]
    async fn a_cut_frame_is_an_error_and_a_long_one_is_refused() {
        for end in 1..6 {
            assert!(
                frames(&[3, 1, 0, 0, 0, 9][..end])
                    .await
                    .last()
                    .unwrap()
                    .is_err()
                    || end == 6
            );
        }
        let refused = frames(&[3, 101, 0, 0, 0]).await.remove(0).unwrap_err();
        assert!(refused.contains("101 bytes"), "{refused}");
    }

    #[tokio::test]
    async fn a_dropped_call_loses_nothing() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(far);
        for byte in [3, 2, 0, 0, 0, 7] {
            near.write_all(&[byte]).await.unwrap();
            tokio::select! {
                biased;
                frame = reader.next(100) => panic!("too early: {frame:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        near.write_all(&[8]).await.unwrap();
        assert_eq!(
            reader.next(100).await.unwrap(),
            Some((FrameType::More, vec![7, 8]))
        );
    }
}
