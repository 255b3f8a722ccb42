//! What happened to each entry, and to all of them together.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use packhorse_protocol::content::ContentHash;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::path::RelativePath;
use packhorse_storage::destination::EntryError;
use thiserror::Error;

use crate::connect::ConnectError;
use crate::large::HASHED_HOLES_BYTES_MAX;

/// Hears of everything that happens to an entry; called from many threads.
pub trait Observer: Send + Sync {
    /// Takes note of `event`.
    fn handle(&self, event: Event<'_>);
}

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A large file is begun, or begun again.
    Begun {
        /// Where it will be in the destination.
        path: &'a RelativePath,
    },
    /// A file is in place, its content fetched and verified.
    Fetched {
        /// Where it is in the destination.
        path: &'a RelativePath,
        /// Its size in bytes.
        bytes: u64,
        /// Its hash, where it is known without extra work.
        hash: Option<ContentHash>,
    },
    /// A file was there already.
    Kept {
        /// Where it is in the destination.
        path: &'a RelativePath,
    },
    /// A symbolic or hard link is in place.
    Linked {
        /// Where it is in the destination.
        path: &'a RelativePath,
    },
    /// Would be fetched, if this were not a dry run.
    Wanted {
        /// Where it would be in the destination.
        path: &'a RelativePath,
        /// Its size in bytes.
        bytes: u64,
    },
    /// Is not fetched for what it is; not a failure.
    Skipped {
        /// Where it is, below the root of what was asked for; unchecked bytes.
        path: &'a [u8],
        /// Why.
        refusal: Refusal,
    },
    /// Did not arrive.
    Failed {
        /// Where it is or would be; unchecked bytes.
        path: &'a [u8],
        /// Why.
        failure: &'a Failure,
    },
    /// Has not arrived, and nothing speaks against it: the run ends before its work is done.
    Unfinished {
        /// Where it would be in the destination.
        path: &'a RelativePath,
    },
    /// All is done, and the folder for unfinished files is still there.
    LeftBehind {
        /// Why.
        error: &'a io::Error,
    },
    /// The connection was lost and will be dialled again.
    Lost {
        /// Why.
        why: &'a ConnectError,
    },
}

/// Why an entry did not arrive.
#[derive(Debug, Error)]
pub enum Failure {
    /// The server does not send it.
    #[error("{0}")]
    Refused(Refusal),
    /// The destination does not take it.
    #[error(transparent)]
    Destination(#[from] EntryError),
    /// It differs from what is there.
    #[error("it exists here already and differs; --overwrite replaces it, --keep-both keeps both")]
    Exists,
    /// Another has its name since it was begun.
    #[error(
        "its name was taken while it was fetched, and what has that was left as it is; what has \
         come is kept half done, for --overwrite or --keep-both"
    )]
    Taken,
    /// The directory around it could not be made.
    #[error("its directory could not be made")]
    NoDirectory,
    /// The other name of the same file did not arrive.
    #[error("it is another name of a file that did not arrive")]
    NoOtherName,
    /// What arrives does not match its hash, again and again.
    #[error("what the server sends does not match its hash, also when asked again")]
    Damaged,
    /// It is a link, and certain content was expected.
    #[error(
        "it is a link, which has no content of its own; --follow-links fetches what is behind it"
    )]
    NoContent,
    /// Its hash is expected, and would have to be computed over more zeros than is reasonable.
    #[error("it has too many holes for its hash to be checked: more than {} GiB", HASHED_HOLES_BYTES_MAX >> 30)]
    Hollow,
    /// Its content is not the one that was expected.
    #[error("its hash is {found}, not {expected}")]
    Unexpected {
        /// What was expected.
        expected: ContentHash,
        /// What it is.
        found: ContentHash,
    },
}

