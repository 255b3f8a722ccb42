//! Answers the requests of one client, in order.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_protocol::content::{GroupIndex, GroupRange, group_count};
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::frame::{FRAME_HEADER_BYTES, FrameType};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_protocol::message::{
    Completion, Done, FetchRequest, Hole, MeasureRequest, MeasureWhat, Measured, ReadRequest,
    ReadWhat, Request, TreeRequest, encode, filler, group_frame_bytes,
};
use packhorse_protocol::path::RelativePath;
use packhorse_storage::source::{FileState, SourceFile};
use packhorse_storage::workers::Begun;
use packhorse_transport::accept::Accept;
use packhorse_transport::processing::{Work, cores};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info};

use crate::connection::{ConnectionError, rate};
use crate::groups::{self, Extent, Opened};
use crate::measuring;
use crate::pages;
use crate::pages_ahead::{PageMeans, PagesAhead};
use crate::queue::RequestQueue;
use crate::sending::send;
use crate::serve::Shared;

/// One client's answers: where they go, and the trees that it has open.
pub(crate) struct Answerer<'a, A: Accept> {
    shared: &'a Shared<A>,
    writer: WriteHalf<A::Stream>,
    peer: SocketAddr,
    trees: BTreeMap<u32, PagesAhead>,
    sent_bytes: u64,
    /// The tree that was asked for last, and when.
    asked: Option<(RelativePath, Instant)>,
    has_measured: bool,
}

/// The frame of a group, and the memory that it was given if it is read ahead.
type ReadAhead = (Result<Vec<u8>, Refusal>, Option<OwnedSemaphorePermit>);

/// A read whose file is open.
struct Reading {
    opened: Opened,
    range: GroupRange,
}

impl<'a, A: Accept> Answerer<'a, A> {
    pub(crate) fn new(
        shared: &'a Shared<A>,
        writer: WriteHalf<A::Stream>,
        peer: SocketAddr,
    ) -> Self {
        Self {
            shared,
            writer,
            peer,
            trees: BTreeMap::new(),
            sent_bytes: 0,
            asked: None,
            has_measured: false,
        }
    }

    /// Bytes of frames sent so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Answers until no more requests come.
    pub(crate) async fn run(&mut self, queue: &RequestQueue) -> Result<(), ConnectionError> {
        while let Some(request) = queue.next().await {
            let is_answered = self.answer(request).await?;
            queue.handle_answered(is_answered);
        }
        Ok(self.writer.shutdown().await?)
    }

