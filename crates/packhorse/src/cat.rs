//! A single file to standard output.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use packhorse_client::cat::{CatError, CatRequest, cat};
use packhorse_client::report::{Event, Observer};
use packhorse_client::settings::DownloadSettings;
use packhorse_protocol::address::Address;
use packhorse_protocol::content::ContentHash;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::path::RelativePath;
use packhorse_transport::throttle::Throttle;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::runtime::Handle;

use crate::events::{EventLog, PathText, Record};
use crate::exit::{CommandError, Exit, OrExit, Outcome, output_ended};
use crate::output::complain;
use crate::rate::Rate;
use crate::so_far::SoFar;
use crate::sole_file::sole_file;
use crate::text::{Text, fetching, machine};
use crate::trust::{self, Server, TrustSettings};

/// What is verified and not written yet.
const PIPE_BYTES: usize = 1 << 20;

/// What is written at once.
const CHUNK_BYTES: usize = 256 << 10;

/// How a file is fetched to standard output.
pub(crate) struct CatSettings<'a> {
    /// The file.
    pub(crate) address: &'a Address,
    /// Who the server must be.
    pub(crate) trust: &'a TrustSettings,
    /// The hash that it must have.
    pub(crate) expect: Option<ContentHash>,
    /// How fast it may come.
    pub(crate) rate_limit: Option<Rate>,
    /// How long to dial again without progress.
    pub(crate) retry_for: Duration,
}

/// Says when a connection was lost.
struct LossTeller<'a> {
    events: Option<&'a EventLog>,
}

impl Observer for LossTeller<'_> {
    fn handle(&self, event: Event<'_>) {
        if let Event::Lost { why } = event {
            complain(fetching::dialling_again(&why.into()));
            if let Some(events) = self.events {
                events.write(&Record::Lost {
                    why: why.to_string(),
                });
            }
        }
    }
}

/// Writes the file out, and tells the report about it.
pub(crate) async fn run(settings: CatSettings<'_>, events: &EventLog) -> Outcome {
    let start = Instant::now();
    let shown = settings.address.to_string();
    events.write(&Record::Begin {
        address: shown.clone(),
    });
    let path = &settings.address.path;
    let mut so_far = SoFar::default();
    let ended = match fetch(&settings, events).await {
        Ok(Some((bytes, hash))) => {
            so_far.files_fetched = 1;
            so_far.bytes_fetched = bytes;
            events.write(&Record::Fetched {
                path: PathText::new(path.as_bytes()),
                bytes,
                blake3: Some(hash.to_string()),
            });
            Ok(Exit::Done)
        }
        Ok(None) => Ok(Exit::Done),
        Err(failure) => {
            so_far.failed = 1;
            Err(failure.about(settings.address))
        }
    };
    let (exit, why) = match &ended {
        Ok(exit) => (*exit, None),
        Err(failure) => (failure.exit, Some(failure.error.english().to_owned())),
    };
    events.write(&Record::End {
        address: shown,
        exit: exit.code(),
        listed: true,
        why,
    });
    events.write(&Record::summary(
        so_far,
        start.elapsed().as_secs_f64(),
        exit,
    ));
    match (events.close(), ended) {
        (Err(failure), Ok(_)) => Err(failure),
        (_, ended) => ended,
    }
}

/// Writes the file at `path` out for a person: on a terminal, nothing in it can steer that.
///
/// # Errors
/// It does not come, or not whole.
pub(crate) async fn show(server: &Server, path: &RelativePath) -> Result<(), CommandError> {
    let output = Output {
        shape: Shape::of_terminal(io::stdout().is_terminal()),
        throttle: None,
    };
    let request = CatRequest {
        path: path.clone(),
        expect: None,
        retry_for: DownloadSettings::default().retry_for,
    };
    let losses = LossTeller { events: None };
    copy(server, &request, &losses, output).await.map(|_| ())
}

