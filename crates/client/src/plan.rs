//! What is left to ask for, and who asks for what next.
//!
//! The plan does no I/O: connections take tasks from it and give back those that they lose; disk
//! jobs tell it what became of what arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_protocol::content::{GroupIndex, GroupRange};
use packhorse_protocol::entry::FileInfo;
use packhorse_protocol::limits::{GROUP_BYTES, INLINE_BYTES_MAX};
use packhorse_protocol::message::ReadWhat;
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::tree::Cursor;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::compare::Comparison;
use crate::directory::DirectoryNode;
use crate::group_table::GroupTable;
use crate::large::{LargeDownload, Progress};
use crate::reads::{Reads, WantsGroups};

/// Small files that wait, beyond which no more of the tree is asked for.
const SMALL_WAITING_MAX: usize = 8192;
/// Large files that wait, beyond which no more of the tree is asked for.
const LARGE_WAITING_MAX: usize = 1024;
/// Large files under way at once: each holds a descriptor.
const LARGE_ACTIVE_MAX: usize = 16;
/// Pages of a tree asked for ahead.
const PAGES_AHEAD: usize = 8;
/// Files in one fetch.
const FETCH_FILES: usize = 256;
/// Content asked for by one fetch, and bytes of paths in it.
const FETCH_CONTENT_BYTES: u64 = 1 << 20;
const FETCH_PATH_BYTES: usize = 32 << 10;
/// Groups in one read, at most and while there is enough for all.
const READ_GROUPS_MAX: u64 = 32;
const READ_GROUPS_MIN: u64 = 4;

/// How long a file that has changed twice is left alone. The first change may have been the only
/// one, long ago.
const CHANGE_PAUSE: Duration = Duration::from_millis(100);

/// A file that is asked for whole.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Where it is on the server.
    pub(crate) remote: RelativePath,
    /// The directory that it will appear in.
    pub(crate) directory: Arc<DirectoryNode>,
    /// Its name there.
    pub(crate) name: Name,
    /// Where it will appear in the destination.
    pub(crate) path: RelativePath,
    /// What the server said of it.
    pub(crate) info: FileInfo,
    /// How often it was asked for before.
    pub(crate) attempt: u32,
    /// Compare it, group by group, with a file that is there.
    pub(crate) compare: Option<Candidate>,
    /// It was complete, and another had its name by then; it is kept half done.
    pub(crate) is_taken: bool,
    /// The groups that earlier attempts have had in place, and counted.
    pub(crate) counted: Option<Arc<GroupTable>>,
}

/// A file that is there, and may have the content that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Where it is in the destination.
    pub(crate) path: RelativePath,
    /// The number that stands behind the name that is wanted; 0 for that name itself.
    pub(crate) number: u32,
}

/// What a connection asks for.
#[derive(Debug)]
pub(crate) enum Task {
    /// The next page of the tree.
    Page,
    /// Small files, whole.
    Fetch(VecDeque<Wanted>),
    /// Groups of a file, or their hashes, of which these are still to come.
    Read(Reader, GroupRange, ReadStart),
    /// The state of a file whose groups are all there.
    Confirm(Arc<LargeDownload>),
    /// All that is said of a file that has changed since the tree named it.
    Describe(Wanted),
}

/// What was known when groups were asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadStart {
    /// All of them.
    range: GroupRange,
    /// The file had been seen settled: whatever changes from then on shows in its version.
    was_settled: bool,
}

/// Who asks for groups, and so what is done with them.
#[derive(Debug, Clone)]
pub(crate) enum Reader {
    /// Their content, for a file that is being written.
    Content(Arc<LargeDownload>),
    /// Their hashes, for a file of which an earlier run has written these groups.
    Found(Arc<LargeDownload>),
    /// Their hashes, for a file that is written and may have changed unseen.
    Recheck(Arc<LargeDownload>),
    /// Whether they are holes still, for such a file.
    RecheckHoles(Arc<LargeDownload>),
    /// Their hashes, to find what differs from a file that is there.
    Compare(Arc<Comparison>),
}

