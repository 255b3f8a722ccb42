//! The client's end of a connection.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::{GreetingError, Violation};
use crate::content::{ContentHash, GroupHash, GroupIndex, GroupRange};
use crate::entry::{DirectoryInfo, FileInfo, Refusal, Timestamp, Version};
use crate::frame::FrameType;
use crate::key::Token;
use crate::limits::{
    FRAME_BYTES_MAX, GROUP_BYTES, INLINE_BYTES_MAX, LINK_TARGET_BYTES_MAX, PAGE_ITEMS_MAX,
    REQUESTS_MAX,
};
use crate::message::{
    Denial, Done, FetchItem, GROUP_HEAD_BYTES, GROUP_TAIL_BYTES, HashesHead, Hello, Hole, Inline,
    MeasureWhat, Measured, PROTOCOL_VERSION, PageItem, ReadWhat, Request, Welcome, decode,
    decode_head, encode,
};
use crate::path::{Name, RelativePath};
use crate::proof::{ChannelBinding, Proof, Prover};
use crate::tree::{Cursor, TreeOrder};

/// The client's end: greets, asks, and checks that each answer is one to what it asked.
#[derive(Debug)]
pub struct ClientSession {
    token: Option<Token>,
    binding: ChannelBinding,
    admitted: bool,
    /// What is offered to the server; once it has answered, what it has of that.
    features: u64,
    pending: VecDeque<Pending>,
    trees: BTreeMap<u32, TreeOrder>,
}

/// An answer that is still to come.
#[derive(Debug)]
enum Pending {
    Page {
        tree: u32,
    },
    Contents {
        files: usize,
    },
    Read {
        what: ReadWhat,
        rest: GroupRange,
    },
    /// So many groups of filler, then how long the work took.
    Measure {
        filler: u64,
    },
}

/// What a frame from the server means. `Page`, `Done`, `Measured`, `Failed` and the last `Contents`
/// end the answer to one request.
#[derive(Debug)]
pub enum Answer {
    /// A page of a tree.
    Page(Page),
    /// Some files of a `Fetch`, in order.
    Contents(Vec<Fetched>, Content),
    /// A group of a file, its hash not checked yet.
    Group(Group),
    /// Groups that are holes.
    Hole(GroupRange, Version),
    /// Hashes of groups.
    Hashes(GroupRange, Version, Vec<GroupHash>),
    /// A `Read` has been answered.
    Done(Done),
    /// A request is refused.
    Failed(Refusal),
    /// A group that belongs to no file, in the buffer it came in.
    Filler(Vec<u8>),
    /// A `Measure` has been answered.
    Measured(Measured),
}

/// The bytes that the ranges of [`Item::File`] and [`Fetched`] lie in.
#[derive(Debug)]
pub struct Content(Vec<u8>);

impl Content {
    /// The bytes at `range`, which must come from an item beside this content.
    #[must_use]
    pub fn get(&self, range: &Range<usize>) -> &[u8] {
        &self.0[range.clone()]
    }
}

/// A page of a tree, its items in an order that was checked.
#[derive(Debug)]
pub struct Page {
    /// Which tree.
    pub tree: u32,
    /// The items.
    pub items: Vec<Item>,
    /// What comes in line.
    pub content: Content,
    /// The place behind the last item, to go on from.
    pub cursor: Option<Cursor>,
    /// The tree has no more pages.
    pub ended: bool,
}

impl Page {
    /// Whether the tree's root, which the page begins with, is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.items.first(), Some(Item::Directory { .. }))
    }
}

/// One item of a page; `directory` is below the root of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `PageItem`")]
pub enum Item {
    Directory {
        path: RelativePath,
        info: DirectoryInfo,
    },
    File {
        directory: RelativePath,
        name: Name,
        info: FileInfo,
        content: Option<(Range<usize>, ContentHash)>,
    },
    Link {
        directory: RelativePath,
        name: Name,
        target: Vec<u8>,
        modified: Timestamp,
    },
    Skipped {
        path: Vec<u8>,
        refusal: Refusal,
    },
}

