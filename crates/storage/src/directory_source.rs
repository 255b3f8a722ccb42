//! A directory of this machine as a source.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use packhorse_protocol::entry::{DirectoryInfo, FileInfo, Refusal};
use packhorse_protocol::limits::LINK_TARGET_BYTES_MAX;
use packhorse_protocol::message::{EntryOptions, LinkMode};
use packhorse_protocol::path::{Name, RelativePath};
use rustix::io::Errno;

use crate::description::{directory_info, file_info, plain_directory_info, plain_info, state_of};
use crate::directory::Directory;
use crate::disk::Disk;
use crate::file::File;
use crate::root::{Links, Root};
use crate::source::{
    FileState, Found, Identity, Source, SourceDirectory, SourceEntry, SourceError, SourceFile,
    SourceLink, SourceNames, WholeFile,
};
use crate::status::{Kind, Status};

/// A directory and all that lies beneath it.
#[derive(Debug)]
pub struct DirectorySource {
    root: Arc<Root>,
    /// What the kernel has of the tree in memory can be had without waiting.
    has_cache: AtomicBool,
}

impl DirectorySource {
    /// The directory at `path`.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(disk: Disk, path: &Path) -> io::Result<Self> {
        Root::open(disk, path).map(Self::new)
    }

    /// The directory that `root` holds.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self {
            has_cache: AtomicBool::new(root.has_cache()),
            root: Arc::new(root),
        }
    }

    /// Reads a file without waiting.
    ///
    /// # Errors
    /// `Unsupported` if that is never possible here.
    fn read_cached(&self, path: &RelativePath, bytes_max: u64) -> io::Result<Option<CachedFile>> {
        let file = self.root.open_cached(path)?;
        let size = file.opened().size;
        if size > bytes_max {
            return Ok(None);
        }
        let mut content = vec![0; size as usize];
        let count = file.read_cached(&mut content)?;
        let status = file.status()?;
        let is_whole = count == content.len() && status == *file.opened();
        Ok(is_whole.then_some(CachedFile { status, content }))
    }

    fn directory(
        &self,
        directory: Directory,
        path: &RelativePath,
        options: EntryOptions,
    ) -> Result<Found, SourceError> {
        let directory =
            OpenDirectory::new(Arc::clone(&self.root), directory, path.clone(), options)?;
        Ok(Found::Directory(Box::new(directory)))
    }

    fn find_followed(
        &self,
        path: &RelativePath,
        options: EntryOptions,
    ) -> Result<Found, SourceError> {
        match self.root.status(path, Links::Follow)?.kind {
            Kind::Directory => {
                let directory = self.root.open_directory(path, Links::Follow)?;
                self.directory(directory, path, options)
            }
            _ => Ok(Found::File(open_followed(&self.root, path, options)?)),
        }
    }
}

impl Source for DirectorySource {
    fn find(&self, path: &RelativePath, options: EntryOptions) -> Result<Found, SourceError> {
        let Some((parent_path, name)) = path.split_last() else {
            let directory = self.root.open_directory(path, Links::Refuse)?;
            return self.directory(directory, path, options);
        };
        let parent = self.root.enter(&parent_path, Links::Follow)?;
        let status = parent.status_of(&name)?;
        if parent.shows_the_kernel(&name)? {
            return Err(Refusal::Special.into());
        }
        match status.kind {
            Kind::Directory => self.directory(parent.open_directory(&name)?, path, options),
            Kind::Symlink if options.follows_links() => self.find_followed(path, options),
            Kind::Symlink => {
                link(&self.root, &parent, path, &name, &status, options).map(Found::Link)
            }
            Kind::File | Kind::Special | Kind::Unknown => {
                Ok(Found::File(open_known(&parent, &name, &status, options)?))
            }
        }
    }

    fn at_hand(
        &self,
        path: &RelativePath,
        bytes_max: u64,
        options: EntryOptions,
    ) -> Option<WholeFile> {
        let can_ask = self.has_cache.load(Ordering::Relaxed);
        if !can_ask || path.is_root() || !options.follows_links() || options.xattrs {
            return None;
        }
        match self.read_cached(path, bytes_max) {
            Ok(file) => file.map(|CachedFile { status, content }| WholeFile {
                info: plain_info(&status, options),
                state: state_of(&status),
                content,
            }),
            Err(error) => {
                if cannot_tell(&error) {
                    self.has_cache.store(false, Ordering::Relaxed);
                }
                None
            }
        }
    }
}

/// A file that was read without waiting.
struct CachedFile {
    /// Before and after.
    status: Status,
    content: Vec<u8>,
}

