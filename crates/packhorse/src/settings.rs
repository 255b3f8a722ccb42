//! Flags and environment, resolved once into what the commands work with.

mod bench;
mod get;
mod listen;
mod ls;
mod plain;
mod serve;
mod shell;
mod talk;

pub(crate) use self::bench::BenchSettings;
pub(crate) use self::get::{GetDestination, GetSettings};
pub(crate) use self::listen::ListenSettings;
pub(crate) use self::ls::{LsFormat, LsSettings};
pub(crate) use self::plain::{PlainDestination, PlainFile, PlainGetSettings, PlainShellSettings};
pub(crate) use self::serve::{AccessSettings, ServeSettings};
pub(crate) use self::shell::ShellSettings;
pub(crate) use self::talk::{TalkSettings, TlsSettings};

use crate::address::{Target, Targets, read_all, read_target};
use crate::environment::Environment;
use crate::exit::CommandError;
use crate::flags::{CommandFlags, DemoFlags, Flags, GenerateFlags};

/// What to do, with everything that it needs to know.
#[derive(Debug)]
pub(crate) enum Settings {
    /// `packhorse serve`
    Serve(ServeSettings),
    /// `packhorse get`
    Get(Box<GetSettings>),
    /// `packhorse get plain://…`
    GetPlain(PlainGetSettings),
    /// `packhorse ls`
    Ls(LsSettings),
    /// `packhorse shell`
    Shell(ShellSettings),
    /// `packhorse shell plain://…`
    ShellPlain(PlainShellSettings),
    /// `packhorse listen`
    Listen(ListenSettings),
    /// `packhorse talk`
    Talk(Box<TalkSettings>),
    /// `packhorse bench`
    Bench(Box<BenchSettings>),
    /// `packhorse demo`
    Demo(DemoFlags),
    /// `packhorse generate`
    Generate(GenerateFlags),
}

impl Settings {
    /// Settles what the flags leave open. An address of `-` is read from standard input here.
    ///
    /// # Errors
    /// What makes no sense, and keys that cannot be right.
    pub(crate) fn resolve(flags: Flags, environment: &Environment) -> Result<Self, CommandError> {
        let Flags { command } = flags;
        Ok(match command {
            CommandFlags::Serve(flags) => Self::Serve(ServeSettings::resolve(flags, environment)),
            CommandFlags::Get(flags) => match read_all(&flags.addresses, environment)? {
                Targets::Keyed(addresses) => {
                    let settings = GetSettings::resolve(*flags, addresses, environment)?;
                    Self::Get(Box::new(settings))
                }
                Targets::Plain(addresses) => {
                    Self::GetPlain(PlainGetSettings::resolve(*flags, addresses)?)
                }
            },
            CommandFlags::Ls(flags) => Self::Ls(LsSettings::resolve(flags, environment)?),
            CommandFlags::Shell(flags) => {
                match read_target(flags.address.as_deref(), environment)? {
                    Target::Keyed(address) => {
                        Self::Shell(ShellSettings::resolve(flags, address, environment)?)
                    }
                    Target::Plain(address) => {
                        Self::ShellPlain(PlainShellSettings::resolve(flags, address, environment)?)
                    }
                }
            }
            CommandFlags::Listen(flags) => Self::Listen(ListenSettings::resolve(flags)),
            CommandFlags::Talk(flags) => {
                Self::Talk(Box::new(TalkSettings::resolve(flags, environment)?))
            }
            CommandFlags::Bench(flags) => {
                Self::Bench(Box::new(BenchSettings::resolve(flags, environment)?))
            }
            CommandFlags::Demo(flags) => Self::Demo(flags),
            CommandFlags::Generate(flags) => Self::Generate(flags),
        })
    }
}
