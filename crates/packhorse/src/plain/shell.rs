//! `packhorse shell plain://…`

use std::io::{self, IsTerminal};

use packhorse_protocol::path::Name;
use packhorse_protocol::plain_address::PlainName;
use packhorse_storage::destination::DestinationOptions;
use tokio::runtime::Runtime;

use super::{Folder, PlainServer, Saved};
use crate::cat::Shape;
use crate::exit::{CommandError, Exit, Outcome};
use crate::fetch::{client_runtime, client_workers};
use crate::output::{print, say};
use crate::settings::PlainShellSettings;
use crate::shell::dialogue::{self, Dialogue, Stop, each};
use crate::shell::line_input::LineInput;
use crate::shell::request::Request;
use crate::shell::{interruptible, outlive_interrupts, words};
use crate::text::{self, Text};

/// Asks for a file name, fetches it, asks for the next.
pub(crate) fn run(settings: PlainShellSettings) -> Outcome {
    let PlainShellSettings {
        place,
        prefix,
        destination,
        silence,
        state,
    } = settings;
    let runtime = client_runtime()?;
    let mut server = PlainServer::new(place, silence, None);
    // So that a wrong address shows before the first question.
    runtime.block_on(server.open())?;
    let input = LineInput::open(None, &state)?;
    if input.is_interactive() {
        outlive_interrupts(&runtime)?;
    }
    let mut shell = PlainShell {
        is_interactive: input.is_interactive(),
        runtime,
        server,
        prefix,
        folder: Folder::new(
            &destination,
            DestinationOptions::default(),
            text::plain::exists_for_shell,
            client_workers()?,
        ),
    };
    say(Text::of_name(&shell.server.place).because(text::plain::not_verified()));
    let end = dialogue::hold(&mut shell, input);
    shell.say_rest();
    shell.runtime.block_on(shell.server.connection.close());
    end
}

struct PlainShell {
    runtime: Runtime,
    server: PlainServer,
    prefix: Vec<u8>,
    folder: Folder,
    is_interactive: bool,
}

impl Dialogue for PlainShell {
    fn prompt(&self) -> String {
        format!("plain://{}> ", self.server.place)
    }

    fn handle(&mut self, request: Request) -> Result<(), Stop> {
        self.say_rest();
        match request {
            Request::Fetch(name) => self.fetch(&name),
            Request::Get(names) => each(&names, |name| self.fetch(name)),
            Request::Show(name) => self.show(&name),
            Request::Help => Ok(print(text::shell::plain_help())?),
            Request::List { .. } | Request::Change(_) | Request::Where => {
                Err(CommandError::usage(text::plain::no_directories()).into())
            }
            Request::End => Ok(()),
        }
    }
}

impl PlainShell {
    fn fetch(&mut self, typed: &[u8]) -> Result<(), Stop> {
        let name = parse(typed)?;
        let local_name = self.local_name(&name)?;
        let saving = self
            .server
            .save(&name, &local_name, None, false, &self.folder);
        let saved = interruptible(&self.runtime, self.is_interactive, saving);
        let saved = saved
            .unwrap_or_else(|| {
                Err(CommandError::new(Exit::SomeFailed, text::shell::interrupted()).into())
            })
            .map_err(|unsaved| unsaved.about(&name))?;
        if let Some(doubt) = self.server.doubt(&saved) {
            say(doubt);
        }
        let Saved { name, bytes } = saved;
        print(text::plain::wrote(name, bytes)).map_err(Stop::Output)
    }

    fn show(&mut self, typed: &[u8]) -> Result<(), Stop> {
        let name = parse(typed)?;
        let shape = Shape::of_terminal(io::stdout().is_terminal());
        let showing = self.server.write_out(&name, false, shape);
        let shown = interruptible(&self.runtime, self.is_interactive, showing);
        match shown {
            Some(Ok(_)) => Ok(()),
            Some(Err(failure)) => Err(failure.about(&name).into()),
            None => Err(CommandError::new(Exit::SomeFailed, text::shell::interrupted()).into()),
        }
    }

    fn local_name(&self, name: &PlainName) -> Result<Name, CommandError> {
        let unusable =
            |error| CommandError::usage(text::plain::unusable_here(name, &Text::from(error)));
        let own = name.local_name().map_err(unusable)?;
        Name::parse(&[&self.prefix, own.as_bytes()].concat()).map_err(unusable)
    }

    /// Says so if more came of the last file than was taken for all of it.
    fn say_rest(&mut self) {
        if let Some(name) = self.runtime.block_on(self.server.look_for_rest()) {
            say(Text::of_name(name).because(text::plain::incomplete()));
        }
    }
}

fn parse(typed: &[u8]) -> Result<PlainName, CommandError> {
    PlainName::parse(typed).map_err(|error| CommandError::usage(error).about(words::Quoted(typed)))
}