/// Opens the file that `path` leads to through links.
fn open_followed(
    root: &Root,
    path: &RelativePath,
    options: EntryOptions,
) -> Result<Box<dyn SourceFile>, SourceError> {
    if root.shows_the_kernel(path, Links::Follow)? {
        return Err(Refusal::Special.into());
    }
    let file = root.open_file(path, Links::Follow)?;
    Ok(Box::new(OpenFile { file, options }))
}

/// Opens the file `name`, whose status has just been seen to be `status`.
pub(crate) fn open_known(
    directory: &Directory,
    name: &Name,
    status: &Status,
    options: EntryOptions,
) -> Result<Box<dyn SourceFile>, SourceError> {
    match status.kind {
        Kind::File => {
            let file = directory.open_file_seen(name)?;
            Ok(Box::new(OpenFile { file, options }))
        }
        Kind::Directory => Err(Refusal::IsDirectory.into()),
        Kind::Symlink => Err(Refusal::Changed.into()),
        Kind::Special | Kind::Unknown => Err(Refusal::Special.into()),
    }
}

#[derive(Debug)]
struct OpenDirectory {
    root: Arc<Root>,
    directory: Directory,
    /// Where it was found; links may lie on the way.
    path: RelativePath,
    identity: Identity,
    options: EntryOptions,
}

impl OpenDirectory {
    fn new(
        root: Arc<Root>,
        directory: Directory,
        path: RelativePath,
        options: EntryOptions,
    ) -> Result<Self, SourceError> {
        let Status { device, inode, .. } = directory.status()?;
        if directory.shows_the_kernel_itself()? {
            return Err(Refusal::Special.into());
        }
        Ok(Self {
            root,
            directory,
            path,
            identity: Identity { device, inode },
            options,
        })
    }

    /// Refuses what is mounted here and is the kernel's. The directory itself is not.
    fn vet(&self, name: &Name, status: &Status) -> Result<(), SourceError> {
        match self.is_elsewhere(status) && self.directory.shows_the_kernel(name)? {
            true => Err(Refusal::Special.into()),
            false => Ok(()),
        }
    }

    /// Whether something lies on another file system than this directory.
    fn is_elsewhere(&self, status: &Status) -> bool {
        status.device != self.identity.device
    }

    fn is_directory(&self, name: &Name, kind: Kind) -> bool {
        let kind = match kind {
            Kind::Unknown => self.directory.status_of(name).map(|status| status.kind),
            known => Ok(known),
        };
        let kind = match kind {
            Ok(Kind::Symlink) if self.options.follows_links() => self
                .path
                .join(name)
                .map_err(io::Error::other)
                .and_then(|path| self.root.status(&path, Links::Follow))
                .map(|status| status.kind),
            other => other,
        };
        // What cannot be looked at now is told as an entry, with the reason.
        matches!(kind, Ok(Kind::Directory))
    }

    fn entry_of(&self, name: &Name, status: &Status) -> Result<SourceEntry, SourceError> {
        match status.kind {
            Kind::File if self.options.xattrs => {
                let file = self.directory.open_file_seen(name)?;
                let info = file_info(&file, *file.opened(), self.options)?;
                Ok(SourceEntry::File(info))
            }
            Kind::File => Ok(SourceEntry::File(plain_info(status, self.options))),
            Kind::Directory if self.options.xattrs => {
                let directory = self.directory.open_directory(name)?;
                Ok(SourceEntry::Directory(directory_info(
                    &directory,
                    self.options,
                )?))
            }
            Kind::Directory => Ok(SourceEntry::Directory(plain_directory_info(status))),
            Kind::Symlink => {
                let path = self.path.join(name)?;
                match self.options.follows_links() {
                    true => self.followed_entry(&path),
                    false => link(
                        &self.root,
                        &self.directory,
                        &path,
                        name,
                        status,
                        self.options,
                    )
                    .map(SourceEntry::Link),
                }
            }
            Kind::Special | Kind::Unknown => Err(Refusal::Special.into()),
        }
    }

    fn followed_entry(&self, path: &RelativePath) -> Result<SourceEntry, SourceError> {
        let status = self.root.status(path, Links::Follow)?;
        if self.is_elsewhere(&status) && self.root.shows_the_kernel(path, Links::Follow)? {
            return Err(Refusal::Special.into());
        }
        match status.kind {
            Kind::File if self.options.xattrs => {
                let file = self.root.open_file(path, Links::Follow)?;
                let info = file_info(&file, *file.opened(), self.options)?;
                Ok(SourceEntry::File(info))
            }
            Kind::File => Ok(SourceEntry::File(plain_info(&status, self.options))),
            Kind::Directory if self.options.xattrs => {
                let directory = self.root.open_directory(path, Links::Follow)?;
                Ok(SourceEntry::Directory(directory_info(
                    &directory,
                    self.options,
                )?))
            }
            Kind::Directory => Ok(SourceEntry::Directory(plain_directory_info(&status))),
            Kind::Symlink | Kind::Special | Kind::Unknown => Err(Refusal::Special.into()),
        }
    }
}

