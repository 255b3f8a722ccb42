//! Fetches a single file in order, for whoever reads along.

use std::sync::Arc;
use std::time::Duration;

use packhorse_protocol::content::{
    ContentHash, GroupHash, GroupRange, group_count, group_length, merge_groups,
};
use packhorse_protocol::entry::{FileInfo, Refusal, Version};
use packhorse_protocol::frame::FrameType;
use packhorse_protocol::key::Pin;
use packhorse_protocol::limits::{FILE_BYTES_MAX, GROUP_BYTES};
use packhorse_protocol::message::{
    Completion, EntryOptions, LinkMode, ReadRequest, ReadWhat, Request, TreeRequest,
};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::{Answer, Group, Item, Violation};
use packhorse_transport::dial::Dial;
use packhorse_transport::stream::Stream;
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::connect::{ConnectError, Connector, Conversation};
use crate::drive::TREE;
use crate::patience::Patience;
use crate::report::{Event, Observer};

/// Groups in one request.
const READ_GROUPS: u64 = 32;
/// Whoever takes what was asked for within this time may have more at once.
const QUICK: Duration = Duration::from_secs(1);
/// A damaged group is asked for again this often.
const ATTEMPTS_MAX: usize = 5;

const FOLLOWING: EntryOptions = EntryOptions {
    links: LinkMode::Follow,
    xattrs: false,
    hard_links: false,
};

/// Why a file did not come to its end. What was written before is right, as far as it goes.
#[derive(Debug, Error)]
pub enum CatError {
    /// There is no connection, or no more.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server does not send it, or it changed.
    #[error("{0}")]
    Refused(Refusal),
    /// What arrives does not match its hash, also when asked for again.
    #[error("what the server sends does not match its hash, also when asked again")]
    Damaged,
    /// Its content is not the one that was expected.
    #[error("its hash is {found}, not {expected}")]
    Unexpected {
        /// What was expected.
        expected: ContentHash,
        /// What it is.
        found: ContentHash,
    },
    /// Nobody reads along any more, or what is written to fails.
    #[error("cannot write what was fetched: {0}")]
    Output(#[source] std::io::Error),
}

/// What to fetch, and for how long to try.
#[derive(Debug, Clone)]
pub struct CatRequest {
    /// The file.
    pub path: RelativePath,
    /// The hash that it must have.
    pub expect: Option<ContentHash>,
    /// How long to dial again without progress once a connection is lost.
    pub retry_for: Duration,
}

/// Writes a file to `out`, group by group as each is verified. Returns who the server is and the
/// hash of what was written. Where a connection is lost, the next goes on behind the last group that
/// was written; `observer` hears of that.
///
/// # Errors
/// [`CatError`]. A wrong hash of the whole shows only at the end.
pub async fn cat<D: Dial>(
    connector: &Arc<Connector<D>>,
    request: &CatRequest,
    observer: &dyn Observer,
    out: impl AsyncWrite + Unpin + Send,
) -> Result<(Pin, ContentHash), CatError> {
    let mut patience = Patience::new(request.retry_for, 0);
    let mut was_reached = false;
    let (conversation, info) = loop {
        match begin(connector, &request.path).await {
            Ok(begun) => break begun,
            Err(CatError::Connect(error)) => {
                was_reached |= error.is_cut();
                if !was_reached {
                    return Err(error.into());
                }
                wait(error.after_reached(), &mut patience, 0, observer).await?;
            }
            Err(error) => return Err(error),
        }
    };
    let pin = conversation.pin();
    let mut reading = Reading {
        conversation,
        path: &request.path,
        info,
        out,
        hashes: Vec::new(),
        rechecked: 0,
        damaged: 0,
        state: Settled::Unknown,
        answers: 0,
    };
    loop {
        let error = match reading.run().await {
            Ok(()) => break,
            Err(CatError::Connect(error)) => error,
            Err(error) => return Err(error),
        };
        reading.conversation =
            dial_again(connector, error, &mut patience, reading.answers, observer).await?;
    }
    let found = merge_groups(&reading.hashes);
    if let Some(expected) = request.expect.filter(|expected| *expected != found) {
        return Err(CatError::Unexpected { expected, found });
    }
    reading.complete().await;
    Ok((pin, found))
}

/// Dials, and asks what the file is.
async fn begin<D: Dial>(
    connector: &Connector<D>,
    path: &RelativePath,
) -> Result<(Conversation<D::Stream>, FileInfo), CatError> {
    let request = Request::Tree(TreeRequest {
        tree: TREE,
        path: path.clone(),
        options: FOLLOWING,
        recursive: false,
        inline_bytes_max: 0,
        patterns: Default::default(),
        cursor: None,
    });
    let mut conversation = connector.connect(&request).await?;
    let info = match conversation.answer().await? {
        Answer::Page(page) => match page.items.into_iter().next() {
            Some(Item::File { info, .. }) => info,
            Some(Item::Skipped { refusal, .. }) => return Err(CatError::Refused(refusal)),
            _ => return Err(CatError::Refused(Refusal::IsDirectory)),
        },
        Answer::Failed(refusal) => return Err(CatError::Refused(refusal)),
        _ => return Err(excess()),
    };
    if info.size > FILE_BYTES_MAX {
        return Err(ConnectError::from(Violation::Malformed(FrameType::Page)).into());
    }
    Ok((conversation, info))
}

/// Dials until a connection stands, or patience is at its end.
async fn dial_again<D: Dial>(
    connector: &Connector<D>,
    mut error: ConnectError,
    patience: &mut Patience,
    progress: u64,
    observer: &dyn Observer,
) -> Result<Conversation<D::Stream>, CatError> {
    loop {
        wait(error.after_reached(), patience, progress, observer).await?;
        match connector.greet().await {
            Ok(conversation) => return Ok(conversation),
            Err(next) => error = next,
        }
    }
}

/// Waits before a lost connection is dialled again; `error` itself where that is of no use.
async fn wait(
    error: ConnectError,
    patience: &mut Patience,
    progress: u64,
    observer: &dyn Observer,
) -> Result<(), CatError> {
    let wait = error.is_passing().then(|| patience.next_wait(progress));
    let Some(wait) = wait.flatten() else {
        return Err(error.into());
    };
    observer.handle(Event::Lost { why: &error });
    sleep(wait).await;
    Ok(())
}

/// A file on its way; it keeps the hash of each of its groups.
struct Reading<'a, S, W> {
    conversation: Conversation<S>,
    path: &'a RelativePath,
    info: FileInfo,
    out: W,
    hashes: Vec<GroupHash>,
    /// Groups whose hashes were compared once more.
    rechecked: u64,
    /// Reads in which a group came damaged.
    damaged: usize,
    state: Settled,
    /// Changes whenever something has come.
    answers: u64,
}