/// How many bytes came, and their hash; `None` if nobody wanted to read to the end.
async fn fetch(
    settings: &CatSettings<'_>,
    events: &EventLog,
) -> Result<Option<(u64, ContentHash)>, CommandError> {
    let address = settings.address;
    let mut server = trust::meet(address, settings.trust).await?;
    let path = sole_file(&server, &address.path).await?;
    if address.directory_only || path.is_root() {
        let message = Text::from(Refusal::IsDirectory).then(&fetching::only_a_file());
        return Err(CommandError::new(Exit::SomeFailed, message));
    }
    let rate_limit = settings.rate_limit.map(Rate::bytes_per_second);
    let output = Output {
        shape: Shape::AsIs,
        throttle: rate_limit.map(Throttle::new),
    };
    let request = CatRequest {
        path,
        expect: settings.expect,
        retry_for: settings.retry_for,
    };
    let losses = LossTeller {
        events: Some(events),
    };
    let copied = copy(&server, &request, &losses, output).await?;
    server.handle_success()?;
    Ok(copied)
}

async fn copy(
    server: &Server,
    request: &CatRequest,
    losses: &LossTeller<'_>,
    output: Output,
) -> Result<Option<(u64, ContentHash)>, CommandError> {
    let fetching = |pipe| cat(&server.connector, request, losses, pipe);
    let (fetched, written) = output.take(fetching).await?;
    match (written, fetched) {
        (Err(error), _) => output_ended(error).map(|_| None),
        (Ok(bytes), Ok((_, hash))) => Ok(Some((bytes, hash))),
        (Ok(_), Err(error)) => Err(explain(&error, server)),
    }
}

fn explain(error: &CatError, server: &Server) -> CommandError {
    let exit = match error {
        CatError::Connect(error) => return server.explain(error),
        CatError::Refused(_) => Exit::SomeFailed,
        CatError::Damaged | CatError::Unexpected { .. } => Exit::Integrity,
        CatError::Output(_) => Exit::LocalIo,
    };
    CommandError::new(exit, error)
}

/// How content is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Every byte as it is.
    AsIs,
    /// As text that can do nothing to a terminal.
    Harmless,
    /// As hexadecimal numbers, with what is printable beside them.
    Hexadecimal,
}

impl Shape {
    /// How it is shown to a person; as it is where none reads along.
    pub(crate) fn of_terminal(is_terminal: bool) -> Self {
        match is_terminal {
            true => Self::Harmless,
            false => Self::AsIs,
        }
    }
}

/// Standard output, and how it is to be written.
pub(crate) struct Output {
    /// How it is shown.
    pub(crate) shape: Shape,
    /// How fast it may go.
    pub(crate) throttle: Option<Throttle>,
}

impl Output {
    /// Writes what `fetch` gives to its pipe. Returns what that came to, and how much was written.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub(crate) async fn take<T, F: Future<Output = T>>(
        self,
        fetch: impl FnOnce(DuplexStream) -> F,
    ) -> Result<(T, io::Result<u64>), CommandError> {
        let (pipe, fetched) = duplex(PIPE_BYTES);
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        let handle = Handle::current();
        // A thread of its own: whoever reads what we write may be slow.
        let writer = thread::Builder::new()
            .name("output".into())
            .spawn(move || handle.block_on(self.write_all(fetched, &count)))
            .or_exit(Exit::LocalIo, machine::no_thread)?;
        let result = fetch(pipe).await;
        let ended = writer.join().expect("writing does not panic");
        Ok((result, ended.map(|()| written.load(Ordering::Relaxed))))
    }

    async fn write_all(self, mut verified: DuplexStream, count: &AtomicU64) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut tail = Vec::new();
        let mut ends_line = true;
        let chunk_bytes = match &self.throttle {
            Some(_) => Throttle::CHUNK_BYTES,
            None => CHUNK_BYTES,
        };
        loop {
            let length = verified.read(&mut buffer[..chunk_bytes]).await?;
            let chunk = &buffer[..length];
            if let Some(throttle) = &self.throttle {
                throttle.pass(length).await;
            }
            let mut out = io::stdout().lock();
            match self.shape {
                Shape::AsIs => out.write_all(chunk)?,
                Shape::Hexadecimal => {
                    let offset = count.load(Ordering::Relaxed);
                    out.write_all(hexadecimal(offset, chunk).as_bytes())?;
                }
                Shape::Harmless => {
                    tail.extend_from_slice(chunk);
                    let whole = if length == 0 {
                        tail.len()
                    } else {
                        whole_characters(&tail)
                    };
                    out.write_all(harmless(&tail[..whole]).as_bytes())?;
                    ends_line = tail[..whole]
                        .last()
                        .map_or(ends_line, |&last| last == b'\n');
                    if length == 0 && !ends_line {
                        // So that what comes next on the terminal has a line of its own.
                        out.write_all(b"\n")?;
                    }
                    tail.drain(..whole);
                }
            }
            // What comes slowly is to be seen as it comes.
            out.flush()?;
            if length == 0 {
                return Ok(());
            }
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
    }
}

