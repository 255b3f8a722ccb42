//! What disk jobs do with the groups and hashes of large files.

use std::sync::Arc;

use packhorse_protocol::content::{GroupHash, GroupRange};
use packhorse_protocol::entry::{Refusal, Version};
use packhorse_protocol::limits::FILE_BYTES_MAX;
use packhorse_protocol::message::Done;
use packhorse_protocol::session::Group;
use packhorse_storage::destination::{EntryError, Existing, ExistingFile, LargeFile};

use crate::compare::Comparison;
use crate::group_table::add_to_runs;
use crate::large::{LargeDownload, Progress, Verdict};
use crate::place::Site;
use crate::plan::{Candidate, Reader, Wanted};
use crate::report::{Event, Failure, Totals};

impl Site {
    /// Begins a file that is fetched in groups, or compared with the one that is there.
    pub(crate) fn begin(&self, wanted: Wanted) {
        self.observer.handle(Event::Begun { path: &wanted.path });
        if let Some(candidate) = wanted.compare.clone() {
            return self.begin_comparison(wanted, candidate);
        }
        if !self.make(&wanted.directory) {
            self.fail(&wanted.path, &Failure::NoDirectory);
            return self.plan.handle_large_ended();
        }
        if let Some(target) = self.begin_target(&wanted) {
            let file = Arc::new(LargeDownload::new(wanted, target));
            self.ask_for(&file, file.range());
        }
    }

    fn begin_comparison(&self, wanted: Wanted, candidate: Candidate) {
        match self.open_for_comparison(&wanted, &candidate) {
            Ok(existing) => {
                let comparison = Arc::new(Comparison::new(wanted, candidate, existing));
                let range = comparison.range();
                if range.is_empty() {
                    return self.handle_compared(&comparison);
                }
                self.plan.want_groups(Reader::Compare(comparison), range);
            }
            Err(error) => {
                self.fail(&wanted.path, &error.into());
                self.plan.handle_large_ended();
            }
        }
    }

    fn open_for_comparison(
        &self,
        wanted: &Wanted,
        candidate: &Candidate,
    ) -> Result<ExistingFile, EntryError> {
        if wanted.info.size > FILE_BYTES_MAX {
            return Err(EntryError::TooLarge {
                path: wanted.path.clone(),
                size: wanted.info.size,
            });
        }
        self.destination.open_existing(&candidate.path)
    }

    fn begin_target(&self, wanted: &Wanted) -> Option<LargeFile> {
        match self.destination.begin_large(&wanted.path, &wanted.info) {
            Ok(target) => Some(target),
            Err(error) => {
                self.fail(&wanted.path, &error.into());
                self.plan.handle_large_ended();
                None
            }
        }
    }

    /// A group has come: checks it and writes it.
    pub(crate) fn handle_group(&self, file: &Arc<LargeDownload>, group: &Group) {
        if file.is_given_up() {
            return;
        }
        if !file.is_version(group.version) {
            return self.begin_anew(file);
        }
        if !file.is_intact(group.index, group.bytes(), group.hash()) {
            Totals::add(&self.totals.damaged, 1);
            Totals::add(&self.totals.again.damaged, group.bytes().len() as u64);
            if file.handle_damaged() {
                return self.plan.want_group_again(file, group.index);
            }
            return self.give_up(file, &Failure::Damaged);
        }
        match file.with_target(|target| target.write_group(group.index, group.bytes())) {
            None => {}
            Some(Err(error)) => self.give_up(file, &error.into()),
            Some(Ok(())) => {
                let bytes = group.bytes().len() as u64;
                Totals::add(&self.totals.bytes_fetched, bytes);
                if file.was_counted(group.index) {
                    Totals::add(&self.totals.again.changed, bytes);
                }
                let progress = file.handle_group(group.index, group.hash());
                self.handle_progress(file, progress);
            }
        }
    }

