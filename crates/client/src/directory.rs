//! The directories of a tree that is being fetched, each finished once nothing in it is under way.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use packhorse_protocol::entry::DirectoryInfo;
use packhorse_protocol::path::RelativePath;
use packhorse_storage::destination::{Destination, EntryError};

/// Directories that only wait for their times and modes, the deepest first.
#[derive(Debug, Default)]
pub(crate) struct SealQueue(Mutex<Vec<(RelativePath, DirectoryInfo)>>);

impl SealQueue {
    /// Sets the metadata of every directory that is complete; returns those that failed.
    pub(crate) fn seal(&self, destination: &Destination) -> Vec<(RelativePath, EntryError)> {
        // The lock is held throughout, so that a parent is never sealed before its child.
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = waiting.drain(..);
        sealed
            .filter_map(|(path, info)| {
                let error = destination.seal_directory(&path, &info).err()?;
                Some((path, error))
            })
            .collect()
    }

    fn push(&self, path: RelativePath, info: DirectoryInfo) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((path, info));
    }
}

/// A directory of the destination. Whatever is still to happen in it holds it; when the last holder
/// lets go, it is queued to be sealed, and only then lets go of its parent.
#[derive(Debug)]
pub(crate) struct DirectoryNode {
    path: RelativePath,
    info: Option<DirectoryInfo>,
    parent: Option<Arc<DirectoryNode>>,
    made: OnceLock<bool>,
    seals: Arc<SealQueue>,
}

impl DirectoryNode {
    /// The directory at `path` in the destination. `info` is `None` for one that only has to be
    /// there, such as the destination around a single file.
    pub(crate) fn new(
        path: RelativePath,
        info: Option<DirectoryInfo>,
        parent: Option<Arc<Self>>,
        seals: &Arc<SealQueue>,
    ) -> Arc<Self> {
        Arc::new(Self {
            path,
            info,
            parent,
            made: OnceLock::new(),
            seals: Arc::clone(seals),
        })
    }

    /// Where it is in the destination.
    pub(crate) fn path(&self) -> &RelativePath {
        &self.path
    }

    /// Makes the directory and its ancestors unless that was done; whether they are there.
    ///
    /// # Errors
    /// What stands in the way, to whoever asks first; later callers only learn that it failed.
    pub(crate) fn make(&self, destination: &Destination) -> Result<bool, EntryError> {
        if let Some(parent) = &self.parent
            && !parent.make(destination)?
        {
            return Ok(*self.made.get_or_init(|| false));
        }
        let mut failure = None;
        let made = *self
            .made
            .get_or_init(|| match destination.enter_directory(&self.path) {
                Ok(_) => true,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            });
        failure.map_or(Ok(made), Err)
    }
}

impl Drop for DirectoryNode {
    fn drop(&mut self) {
        if let Some(info) = self.info.take()
            && self.made.get() == Some(&true)
        {
            self.seals.push(std::mem::take(&mut self.path), info);
        }
    }
}
