//! Lines at the bottom of the terminal, drawn over themselves.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::tcgetwinsize;

use crate::output::laid_out;

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TerminalSize {
    /// Across.
    pub(crate) columns: usize,
    /// Down.
    pub(crate) rows: usize,
}

/// Lines at the bottom of the terminal that standard error is; nothing where it is none, or one
/// that cannot draw.
///
/// The cursor rests at the beginning of the first line. A terminal that wraps lines anew when it
/// becomes narrower takes the cursor along with what stands there, so that everything behind it can
/// be cleared whatever became of it.
#[derive(Debug)]
pub(crate) struct BottomLines {
    is_terminal: bool,
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    lines: Vec<String>,
    size: Option<TerminalSize>,
}

impl BottomLines {
    /// None yet; never any if not `wanted`.
    #[must_use]
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            is_terminal: wanted && io::stderr().is_terminal() && can_draw(),
            drawn: Mutex::default(),
        }
    }

    /// Whether anybody sees them.
    #[must_use]
    pub(crate) fn is_shown(&self) -> bool {
        self.is_terminal
    }

    /// Shows what `lines` gives for the size of the terminal; lines that are too long or too many
    /// are the caller's fault.
    pub(crate) fn show(&self, lines: impl FnOnce(TerminalSize) -> Vec<String>) {
        if !self.is_terminal {
            return;
        }
        let size = terminal_size();
        let next = Drawn {
            lines: lines(size),
            size: Some(size),
        };
        let mut drawn = self.lock();
        let text = drawn.text_for(&next);
        *drawn = next;
        write_out(&text);
    }

    /// Writes `text`, whole lines of talk, above them.
    pub(crate) fn say(&self, text: &str) {
        let text = laid_out(text);
        let drawn = self.lock();
        match drawn.lines.is_empty() {
            true => write_out(&text),
            false => write_out(&format!("{CLEAR}{text}{}", drawn.text())),
        }
    }

    /// Does `act`, which writes to the terminal, while they are out of the way.
    pub(crate) fn suspend<T>(&self, act: impl FnOnce() -> T) -> T {
        let drawn = self.lock();
        if drawn.lines.is_empty() {
            return act();
        }
        write_out(CLEAR);
        let result = act();
        write_out(&drawn.text());
        result
    }

    /// Takes them away.
    pub(crate) fn clear(&self) {
        let mut drawn = self.lock();
        if !std::mem::take(&mut drawn.lines).is_empty() {
            write_out(CLEAR);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From the beginning of the cursor's line, where a typed `^C` may stand, to the end of the screen.
const CLEAR: &str = "\r\x1b[J";

impl Drawn {
    /// What draws `next` over these; nothing if that would change nothing.
    fn text_for(&self, next: &Self) -> String {
        if self.lines == next.lines && self.size == next.size {
            return String::new();
        }
        let fits_over = self.size == next.size && next.lines.len() >= self.lines.len();
        match fits_over || self.lines.is_empty() {
            true => next.text(),
            false => format!("{CLEAR}{}", next.text()),
        }
    }

    /// What draws the lines, whatever stood there, and puts the cursor back.
    fn text(&self) -> String {
        let mut text = String::new();
        for (index, line) in self.lines.iter().enumerate() {
            if index > 0 {
                text.push_str("\r\n");
            }
            let _ = write!(text, "{line}\x1b[K");
        }
        if self.lines.len() > 1 {
            let _ = write!(text, "\x1b[{}A", self.lines.len() - 1);
        }
        if !self.lines.is_empty() {
            text.push('\r');
        }
        text
    }
}

/// How large the terminal is that standard error is.
fn terminal_size() -> TerminalSize {
    let size = tcgetwinsize(io::stderr()).ok();
    let known = |length: u16| (length > 0).then_some(usize::from(length));
    TerminalSize {
        columns: size.and_then(|size| known(size.ws_col)).unwrap_or(80),
        rows: size.and_then(|size| known(size.ws_row)).unwrap_or(24),
    }
}

fn can_draw() -> bool {
    env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

fn write_out(text: &str) {
    if !text.is_empty() {
        // If nobody looks, the work goes on.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(lines: &[&str], columns: usize) -> Drawn {
        Drawn {
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            size: Some(TerminalSize { columns, rows: 24 }),
        }
    }

    #[test]
    fn only_what_changes_is_drawn() {
        let cases = [
            (drawn(&["a"], 80), drawn(&["a"], 80), ""),
            (drawn(&[], 80), drawn(&["a"], 80), "a\x1b[K\r"),
            (drawn(&["a"], 80), drawn(&["b"], 80), "b\x1b[K\r"),
            (
                drawn(&["a"], 80),
                drawn(&["b", "c"], 80),
                "b\x1b[K\r\nc\x1b[K\x1b[1A\r",
            ),
            (
                drawn(&["a", "b"], 80),
                drawn(&["c"], 80),
                "\r\x1b[Jc\x1b[K\r",
            ),
            (drawn(&["a"], 80), drawn(&["a"], 30), "\r\x1b[Ja\x1b[K\r"),
            (drawn(&["a"], 80), drawn(&[], 80), "\r\x1b[J"),
        ];
        for (before, next, text) in cases {
            assert_eq!(before.text_for(&next), text, "{before:?} {next:?}");
        }
    }
}
