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

/// What every byte is: the tests of either stack see to their order.
const BYTE: u8 = 7;

/// A stream of so many bytes.
pub(crate) struct Source {
    chunk: Bytes,
    left: usize,
}

impl Source {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            chunk: vec![BYTE; CHUNK_BYTES].into(),
            left: bytes,
        }
    }

    /// What comes next, a chunk at most.
    pub(crate) fn next(&self) -> Bytes {
        self.chunk.slice(..CHUNK_BYTES.min(self.left))
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.left -= bytes;
    }
}

/// The other end of it.
pub(crate) struct Sink {
    expected: Vec<u8>,
    buffer: Vec<u8>,
    read: usize,
}

impl Sink {
    pub(crate) fn new() -> Self {
        Self {
            expected: vec![BYTE; CHUNK_BYTES],
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
        assert_eq!(self.buffer[bytes - 1], BYTE);
    }

    /// Looks at every byte of what came in order.
    pub(crate) fn check(&mut self, data: &[u8]) {
        self.read += data.len();
        for data in data.chunks(CHUNK_BYTES) {
            assert!(data == &self.expected[..data.len()], "before {}", self.read);
        }
    }
}