/// One file of a `Fetch`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `FetchItem`")]
pub enum Fetched {
    File {
        info: FileInfo,
        content: (Range<usize>, ContentHash),
    },
    Failed {
        refusal: Refusal,
    },
}

/// A group of a file as it came, in the buffer it came in.
#[derive(Debug)]
pub struct Group {
    /// Which group.
    pub index: GroupIndex,
    /// The state of the source.
    pub version: Version,
    body: Vec<u8>,
}

impl Group {
    /// The group's content, not checked yet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body[GROUP_HEAD_BYTES..self.body.len() - GROUP_TAIL_BYTES]
    }

    /// The hash that the server sent.
    #[must_use]
    pub fn hash(&self) -> GroupHash {
        let tail = self
            .body
            .last_chunk()
            .expect("a group's length was checked when it was read");
        GroupHash::from(*tail)
    }

    /// The buffer, to be used again.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.body
    }
}

impl ClientSession {
    /// A session over the connection that `binding` belongs to.
    #[must_use]
    pub fn new(token: Option<Token>, binding: ChannelBinding) -> Self {
        Self {
            token,
            binding,
            admitted: false,
            features: 0,
            pending: VecDeque::new(),
            trees: BTreeMap::new(),
        }
    }

    /// Offers `features` in the greeting.
    #[must_use]
    pub fn with_features(self, features: u64) -> Self {
        Self { features, ..self }
    }

    /// Whether the server has been greeted and has `feature`, which was offered.
    #[must_use]
    pub fn has_feature(&self, feature: u64) -> bool {
        self.admitted && self.features & feature != 0
    }

