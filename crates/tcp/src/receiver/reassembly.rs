//! What has arrived before what belongs in front of it.

use alloc::collections::BTreeMap;
use core::fmt;
use core::ops::Range;

use bytes::Bytes;

use super::read_queue::GATHERED_BELOW_BYTES;
use crate::range_set::RangeSet;

/// Pieces that do not overlap, within the window and bounded in number.
///
/// A piece beyond the bound is dropped as if the network had lost it. What is held is
/// never dropped again: the peer was told of it (RFC 2018 §8 would allow it).
pub(super) struct Reassembly {
    pieces: BTreeMap<u64, Bytes>,
    runs: RangeSet,
    pieces_max: usize,
    /// Pieces looked at one by one.
    steps: u64,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The first part of it that was there already.
    pub(super) duplicate: Option<Range<u64>>,
    /// Parts that were dropped.
    pub(super) dropped: u64,
}

impl Reassembly {
    pub(super) fn new(pieces_max: usize) -> Self {
        Self {
            pieces: BTreeMap::new(),
            runs: RangeSet::default(),
            pieces_max,
            steps: 0,
        }
    }

    /// Keeps `piece`, which begins at `start`; of bytes that came twice, the first.
    pub(super) fn insert(&mut self, start: u64, piece: Bytes) -> Kept {
        let whole = start..start + piece.len() as u64;
        let gaps = self.runs.gaps(whole.clone());
        let mut dropped = 0;
        self.steps += gaps.len() as u64;
        for gap in &gaps {
            if self.pieces.len() >= self.pieces_max {
                dropped += 1;
                continue;
            }
            let part = piece.slice(super::offset(start, gap.start)..super::offset(start, gap.end));
            let part = if part.len() < GATHERED_BELOW_BYTES {
                // Small pieces would otherwise hold on to whole packets.
                Bytes::copy_from_slice(&part)
            } else {
                part
            };
            self.pieces.insert(gap.start, part);
            self.runs.insert(gap.clone());
        }
        Kept {
            duplicate: first_outside(&whole, &gaps),
            dropped,
        }
    }

    /// The FIN at `position` is known, and something is missing before it.
    ///
    /// It takes sequence space, so the peer is told of it as of data (RFC 2018 §3).
    pub(super) fn insert_fin(&mut self, position: u64) {
        self.runs.insert(position..position + 1);
    }

    /// Nothing before `next` is missing any more.
    pub(super) fn remove_before(&mut self, next: u64) {
        self.runs.remove_before(next);
    }

    /// Takes out what is held from `next` on, which nothing is missing before.
    pub(super) fn pop(&mut self, next: u64) -> Option<Bytes> {
        loop {
            let first = self.pieces.first_entry()?;
            if *first.key() > next {
                return None;
            }
            let (start, piece) = first.remove_entry();
            self.steps += 1;
            let end = start + piece.len() as u64;
            self.runs.remove_before(end.max(next));
            // The peer may have cut the same bytes in another way since.
            if end > next {
                return Some(piece.slice(super::offset(start, next)..));
            }
        }
    }

    /// The run of bytes around `position`.
    pub(super) fn run_at(&self, position: u64) -> Option<Range<u64>> {
        self.runs.run_at(position)
    }

    /// Pieces looked at one by one so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Behind the last byte held.
    pub(super) fn end(&self) -> Option<u64> {
        let (start, piece) = self.pieces.last_key_value()?;
        Some(start + piece.len() as u64)
    }

    /// Whether no data is held and no FIN is known behind a hole.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.runs.clear();
    }
}

/// Without the data, which is the user's.
impl fmt::Debug for Reassembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Reassembly({:?} in {} pieces)",
            self.runs,
            self.pieces.len()
        )
    }
}

/// The first part of `whole` that lies in none of `gaps`.
fn first_outside(whole: &Range<u64>, gaps: &[Range<u64>]) -> Option<Range<u64>> {
    let mut start = whole.start;
    let mut gaps = gaps.iter();
    let mut gap = gaps.next();
    if let Some(first) = gap
        && first.start == start
    {
        start = first.end;
        gap = gaps.next();
    }
    let end = gap.map_or(whole.end, |gap| gap.start);
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn bytes(range: Range<u64>) -> Bytes {
        range.map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
    }

    #[test]
    fn the_first_duplicate_part_is_found() {
        let mut reassembly = Reassembly::new(100);
        for (range, duplicate) in [
            (100..200, None),
            (300..400, None),
            (150..350, Some(150..200)),
            (120..130, Some(120..130)),
            (50..120, Some(100..120)),
            (390..500, Some(390..400)),
        ] {
            let kept = reassembly.insert(range.start, bytes(range.clone()));
            assert_eq!(kept.duplicate, duplicate, "{range:?}");
        }
        assert_eq!(reassembly.run_at(77), Some(50..500));
    }

    #[test]
    fn beyond_the_bound_pieces_are_dropped() {
        let mut reassembly = Reassembly::new(2);
        for (start, dropped) in [(10, 0), (20, 0), (30, 1), (10, 0)] {
            assert_eq!(
                reassembly.insert(start, bytes(start..start + 5)).dropped,
                dropped
            );
        }
        assert_eq!(reassembly.end(), Some(25));
        assert!(reassembly.pop(10).is_some());
        assert_eq!(reassembly.insert(30, bytes(30..35)).dropped, 0);
    }

    proptest! {
        #[test]
        fn every_byte_comes_out_once_and_in_order(
            pieces in prop::collection::vec((0_u64..3_000, 0_u64..900), 0..60),
        ) {
            let mut reassembly = Reassembly::new(1_000);
            let mut model = vec![false; 4_000];
            for (start, span) in pieces {
                reassembly.insert(start, bytes(start..start + span));
                model[start as usize..(start + span) as usize].fill(true);
            }
            let mut at = 0;
            while at < 4_000 {
                match reassembly.pop(at) {
                    Some(piece) => {
                        let end = at + piece.len() as u64;
                        prop_assert_eq!(&piece, &bytes(at..end));
                        prop_assert!(model[at as usize..end as usize].iter().all(|held| *held));
                        model[at as usize..end as usize].fill(false);
                        at = end;
                    }
                    None => at += 1,
                }
            }
            prop_assert!(reassembly.is_empty());
            prop_assert!(model.iter().all(|held| !held));
        }
    }
}
