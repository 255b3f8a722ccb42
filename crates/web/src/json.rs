//! A directory for programs.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::path::RelativePath;
use serde_json::{Value, json};

use crate::body::{BodyError, Produce};
use crate::listing::{Chosen, Entry, EntryKind};
use crate::page::rfc3339;
use crate::target::encode;

/// Entries in one piece.
const PIECE_ENTRIES: usize = 500;

/// `{"path": …, "entries": [ … ]}`, a line for each entry.
///
/// Names are escaped as on the page, and where that changes one, `name_hex` has its bytes; `url`
/// leads to the entry, relative to the directory.
pub(crate) struct JsonPieces {
    head: Option<String>,
    chosen: Chosen,
    next: usize,
}

impl JsonPieces {
    pub(crate) fn new(path: &RelativePath, chosen: Chosen) -> Self {
        let path = match path.is_root() {
            true => String::new(),
            false => Escaped(path.as_bytes()).to_string(),
        };
        Self {
            head: Some(format!("{{\"path\":{},\"entries\":[", Value::from(path))),
            chosen,
            next: 0,
        }
    }
}

impl Produce for JsonPieces {
    fn next(&mut self, _bytes: usize) -> Result<Option<Bytes>, BodyError> {
        let total = self.chosen.len();
        if self.next > total {
            return Ok(None);
        }
        let mut piece = self.head.take().unwrap_or_default();
        let end = (self.next + PIECE_ENTRIES).min(total);
        for index in self.next..end {
            piece.push_str(if index == 0 { "\n" } else { ",\n" });
            piece.push_str(&describe(&self.chosen.entry(index)).to_string());
        }
        self.next = end;
        if end == total {
            piece.push_str("\n]}\n");
            self.next = total + 1;
        }
        Ok(Some(piece.into()))
    }
}

fn describe(entry: &Entry) -> Value {
    let Entry { name, kind } = entry;
    let bytes = name.as_bytes();
    let (shown, url) = (Escaped(bytes).to_string(), encode(bytes));
    let mut value = match *kind {
        EntryKind::File { size, modified } => json!({
            "name": shown, "type": "file", "size": size, "modified": rfc3339(modified), "url": url,
        }),
        EntryKind::Directory { modified } => json!({
            "name": shown, "type": "directory", "modified": rfc3339(modified),
            "url": format!("{url}/"),
        }),
        EntryKind::Refused(refusal) => json!({
            "name": shown, "type": "refused", "reason": refusal.to_string(),
        }),
    };
    if shown.as_bytes() != bytes
        && let Some(fields) = value.as_object_mut()
    {
        fields.insert("name_hex".to_owned(), HEXLOWER.encode(bytes).into());
    }
    value
}
