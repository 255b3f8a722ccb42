//! One connection at work: asks for what the plan wants, and hands what comes to disk jobs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packhorse_protocol::content::GroupRange;
use packhorse_protocol::entry::{FileInfo, Refusal};
use packhorse_protocol::limits::{GROUP_BYTES, INLINE_BYTES_MAX};
use packhorse_protocol::message::{FetchRequest, ReadRequest, Request, TreeRequest};
use packhorse_protocol::session::{Answer, Content, Fetched, Group, Item, Page, Violation};
use packhorse_protocol::tree::Cursor;
use packhorse_storage::workers::DiskWorkers;
use packhorse_transport::stream::Stream;
use packhorse_transport::throttle::Throttle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::connect::{ConnectError, Conversation};
use crate::connection_count::FAR;
use crate::entered::Entered;
use crate::large::LargeDownload;
use crate::pace::Pace;
use crate::place::Site;
use crate::plan::{Asker, Next, Reader, Task, Wanted};
use crate::relief::{self, Speed};
use crate::report::Totals;
use crate::settings::DownloadSettings;

/// The number of the tree that is fetched, on whichever connection has it open.
pub(crate) const TREE: u32 = 1;
/// The number of the trees that describe a single file.
const DESCRIPTION: u32 = 2;
/// What one connection asks for ahead, in bytes of content.
const AHEAD_BYTES_MAX: u64 = 64 << 20;
/// Requests that one connection has under way.
const AHEAD_REQUESTS_MAX: usize = 16;
/// What an entry costs besides its content while it waits for the disk.
const ENTRY_BYTES: usize = 1 << 10;

/// Memory for a page, held until all of it is on the disk.
type PageMemory = Arc<Option<OwnedSemaphorePermit>>;

/// What the connections of one download share.
pub(crate) struct Crew {
    pub(crate) site: Arc<Site>,
    pub(crate) workers: Arc<DiskWorkers>,
    /// Memory for what has come and is not on the disk yet, in KiB.
    pub(crate) memory: Arc<Semaphore>,
    /// Groups that may be written at once: as many as there are connections to be, or with a server
    /// nearby if that is not told, so that a kill in the middle tears no more of them. A connection's
    /// own `turns` would not see to that: a single one has two, and one that is dialled again begins
    /// anew while what came before is written.
    pub(crate) writing: Arc<Semaphore>,
    pub(crate) throttle: Option<Throttle>,
    /// Answers that brought something of a file, also what adds to no count of bytes.
    pub(crate) answers: AtomicU64,
}

/// One connection and what it has asked for.
pub(crate) struct Driver<'a, S> {
    crew: &'a Crew,
    slot: usize,
    conversation: Conversation<S>,
    asked: VecDeque<Task>,
    /// Groups that may have come over this connection and not be on the disk yet: no others are
    /// taken meanwhile, so that a kill costs these, and what the system holds.
    turns: Arc<Semaphore>,
    tree_open: bool,
    was_of_use: bool,
    pace: Pace,
    speed: Speed,
}

/// Why a driver works no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything is done.
    Finished,
    /// Others bring sooner what this one owes, which is theirs once it is dropped.
    Relieved,
}

/// How far the asking has come.
enum Asked {
    /// Everything is done.
    Everything,
    /// There is nothing more to ask for now, and perhaps from that moment on.
    Until(Option<Instant>),
}

/// Whether others take over what a connection owes.
enum Relief {
    /// Nobody can.
    None,
    /// It is to be seen then.
    At(Instant),
    /// They do.
    Now,
}

/// Gives back what was asked for and not answered, however the driver ends.
impl<S> Drop for Driver<'_, S> {
    fn drop(&mut self) {
        let site = &self.crew.site;
        site.totals.connections.fetch_sub(1, Ordering::Relaxed);
        site.plan.handle_lost(self.slot, self.asked.drain(..));
    }
}

