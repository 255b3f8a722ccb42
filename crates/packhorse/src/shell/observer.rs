//! What the shell says of each file that it fetches.

use std::sync::Arc;

use packhorse_client::report::{Event, Failure, Observer};
use packhorse_protocol::escape::Escaped;

use crate::output::print;
use crate::progress::ProgressLine;
use crate::text::{fetching, shell};

/// Says what was written where, as it happens.
pub(super) struct ShellObserver {
    progress: Arc<ProgressLine>,
}

impl ShellObserver {
    pub(super) fn new(progress: Arc<ProgressLine>) -> Self {
        Self { progress }
    }
}

impl Observer for ShellObserver {
    fn handle(&self, event: Event<'_>) {
        self.progress.note(&event);
        let line = match event {
            Event::Fetched { path, bytes, .. } => shell::wrote(path, bytes),
            Event::Kept { path } => shell::kept(path),
            Event::Linked { path } => shell::linked(path),
            Event::Skipped { path, refusal } => {
                return self
                    .progress
                    .say(fetching::skipped_entry(Escaped(path), &refusal.into()));
            }
            Event::Failed { path, failure } => {
                return self.progress.say(match failure {
                    // The flags that the failure speaks of are those of `get`.
                    Failure::Exists => shell::differs(Escaped(path)),
                    _ => fetching::not_arrived(path, failure),
                });
            }
            Event::Lost { why } => {
                return self.progress.say(fetching::dialling_again(&why.into()));
            }
            _ => return,
        };
        // Where nobody reads this, the next line of data says so.
        let _ = self.progress.suspend(|| print(line));
    }
}
