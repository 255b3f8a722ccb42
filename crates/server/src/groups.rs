//! Groups of one file, as a disk worker reads them for a client.

use std::sync::Arc;

use packhorse_protocol::content::{GroupIndex, GroupRange, group_count, group_length};
use packhorse_protocol::entry::{FileInfo, Refusal};
use packhorse_protocol::frame::{FrameBuilder, FrameType};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_protocol::message::{
    EntryOptions, HashesHead, LinkMode, begin_group, finish_group, group_frame_bytes,
};
use packhorse_protocol::path::RelativePath;
use packhorse_storage::clock::wall_clock;
use packhorse_storage::read::read_group;
use packhorse_storage::source::{FileState, Found, Source, SourceError, SourceFile};
use packhorse_transport::frame_buffers::FrameBuffers;
use tracing::{debug, warn};

/// Groups whose hashes go into one frame: few, so that a client that shares a slow disk with many
/// others hears from this server before it takes it for dead.
pub(crate) const HASHES_PER_FRAME: u64 = 8;

/// A file as it was when its answer began.
pub(crate) struct Opened {
    pub(crate) file: Arc<dyn SourceFile>,
    pub(crate) info: FileInfo,
    pub(crate) settled: bool,
}

/// What is known of the holes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It has none.
    All,
    /// Nothing yet.
    Unknown,
    /// The next groups that hold data.
    Data(GroupRange),
}

impl Extent {
    /// Where to look for data next, before anything of `range` is read; `None` if that is known.
    pub(crate) fn unknown_from(self, range: GroupRange) -> Option<GroupIndex> {
        let first = range.iter().next()?;
        match self {
            Self::All => None,
            Self::Data(data) if data.contains(first) => None,
            Self::Unknown | Self::Data(_) => Some(first),
        }
    }

    /// How many groups at the start of `range` are holes.
    pub(crate) fn hole_before(self, range: GroupRange) -> u64 {
        match self {
            Self::Data(data) => data
                .start()
                .saturating_sub(range.start())
                .min(range.count()),
            Self::All | Self::Unknown => 0,
        }
    }

    /// Whether the first group of `range` is known to hold data.
    pub(crate) fn holds(self, range: GroupRange) -> bool {
        !range.is_empty() && self.unknown_from(range).is_none()
    }
}

/// Opens the file at `path` for an answer.
pub(crate) fn open(
    source: &dyn Source,
    path: &RelativePath,
    follow_links: bool,
) -> Result<Opened, Refusal> {
    let options = EntryOptions {
        links: if follow_links {
            LinkMode::Follow
        } else {
            LinkMode::Keep
        },
        ..EntryOptions::default()
    };
    let file = source
        .find(path, options)
        .and_then(Found::into_file)
        .map_err(refusal(path))?;
    let info = file.info().map_err(refusal(path))?;
    let settled = file.opened().is_settled(wall_clock());
    Ok(Opened {
        file: Arc::from(file),
        info,
        settled,
    })
}

/// The file's state now.
pub(crate) fn state(file: &dyn SourceFile) -> Result<FileState, Refusal> {
    file.state().map_err(|error| error.refusal)
}

/// Where the next groups with data are, from `start` on, in a file of `size` bytes. Behind the last
/// data: an empty run at the file's end.
pub(crate) fn find_extent(
    file: &dyn SourceFile,
    start: GroupIndex,
    size: u64,
) -> Result<Extent, Refusal> {
    let whole = GroupRange::whole(size);
    let data = file
        .next_data(start.offset())
        .map_err(|error| error.refusal)?;
    let groups = data.and_then(|data| {
        let first = data.start.min(size) / GROUP_BYTES as u64;
        GroupRange::new(first, group_count(data.end.min(size)).max(first))
    });
    let at_end = || GroupRange::new(whole.end(), whole.end()).unwrap_or(GroupRange::EMPTY);
    Ok(Extent::Data(
        groups
            .filter(|groups| !groups.is_empty())
            .unwrap_or_else(at_end),
    ))
}

/// Reads a group into the frame that carries it, in memory from `buffers`.
pub(crate) fn frame(
    file: &dyn SourceFile,
    group: GroupIndex,
    size: u64,
    buffers: &FrameBuffers,
) -> Result<Vec<u8>, Refusal> {
    // The version is taken first: content that changes after it shows in a later version.
    let version = state(file)?.version;
    let buffer = buffers.take(group_frame_bytes(group_length(group, size)));
    let mut frame = begin_group(group, version, buffer);
    let hash = read_group(file, group, size, frame.buffer()).map_err(unreadable)?;
    Ok(finish_group(frame, hash))
}

/// Reads groups for the frame that carries their hashes.
pub(crate) fn hashes_frame(
    file: &dyn SourceFile,
    range: GroupRange,
    size: u64,
) -> Result<Vec<u8>, Refusal> {
    let version = state(file)?.version;
    let mut frame = FrameBuilder::new(FrameType::Hashes, 32 + 32 * HASHES_PER_FRAME as usize);
    frame.append(&HashesHead {
        start: range.start(),
        version,
    });
    let mut bytes = Vec::with_capacity(GROUP_BYTES);
    for group in range.iter() {
        bytes.clear();
        let hash = read_group(file, group, size, &mut bytes).map_err(unreadable)?;
        frame.buffer().extend_from_slice(hash.as_bytes());
    }
    Ok(frame.finish())
}

/// A file that was opened and cannot be read: a fault of this machine's disk, mostly.
fn unreadable(error: SourceError) -> Refusal {
    if error.refusal != Refusal::Changed {
        warn!(%error, "cannot read a file that is served");
    }
    error.refusal
}

/// What a client is told of an error; the log is told all.
pub(crate) fn refusal(path: &RelativePath) -> impl FnOnce(SourceError) -> Refusal {
    move |error| {
        debug!(%path, %error, "not sent");
        error.refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_before_data_are_known_and_data_is_read() {
        let range = |start, end| GroupRange::new(start, end).unwrap();
        let extent = Extent::Data(range(5, 8));
        assert_eq!(extent.hole_before(range(2, 10)), 3);
        assert_eq!(extent.hole_before(range(2, 4)), 2);
        assert!(extent.holds(range(5, 10)));
        assert!(!extent.holds(range(8, 10)));
        assert_eq!(extent.unknown_from(range(8, 10)), GroupIndex::new(8));
        assert!(!Extent::All.holds(range(3, 3)));
        assert_eq!(Extent::Data(range(10, 10)).hole_before(range(2, 10)), 8);
    }
}
