//! The `packhorse` command.
//!
//! Flags are parsed into raw options, resolved with the environment into settings, and only then a
//! command runs.

mod address;
mod bench;
mod bottom_lines;
mod byte_count;
mod cat;
mod demo;
mod display_width;
mod environment;
mod events;
mod exit;
mod fetch;
mod flags;
mod generate;
mod get;
mod hosts;
mod language;
mod listen;
mod listen_place;
mod local_addresses;
mod log;
mod ls;
mod output;
mod plain;
mod progress;
mod qr_code;
mod rate;
mod secret_file;
mod serve;
mod settings;
mod shell;
mod signals;
mod so_far;
mod sole_file;
mod state;
mod talk;
mod text;
mod time_span;
mod trust;

use std::env;
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use crate::environment::Environment;
use crate::exit::{Exit, Outcome};
use crate::flags::Flags;
use crate::language::Language;
use crate::settings::Settings;

/// glibc's gives memory back and asks for it anew for each group of a large file.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    Language::of_locale(|name| env::var_os(name)).speak();
    let parsed = flags::command().try_get_matches();
    let outcome = match parsed.and_then(|matches| Flags::from_arg_matches(&matches)) {
        Ok(flags) => run(flags),
        Err(error) => return handle_unusable(&error).into(),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        output::complain(failure.error);
        failure.exit
    });
    exit.into()
}

fn run(flags: Flags) -> Outcome {
    match Settings::resolve(flags, &Environment::of_process())? {
        Settings::Serve(settings) => serve::run(settings),
        Settings::Get(settings) => get::run(*settings),
        Settings::GetPlain(settings) => plain::get::run(settings),
        Settings::Ls(settings) => ls::run(settings),
        Settings::Shell(settings) => shell::run(settings),
        Settings::ShellPlain(settings) => plain::shell::run(settings),
        Settings::Listen(settings) => listen::run(settings),
        Settings::Talk(settings) => talk::run(*settings),
        Settings::Bench(settings) => bench::run(*settings),
        Settings::Demo(flags) => demo::run(&flags),
        Settings::Generate(flags) => generate::run(&flags),
    }
}

/// Prints help that was asked for, or says what is wrong with the flags.
fn handle_unusable(error: &clap::Error) -> Exit {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        flags::print_help(error);
        return Exit::Done;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::say(text::usage::first_steps());
        return Exit::Usage;
    }
    output::say(text::usage::of_clap(error));
    Exit::Usage
}
