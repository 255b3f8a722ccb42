//! What happens, as lines of JSON: for `--json` and `--report`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Stdout, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use packhorse_protocol::escape::Escaped;
use serde::Serialize;

use crate::exit::{CommandError, Exit, OrExit, output_ended};
use crate::progress::Moment;
use crate::so_far::{Again, SoFar};
use crate::text::machine;

/// A path in a line of JSON.
#[derive(Debug, Serialize)]
pub(crate) struct PathText {
    /// For a person: escaped, so that it is safe to print.
    path: String,
    /// Its bytes in hexadecimal, where the text is not the path itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
}

impl PathText {
    /// The path that `bytes` are.
    #[must_use]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let path = Escaped(bytes).to_string();
        let path_hex = (path.as_bytes() != bytes).then(|| hexadecimal(bytes));
        Self { path, path_hex }
    }
}

/// `bytes` in hexadecimal.
#[must_use]
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Record {
    /// An address is turned to.
    Begin { address: String },
    /// How far it is, once a second.
    Progress {
        files_done: u64,
        files_seen: u64,
        bytes_done: u64,
        bytes_seen: u64,
        /// What was seen is all there is.
        listing_ended: bool,
        connections: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes_per_second: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds_left: Option<u64>,
    },
    /// A file has arrived.
    Fetched {
        #[serde(flatten)]
        path: PathText,
        bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        blake3: Option<String>,
    },
    /// A file was there already.
    Kept {
        #[serde(flatten)]
        path: PathText,
    },
    /// A link is in place.
    Linked {
        #[serde(flatten)]
        path: PathText,
    },
    /// A file would be fetched.
    Wanted {
        #[serde(flatten)]
        path: PathText,
        bytes: u64,
    },
    /// Left out for what it is.
    Skipped {
        #[serde(flatten)]
        path: PathText,
        why: String,
    },
    /// Did not arrive.
    Failed {
        #[serde(flatten)]
        path: PathText,
        why: String,
    },
    /// Was listed, and the run ended before it had arrived.
    Unfinished {
        #[serde(flatten)]
        path: PathText,
    },
    /// The folder for unfinished files could not be removed.
    LeftBehind { why: String },
    /// A connection was lost and is dialled again.
    Lost { why: String },
    /// What an address came to.
    End {
        address: String,
        exit: u8,
        /// All that lies there has been named, so that what no line speaks of is not there.
        listed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// What all came to; the last line.
    Summary {
        files_fetched: u64,
        bytes_fetched: u64,
        files_kept: u64,
        bytes_kept: u64,
        bytes_resumed: u64,
        bytes_again: Again,
        half_done: u64,
        half_done_bytes: u64,
        unfinished: u64,
        links: u64,
        skipped: u64,
        failed: u64,
        damaged: u64,
        seconds: f64,
        exit: u8,
    },
}

impl Record {
    /// How far it is.
    #[must_use]
    pub(crate) fn progress(moment: &Moment) -> Self {
        let Moment {
            so_far,
            connections,
            rate,
            left,
        } = moment;
        Self::Progress {
            files_done: so_far.files_done(),
            files_seen: so_far.files_seen,
            bytes_done: so_far.bytes_done(),
            bytes_seen: so_far.bytes_seen,
            listing_ended: so_far.listing_ended,
            connections: *connections,
            bytes_per_second: *rate,
            seconds_left: left.map(|left| left.as_secs()),
        }
    }

    /// The last line, for what was done in `seconds`.
    #[must_use]
    pub(crate) fn summary(so_far: SoFar, seconds: f64, exit: Exit) -> Self {
        let SoFar {
            files_seen: _,
            bytes_seen: _,
            listing_ended: _,
            files_fetched,
            bytes_fetched,
            files_kept,
            bytes_kept,
            bytes_resumed,
            again,
            half_done,
            half_done_bytes,
            unfinished,
            links,
            skipped,
            failed,
            taken: _,
            damaged,
        } = so_far;
        Self::Summary {
            files_fetched,
            bytes_fetched,
            files_kept,
            bytes_kept,
            bytes_resumed,
            bytes_again: again,
            half_done,
            half_done_bytes,
            unfinished,
            links,
            skipped,
            failed,
            damaged,
            seconds,
            exit: exit.code(),
        }
    }
}

/// Where the lines go.
#[derive(Debug)]
pub(crate) struct EventLog {
    output: Option<Lines<Stdout>>,
    report: Option<(PathBuf, Lines<File>)>,
}

/// Lines that go to one place until a write there fails.
#[derive(Debug)]
struct Lines<W>(Mutex<LinesState<W>>);

#[derive(Debug)]
struct LinesState<W> {
    out: W,
    failure: Option<io::Error>,
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        Self(Mutex::new(LinesState { out, failure: None }))
    }

    fn write(&self, line: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let LinesState { out, failure } = &mut *state;
        if failure.is_none() {
            let written = out.write_all(format!("{line}\n").as_bytes());
            *failure = written.and_then(|()| out.flush()).err();
        }
    }

    fn close(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.take().map_or(Ok(()), Err)
    }
}

