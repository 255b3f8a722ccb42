//! A file that arrives from its beginning to its end, with nothing known of it beforehand.

use std::sync::Arc;

use packhorse_protocol::content::ContentHash;
use packhorse_protocol::entry::Mode;
use packhorse_protocol::limits::FILE_BYTES_MAX;
use packhorse_protocol::path::{Name, RelativePath};

use crate::file::File;

use super::job::Unfinished;
use super::metadata::sync_file;
use super::placement::Placed;
use super::{Destination, EntryError, Site, Spot};

/// The mode of a file of which no other is known; the umask applies to it.
const ANYONES_FILE: u32 = 0o666;

/// A file that is not complete and has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct StreamedFile {
    site: Arc<Site>,
    unfinished: Unfinished,
    file: File,
    parent: RelativePath,
    name: Name,
    path: RelativePath,
    length: u64,
    hasher: blake3::Hasher,
}

impl Destination {
    /// Begins the file `path`, of which neither size nor time is known.
    ///
    /// # Errors
    /// `Exists` or `Collides` already if the name is taken and the policy is to refuse.
    pub fn begin_streamed(&self, path: &RelativePath) -> Result<StreamedFile, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::NotFile { path: path.clone() });
        };
        self.site.check_free(&parent, &name)?;
        let (unfinished, file) = self
            .site
            .folder_for(path)?
            .create_file(Mode::from_bits(ANYONES_FILE))
            .map_err(|error| self.site.lack(EntryError::new("write", path, error)))?;
        Ok(StreamedFile {
            site: Arc::clone(&self.site),
            unfinished,
            file,
            parent,
            name,
            path: path.clone(),
            length: 0,
            hasher: blake3::Hasher::new(),
        })
    }
}

impl StreamedFile {
    /// Writes `bytes` behind what is there.
    ///
    /// # Errors
    /// `TooLarge`; otherwise the system's own.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), EntryError> {
        let length = self.length.saturating_add(bytes.len() as u64);
        if length > FILE_BYTES_MAX {
            return Err(EntryError::TooLarge {
                path: self.path.clone(),
                size: length,
            });
        }
        self.file
            .write_all_at(self.length, bytes)
            .map_err(|error| EntryError::new("write", &self.path, error))?;
        self.length = length;
        self.hasher.update(bytes);
        Ok(())
    }

    /// The hash of what was written.
    #[must_use]
    pub fn content_hash(&self) -> ContentHash {
        ContentHash::from(*self.hasher.finalize().as_bytes())
    }

    /// Gives the file, which must be complete, its name.
    ///
    /// # Errors
    /// `SyncFailed`, `Exists`, `Collides`; otherwise the system's own. The file is gone then.
    pub fn finish(self) -> Result<Placed, EntryError> {
        let Self {
            site,
            unfinished,
            file,
            parent,
            name,
            path,
            length: _,
            hasher: _,
        } = self;
        sync_file(&site.options, &unfinished, &file, || path.clone())?;
        drop(file);
        let directory = site.open_directory(&parent)?;
        let spot = Spot {
            directory: &directory,
            parent: &parent,
            name: &name,
        };
        let placed = site.place(&unfinished, &spot)?;
        site.sync_placed(placed, &spot)
    }
}
