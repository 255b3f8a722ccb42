//! What the process is told besides its flags.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use crate::language::shows_unicode;

/// The variables that Packhorse knows, and what its standard streams are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `PACKHORSE_ADDRESS`: the address where none is given.
    pub(crate) address: Option<OsString>,
    /// `PACKHORSE_KEY`: the right to read from servers whose address has no key.
    pub(crate) key: Option<OsString>,
    /// Where state lives: `PACKHORSE_STATE`, else `packhorse` in `XDG_STATE_HOME` or in
    /// `~/.local/state`. `None` where none of them says.
    pub(crate) state_directory: Option<PathBuf>,
    /// `NO_COLOR` does not forbid colours (<https://no-color.org>).
    pub(crate) has_colours: bool,
    /// The locale's encoding has more than ASCII.
    pub(crate) shows_unicode: bool,
    /// There is a person at both ends: questions can be asked.
    pub(crate) can_ask: bool,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub(crate) fn of_process() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let absolute = |name| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let state_directory = variable("PACKHORSE_STATE").map(PathBuf::from).or_else(|| {
            let state_home = absolute("XDG_STATE_HOME")
                .or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
            Some(state_home.join("packhorse"))
        });
        Self {
            address: variable("PACKHORSE_ADDRESS"),
            key: variable("PACKHORSE_KEY"),
            state_directory,
            has_colours: variable("NO_COLOR").is_none(),
            shows_unicode: shows_unicode(|name| env::var_os(name)),
            can_ask: io::stdin().is_terminal() && io::stderr().is_terminal(),
        }
    }
}
