//! `packhorse ls`

use std::fmt::{self, Display};
use std::io;

use packhorse_client::list::{ListError, ListRequest, list};
use packhorse_protocol::entry::{Mode, Refusal, Timestamp};
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::Item;
use serde::Serialize;

use crate::events::PathText;
use crate::exit::{CommandError, Exit, Outcome, output_ended};
use crate::fetch::client_runtime;
use crate::output::{complain, print, say};
use crate::settings::{LsFormat, LsSettings};
use crate::text::{self, Text, fetching};
use crate::trust::{self, Server};

/// Lists what the server has at the address.
pub(crate) fn run(settings: LsSettings) -> Outcome {
    client_runtime()?.block_on(async {
        let LsSettings {
            address,
            trust,
            format,
            recursive,
        } = settings;
        let mut server = trust::meet(&address, &trust).await?;
        let listing = Listing {
            format,
            recursive,
            directory_only: address.directory_only,
        };
        let printed = listing.print(&server, &address.path).await;
        let exit = printed.map_err(|failure| failure.about(&address))?;
        server.handle_success()?;
        Ok(exit)
    })
}

/// How something is listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    /// How each entry is shown.
    pub(crate) format: LsFormat,
    /// Enter directories.
    pub(crate) recursive: bool,
    /// Only a directory will do.
    pub(crate) directory_only: bool,
}

impl Listing {
    /// Prints what `server` has at `path`, as it comes.
    ///
    /// # Errors
    /// There is no such thing, no connection, or nowhere to print to.
    pub(crate) async fn print(self, server: &Server, path: &RelativePath) -> Outcome {
        let mut exit = Exit::Done;
        let mut stopped = None;
        let request = ListRequest {
            path: path.clone(),
            recursive: self.recursive,
            ..ListRequest::default()
        };
        let mut is_first = true;
        let listed = list(&server.connector, request, |item| {
            if std::mem::take(&mut is_first) && self.directory_only && !is_root(&item) {
                let message = text::shell::not_a_directory();
                stopped = Some(Err(CommandError::new(Exit::SomeFailed, message)));
                return false;
            }
            match self.print_item(&item) {
                Ok(item_exit) => exit = exit.and(item_exit),
                Err(error) => stopped = Some(output_ended(error)),
            }
            stopped.is_none()
        })
        .await;
        match (stopped, listed) {
            (Some(outcome), _) => outcome,
            (None, Ok(_)) => Ok(exit),
            (None, Err(ListError::Connect(error))) => Err(server.explain(&error)),
            (None, Err(error)) => Err(CommandError::new(Exit::SomeFailed, error)),
        }
    }

    fn print_item(self, item: &Item) -> io::Result<Exit> {
        if let Item::Skipped { path, refusal } = item {
            if self.format == LsFormat::Json {
                print(skipped_json(path, *refusal))?;
            }
            let (path, why) = (Escaped(path), Text::from(refusal));
            if refusal.is_by_kind() {
                say(fetching::skipped_entry(path, &why));
                return Ok(Exit::Done);
            }
            complain(Text::of_name(path).because(why));
            return Ok(Exit::SomeFailed);
        }
        let Some(row) = Row::of(item) else {
            return Ok(Exit::Done);
        };
        match self.format {
            LsFormat::Names => print(row.name()),
            LsFormat::Long => print(row),
            LsFormat::Json => print(row.json()),
        }?;
        Ok(Exit::Done)
    }
}

/// The line that says what is left out, and whether it should not be.
fn skipped_json(path: &[u8], refusal: Refusal) -> String {
    let skipped = SkippedRow {
        event: "skipped",
        path: PathText::new(path),
        why: refusal.to_string(),
        is_failure: !refusal.is_by_kind(),
    };
    serde_json::to_string(&skipped).expect("a row has only text and numbers")
}

/// Whether `item` says that what was asked for is a directory.
pub(crate) fn is_root(item: &Item) -> bool {
    matches!(item, Item::Directory { path, .. } if path.is_root())
}

/// The path of `item` below what was asked for; `None` for what has none.
pub(crate) fn path_of(item: &Item) -> Option<RelativePath> {
    match item {
        Item::Directory { path, .. } => Some(path.clone()),
        Item::File {
            directory, name, ..
        }
        | Item::Link {
            directory, name, ..
        } => directory.join(name).ok(),
        Item::Skipped { .. } => None,
    }
}

/// One entry as a line.
struct Row<'a> {
    path: RelativePath,
    kind: Kind,
    size: Option<u64>,
    mode: Option<Mode>,
    modified: Timestamp,
    target: Option<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File,
    Directory,
    Link,
}

#[derive(Serialize)]
struct JsonRow {
    event: &'static str,
    kind: Kind,
    #[serde(flatten)]
    path: PathText,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<PathText>,
}

#[derive(Serialize)]
struct SkippedRow {
    event: &'static str,
    #[serde(flatten)]
    path: PathText,
    why: String,
    is_failure: bool,
}

