//! The flags as they are typed.

mod bench;
mod chinese;
mod demo;
mod generate;
mod get;
mod help;
mod listen;
mod ls;
mod serve;
mod shell;
mod talk;

use clap::{Parser, Subcommand};

pub(crate) use self::bench::BenchFlags;
pub(crate) use self::demo::DemoFlags;
pub(crate) use self::generate::GenerateFlags;
pub(crate) use self::get::GetFlags;
pub(crate) use self::help::{command, in_our_words, print_help};
pub(crate) use self::listen::ListenFlags;
pub(crate) use self::ls::LsFlags;
pub(crate) use self::serve::{LogFormat, ServeFlags};
pub(crate) use self::shell::ShellFlags;
pub(crate) use self::talk::TalkFlags;

const EXAMPLES: &str = "\
Examples:
  packhorse serve ~/photos              serve a directory; prints its address
  packhorse get ph://KEY@HOST:7225/     fetch all of it, into this directory
  packhorse ls ph://KEY@HOST:7225/      see what is there
  packhorse shell ph://KEY@HOST:7225/   fetch files by typing their names
  packhorse talk HOST:9000              talk to whoever listens there
  packhorse bench ph://KEY@HOST:7225/   see what holds downloads from there back
  packhorse demo                        see it happen, with nothing set up

An ADDRESS is ph://KEY@HOST:PORT/PATH. It holds the key, so keep it as you would
a password: `-` reads it from standard input, and the variable PACKHORSE_ADDRESS
serves where none is given.

Exit codes: 0 all done, 1 some files failed, 2 usage, 3 no connection, 4 key or
identity refused, 5 integrity could not be reached, 6 input or output on this
machine failed.";

/// Moves files from one machine to others over TCP, every byte verified
#[derive(Debug, Parser)]
#[command(name = "packhorse", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: CommandFlags,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum CommandFlags {
    Serve(ServeFlags),
    Get(Box<GetFlags>),
    Ls(LsFlags),
    Shell(ShellFlags),
    Listen(ListenFlags),
    Talk(TalkFlags),
    Bench(BenchFlags),
    Demo(DemoFlags),
    Generate(GenerateFlags),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Flags::command().debug_assert();
    }
}
