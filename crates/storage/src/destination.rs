//! Where a download is written: below one directory, never outside it, and never half.
//!
//! What a peer sends lands in `.packhorse-partial/` in the destination first, in a folder that is
//! locked for this job, and takes its final name by a rename once it is complete and verified. A
//! process that is killed leaves whole files and that folder; its next run goes on with the large
//! files that are half done, and clears the rest.
//!
//! ```
//! use packhorse_protocol::entry::{FileInfo, Mode, Timestamp, Version};
//! use packhorse_protocol::path::{Name, RelativePath};
//! use packhorse_storage::destination::{Destination, DestinationOptions, JobName, Placed, SmallFile};
//! use packhorse_storage::disk::Disk;
//!
//! # let folder = tempfile::tempdir()?;
//! let job = JobName::new(b"pin", b"path at the server");
//! let options = DestinationOptions::default();
//! let destination = Destination::open(Disk::new(), folder.path(), &job, options)?;
//! let info = FileInfo {
//!     size: 5,
//!     modified: Timestamp::new(1_700_000_000, 123_456_789).unwrap(),
//!     mode: Mode::from_bits(0o644),
//!     version: Version([0; 16]),
//!     sparse: false,
//!     link_group: 0,
//!     xattrs: Vec::new(),
//! };
//! let name = Name::parse(b"greeting.txt")?;
//! let file = SmallFile { name: &name, info: &info, content: b"hello" };
//! let outcomes = destination.write_small(&RelativePath::ROOT, &[file]);
//! assert!(matches!(outcomes[0], Ok(Placed::New)));
//! destination.finish();
//! assert_eq!(std::fs::read(folder.path().join("greeting.txt"))?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All calls block and may come from many threads at once. What may be lost at a power cut unless
//! [`DestinationOptions::durable`] is set: the names of the last half minute, and the content of
//! files that were given a name in it, which may then be short or hold zeros in spite of the right
//! size and time. `--checksum` finds those.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use packhorse_protocol::entry::DirectoryInfo;
use packhorse_protocol::path::{Name, RelativePath};

use crate::directory::Directory;
use crate::disk::Disk;
use crate::root::{Links, Root};
use crate::status::Kind;

mod claim;
mod directories;
mod error;
mod exact_names;
mod existing_file;
mod half_done;
mod job;
mod large_file;
mod link_target;
mod links;
mod metadata;
mod numbered_name;
mod placement;
mod small_files;
mod streamed_file;

pub use self::directories::EnterOutcome;
pub use self::error::{DestinationError, EntryError};
pub use self::existing_file::{ExistingFile, Presence};
pub use self::half_done::HalfDoneKept;
pub use self::job::JobName;
pub use self::large_file::LargeFile;
pub use self::placement::Placed;
pub use self::small_files::SmallFile;
pub use self::streamed_file::StreamedFile;

use self::exact_names::ExactNames;
use self::job::JobFolder;
use self::links::PutOffLinks;

/// How a destination treats what is there and what it is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct DestinationOptions {
    /// What becomes of a file or link that is there already and differs.
    pub existing: Existing,
    /// Success is reported only for what would survive a power cut.
    pub durable: bool,
    /// Extended attributes are set; only those in `user.`, since others can carry privileges.
    pub xattrs: bool,
    /// Links may lead out of the destination.
    pub unsafe_links: bool,
}

/// What becomes of a file or link that is there already and differs. Directories are always shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// It stays, and the entry fails.
    #[default]
    Refuse,
    /// It is replaced, unless it is a directory.
    Overwrite,
    /// It stays, and the entry is placed beside it as `name (1).ext`.
    KeepBoth,
}

/// A directory that receives a download; see the [module](self).
#[derive(Debug)]
pub struct Destination {
    site: Arc<Site>,
    was_empty: bool,
}

/// How a download ended, beyond what the single calls have said.
#[derive(Debug)]
pub struct FinishReport {
    /// The links that were [`Placed::PutOff`], each with what became of it.
    pub links: Vec<(RelativePath, Result<Placed, EntryError>)>,
    /// Whether the destination itself got its mode and time, if it was sealed, and is durable, if
    /// that was asked for.
    pub root: Result<(), EntryError>,
    /// What is kept for the next run of the job, and with it the job's folder.
    pub kept: HalfDoneKept,
    /// Why the job's folder is still there, if it is and nothing is kept; the next run of the job
    /// clears it.
    pub left_behind: Option<io::Error>,
}

