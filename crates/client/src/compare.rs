//! A file that is there already, compared group by group with the server's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_protocol::content::{GroupHash, GroupIndex, GroupRange, group_count, group_length};
use packhorse_storage::destination::{EntryError, ExistingFile};

use crate::group_table::{GroupState, GroupTable};
use crate::plan::Wanted;

/// A comparison under way.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The file on the server.
    pub(crate) wanted: Wanted,
    /// The file that is there.
    pub(crate) existing: ExistingFile,
    equal: Mutex<GroupTable>,
    equal_count: AtomicU64,
    missing: AtomicU64,
    given_up: AtomicBool,
}

impl Comparison {
    /// Compares `wanted` with `existing`.
    pub(crate) fn new(wanted: Wanted, existing: ExistingFile) -> Self {
        Self {
            missing: AtomicU64::new(group_count(wanted.info.size)),
            wanted,
            existing,
            equal: Mutex::default(),
            equal_count: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
        }
    }

    /// The server's hashes of `range` have come. True once those of all groups have.
    pub(crate) fn handle_hashes(
        &self,
        range: GroupRange,
        hashes: &[GroupHash],
    ) -> Result<bool, EntryError> {
        let mut buffer = Vec::new();
        for (group, &hash) in range.iter().zip(hashes) {
            if self.has_group(group) {
                self.existing.read_group(group, &mut buffer)?;
                if GroupHash::of(group, self.wanted.info.size, &buffer) == hash {
                    self.equal().set_data(group, hash);
                    self.equal_count.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
        Ok(self.missing.fetch_sub(range.count(), Ordering::AcqRel) == range.count())
    }

    /// Whether the two files have the same content, once all was compared.
    pub(crate) fn is_same(&self) -> bool {
        let size = self.wanted.info.size;
        self.existing.size() == size
            && self.equal_count.load(Ordering::Acquire) == group_count(size)
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

    /// Whether the file that is there has a group of the same length in this place.
    fn has_group(&self, group: GroupIndex) -> bool {
        let length = group_length(group, self.wanted.info.size);
        length > 0 && length == group_length(group, self.existing.size())
    }

    fn equal(&self) -> MutexGuard<'_, GroupTable> {
        self.equal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