impl EventLog {
    /// To standard output if `json`, and to the file `report` if there is one; that is emptied.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn open(json: bool, report: Option<&Path>) -> Result<Self, CommandError> {
        let make = |path: &Path| {
            let made = File::create(path);
            let file = made.or_exit(Exit::LocalIo, || {
                machine::cannot_write_report(path.display())
            })?;
            Ok((path.to_owned(), Lines::new(file)))
        };
        Ok(Self {
            output: json.then(|| Lines::new(io::stdout())),
            report: report.map(make).transpose()?,
        })
    }

    /// Whether anybody wants the lines.
    #[must_use]
    pub(crate) fn is_wanted(&self) -> bool {
        self.output.is_some() || self.report.is_some()
    }

    /// Writes a line, at once.
    pub(crate) fn write(&self, record: &impl Serialize) {
        let line = serde_json::to_string(record).expect("the keys of a record are text");
        if let Some(output) = &self.output {
            output.write(&line);
        }
        if let Some((_, report)) = &self.report {
            report.write(&line);
        }
    }

    /// Whether all lines were written, or read by someone who had seen enough.
    ///
    /// # Errors
    /// The first write that failed.
    pub(crate) fn close(&self) -> Result<(), CommandError> {
        let output = self.output.as_ref().map_or(Ok(()), Lines::close);
        if let Err(error) = output {
            output_ended(error)?;
        }
        let Some((path, report)) = &self.report else {
            return Ok(());
        };
        let closed = report.close();
        closed.or_exit(Exit::LocalIo, || machine::report_incomplete(path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_bytes_beside_it_where_the_text_is_not_enough() {
        let json = |bytes: &[u8]| serde_json::to_string(&PathText::new(bytes)).unwrap();
        assert_eq!(json("a/\u{e9}".as_bytes()), r#"{"path":"a/é"}"#);
        assert_eq!(json(b"a\xff"), r#"{"path":"a\\xff","path_hex":"61ff"}"#);
        assert_eq!(json(b"\x1b["), r#"{"path":"\\u{1b}[","path_hex":"1b5b"}"#);
    }

    #[test]
    fn lines_name_their_event() {
        let record = Record::Kept {
            path: PathText::new(b"a"),
        };
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"event":"kept","path":"a"}"#
        );
        let record = Record::summary(SoFar::default(), 0.5, Exit::SomeFailed);
        let line = serde_json::to_string(&record).unwrap();
        assert!(
            line.starts_with(r#"{"event":"summary","files_fetched":0"#),
            "{line}"
        );
        assert!(line.ends_with(r#""seconds":0.5,"exit":1}"#), "{line}");
    }
}
