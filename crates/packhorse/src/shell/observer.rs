//! What the shell says of each file that it fetches.

use std::sync::Arc;

use packhorse_client::report::{Event, Failure, Observer};
use packhorse_protocol::escape::Escaped;

use crate::output::print;
use crate::progress::ProgressLine;

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
            Event::Fetched { path, bytes, .. } => format!("wrote {path}, {bytes} bytes"),
            Event::Kept { path } => format!("kept {path}: it is here already, the same"),
            Event::Linked { path } => format!("linked {path}"),
            Event::Skipped { path, refusal } => {
                return self
                    .progress
                    .say(format_args!("skipped {}: {refusal}", Escaped(path)));
            }
            Event::Failed { path, failure } => {
                let path = Escaped(path);
                return match failure {
                    // The flags that the failure speaks of are those of `get`.
                    Failure::Exists => self.progress.say(format_args!(
                        "{path}: it is here already and differs; move it away first"
                    )),
                    _ => self.progress.say(format_args!("{path}: {failure}")),
                };
            }
            Event::Lost { why } => {
                return self.progress.say(format_args!("{why}; dialling again"));
            }
            _ => return,
        };
        // Where nobody reads this, the next line of data says so.
        let _ = self.progress.suspend(|| print(line));
    }
}
