//! What is at the destination already, and how it compares with what a peer has.

use std::cell::Cell;
use std::io;

use packhorse_protocol::content::{GroupIndex, group_length};
use packhorse_protocol::entry::{FileInfo, Mode};
use packhorse_protocol::path::{Name, RelativePath};

use crate::directory::Directory;
use crate::file::File;
use crate::status::{Kind, NotRegular, Status};

use super::metadata::{OWNER_FILE, mend_xattrs};
use super::{Destination, EntryError, Site, Spot};

/// What is under the name of a file that a peer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Absent,
    /// A regular file of the same size and, to the nanosecond, time.
    Same {
        /// Its permission bits, which may differ: see [`Destination::set_mode`].
        mode: Mode,
    },
    /// A regular file of another size or time.
    Different {
        /// Its size in bytes.
        size: u64,
    },
    /// Something that is no regular file.
    OtherKind(Kind),
}

impl Destination {
    /// Compares the entry `path`, of which a peer says `info`, with what is here.
    ///
    /// # Errors
    /// `Collides` if what is here has another name that this file system takes for the same.
    pub fn compare(&self, path: &RelativePath, info: &FileInfo) -> Result<Presence, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::NotFile { path: path.clone() });
        };
        let mut compared = self.compare_all(&parent, [(&name, info)]);
        compared.pop().expect("there is an outcome for each entry")
    }

    /// Compares `entries` of one `directory`, of each of which a peer says something, with what is
    /// here; returns for each, in order, what [`compare`](Self::compare) does.
    pub fn compare_all<'a>(
        &self,
        directory: &RelativePath,
        entries: impl IntoIterator<Item = (&'a Name, &'a FileInfo)>,
    ) -> Vec<Result<Presence, EntryError>> {
        let mut opened = None;
        let case_counts = Cell::new(false);
        let entries = entries.into_iter();
        entries
            .map(|(name, info)| {
                let found = self.site.find(directory, &mut opened, &case_counts, name)?;
                Ok(found.map_or(Presence::Absent, |found| Presence::of(&found, info)))
            })
            .collect()
    }

    /// Where an earlier run has placed the file `path` beside another: a file of the size and time
    /// that a peer says, with its permission bits. `None` unless both are to be
    /// [kept](super::Existing::KeepBoth).
    ///
    /// # Errors
    /// The system's own.
    pub fn find_beside(
        &self,
        path: &RelativePath,
        info: &FileInfo,
    ) -> Result<Option<(RelativePath, Mode)>, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::NotFile { path: path.clone() });
        };
        let directory = self.site.open_directory(&parent)?;
        let spot = Spot {
            directory: &directory,
            parent: &parent,
            name: &name,
        };
        let is_it =
            |_: &Name, found: &Status| matches!(Presence::of(found, info), Presence::Same { .. });
        let beside = self.site.find_beside(&spot, 0, is_it)?;
        Ok(beside.and_then(|(_, name, found)| {
            let path = parent.join(&name).ok()?;
            Some((path, Mode::from_bits(found.mode)))
        }))
    }

    /// Where an earlier run may have placed the file `path` beside another, if only its content can
    /// tell: the first file of `size` bytes whose number is above `after`. `None` unless both are to
    /// be [kept](super::Existing::KeepBoth).
    ///
    /// # Errors
    /// The system's own.
    pub fn next_beside(
        &self,
        path: &RelativePath,
        size: u64,
        after: u32,
    ) -> Result<Option<(u32, RelativePath)>, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::NotFile { path: path.clone() });
        };
        let directory = self.site.open_directory(&parent)?;
        let spot = Spot {
            directory: &directory,
            parent: &parent,
            name: &name,
        };
        let is_it = |_: &Name, found: &Status| found.kind == Kind::File && found.size == size;
        let beside = self.site.find_beside(&spot, after, is_it)?;
        Ok(beside.and_then(|(number, name, _)| Some((number, parent.join(&name).ok()?))))
    }

    /// Sets the permission bits of a file that is here.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_mode(&self, path: &RelativePath, mode: Mode) -> Result<(), EntryError> {
        let action = "set the mode of";
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::NotFile { path: path.clone() });
        };
        let directory = self.site.open_directory(&parent)?;
        directory
            .set_mode_of(&name, mode)
            .map_err(|error| EntryError::new(action, path, error))
    }

    /// Gives a file that is here, and has the right content, the time and mode of `info`.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_attributes(&self, path: &RelativePath, info: &FileInfo) -> Result<(), EntryError> {
        self.set_mode(path, info.mode)?;
        let action = "set the time of";
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::NotFile { path: path.clone() });
        };
        let directory = self.site.open_directory(&parent)?;
        directory
            .set_times_of(&name, info.modified)
            .map_err(|error| EntryError::new(action, path, error))
    }

    /// Gives a file that is here the extended attributes of `info`, where they are asked for.
    ///
    /// # Errors
    /// The system's own.
    pub fn mend_xattrs(&self, path: &RelativePath, info: &FileInfo) -> Result<(), EntryError> {
        if !self.site.options.xattrs {
            return Ok(());
        }
        let failed = |error| EntryError::new("set the extended attributes of", path, error);
        let mend = || {
            let existing = self.open_existing(path)?;
            mend_xattrs(&existing.file, &info.xattrs).map_err(failed)
        };
        match mend() {
            Err(EntryError::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                let owned = Mode::from_bits(info.mode.bits() | OWNER_FILE);
                self.set_mode(path, owned)?;
                let mended = mend();
                self.set_mode(path, info.mode)?;
                mended
            }
            other => other,
        }
    }

    /// Opens a file that is here, to hash or to copy groups of it.
    ///
    /// # Errors
    /// `NotFile`; otherwise the system's own.
    pub fn open_existing(&self, path: &RelativePath) -> Result<ExistingFile, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::NotFile { path: path.clone() });
        };
        let directory = self.site.open_directory(&parent)?;
        match directory.open_file(&name) {
            Ok(file) => Ok(ExistingFile {
                size: file.opened().size,
                file,
                path: path.clone(),
            }),
            Err(error) if NotRegular::of(&error).is_some() => {
                Err(EntryError::NotFile { path: path.clone() })
            }
            Err(error) => Err(EntryError::new("read", path, error)),
        }
    }
}

