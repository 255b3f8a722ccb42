//! The server's log: standard error, written by a thread of its own.
//!
//! A terminal that is stopped, or a pipe that nobody empties, must not stop a server: lines that
//! find no room are dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::flags::LogFormat;

/// Lines that wait to be written.
const LINES_WAITING_MAX: usize = 4096;

/// Lines that wait together are written together, up to about this much: a pipe takes it in one
/// piece.
const LINES_BYTES: usize = 4 << 10;

/// How long the end of a server waits for the last lines.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    secrets: Arc<OnceLock<Vec<String>>>,
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
        let log = Self {
            lines,
            dropped: Arc::clone(&dropped),
            secrets: Arc::clone(&secrets),
        };
        let writer = move || write_lines(&waiting, &dropped, &secrets, &mut io::stderr());
        thread::Builder::new().name("log".into()).spawn(writer)?;
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .with_target(false)
            .log_internal_errors(false)
            .with_writer(log.clone());
        match format {
            LogFormat::Text => subscriber.init(),
            LogFormat::Json => subscriber.json().flatten_event(true).init(),
        }
        Ok(log)
    }

    /// Writes `KEY` in place of `secrets` from here on: a client may send one where a name belongs,
    /// and names are logged. Once in a process.
    pub(crate) fn hide(&self, secrets: Vec<String>) {
        let set = self.secrets.set(secrets);
        debug_assert!(set.is_ok(), "secrets are hidden once");
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

fn write_lines(
    waiting: &Receiver<Message>,
    dropped: &AtomicU64,
    secrets: &OnceLock<Vec<String>>,
    out: &mut impl Write,
) {
    while let Ok(message) = waiting.recv() {
        let mut lines = Vec::new();
        let mut closing = None;
        let mut next = Some(message);
        while let Some(message) = next.take() {
            match message {
                Message::Line(line) => lines.extend(without_secrets(line, secrets.get())),
                Message::Close(answer) => closing = Some(answer),
            }
            if closing.is_none() && lines.len() < LINES_BYTES {
                next = waiting.try_recv().ok();
            }
        }
        // Where nobody reads, there is nothing left to do but to go on.
        let _ = out.write_all(&lines);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let notice = format!("({lost} lines are missing here: they came too fast)\n");
            let _ = out.write_all(notice.as_bytes());
        }
        if let Some(answer) = closing {
            let _ = answer.try_send(());
        }
        // Where lines come fast, the next are there after this, and nobody has to wake this thread.
        thread::yield_now();
    }
}

fn without_secrets(line: Vec<u8>, secrets: Option<&Vec<String>>) -> Vec<u8> {
    let mut text = match String::from_utf8(line) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    for secret in secrets.into_iter().flatten() {
        if text.contains(secret) {
            text = text.replace(secret, "KEY");
        }
    }
    text.into_bytes()
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
        };
        log.hide(vec!["b".into()]);
        let secrets = Arc::clone(&log.secrets);
        for line in ["a\n", "(b)\n", "c\n", "d\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        drop(log);
        let mut out = Vec::new();
        write_lines(&waiting, &dropped, &secrets, &mut out);
        assert_eq!(
            out,
            b"a\n(KEY)\n(2 lines are missing here: they came too fast)\n"
        );
    }
}