    /// Whether the request is one that gets an answer.
    async fn answer(&mut self, request: Request) -> Result<bool, ConnectionError> {
        match request {
            Request::Tree(request) => self.answer_tree(request).await?,
            Request::More { tree } => self.answer_more(tree).await?,
            Request::Fetch(request) => self.answer_fetch(request).await?,
            Request::Read(request) => self.answer_read(request).await?,
            Request::Measure(request) => self.answer_measure(request).await?,
            Request::CloseTree { tree } => {
                self.trees.remove(&tree);
                return Ok(false);
            }
            Request::Complete(completion) => {
                self.handle_complete(completion);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The client has all it came for.
    fn handle_complete(&self, completion: Completion) {
        let Completion {
            files,
            bytes,
            failed,
        } = completion;
        if let Some((path, since)) = &self.asked {
            let seconds = since.elapsed().as_secs_f64();
            let rate = rate(bytes, seconds);
            info!(peer = %self.peer, %path, files, bytes, failed, seconds, rate, "complete");
        }
        self.shared.handle_complete(completion);
    }

    async fn answer_tree(&mut self, request: TreeRequest) -> Result<(), ConnectionError> {
        info!(peer = %self.peer, path = %request.path, "asks");
        self.asked = Some((request.path.clone(), Instant::now()));
        let number = request.tree;
        let source = Arc::clone(&self.shared.source);
        let opened = self
            .shared
            .work(move || pages::open(&source, &request))
            .await?;
        match opened {
            Ok(tree) => {
                let pages = PagesAhead::begin(tree, self.page_means());
                self.trees.insert(number, pages);
                self.answer_more(number).await
            }
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    async fn answer_more(&mut self, number: u32) -> Result<(), ConnectionError> {
        // A tree that could not be opened stays known to the session until the client closes it.
        let Some(pages) = self.trees.get_mut(&number) else {
            return self.refuse(Refusal::NotFound).await;
        };
        let page = pages.next().await.ok_or(ConnectionError::NoWorkers)?;
        self.send(&page.frame).await?;
        page.give_back(&self.shared.buffers);
        Ok(())
    }

    fn page_means(&self) -> PageMeans {
        let shared = self.shared;
        PageMeans {
            workers: Arc::clone(&shared.workers),
            buffers: Arc::clone(&shared.buffers),
            ahead: Arc::clone(&shared.ahead),
            ahead_left: (shared.settings.limits.ahead_bytes >> 20) / 2,
        }
    }

    async fn answer_fetch(&mut self, request: FetchRequest) -> Result<(), ConnectionError> {
        let mut paths = VecDeque::from(request.paths);
        while !paths.is_empty() {
            let (source, options) = (Arc::clone(&self.shared.source), request.options);
            let buffer = self.shared.buffers.take(group_frame_bytes(GROUP_BYTES));
            let work = move || {
                let frame = pages::next_contents(&*source, options, &mut paths, buffer);
                (frame, paths)
            };
            let (frame, rest) = self.shared.work(work).await?;
            paths = rest;
            self.send(&frame).await?;
            self.shared.buffers.give(frame);
        }
        Ok(())
    }

    async fn answer_read(&mut self, request: ReadRequest) -> Result<(), ConnectionError> {
        let ReadRequest {
            path,
            follow_links,
            what,
            range,
            version,
        } = request;
        debug!(peer = %self.peer, %path, from = range.start(), to = range.end(), "reads");
        let source = Arc::clone(&self.shared.source);
        let opened = match self
            .shared
            .work(move || groups::open(&*source, &path, follow_links))
            .await?
        {
            Ok(opened) => opened,
            Err(refusal) => return self.refuse(refusal).await,
        };
        let info = &opened.info;
        let is_other = version.is_some_and(|version| version != info.version);
        if is_other || range.end() > group_count(info.size) {
            return self.refuse(Refusal::Changed).await;
        }
        let (file, settled) = (Arc::clone(&opened.file), opened.settled);
        let reading = Reading { opened, range };
        let sent = match what {
            ReadWhat::Content => self.send_groups(reading).await?,
            ReadWhat::Hashes => self.send_hashes(reading).await?,
        };
        let state = match sent {
            Ok(()) => self.shared.work(move || groups::state(&*file)).await?,
            Err(refusal) => Err(refusal),
        };
        match state {
            Ok(FileState { version, size, .. }) => {
                self.send(&encode(
                    FrameType::Done,
                    &Done {
                        version,
                        size,
                        settled,
                    },
                ))
                .await
            }
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    async fn answer_measure(&mut self, request: MeasureRequest) -> Result<(), ConnectionError> {
        let MeasureRequest { what, groups } = request;
        if !std::mem::replace(&mut self.has_measured, true) {
            info!(peer = %self.peer, "measures");
        }
        let took = match what {
            MeasureWhat::Path => {
                self.send_filler(groups).await?;
                Duration::ZERO
            }
            MeasureWhat::Hashing => measuring::time_for(self.shared, Work::Hashing, groups).await?,
            MeasureWhat::Encryption => {
                measuring::time_for(self.shared, Work::Encryption, groups).await?
            }
        };
        let measured = Measured {
            nanoseconds: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            cores: cores(),
        };
        self.send(&encode(FrameType::Measured, &measured)).await
    }

    /// Sends groups that are on no disk: the same frame again and again.
    async fn send_filler(&mut self, groups: u64) -> Result<(), ConnectionError> {
        if groups == 0 {
            return Ok(());
        }
        let frame = filler(self.shared.buffers.take(FRAME_HEADER_BYTES + GROUP_BYTES));
        for _ in 0..groups {
            self.send(&frame).await?;
        }
        self.shared.buffers.give(frame);
        Ok(())
    }

    /// Sends the groups of a range in order, some read ahead, holes as such.
    async fn send_groups(
        &mut self,
        reading: Reading,
    ) -> Result<Result<(), Refusal>, ConnectionError> {
        let Reading {
            opened: Opened { file, info, .. },
            mut range,
        } = reading;
        let mut extent = if info.sparse {
            Extent::Unknown
        } else {
            Extent::All
        };
        let mut ahead = VecDeque::new();
        loop {
            if ahead.is_empty()
                && let Some(start) = extent.unknown_from(range)
            {
                let (file, size) = (Arc::clone(&file), info.size);
                extent = match self
                    .shared
                    .work(move || groups::find_extent(&*file, start, size))
                    .await?
                {
                    Ok(extent) => extent,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let (hole, rest) = range.split_at(extent.hole_before(range));
                if !hole.is_empty() {
                    let version = info.version;
                    let hole = Hole {
                        start: hole.start(),
                        count: hole.count(),
                        version,
                    };
                    self.send(&encode(FrameType::Hole, &hole)).await?;
                }
                range = rest;
            }
            while extent.holds(range)
                && let Some(permit) = self.room_ahead(ahead.len())
            {
                let (next, rest) = range.split_at(1);
                range = rest;
                let group = next.iter().next().expect("the range was not empty");
                ahead.push_back(self.read_group(&file, group, info.size, permit));
            }
            let Some(group) = ahead.pop_front() else {
                if range.is_empty() {
                    return Ok(Ok(()));
                }
                continue;
            };
            let (frame, permit) = group.await.map_err(|_| ConnectionError::NoWorkers)?;
            match frame {
                Ok(frame) => {
                    self.send(&frame).await?;
                    self.shared.buffers.give(frame);
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
            drop(permit);
        }
    }

    /// Whether one more group may be read while `waiting` others are: the first always may.
    fn room_ahead(&self, waiting: usize) -> Option<Option<OwnedSemaphorePermit>> {
        if waiting == 0 {
            return Some(None);
        }
        if waiting > self.shared.settings.limits.groups_ahead {
            return None;
        }
        self.take_room_ahead().map(Some)
    }

    /// Room for one more frame that is made ahead of its turn, if all clients together leave any.
    fn take_room_ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.ahead).try_acquire_owned().ok()
    }

    /// Begins to read a group into the frame that carries it. `permit` comes back with that: it
    /// stands for memory that is taken until the frame is sent.
    fn read_group(
        &self,
        file: &Arc<dyn SourceFile>,
        group: GroupIndex,
        size: u64,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Begun<ReadAhead> {
        let (file, buffers) = (Arc::clone(file), Arc::clone(&self.shared.buffers));
        let read = move || (groups::frame(&*file, group, size, &buffers), permit);
        self.shared.workers.begin(read)
    }

    /// Sends the hashes of the groups of a range.
    async fn send_hashes(
        &mut self,
        reading: Reading,
    ) -> Result<Result<(), Refusal>, ConnectionError> {
        let Reading {
            opened: Opened { file, info, .. },
            mut range,
        } = reading;
        while !range.is_empty() {
            let (next, rest) = range.split_at(groups::HASHES_PER_FRAME);
            range = rest;
            let (file, size) = (Arc::clone(&file), info.size);
            match self
                .shared
                .work(move || groups::hashes_frame(&*file, next, size))
                .await?
            {
                Ok(frame) => self.send(&frame).await?,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(()))
    }

    async fn refuse(&mut self, refusal: Refusal) -> Result<(), ConnectionError> {
        self.send(&encode(FrameType::Failed, &refusal)).await
    }

    /// Sends a frame; a client that takes nothing of it for too long is left.
    async fn send(&mut self, frame: &[u8]) -> Result<(), ConnectionError> {
        send(self.shared, &mut self.writer, frame).await?;
        self.sent_bytes += frame.len() as u64;
        Ok(())
    }
}
