//! Where the lines of a shell come from: an editor on a terminal, else standard input as it is.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::completion::RemoteNames;
use super::quiet_terminal::QuietTerminal;
use crate::exit::{CommandError, Exit, OrExit};
use crate::state::State;
use crate::text::machine;

/// A line has at most this many bytes; no path is longer, even with every byte escaped.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Lines that are remembered.
const HISTORY_LINES_MAX: usize = 1000;

/// Lines, one after the other.
pub(crate) enum LineInput {
    /// A person at a terminal.
    Editor {
        /// What they type with.
        editor: Box<Editor<RemoteNames, FileHistory>>,
        /// Where what they typed is remembered, if it can be.
        history: Option<PathBuf>,
        /// How the terminal is while nobody is asked.
        _between: QuietTerminal,
    },
    /// Standard input; prompted for on standard error if that is where a person sits.
    Plain {
        /// Whether to prompt.
        prompt: bool,
    },
}

impl LineInput {
    /// The lines of this process; `names`, if there are any, complete them on a
    /// terminal.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(crate) fn open(names: Option<RemoteNames>, state: &State) -> Result<Self, CommandError> {
        let is_terminal = io::stdin().is_terminal();
        if !is_terminal || !io::stdout().is_terminal() {
            let prompt = is_terminal && io::stderr().is_terminal();
            return Ok(Self::Plain { prompt });
        }
        let failed = machine::no_terminal;
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .max_history_size(HISTORY_LINES_MAX)
            .or_exit(Exit::LocalIo, failed)?
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config).or_exit(Exit::LocalIo, failed)?;
        editor.set_helper(names);
        let history = state.file_in_place("history").ok();
        if let Some(path) = &history {
            // It is missing the first time.
            let _ = editor.load_history(path);
        }
        Ok(Self::Editor {
            editor: Box::new(editor),
            history,
            _between: QuietTerminal::begin().or_exit(Exit::LocalIo, failed)?,
        })
    }

    /// Whether a person is typing.
    pub(crate) fn is_interactive(&self) -> bool {
        matches!(self, Self::Editor { .. })
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(crate) fn next(&mut self, prompt: &str) -> Result<Option<String>, CommandError> {
        let failed = machine::no_input;
        match self {
            Self::Editor {
                editor, history, ..
            } => loop {
                match editor.readline(prompt) {
                    Ok(line) => {
                        if let Some(path) = history {
                            // A history that is not kept is no reason to stop.
                            let _ = editor.append_history(path);
                        }
                        return Ok(Some(line));
                    }
                    Err(ReadlineError::Interrupted) => {}
                    Err(ReadlineError::Eof) => return Ok(None),
                    Err(error) => return Err(error).or_exit(Exit::LocalIo, failed),
                }
            },
            Self::Plain { prompt: is_wanted } => {
                if *is_wanted {
                    let _ = io::stderr().write_all(prompt.as_bytes());
                }
                read_line(&mut io::stdin().lock()).or_exit(Exit::LocalIo, failed)
            }
        }
    }
}

/// Bytes that are not UTF-8 come escaped, as the shell shows them.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    input.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(match String::from_utf8(line) {
        Ok(text) => text,
        Err(error) => error
            .as_bytes()
            .utf8_chunks()
            .flat_map(|chunk| {
                let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
                std::iter::once(chunk.valid().to_owned()).chain(invalid)
            })
            .collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one() {
        let mut input = &b"a\nb\xff c\n\nlast"[..];
        let mut next = || read_line(&mut input).unwrap();
        assert_eq!(next().as_deref(), Some("a\n"));
        assert_eq!(next().as_deref(), Some("b\\xff c\n"));
        assert_eq!(next().as_deref(), Some("\n"));
        assert_eq!(next().as_deref(), Some("last"));
        assert_eq!(next(), None);
    }
}