/// What came of an answer.
#[derive(Debug, Clone, Copy)]
struct ReadEnd {
    /// The file was settled when it began.
    settled: bool,
    /// A group came damaged: all from it on have to be read again.
    damaged: bool,
}

/// What is known of the state of a file while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// Nothing was read yet.
    Unknown,
    /// Whatever has changed since it was first read shows in its version.
    Yes,
    /// Something may have changed unseen.
    No,
}

impl<S: Stream, W: AsyncWrite + Unpin + Send> Reading<'_, S, W> {
    /// Reads what is missing, to the end.
    async fn run(&mut self) -> Result<(), CatError> {
        // Who reads along may pause for as long as they like, with little asked for meanwhile.
        let mut ahead = 1;
        while (self.hashes.len() as u64) < group_count(self.info.size) {
            let start = self.hashes.len() as u64;
            let rest =
                GroupRange::new(start, group_count(self.info.size)).unwrap_or(GroupRange::EMPTY);
            let begun = Instant::now();
            let before = self.state;
            if before != Settled::Yes {
                // Until the end of the answer says otherwise, should it come.
                self.state = Settled::No;
            }
            let read = self.read(rest.split_at(ahead).0).await?;
            ahead = if begun.elapsed() < QUICK {
                (ahead * 2).min(READ_GROUPS)
            } else {
                1
            };
            if before != Settled::No && read.settled {
                self.state = Settled::Yes;
            }
            if read.damaged {
                self.damaged += 1;
                if self.damaged > ATTEMPTS_MAX {
                    return Err(CatError::Damaged);
                }
            }
        }
        if self.state == Settled::No {
            self.recheck().await?;
        }
        self.ask(ReadWhat::Content, GroupRange::EMPTY).await?;
        self.done().await?;
        self.out.flush().await.map_err(CatError::Output)
    }

    /// Says to the server that the file has come.
    async fn complete(mut self) {
        let bytes = self.info.size;
        let completion = Completion {
            files: 1,
            bytes,
            failed: 0,
        };
        // Everything has come; whether the server hears of it makes no difference to that.
        let _ = self
            .conversation
            .request(&Request::Complete(completion))
            .await;
        self.conversation.shutdown().await;
    }

    /// Reads groups and writes them.
    async fn read(&mut self, range: GroupRange) -> Result<ReadEnd, CatError> {
        self.ask(ReadWhat::Content, range).await?;
        let mut left = range.count();
        let mut damaged = false;
        while left > 0 {
            match self.answer().await? {
                Answer::Group(group) => {
                    left -= 1;
                    damaged = damaged || !self.take(&group).await?;
                }
                Answer::Hole(hole, version) => {
                    self.check_version(version)?;
                    left -= hole.count();
                    if !damaged {
                        self.write_zeros(hole).await?;
                    }
                }
                Answer::Failed(refusal) => return Err(CatError::Refused(refusal)),
                _ => return Err(excess()),
            }
        }
        let settled = self.done().await?;
        Ok(ReadEnd { settled, damaged })
    }

    async fn answer(&mut self) -> Result<Answer, CatError> {
        let answer = self.conversation.answer().await?;
        self.answers += 1;
        Ok(answer)
    }

    /// Writes a group. False if it is damaged.
    async fn take(&mut self, group: &Group) -> Result<bool, CatError> {
        self.check_version(group.version)?;
        let (bytes, size) = (group.bytes(), self.info.size);
        let intact = bytes.len() == group_length(group.index, size)
            && GroupHash::of(group.index, size, bytes) == group.hash();
        if intact {
            self.out.write_all(bytes).await.map_err(CatError::Output)?;
            self.hashes.push(group.hash());
        }
        Ok(intact)
    }

    async fn write_zeros(&mut self, hole: GroupRange) -> Result<(), CatError> {
        let zeros = vec![0; GROUP_BYTES];
        for group in hole.iter() {
            let bytes = &zeros[..group_length(group, self.info.size)];
            self.out.write_all(bytes).await.map_err(CatError::Output)?;
            self.hashes
                .push(GroupHash::of(group, self.info.size, bytes));
        }
        Ok(())
    }

    /// Compares the hashes of all groups once more, since a change could have gone unseen.
    async fn recheck(&mut self) -> Result<(), CatError> {
        while self.rechecked < group_count(self.info.size) {
            let rest = GroupRange::whole(self.info.size).split_at(self.rechecked).1;
            let range = rest.split_at(READ_GROUPS).0;
            self.ask(ReadWhat::Hashes, range).await?;
            let mut at = range.start();
            while at < range.end() {
                let Answer::Hashes(part, version, hashes) = self.answer().await? else {
                    return Err(CatError::Refused(Refusal::Changed));
                };
                self.check_version(version)?;
                let first = usize::try_from(at).map_err(|_| excess())?;
                if self.hashes.get(first..first + hashes.len()) != Some(hashes.as_slice()) {
                    return Err(CatError::Refused(Refusal::Changed));
                }
                at = part.end();
            }
            self.done().await?;
            self.rechecked = range.end();
        }
        Ok(())
    }

    async fn ask(&mut self, what: ReadWhat, range: GroupRange) -> Result<(), CatError> {
        let request = Request::Read(ReadRequest {
            path: self.path.clone(),
            follow_links: true,
            what,
            range,
            version: Some(self.info.version),
        });
        Ok(self.conversation.request(&request).await?)
    }

    /// Takes the end of an answer; whether the file was settled when that began.
    async fn done(&mut self) -> Result<bool, CatError> {
        match self.answer().await? {
            Answer::Done(done) => {
                self.check_version(done.version)?;
                Ok(done.settled)
            }
            Answer::Failed(refusal) => Err(CatError::Refused(refusal)),
            _ => Err(excess()),
        }
    }

    fn check_version(&self, version: Version) -> Result<(), CatError> {
        if version == self.info.version {
            Ok(())
        } else {
            Err(CatError::Refused(Refusal::Changed))
        }
    }
}

/// The session gives only answers to what was asked for.
fn excess() -> CatError {
    ConnectError::from(Violation::Excess).into()
}
