//! Names that can only be made once everything else is in place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_protocol::path::RelativePath;

use crate::directory::DirectoryNode;

/// The hard links of a tree, and the directories that wait for links.
///
/// Holds two paths for each name of a file that has several names, if hard links are asked for.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    first_names: BTreeMap<u64, RelativePath>,
    further: Vec<FurtherName>,
    held: Vec<Arc<DirectoryNode>>,
}

/// One more name of a file that has another already.
#[derive(Debug)]
pub(crate) struct FurtherName {
    /// The name that the content was fetched under.
    pub(crate) first: RelativePath,
    /// The name to make.
    pub(crate) path: RelativePath,
    /// Its directory, which is not sealed before.
    pub(crate) directory: Arc<DirectoryNode>,
}

impl Links {
    /// Whether a file of `group` was named before; if so, `path` is noted as a further name of it.
    pub(crate) fn is_further_name(
        &self,
        group: u64,
        path: &RelativePath,
        directory: &Arc<DirectoryNode>,
    ) -> bool {
        let mut state = self.lock();
        let Some(first) = state.first_names.get(&group).cloned() else {
            state.first_names.insert(group, path.clone());
            return false;
        };
        let (path, directory) = (path.clone(), Arc::clone(directory));
        state.further.push(FurtherName {
            first,
            path,
            directory,
        });
        true
    }

    /// Keeps `directory` from being sealed until everything else is done.
    pub(crate) fn hold(&self, directory: Arc<DirectoryNode>) {
        self.lock().held.push(directory);
    }

    /// The further names, to be made now.
    pub(crate) fn take_further_names(&self) -> Vec<FurtherName> {
        std::mem::take(&mut self.lock().further)
    }

    /// Lets go of the directories that were held.
    pub(crate) fn release(&self) {
        // They are dropped outside the lock: that queues them to be sealed.
        let held = std::mem::take(&mut self.lock().held);
        drop(held);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
