//! Where files are read from: traits behind which a directory stands, and later an object store.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;

use rustix::io::Errno;

use packhorse_protocol::entry::{DirectoryInfo, FileInfo, Refusal, Timestamp, Version};
use packhorse_protocol::message::EntryOptions;
use packhorse_protocol::path::{Name, PathError, RelativePath};

use crate::listing::Listing;
use crate::status::{Kind, NotRegular};

/// Younger changes than this may have left no trace in the times: file systems keep them only so
/// exactly, down to two seconds.
const SETTLING_SECONDS: i64 = 2;

/// A tree of files that can be read.
pub trait Source: Send + Sync {
    /// Finds what is at `path`.
    ///
    /// Links on the way to it are followed while they stay in the tree; one at its end only if the
    /// options say so.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn find(&self, path: &RelativePath, options: EntryOptions) -> Result<Found, SourceError>;

    /// The regular file at `path`, if it has at most `bytes_max` and all of it is at hand.
    ///
    /// This never waits for a disk or another machine, so it may be called where nothing may wait.
    /// `None` says nothing of the file: [`find`](Self::find) tells.
    fn at_hand(
        &self,
        path: &RelativePath,
        bytes_max: u64,
        options: EntryOptions,
    ) -> Option<WholeFile> {
        let _ = (path, bytes_max, options);
        None
    }
}

/// A regular file with all that is in it, as it was from the first look at it to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeFile {
    /// What is said of it.
    pub info: FileInfo,
    /// Its state.
    pub state: FileState,
    /// All of its bytes.
    pub content: Vec<u8>,
}

/// What is at some path.
pub enum Found {
    /// A directory.
    Directory(Box<dyn SourceDirectory>),
    /// A regular file.
    File(Box<dyn SourceFile>),
    /// A symbolic link that stays in the tree.
    Link(SourceLink),
}

impl Found {
    /// The file.
    ///
    /// # Errors
    /// `IsDirectory`, or `Changed` for a link: who asks for a file has been told of one.
    pub fn into_file(self) -> Result<Box<dyn SourceFile>, SourceError> {
        match self {
            Self::File(file) => Ok(file),
            Self::Directory(_) => Err(Refusal::IsDirectory.into()),
            Self::Link(_) => Err(Refusal::Changed.into()),
        }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(_) => out.write_str("Directory"),
            Self::File(_) => out.write_str("File"),
            Self::Link(link) => link.fmt(out),
        }
    }
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLink {
    /// Where it points, as it says.
    pub target: Vec<u8>,
    /// When it was made.
    pub modified: Timestamp,
}

/// What stands under one name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEntry {
    /// A regular file.
    File(FileInfo),
    /// A symbolic link that stays in the tree.
    Link(SourceLink),
    /// A directory.
    Directory(DirectoryInfo),
}

/// A directory of a source.
pub trait SourceDirectory: Send + Sync {
    /// What is said of the directory now.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn info(&self) -> Result<DirectoryInfo, SourceError>;

    /// All names in the directory.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn names(&self) -> Result<SourceNames, SourceError>;

    /// What is called `name`.
    ///
    /// # Errors
    /// Why it cannot be read, or is never sent.
    fn entry(&self, name: &Name) -> Result<SourceEntry, SourceError>;

    /// Opens the file `name`.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError>;

    /// As [`open_file`](Self::open_file), just after [`entry`](Self::entry) has shown a file: a
    /// source may then spare a look.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn open_file_seen(&self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError> {
        self.open_file(name)
    }

    /// Opens the directory `name`.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn open_directory(&self, name: &Name) -> Result<Box<dyn SourceDirectory>, SourceError>;

    /// What tells this directory from all others, where several paths can lead to one.
    fn identity(&self) -> Option<Identity>;
}

/// What tells a directory from all others of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The device.
    pub device: u64,
    /// The number on the device.
    pub inode: u64,
}

/// An open file of a source. It stays the same object, whatever becomes of its name.
pub trait SourceFile: Send + Sync {
    /// The file's state when it was opened.
    fn opened(&self) -> FileState;

    /// The file's state now.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn state(&self) -> Result<FileState, SourceError>;

    /// All that is said of the file now.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn info(&self) -> Result<FileInfo, SourceError>;

    /// Whether the file's state now is settled; see [`FileState::is_settled`].
    ///
    /// # Errors
    /// Why it cannot be read.
    fn settled(&self, now: Timestamp) -> Result<bool, SourceError> {
        Ok(self.state()?.is_settled(now))
    }

    /// Reads from `offset` on until `buffer` is full or the file ends. Returns how many bytes.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError>;

