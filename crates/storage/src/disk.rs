//! The seam under which a test's disk fails.
//!
//! Every system call on a served or written path is announced to the disk's hook first, which may
//! note it, refuse it with an error of its choice, or cut a read or write short.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use packhorse_protocol::entry::Timestamp;

/// The disk that a tree of files lives on; cheap to clone.
#[derive(Clone, Default)]
pub struct Disk {
    hook: Option<Arc<dyn DiskHook>>,
}

impl Disk {
    /// The machine's own disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that announces each call to `hook` before it makes it.
    #[must_use]
    pub fn with_hook(hook: Arc<dyn DiskHook>) -> Self {
        Self { hook: Some(hook) }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.hook {
            Some(_) => "Disk(hooked)",
            None => "Disk",
        })
    }
}

/// Hears of each system call before it is made. It may call the file system itself, for instance to
/// change a tree at the worst moment.
pub trait DiskHook: Send + Sync {
    /// Decides over `call`.
    ///
    /// # Errors
    /// The call is not made and fails with this error.
    fn before(&self, call: &DiskCall<'_>) -> io::Result<Verdict>;
}

/// What a hook makes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is made as announced.
    Proceed,
    /// A read or write moves at most this many bytes, and at least one; other calls are made as
    /// announced.
    Shorten(usize),
}

/// A system call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct DiskCall<'a> {
    /// What it is made on: the path by which the root was opened and the names below it, as they
    /// were when each was opened. A later rename of an ancestor does not show.
    pub path: &'a [u8],
    /// What it does.
    pub operation: Operation<'a>,
}

/// What a system call does.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// Opens something.
    Open(Opening),
    /// Asks for kind, size and times.
    Status,
    /// Reads where a symbolic link points.
    ReadLink,
    /// Reads some names of a directory.
    List,
    /// Reads from a file.
    Read {
        /// Where, in bytes.
        offset: u64,
        /// At most how many bytes.
        length: usize,
    },
    /// Writes to a file.
    Write {
        /// Where, in bytes.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
    /// Asks where data or a hole begins.
    Seek {
        /// From where on, in bytes.
        offset: u64,
    },
    /// Cuts or extends a file.
    SetLength {
        /// The new size in bytes.
        length: u64,
    },
    /// Reserves space for a file.
    Allocate {
        /// Up to which size in bytes.
        length: u64,
    },
    /// Makes a hole in a file.
    Punch {
        /// Where, in bytes.
        offset: u64,
        /// How long, in bytes.
        length: u64,
    },
    /// Asks how much space is left.
    Space,
    /// Makes a directory.
    CreateDirectory,
    /// Makes a symbolic link.
    MakeSymlink {
        /// Where it points.
        target: &'a [u8],
    },
    /// Gives a file a second name.
    HardLink {
        /// The new name's path.
        to: &'a [u8],
    },
    /// Moves a name.
    Rename {
        /// The new name's path.
        to: &'a [u8],
        /// Whether it may take the place of something.
        replace: bool,
    },
    /// Removes a name that is not a directory's.
    RemoveFile,
    /// Removes an empty directory.
    RemoveDirectory,
    /// Sets permission bits.
    SetMode {
        /// The bits.
        mode: u32,
    },
    /// Sets the time of the last change.
    SetTimes {
        /// The time.
        modified: Timestamp,
    },
    /// Makes content or names durable.
    Sync,
    /// Takes or tries a lock.
    Lock,
    /// Lists the extended attributes.
    ListXattrs,
    /// Reads an extended attribute.
    GetXattr {
        /// Its name.
        name: &'a [u8],
    },
    /// Sets an extended attribute.
    SetXattr {
        /// Its name.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// Removes an extended attribute.
    RemoveXattr {
        /// Its name.
        name: &'a [u8],
    },
}

/// What something is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opening {
    /// To find out where a path leads; nothing of the object itself is opened.
    Resolve,
    /// A directory.
    Directory,
    /// A file, to read.
    File,
    /// A file, to read and write.
    Update,
    /// A new file, to read and write.
    Create,
}

impl Operation<'_> {
    /// A word for the kind of call, for tables of calls by kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Open(Opening::Resolve) => "resolve",
            Self::Open(Opening::Directory) => "open directory",
            Self::Open(Opening::File) => "open file",
            Self::Open(Opening::Update) => "open for update",
            Self::Open(Opening::Create) => "create file",
            Self::Status => "status",
            Self::ReadLink => "read link",
            Self::List => "list",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Seek { .. } => "seek",
            Self::SetLength { .. } => "set length",
            Self::Allocate { .. } => "allocate",
            Self::Punch { .. } => "punch",
            Self::Space => "space",
            Self::CreateDirectory => "create directory",
            Self::MakeSymlink { .. } => "make symlink",
            Self::HardLink { .. } => "hard link",
            Self::Rename { .. } => "rename",
            Self::RemoveFile => "remove file",
            Self::RemoveDirectory => "remove directory",
            Self::SetMode { .. } => "set mode",
            Self::SetTimes { .. } => "set times",
            Self::Sync => "sync",
            Self::Lock => "lock",
            Self::ListXattrs => "list xattrs",
            Self::GetXattr { .. } => "get xattr",
            Self::SetXattr { .. } => "set xattr",
            Self::RemoveXattr { .. } => "remove xattr",
        }
    }
}

/// Where an open file or directory stands: its disk and, if that has a hook to tell, its path.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    disk: Disk,
    path: Option<Arc<[u8]>>,
}

impl Place {
    pub(crate) fn new(disk: Disk, path: &[u8]) -> Self {
        let path = disk.hook.is_some().then(|| path.into());
        Self { disk, path }
    }

    /// The place of `below` in this one; of this one itself if `below` is empty.
    pub(crate) fn join(&self, below: &[u8]) -> Self {
        Self {
            disk: self.disk.clone(),
            path: self.path.as_deref().map(|path| join(path, below).into()),
        }
    }

    /// The path of `below` here, for the hook; empty if there is none.
    pub(crate) fn path_of(&self, below: &[u8]) -> Vec<u8> {
        match &self.path {
            Some(path) => join(path, below),
            None => Vec::new(),
        }
    }

    /// Announces `operation` on `below`, then makes the call, again when a signal interrupts it.
    pub(crate) fn call<T>(
        &self,
        below: &[u8],
        operation: Operation<'_>,
        call: impl FnMut() -> Result<T, Errno>,
    ) -> io::Result<T> {
        self.announce(below, operation)?;
        Ok(rustix::io::retry_on_intr(call)?)
    }

    /// As `call`, for a read or write of up to `length` bytes: `call` is told how many.
    pub(crate) fn transfer(
        &self,
        operation: Operation<'_>,
        length: usize,
        mut call: impl FnMut(usize) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        let length = match self.announce(b"", operation)? {
            Verdict::Proceed => length,
            Verdict::Shorten(to) => length.min(to.max(1)),
        };
        Ok(rustix::io::retry_on_intr(|| call(length))?)
    }

    fn announce(&self, below: &[u8], operation: Operation<'_>) -> io::Result<Verdict> {
        match (&self.disk.hook, &self.path) {
            (Some(hook), Some(path)) => hook.before(&DiskCall {
                path: &join(path, below),
                operation,
            }),
            _ => Ok(Verdict::Proceed),
        }
    }
}

fn join(path: &[u8], below: &[u8]) -> Vec<u8> {
    let mut joined = path.to_vec();
    if !below.is_empty() && !joined.ends_with(b"/") {
        joined.push(b'/');
    }
    joined.extend_from_slice(below);
    joined
}
