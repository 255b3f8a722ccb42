//! Fetches a single file in order, for whoever reads along.

use std::sync::Arc;
use std::time::Duration;

use packhorse_protocol::content::{
    ContentHash, GroupHash, GroupRange, group_count, group_length, merge_groups,
};
use packhorse_protocol::entry::{FileInfo, Refusal};
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
use tokio::time::Instant;

use crate::connect::{ConnectError, Connector, Conversation};
use crate::drive::TREE;

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

/// Writes the file at `path` to `out`, group by group as each is verified. Returns who the server is
/// and the hash of what was written.
///
/// # Errors
/// [`CatError`]. A wrong hash of the whole shows only at the end.
pub async fn cat<D: Dial>(
    connector: &Arc<Connector<D>>,
    path: &RelativePath,
    expect: Option<ContentHash>,
    out: impl AsyncWrite + Unpin + Send,
) -> Result<(Pin, ContentHash), CatError> {
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
    let pin = conversation.pin();
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
    let mut reading = Reading {
        conversation,
        path,
        info,
        out,
        hashes: Vec::new(),
    };
    reading.run().await?;
    let found = merge_groups(&reading.hashes);
    if let Some(expected) = expect.filter(|expected| *expected != found) {
        return Err(CatError::Unexpected { expected, found });
    }
    reading.complete().await;
    Ok((pin, found))
}

/// A file on its way; it keeps the hash of each of its groups.
struct Reading<'a, S, W> {
    conversation: Conversation<S>,
    path: &'a RelativePath,
    info: FileInfo,
    out: W,
    hashes: Vec<GroupHash>,
}

impl<S: Stream, W: AsyncWrite + Unpin + Send> Reading<'_, S, W> {
    async fn run(&mut self) -> Result<(), CatError> {
        let mut attempts = 0;
        let mut settled = true;
        // Who reads along may pause for as long as they like, with little asked for meanwhile.
        let mut ahead = 1;
        while (self.hashes.len() as u64) < group_count(self.info.size) {
            let start = self.hashes.len() as u64;
            let rest =
                GroupRange::new(start, group_count(self.info.size)).unwrap_or(GroupRange::EMPTY);
            let begun = Instant::now();
            let read = self.read(rest.split_at(ahead).0).await?;
            ahead = if begun.elapsed() < QUICK {
                (ahead * 2).min(READ_GROUPS)
            } else {
                1
            };
            match read {
                Some(was_settled) => settled &= was_settled,
                None if attempts < ATTEMPTS_MAX => attempts += 1,
                None => return Err(CatError::Damaged),
            }
        }
        if !settled {
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

    /// Reads groups and writes them; whether the file was settled. `None` if one came damaged: all
    /// from it on have to be read again.
    async fn read(&mut self, range: GroupRange) -> Result<Option<bool>, CatError> {
        self.ask(ReadWhat::Content, range).await?;
        let mut left = range.count();
        let mut damaged = false;
        while left > 0 {
            match self.conversation.answer().await? {
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
        Ok((!damaged).then_some(settled))
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
        let mut rest = GroupRange::whole(self.info.size);
        while !rest.is_empty() {
            let (range, behind) = rest.split_at(READ_GROUPS);
            rest = behind;
            self.ask(ReadWhat::Hashes, range).await?;
            let mut at = range.start();
            while at < range.end() {
                let Answer::Hashes(part, version, hashes) = self.conversation.answer().await?
                else {
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
        match self.conversation.answer().await? {
            Answer::Done(done) => {
                self.check_version(done.version)?;
                Ok(done.settled)
            }
            Answer::Failed(refusal) => Err(CatError::Refused(refusal)),
            _ => Err(excess()),
        }
    }

    fn check_version(&self, version: packhorse_protocol::entry::Version) -> Result<(), CatError> {
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
