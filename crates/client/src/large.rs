//! A file that comes in groups, over one connection or several.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use packhorse_protocol::content::{
    ContentHash, GroupHash, GroupIndex, GroupRange, group_count, group_length, merge_groups,
};
use packhorse_protocol::entry::Version;
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_storage::destination::LargeFile;

use crate::group_table::{GroupState, GroupTable};
use crate::plan::Wanted;

/// A group whose content is wrong is fetched again this often, over the whole file.
const DAMAGED_MAX: u32 = 64;

/// Holes whose zeros are hashed for a file whose hash is expected: a quarter of an hour for one
/// core, and a server can make a file of any size of them.
pub(crate) const HASHED_HOLES_BYTES_MAX: u64 = 1 << 40;

/// A file of which groups are on their way.
#[derive(Debug)]
pub(crate) struct LargeDownload {
    /// What is fetched.
    pub(crate) wanted: Wanted,
    target: RwLock<Option<LargeFile>>,
    found: Vec<GroupRange>,
    groups: Mutex<GroupTable>,
    /// Groups that are not in place, and reads that have not ended.
    missing: AtomicU64,
    /// Groups whose hashes are still to be compared once more.
    unchecked: AtomicU64,
    damaged: AtomicU32,
    /// It was looked at when a change could still have gone unseen.
    unsettled: AtomicBool,
    /// Groups of which nobody knows whether they were read when a change could have gone unseen.
    doubtful: Mutex<Vec<GroupRange>>,
    /// It was seen settled: whatever changes from then on shows in its version.
    settled: AtomicBool,
    given_up: AtomicBool,
}

/// What the arrival of a group means for its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More are missing.
    Partial,
    /// It was the last one.
    Whole,
}

/// What is in front of a file whose groups are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another version exists by now.
    Changed,
    /// A change may have gone unseen: compare the hashes of all groups.
    Unsure,
    /// It may have its name.
    Confirmed,
}

impl LargeDownload {
    /// A download of `wanted` into `target`.
    pub(crate) fn new(wanted: Wanted, target: LargeFile) -> Self {
        Self {
            missing: AtomicU64::new(group_count(wanted.info.size)),
            wanted,
            found: target.found().to_vec(),
            target: RwLock::new(Some(target)),
            groups: Mutex::default(),
            unchecked: AtomicU64::new(0),
            damaged: AtomicU32::new(0),
            unsettled: AtomicBool::new(false),
            doubtful: Mutex::default(),
            settled: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        }
    }

    /// All its groups.
    pub(crate) fn range(&self) -> GroupRange {
        GroupRange::whole(self.wanted.info.size)
    }

    /// The groups of which an earlier run, or an earlier attempt, has written something, in runs.
    pub(crate) fn found(&self) -> &[GroupRange] {
        &self.found
    }

    /// Whether `version` is the one that is being fetched.
    pub(crate) fn is_version(&self, version: Version) -> bool {
        version == self.wanted.info.version
    }

    /// Whether `bytes` are what the server says group `index` holds.
    pub(crate) fn is_intact(&self, index: GroupIndex, bytes: &[u8], hash: GroupHash) -> bool {
        bytes.len() == group_length(index, self.wanted.info.size)
            && GroupHash::of(index, self.wanted.info.size, bytes) == hash
    }

    /// Does something with the file that is being written; `None` once it was finished or given up.
    /// Many may do so at once, since groups are written at their own offsets.
    pub(crate) fn with_target<T>(&self, act: impl FnOnce(&LargeFile) -> T) -> Option<T> {
        self.target
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(act)
    }

