//! What `packhorse get` says of each entry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_client::report::{Event, Observer};
use packhorse_protocol::content::ContentHash;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::path::RelativePath;

use crate::events::{EventLog, PathText, Record};
use crate::output::print;
use crate::progress::ProgressLine;
use crate::text::{Text, fetching};

/// Entries left out that are named at the end; of further ones only the number.
const SKIPPED_NAMED_MAX: usize = 1000;

/// Names what fails as it happens, keeps what is skipped for the end, and writes the events.
pub(super) struct GetObserver {
    events: EventLog,
    progress: Arc<ProgressLine>,
    /// A dry run: standard output is the list of what would be fetched.
    print_wanted: bool,
    wanted_files: AtomicU64,
    wanted_bytes: AtomicU64,
    skipped: Mutex<Skipped>,
}

#[derive(Default)]
struct Skipped {
    named: Vec<(Vec<u8>, Refusal)>,
    others: u64,
}

impl GetObserver {
    pub(super) fn new(events: EventLog, progress: Arc<ProgressLine>, print_wanted: bool) -> Self {
        Self {
            events,
            progress,
            print_wanted,
            wanted_files: AtomicU64::new(0),
            wanted_bytes: AtomicU64::new(0),
            skipped: Mutex::default(),
        }
    }

    /// Where the events go.
    pub(super) fn events(&self) -> &EventLog {
        &self.events
    }

    /// Files and bytes that a dry run would have fetched.
    pub(super) fn wanted(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.wanted_files), read(&self.wanted_bytes))
    }

    /// Names what was left out for what it is.
    pub(super) fn say_skipped(&self, quiet: bool) {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        if quiet || skipped.named.is_empty() {
            return;
        }
        for (path, refusal) in &skipped.named {
            let why = Text::from(refusal);
            self.progress
                .say(fetching::skipped_entry(Escaped(path), &why));
        }
        if skipped.others > 0 {
            self.progress.say(fetching::skipped_more(skipped.others));
        }
    }

    fn handle_wanted(&self, path: &RelativePath, bytes: u64) {
        self.wanted_files.fetch_add(1, Ordering::Relaxed);
        self.wanted_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.print_wanted {
            // Whoever read the list has seen enough.
            let _ = self.progress.suspend(|| print(path));
        }
    }

    fn handle_skipped(&self, path: &[u8], refusal: Refusal) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        if skipped.named.len() < SKIPPED_NAMED_MAX {
            skipped.named.push((path.to_vec(), refusal));
        } else {
            skipped.others += 1;
        }
    }
}

impl Observer for GetObserver {
    fn handle(&self, event: Event<'_>) {
        self.progress.note(&event);
        if self.events.is_wanted()
            && let Some(record) = record_of(&event)
        {
            self.progress.suspend(|| self.events.write(&record));
        }
        match event {
            Event::Wanted { path, bytes } => self.handle_wanted(path, bytes),
            Event::Skipped { path, refusal } => self.handle_skipped(path, refusal),
            Event::Failed { path, failure } => {
                self.progress.complain(fetching::not_arrived(path, failure));
            }
            Event::LeftBehind { error } => {
                let left = fetching::not_removed().because(error);
                self.progress.complain(left);
            }
            Event::Lost { why } => {
                let lost = fetching::dialling_again(&why.into());
                self.progress.complain(lost);
            }
            _ => {}
        }
    }
}

/// The line of JSON that says the same.
fn record_of(event: &Event<'_>) -> Option<Record> {
    let at = |path: &RelativePath| PathText::new(path.as_bytes());
    Some(match *event {
        Event::Fetched { path, bytes, hash } => Record::Fetched {
            path: at(path),
            bytes,
            blake3: hash.as_ref().map(ContentHash::to_string),
        },
        Event::Kept { path } => Record::Kept { path: at(path) },
        Event::Linked { path } => Record::Linked { path: at(path) },
        Event::Wanted { path, bytes } => Record::Wanted {
            path: at(path),
            bytes,
        },
        Event::Skipped { path, refusal } => Record::Skipped {
            path: PathText::new(path),
            why: refusal.to_string(),
        },
        Event::Failed { path, failure } => Record::Failed {
            path: PathText::new(path),
            why: failure.to_string(),
        },
        Event::Unfinished { path } => Record::Unfinished { path: at(path) },
        Event::LeftBehind { error } => Record::LeftBehind {
            why: error.to_string(),
        },
        Event::Lost { why } => Record::Lost {
            why: why.to_string(),
        },
        _ => return None,
    })
}
