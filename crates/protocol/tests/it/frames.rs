//! Requests of a client, and frames as any server may send them.

use packhorse_protocol::content::GroupRange;
use packhorse_protocol::entry::{DirectoryInfo, FileInfo, Mode, Timestamp, Version};
use packhorse_protocol::filter::Patterns;
use packhorse_protocol::frame::{FRAME_HEADER_BYTES, FrameBuilder, FrameType};
use packhorse_protocol::limits::INLINE_BYTES_MAX;
use packhorse_protocol::message::{
    Blob, Done, EntryOptions, FetchItem, FetchRequest, Hole, Inline, PROTOCOL_VERSION, PageItem,
    ReadRequest, ReadWhat, Request, TreeRequest, Welcome, encode,
};
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::proof::Proof;
use packhorse_protocol::tree::Cursor;
use serde::Serialize;

/// The type and the body of a frame.
pub(crate) type Frame = (FrameType, Vec<u8>);

pub(crate) fn tree(cursor: Option<Cursor>) -> Request {
    Request::Tree(TreeRequest {
        tree: 1,
        path: RelativePath::ROOT,
        options: EntryOptions::default(),
        recursive: true,
        inline_bytes_max: INLINE_BYTES_MAX,
        patterns: Patterns::default(),
        cursor,
    })
}

pub(crate) fn fetch(files: usize) -> Request {
    Request::Fetch(FetchRequest {
        options: EntryOptions::default(),
        paths: vec![RelativePath::parse(b"f").unwrap(); files],
    })
}

pub(crate) fn read(start: u64, end: u64) -> Request {
    request_groups(ReadWhat::Content, start, end)
}

pub(crate) fn hashes(start: u64, end: u64) -> Request {
    request_groups(ReadWhat::Hashes, start, end)
}

fn request_groups(what: ReadWhat, start: u64, end: u64) -> Request {
    Request::Read(ReadRequest {
        path: RelativePath::parse(b"f").unwrap(),
        follow_links: false,
        what,
        range: GroupRange::new(start, end).unwrap(),
        version: None,
    })
}

pub(crate) fn welcome(proof: Option<Proof>) -> Vec<u8> {
    let welcome = Welcome {
        version: PROTOCOL_VERSION,
        features: 0,
        proof,
    };
    body_of(FrameType::Welcome, &welcome).1
}

pub(crate) fn page(items: &[PageItem<'_>]) -> Frame {
    finish(FrameType::Page, begun_page(items))
}

pub(crate) fn begun_page(items: &[PageItem<'_>]) -> FrameBuilder {
    let mut frame = FrameBuilder::new(FrameType::Page, 0);
    for item in items {
        frame.append(item);
    }
    frame
}

pub(crate) fn contents(items: &[FetchItem<'_>]) -> Frame {
    let mut frame = FrameBuilder::new(FrameType::Contents, 0);
    for item in items {
        frame.append(item);
    }
    finish(FrameType::Contents, frame)
}

pub(crate) fn group(index: u64, length: usize) -> Frame {
    let head = [&index.to_le_bytes()[..], &[0; 16]].concat();
    (
        FrameType::Group,
        [head, vec![1; length], vec![2; 32]].concat(),
    )
}

pub(crate) fn hole(start: u64, count: u64) -> Frame {
    let version = Version([0; 16]);
    body_of(
        FrameType::Hole,
        &Hole {
            start,
            count,
            version,
        },
    )
}

pub(crate) fn hashes_of(start: u64, bytes: usize) -> Frame {
    let mut frame = FrameBuilder::new(FrameType::Hashes, 0);
    frame.append(&start);
    frame.buffer().extend([0; 16]);
    frame.buffer().extend(vec![3; bytes]);
    finish(FrameType::Hashes, frame)
}

pub(crate) fn done() -> Frame {
    let done = Done {
        version: Version([0; 16]),
        size: 0,
        settled: true,
    };
    body_of(FrameType::Done, &done)
}

pub(crate) fn directory(path: &str) -> PageItem<'static> {
    PageItem::Directory {
        path: RelativePath::parse(path.as_bytes()).unwrap(),
        info: directory_info(),
    }
}

pub(crate) fn file(name: &str) -> PageItem<'static> {
    PageItem::File {
        name: Name::parse(name.as_bytes()).unwrap(),
        info: info(1),
        content: None,
    }
}

pub(crate) fn link<'a>(name: &str, target: &'a [u8]) -> PageItem<'a> {
    PageItem::Link {
        name: Name::parse(name.as_bytes()).unwrap(),
        target: Blob(target),
        modified: Timestamp::new(0, 0).unwrap(),
    }
}

pub(crate) fn inline(bytes: &[u8]) -> Inline<'_> {
    Inline {
        bytes: Blob(bytes),
        hash: [4; 32],
    }
}

pub(crate) fn info(size: u64) -> FileInfo {
    FileInfo {
        size,
        modified: Timestamp::new(0, 0).unwrap(),
        mode: Mode::from_bits(0o644),
        version: Version([0; 16]),
        sparse: false,
        link_group: 0,
        xattrs: Vec::new(),
    }
}

pub(crate) fn directory_info() -> DirectoryInfo {
    DirectoryInfo {
        modified: Timestamp::new(0, 0).unwrap(),
        mode: Mode::from_bits(0o755),
        xattrs: Vec::new(),
    }
}

fn body_of(kind: FrameType, message: &impl Serialize) -> Frame {
    (kind, encode(kind, message).split_off(FRAME_HEADER_BYTES))
}

pub(crate) fn finish(kind: FrameType, frame: FrameBuilder) -> Frame {
    (kind, frame.finish().split_off(FRAME_HEADER_BYTES))
}
