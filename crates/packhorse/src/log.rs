//! The server's log: standard error, written by a thread of its own.
//!
//! A terminal that is stopped, or a pipe that nobody empties, must not stop a server: lines that
//! find no room are dropped and counted.

mod event;
mod format;
mod sentence;
mod status;

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use packhorse_server::Watch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use self::format::LineFormat;
use self::status::Status;
use crate::bottom_lines::BottomLines;
use crate::flags::LogFormat;
use crate::text;

/// Lines that wait to be written.
const LINES_WAITING_MAX: usize = 4096;

/// Lines that wait together are written together, up to about this much: a pipe takes it in one
/// piece.
const LINES_BYTES: usize = 4 << 10;

/// How long the end of a server waits for the last lines.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// How often the status line is drawn anew.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    secrets: Arc<OnceLock<Vec<String>>>,
    watch: Arc<OnceLock<Watch>>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// All lines before this one are to be written, and then this to be answered.
    Close(SyncSender<()>),
}

impl Log {
    /// Begins to write what is traced to standard error. Once in a process.
    ///
    /// # Errors
    /// There are no more threads.
    pub(crate) fn start(format: LogFormat) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(LINES_WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let secrets = Arc::<OnceLock<_>>::default();
        let watch = Arc::<OnceLock<_>>::default();
        let log = Self {
            lines,
            dropped: Arc::clone(&dropped),
            secrets: Arc::clone(&secrets),
            watch: Arc::clone(&watch),
        };
        let writer = move || {
            LineWriter {
                waiting,
                dropped,
                secrets,
                watch,
                bottom: BottomLines::new(true),
            }
            .run();
        };
        thread::Builder::new().name("log".into()).spawn(writer)?;
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .log_internal_errors(false)
            .with_writer(log.clone())
            .event_format(LineFormat(format))
            .init();
        Ok(log)
    }

    /// Writes `KEY` in place of `secrets` from here on: a client may send one where a name belongs,
    /// and names are logged. Once in a process.
    pub(crate) fn hide(&self, secrets: Vec<String>) {
        let set = self.secrets.set(secrets);
        debug_assert!(set.is_ok(), "secrets are hidden once");
    }

    /// Shows, on a terminal, how many are served and how fast, from here on. Once in a process.
    pub(crate) fn watch(&self, watch: Watch) {
        let set = self.watch.set(watch);
        debug_assert!(set.is_ok(), "one server is watched");
    }

    /// Waits until all is written, but not for ever.
    pub(crate) fn close(self) {
        let (answer, closed) = sync_channel(1);
        if self.lines.try_send(Message::Close(answer)).is_ok() {
            // If it takes longer, nobody reads it.
            let _ = closed.recv_timeout(CLOSE_TIME_MAX);
        }
    }
}

/// Writes one line; each is handed over whole.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(line.to_vec())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The thread that writes.
struct LineWriter {
    waiting: Receiver<Message>,
    dropped: Arc<AtomicU64>,
    secrets: Arc<OnceLock<Vec<String>>>,
    watch: Arc<OnceLock<Watch>>,
    bottom: BottomLines,
}

impl LineWriter {
    fn run(self) {
        let mut status = Status::default();
        let mut shown_at = Instant::now();
        loop {
            // Without a terminal there is nothing to do between two lines.
            let next = match self.bottom.is_shown() {
                true => self.waiting.recv_timeout(STATUS_INTERVAL),
                false => self.waiting.recv().map_err(Into::into),
            };
            let mut closing = None;
            match next {
                Ok(message) => closing = self.write(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let lost = self.dropped.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let notice = text::log::missing(lost);
                self.bottom.say(&format!("{notice}\n"));
            }
            if let Some(watch) = self.watch.get()
                && self.bottom.is_shown()
                && shown_at.elapsed() >= STATUS_INTERVAL
            {
                self.bottom
                    .show(|size| vec![status.line(watch, size.columns)]);
                shown_at = Instant::now();
            }
            if let Some(answer) = closing {
                self.bottom.clear();
                // If it is not waited for any more, it was too late.
                let _ = answer.try_send(());
            }
            // Where lines come fast, the next are there after this, and nobody has to wake this
            // thread.
            thread::yield_now();
        }
    }

    /// Writes what `message` and those behind it say. Returns whom to tell that all is written.
    fn write(&self, message: Message) -> Option<SyncSender<()>> {
        let (mut lines, mut closing) = (String::new(), None);
        let mut next = Some(message);
        while let Some(message) = next.take() {
            match message {
                Message::Line(line) => lines.push_str(&without_secrets(line, self.secrets.get())),
                Message::Close(answer) => closing = Some(answer),
            }
            if closing.is_none() && lines.len() < LINES_BYTES {
                next = self.waiting.try_recv().ok();
            }
        }
        self.bottom.say(&lines);
        closing
    }
}

fn without_secrets(line: Vec<u8>, secrets: Option<&Vec<String>>) -> String {
    let mut text = match String::from_utf8(line) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    for secret in secrets.into_iter().flatten() {
        if text.contains(secret) {
            text = text.replace(secret, "KEY");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted() {
        let (lines, waiting) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut log = Log {
            lines,
            dropped: Arc::clone(&dropped),
            secrets: Arc::default(),
            watch: Arc::default(),
        };
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        assert_eq!(waiting.try_iter().count(), 2);
        assert_eq!(
            text::log::missing(2).to_string(),
            "(2 lines are missing here: they came too fast)"
        );
    }

    #[test]
    fn secrets_are_hidden() {
        let secrets = vec!["b".to_owned()];
        assert_eq!(
            without_secrets(b"(b)\n".to_vec(), Some(&secrets)),
            "(KEY)\n"
        );
        assert_eq!(without_secrets(b"a\xff".to_vec(), None), "a\u{fffd}");
    }
}
