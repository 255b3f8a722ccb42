//! A first walk through a tree: how long its archive will be, and which state of it that is.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use packhorse_protocol::entry::Timestamp;
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::tree::Cursor;
use packhorse_storage::source::{Source, SourceError};

use super::entry::{Entries, Entry, EntryKind};
use super::{Format, tar, zip};

/// Younger changes than this may hide the next.
const SETTLING_SECONDS: i64 = 2;

/// What is known of an archive before its first byte.
///
/// It holds some 100 bytes and a path for each 256 entries, and none of them.
#[derive(Debug)]
pub(super) struct Survey {
    /// Of the whole archive.
    pub(super) length: u64,
    /// Equal for equal trees, and for no others: a hash over what is said of every entry.
    pub(super) version: String,
    pub(super) blocks: Vec<Block>,
    /// What ends it, behind the entries and, in a zip, behind what is said of them once more.
    pub(super) end: Vec<u8>,
    /// Entries that are left out.
    pub(super) skipped: u64,
    /// When the newest of them changed.
    pub(super) modified: Timestamp,
    /// No file changed so recently that another change could hide.
    pub(super) is_settled: bool,
}

/// A run of entries.
#[derive(Debug)]
pub(super) struct Block {
    /// Where in the archive it begins.
    pub(super) offset: u64,
    /// The number of its first entry.
    pub(super) first_entry: u64,
    /// Where the walk goes on to find it.
    pub(super) cursor: Option<Cursor>,
    /// Over all that is said of its entries.
    pub(super) hash: blake3::Hash,
}

/// Makes a survey, step by step.
pub(super) struct Surveyor {
    root: RelativePath,
    format: Format,
    entries: Entries,
    blocks: Vec<Block>,
    count: u64,
    /// Those of them that have a name: all but the root of a source.
    named: u64,
    offset: u64,
    /// The length of what a zip says of all entries at its end.
    directory_bytes: u64,
    modified: Timestamp,
    /// Of files alone: what happens to a directory shows in its names.
    newest_file: Option<Timestamp>,
    hasher: blake3::Hasher,
}

impl Surveyor {
    /// Begins with the directory at `path`.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn open(
        source: Arc<dyn Source>,
        path: &RelativePath,
        format: Format,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            root: path.clone(),
            format,
            entries: Entries::open(source, path, format, None)?,
            blocks: Vec::new(),
            count: 0,
            named: 0,
            offset: 0,
            directory_bytes: 0,
            modified: Timestamp::new(0, 0).expect("0 is below a second"),
            newest_file: None,
            hasher: blake3::Hasher::new(),
        })
    }

    /// Looks at one more block of entries; true once there are no more.
    pub(super) fn step(&mut self) -> bool {
        let cursor = self.entries.cursor.clone();
        let (entries, hash) = self.entries.next_block();
        if entries.is_empty() {
            return true;
        }
        self.blocks.push(Block {
            offset: self.offset,
            first_entry: self.count,
            cursor,
            hash,
        });
        self.hasher.update(hash.as_bytes());
        for entry in &entries {
            self.add(entry);
        }
        false
    }

    fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.modified = self.modified.max(entry.modified);
        if matches!(entry.kind, EntryKind::File { .. }) {
            self.newest_file = self.newest_file.max(Some(entry.modified));
        }
        let name = entry.archived_name(&self.root);
        self.named += u64::from(!name.is_empty());
        self.offset += match self.format {
            Format::Tar => tar::length(entry, &name),
            Format::Zip => {
                let header = zip::Header::new(entry, name, self.offset);
                self.directory_bytes += header.central(0).len() as u64;
                header.length()
            }
        };
    }

    /// What was found, at the moment `now`.
    pub(super) fn finish(self, now: Timestamp) -> Survey {
        let end = match self.format {
            Format::Tar => vec![0; tar::END_BYTES],
            Format::Zip => zip::end(self.named, self.offset, self.directory_bytes),
        };
        Survey {
            length: self.offset + self.directory_bytes + end.len() as u64,
            end,
            version: HEXLOWER.encode(&self.hasher.finalize().as_bytes()[..16]),
            blocks: self.blocks,
            skipped: self.entries.skipped,
            modified: self.modified,
            is_settled: self
                .newest_file
                .is_none_or(|newest| newest.is_before_by(now, SETTLING_SECONDS)),
        }
    }
}
