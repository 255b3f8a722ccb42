//! What goes wrong at a destination: for the whole of it, or for one entry.

use std::io;
use std::path::PathBuf;

use packhorse_protocol::path::RelativePath;
use rustix::io::Errno;
use thiserror::Error;

use crate::status::Kind;

/// Why a destination cannot be used at all.
#[derive(Debug, Error)]
pub enum DestinationError {
    /// Another process, or another part of this one, runs the same job here; waiting helps. The
    /// system holds its lock until the disk has answered the last of its calls.
    #[error(
        "another `get` of the same address is writing into {}, or was killed and waits for the \
         disk; wait for its end, or fetch into another directory",
        .path.display()
    )]
    InUse {
        /// The destination.
        path: PathBuf,
    },
    /// Something of that name is there which we did not make: it could lead our data elsewhere.
    #[error("{} is not a directory of yours; move it away", .path.display())]
    ForeignPartial {
        /// The directory for unfinished downloads, or a folder in it.
        path: PathBuf,
    },
    /// The file system has room for data, and none for one more file.
    #[error("the disk of {} has no inodes left: it can hold no more files", .path.display())]
    NoInodes {
        /// The destination.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why one entry did not arrive; the rest of a transfer goes on.
#[derive(Debug, Error)]
pub enum EntryError {
    /// Something else has this name and may not be replaced (by policy, or as it is a directory).
    #[error("`{path}` exists already ({found}) and was left as it is")]
    Exists {
        /// The entry.
        path: RelativePath,
        /// What has the name.
        found: Kind,
    },
    /// The file system takes this name for that of another entry.
    #[error("`{path}` has the same name as another entry on this file system")]
    Collides {
        /// The entry.
        path: RelativePath,
    },
    /// What should be its directory is a link, a file or missing; links are never followed.
    #[error("`{path}` is not a directory here; links are not followed")]
    NotDirectory {
        /// The directory, or one below it.
        path: RelativePath,
    },
    /// What should be a regular file is something else by now.
    #[error("`{path}` is not a regular file here")]
    NotFile {
        /// The entry.
        path: RelativePath,
    },
    /// A symbolic link that leads out of the destination, or cannot be shown not to.
    #[error("`{path}` is a link that could lead out of the destination")]
    LinkLeaves {
        /// The link.
        path: RelativePath,
    },
    /// Too many links had to wait for what they may lead to. A further run finds that in place.
    #[error("too many links wait for what they lead to; run this again to make `{path}`")]
    TooManyLinks {
        /// The link.
        path: RelativePath,
    },
    /// A link's target that no system holds: empty, or with a NUL.
    #[error("`{path}` is a link to nothing that has a name")]
    UnusableTarget {
        /// The link.
        path: RelativePath,
    },
    /// This file system cannot have two names for this file; its content must be fetched.
    #[error("`{path}` cannot be a second name of its file here: {source}")]
    NoHardLink {
        /// The new name.
        path: RelativePath,
        /// The system's answer.
        source: io::Error,
    },
    /// The file system cannot hold the name.
    #[error("this file system cannot hold the name `{path}`: {source}")]
    UnusableName {
        /// The entry.
        path: RelativePath,
        /// The system's answer.
        source: io::Error,
    },
    /// The file system can hold no file of that size, or this process may make none.
    #[error("`{path}` of {size} bytes is larger than this file system or `ulimit -f` allows")]
    TooLarge {
        /// The entry.
        path: RelativePath,
        /// The size that the server names.
        size: u64,
    },
    /// The bytes given are not as long as the size that was announced.
    #[error("`{path}` has other than the {size} bytes that were announced")]
    WrongLength {
        /// The entry.
        path: RelativePath,
        /// The size that was announced.
        size: u64,
    },
    /// A file on this side changed while it was read.
    #[error("`{path}` changed here while it was read")]
    ChangedHere {
        /// The entry.
        path: RelativePath,
    },
    /// Its directory lies on a file system mounted inside the destination.
    #[error("`{path}` lies on another file system than the destination; name that as destination")]
    OtherFileSystem {
        /// The entry.
        path: RelativePath,
    },
    /// There would not be enough room for it, so nothing of it was fetched.
    #[error("the disk has no room for `{path}`: {needed} bytes are needed, {free} are free")]
    NoRoom {
        /// The entry.
        path: RelativePath,
        /// What of it is still to be written, in bytes.
        needed: u64,
        /// What is free, and not already promised to other files of this download, in bytes.
        free: u64,
    },
    /// No room.
    #[error("the disk is full: cannot write `{path}`")]
    DiskFull {
        /// The entry.
        path: RelativePath,
        /// The system's answer.
        source: io::Error,
    },
    /// There is room for data, but none for one more file.
    #[error("the disk has no inodes left: cannot make `{path}`")]
    NoInodes {
        /// The entry.
        path: RelativePath,
        /// The system's answer.
        source: io::Error,
    },
    /// No room for this user.
    #[error("your disk quota is used up: cannot write `{path}`")]
    QuotaUsedUp {
        /// The entry.
        path: RelativePath,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk did not confirm the data. What it has is unknown, and asking again would be told
    /// nothing: the data must be fetched again.
    #[error("the disk did not confirm `{path}`, which must be fetched again: {source}")]
    SyncFailed {
        /// The entry.
        path: RelativePath,
        /// The system's answer.
        source: io::Error,
    },
    /// The job's folder for unfinished files could not be made, or another process has it.
    #[error("cannot write `{path}`: {source}")]
    NoJobFolder {
        /// The entry.
        path: RelativePath,
        /// Why.
        source: DestinationError,
    },
    /// The system refused.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The entry.
        path: RelativePath,
        /// The system's answer.
        source: io::Error,
    },
}

impl EntryError {
    /// Whether this machine's disk, its permissions or its room are at fault.
    #[must_use]
    pub fn is_local_io(&self) -> bool {
        match self {
            Self::NoRoom { .. }
            | Self::DiskFull { .. }
            | Self::NoInodes { .. }
            | Self::QuotaUsedUp { .. }
            | Self::SyncFailed { .. }
            | Self::Io { .. } => true,
            Self::NoJobFolder { source, .. } => matches!(
                source,
                DestinationError::Io { .. } | DestinationError::NoInodes { .. }
            ),
            Self::Exists { .. }
            | Self::Collides { .. }
            | Self::NotDirectory { .. }
            | Self::NotFile { .. }
            | Self::LinkLeaves { .. }
            | Self::TooManyLinks { .. }
            | Self::UnusableTarget { .. }
            | Self::NoHardLink { .. }
            | Self::UnusableName { .. }
            | Self::TooLarge { .. }
            | Self::WrongLength { .. }
            | Self::ChangedHere { .. }
            | Self::OtherFileSystem { .. } => false,
        }
    }

    /// Whether something that is here already was kept instead.
    #[must_use]
    pub fn is_refusal_to_overwrite(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }

    /// Whether the same operation may succeed if the data is fetched once more.
    #[must_use]
    pub fn needs_fetching_again(&self) -> bool {
        matches!(
            self,
            Self::SyncFailed { .. } | Self::ChangedHere { .. } | Self::NoHardLink { .. }
        )
    }

    /// Whether another `get` of the same job holds the destination: no entry will fare better.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let Self::NoJobFolder { source, .. } = self else {
            return false;
        };
        matches!(source, DestinationError::InUse { .. })
    }

    /// The entry concerned.
    #[must_use]
    pub fn path(&self) -> &RelativePath {
        match self {
            Self::Exists { path, .. }
            | Self::Collides { path }
            | Self::NotDirectory { path }
            | Self::NotFile { path }
            | Self::LinkLeaves { path }
            | Self::TooManyLinks { path }
            | Self::UnusableTarget { path }
            | Self::NoHardLink { path, .. }
            | Self::UnusableName { path, .. }
            | Self::TooLarge { path, .. }
            | Self::WrongLength { path, .. }
            | Self::ChangedHere { path }
            | Self::OtherFileSystem { path }
            | Self::NoRoom { path, .. }
            | Self::DiskFull { path, .. }
            | Self::NoInodes { path, .. }
            | Self::QuotaUsedUp { path, .. }
            | Self::SyncFailed { path, .. }
            | Self::NoJobFolder { path, .. }
            | Self::Io { path, .. } => path,
        }
    }

    /// What `source`, met when opening the directory `path`, means.
    pub(super) fn of_directory(path: &RelativePath, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::NOTDIR | Errno::LOOP) => Self::NotDirectory { path: path.clone() },
            _ => Self::new("open the directory", path, source),
        }
    }

    /// What it means for the entry `path` that the job has no folder because of `source`.
    pub(super) fn of_job_folder(path: &RelativePath, source: DestinationError) -> Self {
        match source {
            DestinationError::Io { source, .. } if is_lack_of_room(&source) => {
                Self::new("write", path, source)
            }
            source => Self::NoJobFolder {
                path: path.clone(),
                source,
            },
        }
    }

    /// What `source`, met when trying to `action` the entry `path`, means.
    pub(super) fn new(action: &'static str, path: &RelativePath, source: io::Error) -> Self {
        let path = path.clone();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC) => Self::DiskFull { path, source },
            Some(Errno::DQUOT) => Self::QuotaUsedUp { path, source },
            Some(Errno::XDEV) => Self::OtherFileSystem { path },
            Some(Errno::NAMETOOLONG | Errno::ILSEQ) => Self::UnusableName { path, source },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}

pub(super) fn is_lack_of_room(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT)
    )
}
