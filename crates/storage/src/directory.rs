//! An open directory, and the calls on the names in it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, RenameFlags};
use rustix::io::Errno;

use packhorse_protocol::entry::{self, Timestamp};
use packhorse_protocol::path::{Name, PARTIAL_DIRECTORY};

use crate::disk::{Opening, Operation, Place};
use crate::file::{File, Handle, timestamps};
use crate::listing::Listing;
use crate::status::{Kind, NotRegular, Status, shows_the_kernel, tells_late};

const LISTING_BYTES: usize = 32 << 10;

/// Room for a few names, to see whether there are any.
const FIRST_NAMES_BYTES: usize = 2 << 10;

/// What stands in a directory under one name: a [`Name`], or the directory for unfinished downloads,
/// which no peer can name.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a>(&'a [u8]);

impl Part<'_> {
    /// The directory for unfinished downloads.
    pub const PARTIAL: Part<'static> = Part(PARTIAL_DIRECTORY);
}

impl<'a> From<&'a Name> for Part<'a> {
    fn from(name: &'a Name) -> Self {
        Self(name.as_bytes())
    }
}

/// An open directory. Every call is made on one name in it and never follows a link.
#[derive(Debug)]
pub struct Directory {
    handle: Handle,
}

impl Directory {
    pub(crate) fn new(descriptor: OwnedFd, place: Place) -> Self {
        Self {
            handle: Handle { descriptor, place },
        }
    }

    /// The directory's own state.
    ///
    /// # Errors
    /// The system's own.
    pub fn status(&self) -> io::Result<Status> {
        self.handle.status()
    }