impl Presence {
    fn of(found: &Status, info: &FileInfo) -> Self {
        match found.kind {
            Kind::File if (found.size, found.modified) == (info.size, info.modified) => {
                Self::Same {
                    mode: Mode::from_bits(found.mode),
                }
            }
            Kind::File => Self::Different { size: found.size },
            other => Self::OtherKind(other),
        }
    }
}

impl Site {
    /// The state of what is called exactly `name` in the directory `parent`, which is opened unless
    /// it is in `opened` already; `None` if there is nothing.
    fn find(
        &self,
        parent: &RelativePath,
        opened: &mut Option<Directory>,
        case_counts: &Cell<bool>,
        name: &Name,
    ) -> Result<Option<Status>, EntryError> {
        let directory = match opened {
            Some(directory) => &*directory,
            None => match self.open_directory(parent) {
                Err(EntryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                directory => opened.insert(directory?),
            },
        };
        let spot = Spot {
            directory,
            parent,
            name,
        };
        let found = match directory.status_of(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(spot.error("look at"))?,
        };
        let is_exact = self
            .exact_names
            .is_exact_among_many(directory, case_counts, name, &found)
            .map_err(spot.error("look at"))?;
        if is_exact {
            Ok(Some(found))
        } else {
            Err(EntryError::Collides { path: spot.path() })
        }
    }
}

/// A regular file at the destination, open for reading.
#[derive(Debug)]
pub struct ExistingFile {
    file: File,
    size: u64,
    path: RelativePath,
}

impl ExistingFile {
    /// Its size in bytes when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` with the bytes of `group`: none beyond the end.
    ///
    /// # Errors
    /// `ChangedHere` if the file has become shorter; otherwise the system's own.
    pub fn read_group(&self, group: GroupIndex, buffer: &mut Vec<u8>) -> Result<(), EntryError> {
        read_group(&self.file, &self.path, self.size, group, buffer)
    }
}

/// Fills `buffer` with the bytes of `group` of a `file` of `size` bytes.
pub(super) fn read_group(
    file: &File,
    path: &RelativePath,
    size: u64,
    group: GroupIndex,
    buffer: &mut Vec<u8>,
) -> Result<(), EntryError> {
    buffer.resize(group_length(group, size), 0);
    let read = file
        .read_at(group.offset(), buffer)
        .map_err(|error| EntryError::new("read", path, error))?;
    if read == buffer.len() {
        Ok(())
    } else {
        Err(EntryError::ChangedHere { path: path.clone() })
    }
}