    /// The first frame to send. Requests may follow at once, without waiting for the answer.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        let proof = self
            .token
            .as_ref()
            .map(|token| Proof::new(token, &self.binding, Prover::Client));
        encode(
            FrameType::Hello,
            &Hello {
                version: PROTOCOL_VERSION,
                features: self.features,
                proof,
            },
        )
    }

    /// How long a body may be, in bytes.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        FRAME_BYTES_MAX
    }

    /// Whether one more request may be sent now.
    #[must_use]
    pub fn can_request(&self) -> bool {
        self.pending.len() < REQUESTS_MAX
    }

    /// How many requests have not been answered to their end.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.pending.len()
    }

    /// Takes note of `request` and returns its frame.
    pub fn request(&mut self, request: &Request) -> Vec<u8> {
        match request {
            Request::Tree(tree) => {
                self.trees
                    .insert(tree.tree, TreeOrder::new(tree.cursor.clone()));
                self.pending.push_back(Pending::Page { tree: tree.tree });
            }
            Request::More { tree } => self.pending.push_back(Pending::Page { tree: *tree }),
            Request::Fetch(fetch) if fetch.paths.is_empty() => {}
            Request::Fetch(fetch) => {
                self.pending.push_back(Pending::Contents {
                    files: fetch.paths.len(),
                });
            }
            Request::Read(read) => {
                self.pending.push_back(Pending::Read {
                    what: read.what,
                    rest: read.range,
                });
            }
            Request::CloseTree { tree } => {
                self.trees.remove(tree);
            }
            Request::Complete(_) => {}
            Request::Measure(measure) => {
                let filler = match measure.what {
                    MeasureWhat::Path => measure.groups,
                    MeasureWhat::Hashing | MeasureWhat::Encryption => 0,
                };
                self.pending.push_back(Pending::Measure { filler });
            }
        }
        request.encode()
    }

    /// Takes the server's first frame.
    ///
    /// # Errors
    /// The inner error: this client is not admitted or must not trust the server. The outer: the
    /// server broke the protocol.
    pub fn handle_greeting(
        &mut self,
        kind: FrameType,
        body: &[u8],
    ) -> Result<Result<(), GreetingError>, Violation> {
        match kind {
            FrameType::Denied => Ok(Err(GreetingError::Denied(decode::<Denial>(kind, body)?))),
            FrameType::Welcome => {
                let welcome: Welcome = decode(kind, body)?;
                if welcome.version != PROTOCOL_VERSION {
                    return Err(Violation::Malformed(kind));
                }
                let expected = self
                    .token
                    .as_ref()
                    .map(|token| Proof::new(token, &self.binding, Prover::Server));
                // An open server has no token to prove; its pin, which the address names, suffices.
                if welcome.proof.is_some() && welcome.proof != expected {
                    return Ok(Err(GreetingError::ServerProof));
                }
                self.admitted = true;
                self.features &= welcome.features;
                Ok(Ok(()))
            }
            _ => Err(Violation::Unexpected(kind)),
        }
    }

    /// Takes any later frame from the server; `body` is kept where content lies in it.
    ///
    /// # Errors
    /// The server broke the protocol: close the connection.
    pub fn handle_frame(&mut self, kind: FrameType, body: Vec<u8>) -> Result<Answer, Violation> {
        let unexpected = Violation::Unexpected(kind);
        if !self.admitted {
            return Err(unexpected);
        }
        match (kind, self.pending.front_mut().ok_or(unexpected)?) {
            (FrameType::Failed, Pending::Page { .. } | Pending::Read { .. }) => {
                let refusal = decode(kind, &body)?;
                self.pending.pop_front();
                Ok(Answer::Failed(refusal))
            }
            (FrameType::Page, Pending::Page { tree }) => {
                let tree = *tree;
                let order = self.trees.get_mut(&tree).ok_or(unexpected)?;
                let page = decode_page(tree, order, body)?;
                self.pending.pop_front();
                Ok(Answer::Page(page))
            }
            (FrameType::Contents, Pending::Contents { files }) => {
                let (fetched, content) = decode_contents(*files, body)?;
                *files -= fetched.len();
                if *files == 0 {
                    self.pending.pop_front();
                }
                Ok(Answer::Contents(fetched, content))
            }
            (
                FrameType::Group,
                Pending::Read {
                    what: ReadWhat::Content,
                    rest,
                },
            ) => decode_group(rest, body).map(Answer::Group),
            (
                FrameType::Hole,
                Pending::Read {
                    what: ReadWhat::Content,
                    rest,
                },
            ) => {
                let hole: Hole = decode(kind, &body)?;
                Ok(Answer::Hole(
                    take_groups(rest, hole.start, hole.count)?,
                    hole.version,
                ))
            }
            (
                FrameType::Hashes,
                Pending::Read {
                    what: ReadWhat::Hashes,
                    rest,
                },
            ) => decode_hashes(rest, &body),
            (FrameType::Done, Pending::Read { rest, .. }) if rest.is_empty() => {
                let done = decode(kind, &body)?;
                self.pending.pop_front();
                Ok(Answer::Done(done))
            }
            (FrameType::Filler, Pending::Measure { filler })
                if *filler > 0 && body.len() == GROUP_BYTES =>
            {
                *filler -= 1;
                Ok(Answer::Filler(body))
            }
            (FrameType::Measured, Pending::Measure { filler: 0 }) => {
                let measured = decode(kind, &body)?;
                self.pending.pop_front();
                Ok(Answer::Measured(measured))
            }
            _ => Err(unexpected),
        }
    }
}

fn decode_page(tree: u32, order: &mut TreeOrder, body: Vec<u8>) -> Result<Page, Violation> {
    let mut items = Vec::new();
    let mut rest = body.as_slice();
    while !rest.is_empty() {
        let (item, behind) = decode_head(FrameType::Page, rest)?;
        let end = body.len() - behind.len();
        if order.is_ended() && item != PageItem::End || items.len() == PAGE_ITEMS_MAX {
            return Err(Violation::TreeOrder);
        }
        match item {
            PageItem::Directory { path, info } => {
                order.handle_directory(&path)?;
                items.push(Item::Directory { path, info });
            }
            PageItem::File {
                name,
                info,
                content,
            } => {
                let directory = order.directory();
                order.handle_name(&name)?;
                let content = content
                    .map(|content| place_inline(&content, &info, end))
                    .transpose()?;
                items.push(Item::File {
                    directory,
                    name,
                    info,
                    content,
                });
            }
            PageItem::Link {
                name,
                target,
                modified,
            } => {
                let directory = order.directory();
                order.handle_name(&name)?;
                items.push(Item::Link {
                    directory,
                    name,
                    target: check_target(target.0)?,
                    modified,
                });
            }
            PageItem::Skipped { path, refusal } => {
                items.push(Item::Skipped {
                    path: path.0.to_vec(),
                    refusal,
                });
            }
            PageItem::End => order.handle_end(),
        }
        rest = behind;
    }
    let (cursor, ended) = (order.cursor().cloned(), order.is_ended());
    if items.is_empty() && !ended {
        return Err(Violation::Malformed(FrameType::Page));
    }
    Ok(Page {
        tree,
        items,
        content: Content(body),
        cursor,
        ended,
    })
}

