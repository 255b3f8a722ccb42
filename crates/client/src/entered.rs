//! What a page has named and no disk job has taken yet.

use std::collections::VecDeque;
use std::sync::Arc;

use packhorse_protocol::session::{Item, Violation};

use crate::place::{Entry, Site};

/// Entries of a page that are placed by one disk job.
const ENTRIES_PER_JOB: usize = 64;

/// Entries of a page, which are counted. Those that are left when it is dropped, since the run ends
/// in the middle of the page, are told as unfinished. The plan waits for that.
pub(crate) struct Entered {
    site: Arc<Site>,
    entries: VecDeque<Entry>,
}

impl Entered {
    /// A page of which nothing has been entered yet.
    pub(crate) fn new(site: Arc<Site>) -> Self {
        site.plan.handle_job();
        Self {
            site,
            entries: VecDeque::new(),
        }
    }

    /// Makes the directories of the page; pages come here in their order.
    ///
    /// # Errors
    /// As [`Site::enter_page`].
    pub(crate) fn enter(mut self, items: Vec<Item>) -> Result<Self, Violation> {
        let site = Arc::clone(&self.site);
        site.enter_page(items, &mut self.entries)?;
        Ok(self)
    }

    /// Takes what one disk job places next; `None` if there is no more.
    pub(crate) fn take_batch(&mut self) -> Option<Vec<Entry>> {
        let count = self.entries.len().min(ENTRIES_PER_JOB);
        (count > 0).then(|| self.entries.drain(..count).collect())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = self.entries.drain(..).map(Entry::into_path);
        self.site.plan.handle_left(left);
        self.site.plan.handle_done();
    }
}
