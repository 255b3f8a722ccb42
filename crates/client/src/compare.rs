//! A file that is there already, compared group by group with the server's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_protocol::content::{ContentHash, GroupHash, GroupIndex, GroupRange, merge_groups};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_storage::destination::{EntryError, ExistingFile};

use crate::group_table::{GroupState, GroupTable};
use crate::plan::{Candidate, Wanted};

/// A comparison under way.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The file on the server.
    pub(crate) wanted: Wanted,
    /// Where the file that is there is.
    pub(crate) candidate: Candidate,
    /// The file that is there.
    pub(crate) existing: ExistingFile,
    equal: Mutex<GroupTable>,
    equal_count: AtomicU64,
    missing: AtomicU64,
    /// Reads of hashes whose answers have not ended.
    reads_open: AtomicU64,
    /// Some hashes were taken when a change could still have gone unseen.
    unsettled: AtomicBool,
    given_up: AtomicBool,
}

impl Comparison {
    /// Compares `wanted` with `existing`, which is at `candidate`.
    pub(crate) fn new(wanted: Wanted, candidate: Candidate, existing: ExistingFile) -> Self {
        let mut comparison = Self {
            wanted,
            candidate,
            existing,
            equal: Mutex::default(),
            equal_count: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            reads_open: AtomicU64::new(0),
            unsettled: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        };
        *comparison.missing.get_mut() = comparison.range().count();
        comparison
    }

    /// The groups that are compared: those that both files have, and of the same length.
    pub(crate) fn range(&self) -> GroupRange {
        let (ours, theirs) = (self.existing.size(), self.wanted.info.size);
        if ours == theirs {
            return GroupRange::whole(ours);
        }
        let common = ours.min(theirs) / GROUP_BYTES as u64;
        GroupRange::new(0, common).unwrap_or(GroupRange::EMPTY)
    }

    /// A read of some hashes begins. Returns whether what is read is known to be settled: never.
    pub(crate) fn begin_read(&self) -> bool {
        self.reads_open.fetch_add(1, Ordering::AcqRel);
        false
    }

    /// The answer to a read has ended; `settled` is what it said of the file's state at its start,
    /// or whether that does not matter.
    pub(crate) fn end_read(&self, settled: bool) {
        if !settled {
            self.unsettled.store(true, Ordering::Release);
        }
        self.reads_open.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether all hashes are known to have been taken from a settled file.
    pub(crate) fn was_settled(&self) -> bool {
        self.reads_open.load(Ordering::Acquire) == 0 && !self.unsettled.load(Ordering::Acquire)
    }

    /// The server's hashes of `range` have come. True once those of all groups have.
    pub(crate) fn handle_hashes(
        &self,
        range: GroupRange,
        hashes: &[GroupHash],
    ) -> Result<bool, EntryError> {
        let mut buffer = Vec::new();
        for (group, &hash) in range.iter().zip(hashes) {
            self.existing.read_group(group, &mut buffer)?;
            if GroupHash::of(group, self.wanted.info.size, &buffer) == hash {
                self.equal().set_data(group, hash);
                self.equal_count.fetch_add(1, Ordering::AcqRel);
            }
        }
        Ok(self.missing.fetch_sub(range.count(), Ordering::AcqRel) == range.count())
    }

    /// Whether the two files have the same content, once all was compared.
    pub(crate) fn is_same(&self) -> bool {
        self.existing.size() == self.wanted.info.size
            && self.equal_count.load(Ordering::Acquire) == self.range().count()
    }

    /// The hash of both files, once they were found to be the same.
    pub(crate) fn content_hash(&self) -> ContentHash {
        let hashes = self
            .range()
            .iter()
            .filter_map(|group| self.equal_group(group));
        merge_groups(&hashes.collect::<Vec<_>>())
    }

    /// The hash of `group` if both files have it alike.
    pub(crate) fn equal_group(&self, group: GroupIndex) -> Option<GroupHash> {
        match self.equal().get(group) {
            GroupState::Data(hash) => Some(hash),
            GroupState::Missing | GroupState::Hole => None,
        }
    }

    /// Nothing more is to be done for this file. True for whoever says so first.
    pub(crate) fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::AcqRel)
    }

    /// Whether it was given up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    fn equal(&self) -> MutexGuard<'_, GroupTable> {
        self.equal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
