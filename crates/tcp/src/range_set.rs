//! A set of positions, kept as runs.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// Disjoint runs of positions that do not touch each other.
#[derive(Debug, Default)]
pub(crate) struct RangeSet {
    /// From each run's first position to the one behind its last.
    runs: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// Adds `range`, joining it with the runs that it touches.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        if let Some((&before, &before_end)) = self.runs.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.runs.range(start..=end).next() {
            self.runs.remove(&next);
            end = end.max(next_end);
        }
        self.runs.insert(start, end);
    }

    /// Removes every position before `position`.
    pub(crate) fn remove_before(&mut self, position: u64) {
        while let Some(run) = self.runs.first_entry()
            && *run.key() < position
        {
            let end = run.remove();
            if end > position {
                self.runs.insert(position, end);
            }
        }
    }

    /// The parts of `range` that are not in the set.
    pub(crate) fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        if let Some((_, &end)) = self.runs.range(..=at).next_back() {
            at = at.max(end);
        }
        for (&start, &end) in self.runs.range(range.start..range.end.max(range.start)) {
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// The run that holds `position`.
    pub(crate) fn run_at(&self, position: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.runs.range(..=position).next_back()?;
        (position < end).then_some(start..end)
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(
            steps in prop::collection::vec((0_u64..100, 0_u64..12, 0_u64..100), 1..50),
            cut in 0_u64..100,
        ) {
            let mut set = RangeSet::default();
            let mut model = BTreeSet::new();
            for (at, span, ask) in steps {
                set.insert(at..at + span);
                model.extend(at..at + span);
                let gaps: Vec<u64> = set.gaps(ask..ask + 20).into_iter().flatten().collect();
                let missing: Vec<u64> = (ask..ask + 20).filter(|at| !model.contains(at)).collect();
                prop_assert_eq!(gaps, missing);
                let run = set.run_at(ask);
                prop_assert_eq!(run.is_some(), model.contains(&ask));
                if let Some(run) = run {
                    prop_assert!(run.clone().all(|at| model.contains(&at)));
                    prop_assert!(!model.contains(&run.end));
                }
            }
            set.remove_before(cut);
            model.retain(|at| *at >= cut);
            let missing: Vec<u64> = set.gaps(0..200).into_iter().flatten().collect();
            prop_assert_eq!(missing, (0..200).filter(|at| !model.contains(at)).collect::<Vec<_>>());
        }
    }
}
