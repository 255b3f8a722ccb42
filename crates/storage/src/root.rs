//! A directory and what lies beneath it: the one place where a path is resolved.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use packhorse_protocol::path::RelativePath;

use crate::directory::{DIRECTORY_FLAGS, Directory, FILE_FLAGS};
use crate::disk::{Disk, Opening, Operation, Place};
use crate::file::File;
use crate::status::{Kind, NotRegular, Status, lies_on_this_machine, shows_the_kernel};

/// How often a resolution starts again because names on its way were moved meanwhile.
const ATTEMPTS_MAX: usize = 32;

/// As many links as the kernel itself follows in one path.
const LINKS_MAX: usize = 40;

/// What becomes of symbolic links on the way of a path, and at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They are followed while they stay beneath the root; an absolute one leaves it.
    Follow,
    /// They are refused.
    Refuse,
}

/// How paths are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// In one call of `openat2`.
    Openat2,
    /// Name by name, where the kernel or a sandbox knows no `openat2`.
    Steps,
}

impl Method {
    /// The method for this machine, found out once.
    #[must_use]
    pub fn of_this_machine() -> Self {
        static METHOD: OnceLock<Method> = OnceLock::new();
        *METHOD.get_or_init(|| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match rustix::fs::openat2(CWD, c".", flags, Mode::empty(), BENEATH) {
                Err(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::TOOBIG) => Self::Steps,
                _ => Self::Openat2,
            }
        })
    }
}

/// An open directory beneath which paths are resolved; nothing outside it can be reached.
#[derive(Debug)]
pub struct Root {
    descriptor: OwnedFd,
    place: Place,
    method: Method,
}

