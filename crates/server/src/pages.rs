//! Pages of a tree and the content of small files, as a disk worker makes them for a client.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_protocol::content::ContentHash;
use packhorse_protocol::entry::{FileInfo, Refusal};
use packhorse_protocol::filter::Filter;
use packhorse_protocol::frame::{FrameBuilder, FrameType};
use packhorse_protocol::limits::{GROUP_BYTES, INLINE_BYTES_MAX, PAGE_ITEMS_MAX};
use packhorse_protocol::message::{
    Blob, EntryOptions, FetchItem, Inline, PageItem, TreeRequest, group_frame_bytes,
};
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_storage::clock::wall_clock;
use packhorse_storage::read::read_small;
use packhorse_storage::source::{Found, Source};
use packhorse_storage::walk::{TreeWalk, WalkItem, WalkOptions};
use packhorse_transport::frame_buffers::FrameBuffers;
use tokio::sync::OwnedSemaphorePermit;

use crate::groups::refusal;
use crate::limits::{CONTENT_PAGE_BYTES, PAGE_BYTES};

/// A page or frame of contents is sent, short as it may be, when it has taken this long: a client
/// that waits behind a slow disk must not take the server for dead.
const FRAME_TIME: Duration = Duration::from_secs(1);

/// A tree that a client has open.
pub(crate) struct OpenTree {
    walk: TreeWalk,
    inline_bytes_max: u64,
    /// The content of one small file at a time.
    buffer: Vec<u8>,
}

impl OpenTree {
    /// Whether its pages carry the content of small files.
    pub(crate) fn has_content(&self) -> bool {
        self.inline_bytes_max > 0
    }

    fn sends_in_line(&self, info: &FileInfo) -> bool {
        self.has_content() && info.size <= self.inline_bytes_max
    }
}

/// Begins the walk that a client asks for.
pub(crate) fn open(source: &Arc<dyn Source>, request: &TreeRequest) -> Result<OpenTree, Refusal> {
    let TreeRequest {
        tree: _,
        path,
        options,
        recursive,
        inline_bytes_max,
        patterns,
        cursor,
    } = request;
    let filter = Filter::new(patterns).map_err(|_| Refusal::NotFound)?;
    let options = WalkOptions {
        entries: *options,
        recursive: *recursive,
        filter,
    };
    let walk =
        TreeWalk::open(Arc::clone(source), path, options, cursor.clone()).map_err(refusal(path))?;
    let inline_bytes_max = (*inline_bytes_max).min(INLINE_BYTES_MAX);
    Ok(OpenTree {
        walk,
        inline_bytes_max,
        buffer: Vec::new(),
    })
}

