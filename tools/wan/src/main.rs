//! A bad line between two network namespaces; README.md says how to use it.

use std::process::ExitCode;

use clap::Parser;

mod end;
mod flags;
mod guard;
mod line;
mod link;
mod packet;
mod pump;
mod quantity;
mod random;
mod session;
mod settings;
mod summary;

use self::flags::{Command, Flags};
use self::session::Signals;
use self::settings::PROFILES;

/// What `timeout` and `env` end with too when they fail themselves.
const EXIT_FAILED: u8 = 125;

fn main() -> ExitCode {
    match dispatch(Flags::parse()) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(EXIT_FAILED)),
        Err(error) => {
            eprintln!("wanlink: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn dispatch(flags: Flags) -> anyhow::Result<i32> {
    match flags.command {
        Command::Run(flags) => session::run(&flags, &Signals::block()?),
        Command::Up(flags) => session::up(&flags, &Signals::block()?),
        Command::Profiles => {
            for (name, list) in PROFILES {
                println!("{name:10} {list}");
            }
            Ok(0)
        }
        Command::Guard => {
            guard::stand_guard();
            Ok(0)
        }
        Command::Clean => {
            for name in guard::remove_left_names() {
                println!("removed {name}");
            }
            Ok(0)
        }
    }
}
