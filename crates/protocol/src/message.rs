//! The bodies of frames: what is asked and what is answered.
//!
//! Bodies are postcard (varints, little-endian zigzag for signed numbers, length-prefixed bytes and
//! sequences) except a group, whose layout is fixed so that its bytes can be used where they lie.
//! `PROTOCOL.md` has every table.

use serde::{Deserialize, Serialize, Serializer};

use crate::content::{GroupHash, GroupIndex, GroupRange};
use crate::entry::{DirectoryInfo, FileInfo, Refusal, Timestamp, Version};
use crate::filter::Patterns;
use crate::frame::{FRAME_HEADER_BYTES, FrameBuilder, FrameType};
use crate::limits::{GROUP_BYTES, GROUPS_PER_REQUEST_MAX, MEASURED_GROUPS_MAX};
use crate::path::{Name, RelativePath};
use crate::proof::Proof;
use crate::session::Violation;
use crate::tree::Cursor;

/// The version of the protocol: the first byte that either side sends in a body.
pub const PROTOCOL_VERSION: u8 = 1;

/// The feature that a client may ask the server to measure itself and the path.
pub const FEATURE_MEASURE: u64 = 1;

/// The client's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u8,
    /// A bit for each optional feature that the client means to use.
    pub features: u64,
    /// That the client has the access token, if it has one.
    pub proof: Option<Proof>,
}

/// The server's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL_VERSION`].
    pub version: u8,
    /// The features of the greeting that the server has too.
    pub features: u64,
    /// That the server has the access token, unless it is open.
    pub proof: Option<Proof>,
}

/// Why a server does not admit a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    /// It does not speak the client's version.
    Version,
    /// The proof is missing or wrong.
    Access,
    /// It has as many clients as it takes; trying again later may help.
    Busy,
    /// It is about to end.
    Leaving,
}

/// What becomes of symbolic links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkMode {
    /// Links that stay in the tree are sent as links; others are left out.
    #[default]
    Keep,
    /// What is behind a link is sent in its place, if it lies in the tree.
    Follow,
    /// All links are sent as links, wherever they lead.
    KeepAll,
}

/// What is said of entries, where it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryOptions {
    /// What becomes of links.
    pub links: LinkMode,
    /// Send extended attributes.
    pub xattrs: bool,
    /// Say which names are names of one file.
    pub hard_links: bool,
}

impl EntryOptions {
    /// Whether what is behind a link is sent in its place.
    #[must_use]
    pub fn follows_links(self) -> bool {
        self.links == LinkMode::Follow
    }
}

/// Asks for a tree; answered by its first page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRequest {
    /// A number by which the client names this tree from now on.
    pub tree: u32,
    /// The root of the tree.
    pub path: RelativePath,
    /// What is said of entries.
    pub options: EntryOptions,
    /// Enter directories below the first.
    pub recursive: bool,
    /// Send the content of files up to this many bytes in line; 0 for none.
    pub inline_bytes_max: u64,
    /// What is wanted.
    pub patterns: Patterns,
    /// Begin behind this item.
    pub cursor: Option<Cursor>,
}

/// Asks for the content of small files; answered item by item, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRequest {
    /// What is said of the files.
    pub options: EntryOptions,
    /// The files.
    pub paths: Vec<RelativePath>,
}

/// What is asked of a range of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadWhat {
    /// Their bytes and hashes.
    Content,
    /// Their hashes only.
    Hashes,
}

/// Asks for a range of the groups of one file. An empty range asks for its state alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// The file.
    pub path: RelativePath,
    /// Read what is behind a link.
    pub follow_links: bool,
    /// What is wanted of the groups.
    pub what: ReadWhat,
    /// Which groups; at most [`GROUPS_PER_REQUEST_MAX`].
    pub range: GroupRange,
    /// Answer [`Refusal::Changed`] unless the file is this version.
    pub version: Option<Version>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MeasureWhat {
    /// The path: groups of zeros are sent.
    Path,
    /// Hashing groups, on one core.
    Hashing,
    /// Encrypting groups, on one core.
    Encryption,
}

/// Asks the server to send, hash or encrypt groups that are on no disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasureRequest {
    /// What is measured.
    pub what: MeasureWhat,
    /// How many groups; at most [`MEASURED_GROUPS_MAX`].
    pub groups: u64,
}