impl<'a> Row<'a> {
    /// The row for `item`; `None` for what was asked for itself, if that is a directory.
    fn of(item: &'a Item) -> Option<Self> {
        if is_root(item) {
            return None;
        }
        let path = path_of(item)?;
        Some(match item {
            Item::Directory { info, .. } => Self {
                path,
                kind: Kind::Directory,
                size: None,
                mode: Some(info.mode),
                modified: info.modified,
                target: None,
            },
            Item::File { info, .. } => Self {
                path,
                kind: Kind::File,
                size: Some(info.size),
                mode: Some(info.mode),
                modified: info.modified,
                target: None,
            },
            Item::Link {
                target, modified, ..
            } => Self {
                path,
                kind: Kind::Link,
                size: None,
                mode: None,
                modified: *modified,
                target: Some(target),
            },
            Item::Skipped { .. } => return None,
        })
    }

    fn name(&self) -> String {
        let slash = if self.kind == Kind::Directory {
            "/"
        } else {
            ""
        };
        format!("{}{slash}", self.path)
    }

    fn json(&self) -> String {
        let row = JsonRow {
            event: "entry",
            kind: self.kind,
            path: PathText::new(self.path.as_bytes()),
            size: self.size,
            mode: self.mode.map(|mode| format!("{:04o}", mode.bits())),
            modified: Utc(self.modified).to_string(),
            target: self.target.map(PathText::new),
        };
        serde_json::to_string(&row).expect("a row has only text and numbers")
    }
}

/// The row in full, as `ls -l` shows it.
impl Display for Row<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::File => '-',
            Kind::Directory => 'd',
            Kind::Link => 'l',
        };
        write!(out, "{kind}{}", Permissions(self.mode))?;
        match self.size {
            Some(size) => write!(out, " {size:>13}")?,
            None => write!(out, " {:>13}", "-")?,
        }
        write!(out, " {} {}", LocalTime(self.modified), self.name())?;
        match self.target {
            Some(target) => write!(out, " -> {}", Escaped(target)),
            None => Ok(()),
        }
    }
}

/// Prints `rwxr-xr-x`; a link has none of its own.
struct Permissions(Option<Mode>);

impl Display for Permissions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.map_or(0o777, Mode::bits);
        for (index, letter) in "rwxrwxrwx".chars().enumerate() {
            let is_set = bits & (0o400 >> index) != 0;
            let is_sticky = index == 8 && bits & 0o1000 != 0;
            write!(
                out,
                "{}",
                match (is_sticky, is_set) {
                    (true, true) => 't',
                    (true, false) => 'T',
                    (false, true) => letter,
                    (false, false) => '-',
                }
            )?;
        }
        Ok(())
    }
}

/// Prints a moment in the time zone of this machine, to the minute.
struct LocalTime(Timestamp);

impl Display for LocalTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match moment(self.0) {
            Some(moment) => {
                let local = moment.to_zoned(jiff::tz::TimeZone::system());
                write!(out, "{}", local.strftime("%Y-%m-%d %H:%M"))
            }
            None => write!(out, "{:>16}", self.0.seconds()),
        }
    }
}

/// Prints a moment as RFC 3339 has it, to the nanosecond.
struct Utc(Timestamp);

impl Display for Utc {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match moment(self.0) {
            Some(moment) => write!(out, "{moment:.9}"),
            None => write!(out, "@{}.{:09}", self.0.seconds(), self.0.nanoseconds()),
        }
    }
}

/// `None` for what lies beyond the calendar.
fn moment(timestamp: Timestamp) -> Option<jiff::Timestamp> {
    let nanoseconds = i32::try_from(timestamp.nanoseconds()).ok()?;
    jiff::Timestamp::new(timestamp.seconds(), nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp::new(seconds, nanoseconds).unwrap()
    }

    #[test]
    fn permissions_and_times() {
        let cases = [
            (Some(0o644), "rw-r--r--"),
            (Some(0o755), "rwxr-xr-x"),
            (Some(0o1777), "rwxrwxrwt"),
            (Some(0o1776), "rwxrwxrwT"),
            (Some(0), "---------"),
            (None, "rwxrwxrwx"),
        ];
        for (bits, text) in cases {
            assert_eq!(Permissions(bits.map(Mode::from_bits)).to_string(), text);
        }
        assert_eq!(Utc(at(0, 5)).to_string(), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(
            Utc(at(-1, 500_000_000)).to_string(),
            "1969-12-31T23:59:59.500000000Z"
        );
        assert_eq!(
            Utc(at(i64::MAX, 0)).to_string(),
            "@9223372036854775807.000000000"
        );
        assert_eq!(
            LocalTime(at(i64::MIN, 0)).to_string(),
            "-9223372036854775808"
        );
    }

    #[test]
    fn rows_show_a_name_and_what_it_is() {
        let target = b"a\x1b".to_vec();
        let (directory, name) = (RelativePath::parse(b"d").unwrap(), b"n\xff".as_slice());
        let name = packhorse_protocol::path::Name::parse(name).unwrap();
        let link = Item::Link {
            directory,
            name,
            target,
            modified: at(0, 0),
        };
        let row = Row::of(&link).unwrap();
        assert_eq!(row.name(), "d/n\\xff");
        assert!(row.to_string().ends_with(" d/n\\xff -> a\\u{1b}"), "{row}");
        assert_eq!(
            row.json(),
            r#"{"event":"entry","kind":"link","path":"d/n\\xff","path_hex":"642f6eff","modified":"1970-01-01T00:00:00.000000000Z","target":{"path":"a\\u{1b}","path_hex":"611b"}}"#
        );
    }
}