/// The frame of a page that was made ahead, and the memory that it was given if it is a large one.
pub(crate) struct MadePage {
    pub(crate) frame: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl MadePage {
    /// Gives back its memory.
    pub(crate) fn give_back(self, buffers: &FrameBuffers) {
        if self.room.is_some() {
            buffers.give(self.frame);
        }
    }
}

/// Makes the next page, a large one if there is `room` for it.
pub(crate) fn next_page(
    tree: &mut OpenTree,
    room: Option<OwnedSemaphorePermit>,
    buffers: &FrameBuffers,
) -> MadePage {
    let (target, buffer) = match room {
        Some(_) => (
            CONTENT_PAGE_BYTES,
            buffers.take(group_frame_bytes(GROUP_BYTES)),
        ),
        None => (PAGE_BYTES, Vec::with_capacity(PAGE_BYTES)),
    };
    let frame = fill_page(tree, target, buffer);
    match room {
        Some(_) if frame.len() <= PAGE_BYTES => {
            // It may wait for its request for long.
            let small = MadePage {
                frame: frame.as_slice().to_owned(),
                room: None,
            };
            buffers.give(frame);
            small
        }
        room => MadePage { frame, room },
    }
}

/// Makes the frame of the next page in the memory of `buffer`.
fn fill_page(tree: &mut OpenTree, target: usize, buffer: Vec<u8>) -> Vec<u8> {
    let start = Instant::now();
    let mut frame = FrameBuilder::within(FrameType::Page, buffer);
    let mut items = 0;
    while items < PAGE_ITEMS_MAX && frame.body_length() < target {
        let Some(item) = tree.walk.next() else {
            frame.append(&PageItem::End);
            break;
        };
        let length = frame.body_length();
        append_item(&mut frame, tree, item);
        // What has gone meanwhile is not told, and a page without items is none.
        items += usize::from(frame.body_length() > length);
        if items > 0 && start.elapsed() > FRAME_TIME {
            break;
        }
    }
    frame.finish()
}

fn append_item(frame: &mut FrameBuilder, tree: &mut OpenTree, item: WalkItem) {
    match item {
        WalkItem::Directory { path, info } => frame.append(&PageItem::Directory { path, info }),
        WalkItem::Link { name, link } => frame.append(&PageItem::Link {
            name,
            target: Blob(&link.target),
            modified: link.modified,
        }),
        WalkItem::Skipped { path, refusal } => {
            frame.append(&PageItem::Skipped {
                path: Blob(&path),
                refusal,
            });
        }
        WalkItem::File { name, info } if !tree.sends_in_line(&info) => {
            frame.append(&PageItem::File {
                name,
                info,
                content: None,
            });
        }
        WalkItem::File { name, .. } => append_small(frame, tree, name),
    }
}

/// Appends a small file with its content. One that has grown meanwhile is told without; one that
/// has gone is not told.
fn append_small(frame: &mut FrameBuilder, tree: &mut OpenTree, name: Name) {
    tree.buffer.clear();
    let read = tree.walk.open_file(&name).and_then(|file| {
        match read_small(
            &*file,
            tree.inline_bytes_max,
            wall_clock(),
            &mut tree.buffer,
        ) {
            Ok(info) => Ok((info, true)),
            Err(error) if error.refusal == Refusal::TooLarge => Ok((file.info()?, false)),
            Err(error) => Err(error),
        }
    });
    match read {
        Ok((info, in_line)) => {
            let content = in_line.then(|| inline(&tree.buffer));
            frame.append(&PageItem::File {
                name,
                info,
                content,
            });
        }
        Err(error) if error.refusal == Refusal::NotFound => {}
        Err(error) => {
            let path = tree.walk.directory().join(&name).unwrap_or_default();
            let refusal = refusal(&path)(error);
            frame.append(&PageItem::Skipped {
                path: Blob(path.as_bytes()),
                refusal,
            });
        }
    }
}

/// Makes a frame of the content of the first of `paths` in the memory of `buffer`, and takes those
/// away.
pub(crate) fn next_contents(
    source: &dyn Source,
    options: EntryOptions,
    paths: &mut VecDeque<RelativePath>,
    buffer: Vec<u8>,
) -> Vec<u8> {
    let start = Instant::now();
    let mut frame = FrameBuilder::within(FrameType::Contents, buffer);
    let mut content = Vec::new();
    while frame.body_length() < CONTENT_PAGE_BYTES
        && (frame.body_length() == 0 || start.elapsed() <= FRAME_TIME)
        && let Some(path) = paths.pop_front()
    {
        match read(source, &path, options, &mut content) {
            Ok(info) => frame.append(&FetchItem::File {
                info,
                content: inline(&content),
            }),
            Err(refusal) => frame.append(&FetchItem::Failed { refusal }),
        }
    }
    frame.finish()
}

fn read(
    source: &dyn Source,
    path: &RelativePath,
    options: EntryOptions,
    buffer: &mut Vec<u8>,
) -> Result<FileInfo, Refusal> {
    let file = source
        .find(path, options)
        .and_then(Found::into_file)
        .map_err(refusal(path))?;
    buffer.clear();
    read_small(&*file, INLINE_BYTES_MAX, wall_clock(), buffer).map_err(refusal(path))
}

fn inline(bytes: &[u8]) -> Inline<'_> {
    Inline {
        bytes: Blob(bytes),
        hash: *ContentHash::of(bytes).as_bytes(),
    }
}