impl Destination {
    /// Opens the directory `path`, which is made with its parents if it is missing, for `job`.
    ///
    /// What an earlier, killed run of the same job has left unfinished is removed, but for large
    /// files that are half done: those wait to be begun again.
    ///
    /// # Errors
    /// `InUse` while another holds the job here; `ForeignPartial` if someone else's hands are in it.
    pub fn open(
        disk: Disk,
        path: &Path,
        job: &JobName,
        options: DestinationOptions,
    ) -> Result<Self, DestinationError> {
        let fail = |action| {
            move |source| DestinationError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let root = Root::open_or_create(disk, path, options.durable).map_err(fail("open"))?;
        let top = root
            .open_directory(&RelativePath::ROOT, Links::Refuse)
            .map_err(fail("open"))?;
        let was_empty = top.is_empty().map_err(fail("list"))?;
        let site = Site {
            root,
            path: path.to_owned(),
            options,
            job: *job,
            folder: OnceLock::new(),
            claiming: Mutex::new(()),
            exact_names: ExactNames::default(),
            put_off: Mutex::default(),
            owed: AtomicU64::new(0),
        };
        if let Some(folder) = JobFolder::claim_existing(top, path, job)? {
            let _ = site.folder.set(Arc::new(folder));
        }
        Ok(Self {
            site: Arc::new(site),
            was_empty,
        })
    }

    /// Whether there was nothing in it when it was opened, unfinished downloads aside.
    #[must_use]
    pub fn was_empty(&self) -> bool {
        self.was_empty
    }

    /// Makes and locks the job's folder now instead of at the first write, for a caller that knows
    /// that it will write: then `InUse` shows here and not with an entry.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn claim(&self) -> Result<(), DestinationError> {
        self.site.folder().map(|_| ())
    }

    /// Creates the links that were [`Placed::PutOff`], once all else is in place that they may lead
    /// to. Returns what became of each. No more can be put off.
    ///
    /// For a caller that seals the directories around them afterwards; [`finish`](Self::finish) does
    /// it too.
    #[must_use]
    pub fn settle_links(&self) -> Vec<(RelativePath, Result<Placed, EntryError>)> {
        let links = {
            let mut put_off = self.site.put_off();
            put_off.is_settled = true;
            std::mem::take(&mut put_off.links)
        };
        links.settle(&self.site)
    }

    /// Lets [`finish`](Self::finish) keep what an earlier run has of the file `path`, which this one
    /// could not go on with.
    pub fn keep_half_done(&self, path: &RelativePath) {
        if let Some(folder) = self.site.folder.get() {
            folder.keep(half_done::half_done_name(path));
        }
    }

    /// Lets [`finish`](Self::finish) keep everything that is half done, also of files of which this
    /// run has not heard.
    pub fn keep_untouched(&self) {
        if let Some(folder) = self.site.folder.get() {
            folder.keep_untouched();
        }
    }

    /// Lets [`finish`](Self::finish) keep nothing that was begun and is half done: all that was
    /// wanted is there.
    pub fn forget_half_done(&self) {
        if let Some(folder) = self.site.folder.get() {
            folder.forget_kept();
        }
    }

    /// What the next run of the job can go on with, if this one ends before it is
    /// [finished](Self::finish).
    #[must_use]
    pub fn half_done(&self) -> HalfDoneKept {
        let folder = self.site.folder.get();
        let kept = folder.and_then(|folder| folder.half_done_so_far().ok());
        kept.unwrap_or_default()
    }

    /// The links that were [`Placed::PutOff`] and are not made yet.
    #[must_use]
    pub fn links_put_off(&self) -> Vec<RelativePath> {
        self.site.put_off().links.paths()
    }

    /// Ends the download: creates the links that were put off, removes the job's folder unless there
    /// is something half done to be kept, and seals the destination itself.
    ///
    /// What an earlier run has left half done, and nobody has begun again since, is removed, unless
    /// it was to be [kept](Self::keep_half_done).
    /// Everything else must be done; a [`LargeFile`] that still lives can only fail from here on.
    #[must_use]
    pub fn finish(&self) -> FinishReport {
        let links = self.settle_links();
        let root = {
            let mut put_off = self.site.put_off();
            put_off.is_over = true;
            put_off.root.take()
        };
        let (kept, left_behind) = match self.site.folder.get().map(|folder| folder.remove()) {
            Some(Ok(kept)) => (kept, None),
            Some(Err(error)) => (HalfDoneKept::default(), Some(error)),
            None => (HalfDoneKept::default(), None),
        };
        FinishReport {
            links,
            root: self.site.seal_root(root.as_ref()),
            kept,
            left_behind,
        }
    }
}

