//! What a download is told.

use std::time::Duration;

use packhorse_protocol::content::ContentHash;
use packhorse_protocol::filter::Patterns;
use packhorse_protocol::message::EntryOptions;
use packhorse_protocol::path::{Name, RelativePath};

/// What to fetch, and how to treat it. How the destination treats what is there is in
/// [`DestinationOptions`](packhorse_storage::destination::DestinationOptions).
#[derive(Debug, Clone)]
pub struct DownloadSettings {
    /// What is asked for, below the server's root.
    pub path: RelativePath,
    /// Only a directory will do.
    pub directory_only: bool,
    /// The name that a single file gets in place of its own.
    pub name: Option<Name>,
    /// What is asked of each entry.
    pub options: EntryOptions,
    /// Which entries are wanted.
    pub patterns: Patterns,
    /// An existing file is compared by content, whatever its size and time.
    pub checksum: bool,
    /// The hash that a single file must have.
    pub expect: Option<ContentHash>,
    /// Connections to open at most, at least 1; without, as many as the line rewards.
    pub connections: Option<usize>,
    /// How long to dial again without progress once a connection is lost.
    pub retry_for: Duration,
    /// Bytes a second that are taken from the server.
    pub rate_limit: Option<u64>,
    /// Nothing is written; what would be fetched is reported.
    pub dry_run: bool,
}

impl DownloadSettings {
    /// Whether a file or link that is told alone, under `name`, is the one that is asked for.
    pub(crate) fn is_asked_for(&self, name: &Name) -> bool {
        let asked = self.path.split_last();
        asked.is_some_and(|(_, asked)| asked == *name)
    }

    /// Whether they only make sense for a single file.
    pub(crate) fn is_for_file(&self) -> bool {
        self.name.is_some() || self.expect.is_some()
    }
}

impl Default for DownloadSettings {
    fn default() -> Self {
        Self {
            path: RelativePath::ROOT,
            directory_only: false,
            name: None,
            options: EntryOptions::default(),
            patterns: Patterns::default(),
            checksum: false,
            expect: None,
            connections: None,
            retry_for: Duration::from_secs(120),
            rate_limit: None,
            dry_run: false,
        }
    }
}