    /// Groups are holes; the file that is written was one from the beginning, but for what an
    /// earlier run has written.
    pub(crate) fn handle_hole(
        &self,
        file: &Arc<LargeDownload>,
        range: GroupRange,
        version: Version,
    ) {
        if file.is_given_up() {
            return;
        }
        if !file.is_version(version) {
            return self.begin_anew(file);
        }
        match file.with_target(|target| target.clear_found(range)) {
            None => {}
            Some(Err(error)) => self.give_up(file, &error.into()),
            Some(Ok(())) => {
                let progress = file.handle_hole(range);
                if self.settings.expect.is_some() && file.is_hollow() {
                    return self.give_up(file, &Failure::Hollow);
                }
                self.handle_progress(file, progress);
            }
        }
    }

    /// Groups of a file that is checked once more are holes still.
    pub(crate) fn handle_hole_again(
        &self,
        file: &Arc<LargeDownload>,
        range: GroupRange,
        version: Version,
    ) {
        if !file.is_version(version) {
            self.begin_anew(file);
        } else if file.handle_rechecked(range.count()) {
            self.plan.want_confirmation(file);
        }
    }

    /// Hashes have come, for a file that is compared or checked once more.
    pub(crate) fn handle_hashes(&self, reader: &Reader, range: GroupRange, hashes: &[GroupHash]) {
        match reader {
            Reader::Content(_) | Reader::RecheckHoles(_) => {}
            Reader::Found(file) => self.handle_found(file, range, hashes),
            Reader::Compare(comparison) => match comparison.handle_hashes(range, hashes) {
                Ok(true) => self.handle_compared(comparison),
                Ok(false) => {}
                Err(error) => {
                    if comparison.give_up() {
                        self.fail(&comparison.wanted.path, &error.into());
                        self.plan.handle_large_ended();
                    }
                }
            },
            Reader::Recheck(file) => {
                for (group, &hash) in range.iter().zip(hashes) {
                    if file.hash_of(group) != hash {
                        return self.begin_anew(file);
                    }
                }
                if file.handle_rechecked(range.count()) {
                    self.plan.want_confirmation(file);
                }
            }
        }
    }

    /// A `Read` was answered to its end.
    pub(crate) fn handle_read(&self, reader: &Reader, done: &Done) {
        match reader {
            Reader::Content(file) | Reader::Found(file) => {
                let progress = file.end_read(done.settled);
                self.handle_progress(file, progress);
            }
            Reader::Compare(comparison) => comparison.end_read(done.settled),
            Reader::Recheck(_) | Reader::RecheckHoles(_) => {}
        }
        if done.version != reader.wanted().info.version {
            self.handle_read_refused(reader, Refusal::Changed);
        }
    }

    /// A `Read` was refused.
    pub(crate) fn handle_read_refused(&self, reader: &Reader, refusal: Refusal) {
        match reader {
            Reader::Content(file)
            | Reader::Found(file)
            | Reader::Recheck(file)
            | Reader::RecheckHoles(file) => match refusal {
                Refusal::Changed => self.begin_anew(file),
                refusal => self.give_up(file, &Failure::Refused(refusal)),
            },
            Reader::Compare(comparison) => {
                if comparison.give_up() {
                    self.plan.handle_large_ended();
                    self.handle_refused(comparison.wanted.clone(), refusal);
                }
            }
        }
    }

    /// The state of a file whose groups are all there has come: it gets its name, or not.
    pub(crate) fn handle_confirmation(&self, file: &Arc<LargeDownload>, done: &Done) {
        // A size that does not fit the version was a lie or a mistake of one of the two messages.
        if done.size != file.wanted.info.size {
            return self.begin_anew(file);
        }
        match file.judge(done.version) {
            Verdict::Changed => self.begin_anew(file),
            Verdict::Unsure => {
                for (run, is_hole) in file.begin_recheck() {
                    let file = Arc::clone(file);
                    let reader = if is_hole {
                        Reader::RecheckHoles(file)
                    } else {
                        Reader::Recheck(file)
                    };
                    self.plan.want_groups(reader, run);
                }
            }
            Verdict::Confirmed => self.finish(file),
        }
    }