    /// Takes the file that was written, to give it its name.
    pub(crate) fn take_target(&self) -> Option<LargeFile> {
        self.target
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// A group is in place.
    pub(crate) fn handle_group(&self, index: GroupIndex, hash: GroupHash) -> Progress {
        let was_missing = self.groups().set_data(index, hash);
        self.count_down(u64::from(was_missing))
    }

    /// Groups are holes, and so in place.
    pub(crate) fn handle_hole(&self, range: GroupRange) -> Progress {
        let were_missing = self.groups().set_holes(range);
        self.count_down(were_missing)
    }

    /// A group came damaged. False if that has happened too often.
    pub(crate) fn handle_damaged(&self) -> bool {
        self.damaged.fetch_add(1, Ordering::Relaxed) < DAMAGED_MAX
    }

    /// A `Read` of some groups begins; the file is not whole before its answer has ended. Returns
    /// whether the file was seen settled before.
    pub(crate) fn begin_read(&self) -> bool {
        self.missing.fetch_add(1, Ordering::AcqRel);
        self.settled.load(Ordering::Acquire)
    }

    /// The answer to a `Read` has ended; `settled` is what it said of the file's state at its start.
    pub(crate) fn end_read(&self, settled: bool) -> Progress {
        if settled {
            self.settled.store(true, Ordering::Release);
        } else {
            self.handle_unsettled();
        }
        self.count_down(1)
    }

    /// The answer to a `Read` was lost. The groups in `doubtful` came, but not what would have been
    /// said of the file's state behind them.
    pub(crate) fn handle_lost_read(&self, doubtful: GroupRange) -> Progress {
        if !doubtful.is_empty() {
            self.doubtful().push(doubtful);
        }
        self.count_down(1)
    }

    /// Some of its groups may have changed without a trace since they were read.
    pub(crate) fn handle_unsettled(&self) {
        self.unsettled.store(true, Ordering::Release);
    }

    /// The groups that are to be compared with the server's once more, in runs: each with whether
    /// it is a run of holes.
    ///
    /// All of them, or those that are doubtful while the others were read from a settled file: any
    /// change since then shows, so that what the doubtful ones are found to be now, they were then.
    pub(crate) fn begin_recheck(&self) -> Vec<(GroupRange, bool)> {
        let ranges = match self.unsettled.load(Ordering::Acquire) {
            true => vec![self.range()],
            false => self.doubtful().clone(),
        };
        let count = ranges.iter().map(|range| range.count()).sum();
        self.unchecked.store(count, Ordering::Release);
        let groups = self.groups();
        let runs = ranges.into_iter().flat_map(|range| groups.runs(range));
        runs.collect()
    }

    /// The hashes of `count` groups were found as they should be. True once all were: it no longer
    /// matters what could have gone unseen.
    pub(crate) fn handle_rechecked(&self, count: u64) -> bool {
        let all = self.unchecked.fetch_sub(count, Ordering::AcqRel) == count;
        if all {
            self.unsettled.store(false, Ordering::Release);
            self.doubtful().clear();
        }
        all
    }

    /// What the file's version at the end means.
    pub(crate) fn judge(&self, version_now: Version) -> Verdict {
        if !self.is_version(version_now) {
            Verdict::Changed
        } else if self.unsettled.load(Ordering::Acquire) || !self.doubtful().is_empty() {
            Verdict::Unsure
        } else {
            Verdict::Confirmed
        }
    }

    /// Whether its holes are so many that nobody should compute its hash.
    pub(crate) fn is_hollow(&self) -> bool {
        self.groups().holes() > HASHED_HOLES_BYTES_MAX / GROUP_BYTES as u64
    }

    /// Whether some of its groups are holes, whose hashes nobody has computed.
    pub(crate) fn has_holes(&self) -> bool {
        self.groups().has_holes()
    }

    /// Nothing more is to be done for this file; what was written is kept for another attempt, or
    /// for another run. True for whoever says so first.
    pub(crate) fn give_up(&self) -> bool {
        let first = !self.given_up.swap(true, Ordering::AcqRel);
        drop(self.take_target());
        first
    }

    /// As [`give_up`](Self::give_up), but nothing is kept.
    pub(crate) fn discard(&self) -> bool {
        let first = !self.given_up.swap(true, Ordering::AcqRel);
        if let Some(target) = self.take_target() {
            target.discard();
        }
        first
    }

    /// Whether `group` was in place in an earlier attempt, and so was counted.
    pub(crate) fn was_counted(&self, group: GroupIndex) -> bool {
        let before = self.wanted.counted.as_ref();
        before.is_some_and(|before| before.get(group) != GroupState::Missing)
    }

    /// What another attempt at this file, which was given up, begins with.
    pub(crate) fn next_attempt(&self) -> Wanted {
        let mut table = std::mem::take(&mut *self.groups());
        if let Some(before) = &self.wanted.counted {
            table.merge(before);
        }
        Wanted {
            counted: Some(Arc::new(table)),
            ..self.wanted.clone()
        }
    }

    /// Whether it was given up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// The hash of a group that is in place; that of zeros for a hole.
    pub(crate) fn hash_of(&self, index: GroupIndex) -> GroupHash {
        static ZEROS: [u8; GROUP_BYTES] = [0; GROUP_BYTES];
        let state = self.groups().get(index);
        match state {
            GroupState::Data(hash) => hash,
            GroupState::Hole | GroupState::Missing => {
                let size = self.wanted.info.size;
                GroupHash::of(index, size, &ZEROS[..group_length(index, size)])
            }
        }
    }

    /// The hash of the whole file, all of whose groups are in place.
    pub(crate) fn content_hash(&self) -> ContentHash {
        let hashes: Vec<_> = self
            .range()
            .iter()
            .map(|group| self.hash_of(group))
            .collect();
        merge_groups(&hashes)
    }

    fn doubtful(&self) -> MutexGuard<'_, Vec<GroupRange>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, GroupTable> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_down(&self, count: u64) -> Progress {
        if count > 0 && self.missing.fetch_sub(count, Ordering::AcqRel) == count {
            Progress::Whole
        } else {
            Progress::Partial
        }
    }
}
