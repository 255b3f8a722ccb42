//! Where words go: data to standard output, talk to standard error, each line in one write.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};

use rustix::termios::tcgetwinsize;

use crate::text::Text;
use crate::text::wrapping::wrap;

/// Says something to the person; never with a secret in it.
///
/// What a peer wrote must be escaped; should some of it come through in the words of a library, it
/// can still do nothing to a terminal.
pub(crate) fn say(words: impl Into<Text>) {
    let text = laid_out(&format!("{}\n", words.into()));
    // If nobody listens to the talk, the work goes on.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says what went wrong, and that it is Packhorse that says so.
pub(crate) fn complain(what: impl Into<Text>) {
    say(what.into().of_packhorse());
}

/// Writes a line of data.
///
/// # Errors
/// The system's own; see [`output_ended`](crate::exit::output_ended).
pub(crate) fn print(line: impl Display) -> io::Result<()> {
    let text = format!("{line}\n");
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The columns of the terminal that standard output is, or as `COLUMNS` says.
#[must_use]
pub(crate) fn terminal_columns() -> Option<usize> {
    let of_terminal = tcgetwinsize(io::stdout()).map(|size| usize::from(size.ws_col));
    let told = || env::var("COLUMNS").ok()?.parse().ok();
    of_terminal
        .ok()
        .or_else(told)
        .filter(|&columns| columns > 0)
}

/// `text`, whole lines of talk, as it can be written to standard error: harmless, and on a terminal
/// broken between words.
#[must_use]
pub(crate) fn laid_out(text: &str) -> String {
    let harmless = without_controls(text);
    let columns = tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 {
        return harmless;
    }
    let lines = harmless.lines().map(|line| wrap(line, columns) + "\n");
    lines.collect()
}

/// `text` with every control character but the line feed escaped.
#[must_use]
pub(crate) fn without_controls(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            harmless.extend(character.escape_unicode());
        } else {
            harmless.push(character);
        }
    }
    harmless
}

/// Replaces every key and token in `text`, which may quote what the user typed.
#[must_use]
pub(crate) fn without_secrets(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let starts = [("ph://", true), ("key=", false)];
        let first = starts
            .iter()
            .filter_map(|&(start, is_address)| Some((rest.find(start)? + start.len(), is_address)))
            .min();
        let Some((secret_at, is_address)) = first else {
            clean.push_str(rest);
            return clean;
        };
        let (before, behind) = rest.split_at(secret_at);
        clean.push_str(before);
        let length = behind
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(behind.len());
        let is_secret = !is_address || behind[length..].starts_with('@');
        clean.push_str(match is_secret && length > 0 {
            true => "KEY",
            false => &behind[..length],
        });
        rest = &behind[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_escaped() {
        assert_eq!(
            without_controls("a\\n\tb\n\x1b[2J\u{9b}"),
            "a\\n\\u{9}b\n\\u{1b}[2J\\u{9b}"
        );
    }

    #[test]
    fn secrets_are_replaced() {
        let cases = [
            ("nothing here", "nothing here"),
            ("a 'ph://abc234@host:1/x' b", "a 'ph://KEY@host:1/x' b"),
            ("ph://host:1/x", "ph://host:1/x"),
            ("https://h:1/?key=abc&x=1", "https://h:1/?key=KEY&x=1"),
            ("ph://a@h ph://b@h key=c", "ph://KEY@h ph://KEY@h key=KEY"),
            ("ph://", "ph://"),
        ];
        for (text, clean) in cases {
            assert_eq!(without_secrets(text), clean);
        }
    }
}