impl Reader {
    /// What is asked of the groups.
    pub(crate) fn what(&self) -> ReadWhat {
        match self {
            Self::Content(_) | Self::RecheckHoles(_) => ReadWhat::Content,
            Self::Found(_) | Self::Recheck(_) | Self::Compare(_) => ReadWhat::Hashes,
        }
    }

    /// The file that is asked for.
    pub(crate) fn wanted(&self) -> &Wanted {
        match self {
            Self::Content(file)
            | Self::Found(file)
            | Self::Recheck(file)
            | Self::RecheckHoles(file) => &file.wanted,
            Self::Compare(comparison) => &comparison.wanted,
        }
    }

    /// Asks for the groups of `range`.
    fn begin_read(&self, range: GroupRange) -> ReadStart {
        let was_settled = match self {
            Self::Content(file) | Self::Found(file) => file.begin_read(),
            Self::Compare(comparison) => comparison.begin_read(),
            Self::Recheck(_) | Self::RecheckHoles(_) => true,
        };
        ReadStart { range, was_settled }
    }

    /// Whether nothing more is to be done for the file.
    pub(crate) fn is_given_up(&self) -> bool {
        match self {
            Self::Content(file)
            | Self::Found(file)
            | Self::Recheck(file)
            | Self::RecheckHoles(file) => file.is_given_up(),
            Self::Compare(comparison) => comparison.is_given_up(),
        }
    }
}

impl WantsGroups for Reader {
    fn is_content(&self) -> bool {
        matches!(self, Self::Content(_))
    }
}

/// A file that has changed, which may still be changing.
#[derive(Debug)]
struct Pausing {
    file: Wanted,
    /// When to look at it again; `None` until a connection has asked for the first time.
    not_before: Option<Instant>,
}

/// What a connection should do now.
#[derive(Debug)]
pub(crate) enum Next {
    /// Ask for this.
    Ask(Task),
    /// Have a disk job begin this file.
    Begin(Wanted),
    /// Wait: for what is under way, for the plan to change, or until then.
    Wait(Option<Instant>),
    /// Everything is done.
    Finished,
}

/// Who asks the plan for something to do.
#[derive(Debug)]
pub(crate) struct Asker {
    /// Which connection it is.
    pub(crate) slot: usize,
    /// It can have a file described.
    pub(crate) may_describe: bool,
    /// Groups of content that it would ask for.
    pub(crate) groups_max: u64,
}

/// The plan of one download.
#[derive(Debug)]
pub(crate) struct Plan {
    state: Mutex<State>,
    changes: watch::Sender<()>,
    connections: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Which connection has the tree open, while one has.
    tree_at: Option<usize>,
    pages_asked: usize,
    tree_ended: bool,
    cursor: Option<Cursor>,
    small: VecDeque<Wanted>,
    large: VecDeque<Wanted>,
    large_active: usize,
    reads: Reads<Reader>,
    confirms: VecDeque<Arc<LargeDownload>>,
    changed: VecDeque<Pausing>,
    /// Connections for which there is nothing to do, and what each has brought a second.
    idle: BTreeMap<usize, u64>,
    /// Entries that no disk job will take any more.
    left: Vec<RelativePath>,
    /// Tasks given out and disk jobs that run.
    busy: usize,
    /// Connections beside the first that were ever opened.
    slots: usize,
    stopped: bool,
}

