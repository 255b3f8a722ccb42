//! Names that can only be made once everything else is in place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_protocol::path::RelativePath;

use crate::directory::DirectoryNode;
use crate::plan::Wanted;

/// The hard links of a tree, and the directories that wait for links.
///
/// Holds four paths for each name of a file that has several names, if hard links are asked for.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    first_names: BTreeMap<u64, RelativePath>,
    /// The same names, and where each file was placed, once it was.
    placed: BTreeMap<RelativePath, Option<RelativePath>>,
    /// Each with its first name as that is in `placed`.
    further: Vec<(RelativePath, FurtherName)>,
    held: Vec<Arc<DirectoryNode>>,
}

/// One more name of a file that has another already.
#[derive(Debug)]
pub(crate) struct FurtherName {
    /// The name that its content has in the destination; `None` if it did not arrive.
    pub(crate) first: Option<RelativePath>,
    /// The name to make, in a directory that is not sealed before; and what to fetch if it cannot
    /// be made.
    pub(crate) wanted: Wanted,
}

impl Links {
    /// Whether a file of the link group of `wanted` was named before; if so, it is noted as a further
    /// name of that.
    pub(crate) fn is_further_name(&self, wanted: &Wanted) -> bool {
        let (group, path) = (wanted.info.link_group, &wanted.path);
        let mut state = self.lock();
        let Some(first) = state.first_names.get(&group).cloned() else {
            state.first_names.insert(group, path.clone());
            state.placed.insert(path.clone(), None);
            return false;
        };
        let further = FurtherName {
            first: None,
            wanted: wanted.clone(),
        };
        state.further.push((first, further));
        true
    }

    /// The file that was named `path` is in place under `placed`.
    pub(crate) fn handle_placed(&self, path: &RelativePath, placed: &RelativePath) {
        if let Some(place) = self.lock().placed.get_mut(path) {
            *place = Some(placed.clone());
        }
    }

    /// Keeps `directory` from being sealed until everything else is done.
    pub(crate) fn hold(&self, directory: Arc<DirectoryNode>) {
        self.lock().held.push(directory);
    }

    /// The further names, to be made now.
    pub(crate) fn take_further_names(&self) -> Vec<FurtherName> {
        let mut state = self.lock();
        let further = std::mem::take(&mut state.further).into_iter();
        let named = further.map(|(first, mut further)| {
            further.first = state.placed.get(&first).cloned().flatten();
            further
        });
        named.collect()
    }

    /// The further names that were not made yet.
    pub(crate) fn unfinished(&self) -> Vec<RelativePath> {
        let state = self.lock();
        let further = state.further.iter();
        further
            .map(|(_, further)| further.wanted.path.clone())
            .collect()
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
