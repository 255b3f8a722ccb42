//! Which groups of a file are in place, and their hashes: 33 bytes for each MiB of data that has
//! arrived, in steps of 256 groups, and a few for each run of holes, whatever size was announced.

use std::collections::BTreeMap;

use packhorse_protocol::content::{GroupHash, GroupIndex, GroupRange};

const CHUNK_GROUPS: u64 = 256;

/// The groups of one file.
#[derive(Debug, Default)]
pub(crate) struct GroupTable {
    chunks: BTreeMap<u64, Box<Chunk>>,
    /// Runs of holes: the first group of each, and the one behind its last. They neither overlap
    /// nor touch.
    holes: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Chunk {
    hashes: [[u8; 32]; CHUNK_GROUPS as usize],
    present: [bool; CHUNK_GROUPS as usize],
}

/// What is known of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupState {
    Missing,
    Hole,
    Data(GroupHash),
}

impl GroupTable {
    /// What is known of `group`.
    pub(crate) fn get(&self, group: GroupIndex) -> GroupState {
        if let Some((_, &end)) = self.holes.range(..=group.get()).next_back()
            && group.get() < end
        {
            return GroupState::Hole;
        }
        let (chunk, slot) = place(group);
        match self.chunks.get(&chunk) {
            Some(chunk) if chunk.present[slot] => {
                GroupState::Data(GroupHash::from(chunk.hashes[slot]))
            }
            _ => GroupState::Missing,
        }
    }

    /// `group` is in place with content. True if it was missing.
    pub(crate) fn set_data(&mut self, group: GroupIndex, hash: GroupHash) -> bool {
        let was_missing = self.get(group) == GroupState::Missing;
        let (chunk, slot) = place(group);
        let chunk = self.chunks.entry(chunk).or_insert_with(|| {
            Box::new(Chunk {
                hashes: [[0; 32]; 256],
                present: [false; 256],
            })
        });
        chunk.hashes[slot] = *hash.as_bytes();
        chunk.present[slot] = true;
        was_missing
    }

    /// The groups of `range`, none of which is in place yet, are holes. Returns how many.
    pub(crate) fn set_holes(&mut self, range: GroupRange) -> u64 {
        let (mut start, mut end) = (range.start(), range.end());
        if let Some((&before, &touching)) = self.holes.range(..start).next_back()
            && touching >= start
        {
            start = before;
            end = end.max(touching);
        }
        while let Some((&next, &next_end)) = self.holes.range(start..=end).next() {
            self.holes.remove(&next);
            end = end.max(next_end);
        }
        self.holes.insert(start, end);
        range.count()
    }

    /// Takes over what `other` knows of groups with content that are missing here.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (&number, chunk) in &other.chunks {
            for slot in (0..chunk.present.len()).filter(|&slot| chunk.present[slot]) {
                let group = GroupIndex::new(number * CHUNK_GROUPS + slot as u64);
                if let Some(group) = group
                    && self.get(group) == GroupState::Missing
                {
                    self.set_data(group, GroupHash::from(chunk.hashes[slot]));
                }
            }
        }
    }

    /// The groups of `range` in runs: each with whether it is a run of holes.
    pub(crate) fn runs(&self, range: GroupRange) -> Vec<(GroupRange, bool)> {
        let mut runs = Vec::new();
        let mut at = range.start();
        let mut add = |start, end, is_hole| {
            let run = GroupRange::new(start, end).filter(|run| !run.is_empty());
            runs.extend(run.map(|run| (run, is_hole)));
        };
        for (&start, &end) in &self.holes {
            let (start, end) = (start.max(at), end.min(range.end()));
            if start < end {
                add(at, start, false);
                add(start, end, true);
                at = end;
            }
        }
        add(at, range.end(), false);
        runs
    }

    /// How many groups are holes.
    pub(crate) fn holes(&self) -> u64 {
        self.holes.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether there are any holes.
    pub(crate) fn has_holes(&self) -> bool {
        !self.holes.is_empty()
    }
}

/// Adds `group`, which lies behind all of `runs`, to them.
pub(crate) fn add_to_runs(runs: &mut Vec<GroupRange>, group: GroupIndex) {
    let end = group.get() + 1;
    match runs.last_mut() {
        Some(run) if run.end() == group.get() => {
            *run = GroupRange::new(run.start(), end).unwrap_or(*run);
        }
        _ => runs.extend(GroupRange::new(group.get(), end)),
    }
}

fn place(group: GroupIndex) -> (u64, usize) {
    let slot = group.get() % CHUNK_GROUPS;
    (
        group.get() / CHUNK_GROUPS,
        usize::try_from(slot).expect("less than CHUNK_GROUPS"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(index: u64) -> GroupIndex {
        GroupIndex::new(index).unwrap()
    }

    #[test]
    fn groups_and_holes_are_kept_apart() {
        let mut table = GroupTable::default();
        let hash = GroupHash::from([7; 32]);
        assert!(table.set_data(group(300), hash));
        assert!(!table.set_data(group(300), hash));
        for (start, end) in [(0, 10), (20, 30), (10, 20), (40, 50)] {
            table.set_holes(GroupRange::new(start, end).unwrap());
        }
        assert_eq!(table.holes, BTreeMap::from([(0, 30), (40, 50)]));
        assert_eq!(table.get(group(29)), GroupState::Hole);
        assert_eq!(table.get(group(30)), GroupState::Missing);
        assert_eq!(table.get(group(300)), GroupState::Data(hash));
        assert!(table.has_holes());
        assert_eq!(table.holes(), 40);
        let range = |start, end| GroupRange::new(start, end).unwrap();
        let runs = [
            (range(5, 30), true),
            (range(30, 40), false),
            (range(40, 45), true),
        ];
        assert_eq!(table.runs(range(5, 45)), runs);
        assert_eq!(table.runs(range(31, 33)), [(range(31, 33), false)]);
    }

    #[test]
    fn tables_are_merged() {
        let hash = |byte| GroupHash::from([byte; 32]);
        let (mut new, mut old) = (GroupTable::default(), GroupTable::default());
        new.set_data(group(1), hash(1));
        old.set_data(group(1), hash(9));
        old.set_data(group(700), hash(2));
        old.set_holes(GroupRange::new(5, 9).unwrap());
        new.merge(&old);
        assert_eq!(new.get(group(1)), GroupState::Data(hash(1)));
        assert_eq!(new.get(group(700)), GroupState::Data(hash(2)));
        assert_eq!(new.get(group(5)), GroupState::Missing);
    }

    #[test]
    fn an_absurd_size_costs_nothing() {
        let mut table = GroupTable::default();
        let last = GroupRange::whole(u64::MAX);
        table.set_holes(last);
        table.set_data(group(last.end() - 1), GroupHash::from([1; 32]));
        assert_eq!((table.holes.len(), table.chunks.len()), (1, 1));
    }
}
