//! How a command ends, and the exit code that says so.

use std::io;
use std::process::ExitCode;

use crate::text::{Named, Text, machine};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is done.
    Done,
    /// Some files failed; each was named, with why.
    SomeFailed,
    /// What was asked for makes no sense.
    Usage,
    /// No server was reached, or it was lost and did not come back.
    NoConnection,
    /// Key or identity are not accepted, by either side.
    Refused,
    /// Content could not be had as it should be.
    Integrity,
    /// This machine's disk is to blame.
    LocalIo,
    /// The person has had enough.
    Interrupted,
}

/// What a command comes to.
pub(crate) type Outcome = Result<Exit, CommandError>;

/// Why a command could not go on.
#[derive(Debug, Clone)]
pub(crate) struct CommandError {
    /// The code that says so to a script.
    pub(crate) exit: Exit,
    /// The words that say so to a person; never with a secret in them.
    pub(crate) error: Text,
}

impl Exit {
    /// What this and `other` together come to: the first of 4, 5, 6, 3, 1 where several apply.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        if other.rank() < self.rank() {
            other
        } else {
            self
        }
    }

    /// The number that the process ends with.
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomeFailed => 1,
            Self::Usage => 2,
            Self::NoConnection => 3,
            Self::Refused => 4,
            Self::Integrity => 5,
            Self::LocalIo => 6,
            // As a shell tells of a command that SIGINT has ended.
            Self::Interrupted => 130,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Interrupted => 0,
            Self::Refused => 1,
            Self::Integrity => 2,
            Self::LocalIo => 3,
            Self::NoConnection => 4,
            Self::SomeFailed => 5,
            Self::Usage => 6,
            Self::Done => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl CommandError {
    /// An error of which `message` says all.
    pub(crate) fn new(exit: Exit, message: impl Into<Text>) -> Self {
        let error = message.into();
        Self { exit, error }
    }

    /// What was asked for makes no sense.
    pub(crate) fn usage(message: impl Into<Text>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The same, said of `what`.
    #[must_use]
    pub(crate) fn about(self, what: impl Named) -> Self {
        Self {
            error: Text::of_name(what).because(self.error),
            ..self
        }
    }
}

/// Gives an error the code that it ends the command with.
pub(crate) trait OrExit<T> {
    /// Ends with `exit`, saying `doing` and then the error.
    fn or_exit<D: Into<Text>>(
        self,
        exit: Exit,
        doing: impl FnOnce() -> D,
    ) -> Result<T, CommandError>;
}

impl<T, E: Into<Text>> OrExit<T> for Result<T, E> {
    fn or_exit<D: Into<Text>>(
        self,
        exit: Exit,
        doing: impl FnOnce() -> D,
    ) -> Result<T, CommandError> {
        self.map_err(|error| CommandError::new(exit, doing().into().because(error)))
    }
}

/// Turns a failed write to standard output into what the command comes to: whoever read it has seen
/// enough, or the write is an error.
pub(crate) fn output_ended(error: io::Error) -> Outcome {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(Exit::Done);
    }
    Err(error).or_exit(Exit::LocalIo, machine::no_output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_is_told() {
        use Exit::*;
        let order = [Refused, Integrity, LocalIo, NoConnection, SomeFailed, Done];
        for (place, &worse) in order.iter().enumerate() {
            for &other in &order[place..] {
                assert_eq!(worse.and(other), worse);
                assert_eq!(other.and(worse), worse);
            }
        }
        assert_eq!(order.map(Exit::code), [4, 5, 6, 3, 1, 0]);
    }
}