    fn finish(&self, file: &Arc<LargeDownload>) {
        let hash =
            (self.settings.expect.is_some() || !file.has_holes()).then(|| file.content_hash());
        if let Some(hash) = hash
            && !self.is_expected(&file.wanted.path, hash)
        {
            file.discard();
            return self.plan.handle_large_ended();
        }
        let Some(target) = file.take_target() else {
            return;
        };
        let finished = target.finish();
        file.give_up();
        self.plan.handle_large_ended();
        match finished {
            Ok(placed) => self.handle_fetched(&file.wanted, &placed, hash),
            Err(error) => {
                let mut wanted = file.wanted.clone();
                wanted.is_taken = error.is_refusal_to_overwrite();
                self.handle_not_placed(wanted, error);
            }
        }
    }

    /// All groups of a file were compared with the one that is there.
    fn handle_compared(&self, comparison: &Comparison) {
        // What still comes of its answers, such as a later version, is for whoever goes on with it.
        if !comparison.give_up() {
            return;
        }
        let wanted = comparison.wanted.clone();
        if comparison.is_same() {
            if self.is_expected(&wanted.path, comparison.content_hash()) {
                self.keep_same_content(&wanted, &comparison.candidate.path);
            }
        } else if wanted.is_taken {
            self.fail(&wanted.path, &Failure::Taken);
        } else if self.existing == Existing::Refuse {
            self.fail(&wanted.path, &Failure::Exists);
        } else if let Some(next) = self.next_candidate(&wanted, comparison.candidate.number) {
            self.want_compared(wanted, next);
        } else if self.settings.dry_run {
            self.report_wanted(&wanted);
        } else if let Some(target) = self.begin_target(&wanted) {
            return self.take_over(comparison, wanted, target);
        } else {
            return;
        }
        self.plan.handle_large_ended();
    }

    /// Writes the groups that were found alike, and asks for the others.
    fn take_over(&self, comparison: &Comparison, wanted: Wanted, target: LargeFile) {
        let file = Arc::new(LargeDownload::new(wanted, target));
        if !comparison.was_settled() {
            file.handle_unsettled();
        }
        let compared = comparison.range();
        let mut buffer = Vec::new();
        let mut differing: Vec<GroupRange> = Vec::new();
        for group in compared.iter() {
            let hash = comparison.equal_group(group);
            // It is read a second time, and so checked a second time.
            let copied = hash.is_some_and(|hash| {
                comparison.existing.read_group(group, &mut buffer).is_ok()
                    && file.is_intact(group, &buffer, hash)
                    && file
                        .with_target(|target| target.write_group(group, &buffer))
                        .is_some_and(|r| r.is_ok())
            });
            if let (true, Some(hash)) = (copied, hash) {
                file.handle_group(group, hash);
                Totals::add(&self.totals.bytes_kept, buffer.len() as u64);
                continue;
            }
            add_to_runs(&mut differing, group);
        }
        let behind = file.range().split_at(compared.count()).1;
        differing.extend((!behind.is_empty()).then_some(behind));
        if differing.is_empty() {
            self.plan.want_confirmation(&file);
        }
        for run in differing {
            self.ask_for(&file, run);
        }
    }

    pub(crate) fn handle_progress(&self, file: &Arc<LargeDownload>, progress: Progress) {
        if progress == Progress::Whole {
            self.plan.want_confirmation(file);
        }
    }

    /// A file is no longer the version that was being fetched. What has arrived of it is compared
    /// with the next one.
    fn begin_anew(&self, file: &LargeDownload) {
        if file.give_up() {
            self.plan.handle_large_ended();
            self.handle_refused(file.next_attempt(), Refusal::Changed);
        }
    }

    fn give_up(&self, file: &LargeDownload, failure: &Failure) {
        let is_first = match failure.leaves_a_use() {
            true => file.give_up(),
            false => file.discard(),
        };
        if is_first {
            self.fail(&file.wanted.path, failure);
            self.plan.handle_large_ended();
        }
    }
}
