//! Which SACK blocks a segment carries, and in which order (RFC 2018 §4, RFC 2883 §4).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use super::reassembly::Reassembly;

/// Arrivals remembered: more than fit, so that blocks that have grown together can be replaced.
const RECENT_MAX: usize = 8;

/// The latest arrivals out of order, and the latest duplicate.
#[derive(Debug, Default)]
pub(super) struct SackReport {
    /// A position in each block, the latest first.
    recent: VecDeque<u64>,
    duplicate: Option<Range<u64>>,
}

impl SackReport {
    /// A segment that begins at `position` arrived out of order.
    pub(super) fn on_arrival(&mut self, position: u64) {
        self.recent.retain(|known| *known != position);
        self.recent.push_front(position);
        self.recent.truncate(RECENT_MAX);
    }

    /// `range` arrived again.
    pub(super) fn on_duplicate(&mut self, range: Range<u64>) {
        self.duplicate = Some(range);
    }

    /// A duplicate is reported once (RFC 2883 §4).
    pub(super) fn on_sent(&mut self) {
        self.duplicate = None;
    }

    pub(super) fn has_duplicate(&self) -> bool {
        self.duplicate.is_some()
    }

    /// At most `count_max` blocks: the duplicate, then the runs that arrived last.
    pub(super) fn blocks(
        &self,
        next: u64,
        reassembly: &Reassembly,
        count_max: usize,
    ) -> Vec<Range<u64>> {
        let mut blocks: Vec<Range<u64>> = self.duplicate.iter().cloned().collect();
        let duplicates = blocks.len();
        for position in self.recent.iter().filter(|position| **position >= next) {
            if let Some(run) = reassembly.run_at(*position)
                && !blocks[duplicates..].contains(&run)
            {
                blocks.push(run);
            }
        }
        blocks.truncate(count_max);
        blocks
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn arrive(report: &mut SackReport, reassembly: &mut Reassembly, range: Range<u64>) {
        let length = (range.end - range.start) as usize;
        let kept = reassembly.insert(range.start, Bytes::from(alloc::vec![0; length]));
        report.on_arrival(range.start);
        if let Some(duplicate) = kept.duplicate {
            report.on_duplicate(duplicate);
        }
    }

    /// Behaviour 11: order of SACK blocks, D-SACK first.
    #[test]
    fn sack_blocks_are_in_order_of_arrival_and_dsack_comes_first() {
        let (mut report, mut reassembly) = (SackReport::default(), Reassembly::new(100));
        // RFC 2018 §4, example 2: every other segment is lost.
        for start in [5_500, 6_500, 7_500, 8_500] {
            arrive(&mut report, &mut reassembly, start..start + 500);
        }
        let blocks = |report: &SackReport, reassembly: &Reassembly| {
            let blocks = report.blocks(5_000, reassembly, 3);
            blocks
                .into_iter()
                .map(|run| (run.start, run.end))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            blocks(&report, &reassembly),
            [(8_500, 9_000), (7_500, 8_000), (6_500, 7_000)]
        );
        // A segment between two blocks joins them, and the joined block is the latest.
        arrive(&mut report, &mut reassembly, 6_000..6_500);
        assert_eq!(
            blocks(&report, &reassembly),
            [(5_500, 7_000), (8_500, 9_000), (7_500, 8_000)]
        );
        // RFC 2883 §4.2.2: a duplicate within a block, then the block, then the others.
        arrive(&mut report, &mut reassembly, 7_500..8_000);
        assert_eq!(
            blocks(&report, &reassembly),
            [(7_500, 8_000), (7_500, 8_000), (5_500, 7_000)]
        );
        report.on_sent();
        assert_eq!(
            blocks(&report, &reassembly),
            [(7_500, 8_000), (5_500, 7_000), (8_500, 9_000)]
        );
    }
}