/// The end of the answer to a [`MeasureRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// How long one core of the server has worked for it; 0 where it was the path.
    pub nanoseconds: u64,
    /// Cores that the server could work on at once.
    pub cores: u16,
}

/// What a client says once it has all it came for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Files in place, fetched or already there.
    pub files: u64,
    /// Bytes of content received and verified.
    pub bytes: u64,
    /// Entries that failed.
    pub failed: u64,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Open a tree.
    Tree(TreeRequest),
    /// The next page of a tree.
    More {
        /// Which.
        tree: u32,
    },
    /// Forget a tree; not answered.
    CloseTree {
        /// Which.
        tree: u32,
    },
    /// The content of small files.
    Fetch(FetchRequest),
    /// Groups of a file, their hashes, or its state.
    Read(ReadRequest),
    /// All is done; not answered.
    Complete(Completion),
    /// Groups that are on no disk, or how long work on them takes.
    Measure(MeasureRequest),
}

/// A read request as it travels; its range is not checked yet.
#[derive(Serialize, Deserialize)]
struct WireRead {
    path: RelativePath,
    follow_links: bool,
    what: ReadWhat,
    start: u64,
    end: u64,
    version: Option<Version>,
}

impl Request {
    /// The frame that carries this request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Tree(request) => encode(FrameType::Tree, request),
            Self::More { tree } => encode(FrameType::More, tree),
            Self::CloseTree { tree } => encode(FrameType::CloseTree, tree),
            Self::Fetch(request) => encode(FrameType::Fetch, request),
            Self::Read(request) => {
                let ReadRequest {
                    path,
                    follow_links,
                    what,
                    range,
                    version,
                } = request.clone();
                let (start, end) = (range.start(), range.end());
                encode(
                    FrameType::Read,
                    &WireRead {
                        path,
                        follow_links,
                        what,
                        start,
                        end,
                        version,
                    },
                )
            }
            Self::Complete(completion) => encode(FrameType::Complete, completion),
            Self::Measure(MeasureRequest { what, groups }) => {
                encode(FrameType::Measure, &(*what, *groups))
            }
        }
    }

    /// Reads a request from a frame's body.
    ///
    /// # Errors
    /// A body that is not a request of type `kind`, or one beyond its limits.
    pub fn decode(kind: FrameType, body: &[u8]) -> Result<Self, Violation> {
        match kind {
            FrameType::Tree => Ok(Self::Tree(decode(kind, body)?)),
            FrameType::More => Ok(Self::More {
                tree: decode(kind, body)?,
            }),
            FrameType::CloseTree => Ok(Self::CloseTree {
                tree: decode(kind, body)?,
            }),
            FrameType::Fetch => Ok(Self::Fetch(decode(kind, body)?)),
            FrameType::Read => {
                let WireRead {
                    path,
                    follow_links,
                    what,
                    start,
                    end,
                    version,
                } = decode(kind, body)?;
                let range = GroupRange::new(start, end)
                    .filter(|range| range.count() <= GROUPS_PER_REQUEST_MAX)
                    .ok_or(Violation::Range)?;
                Ok(Self::Read(ReadRequest {
                    path,
                    follow_links,
                    what,
                    range,
                    version,
                }))
            }
            FrameType::Complete => Ok(Self::Complete(decode(kind, body)?)),
            FrameType::Measure => {
                let (what, groups) = decode(kind, body)?;
                if groups > MEASURED_GROUPS_MAX {
                    return Err(Violation::Range);
                }
                Ok(Self::Measure(MeasureRequest { what, groups }))
            }
            _ => Err(Violation::Unexpected(kind)),
        }
    }
}

/// Borrowed bytes that travel as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Blob<'a>(#[serde(borrow)] pub &'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// The whole content of a small file, its hash behind its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inline<'a> {
    /// The bytes.
    #[serde(borrow)]
    pub bytes: Blob<'a>,
    /// The BLAKE3 hash of the bytes.
    pub hash: [u8; 32],
}

