//! A file that says what a directory is about.

use maud::Markup;
use packhorse_protocol::path::Name;
use packhorse_storage::source::{SourceDirectory, SourceNames};

use crate::limits::README_BYTES_MAX;
use crate::markdown::{self, Rendered};

/// The beginning of such a file, ready to be shown.
#[derive(Debug)]
pub(crate) struct Readme {
    pub(crate) name: Name,
    pub(crate) text: ReadmeText,
    pub(crate) is_all: bool,
}

#[derive(Debug)]
pub(crate) enum ReadmeText {
    Plain(String),
    Markdown(Markup),
}

impl Readme {
    /// Reads the first README of a directory; on a disk worker. `None` if there is none, or none
    /// that can be read.
    pub(crate) fn of(directory: &dyn SourceDirectory, names: &SourceNames) -> Option<Self> {
        const NAMES: [&[u8]; 4] = [b"readme.md", b"readme", b"readme.txt", b"readme.rst"];
        let name = NAMES.iter().find_map(|wanted| {
            (0..names.others())
                .map(|index| names.name(index))
                .find(|name| name.as_bytes().eq_ignore_ascii_case(wanted))
        })?;
        let file = directory.open_file(&name).ok()?;
        let size = file.info().ok()?.size;
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(README_BYTES_MAX)];
        let count = file.read_at(0, &mut bytes).ok()?;
        bytes.truncate(count);
        Some(Self::new(name, &bytes, length <= README_BYTES_MAX))
    }

    fn new(name: Name, bytes: &[u8], is_all: bool) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_start_matches('\u{feff}');
        let is_markdown = name.as_bytes().to_ascii_lowercase().ends_with(b".md");
        if !is_markdown || markdown::is_bomb(text) {
            let text = ReadmeText::Plain(text.to_owned());
            return Self { name, text, is_all };
        }
        let Rendered {
            html,
            is_all: is_all_rendered,
        } = markdown::render(text);
        Self {
            name,
            text: ReadmeText::Markdown(html),
            is_all: is_all && is_all_rendered,
        }
    }
}