    /// The state of what is called `name`; of the link itself if it is one.
    ///
    /// # Errors
    /// The system's own.
    pub fn status_of<'n>(&self, name: impl Into<Part<'n>>) -> io::Result<Status> {
        self.call(name.into(), Operation::Status, |at, name| {
            rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        })
        .map(Status::from)
    }

    /// Whether the directory itself lies on a file system by which the kernel shows itself.
    pub(crate) fn shows_the_kernel_itself(&self) -> io::Result<bool> {
        let file_system = self
            .handle
            .call(Operation::Space, |it| rustix::fs::fstatfs(it))?;
        Ok(shows_the_kernel(&file_system))
    }

    /// Whether the directory lies on a file system that tells of a failed write only when the file is
    /// closed, or durable.
    pub(crate) fn tells_late(&self) -> io::Result<bool> {
        let file_system = self
            .handle
            .call(Operation::Space, |it| rustix::fs::fstatfs(it))?;
        Ok(tells_late(&file_system))
    }

    /// Whether `name` lies on a file system by which the kernel shows itself, such as `/proc`.
    pub(crate) fn shows_the_kernel(&self, name: &Name) -> io::Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let object = self.call(
            name.into(),
            Operation::Open(Opening::Resolve),
            |at, name| rustix::fs::openat(at, name, flags, Mode::empty()),
        )?;
        let file_system = self.call(name.into(), Operation::Space, |_, _| {
            rustix::fs::fstatfs(&object)
        })?;
        Ok(shows_the_kernel(&file_system))
    }

    /// Where the link `name` points.
    ///
    /// # Errors
    /// `InvalidInput` if it is no link; otherwise the system's own.
    pub fn read_link<'n>(&self, name: impl Into<Part<'n>>) -> io::Result<Vec<u8>> {
        self.call(name.into(), Operation::ReadLink, |at, name| {
            rustix::fs::readlinkat(at, name, Vec::new())
        })
        .map(std::ffi::CString::into_bytes)
    }

    /// All names in the directory, in the order in which the file system has them.
    ///
    /// # Errors
    /// The system's own; `OutOfMemory` if there are more than four gigabytes of names.
    pub fn names(&self) -> io::Result<Listing> {
        // A descriptor of its own: the position in the listing belongs to the descriptor, and two
        // threads may list at once.
        let own = open_here(&self.handle)?;
        let mut listing = Listing::default();
        let mut buffer = Vec::with_capacity(LISTING_BYTES);
        let mut entries = RawDir::new(&own, buffer.spare_capacity_mut());
        loop {
            if entries.is_buffer_empty() {
                self.handle.call(Operation::List, |_| Ok(()))?;
            }
            match entries.next() {
                None => break,
                Some(Err(Errno::INTR)) => {}
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(entry)) => {
                    listing.add(entry.file_name().to_bytes(), entry.file_type().into())?;
                }
            }
        }
        listing.shrink();
        Ok(listing)
    }

    /// Whether there is nothing in the directory, the one for unfinished downloads aside.
    ///
    /// # Errors
    /// The system's own.
    pub fn is_empty(&self) -> io::Result<bool> {
        let own = open_here(&self.handle)?;
        let mut buffer = Vec::with_capacity(FIRST_NAMES_BYTES);
        let mut entries = RawDir::new(&own, buffer.spare_capacity_mut());
        loop {
            if entries.is_buffer_empty() {
                self.handle.call(Operation::List, |_| Ok(()))?;
            }
            match entries.next() {
                None => return Ok(true),
                Some(Err(Errno::INTR)) => {}
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(entry)) => match entry.file_name().to_bytes() {
                    b"." | b".." | PARTIAL_DIRECTORY => {}
                    _ => return Ok(false),
                },
            }
        }
    }

    /// Opens the directory `name`.
    ///
    /// # Errors
    /// `NotADirectory` if it is something else, also a link to a directory; otherwise the system's
    /// own.
    pub fn open_directory<'n>(&self, name: impl Into<Part<'n>>) -> io::Result<Self> {
        let name = name.into();
        let opened = self.call(name, Operation::Open(Opening::Directory), |at, name| {
            rustix::fs::openat(at, name, DIRECTORY_FLAGS, Mode::empty())
        })?;
        Ok(Self::new(opened, self.handle.place.join(name.0)))
    }

    /// Opens the regular file `name` for reading.
    ///
    /// What is not a regular file is not opened, so nothing waits for a FIFO and no device wakes.
    ///
    /// # Errors
    /// [`NotRegular`]; otherwise the system's own.
    pub fn open_file<'n>(&self, name: impl Into<Part<'n>>) -> io::Result<File> {
        let name = name.into();
        self.expect_regular(name)?;
        self.open_regular(name, Opening::File, OFlags::RDONLY)
    }

    /// As [`open_file`](Self::open_file), just after the status of `name` has shown a regular file.
    ///
    /// # Errors
    /// As `open_file`. What takes the file's place in between is opened without waiting, found out
    /// and closed unread.
    pub fn open_file_seen<'n>(&self, name: impl Into<Part<'n>>) -> io::Result<File> {
        self.open_regular(name.into(), Opening::File, OFlags::RDONLY)
    }

    /// Opens the regular file `name` for reading and writing.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn open_for_update<'n>(&self, name: impl Into<Part<'n>>) -> io::Result<File> {
        let name = name.into();
        self.expect_regular(name)?;
        self.open_regular(name, Opening::Update, OFlags::RDWR)
    }

    /// Makes the file `name`, which must not exist, and opens it for reading and writing. The
    /// process's umask applies to `mode`.
    ///
    /// # Errors
    /// `AlreadyExists`, also for a dangling link; otherwise the system's own.
    pub fn create_file<'n>(
        &self,
        name: impl Into<Part<'n>>,
        mode: entry::Mode,
    ) -> io::Result<File> {
        let name = name.into();
        let flags = FILE_FLAGS | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let created = self.call(name, Operation::Open(Opening::Create), |at, name| {
            rustix::fs::openat(at, name, flags, Mode::from_raw_mode(mode.bits()))
        })?;
        File::new(created, self.handle.place.join(name.0))
    }

    /// Makes a file without a name, for its owner only, and opens it for reading and writing. Where
    /// the file system knows no such file, it has a name for a moment.
    ///
    /// # Errors
    /// The system's own.
    pub fn create_unnamed(&self) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let created = self.handle.call(Operation::Open(Opening::Create), |at| {
            rustix::fs::openat(at, c".", flags, mode)
        });
        match created {
            Ok(created) => File::new(created, self.handle.place.clone()),
            Err(error) if lacks_unnamed_files(&error) => {
                // Another may be made here at the same moment.
                static MADE: AtomicU64 = AtomicU64::new(0);
                let number = MADE.fetch_add(1, Ordering::Relaxed);
                let name = format!(".packhorse-trial-{}-{number}", std::process::id());
                let name = Part(name.as_bytes());
                let file = self.create_file(name, entry::Mode::from_bits(0o600))?;
                self.remove_file(name).map(|()| file)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the directory `name`. The process's umask applies to `mode`.
    ///
    /// # Errors
    /// `AlreadyExists`; otherwise the system's own.
    pub fn create_directory<'n>(
        &self,
        name: impl Into<Part<'n>>,
        mode: entry::Mode,
    ) -> io::Result<()> {
        self.call(name.into(), Operation::CreateDirectory, |at, name| {
            rustix::fs::mkdirat(at, name, Mode::from_raw_mode(mode.bits()))
        })
    }

    /// Makes the link `name`, which points to `target`, whatever that may be.
    ///
    /// # Errors
    /// `AlreadyExists`; otherwise the system's own.
    pub fn make_symlink<'n>(&self, target: &[u8], name: impl Into<Part<'n>>) -> io::Result<()> {
        self.call(
            name.into(),
            Operation::MakeSymlink { target },
            |at, name| rustix::fs::symlinkat(target, at, name),
        )
    }

    /// Gives the file `name` a second name, `to_name` in `to`.
    ///
    /// # Errors
    /// `AlreadyExists`; `PermissionDenied` or `Unsupported` where the file system has no hard links;
    /// otherwise the system's own.
    pub fn hard_link<'n, 't>(
        &self,
        name: impl Into<Part<'n>>,
        to: &Self,
        to_name: impl Into<Part<'t>>,
    ) -> io::Result<()> {
        let to_name = to_name.into();
        let path = to.handle.place.path_of(to_name.0);
        self.call(
            name.into(),
            Operation::HardLink { to: &path },
            |at, name| {
                let to = &to.handle.descriptor;
                rustix::fs::linkat(at, name, to, to_name.0, AtFlags::empty())
            },
        )
    }

    /// Moves `name` to `to_name` in `to`, where nothing may be yet.
    ///
    /// Where the file system cannot do this in one step, a file or link gets the new name and then
    /// loses the old one. Where that cannot be either, and for a directory, it is moved after a look,
    /// which another process could outrun: what it puts there in that moment is replaced, unless it
    /// is a directory with something in it.
    ///
    /// # Errors
    /// `AlreadyExists`; otherwise the system's own.
    pub fn rename_no_replace<'n, 't>(
        &self,
        name: impl Into<Part<'n>>,
        to: &Self,
        to_name: impl Into<Part<'t>>,
    ) -> io::Result<()> {
        let (name, to_name) = (name.into(), to_name.into());
        let path = to.handle.place.path_of(to_name.0);
        let operation = Operation::Rename {
            to: &path,
            replace: false,
        };
        let renamed = self.call(name, operation, |at, name| {
            let to = &to.handle.descriptor;
            rustix::fs::renameat_with(at, name, to, to_name.0, RenameFlags::NOREPLACE)
        });
        match renamed {
            Err(error) if lacks_no_replace(&error) => self.rename_in_steps(name, to, to_name),
            other => other,
        }
    }

    /// Moves `name` to `to_name` in `to`, in the place of what may be there.
    ///
    /// # Errors
    /// The system's own.
    pub fn rename_replace<'n, 't>(
        &self,
        name: impl Into<Part<'n>>,
        to: &Self,
        to_name: impl Into<Part<'t>>,
    ) -> io::Result<()> {
        let to_name = to_name.into();
        let path = to.handle.place.path_of(to_name.0);
        let operation = Operation::Rename {
            to: &path,
            replace: true,
        };
        self.call(name.into(), operation, |at, name| {
            rustix::fs::renameat(at, name, &to.handle.descriptor, to_name.0)
        })
    }

    /// Removes `name`, which is not a directory.
    ///
    /// # Errors
    /// The system's own.
    pub fn remove_file<'n>(&self, name: impl Into<Part<'n>>) -> io::Result<()> {
        self.call(name.into(), Operation::RemoveFile, |at, name| {
            rustix::fs::unlinkat(at, name, AtFlags::empty())
        })
    }

    /// Removes the empty directory `name`.
    ///
    /// # Errors
    /// The system's own.
    pub fn remove_directory<'n>(&self, name: impl Into<Part<'n>>) -> io::Result<()> {
        self.call(name.into(), Operation::RemoveDirectory, |at, name| {
            rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)
        })
    }

    /// Sets when `name` last changed; of the link itself if it is one.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_times_of<'n>(
        &self,
        name: impl Into<Part<'n>>,
        modified: Timestamp,
    ) -> io::Result<()> {
        self.call(name.into(), Operation::SetTimes { modified }, |at, name| {
            let times = timestamps(modified);
            rustix::fs::utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Sets when the directory itself last changed.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_times(&self, modified: Timestamp) -> io::Result<()> {
        self.handle.set_times(modified)
    }

    /// Sets the directory's own permission bits. That it hands its group on, if it does, stays.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_mode(&self, mode: entry::Mode) -> io::Result<()> {
        self.handle
            .set_mode_bits(mode.bits() | hands_group_on(&self.status()?))
    }

    /// Sets the permission bits of `name`, which need not be readable. That it is a directory which
    /// hands its group on, if it is, stays.
    ///
    /// # Errors
    /// `NotFound` also where `/proc` is not mounted; `Unsupported` for a link, which has no such
    /// bits; otherwise the system's own.
    pub fn set_mode_of<'n>(&self, name: impl Into<Part<'n>>, mode: entry::Mode) -> io::Result<()> {
        let name = name.into();
        let mode = mode.bits() | hands_group_on(&self.status_of(name)?);
        self.call(name, Operation::SetMode { mode }, |at, name| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let object = rustix::fs::openat(at, name, flags, Mode::empty())?;
            // A descriptor that only names an object takes no `fchmod`. The name under which the
            // kernel shows the descriptor leads to that very object, whatever its name has become.
            let shown = format!("/proc/self/fd/{}", object.as_raw_fd());
            rustix::fs::chmodat(CWD, &shown, Mode::from_raw_mode(mode), AtFlags::empty())
        })
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// As [`File::sync`].
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync()
    }

    /// How many bytes this process may still write to the file system that holds the directory;
    /// `None` where that does not say how large it is.
    ///
    /// # Errors
    /// The system's own.
    pub fn free_bytes(&self) -> io::Result<Option<u64>> {
        let space = self
            .handle
            .call(Operation::Space, |it| rustix::fs::fstatvfs(it))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        Ok((space.f_blocks > 0).then_some(free))
    }

    /// Whether the file system that holds the directory has room for data and none for one more
    /// file; false where it does not say.
    #[must_use]
    pub fn lacks_inodes(&self) -> bool {
        let space = self
            .handle
            .call(Operation::Space, |it| rustix::fs::fstatvfs(it));
        space.is_ok_and(|space| space.f_files > 0 && space.f_favail == 0 && space.f_bavail > 0)
    }

    /// The names of the directory's own extended attributes.
    ///
    /// # Errors
    /// As [`File::xattr_names`].
    pub fn xattr_names(&self) -> io::Result<Vec<Vec<u8>>> {
        self.handle.xattr_names()
    }

    /// The value of the directory's own extended attribute `name`; `None` if there is none.
    ///
    /// # Errors
    /// The system's own.
    pub fn xattr(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.handle.xattr(name)
    }

    /// Sets the directory's own extended attribute `name`.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_xattr(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.handle.set_xattr(name, value)
    }

    fn expect_regular(&self, name: Part<'_>) -> io::Result<()> {
        match self.status_of(name)?.kind {
            Kind::File => Ok(()),
            other => Err(NotRegular(other).into()),
        }
    }

    fn open_regular(&self, name: Part<'_>, opening: Opening, mode: OFlags) -> io::Result<File> {
        let opened = self.call(name, Operation::Open(opening), |at, name| {
            rustix::fs::openat(at, name, FILE_FLAGS | mode, Mode::empty())
        });
        match opened {
            Ok(opened) => File::new(opened, self.handle.place.join(name.0)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                Err(NotRegular(Kind::Symlink).into())
            }
            Err(error) => Err(error),
        }
    }

    fn rename_in_steps(&self, name: Part<'_>, to: &Self, to_name: Part<'_>) -> io::Result<()> {
        if self.status_of(name)?.kind != Kind::Directory {
            match self.hard_link(name, to, to_name) {
                Ok(()) => return self.remove_file(name),
                Err(error) if lacks_hard_links(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // Two threads of this process, at least, never look at the same time.
        static LOOKING: Mutex<()> = Mutex::new(());
        let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
        match to.status_of(to_name) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.rename_replace(name, to, to_name)
            }
            Err(error) => Err(error),
        }
    }

    fn call<T>(
        &self,
        name: Part<'_>,
        operation: Operation<'_>,
        mut call: impl FnMut(&OwnedFd, &[u8]) -> Result<T, Errno>,
    ) -> io::Result<T> {
        self.handle
            .place
            .call(name.0, operation, || call(&self.handle.descriptor, name.0))
    }
}

/// Whether the file system has no second names for files, or not for this one.
fn lacks_hard_links(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK)
    )
}

/// What a directory is opened with.
pub(crate) const DIRECTORY_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What a file is opened with, besides reading or writing: it must not wait for the other end of a
/// FIFO that has taken the file's place, nor become the process's terminal.
pub(crate) const FILE_FLAGS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

fn open_here(handle: &Handle) -> io::Result<OwnedFd> {
    handle.call(Operation::Open(Opening::Directory), |at| {
        rustix::fs::openat(at, c".", DIRECTORY_FLAGS, Mode::empty())
    })
}

/// The set-group-ID bit of a directory, by which all that is made in it gets its group. An
/// administrator's choice; on a file the same bit would be a privilege.
fn hands_group_on(status: &Status) -> u32 {
    match status.kind {
        Kind::Directory => status.mode & 0o2000,
        _ => 0,
    }
}

/// Whether the kernel or the file system knows no files without a name.
fn lacks_unnamed_files(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL)
    )
}

/// Whether the kernel or the file system knows no rename that does not replace.
fn lacks_no_replace(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
    )
}