    /// Appends to `buffer` what lies from `offset` on: `length` bytes, or fewer if the file ends.
    /// Returns how many.
    ///
    /// # Errors
    /// Why it cannot be read. The buffer may have grown.
    fn append_at(
        &self,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, SourceError> {
        let start = buffer.len();
        buffer.resize(start + length, 0);
        let read = self.read_at(offset, &mut buffer[start..])?;
        buffer.truncate(start + read);
        Ok(read)
    }

    /// The first run of data at or behind `offset`; `None` if only holes follow.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, SourceError>;
}

/// The state of a file at one moment, as far as it tells contents apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// The size in bytes.
    pub size: u64,
    /// Changes with size, times and identity.
    pub version: Version,
    /// When the content, or anything said of it, last changed.
    pub touched: Timestamp,
}

impl FileState {
    /// Whether the last change lies so far back that a later one would show in the version.
    #[must_use]
    pub fn is_settled(&self, now: Timestamp) -> bool {
        self.touched.is_before_by(now, SETTLING_SECONDS)
    }
}

/// The names in a directory of a source: first all that are not directories, then the directories,
/// each sorted by their bytes.
///
/// Holds [`BYTES_PER_NAME`](crate::listing::BYTES_PER_NAME) and the name's own bytes for each name.
#[derive(Debug, Default)]
pub struct SourceNames {
    listing: Listing,
    others: usize,
}

impl SourceNames {
    /// Sorts `listing`; `is_directory` is asked for the names whose kind is not plain, with that
    /// kind.
    #[must_use]
    pub fn new(mut listing: Listing, mut is_directory: impl FnMut(&Name, Kind) -> bool) -> Self {
        let others = listing.sort_directories_last(|name, kind| match kind {
            Kind::Directory => true,
            Kind::File | Kind::Special => false,
            Kind::Symlink | Kind::Unknown => is_directory(name, kind),
        });
        Self { listing, others }
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.listing.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listing.is_empty()
    }

    /// How many names are not directories; they come first.
    #[must_use]
    pub fn others(&self) -> usize {
        self.others
    }

    /// The name at `index`.
    ///
    /// # Panics
    /// If `index` is not below `len`.
    #[must_use]
    pub fn name(&self, index: usize) -> Name {
        self.listing.name(index)
    }

    /// The index of the first name behind `name` that is not a directory; `others` if there is none.
    #[must_use]
    pub fn other_after(&self, name: &Name) -> usize {
        self.first_after(0..self.others, name)
    }

    /// The index of the first directory behind `name`; `len` if there is none.
    #[must_use]
    pub fn directory_after(&self, name: &Name) -> usize {
        self.first_after(self.others..self.len(), name)
    }

    /// What the directory holds and no path of Packhorse can name.
    #[must_use]
    pub fn unusable(&self) -> &[Vec<u8>] {
        self.listing.unusable()
    }

    fn first_after(&self, within: Range<usize>, name: &Name) -> usize {
        let (mut low, mut high) = (within.start, within.end);
        while low < high {
            let middle = low.midpoint(high);
            match self.listing.bytes(middle) <= name.as_bytes() {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

/// Why something of a source cannot be read.
#[derive(Debug)]
pub struct SourceError {
    /// What a client is told.
    pub refusal: Refusal,
    /// What the system said, if it was the system.
    pub detail: Option<io::Error>,
}

impl fmt::Display for SourceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(out, "{} ({detail})", self.refusal),
            None => self.refusal.fmt(out),
        }
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.detail.as_ref().map(|detail| detail as _)
    }
}

impl From<Refusal> for SourceError {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            detail: None,
        }
    }
}

impl From<PathError> for SourceError {
    fn from(_: PathError) -> Self {
        Refusal::UnusableName.into()
    }
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        Self {
            refusal: refusal_of(&error),
            detail: Some(error),
        }
    }
}

fn refusal_of(error: &io::Error) -> Refusal {
    match NotRegular::of(error) {
        Some(Kind::Directory) => return Refusal::IsDirectory,
        // It was no link when it was looked at.
        Some(Kind::Symlink) => return Refusal::Changed,
        Some(Kind::File | Kind::Special | Kind::Unknown) => return Refusal::Special,
        None => {}
    }
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => Refusal::NotFound,
        Some(Errno::ACCESS | Errno::PERM) => Refusal::PermissionDenied,
        Some(Errno::XDEV) => Refusal::LeavesTree,
        Some(Errno::LOOP) => Refusal::LinkLoop,
        Some(Errno::NOTDIR) => Refusal::NotDirectory,
        Some(Errno::ISDIR) => Refusal::IsDirectory,
        Some(Errno::NAMETOOLONG) => Refusal::UnusableName,
        Some(Errno::NXIO | Errno::NODEV) => Refusal::Special,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => Refusal::Busy,
        _ if error.kind() == io::ErrorKind::OutOfMemory => Refusal::Busy,
        _ => Refusal::Unreadable,
    }
}
