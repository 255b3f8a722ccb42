//! What is in order and waits for the user.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

/// Pieces below this are gathered: a piece holds on to the whole packet it came in.
pub(super) const GATHERED_BELOW_BYTES: usize = 512;

/// Gathered bytes become a piece of their own at this size.
const GATHERED_PIECE_BYTES: usize = 16 << 10;

/// Pieces of packets, in order; small ones copied together.
#[derive(Default)]
pub(super) struct ReadQueue {
    pieces: VecDeque<Bytes>,
    gathered: Vec<u8>,
    len: u64,
}

impl ReadQueue {
    #[inline]
    pub(super) fn push(&mut self, piece: Bytes) {
        self.len += piece.len() as u64;
        if piece.len() < GATHERED_BELOW_BYTES {
            self.gathered.extend_from_slice(&piece);
            if self.gathered.len() >= GATHERED_PIECE_BYTES {
                self.close_gathered();
            }
        } else {
            self.close_gathered();
            self.pieces.push_back(piece);
        }
    }

    /// The next bytes, at most `bytes_max` and at most one piece; empty if there are none.
    pub(super) fn pop(&mut self, bytes_max: usize) -> Bytes {
        if self.pieces.is_empty() {
            self.close_gathered();
        }
        let data = match self.pieces.front_mut() {
            Some(first) if first.len() > bytes_max => first.split_to(bytes_max),
            _ => self.pieces.pop_front().unwrap_or_default(),
        };
        self.len -= data.len() as u64;
        data
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            let piece = core::mem::take(&mut self.gathered);
            self.pieces.push_back(piece.into());
        }
    }
}

/// Without the data, which is the user's.
impl fmt::Debug for ReadQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ReadQueue({} bytes in {} pieces)",
            self.len,
            self.pieces.len()
        )
    }
}
