//! A directory of this machine as a source.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use packhorse_protocol::entry::{DirectoryInfo, FileInfo, Mode, Refusal, Version, Xattr};
use packhorse_protocol::limits::{LINK_TARGET_BYTES_MAX, XATTR_BYTES_MAX};
use packhorse_protocol::message::EntryOptions;
use packhorse_protocol::path::{Name, RelativePath};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::disk::Disk;
use crate::file::File;
use crate::root::{Links, Root};
use crate::source::{
    FileState, Found, Identity, Source, SourceDirectory, SourceEntry, SourceError, SourceFile,
    SourceLink, SourceNames,
};
use crate::status::{Kind, Status};

/// A directory and all that lies beneath it.
#[derive(Debug)]
pub struct DirectorySource {
    root: Arc<Root>,
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
            root: Arc::new(root),
        }
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
            _ => {
                let file = self.root.open_file(path, Links::Follow)?;
                Ok(Found::File(Box::new(OpenFile { file, options })))
            }
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
        match status.kind {
            Kind::Directory => self.directory(parent.open_directory(&name)?, path, options),
            Kind::Symlink if options.follow_links => self.find_followed(path, options),
            Kind::Symlink => link(&self.root, &parent, path, &name, &status).map(Found::Link),
            Kind::File | Kind::Special | Kind::Unknown => {
                Ok(Found::File(open_known(&parent, &name, &status, options)?))
            }
        }
    }
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
        Ok(Self {
            root,
            directory,
            path,
            identity: Identity { device, inode },
            options,
        })
    }

    fn is_directory(&self, name: &Name, kind: Kind) -> bool {
        let kind = match kind {
            Kind::Unknown => self.directory.status_of(name).map(|status| status.kind),
            known => Ok(known),
        };
        let kind = match kind {
            Ok(Kind::Symlink) if self.options.follow_links => self
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
                match self.options.follow_links {
                    true => self.followed_entry(&path),
                    false => link(&self.root, &self.directory, &path, name, status)
                        .map(SourceEntry::Link),
                }
            }
            Kind::Special | Kind::Unknown => Err(Refusal::Special.into()),
        }
    }

    fn followed_entry(&self, path: &RelativePath) -> Result<SourceEntry, SourceError> {
        let status = self.root.status(path, Links::Follow)?;
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
        self.entry_of(name, &self.directory.status_of(name)?)
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError> {
        let status = self.directory.status_of(name)?;
        if status.kind == Kind::Symlink && self.options.follow_links {
            let file = self.root.open_file(&self.path.join(name)?, Links::Follow)?;
            let options = self.options;
            return Ok(Box::new(OpenFile { file, options }));
        }
        open_known(&self.directory, name, &status, self.options)
    }

    fn open_file_seen(&self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError> {
        let options = self.options;
        match self.directory.open_file_seen(name) {
            Ok(file) => Ok(Box::new(OpenFile { file, options })),
            Err(error) if options.follow_links && is_symlink(&error) => self.open_file(name),
            Err(error) => Err(error.into()),
        }
    }

    fn open_directory(&self, name: &Name) -> Result<Box<dyn SourceDirectory>, SourceError> {
        let path = self.path.join(name)?;
        let directory = match self.directory.open_directory(name) {
            Err(error) if self.options.follow_links && is_no_directory(&error) => {
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

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, SourceError> {
        Ok(self.file.next_data(offset)?)
    }
}

/// What the link `name` in `directory` says, if it stays beneath the root. `path` is its own.
fn link(
    root: &Root,
    directory: &Directory,
    path: &RelativePath,
    name: &Name,
    status: &Status,
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
    if climbs_out(path, &target) {
        return Err(Refusal::LeavesTree.into());
    }
    if let Err(error) = root.status(path, Links::Follow) {
        match Errno::from_io_error(&error) {
            // Where it points nothing can be reached, but it points inside.
            Some(
                Errno::NOENT | Errno::LOOP | Errno::ACCESS | Errno::NOTDIR | Errno::NAMETOOLONG,
            ) => {}
            _ => return Err(error.into()),
        }
    }
    Ok(SourceLink {
        target,
        modified: status.modified,
    })
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

fn is_symlink(error: &io::Error) -> bool {
    crate::status::NotRegular::of(error) == Some(Kind::Symlink)
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOTDIR | Errno::LOOP)
    )
}

fn state_of(status: &Status) -> FileState {
    FileState {
        size: status.size,
        version: version_of(status),
        touched: status.modified.max(status.changed),
    }
}

/// The first 16 bytes of BLAKE3 over device, inode, size and both times, each in little-endian bytes
/// of fixed width.
fn version_of(status: &Status) -> Version {
    let mut bytes = [0; 48];
    let times = [status.modified, status.changed];
    let seconds = times.map(|time| time.seconds().to_le_bytes());
    let nanoseconds = times.map(|time| time.nanoseconds().to_le_bytes());
    let fields: [&[u8]; 7] = [
        &status.device.to_le_bytes(),
        &status.inode.to_le_bytes(),
        &status.size.to_le_bytes(),
        &seconds[0],
        &nanoseconds[0],
        &seconds[1],
        &nanoseconds[1],
    ];
    let mut rest = bytes.as_mut_slice();
    for field in fields {
        let (here, behind) = rest.split_at_mut(field.len());
        here.copy_from_slice(field);
        rest = behind;
    }
    let hash = blake3::hash(&bytes);
    Version(
        *hash
            .as_bytes()
            .first_chunk()
            .expect("32 bytes are more than 16"),
    )
}

/// One number for all names of one file; 0 for a file with one name.
fn link_group(status: &Status) -> u64 {
    if status.links < 2 {
        return 0;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&status.device.to_le_bytes());
    hasher.update(&status.inode.to_le_bytes());
    let hash = hasher.finalize();
    let first = hash
        .as_bytes()
        .first_chunk()
        .expect("32 bytes are more than 8");
    u64::from_le_bytes(*first).max(1)
}

fn file_info(file: &File, status: Status, options: EntryOptions) -> Result<FileInfo, SourceError> {
    let mut info = plain_info(&status, options);
    if options.xattrs {
        info.xattrs = xattrs(file.xattr_names()?, |name| file.xattr(name))?;
    }
    Ok(info)
}

fn directory_info(
    directory: &Directory,
    options: EntryOptions,
) -> Result<DirectoryInfo, SourceError> {
    let mut info = plain_directory_info(&directory.status()?);
    if options.xattrs {
        info.xattrs = xattrs(directory.xattr_names()?, |name| directory.xattr(name))?;
    }
    Ok(info)
}

/// All that is said of a file besides its extended attributes.
fn plain_info(status: &Status, options: EntryOptions) -> FileInfo {
    /// File systems keep the content of very small files where it does not count as occupied.
    const HOLE_BYTES_MIN: u64 = 4096;
    let occupied = status.blocks.saturating_mul(512);
    FileInfo {
        size: status.size,
        modified: status.modified,
        mode: Mode::from_bits(status.mode),
        version: version_of(status),
        sparse: occupied.saturating_add(HOLE_BYTES_MIN) <= status.size,
        link_group: match options.hard_links {
            true => link_group(status),
            false => 0,
        },
        xattrs: Vec::new(),
    }
}

fn plain_directory_info(status: &Status) -> DirectoryInfo {
    DirectoryInfo {
        modified: status.modified,
        mode: Mode::from_bits(status.mode),
        xattrs: Vec::new(),
    }
}

/// The attributes that belong to the user. Those of the system (capabilities, labels, access lists)
/// mean something on this machine only, and could grant rights on another.
fn xattrs(
    names: Vec<Vec<u8>>,
    value_of: impl Fn(&[u8]) -> io::Result<Option<Vec<u8>>>,
) -> Result<Vec<Xattr>, SourceError> {
    let mut names: Vec<_> = names
        .into_iter()
        .filter(|name| name.starts_with(b"user."))
        .collect();
    names.sort_unstable();
    let (mut xattrs, mut total) = (Vec::new(), 0);
    for name in names {
        // One that has gone since the names were read is not there.
        if let Some(value) = value_of(&name)? {
            total += name.len() + value.len();
            xattrs.push(Xattr { name, value });
        }
        if total > XATTR_BYTES_MAX {
            let detail = format!("its extended attributes have more than {XATTR_BYTES_MAX} bytes");
            return Err(io::Error::other(detail).into());
        }
    }
    Ok(xattrs)
}
