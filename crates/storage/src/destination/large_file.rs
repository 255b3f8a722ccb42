//! A file that arrives in groups, in any order and from many threads.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_protocol::content::{GroupHash, GroupIndex, GroupRange, group_length};
use packhorse_protocol::entry::FileInfo;
use packhorse_protocol::limits::{FILE_BYTES_MAX, GROUP_BYTES};
use packhorse_protocol::path::{Name, RelativePath};
use rustix::io::Errno;

use crate::file::File;

use super::existing_file::read_group;
use super::half_done::{HalfDone, groups_with_data};
use super::job::Unfinished;
use super::metadata::complete_file;
use super::placement::Placed;
use super::{Destination, EntryError, Existing, ExistingFile, Site, Spot};

/// Runs of zeros of this length, where they begin at a multiple of it, stay holes in a sparse file.
const HOLE_BYTES: usize = 4096;

static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];

/// The unit in which a file's space is counted.
const BLOCK_BYTES: u64 = 512;

/// A file that is not complete and has no name yet.
///
/// Dropped, what was written of it is kept for whoever begins it next, in this run of the job or
/// the next one.
#[derive(Debug)]
pub struct LargeFile {
    site: Arc<Site>,
    unfinished: Unfinished,
    file: File,
    /// Held while a group is written. The system lets one in at a time too, and has the others spin
    /// for it, each on a processor that could hash or receive meanwhile.
    turn: Mutex<()>,
    parent: RelativePath,
    name: Name,
    path: RelativePath,
    info: FileInfo,
    found: Vec<GroupRange>,
    /// What it will still take of the disk, in bytes.
    owed: Debt,
}

impl Destination {
    /// Begins the file `path`, or goes on with what an earlier run has of it; all else is one hole
    /// at first, so that a lie about the size costs nothing.
    ///
    /// # Errors
    /// `TooLarge`, `NoRoom`; `Exists` or `Collides` already if the name is taken and the policy is
    /// to refuse.
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
        let HalfDone {
            unfinished,
            file,
            is_found,
        } = self
            .site
            .folder_for(path)?
            .open_half_done(path)
            .map_err(|error| self.site.lack(EntryError::new("write", path, error)))?;
        unfinished.keep_if(is_found);
        if let Err(error) = file.set_length(info.size) {
            return Err(match Errno::from_io_error(&error) {
                Some(Errno::FBIG | Errno::INVAL) => too_large(),
                _ => EntryError::new("write", path, error),
            });
        }
        let read_error = |error| EntryError::new("read", path, error);
        let found = match is_found {
            true => groups_with_data(&file, info.size).map_err(read_error)?,
            false => Vec::new(),
        };
        let owed = self.site.check_room(&unfinished, &file, path, info)?;
        Ok(LargeFile {
            site: Arc::clone(&self.site),
            unfinished,
            file,
            turn: Mutex::default(),
            parent,
            name,
            path: path.clone(),
            info: info.clone(),
            found,
            owed,
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

    /// Finds out before the data is fetched whether there is room for it beside what is owed to
    /// others. How much a sparse file takes, nobody knows before.
    fn check_room(
        self: &Arc<Self>,
        unfinished: &Unfinished,
        file: &File,
        path: &RelativePath,
        info: &FileInfo,
    ) -> Result<Debt, EntryError> {
        let failed = |error| EntryError::new("write", path, error);
        let needed = match info.sparse {
            true => 0,
            false => {
                let blocks = file.status().map_err(failed)?.blocks;
                info.size.saturating_sub(blocks.saturating_mul(BLOCK_BYTES))
            }
        };
        let debt = Debt::new(self, needed);
        let free = unfinished.directory().free_bytes().map_err(failed)?;
        match free {
            Some(free) if self.owed.load(Ordering::Relaxed) > free => Err(EntryError::NoRoom {
                path: path.clone(),
                needed,
                free: free.saturating_sub(self.owed.load(Ordering::Relaxed) - needed),
            }),
            _ => Ok(debt),
        }
    }
}

/// What one file will still take of the disk, in bytes.
#[derive(Debug)]
struct Debt {
    site: Arc<Site>,
    bytes: AtomicU64,
}

impl Debt {
    fn new(site: &Arc<Site>, bytes: u64) -> Self {
        site.owed.fetch_add(bytes, Ordering::Relaxed);
        Self {
            site: Arc::clone(site),
            bytes: AtomicU64::new(bytes),
        }
    }

    /// So much was written, perhaps again.
    fn pay(&self, bytes: u64) {
        let before = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(bytes))
            });
        let (Ok(before) | Err(before)) = before;
        self.site
            .owed
            .fetch_sub(before.min(bytes), Ordering::Relaxed);
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        let left = *self.bytes.get_mut();
        self.site.owed.fetch_sub(left, Ordering::Relaxed);
    }
}

impl LargeFile {
    /// The groups in which an earlier run has written something, in runs. Whether it is what belongs
    /// there nobody knows: they are to be hashed, and compared with the server's.
    #[must_use]
    pub fn found(&self) -> &[GroupRange] {
        &self.found
    }

    /// Forgets what was [found](Self::found) in the groups of `range`: they are zeros
    /// then.
    ///
    /// # Errors
    /// The system's own.
    pub fn clear_found(&self, range: GroupRange) -> Result<(), EntryError> {
        if self.found.is_empty() {
            return Ok(());
        }
        let offset = |group: u64| group.saturating_mul(GROUP_BYTES as u64).min(self.info.size);
        self.file
            .clear(offset(range.start())..offset(range.end()))
            .map_err(|error| EntryError::new("write", &self.path, error))
    }

    /// Ends it, and lets nobody go on with it.
    pub fn discard(self) {
        self.unfinished.keep_if(false);
    }

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
            .map_err(|error| EntryError::new("write", &self.path, error))?;
        self.unfinished.keep_if(true);
        self.owed.pay(bytes.len() as u64);
        Ok(())
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
    /// the system's own. The file is gone then, but where its name was taken, or the disk may do
    /// better later and can be asked what it has: then it is as if it had been dropped.
    pub fn finish(self) -> Result<Placed, EntryError> {
        let Self {
            site,
            unfinished,
            file,
            turn: _,
            parent,
            name,
            path,
            info,
            found: _,
            owed: _,
        } = self;
        let keep_if = |keep| unfinished.keep_if(keep);
        // A disk that did not confirm the data may show it all the same, until the power goes.
        complete_file(&site.options, &unfinished, &file, || path.clone(), &info)
            .inspect_err(|_| keep_if(false))?;
        let directory = site
            .open_directory(&parent)
            .inspect_err(|error| keep_if(error.is_local_io()))?;
        drop(file);
        let spot = Spot {
            directory: &directory,
            parent: &parent,
            name: &name,
        };
        // Who has the name may go, or whoever asked for it may want both.
        let placed = site.place(&unfinished, &spot).inspect_err(|error| {
            keep_if(error.is_local_io() || error.is_refusal_to_overwrite());
        })?;
        site.sync_placed(placed, &spot)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
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