/// Rows of up to 16 bytes of something, of which these begin at `offset`.
fn hexadecimal(offset: u64, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (row, part) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "{:08x} ", offset + 16 * row as u64);
        for column in 0..16 {
            let gap = if column == 8 { "  " } else { " " };
            let _ = match part.get(column) {
                Some(byte) => write!(text, "{gap}{byte:02x}"),
                None => write!(text, "{gap}  "),
            };
        }
        let printable = part.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        });
        let _ = writeln!(text, "  |{}|", printable.collect::<String>());
    }
    text
}

/// How much of `bytes` to show before more has come: all but a character whose rest is missing.
fn whole_characters(bytes: &[u8]) -> usize {
    match bytes.utf8_chunks().last() {
        // What is cut short stands at the very end and could still become a character.
        Some(chunk)
            if std::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none()) =>
        {
            bytes.len() - chunk.invalid().len()
        }
        _ => bytes.len(),
    }
}

/// Text for a terminal: lines, tabs and backslashes as they are, all else escaped that is not plain.
fn harmless(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\t' | b'\\')) {
        let (plain, end) = match part.split_last() {
            Some((&end @ (b'\n' | b'\t' | b'\\'), plain)) => (plain, Some(char::from(end))),
            _ => (part, None),
        };
        match (plain, end) {
            ([line @ .., b'\r'], Some('\n')) => text.push_str(&format!("{}\r", Escaped(line))),
            _ => text.push_str(&Escaped(plain).to_string()),
        }
        text.extend(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_not_shown() {
        let cases: [(&[u8], &str); 4] = [
            (b"a\tb\\c\n\nd", "a\tb\\c\n\nd"),
            (b"\x1b[31mred\r\n\r", "\\u{1b}[31mred\r\n\\r"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("\u{e9}\u{202e}".as_bytes(), "\u{e9}\\u{202e}"),
        ];
        for (bytes, text) in cases {
            assert_eq!(harmless(bytes), text);
        }
    }

    #[test]
    fn numbers_stand_in_rows() {
        let rows = "\
            00000100  68 65 6c 6c 6f 20 77 6f  72 6c 64 0a 00 ff 41 42  |hello world...AB|\n\
            00000110  43                                                |C|\n";
        assert_eq!(hexadecimal(0x100, b"hello world\n\0\xffABC"), rows);
        assert_eq!(hexadecimal(0, b""), "");
    }

    #[test]
    fn a_character_is_not_cut() {
        let text = "a\u{20ac}".as_bytes();
        for (end, whole) in [(1, 1), (2, 1), (3, 1), (4, 4)] {
            assert_eq!(whole_characters(&text[..end]), whole);
        }
        assert_eq!(whole_characters(b"a\xff"), 2);
        assert_eq!(whole_characters(b""), 0);
    }
}
