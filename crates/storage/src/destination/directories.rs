//! Directories at the destination: entered before what is in them, sealed after it.

use std::io;

use packhorse_protocol::entry::{DirectoryInfo, Mode};
use packhorse_protocol::path::RelativePath;

use crate::directory::Directory;
use crate::root::Links;
use crate::status::{Kind, Status};

use super::metadata::{set_directory_xattrs, sync_directory};
use super::{Destination, EntryError, Existing, Site, Spot};

/// What its owner needs in a directory while it is being filled.
const OWNER_ALL: u32 = 0o700;

/// How a directory was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnterOutcome {
    /// It was made.
    Created,
    /// It was there.
    Existing,
    /// It was made in the place of a file or link.
    Replaced,
}

impl Destination {
    /// Makes the directory `path`, or finds it, so that it can be filled. Its parent must have been
    /// entered. Nothing below a directory that fails may be written.
    ///
    /// Only its owner may do anything in a new one until it is [sealed](Self::seal_directory).
    ///
    /// # Errors
    /// `Exists` if there is something else, unless that is to be replaced; `Collides`.
    pub fn enter_directory(&self, path: &RelativePath) -> Result<EnterOutcome, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return Ok(EnterOutcome::Existing);
        };
        let directory = self.site.open_directory(&parent)?;
        let spot = Spot {
            directory: &directory,
            parent: &parent,
            name: &name,
        };
        let outcome = match create(&spot) {
            Ok(()) => EnterOutcome::Created,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.site.enter_existing(&spot)?
            }
            Err(error) => return Err(self.site.lack(spot.error("make the directory")(error))),
        };
        if self.site.options.durable && outcome != EnterOutcome::Existing {
            sync_directory(&directory, path)?;
        }
        Ok(outcome)
    }

    /// Lets the owner fill the destination itself, which an earlier run may have sealed against it;
    /// for a caller that will seal it again.
    pub fn allow_owner(&self) {
        // Where that fails, what needs it fails with a better error.
        if let Ok(top) = self.site.open_to_seal(&RelativePath::ROOT)
            && let Ok(found) = top.status()
            && found.mode & OWNER_ALL != OWNER_ALL
        {
            let _ = top.set_mode(Mode::from_bits(found.mode | OWNER_ALL));
        }
    }

    /// Gives the directory `path` its mode and time, once all that is in it is done; deepest first.
    /// The destination itself is sealed when [`finish`](Self::finish) is done.
    ///
    /// # Errors
    /// The system's own.
    pub fn seal_directory(
        &self,
        path: &RelativePath,
        info: &DirectoryInfo,
    ) -> Result<(), EntryError> {
        if path.is_root() {
            let mut put_off = self.site.put_off();
            if !put_off.is_over {
                // Removing the job's folder changes its time once more.
                put_off.root = Some(info.clone());
                return Ok(());
            }
        }
        self.site.seal(path, info)
    }
}

impl Site {
    /// Seals the destination itself with `info`, if it is to be, and makes it durable, if it is to
    /// be.
    pub(super) fn seal_root(&self, info: Option<&DirectoryInfo>) -> Result<(), EntryError> {
        let path = RelativePath::ROOT;
        match info {
            Some(info) => self.seal(&path, info),
            None if self.options.durable => sync_directory(&self.open_to_seal(&path)?, &path),
            None => Ok(()),
        }
    }

    pub(super) fn open_to_seal(&self, path: &RelativePath) -> Result<Directory, EntryError> {
        self.root
            .open_directory(path, Links::Refuse)
            .map_err(|error| EntryError::of_directory(path, error))
    }

    fn seal(&self, path: &RelativePath, info: &DirectoryInfo) -> Result<(), EntryError> {
        let failed = |action| move |error| EntryError::new(action, path, error);
        let directory = self.open_to_seal(path)?;
        if self.options.xattrs {
            set_directory_xattrs(&directory, &info.xattrs)
                .map_err(failed("set the extended attributes of"))?;
        }
        let status = directory.status().map_err(failed("look at"))?;
        if Mode::from_bits(status.mode) != info.mode {
            directory
                .set_mode(info.mode)
                .map_err(failed("set the mode of"))?;
        }
        if status.modified != info.modified {
            directory
                .set_times(info.modified)
                .map_err(failed("set the time of"))?;
        }
        if self.options.durable {
            sync_directory(&directory, path)?;
        }
        Ok(())
    }

    fn enter_existing(&self, spot: &Spot<'_>) -> Result<EnterOutcome, EntryError> {
        let found = spot
            .directory
            .status_of(spot.name)
            .map_err(spot.error("look at"))?;
        if !self.is_exact(spot, &found)? {
            return Err(EntryError::Collides { path: spot.path() });
        }
        if found.kind == Kind::Directory {
            allow_owner(spot, &found);
            return Ok(EnterOutcome::Existing);
        }
        if self.options.existing != Existing::Overwrite {
            return Err(spot.exists(found.kind));
        }
        spot.directory
            .remove_file(spot.name)
            .map_err(spot.error("replace"))?;
        create(spot).map_err(spot.error("make the directory"))?;
        Ok(EnterOutcome::Replaced)
    }
}

fn create(spot: &Spot<'_>) -> io::Result<()> {
    spot.directory
        .create_directory(spot.name, Mode::from_bits(OWNER_ALL))
}

/// Lets the owner fill a directory that an earlier run has sealed against it. Where that fails, what
/// needs it fails with a better error.
pub(super) fn allow_owner(spot: &Spot<'_>, found: &Status) {
    if found.mode & OWNER_ALL != OWNER_ALL {
        let mode = Mode::from_bits(found.mode | OWNER_ALL);
        let _ = spot.directory.set_mode_of(spot.name, mode);
    }
}
