//! A file that arrives in groups, in any order and from many threads.

use std::io;
use std::sync::Arc;

use packhorse_protocol::content::{GroupHash, GroupIndex, group_length};
use packhorse_protocol::entry::{FileInfo, Mode};
use packhorse_protocol::limits::FILE_BYTES_MAX;
use packhorse_protocol::path::{Name, RelativePath};
use rustix::io::Errno;

use crate::file::File;

use super::existing_file::read_group;
use super::job::Unfinished;
use super::metadata::complete_file;
use super::placement::Placed;
use super::{Destination, EntryError, Existing, ExistingFile, Site, Spot};

/// Runs of zeros of this length, where they begin at a multiple of it, stay holes in a sparse file.
const HOLE_BYTES: usize = 4096;

static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];

const OWNER_FILE: u32 = 0o600;

/// A file that is not complete and has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct LargeFile {
    site: Arc<Site>,
    unfinished: Unfinished,
    file: File,
    parent: RelativePath,
    name: Name,
    path: RelativePath,
    info: FileInfo,
}

impl Destination {
    /// Begins the file `path`, which is one hole of the announced size at first: a lie about the
    /// size costs nothing.
    ///
    /// # Errors
    /// `TooLarge`; `Exists` or `Collides` already if the name is taken and the policy is to refuse.
    pub fn begin_large(
        &self,
        path: &RelativePath,
        info: &FileInfo,
    ) -> Result<LargeFile, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::NotFile { path: path.clone() });
        };
        self.site.check_free(&parent, &name)?;
        let too_large = || EntryError::TooLarge {
            path: path.clone(),
            size: info.size,
        };
        if info.size > FILE_BYTES_MAX {
            return Err(too_large());
        }
        let (unfinished, file) = self
            .site
            .folder_for(path)?
            .create_file(Mode::from_bits(OWNER_FILE))
            .map_err(|error| EntryError::new("write", path, error))?;
        if let Err(error) = file.set_length(info.size) {
            return Err(match Errno::from_io_error(&error) {
                Some(Errno::FBIG | Errno::INVAL) => too_large(),
                _ => EntryError::new("write", path, error),
            });
        }
        Ok(LargeFile {
            site: Arc::clone(&self.site),
            unfinished,
            file,
            parent,
            name,
            path: path.clone(),
            info: info.clone(),
        })
    }
}

impl Site {
    /// Finds out before the data is fetched whether the policy will refuse its name.
    pub(super) fn check_free(&self, parent: &RelativePath, name: &Name) -> Result<(), EntryError> {
        if self.options.existing == Existing::KeepBoth {
            return Ok(());
        }
        let directory = self.open_directory(parent)?;
        let spot = Spot {
            directory: &directory,
            parent,
            name,
        };
        match directory.status_of(name) {
            Ok(found) => self.obstacle(&spot, &found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(spot.error("look at")(error)),
        }
    }
}

impl LargeFile {
    /// Writes the verified `bytes` of `group`. Each group may be written more than once.
    ///
    /// # Errors
    /// `WrongLength`; otherwise the system's own.
    pub fn write_group(&self, group: GroupIndex, bytes: &[u8]) -> Result<(), EntryError> {
        if bytes.is_empty() || bytes.len() != group_length(group, self.info.size) {
            return Err(EntryError::WrongLength {
                path: self.path.clone(),
                size: self.info.size,
            });
        }
        self.write_at(group.offset(), bytes)
            .map_err(|error| EntryError::new("write", &self.path, error))
    }

    /// Copies `group` from a file that is here, by way of `buffer`. Returns the hash of what was
    /// copied, which may have changed since `source` was last looked at.
    ///
    /// # Errors
    /// As [`ExistingFile::read_group`] and [`write_group`](Self::write_group).
    pub fn copy_group_from(
        &self,
        source: &ExistingFile,
        group: GroupIndex,
        buffer: &mut Vec<u8>,
    ) -> Result<GroupHash, EntryError> {
        source.read_group(group, buffer)?;
        self.write_group(group, buffer)?;
        Ok(GroupHash::of(group, self.info.size, buffer))
    }

    /// Fills `buffer` with the bytes of `group` as they are now: zeros where nothing was written.
    ///
    /// # Errors
    /// The system's own.
    pub fn read_group(&self, group: GroupIndex, buffer: &mut Vec<u8>) -> Result<(), EntryError> {
        read_group(&self.file, &self.path, self.info.size, group, buffer)
    }

    /// What was said of the file when it was begun.
    #[must_use]
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Gives the file, which must be complete, its mode, time and name.
    ///
    /// # Errors
    /// `SyncFailed`, after which all of it must be fetched again; `Exists`, `Collides`; otherwise
    /// the system's own. The file is gone then.
    pub fn finish(self) -> Result<Placed, EntryError> {
        let Self {
            site,
            unfinished,
            file,
            parent,
            name,
            path,
            info,
        } = self;
        complete_file(&site.options, &unfinished, &file, || path.clone(), &info)?;
        drop(file);
        let directory = site.open_directory(&parent)?;
        let spot = Spot {
            directory: &directory,
            parent: &parent,
            name: &name,
        };
        let placed = site.place(unfinished, &spot)?;
        site.sync_placed(placed, &spot)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let is_hole = || match self.file.next_data(offset) {
            Ok(Some(data)) => Ok(data.start >= end),
            other => other.map(|data| data.is_none()),
        };
        // Zeros may be left out only where no other bytes were written before.
        if self.info.sparse && is_hole()? {
            write_with_holes(&self.file, offset, bytes)
        } else {
            self.file.write_all_at(offset, bytes)
        }
    }
}

/// Writes `bytes` at `offset`, which is a multiple of [`HOLE_BYTES`], into a hole of `file`: its
/// zeros stay a hole.
pub(super) fn write_with_holes(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut data_from = 0;
    let mut at = 0;
    for chunk in bytes.chunks(HOLE_BYTES) {
        let end = at + chunk.len();
        if chunk == &ZEROS[..chunk.len()] {
            write_run(file, offset, bytes, data_from, at)?;
            data_from = end;
        }
        at = end;
    }
    write_run(file, offset, bytes, data_from, at)
}

fn write_run(file: &File, offset: u64, bytes: &[u8], from: usize, to: usize) -> io::Result<()> {
    if from == to {
        return Ok(());
    }
    file.write_all_at(offset + from as u64, &bytes[from..to])
}
