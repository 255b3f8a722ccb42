//! What becomes of large files of which an earlier run, or an earlier attempt, has a part.

use std::sync::Arc;

use packhorse_protocol::content::{GroupHash, GroupRange};

use crate::group_table::add_to_runs;
use crate::large::LargeDownload;
use crate::place::Site;
use crate::plan::Reader;
use crate::report::Totals;

impl Site {
    /// Asks for the groups of `range`: for the hashes of those that were found, and for the content
    /// of the others.
    pub(crate) fn ask_for(&self, file: &Arc<LargeDownload>, range: GroupRange) {
        let mut at = range.start();
        for found in file.found() {
            let (start, end) = (found.start().max(at), found.end().min(range.end()));
            if start < end {
                self.ask(Reader::Content(Arc::clone(file)), at, start);
                self.ask(Reader::Found(Arc::clone(file)), start, end);
                at = end;
            }
        }
        self.ask(Reader::Content(Arc::clone(file)), at, range.end());
    }

    fn ask(&self, reader: Reader, start: u64, end: u64) {
        if let Some(range) = GroupRange::new(start, end) {
            self.plan.want_groups(reader, range);
        }
    }

    /// The server's hashes of groups that were found have come: those that agree are kept, and the
    /// content of the others is asked for.
    pub(crate) fn handle_found(
        &self,
        file: &Arc<LargeDownload>,
        range: GroupRange,
        hashes: &[GroupHash],
    ) {
        let mut buffer = Vec::new();
        let mut differing = Vec::new();
        for (group, &hash) in range.iter().zip(hashes) {
            let Some(read) = file.with_target(|target| target.read_group(group, &mut buffer))
            else {
                return;
            };
            let bytes = buffer.len() as u64;
            // What cannot be read is written anew, and then can be, or shows that it cannot.
            if read.is_ok() && file.is_intact(group, &buffer, hash) {
                if !file.was_counted(group) {
                    Totals::add(&self.totals.bytes_kept, bytes);
                    Totals::add(&self.totals.bytes_resumed, bytes);
                }
                let progress = file.handle_group(group, hash);
                self.handle_progress(file, progress);
                continue;
            }
            if !file.was_counted(group) {
                Totals::add(&self.totals.again.differing, bytes);
            }
            add_to_runs(&mut differing, group);
        }
        for run in differing {
            let content = Reader::Content(Arc::clone(file));
            self.plan.want_groups(content, run);
        }
    }
}
