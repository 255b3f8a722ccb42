//! What the application does with data, the same above either stack.

use std::fmt;

use bytes::Bytes;

use crate::CHUNK_BYTES;

/// Whose memory data is in.
#[derive(Clone, Copy)]
pub(crate) enum Data {
    /// The application has buffers of its own, as with sockets: one copy in, one out.
    Copied,
    /// It hands over what it has, and looks at every byte where the stack has it.
    InPlace,
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copied => "copied by the application",
            Self::InPlace => "in place",
        })
    }
}

/// A stream that repeats one chunk.
pub(crate) struct Source {
    chunk: Bytes,
    written: usize,
    end: usize,
}

impl Source {
    pub(crate) fn new(end: usize) -> Self {
        Self {
            chunk: chunk(),
            written: 0,
            end,
        }
    }

    /// What comes next, as far as it is in one piece.
    pub(crate) fn next(&self) -> Bytes {
        let at = self.written % CHUNK_BYTES;
        let length = (CHUNK_BYTES - at).min(self.end - self.written);
        self.chunk.slice(at..at + length)
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.written += bytes;
    }
}

/// The other end of it.
pub(crate) struct Sink {
    chunk: Bytes,
    buffer: Vec<u8>,
    read: usize,
}

impl Sink {
    pub(crate) fn new() -> Self {
        Self {
            chunk: chunk(),
            buffer: vec![0; CHUNK_BYTES],
            read: 0,
        }
    }

    pub(crate) fn read(&self) -> usize {
        self.read
    }

    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Takes note of what is in the buffer, and looks at its last byte.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.read += bytes;
        assert_eq!(
            self.buffer[bytes - 1],
            self.chunk[(self.read - 1) % CHUNK_BYTES]
        );
    }

    /// Looks at every byte of what came in order.
    pub(crate) fn check(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let at = self.read % CHUNK_BYTES;
            let length = data.len().min(CHUNK_BYTES - at);
            let (now, later) = data.split_at(length);
            assert!(now == &self.chunk[at..at + length], "at {}", self.read);
            self.read += length;
            data = later;
        }
    }
}

fn chunk() -> Bytes {
    (0..CHUNK_BYTES)
        .map(|at| (at * 31 + at / 251) as u8)
        .collect()
}
