//! The next page of a tree, which a disk worker makes ahead of its request.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use packhorse_storage::workers::DiskWorkers;
use packhorse_transport::frame_buffers::FrameBuffers;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::pages::{self, MadePage, OpenTree};

/// A tree that a client has open, and its next page. Once this is dropped, no more pages are made.
pub(crate) struct PagesAhead(Arc<Making>);

/// What pages are made with.
pub(crate) struct PageMeans {
    pub(crate) workers: Arc<DiskWorkers>,
    pub(crate) buffers: Arc<FrameBuffers>,
    /// Memory for what is made ahead, in MiB, of all clients together.
    pub(crate) ahead: Arc<Semaphore>,
    /// How much of it pages leave to others.
    pub(crate) ahead_left: usize,
}

struct Making {
    means: PageMeans,
    next: Mutex<NextPage>,
}

enum NextPage {
    /// A job makes it, or will when its turn comes; who waits for it.
    Begun(Option<oneshot::Sender<MadePage>>),
    /// It is made, and the tree can go on behind it.
    Made(Box<OpenTree>, MadePage),
    /// Its job did not come to an end.
    Lost,
}

impl PagesAhead {
    /// Begins to make the first page of `tree`. It is small: it is there soon, and brings on a client
    /// that is cut off again and again.
    pub(crate) fn begin(tree: OpenTree, means: PageMeans) -> Self {
        let next = Mutex::new(NextPage::Begun(None));
        let making = Arc::new(Making { means, next });
        making.begin(Box::new(tree), Size::Small);
        Self(making)
    }

    /// The next page, behind which the one after it is begun; `None` if a job of this tree did not
    /// come to its end. If this is dropped while it waits, a page may be lost with it.
    pub(crate) async fn next(&mut self) -> Option<MadePage> {
        let page = {
            let mut next = self.0.lock();
            match mem::replace(&mut *next, NextPage::Begun(None)) {
                NextPage::Made(tree, page) => {
                    drop(next);
                    self.0.begin(tree, Size::AsMemoryAllows);
                    return Some(page);
                }
                NextPage::Begun(_) => {
                    let (asker, page) = oneshot::channel();
                    *next = NextPage::Begun(Some(asker));
                    page
                }
                NextPage::Lost => {
                    *next = NextPage::Lost;
                    return None;
                }
            }
        };
        page.await.ok()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Small,
    AsMemoryAllows,
}

impl Making {
    fn begin(self: &Arc<Self>, tree: Box<OpenTree>, size: Size) {
        let job = PageJob {
            making: Arc::downgrade(self),
            tree: Some(tree),
        };
        self.means.workers.start(move || job.run(size));
    }

    /// Takes a page. One that somebody waits for is handed over, and the next is begun at once: who
    /// has waited must wake up first, and meanwhile nobody would walk.
    fn handle_made(self: &Arc<Self>, tree: Box<OpenTree>, page: MadePage) {
        let mut next = self.lock();
        let asker = match &mut *next {
            NextPage::Begun(asker) => asker.take(),
            NextPage::Made(..) | NextPage::Lost => None,
        };
        let kept = match asker {
            Some(asker) => asker.send(page).err(),
            None => Some(page),
        };
        match kept {
            Some(page) => *next = NextPage::Made(tree, page),
            None => {
                drop(next);
                self.begin(tree, Size::AsMemoryAllows);
            }
        }
    }

    /// Room for a large page. It may wait for its request for as long as its client likes, so pages
    /// leave half of the memory to what is on its way.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        let PageMeans {
            ahead, ahead_left, ..
        } = &self.means;
        let has_room = ahead.available_permits() > *ahead_left;
        has_room.then(|| Arc::clone(ahead).try_acquire_owned().ok())?
    }

    /// No code that could panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, NextPage> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A disk job that makes one page.
struct PageJob {
    making: Weak<Making>,
    /// Until the page is made.
    tree: Option<Box<OpenTree>>,
}

impl PageJob {
    fn run(mut self, size: Size) {
        // Without the one, nobody wants the page any more.
        let (Some(making), Some(tree)) = (self.making.upgrade(), self.tree.as_deref_mut()) else {
            return;
        };
        let is_large = size == Size::AsMemoryAllows && tree.has_content();
        let room = is_large.then(|| making.room()).flatten();
        let page = pages::next_page(tree, room, &making.means.buffers);
        if let Some(tree) = self.tree.take() {
            making.handle_made(tree, page);
        }
    }
}

impl Drop for PageJob {
    fn drop(&mut self) {
        if self.tree.is_some()
            && let Some(making) = self.making.upgrade()
        {
            // Whoever waits hears of it, as this drops the other end.
            *making.lock() = NextPage::Lost;
        }
    }
}
