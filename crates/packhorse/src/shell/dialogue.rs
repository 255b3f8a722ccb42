//! The course of a shell: a line is asked for, what it asks is done, and so on.

use std::io;

use crate::exit::{CommandError, Exit, Outcome, output_ended};
use crate::output::say;
use crate::shell::line_input::LineInput;
use crate::shell::request::Request;
use crate::text;

/// A shell that can do what is asked of it.
pub(crate) trait Dialogue {
    /// What stands before what is typed.
    fn prompt(&self) -> String;

    /// Does what is asked.
    fn handle(&mut self, request: Request) -> Result<(), Stop>;
}

/// Why a request was not done.
pub(crate) enum Stop {
    /// The next one may be.
    Failed(CommandError),
    /// Nobody reads what the shell prints.
    Output(io::Error),
}

impl From<CommandError> for Stop {
    fn from(failure: CommandError) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Asks until nothing more is asked for.
pub(crate) fn hold(shell: &mut impl Dialogue, mut input: LineInput) -> Outcome {
    if input.is_interactive() {
        say(text::shell::welcome());
    }
    loop {
        let Some(line) = input.next(&shell.prompt())? else {
            return Ok(Exit::Done);
        };
        let done = match Request::parse(&line) {
            Ok(Request::End) => return Ok(Exit::Done),
            Ok(request) => shell.handle(request),
            Err(why) => Err(CommandError::usage(why).into()),
        };
        if let Err(error) = go_on(done) {
            return output_ended(error);
        }
    }
}

/// Does `fetch` with each name; one that fails does not keep the others from coming.
pub(crate) fn each(
    names: &[Vec<u8>],
    mut fetch: impl FnMut(&[u8]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    for name in names {
        go_on(fetch(name))?;
    }
    Ok(())
}

/// Says what failed.
fn go_on(done: Result<(), Stop>) -> io::Result<()> {
    match done {
        Ok(()) => Ok(()),
        Err(Stop::Failed(failure)) => {
            say(failure.error);
            Ok(())
        }
        Err(Stop::Output(error)) => Err(error),
    }
}
