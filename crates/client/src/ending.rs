//! What is done when nothing more comes: all is in place, or the run ends before that.

use std::sync::atomic::Ordering;

use packhorse_protocol::filter::Patterns;
use packhorse_protocol::path::RelativePath;
use packhorse_storage::destination::{FinishReport, HalfDoneKept};

use crate::place::Site;
use crate::report::{Event, Totals};

impl Site {
    /// Does what can only be done once all files are in place: links that had to wait, and the
    /// metadata of the directories around them.
    pub(crate) fn finish_all(&self) {
        for (path, placed) in self.destination.settle_links() {
            self.handle_link_placed(&path, placed);
        }
        self.leave_tree();
        self.links.release();
        self.seal();
        if self.totals.failed.load(Ordering::Relaxed) == 0 {
            self.destination.forget_half_done();
        }
        if self.settings.patterns != Patterns::default() {
            // What is left out this time may be what another run is for.
            self.destination.keep_untouched();
        }
        let FinishReport {
            links: _,
            root,
            kept,
            left_behind,
        } = self.destination.finish();
        self.note_half_done(kept);
        if let Err(error) = root {
            self.fail(&RelativePath::ROOT, &error.into());
        }
        if let Some(error) = left_behind {
            self.observer.handle(Event::LeftBehind { error: &error });
        }
    }

    /// The run ends before its work is done: says of what was listed what did not arrive, and what
    /// the next run will go on with.
    pub(crate) fn leave_unfinished(&self) {
        let mut paths = self.plan.unfinished();
        paths.extend(self.links.unfinished());
        paths.extend(self.destination.links_put_off());
        for path in &paths {
            Totals::add(&self.totals.unfinished, 1);
            self.observer.handle(Event::Unfinished { path });
        }
        self.note_half_done(self.destination.half_done());
    }

    fn note_half_done(&self, kept: HalfDoneKept) {
        Totals::add(&self.totals.half_done, kept.files);
        Totals::add(&self.totals.half_done_bytes, kept.bytes);
    }
}