impl SourceDirectory for OpenDirectory {
    fn info(&self) -> Result<DirectoryInfo, SourceError> {
        directory_info(&self.directory, self.options)
    }

    fn names(&self) -> Result<SourceNames, SourceError> {
        let listing = self.directory.names()?;
        Ok(SourceNames::new(listing, |name, kind| {
            self.is_directory(name, kind)
        }))
    }

    fn entry(&self, name: &Name) -> Result<SourceEntry, SourceError> {
        let status = self.directory.status_of(name)?;
        self.vet(name, &status)?;
        self.entry_of(name, &status)
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError> {
        let status = self.directory.status_of(name)?;
        if status.kind == Kind::Symlink && self.options.follows_links() {
            return open_followed(&self.root, &self.path.join(name)?, self.options);
        }
        self.vet(name, &status)?;
        open_known(&self.directory, name, &status, self.options)
    }

    fn open_file_seen(&self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError> {
        let options = self.options;
        match self.directory.open_file_seen(name) {
            Ok(file) => Ok(Box::new(OpenFile { file, options })),
            Err(error) if options.follows_links() && is_symlink(&error) => self.open_file(name),
            Err(error) => Err(error.into()),
        }
    }

    fn open_directory(&self, name: &Name) -> Result<Box<dyn SourceDirectory>, SourceError> {
        let path = self.path.join(name)?;
        let directory = match self.directory.open_directory(name) {
            Err(error) if self.options.follows_links() && is_no_directory(&error) => {
                self.root.open_directory(&path, Links::Follow)
            }
            other => other,
        }?;
        let root = Arc::clone(&self.root);
        Ok(Box::new(Self::new(root, directory, path, self.options)?))
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.identity)
    }
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    options: EntryOptions,
}

impl SourceFile for OpenFile {
    fn opened(&self) -> FileState {
        state_of(self.file.opened())
    }

    fn state(&self) -> Result<FileState, SourceError> {
        Ok(state_of(&self.file.status()?))
    }

    fn info(&self) -> Result<FileInfo, SourceError> {
        file_info(&self.file, self.file.status()?, self.options)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        Ok(self.file.read_at(offset, buffer)?)
    }

    fn append_at(
        &self,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, SourceError> {
        Ok(self.file.append_at(offset, length, buffer)?)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, SourceError> {
        Ok(self.file.next_data(offset)?)
    }
}

/// What the link `name` in `directory` says, if `options` let it be sent. `path` is its own.
fn link(
    root: &Root,
    directory: &Directory,
    path: &RelativePath,
    name: &Name,
    status: &Status,
    options: EntryOptions,
) -> Result<SourceLink, SourceError> {
    let target = directory.read_link(name).map_err(|error| {
        match error.kind() {
            // It is no link any more.
            io::ErrorKind::InvalidInput => Refusal::Changed.into(),
            _ => SourceError::from(error),
        }
    })?;
    if target.len() > LINK_TARGET_BYTES_MAX {
        return Err(Refusal::UnusableName.into());
    }
    if options.links != LinkMode::KeepAll {
        check_stays(root, path, &target)?;
    }
    let modified = status.modified;
    Ok(SourceLink { target, modified })
}

/// Checks that the link at `path` stays in the tree.
fn check_stays(root: &Root, path: &RelativePath, target: &[u8]) -> Result<(), SourceError> {
    if climbs_out(path, target) {
        return Err(Refusal::LeavesTree.into());
    }
    match root.status(path, Links::Follow) {
        Ok(_) => Ok(()),
        Err(error) => match Errno::from_io_error(&error) {
            // Where it points nothing can be reached, but it points inside.
            Some(
                Errno::NOENT | Errno::LOOP | Errno::ACCESS | Errno::NOTDIR | Errno::NAMETOOLONG,
            ) => Ok(()),
            _ => Err(error.into()),
        },
    }
}

/// Whether `target` is absolute, or has more `..` than lead to the root from the link at `path`.
fn climbs_out(path: &RelativePath, target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    let mut depth = path.depth().saturating_sub(1);
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// Whether the kernel, a sandbox or the file system cannot say what it has in memory.
fn cannot_tell(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
    )
}

fn is_symlink(error: &io::Error) -> bool {
    crate::status::NotRegular::of(error) == Some(Kind::Symlink)
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOTDIR | Errno::LOOP)
    )
}
