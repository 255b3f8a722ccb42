//! What the user has written and the peer has not acknowledged.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::seq::SequenceSpace;

/// Writes below this are gathered, so that a rope of single bytes cannot form.
const GATHERED_BELOW_BYTES: usize = 1_024;

/// Gathered bytes become a piece of the rope at this size.
const GATHERED_PIECE_BYTES: usize = 16 << 10;

/// A rope of the user's own buffers, addressed by position in the sequence space.
pub(crate) struct SendBuffer {
    /// Each with the position of its first byte; without gaps, in order.
    pieces: VecDeque<(u64, Bytes)>,
    /// Small writes, behind the last piece.
    gathered: Vec<u8>,
    start: u64,
    end: u64,
    capacity: u64,
}

impl SendBuffer {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            pieces: VecDeque::new(),
            gathered: Vec::new(),
            start: SequenceSpace::ORIGIN + 1,
            end: SequenceSpace::ORIGIN + 1,
            capacity,
        }
    }

    /// Where the next byte written will be.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// What can be written now.
    pub(crate) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.end - self.start)
    }

    /// Takes as much of `data` as there is room for, and says how much.
    pub(crate) fn write(&mut self, mut data: Bytes) -> usize {
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        data.truncate(room);
        let accepted = data.len();
        if accepted < GATHERED_BELOW_BYTES {
            self.gathered.extend_from_slice(&data);
            self.end += accepted as u64;
            if self.gathered.len() >= GATHERED_PIECE_BYTES {
                self.close_gathered();
            }
        } else {
            self.close_gathered();
            self.pieces.push_back((self.end, data));
            self.end += accepted as u64;
        }
        accepted
    }

    /// The bytes from `from` to `to`, copied only where they lie in more than one piece.
    ///
    /// Both ends are clipped to what is held.
    pub(crate) fn slice(&self, from: u64, to: u64) -> Bytes {
        let from = from.clamp(self.start, self.end);
        let to = to.clamp(from, self.end);
        let first = self.pieces.partition_point(|(at, _)| *at <= from);
        if let Some((at, piece)) = first.checked_sub(1).and_then(|i| self.pieces.get(i))
            && to <= at + piece.len() as u64
        {
            return piece.slice(offset(*at, from)..offset(*at, to));
        }
        let mut copy = Vec::with_capacity(offset(from, to));
        for (at, piece) in self.pieces.iter().skip(first.saturating_sub(1)) {
            if *at >= to {
                break;
            }
            append_overlap(&mut copy, *at, piece, from, to);
        }
        append_overlap(&mut copy, self.gathered_start(), &self.gathered, from, to);
        copy.into()
    }

    /// How many bytes from `from` on `slice` gives without copying.
    pub(crate) fn contiguous(&self, from: u64) -> u64 {
        let first = self.pieces.partition_point(|(at, _)| *at <= from);
        let piece = first.checked_sub(1).and_then(|i| self.pieces.get(i));
        piece.map_or(0, |(at, piece)| {
            (at + piece.len() as u64).saturating_sub(from)
        })
    }

    /// Lets go of what lies before `position`.
    pub(crate) fn release(&mut self, position: u64) {
        let position = position.clamp(self.start, self.end);
        self.start = position;
        while let Some((at, piece)) = self.pieces.front()
            && at + piece.len() as u64 <= position
        {
            self.pieces.pop_front();
        }
        if self.start == self.end {
            self.gathered.clear();
        }
    }

    /// Gives back the memory of what is empty.
    pub(crate) fn shed(&mut self) {
        self.pieces.shrink_to_fit();
        if self.gathered.is_empty() {
            self.gathered = Vec::new();
        }
    }

    fn gathered_start(&self) -> u64 {
        self.end - self.gathered.len() as u64
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            let at = self.gathered_start();
            let piece = core::mem::take(&mut self.gathered);
            self.pieces.push_back((at, piece.into()));
        }
    }
}

/// Without the data, which is the user's.
impl fmt::Debug for SendBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, .. } = self;
        write!(
            f,
            "SendBuffer({start}..{end} in {} pieces)",
            self.pieces.len()
        )
    }
}

/// Appends to `copy` what `piece`, which begins at `at`, has between `from` and `to`.
fn append_overlap(copy: &mut Vec<u8>, at: u64, piece: &[u8], from: u64, to: u64) {
    let end = at + piece.len() as u64;
    let (from, to) = (from.max(at), to.min(end));
    if from < to {
        copy.extend_from_slice(&piece[offset(at, from)..offset(at, to)]);
    }
}

/// The distance between two positions of one buffer, which memory holds.
fn offset(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    const FIRST: u64 = SequenceSpace::ORIGIN + 1;

    #[test]
    fn a_slice_within_one_write_is_not_copied() {
        let mut buffer = SendBuffer::new(1 << 20);
        let data = Bytes::from(vec![7; 10_000]);
        assert_eq!(buffer.write(data.clone()), 10_000);
        let slice = buffer.slice(FIRST + 100, FIRST + 1_560);
        assert_eq!(slice.as_ptr(), data[100..].as_ptr());
    }

    #[test]
    fn no_more_is_accepted_than_fits() {
        let mut buffer = SendBuffer::new(1_500);
        assert_eq!(buffer.write(Bytes::from(vec![1; 1_200])), 1_200);
        assert_eq!(buffer.write(Bytes::from(vec![2; 1_200])), 300);
        assert_eq!(buffer.write(Bytes::from(vec![3; 1])), 0);
        buffer.release(FIRST + 1_000);
        assert_eq!(buffer.room(), 1_000);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_vector_holds(
            steps in prop::collection::vec((0_usize..3_000, 0_u64..3_000, 0_u64..4_000), 1..40),
        ) {
            let mut buffer = SendBuffer::new(20_000);
            let mut all = vec![];
            let mut released = 0;
            for (length, at, span) in steps {
                let data: Vec<u8> = (all.len()..all.len() + length).map(|i| (i % 251) as u8).collect();
                let accepted = buffer.write(data.clone().into());
                all.extend_from_slice(&data[..accepted]);
                let from = (released + at).min(all.len() as u64);
                let to = (from + span).min(all.len() as u64);
                let slice = buffer.slice(FIRST + from, FIRST + to);
                prop_assert_eq!(&slice[..], &all[from as usize..to as usize]);
                released = from;
                buffer.release(FIRST + from);
                prop_assert_eq!(buffer.room(), 20_000 - (all.len() as u64 - released));
            }
        }
    }
}