impl Plan {
    /// A plan that begins with the first page of a tree, for at most `connections` connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            state: Mutex::default(),
            changes: watch::Sender::new(()),
            connections,
        }
    }

    /// Tells whenever there may be more to ask for, someone is idle, or nothing is under way any
    /// more; not that a disk job has ended while others run.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Connection `slot` has asked for the first page already.
    pub(crate) fn begin_with_page(&self, slot: usize) {
        let mut state = self.lock();
        state.ask_for_page(slot);
        state.busy += 1;
    }

    /// A number for one more connection.
    pub(crate) fn new_slot(&self) -> usize {
        let mut state = self.lock();
        state.slots += 1;
        state.slots
    }

    /// What a connection should do `now`.
    pub(crate) fn next(&self, asker: &Asker, now: Instant) -> Next {
        let mut state = self.lock();
        if state.is_finished() {
            return Next::Finished;
        }
        let next = state.next(asker, now, self.connections);
        if !matches!(next, Next::Wait(_)) {
            state.busy += 1;
            state.idle.remove(&asker.slot);
        }
        next
    }

    /// Connection `slot` owes nothing, waits, and has brought `rate` bytes a second.
    pub(crate) fn handle_idle(&self, slot: usize, rate: u64) {
        if self.lock().idle.insert(slot, rate).is_none() {
            self.changes.send_replace(());
        }
    }

    /// What the fastest of the connections that wait has brought a second, if one does.
    pub(crate) fn rate_of_idle(&self) -> Option<u64> {
        self.lock().idle.values().max().copied()
    }

    /// A task was answered, or a disk job has ended.
    pub(crate) fn handle_done(&self) {
        let mut state = self.lock();
        state.busy -= 1;
        let is_idle = state.busy == 0;
        drop(state);
        if is_idle {
            self.changes.send_replace(());
        }
    }

    /// A disk job begins; `handle_done` ends it.
    pub(crate) fn handle_job(&self) {
        self.lock().busy += 1;
    }

    /// A page was answered. Whether the tree has come to its end by that.
    pub(crate) fn handle_page(&self, cursor: Option<Cursor>, ended: bool) -> bool {
        let mut state = self.lock();
        state.pages_asked -= 1;
        let is_new = ended && !state.tree_ended;
        state.tree_ended |= ended;
        if cursor.is_some() {
            state.cursor = cursor;
        }
        drop(state);
        // Only whoever has the tree can ask for the next one, and hears of this one itself.
        if is_new {
            self.changes.send_replace(());
        }
        is_new
    }

    /// Where the tree goes on if it has to be opened again.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.lock().cursor.clone()
    }

    /// Connection `slot` was lost with `tasks` unanswered: others take them over.
    pub(crate) fn handle_lost(&self, slot: usize, tasks: impl DoubleEndedIterator<Item = Task>) {
        self.change(|state| {
            if state.tree_at == Some(slot) {
                state.tree_at = None;
            }
            state.idle.remove(&slot);
            for task in tasks.rev() {
                state.busy -= 1;
                match task {
                    Task::Page => state.pages_asked -= 1,
                    Task::Fetch(files) => files
                        .into_iter()
                        .rev()
                        .for_each(|file| state.small.push_front(file)),
                    Task::Read(reader, rest, start) => state.take_back_read(reader, rest, start),
                    Task::Confirm(file) => state.confirms.push_front(file),
                    Task::Describe(file) => state.changed.push_front(Pausing {
                        file,
                        not_before: None,
                    }),
                }
            }
        });
    }

    /// A file is wanted.
    pub(crate) fn want(&self, file: Wanted) {
        self.change(|state| {
            let in_line = file.info.size <= INLINE_BYTES_MAX && file.compare.is_none();
            if in_line {
                state.small.push_back(file)
            } else {
                state.large.push_back(file)
            }
        });
    }

    /// A file has changed since the tree named it: what is said of it now is wanted before more of
    /// it, a while later if it is not the first time.
    pub(crate) fn describe(&self, file: Wanted) {
        let pausing = Pausing {
            file,
            not_before: None,
        };
        self.change(|state| state.changed.push_back(pausing));
    }

    /// Groups of a file are wanted, or their hashes.
    pub(crate) fn want_groups(&self, reader: Reader, range: GroupRange) {
        if !range.is_empty() {
            self.change(|state| state.reads.push_back(reader, range));
        }
    }

    /// One group of a file is wanted before everything else.
    pub(crate) fn want_group_again(&self, file: &Arc<LargeDownload>, group: GroupIndex) {
        if let Some(range) = GroupRange::new(group.get(), group.get() + 1) {
            let reader = Reader::Content(Arc::clone(file));
            self.change(|state| state.reads.push_front(reader, range));
        }
    }

    /// All groups of a file are there: its state is wanted.
    pub(crate) fn want_confirmation(&self, file: &Arc<LargeDownload>) {
        self.change(|state| state.confirms.push_back(Arc::clone(file)));
    }

    /// A large file is no longer under way. What is still asked of it is forgotten.
    pub(crate) fn handle_large_ended(&self) {
        self.change(|state| {
            let others = state.large_active.checked_sub(1);
            state.large_active = others.expect("each file that began ends once");
            state.reads.retain(|reader| !reader.is_given_up());
            state.confirms.retain(|file| !file.is_given_up());
        });
    }

    /// Entries were named that nobody will care for in this run.
    pub(crate) fn handle_left(&self, paths: impl Iterator<Item = RelativePath>) {
        self.lock().left.extend(paths);
    }

    /// Waits until no task is given out and no disk job runs.
    pub(crate) async fn until_idle(&self) {
        let mut changes = self.changes();
        while self.lock().busy > 0 && changes.changed().await.is_ok() {}
    }

    /// Waits until nothing is left to be done.
    pub(crate) async fn until_finished(&self) {
        let mut changes = self.changes();
        while !self.is_finished() && changes.changed().await.is_ok() {}
    }

    /// The files that are waiting for something.
    pub(crate) fn unfinished(&self) -> BTreeSet<RelativePath> {
        let state = self.lock();
        let State {
            small,
            large,
            reads,
            confirms,
            changed,
            left,
            ..
        } = &*state;
        let waiting = small.iter().chain(large);
        let read = reads.iter().filter(|(reader, _)| !reader.is_given_up());
        let files = waiting
            .chain(read.map(|(reader, _)| reader.wanted()))
            .chain(confirms.iter().map(|file| &file.wanted))
            .chain(changed.iter().map(|pausing| &pausing.file));
        let files = files.map(|file| &file.path);
        files.chain(left).cloned().collect()
    }

    /// Nothing more is to be asked for.
    pub(crate) fn stop(&self) {
        self.change(|state| state.stopped = true);
    }

    /// Whether nothing is left to be done.
    pub(crate) fn is_finished(&self) -> bool {
        self.lock().is_finished()
    }

    /// Whether it was stopped before everything was done.
    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Whether there is something to ask for that no connection has asked for.
    pub(crate) fn has_work(&self) -> bool {
        let state = self.lock();
        !state.tree_ended || !state.nothing_waits()
    }

    /// Groups of large files that are not asked for yet.
    pub(crate) fn groups_waiting(&self) -> u64 {
        self.lock().groups_waiting()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self, asker: &Asker, now: Instant, connections: usize) -> Next {
        let Asker {
            slot,
            may_describe,
            groups_max,
        } = *asker;
        if let Some(file) = self.confirms.pop_front() {
            return Next::Ask(Task::Confirm(file));
        }
        let next_look = self.next_look(now);
        if may_describe
            && next_look.is_some_and(|at| at <= now)
            && let Some(file) = self.take_changed(now)
        {
            return Next::Ask(Task::Describe(file));
        }
        if self.pages_asked == 0 && self.may_ask_for_page(slot) {
            return self.ask_for_page(slot);
        }
        if self.large_active < LARGE_ACTIVE_MAX
            && let Some(file) = self.large.pop_front()
        {
            self.large_active += 1;
            return Next::Begin(file);
        }
        if let Some(task) = self.take_read(connections, groups_max) {
            return Next::Ask(task);
        }
        if let Some(task) = self.take_fetch() {
            return Next::Ask(task);
        }
        if self.may_ask_for_page(slot) {
            self.ask_for_page(slot)
        } else {
            Next::Wait(next_look.filter(|at| *at > now))
        }
    }

    /// When the first of the files that have changed is to be looked at again.
    fn next_look(&mut self, now: Instant) -> Option<Instant> {
        let looks = self.changed.iter_mut().map(|pausing| {
            let pause = pause_behind(pausing.file.attempt);
            *pausing.not_before.get_or_insert(now + pause)
        });
        looks.min()
    }

    /// A file that has changed, and may be looked at again.
    fn take_changed(&mut self, now: Instant) -> Option<Wanted> {
        let is_due = |pausing: &Pausing| pausing.not_before.is_none_or(|at| at <= now);
        let at = self.changed.iter().position(is_due)?;
        self.changed.remove(at).map(|pausing| pausing.file)
    }

    fn is_finished(&self) -> bool {
        self.stopped || (self.tree_ended && self.nothing_waits() && self.busy == 0)
    }

    fn nothing_waits(&self) -> bool {
        self.small.is_empty()
            && self.large.is_empty()
            && self.reads.is_empty()
            && self.confirms.is_empty()
            && self.changed.is_empty()
    }

    fn may_ask_for_page(&self, slot: usize) -> bool {
        !self.tree_ended
            && self.pages_asked < PAGES_AHEAD
            && self.tree_at.is_none_or(|at| at == slot)
            && self.small.len() < SMALL_WAITING_MAX
            && self.large.len() < LARGE_WAITING_MAX
    }

    fn ask_for_page(&mut self, slot: usize) -> Next {
        self.tree_at = Some(slot);
        self.pages_asked += 1;
        Next::Ask(Task::Page)
    }

    fn take_read(&mut self, connections: usize, groups_max: u64) -> Option<Task> {
        let share = self.groups_waiting() / (2 * connections as u64);
        let share = share.clamp(READ_GROUPS_MIN, READ_GROUPS_MAX);
        let (reader, rest) = self.reads.take(share, groups_max)?;
        let start = reader.begin_read(rest);
        Some(Task::Read(reader, rest, start))
    }

    /// A read was lost with `rest` still to come, and with what would have been said at its end of
    /// the groups that came.
    fn take_back_read(&mut self, reader: Reader, rest: GroupRange, start: ReadStart) {
        let arrived = rest.start() - start.range.start();
        let doubtful = match start.was_settled {
            true => GroupRange::EMPTY,
            false => start.range.split_at(arrived).0,
        };
        match &reader {
            Reader::Content(file) | Reader::Found(file) => {
                if file.handle_lost_read(doubtful) == Progress::Whole {
                    self.confirms.push_back(Arc::clone(file));
                }
            }
            Reader::Compare(comparison) => comparison.end_read(doubtful.is_empty()),
            Reader::Recheck(_) | Reader::RecheckHoles(_) => {}
        }
        if !rest.is_empty() {
            self.reads.push_front(reader, rest);
        }
    }

    fn take_fetch(&mut self) -> Option<Task> {
        let (mut content, mut paths) = (0, 0);
        let mut files = VecDeque::new();
        while let Some(file) = self.small.front() {
            content += file.info.size;
            paths += file.remote.as_bytes().len() + 2;
            let is_full = files.len() == FETCH_FILES
                || content > FETCH_CONTENT_BYTES
                || paths > FETCH_PATH_BYTES;
            if is_full && !files.is_empty() {
                break;
            }
            files.extend(self.small.pop_front());
        }
        (!files.is_empty()).then_some(Task::Fetch(files))
    }

    fn groups_waiting(&self) -> u64 {
        let waiting: u64 = self
            .large
            .iter()
            .take(64)
            .map(|file| file.info.size / GROUP_BYTES as u64)
            .sum();
        self.reads.groups().saturating_add(waiting)
    }
}

/// How long to leave a file alone that has changed in `attempt` attempts: twice as long each time.
fn pause_behind(attempt: u32) -> Duration {
    match attempt.checked_sub(2) {
        None => Duration::ZERO,
        Some(further) => CHANGE_PAUSE * (1 << further.min(8)),
    }
}