impl<'a, S: Stream> Driver<'a, S> {
    /// A driver of `conversation`, on which `asked` has been asked for already.
    pub(crate) fn new(
        crew: &'a Crew,
        slot: usize,
        conversation: Conversation<S>,
        asked: Option<Task>,
    ) -> Self {
        let tree_open = matches!(asked, Some(Task::Page));
        Totals::add(&crew.site.totals.connections, 1);
        let pace = Pace::new(Instant::now(), conversation.dial_time() >= FAR);
        Self {
            crew,
            slot,
            conversation,
            asked: asked.into_iter().collect(),
            turns: Arc::new(Semaphore::new(turns(crew.site.settings.connections))),
            tree_open,
            was_of_use: false,
            pace,
            speed: Speed::new(),
        }
    }

    /// Works until everything is done, or others do it better.
    pub(crate) async fn run(&mut self) -> Result<Ended, ConnectError> {
        let mut changes = self.crew.site.plan.changes();
        loop {
            changes.mark_unchanged();
            let mut until = match self.ask().await? {
                Asked::Everything => return Ok(Ended::Finished),
                Asked::Until(until) => until,
            };
            match self.relief(Instant::now()) {
                Relief::None => {}
                Relief::At(at) => until = Some(until.map_or(at, |until| until.min(at))),
                Relief::Now => return Ok(Ended::Relieved),
            }
            let has_room = self.has_room();
            tokio::select! {
                answer = self.next_answer() => {
                    self.speed.hold(Instant::now());
                    self.handle_answer(answer?).await?;
                    self.speed.go_on(Instant::now());
                }
                // The plan holds the sender for as long as this runs.
                _ = changes.changed(), if has_room => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    /// The next answer, once there is a place for it; without one to come, the connection's end.
    async fn next_answer(&mut self) -> Result<Answer, ConnectError> {
        match self.asked.front() {
            None => match self.conversation.until_ended().await? {},
            Some(Task::Read(Reader::Content(_), ..)) => {
                self.speed.hold(Instant::now());
                // It is never closed.
                let _ = self.turns.acquire().await;
                self.speed.go_on(Instant::now());
            }
            Some(_) => {}
        }
        self.conversation.answer().await
    }

    /// Whether the server owes nothing over this connection.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whether anything new has come over this connection.
    pub(crate) fn was_of_use(&self) -> bool {
        self.was_of_use
    }

    /// Says `last` to the server, and that this side leaves.
    pub(crate) async fn close(mut self, last: &Request) {
        self.conversation.farewell(last).await;
    }

    /// Says that this side leaves.
    pub(crate) async fn leave(&mut self) {
        self.conversation.shutdown().await;
    }

    /// Asks for whatever there is room for.
    async fn ask(&mut self) -> Result<Asked, ConnectError> {
        while self.has_room() {
            let plan = &self.crew.site.plan;
            match plan.next(&self.asker(), Instant::now()) {
                Next::Wait(until) => return Ok(Asked::Until(until)),
                Next::Finished => return Ok(Asked::Everything),
                Next::Begin(wanted) => {
                    let site = Arc::clone(&self.crew.site);
                    let job = counted(Arc::clone(&site), move || site.begin(wanted));
                    self.crew.workers.start(job);
                }
                Next::Ask(task) => {
                    let request = self.request_for(&task);
                    self.asked.push_back(task);
                    self.conversation.request(&request).await?;
                }
            }
        }
        Ok(Asked::Until(None))
    }

    /// Whether others should take over what this connection owes.
    fn relief(&mut self, now: Instant) -> Relief {
        let plan = &self.crew.site.plan;
        let bytes = self.conversation.received_bytes();
        if self.asked.is_empty() {
            if let Some(rate) = self.speed.look_idle(now, bytes) {
                plan.handle_idle(self.slot, rate);
            }
            return Relief::None;
        }
        let groups = self.groups_owed();
        let own = self.speed.look_busy(now, bytes, groups);
        let is_content = |task: &Task| matches!(task, Task::Read(Reader::Content(_), ..));
        let waits_for_disk = self.turns.available_permits() == 0;
        let Some(rate) = plan.rate_of_idle() else {
            return Relief::None;
        };
        let away = self.conversation.dial_time();
        if away < FAR || !self.asked.iter().all(is_content) {
            return Relief::None;
        }
        match !waits_for_disk && own.is_some_and(|own| relief::is_better(own, groups, rate, away)) {
            true => Relief::Now,
            false => Relief::At(now + relief::LOOK_PAUSE),
        }
    }

    /// Groups of content under way.
    fn groups_owed(&self) -> u64 {
        let groups = |task: &Task| match task {
            Task::Read(Reader::Content(_), rest, _) => rest.count(),
            _ => 0,
        };
        self.asked.iter().map(groups).sum()
    }

    fn asker(&self) -> Asker {
        // Descriptions share one number, so only one of them can be open.
        let describes = |task: &Task| matches!(task, Task::Describe(_));
        Asker {
            slot: self.slot,
            may_describe: !self.asked.iter().any(describes),
            groups_max: self.pace.groups_wanted(self.groups_owed()),
        }
    }

    fn has_room(&self) -> bool {
        let expected = |task: &Task| match task {
            Task::Read(Reader::Content(_), rest, _) => rest.count() * GROUP_BYTES as u64,
            Task::Read(..) | Task::Page | Task::Fetch(_) => 1 << 20,
            Task::Confirm(_) | Task::Describe(_) => 0,
        };
        self.asked.len() < AHEAD_REQUESTS_MAX
            && self.conversation.can_request()
            && self.asked.iter().map(expected).sum::<u64>() < AHEAD_BYTES_MAX
    }

    fn request_for(&mut self, task: &Task) -> Request {
        let options = self.crew.site.settings.options;
        match task {
            Task::Page if self.tree_open => Request::More { tree: TREE },
            Task::Page => {
                self.tree_open = true;
                let site = &self.crew.site;
                tree_request(&site.settings, site.in_line, site.plan.cursor())
            }
            Task::Fetch(files) => {
                let paths = files.iter().map(|file| file.remote.clone()).collect();
                Request::Fetch(FetchRequest { options, paths })
            }
            Task::Read(reader, range, _) => self.read_request(reader.wanted(), reader, *range),
            Task::Confirm(file) => {
                let reader = Reader::Content(Arc::clone(file));
                self.read_request(&file.wanted, &reader, GroupRange::EMPTY)
            }
            Task::Describe(wanted) => Request::Tree(TreeRequest {
                tree: DESCRIPTION,
                path: wanted.remote.clone(),
                options,
                recursive: false,
                inline_bytes_max: 0,
                patterns: Default::default(),
                cursor: None,
            }),
        }
    }

    fn read_request(&self, wanted: &Wanted, reader: &Reader, range: GroupRange) -> Request {
        Request::Read(ReadRequest {
            path: wanted.remote.clone(),
            follow_links: self.crew.site.settings.options.follows_links(),
            what: reader.what(),
            range,
            version: (!range.is_empty()).then_some(wanted.info.version),
        })
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) async fn handle_answer(&mut self, answer: Answer) -> Result<(), ConnectError> {
        if !matches!(answer, Answer::Page(_) | Answer::Failed(_)) {
            Totals::add(&self.crew.answers, 1);
            self.was_of_use = true;
        }
        match (answer, self.asked.front()) {
            (Answer::Group(group), Some(Task::Read(Reader::Content(file), ..))) => {
                let file = Arc::clone(file);
                self.handle_group(&file, group).await;
            }
            (Answer::Contents(fetched, content), Some(Task::Fetch(_))) => {
                self.handle_contents(fetched, content).await;
            }
            (answer @ (Answer::Group(_) | Answer::Hole(..) | Answer::Hashes(..)), _) => {
                self.handle_run(answer).await?;
            }
            (answer, _) => self.handle_end(answer).await?,
        }
        Ok(())
    }

    /// Takes a group of a file, once there is memory for it and a turn.
    async fn handle_group(&mut self, file: &Arc<LargeDownload>, group: Group) {
        self.pace.handle_groups(Instant::now(), 1);
        self.speed.handle_group(self.conversation.received_bytes());
        let (site, file) = (Arc::clone(&self.crew.site), Arc::clone(file));
        let bytes = group.bytes().len();
        let memory = self.crew.take_memory(bytes).await;
        self.crew.pass(bytes).await;
        let buffers = self.conversation.buffers();
        let writing = Arc::clone(&self.crew.writing);
        let own = Arc::clone(&self.turns).acquire_owned().await.ok();
        // Not before: should this driver be dropped meanwhile, the group is still missing.
        self.count_arrived(1);
        site.plan.handle_job();
        let job = counted(Arc::clone(&site), move || {
            site.handle_group(&file, &group);
            buffers.give(group.into_buffer());
            drop((memory, own));
        });
        let workers = Arc::clone(&self.crew.workers);
        let start = move |turn| {
            workers.start(move || {
                job();
                drop(turn);
            });
        };
        match Arc::clone(&writing).try_acquire_owned() {
            Ok(turn) => start(turn),
            Err(_) => {
                tokio::spawn(async move {
                    // It is never closed.
                    if let Ok(turn) = writing.acquire_owned().await {
                        start(turn);
                    }
                });
            }
        }
    }

    /// Takes the content of small files.
    async fn handle_contents(&mut self, fetched: Vec<Fetched>, content: Content) {
        let Some(Task::Fetch(files)) = self.asked.front_mut() else {
            return;
        };
        let count = fetched.len().min(files.len());
        let sizes = files.iter().take(count).map(|file| file.info.size);
        let bytes = usize::try_from(sizes.sum::<u64>()).unwrap_or(usize::MAX);
        let memory = bytes.saturating_add(count * ENTRY_BYTES);
        let memory = self.crew.take_memory(memory).await;
        self.crew.pass(bytes).await;
        let site = Arc::clone(&self.crew.site);
        let asked: VecDeque<_> = files.drain(..count).collect();
        let answered = files.is_empty();
        self.start_counted_job(memory, move || site.place_fetched(asked, fetched, &content));
        if answered {
            self.answered();
        }
    }

    /// Takes what is said of some groups.
    async fn handle_run(&mut self, answer: Answer) -> Result<(), ConnectError> {
        let hashes = match &answer {
            Answer::Hashes(_, _, hashes) => size_of_val(hashes.as_slice()),
            _ => 0,
        };
        let memory = self.crew.take_memory(ENTRY_BYTES + hashes).await;
        let site = &self.crew.site;
        match (answer, self.asked.front_mut()) {
            (Answer::Hole(range, version), Some(Task::Read(Reader::Content(file), rest, _))) => {
                *rest = rest.split_at(range.count()).1;
                self.pace.handle_holes();
                self.speed.handle_holes();
                let (site, file) = (Arc::clone(site), Arc::clone(file));
                self.start_counted_job(memory, move || site.handle_hole(&file, range, version));
            }
            (
                Answer::Hole(range, version),
                Some(Task::Read(Reader::RecheckHoles(file), rest, _)),
            ) => {
                *rest = rest.split_at(range.count()).1;
                site.handle_hole_again(file, range, version);
            }
            (Answer::Group(_), Some(Task::Read(reader @ Reader::RecheckHoles(_), rest, _))) => {
                *rest = rest.split_at(1).1;
                site.handle_read_refused(reader, Refusal::Changed);
            }
            (Answer::Hashes(range, version, hashes), Some(Task::Read(reader, rest, _))) => {
                *rest = rest.split_at(range.count()).1;
                if version != reader.wanted().info.version {
                    site.handle_read_refused(reader, Refusal::Changed);
                } else {
                    let (site, reader) = (Arc::clone(site), reader.clone());
                    self.start_counted_job(memory, move || {
                        site.handle_hashes(&reader, range, &hashes)
                    });
                }
            }
            // The session gives only answers to what was asked for.
            _ => return Err(Violation::Excess.into()),
        }
        Ok(())
    }

    /// Groups of the read in front have come.
    fn count_arrived(&mut self, count: u64) {
        if let Some(Task::Read(_, rest, _)) = self.asked.front_mut() {
            *rest = rest.split_at(count).1;
        }
    }

    /// Takes an answer that ends a request.
    async fn handle_end(&mut self, answer: Answer) -> Result<(), ConnectError> {
        let site = Arc::clone(&self.crew.site);
        match (answer, self.asked.front()) {
            (Answer::Page(page), Some(Task::Page)) => self.handle_page(page).await?,
            (Answer::Page(page), Some(Task::Describe(wanted))) => {
                let wanted = wanted.clone();
                self.conversation
                    .request(&Request::CloseTree { tree: DESCRIPTION })
                    .await?;
                match described(page) {
                    Some(info) => site.plan.want(Wanted { info, ..wanted }),
                    None => site.handle_refused(wanted, Refusal::NotFound),
                }
            }
            (Answer::Done(done), Some(Task::Read(reader, ..))) => site.handle_read(reader, &done),
            (Answer::Done(done), Some(Task::Confirm(file))) => {
                let file = Arc::clone(file);
                self.start_counted_job((), move || site.handle_confirmation(&file, &done));
            }
            (Answer::Failed(refusal), Some(Task::Page)) => {
                // All pages that were asked for ahead fail then, with the first of them.
                if site.plan.handle_page(None, true) {
                    site.handle_root_refused(refusal);
                }
            }
            (Answer::Failed(refusal), Some(Task::Describe(wanted))) => {
                let wanted = wanted.clone();
                self.conversation
                    .request(&Request::CloseTree { tree: DESCRIPTION })
                    .await?;
                site.handle_refused(wanted, refusal);
            }
            (Answer::Failed(refusal), Some(Task::Read(reader, ..))) => {
                site.handle_read_refused(reader, refusal);
            }
            (Answer::Failed(refusal), Some(Task::Confirm(file))) => {
                site.handle_read_refused(&Reader::Content(Arc::clone(file)), refusal);
            }
            // The session gives only answers to what was asked for.
            _ => return Err(Violation::Excess.into()),
        }
        self.answered();
        Ok(())
    }

    async fn handle_page(&mut self, page: Page) -> Result<(), ConnectError> {
        let Page {
            tree: _,
            items,
            content,
            cursor,
            ended,
        } = page;
        let is_new = |item: &Item| !matches!(item, Item::Skipped { .. });
        let is_of_use = ended || items.iter().any(is_new);
        let bytes = items.iter().map(content_bytes).sum::<usize>();
        let memory = self.crew.take_memory(bytes + items.len() * ENTRY_BYTES);
        let memory = Arc::new(memory.await);
        self.crew.pass(bytes).await;
        let content = Arc::new(content);
        let mut entered = self.enter_page(items, &content, &memory).await?;
        self.was_of_use |= is_of_use;
        while let Some(batch) = entered.take_batch() {
            let (site, content) = (Arc::clone(&self.crew.site), Arc::clone(&content));
            self.start_counted_job(Arc::clone(&memory), move || site.place(batch, &content));
        }
        self.crew.site.plan.handle_page(cursor, ended);
        if ended {
            self.crew
                .site
                .totals
                .listing_ended
                .store(true, Ordering::Relaxed);
            self.crew.site.leave_tree();
        }
        Ok(())
    }

    /// Makes the directories of a page and places its first entries; gives the others, and does so
    /// as soon as they are known.
    async fn enter_page(
        &mut self,
        items: Vec<Item>,
        content: &Arc<Content>,
        memory: &PageMemory,
    ) -> Result<Entered, ConnectError> {
        let page = Entered::new(Arc::clone(&self.crew.site));
        let (site, content) = (Arc::clone(&self.crew.site), Arc::clone(content));
        let (reply, entered) = oneshot::channel();
        self.start_counted_job(Arc::clone(memory), move || {
            let mut entered = page.enter(items);
            let first = entered.as_mut().ok().and_then(Entered::take_batch);
            // If nobody waits for it any more, the others are told as unfinished.
            drop(reply.send(entered));
            if let Some(first) = first {
                site.place(first, &content);
            }
        });
        let lost = |error| ConnectError::Lost(std::io::Error::other(error));
        Ok(entered.await.map_err(lost)??)
    }

    /// The request in front was answered to its end.
    fn answered(&mut self) {
        if self.asked.pop_front().is_some() {
            self.crew.site.plan.handle_done();
        }
    }

    /// Has a disk worker do `job`, and holds `memory` until then.
    fn start_counted_job<T: Send + 'static>(&self, memory: T, job: impl FnOnce() + Send + 'static) {
        let site = Arc::clone(&self.crew.site);
        site.plan.handle_job();
        self.crew.workers.start(counted(site, move || {
            job();
            drop(memory);
        }));
    }
}

/// A disk job that the plan has counted. The download ends with it, should it not come to its end.
struct Counted {
    site: Arc<Site>,
    has_ended: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.has_ended {
            self.site.plan.stop();
        }
        self.site.plan.handle_done();
    }
}

/// A disk job that does `job`, and then seals what is done; the plan has counted it.
fn counted(site: Arc<Site>, job: impl FnOnce() + Send) -> impl FnOnce() + Send {
    let mut counted = Counted {
        site,
        has_ended: false,
    };
    move || {
        job();
        counted.site.seal();
        counted.has_ended = true;
        drop(counted);
    }
}

/// How many groups a connection may have taken that are not on the disk yet, where there are to be
/// `connections`. A single one would stand still while a group is written; others have each other.
fn turns(connections: Option<usize>) -> usize {
    if connections == Some(1) { 2 } else { 1 }
}

/// Memory for what has come and is not on the disk yet, in KiB.
pub(crate) const MEMORY_KIB: u32 = 8 << 10;

impl Crew {
    /// Waits until there is memory for `bytes` more.
    async fn take_memory(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let amount = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory);
        memory.acquire_many_owned(amount.min(MEMORY_KIB)).await.ok()
    }

    /// Waits until the rate limit lets `bytes` pass.
    async fn pass(&self, bytes: usize) {
        if let Some(throttle) = &self.throttle {
            throttle.pass(bytes).await;
        }
    }
}

/// The request that opens the tree, or opens it again behind `cursor`.
pub(crate) fn tree_request(
    settings: &DownloadSettings,
    in_line: bool,
    cursor: Option<Cursor>,
) -> Request {
    Request::Tree(TreeRequest {
        tree: TREE,
        path: settings.path.clone(),
        options: settings.options,
        recursive: true,
        inline_bytes_max: if in_line { INLINE_BYTES_MAX } else { 0 },
        patterns: settings.patterns.clone(),
        cursor,
    })
}

/// How much content came with an item of a page.
fn content_bytes(item: &Item) -> usize {
    match item {
        Item::File {
            content: Some((range, _)),
            ..
        } => range.len(),
        _ => 0,
    }
}

/// What a page says of a single file.
fn described(page: Page) -> Option<FileInfo> {
    match page.items.into_iter().next() {
        Some(Item::File { info, .. }) => Some(info),
        _ => None,
    }
}
