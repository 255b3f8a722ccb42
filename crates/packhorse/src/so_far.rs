//! What a download has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

use packhorse_client::report::{FetchedAgain, Totals};
use serde::Serialize;

use crate::byte_count::ByteCount;
use crate::text::{Text, fetching};

/// What has been done at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SoFar {
    pub(crate) files_seen: u64,
    pub(crate) bytes_seen: u64,
    pub(crate) listing_ended: bool,
    pub(crate) files_fetched: u64,
    pub(crate) bytes_fetched: u64,
    pub(crate) files_kept: u64,
    pub(crate) bytes_kept: u64,
    pub(crate) bytes_resumed: u64,
    pub(crate) again: Again,
    pub(crate) half_done: u64,
    pub(crate) half_done_bytes: u64,
    pub(crate) unfinished: u64,
    pub(crate) links: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) taken: u64,
    pub(crate) damaged: u64,
}

/// Bytes that were fetched though they had been fetched before, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Again {
    /// They came damaged.
    pub(crate) damaged: u64,
    /// What an interrupted run has left is not what the server has.
    pub(crate) differing: u64,
    /// The file changed on the server.
    pub(crate) changed: u64,
    /// The disk did not confirm that it has them.
    pub(crate) unconfirmed: u64,
}

impl Again {
    fn of(again: &FetchedAgain) -> Self {
        let FetchedAgain {
            damaged,
            differing,
            changed,
            unconfirmed,
        } = again;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self {
            damaged: read(damaged),
            differing: read(differing),
            changed: read(changed),
            unconfirmed: read(unconfirmed),
        }
    }

    /// What was fetched twice, each with why; `None` if nothing was.
    pub(crate) fn words(self) -> Option<Text> {
        let whys = [
            (self.damaged, fetching::damaged as fn(_) -> _),
            (self.differing, fetching::differing),
            (self.changed, fetching::changed),
            (self.unconfirmed, fetching::unconfirmed),
        ];
        let whys = whys.into_iter().filter(|(bytes, _)| *bytes > 0);
        let whys = whys.map(|(bytes, why)| why(ByteCount(bytes)));
        whys.reduce(|whys, why: Text| whys.and(&why))
            .map(|whys| fetching::fetched_again(&whys))
    }

    fn and(self, other: Self) -> Self {
        Self {
            damaged: self.damaged + other.damaged,
            differing: self.differing + other.differing,
            changed: self.changed + other.changed,
            unconfirmed: self.unconfirmed + other.unconfirmed,
        }
    }
}

impl SoFar {
    /// What `totals` say now.
    #[must_use]
    pub(crate) fn of(totals: &Totals) -> Self {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self {
            files_seen: read(&totals.files_seen),
            bytes_seen: read(&totals.bytes_seen),
            listing_ended: totals.listing_ended.load(Ordering::Relaxed),
            files_fetched: read(&totals.files_fetched),
            bytes_fetched: read(&totals.bytes_fetched),
            files_kept: read(&totals.files_kept),
            bytes_kept: read(&totals.bytes_kept),
            bytes_resumed: read(&totals.bytes_resumed),
            again: Again::of(&totals.again),
            half_done: read(&totals.half_done),
            half_done_bytes: read(&totals.half_done_bytes),
            unfinished: read(&totals.unfinished),
            links: read(&totals.links),
            skipped: read(&totals.skipped),
            failed: read(&totals.failed),
            taken: read(&totals.taken),
            damaged: read(&totals.damaged),
        }
    }

    /// This and `other` together.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            files_seen: self.files_seen + other.files_seen,
            bytes_seen: self.bytes_seen + other.bytes_seen,
            listing_ended: self.listing_ended && other.listing_ended,
            files_fetched: self.files_fetched + other.files_fetched,
            bytes_fetched: self.bytes_fetched + other.bytes_fetched,
            files_kept: self.files_kept + other.files_kept,
            bytes_kept: self.bytes_kept + other.bytes_kept,
            bytes_resumed: self.bytes_resumed + other.bytes_resumed,
            again: self.again.and(other.again),
            half_done: self.half_done + other.half_done,
            half_done_bytes: self.half_done_bytes + other.half_done_bytes,
            unfinished: self.unfinished + other.unfinished,
            links: self.links + other.links,
            skipped: self.skipped + other.skipped,
            failed: self.failed + other.failed,
            taken: self.taken + other.taken,
            damaged: self.damaged + other.damaged,
        }
    }

    /// Bytes that are in place.
    #[must_use]
    pub(crate) fn bytes_done(self) -> u64 {
        // What came damaged is not counted as fetched, and of what differed nothing was counted.
        let twice = self.again.changed + self.again.unconfirmed;
        (self.bytes_fetched + self.bytes_kept).saturating_sub(twice)
    }

    /// Files of which nothing is left to do.
    #[must_use]
    pub(crate) fn files_done(self) -> u64 {
        self.files_fetched + self.files_kept + self.failed
    }
}
