//! One entry of an archive, and the walk that finds entries always in the same order.

use std::sync::Arc;

use packhorse_protocol::entry::{Mode, Timestamp, Version};
use packhorse_protocol::filter::{Filter, Patterns};
use packhorse_protocol::message::{EntryOptions, LinkMode};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::tree::Cursor;
use packhorse_storage::source::{Source, SourceError};
use packhorse_storage::walk::{TreeWalk, WalkItem, WalkOptions};

use super::Format;

/// Entries that are looked at, checked and sent together.
pub(super) const BLOCK_ENTRIES: usize = 256;

/// One entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Below the directory that is archived.
    pub(super) path: RelativePath,
    pub(super) modified: Timestamp,
    pub(super) kind: EntryKind,
}

#[derive(Debug, Clone)]
pub(super) enum EntryKind {
    Directory {
        mode: Mode,
    },
    File {
        mode: Mode,
        size: u64,
        version: Version,
    },
    Link {
        target: Vec<u8>,
    },
}

/// Entries in their order.
pub(super) struct Entries {
    walk: TreeWalk,
    /// The place behind the entry told last.
    pub(super) cursor: Option<Cursor>,
    /// What could not be read, and what no archive may hold: links that leave the tree, FIFOs,
    /// sockets and devices.
    pub(super) skipped: u64,
}

impl Entries {
    /// Begins at the start of the directory at `path`, or at a cursor.
    ///
    /// # Errors
    /// Why the directory cannot be read.
    pub(super) fn open(
        source: Arc<dyn Source>,
        path: &RelativePath,
        format: Format,
        cursor: Option<Cursor>,
    ) -> Result<Self, SourceError> {
        let filter = Filter::new(&Patterns::default())
            .map_err(|_| SourceError::from(packhorse_protocol::entry::Refusal::Unreadable))?;
        let options = WalkOptions {
            entries: options(format),
            recursive: true,
            filter,
        };
        Ok(Self {
            walk: TreeWalk::open(source, path, options, cursor.clone())?,
            cursor,
            skipped: 0,
        })
    }

    /// Up to a block of entries, with a hash over all that is said of them; none at the end.
    pub(super) fn next_block(&mut self) -> (Vec<Entry>, blake3::Hash) {
        let mut entries = Vec::new();
        let mut hasher = blake3::Hasher::new();
        while entries.len() < BLOCK_ENTRIES {
            let Some(entry) = self.next() else {
                break;
            };
            entry.hash(&mut hasher);
            entries.push(entry);
        }
        (entries, hasher.finalize())
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let item = self.walk.next()?;
            let directory = self.walk.directory();
            let below = |name| directory.join(name);
            let (path, cursor, modified, kind) = match item {
                WalkItem::Directory { path, info } => {
                    let cursor = Cursor {
                        directory: path.clone(),
                        after: None,
                    };
                    let kind = EntryKind::Directory { mode: info.mode };
                    (Ok(path), cursor, info.modified, kind)
                }
                WalkItem::File { name, info } => {
                    let kind = EntryKind::File {
                        mode: info.mode,
                        size: info.size,
                        version: info.version,
                    };
                    let path = below(&name);
                    let cursor = Cursor {
                        directory: directory.clone(),
                        after: Some(name),
                    };
                    (path, cursor, info.modified, kind)
                }
                WalkItem::Link { name, link } => {
                    let kind = EntryKind::Link {
                        target: link.target,
                    };
                    let path = below(&name);
                    let cursor = Cursor {
                        directory: directory.clone(),
                        after: Some(name),
                    };
                    (path, cursor, link.modified, kind)
                }
                WalkItem::Skipped { .. } => {
                    self.skipped += 1;
                    continue;
                }
            };
            let Ok(path) = path else {
                self.skipped += 1;
                continue;
            };
            self.cursor = Some(cursor);
            return Some(Entry {
                path,
                modified,
                kind,
            });
        }
    }
}

impl Entry {
    /// All that is said of the entry goes into `hasher`, each field with its length.
    fn hash(&self, hasher: &mut blake3::Hasher) {
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(self.path.as_bytes());
        field(&self.modified.seconds().to_le_bytes());
        field(&self.modified.nanoseconds().to_le_bytes());
        match &self.kind {
            EntryKind::Directory { mode } => {
                field(b"d");
                field(&mode.bits().to_le_bytes());
            }
            EntryKind::File {
                mode,
                size,
                version,
            } => {
                field(b"f");
                field(&mode.bits().to_le_bytes());
                field(&size.to_le_bytes());
                field(&version.0);
            }
            EntryKind::Link { target } => {
                field(b"l");
                field(target);
            }
        }
    }

    /// The length of its content.
    pub(super) fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Directory { .. } | EntryKind::Link { .. } => 0,
        }
    }

    /// Its name in an archive of the directory at `root`: below that directory's own name, so that
    /// unpacking makes one folder; what lies in the root of a source has no folder around it.
    /// Empty for the root of a source itself.
    pub(super) fn archived_name(&self, root: &RelativePath) -> Vec<u8> {
        let mut name = match root.split_last() {
            Some((_, folder)) => folder.as_bytes().to_vec(),
            None => Vec::new(),
        };
        if !name.is_empty() && !self.path.is_root() {
            name.push(b'/');
        }
        name.extend_from_slice(self.path.as_bytes());
        if matches!(self.kind, EntryKind::Directory { .. }) && !name.is_empty() {
            name.push(b'/');
        }
        name
    }
}

/// What becomes of links: a tar holds them, a zip what is behind them.
pub(super) fn options(format: Format) -> EntryOptions {
    EntryOptions {
        links: match format {
            Format::Tar => LinkMode::Keep,
            Format::Zip => LinkMode::Follow,
        },
        xattrs: false,
        hard_links: false,
    }
}
