//! Frames: a type (u8), a length (u32, little-endian) and a body of that many bytes.

use serde::Serialize;
use thiserror::Error;

/// The bytes in front of a body.
pub const FRAME_HEADER_BYTES: usize = 5;

/// Types from here on may be skipped by a receiver that does not know them.
pub const SKIPPABLE_FROM: u8 = 128;

/// A frame's type: requests below 64, answers from 64 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "each is named after the message that it carries"
)]
pub enum FrameType {
    Hello = 1,
    Tree = 2,
    More = 3,
    CloseTree = 4,
    Fetch = 5,
    Read = 6,
    Complete = 7,
    Measure = 8,
    Welcome = 64,
    Denied = 65,
    Page = 66,
    Contents = 67,
    Group = 68,
    Hole = 69,
    Hashes = 70,
    Done = 71,
    Failed = 72,
    Filler = 73,
    Measured = 74,
}

impl FrameType {
    const ALL: [Self; 19] = [
        Self::Hello,
        Self::Tree,
        Self::More,
        Self::CloseTree,
        Self::Fetch,
        Self::Read,
        Self::Complete,
        Self::Measure,
        Self::Welcome,
        Self::Denied,
        Self::Page,
        Self::Contents,
        Self::Group,
        Self::Hole,
        Self::Hashes,
        Self::Done,
        Self::Failed,
        Self::Filler,
        Self::Measured,
    ];

    /// The type that `byte` stands for; `None` if unknown.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&known| known as u8 == byte)
    }
}

/// What a frame header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameHeader {
    /// A known type, with the length of its body in bytes.
    Known(FrameType, usize),
    /// An unknown type that may be skipped, with the length of its body in bytes.
    Skippable(usize),
}

/// A frame header that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A type that is neither known nor skippable.
    #[error("it sent a message of unknown type {0}")]
    UnknownType(u8),
    /// A body longer than allowed at this point.
    #[error("it announced a message of {length} bytes where at most {max} are allowed")]
    TooLong {
        /// The announced length.
        length: usize,
        /// What is allowed.
        max: usize,
    },
}

impl FrameHeader {
    /// Reads a header; a body may have at most `body_bytes_max` bytes.
    ///
    /// # Errors
    /// An unknown type, or a length beyond the limit.
    pub fn parse(
        bytes: [u8; FRAME_HEADER_BYTES],
        body_bytes_max: usize,
    ) -> Result<Self, FrameError> {
        let [kind, length @ ..] = bytes;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > body_bytes_max {
            return Err(FrameError::TooLong {
                length,
                max: body_bytes_max,
            });
        }
        match FrameType::from_byte(kind) {
            Some(kind) => Ok(Self::Known(kind, length)),
            None if kind >= SKIPPABLE_FROM => Ok(Self::Skippable(length)),
            None => Err(FrameError::UnknownType(kind)),
        }
    }
}

/// Builds one frame in one buffer: room for the header first, then the body, then the length.
#[derive(Debug)]
pub struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// A frame of type `kind` whose body will have about `capacity` bytes.
    #[must_use]
    pub fn new(kind: FrameType, capacity: usize) -> Self {
        Self::within(kind, Vec::with_capacity(FRAME_HEADER_BYTES + capacity))
    }

    /// A frame of type `kind` in the memory of `bytes`, whose content goes.
    #[must_use]
    pub fn within(kind: FrameType, mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&[kind as u8, 0, 0, 0, 0]);
        Self { bytes }
    }

    /// The whole buffer, header included, to append to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends an encoded message to the body.
    pub fn append<M: Serialize>(&mut self, message: &M) {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(message, bytes)
            .expect("messages hold only what postcard can write, and a Vec takes it all");
    }

    /// How many bytes the body has so far.
    #[must_use]
    pub fn body_length(&self) -> usize {
        self.bytes.len() - FRAME_HEADER_BYTES
    }

    /// The finished frame.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let length =
            u32::try_from(self.body_length()).expect("bodies are bounded by FRAME_BYTES_MAX");
        self.bytes[1..FRAME_HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked() {
        let parse = |bytes| FrameHeader::parse(bytes, 1000);
        assert_eq!(
            parse([6, 0, 0, 0, 0]),
            Ok(FrameHeader::Known(FrameType::Read, 0))
        );
        assert_eq!(
            parse([6, 0xe8, 3, 0, 0]),
            Ok(FrameHeader::Known(FrameType::Read, 1000))
        );
        assert_eq!(
            parse([6, 0xe9, 3, 0, 0]),
            Err(FrameError::TooLong {
                length: 1001,
                max: 1000
            })
        );
        assert_eq!(
            parse([200, 255, 255, 255, 255]),
            Err(FrameError::TooLong {
                length: 0xffff_ffff,
                max: 1000
            })
        );
        assert_eq!(parse([200, 1, 0, 0, 0]), Ok(FrameHeader::Skippable(1)));
        assert_eq!(parse([0, 1, 0, 0, 0]), Err(FrameError::UnknownType(0)));
        assert_eq!(parse([127, 1, 0, 0, 0]), Err(FrameError::UnknownType(127)));
    }

    #[test]
    fn a_built_frame_announces_its_length() {
        let mut frame = FrameBuilder::new(FrameType::Done, 8);
        frame.buffer().extend_from_slice(b"body");
        assert_eq!(frame.finish(), [71, 4, 0, 0, 0, b'b', b'o', b'd', b'y']);
    }
}