/// What all parts of a destination share.
#[derive(Debug)]
struct Site {
    root: Root,
    path: PathBuf,
    options: DestinationOptions,
    job: JobName,
    folder: OnceLock<Arc<JobFolder>>,
    /// Held by the thread that makes `folder`.
    claiming: Mutex<()>,
    exact_names: ExactNames,
    put_off: Mutex<PutOff>,
    /// What the large files under way will still take of the disk, in bytes.
    owed: AtomicU64,
}

/// What can only be done once everything else is.
#[derive(Debug, Default)]
struct PutOff {
    links: PutOffLinks,
    root: Option<DirectoryInfo>,
    /// No more links can be put off: those that were have been looked at together.
    is_settled: bool,
    /// The destination itself can be sealed at once.
    is_over: bool,
}

impl Site {
    /// The job's folder, made at the first call.
    fn folder(&self) -> Result<&Arc<JobFolder>, DestinationError> {
        if let Some(folder) = self.folder.get() {
            return Ok(folder);
        }
        let _claiming = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.folder.get() {
            return Ok(folder);
        }
        let top = self.root.open_directory(&RelativePath::ROOT, Links::Refuse);
        let top = top.map_err(|source| DestinationError::Io {
            action: "open",
            path: self.path.clone(),
            source,
        })?;
        let folder = JobFolder::claim(top, &self.path, &self.job)?;
        Ok(self.folder.get_or_init(|| Arc::new(folder)))
    }

    /// As `folder`, for the entry `path`.
    fn folder_for(&self, path: &RelativePath) -> Result<&Arc<JobFolder>, EntryError> {
        self.folder()
            .map_err(|error| EntryError::of_job_folder(path, error))
    }

    /// What an error for want of room is, more exactly.
    fn lack(&self, error: EntryError) -> EntryError {
        let lacks_inodes = || {
            let top = self.root.open_directory(&RelativePath::ROOT, Links::Refuse);
            top.is_ok_and(|top| top.lacks_inodes())
        };
        match error {
            EntryError::DiskFull { path, source } if lacks_inodes() => {
                EntryError::NoInodes { path, source }
            }
            error => error,
        }
    }

    /// The directory `path`, open for calls on the names in it, and for [`Directory::sync`] if this
    /// destination is durable. A link on the way is an error.
    fn open_directory(&self, path: &RelativePath) -> Result<Directory, EntryError> {
        let opened = match self.options.durable {
            true => self.root.open_directory(path, Links::Refuse),
            false => self.root.enter(path, Links::Refuse),
        };
        opened.map_err(|error| EntryError::of_directory(path, error))
    }

    fn put_off(&self) -> std::sync::MutexGuard<'_, PutOff> {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an entry goes: its directory, open, and its name there.
#[derive(Debug, Clone, Copy)]
struct Spot<'a> {
    directory: &'a Directory,
    parent: &'a RelativePath,
    name: &'a Name,
}

impl<'a> Spot<'a> {
    /// The entry's path, as far as it can be told.
    fn path(&self) -> RelativePath {
        self.parent
            .join(self.name)
            .unwrap_or_else(|_| RelativePath::from(self.name.clone()))
    }

    /// What `source`, met when trying to `action` this entry, means.
    fn error(self, action: &'static str) -> impl FnOnce(io::Error) -> EntryError + use<'a> {
        move |source| EntryError::new(action, &self.path(), source)
    }

    fn exists(&self, found: Kind) -> EntryError {
        EntryError::Exists {
            path: self.path(),
            found,
        }
    }
}

/// Whether there is nothing at `place` below the directory `path`, or no such directory: then all
/// that is fetched there is new. For the root, unfinished downloads do not count.
#[must_use]
pub fn is_vacant(disk: &Disk, path: &Path, place: &RelativePath) -> bool {
    match Root::open(disk.clone(), path) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(root) if place.is_root() => root
            .open_directory(&RelativePath::ROOT, Links::Refuse)
            .and_then(|top| top.is_empty())
            .unwrap_or(false),
        Ok(root) => root
            .status(place, Links::Refuse)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound),
    }
}