impl Root {
    /// Opens the directory `path`, in which links may be.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(disk: Disk, path: &Path) -> io::Result<Self> {
        Self::open_with(disk, path, Method::of_this_machine())
    }

    /// As [`open`](Self::open), where the directory and its parents are made if they are missing;
    /// durably if that is asked for.
    ///
    /// # Errors
    /// The system's own.
    pub fn open_or_create(disk: Disk, path: &Path, durable: bool) -> io::Result<Self> {
        match Self::open(disk.clone(), path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_with_parents(&disk, path, durable)?;
                Self::open(disk, path)
            }
            other => other,
        }
    }

    /// As [`open`](Self::open), with a method of one's own choice.
    ///
    /// # Errors
    /// The system's own.
    pub fn open_with(disk: Disk, path: &Path, method: Method) -> io::Result<Self> {
        let place = Place::new(disk, path.as_os_str().as_bytes());
        let descriptor = place.call(b"", Operation::Open(Opening::Directory), || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty())
        })?;
        Ok(Self {
            descriptor,
            place,
            method,
        })
    }

    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// `EXDEV` if a link leads out of the root, `ELOOP` if one is refused or leads in a circle;
    /// otherwise the system's own.
    pub fn open_directory(&self, path: &RelativePath, links: Links) -> io::Result<Directory> {
        let opened = self.resolve(path, links, Opening::Directory, RESOLVED_DIRECTORY)?;
        Ok(Directory::new(opened, self.place.join(path.as_bytes())))
    }

    /// Opens the regular file at `path` for reading. What is not a regular file is not opened.
    ///
    /// # Errors
    /// As [`open_directory`](Self::open_directory), and [`NotRegular`].
    pub fn open_file(&self, path: &RelativePath, links: Links) -> io::Result<File> {
        match self.status(path, links)?.kind {
            Kind::File => {}
            other => return Err(NotRegular(other).into()),
        }
        let opened = self.resolve(path, links, Opening::File, RESOLVED_FILE)?;
        File::new(opened, self.place.join(path.as_bytes()))
    }

    /// The state of what `path` leads to.
    ///
    /// # Errors
    /// As [`open_directory`](Self::open_directory).
    pub fn status(&self, path: &RelativePath, links: Links) -> io::Result<Status> {
        let found = self.resolve(path, links, Opening::Resolve, PATH_FLAGS)?;
        let place = self.place.join(path.as_bytes());
        let stat = place.call(b"", Operation::Status, || rustix::fs::fstat(&found))?;
        Ok(stat.into())
    }

    /// As [`open_file`](Self::open_file) with links followed, if that needs nothing besides what the
    /// kernel has in memory.
    ///
    /// # Errors
    /// Also where it does, where the way leads to another file system, and where the kernel cannot
    /// tell: any error says only that nobody knows without waiting.
    pub(crate) fn open_cached(&self, path: &RelativePath) -> io::Result<File> {
        let open = |opening: Opening, flags: OFlags| {
            let bytes = path.as_bytes();
            self.place.call(bytes, Operation::Open(opening), || {
                rustix::fs::openat2(&self.descriptor, bytes, flags, Mode::empty(), CACHED_HERE)
            })
        };
        let found = open(Opening::Resolve, PATH_FLAGS)?;
        let place = self.place.join(path.as_bytes());
        let stat = place.call(b"", Operation::Status, || rustix::fs::fstat(&found))?;
        match Status::from(stat).kind {
            Kind::File => File::new(open(Opening::File, RESOLVED_FILE)?, place),
            other => Err(NotRegular(other).into()),
        }
    }

    /// Whether a look at what the kernel has in memory of this tree never waits for anything else:
    /// by the method for paths, and by the file system.
    pub(crate) fn has_cache(&self) -> bool {
        let file_system = self.place.call(b"", Operation::Space, || {
            rustix::fs::fstatfs(&self.descriptor)
        });
        self.method == Method::Openat2 && file_system.is_ok_and(|it| lies_on_this_machine(&it))
    }

    /// Whether what `path` leads to lies on a file system by which the kernel shows itself, such as
    /// `/proc`.
    pub(crate) fn shows_the_kernel(&self, path: &RelativePath, links: Links) -> io::Result<bool> {
        let found = self.resolve(path, links, Opening::Resolve, PATH_FLAGS)?;
        let place = self.place.join(path.as_bytes());
        let file_system = place.call(b"", Operation::Space, || rustix::fs::fstatfs(&found))?;
        Ok(shows_the_kernel(&file_system))
    }

    /// Opens the directory at `path` only to go on to what lies in it, for which the permission to
    /// list it is not needed.
    pub(crate) fn enter(&self, path: &RelativePath, links: Links) -> io::Result<Directory> {
        let flags = PATH_FLAGS | OFlags::DIRECTORY;
        let opened = self.resolve(path, links, Opening::Resolve, flags)?;
        Ok(Directory::new(opened, self.place.join(path.as_bytes())))
    }

    fn resolve(
        &self,
        path: &RelativePath,
        links: Links,
        opening: Opening,
        flags: OFlags,
    ) -> io::Result<OwnedFd> {
        self.resolve_bytes(path.as_bytes(), links, opening, flags)
    }

    /// Resolves a path in which `.` and `..` may occur; an empty one is the root.
    fn resolve_bytes(
        &self,
        path: &[u8],
        links: Links,
        opening: Opening,
        flags: OFlags,
    ) -> io::Result<OwnedFd> {
        for _ in 0..ATTEMPTS_MAX {
            let resolved = match self.method {
                Method::Openat2 => self.resolve_at_once(path, links, opening, flags),
                Method::Steps => Steps::new(self, path, links).open(opening, flags),
            };
            match resolved {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn resolve_at_once(
        &self,
        path: &[u8],
        links: Links,
        opening: Opening,
        flags: OFlags,
    ) -> io::Result<OwnedFd> {
        let resolve = match links {
            Links::Follow => BENEATH,
            Links::Refuse => BENEATH | ResolveFlags::NO_SYMLINKS,
        };
        let bytes = match path {
            b"" => b".",
            bytes => bytes,
        };
        self.place.call(path, Operation::Open(opening), || {
            rustix::fs::openat2(&self.descriptor, bytes, flags, Mode::empty(), resolve)
        })
    }
}

/// What a path leads to that the user of this machine gave.
#[derive(Debug)]
pub(crate) enum Located {
    Directory(Root),
    /// The directory that holds it, and its name there.
    File(Directory, Vec<u8>),
}

/// Finds what is at `path`, through any links, with the name by which the user knows it: the last of
/// the path or, where that ends in `.` or `..`, that of the directory itself.
pub(crate) fn locate(disk: &Disk, path: &Path) -> io::Result<(Vec<u8>, Located)> {
    let place = Place::new(disk.clone(), path.as_os_str().as_bytes());
    place.call(b"", Operation::Open(Opening::Resolve), || Ok(()))?;
    let real = path.canonicalize()?;
    let bytes_of = |path: &Path| path.file_name().map(|name| name.as_bytes().to_vec());
    let real_name = bytes_of(&real).unwrap_or_default();
    let name = bytes_of(path).unwrap_or_else(|| real_name.clone());
    let kind = place.call(b"", Operation::Status, || {
        rustix::fs::statat(CWD, &real, AtFlags::SYMLINK_NOFOLLOW)
    })?;
    let located = match Status::from(kind).kind {
        Kind::Directory => Located::Directory(Root::open(disk.clone(), &real)?),
        Kind::File if shows_the_kernel(&rustix::fs::statfs(&real)?) => {
            return Err(NotRegular(Kind::Special).into());
        }
        Kind::File => {
            let parent = Root::open(disk.clone(), real.parent().unwrap_or(Path::new("/")))?;
            let parent = parent.open_directory(&RelativePath::ROOT, Links::Refuse)?;
            Located::File(parent, real_name)
        }
        other => return Err(NotRegular(other).into()),
    };
    Ok((name, located))
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// On the one file system, and only as far as the kernel has it in memory; Linux 5.12 knows that.
const CACHED_HERE: ResolveFlags = BENEATH
    .union(ResolveFlags::NO_XDEV)
    .union(ResolveFlags::CACHED);

/// Names an object without opening it.
const PATH_FLAGS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// What becomes of a link at a path's end is for the resolution to say, not for the opening.
const RESOLVED_DIRECTORY: OFlags = DIRECTORY_FLAGS.difference(OFlags::NOFOLLOW);
const RESOLVED_FILE: OFlags = FILE_FLAGS.difference(OFlags::NOFOLLOW);

/// A resolution name by name, with the meaning that `openat2` gives to a path: a link is replaced by
/// what it says, `..` goes back the way that was come, and never above the root.
struct Steps<'r> {
    root: &'r Root,
    links: Links,
    /// The names of the directory reached so far. None of them is a link.
    reached: Vec<Vec<u8>>,
    /// That directory, if it is open; otherwise it is opened again from the root.
    current: Option<OwnedFd>,
    /// What is still to go, the next part last.
    pending: Vec<Vec<u8>>,
    followed: usize,
}

impl<'r> Steps<'r> {
    fn new(root: &'r Root, path: &[u8], links: Links) -> Self {
        Self {
            root,
            links,
            reached: Vec::new(),
            current: None,
            pending: parts_last_first(path),
            followed: 0,
        }
    }

    fn open(mut self, opening: Opening, flags: OFlags) -> io::Result<OwnedFd> {
        while let Some(part) = self.pending.pop() {
            match part.as_slice() {
                b"" | b"." => {}
                b".." => {
                    if self.reached.pop().is_none() {
                        return Err(Errno::XDEV.into());
                    }
                    self.current = None;
                }
                name if self.pending.is_empty() => match self.link_target(name)? {
                    Some(target) => self.follow(&target)?,
                    None => return self.open_last(name, opening, flags),
                },
                _ => self.enter(part)?,
            }
        }
        self.open_last(b".", opening, flags)
    }

    /// Goes on into the directory `name`, or to where the link `name` points.
    fn enter(&mut self, name: Vec<u8>) -> io::Result<()> {
        match self.open_beneath(&name, Opening::Resolve, PATH_FLAGS | OFlags::DIRECTORY) {
            Ok(directory) => {
                self.current = Some(directory);
                self.reached.push(name);
                Ok(())
            }
            Err(error) if is_not_directory(&error) => match self.link_target(&name)? {
                Some(target) => self.follow(&target),
                None => Err(Errno::NOTDIR.into()),
            },
            Err(error) => Err(error),
        }
    }

    /// Opens what the path leads to. A link that has only now taken its place starts everything
    /// again.
    fn open_last(&mut self, name: &[u8], opening: Opening, flags: OFlags) -> io::Result<OwnedFd> {
        let opened = self.open_beneath(name, opening, flags);
        match opened {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                Err(Errno::AGAIN.into())
            }
            Ok(opened) if flags.contains(OFlags::PATH) => {
                let status = Status::from(rustix::fs::fstat(&opened)?);
                match status.kind {
                    Kind::Symlink => Err(Errno::AGAIN.into()),
                    _ => Ok(opened),
                }
            }
            other => other,
        }
    }

    fn follow(&mut self, target: &[u8]) -> io::Result<()> {
        self.followed += 1;
        if self.links == Links::Refuse || self.followed > LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        if target.starts_with(b"/") {
            return Err(Errno::XDEV.into());
        }
        self.pending.extend(parts_last_first(target));
        Ok(())
    }

    /// Where `name` points, if it is a link.
    fn link_target(&mut self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let place = self.root.place.join(&self.path_of(name));
        let target = place.call(b"", Operation::ReadLink, || {
            rustix::fs::readlinkat(self.current()?, name, Vec::new())
        });
        match target {
            Ok(target) => Ok(Some(target.into_bytes())),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open_beneath(
        &mut self,
        name: &[u8],
        opening: Opening,
        flags: OFlags,
    ) -> io::Result<OwnedFd> {
        let place = self.root.place.join(&self.path_of(name));
        place.call(b"", Operation::Open(opening), || {
            let flags = flags | OFlags::NOFOLLOW;
            rustix::fs::openat(self.current()?, name, flags, Mode::empty())
        })
    }

    /// The directory reached so far. One on the way back to it that has been moved or replaced
    /// starts everything again.
    fn current(&mut self) -> Result<&OwnedFd, Errno> {
        if self.current.is_none() {
            let flags = PATH_FLAGS | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let root = &self.root.descriptor;
            let mut at = rustix::fs::openat(root, c".", flags, Mode::empty())?;
            for name in &self.reached {
                at = rustix::fs::openat(&at, name.as_slice(), flags, Mode::empty()).map_err(
                    |error| match error {
                        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Errno::AGAIN,
                        other => other,
                    },
                )?;
            }
            self.current = Some(at);
        }
        self.current.as_ref().ok_or(Errno::AGAIN)
    }

    /// For the hook of a disk that has one.
    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.reached.join(&b'/');
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }
}

fn parts_last_first(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|&byte| byte == b'/').rev();
    parts.map(<[u8]>::to_vec).collect()
}

fn create_with_parents(disk: &Disk, path: &Path, durable: bool) -> io::Result<()> {
    let create = || {
        let place = Place::new(disk.clone(), path.as_os_str().as_bytes());
        place.call(b"", Operation::CreateDirectory, || {
            rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o777))
        })
    };
    let parent = match path.parent() {
        None => return create(),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_with_parents(disk, parent, durable)?;
            create()?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    if durable {
        let parent = Root::open(disk.clone(), parent)?;
        parent
            .open_directory(&RelativePath::ROOT, Links::Follow)?
            .sync()?;
    }
    Ok(())
}

fn is_not_directory(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOTDIR | Errno::LOOP)
    )
}