fn decode_contents(files: usize, body: Vec<u8>) -> Result<(Vec<Fetched>, Content), Violation> {
    let mut fetched = Vec::new();
    let mut rest = body.as_slice();
    while !rest.is_empty() {
        let (item, behind) = decode_head(FrameType::Contents, rest)?;
        let end = body.len() - behind.len();
        fetched.push(match item {
            FetchItem::File { info, content } => {
                let content = place_inline(&content, &info, end)?;
                Fetched::File { info, content }
            }
            FetchItem::Failed { refusal } => Fetched::Failed { refusal },
        });
        if fetched.len() > files {
            return Err(Violation::Excess);
        }
        rest = behind;
    }
    if fetched.is_empty() {
        return Err(Violation::Malformed(FrameType::Contents));
    }
    Ok((fetched, Content(body)))
}

/// Where in the body the bytes of an inline content lie whose item ends at `end`: its hash is the
/// last thing in the item, its bytes are what stands before.
fn place_inline(
    content: &Inline<'_>,
    info: &FileInfo,
    end: usize,
) -> Result<(Range<usize>, ContentHash), Violation> {
    let length = content.bytes.0.len();
    if length as u64 != info.size || info.size > INLINE_BYTES_MAX {
        return Err(Violation::Excess);
    }
    let end = end - content.hash.len();
    Ok((end - length..end, ContentHash::from(content.hash)))
}

fn check_target(target: &[u8]) -> Result<Vec<u8>, Violation> {
    if target.is_empty() || target.len() > LINK_TARGET_BYTES_MAX || target.contains(&0) {
        return Err(Violation::Malformed(FrameType::Page));
    }
    Ok(target.to_vec())
}

fn decode_group(rest: &mut GroupRange, body: Vec<u8>) -> Result<Group, Violation> {
    let malformed = Violation::Malformed(FrameType::Group);
    let (index, behind) = body.split_first_chunk::<8>().ok_or(malformed)?;
    let (version, behind) = behind.split_first_chunk::<16>().ok_or(malformed)?;
    let length = behind
        .len()
        .checked_sub(GROUP_TAIL_BYTES)
        .ok_or(malformed)?;
    if length == 0 || length > GROUP_BYTES {
        return Err(malformed);
    }
    let (index, version) = (u64::from_le_bytes(*index), Version(*version));
    take_groups(rest, index, 1)?;
    let index = GroupIndex::new(index).ok_or(Violation::Range)?;
    Ok(Group {
        index,
        version,
        body,
    })
}

fn decode_hashes(rest: &mut GroupRange, body: &[u8]) -> Result<Answer, Violation> {
    let (HashesHead { start, version }, hashes) = decode_head(FrameType::Hashes, body)?;
    let (hashes, left_over) = hashes.as_chunks::<32>();
    if hashes.is_empty() || !left_over.is_empty() {
        return Err(Violation::Malformed(FrameType::Hashes));
    }
    let range = take_groups(rest, start, hashes.len() as u64)?;
    Ok(Answer::Hashes(
        range,
        version,
        hashes.iter().copied().map(GroupHash::from).collect(),
    ))
}

/// Takes `count` groups from the front of what is still to come; they must begin at `start`.
fn take_groups(rest: &mut GroupRange, start: u64, count: u64) -> Result<GroupRange, Violation> {
    if start != rest.start() || count == 0 || count > rest.count() {
        return Err(Violation::Range);
    }
    let (taken, behind) = rest.split_at(count);
    *rest = behind;
    Ok(taken)
}