impl Failure {
    /// Whether its content could not be had as it should be: exit 5.
    #[must_use]
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            Self::Damaged | Self::NoContent | Self::Hollow | Self::Unexpected { .. }
        )
    }

    /// Whether this machine's disk is to blame: exit 6.
    #[must_use]
    pub fn is_local_io(&self) -> bool {
        matches!(self, Self::Destination(error) if error.is_local_io())
    }

    /// Whether what has arrived of the file may be of use to a later run.
    pub(crate) fn leaves_a_use(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(
                refusal,
                Refusal::Changed | Refusal::Unreadable | Refusal::Busy | Refusal::PermissionDenied
            ),
            Self::Destination(error) => error.is_local_io() && !error.needs_fetching_again(),
            Self::Damaged | Self::Exists | Self::Taken | Self::NoDirectory => true,
            Self::NoOtherName | Self::NoContent | Self::Hollow | Self::Unexpected { .. } => false,
        }
    }
}

/// What was done so far; read while it is being done.
#[derive(Debug, Default)]
pub struct Totals {
    /// Files that the listing has named.
    pub files_seen: AtomicU64,
    /// Bytes of files that the listing has named.
    pub bytes_seen: AtomicU64,
    /// The listing is complete, so that what was seen is all.
    pub listing_ended: AtomicBool,
    /// Files fetched.
    pub files_fetched: AtomicU64,
    /// Bytes of content fetched, verified and written.
    pub bytes_fetched: AtomicU64,
    /// Files that were there already.
    pub files_kept: AtomicU64,
    /// Bytes that were there already, in files or in groups.
    pub bytes_kept: AtomicU64,
    /// Those of them that an interrupted run has left in files that were half done.
    pub bytes_resumed: AtomicU64,
    /// Bytes that were fetched though they had been fetched before.
    pub again: FetchedAgain,
    /// Half-done files that are kept for the next run.
    pub half_done: AtomicU64,
    /// What has been written of them, in bytes.
    pub half_done_bytes: AtomicU64,
    /// Entries that the listing has named, and that the run has ended without.
    pub unfinished: AtomicU64,
    /// Links made or there already.
    pub links: AtomicU64,
    /// Directories.
    pub directories: AtomicU64,
    /// Entries left out for what they are.
    pub skipped: AtomicU64,
    /// Entries that did not arrive.
    pub failed: AtomicU64,
    /// Those of them whose name was taken meanwhile: a further run has to be told what to do.
    pub taken: AtomicU64,
    /// Groups and files whose content came damaged and was asked for again.
    pub damaged: AtomicU64,
    /// Connections open now.
    pub connections: AtomicU64,
    /// At least one failure was one of integrity.
    pub integrity_failed: AtomicBool,
    /// At least one failure was one of this machine's disk.
    pub local_io_failed: AtomicBool,
}

/// Bytes that were fetched though they had been fetched before, and why.
#[derive(Debug, Default)]
pub struct FetchedAgain {
    /// They did not match their hash when they came.
    pub damaged: AtomicU64,
    /// What an interrupted run has left of them does not match the server's hash: it was being
    /// written, or was damaged since, or the file has changed on the server.
    pub differing: AtomicU64,
    /// The file changed on the server while it was fetched.
    pub changed: AtomicU64,
    /// The disk did not confirm that it has them.
    pub unconfirmed: AtomicU64,
}

impl Totals {
    /// Adds to a count.
    pub(crate) fn add(count: &AtomicU64, amount: u64) {
        count.fetch_add(amount, Ordering::Relaxed);
    }

    /// Takes note of a failure.
    pub(crate) fn handle_failure(&self, failure: &Failure) {
        Self::add(&self.failed, 1);
        Self::add(&self.taken, u64::from(matches!(failure, Failure::Taken)));
        if failure.is_integrity() {
            self.integrity_failed.store(true, Ordering::Relaxed);
        }
        if failure.is_local_io() {
            self.local_io_failed.store(true, Ordering::Relaxed);
        }
    }
}