/// One item of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PageItem<'a> {
    /// A directory; the files and links that follow lie in it.
    Directory {
        /// Its path below the root of the tree.
        path: RelativePath,
        /// What is said of it.
        info: DirectoryInfo,
    },
    /// A file.
    File {
        /// Its name in the current directory.
        name: Name,
        /// What is said of it.
        info: FileInfo,
        /// Its content, if it came in line.
        #[serde(borrow)]
        content: Option<Inline<'a>>,
    },
    /// A symbolic link.
    Link {
        /// Its name in the current directory.
        name: Name,
        /// Where it points.
        #[serde(borrow)]
        target: Blob<'a>,
        /// When it was made.
        modified: Timestamp,
    },
    /// Something that is not sent.
    Skipped {
        /// Its path below the root of the tree, unchecked: only to be shown.
        #[serde(borrow)]
        path: Blob<'a>,
        /// Why.
        refusal: Refusal,
    },
    /// The tree has no more items.
    End,
}

/// One item of an answer to [`FetchRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FetchItem<'a> {
    /// The file's state and content.
    File {
        /// What is said of it.
        info: FileInfo,
        /// Its content.
        #[serde(borrow)]
        content: Inline<'a>,
    },
    /// It is not sent.
    Failed {
        /// Why.
        refusal: Refusal,
    },
}

/// Whole groups that are holes in the file, and so zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The first group.
    pub start: u64,
    /// How many groups.
    pub count: u64,
    /// The state of the source.
    pub version: Version,
}

/// What stands before the hashes in a `Hashes` body; 32 bytes for each group follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashesHead {
    /// The first group.
    pub start: u64,
    /// The state of the source.
    pub version: Version,
}

/// The end of an answer to [`ReadRequest`]: the file's state at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The state of the source now.
    pub version: Version,
    /// The file's size now, in bytes.
    pub size: u64,
    /// When this answer began, nothing about the file had changed for two seconds: a later change
    /// would have given it another version.
    pub settled: bool,
}

/// The bytes of a group frame's body before the content: index (u64) and version.
pub const GROUP_HEAD_BYTES: usize = 8 + 16;
/// The bytes of a group frame's body behind the content: its hash.
pub const GROUP_TAIL_BYTES: usize = 32;

/// The length of the frame of a group with `length` bytes of content.
#[must_use]
pub fn group_frame_bytes(length: usize) -> usize {
    FRAME_HEADER_BYTES + GROUP_HEAD_BYTES + length + GROUP_TAIL_BYTES
}

/// Begins the frame of a group in `buffer`, best with [room](group_frame_bytes) for all of it: the
/// caller appends the content, then calls [`finish_group`].
#[must_use]
pub fn begin_group(group: GroupIndex, version: Version, buffer: Vec<u8>) -> FrameBuilder {
    let mut frame = FrameBuilder::within(FrameType::Group, buffer);
    frame.buffer().extend_from_slice(&group.get().to_le_bytes());
    frame.buffer().extend_from_slice(&version.0);
    frame
}

/// Ends the frame of a group with the hash of the content that was appended.
#[must_use]
pub fn finish_group(mut frame: FrameBuilder, hash: GroupHash) -> Vec<u8> {
    frame.buffer().extend_from_slice(hash.as_bytes());
    frame.finish()
}

/// The frame of a group of zeros that belongs to no file, in the memory of `buffer`.
#[must_use]
pub fn filler(buffer: Vec<u8>) -> Vec<u8> {
    let mut frame = FrameBuilder::within(FrameType::Filler, buffer);
    frame.buffer().resize(FRAME_HEADER_BYTES + GROUP_BYTES, 0);
    frame.finish()
}

/// Encodes `message` as the whole body of a frame.
#[must_use]
pub fn encode<M: Serialize>(kind: FrameType, message: &M) -> Vec<u8> {
    let mut frame = FrameBuilder::new(kind, 64);
    frame.append(message);
    frame.finish()
}

/// Decodes a body that holds exactly one message.
pub(crate) fn decode<'a, M: Deserialize<'a>>(
    kind: FrameType,
    body: &'a [u8],
) -> Result<M, Violation> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(Violation::Malformed(kind)),
    }
}

/// Decodes a message at the start of `body`; returns it and what follows.
pub(crate) fn decode_head<'a, M: Deserialize<'a>>(
    kind: FrameType,
    body: &'a [u8],
) -> Result<(M, &'a [u8]), Violation> {
    postcard::take_from_bytes(body).map_err(|_| Violation::Malformed(kind))
}
