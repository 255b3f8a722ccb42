//! The terminal between two prompts: what is typed then waits for the next one, and is not shown
//! among what the shell says meanwhile.

use std::io;

use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The terminal of standard input takes keys and does nothing with them but to pass Ctrl-C on;
/// when this is dropped, it is as it was.
pub(crate) struct QuietTerminal {
    before: Termios,
}

impl QuietTerminal {
    /// # Errors
    /// Standard input is no terminal.
    pub(super) fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        // A line editor on the way would take keys such as Ctrl-D for itself.
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        quiet.input_modes -= InputModes::ICRNL;
        tcsetattr(io::stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for QuietTerminal {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to mend.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
