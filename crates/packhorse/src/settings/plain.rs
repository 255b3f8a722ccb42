//! What `get` and `shell` are told where the address is one of the plain mode.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use packhorse_client::plain::SILENCE;
use packhorse_client::settings::DownloadSettings;
use packhorse_protocol::address::HostPort;
use packhorse_protocol::content::ContentHash;
use packhorse_protocol::path::Name;
use packhorse_protocol::plain_address::{PlainAddress, PlainName};
use packhorse_storage::destination::DestinationOptions;

use super::get::{existing, is_output, parse_name};
use super::shell::parse_prefix;
use crate::environment::Environment;
use crate::exit::CommandError;
use crate::flags::{GetFlags, ShellFlags};
use crate::rate::Rate;
use crate::state::State;
use crate::text::{plain as text, usage};
use crate::time_span::TimeSpan;

/// The settings of a `get` in the plain mode.
#[derive(Debug)]
pub(crate) struct PlainGetSettings {
    /// What to fetch, at least one, one after the other.
    pub(crate) files: Vec<PlainFile>,
    /// Where it goes.
    pub(crate) destination: PlainDestination,
    /// The hash that the only file must have.
    pub(crate) expect: Option<ContentHash>,
    /// After how long a silence a file is complete.
    pub(crate) silence: Duration,
    /// How fast it may come.
    pub(crate) rate_limit: Option<Rate>,
    /// Lines of JSON to standard output.
    pub(crate) json: bool,
    /// Lines of JSON to this file.
    pub(crate) report: Option<PathBuf>,
    /// Say only what failed.
    pub(crate) quiet: bool,
}

/// A file to be fetched.
#[derive(Debug)]
pub(crate) struct PlainFile {
    /// From where.
    pub(crate) place: HostPort,
    /// What it is called there.
    pub(crate) name: PlainName,
    /// What it is called here.
    pub(crate) local_name: Name,
}

/// Where files go.
#[derive(Debug)]
pub(crate) enum PlainDestination {
    /// Into a directory; made if missing.
    Directory(PathBuf, DestinationOptions),
    /// A single file to standard output.
    Output,
}

/// The settings of a shell in the plain mode.
#[derive(Debug)]
pub(crate) struct PlainShellSettings {
    /// Where the server is.
    pub(crate) place: HostPort,
    /// What stands before the name of each file that is fetched.
    pub(crate) prefix: Vec<u8>,
    /// The directory to fetch into.
    pub(crate) destination: PathBuf,
    /// After how long a silence a file is complete.
    pub(crate) silence: Duration,
    /// Where what was typed is remembered.
    pub(crate) state: State,
}

impl PlainGetSettings {
    pub(super) fn resolve(
        flags: GetFlags,
        addresses: Vec<PlainAddress>,
    ) -> Result<Self, CommandError> {
        refuse_useless(&flags)?;
        let is_output = is_output(&flags.destination);
        let name = match &flags.name {
            Some(name) if addresses.len() == 1 && !is_output => Some(parse_name(name.as_bytes())?),
            Some(_) if is_output => {
                return Err(CommandError::usage(usage::useless_for_output("--as")));
            }
            Some(_) => return Err(CommandError::usage(usage::for_single_address("--as"))),
            None => None,
        };
        if is_output && addresses.len() > 1 {
            return Err(CommandError::usage(usage::one_file_to_output()));
        }
        if flags.expect.is_some() && addresses.len() > 1 {
            return Err(CommandError::usage(usage::for_single_address("--expect")));
        }
        let file = |address| PlainFile::new(address, name.clone(), is_output);
        let files = addresses.into_iter().map(file).collect::<Result<_, _>>()?;
        let destination = if is_output {
            PlainDestination::Output
        } else {
            let options = DestinationOptions {
                existing: existing(flags.overwrite, flags.keep_both),
                durable: flags.durable,
                ..DestinationOptions::default()
            };
            PlainDestination::Directory(flags.destination, options)
        };
        Ok(Self {
            files,
            destination,
            expect: flags.expect,
            silence: silence(flags.silence),
            rate_limit: flags.rate_limit,
            json: flags.json,
            report: flags.report,
            quiet: flags.quiet,
        })
    }
}

impl PlainFile {
    fn new(
        address: PlainAddress,
        local_name: Option<Name>,
        is_output: bool,
    ) -> Result<Self, CommandError> {
        let shown = address.to_string();
        let PlainAddress { place, name } = address;
        let Some(name) = name else {
            return Err(CommandError::usage(text::single_files_only(&shown)));
        };
        let local_name = match (local_name, name.local_name()) {
            (Some(name), _) | (None, Ok(name)) => name,
            // It has no name on standard output.
            (None, Err(_)) if is_output => Name::parse(b"-").expect("a dash is a name"),
            (None, Err(error)) => {
                let message = text::no_such_name_here(&shown, &error.into());
                return Err(CommandError::usage(message));
            }
        };
        Ok(Self {
            place,
            name,
            local_name,
        })
    }
}

impl PlainShellSettings {
    pub(super) fn resolve(
        flags: ShellFlags,
        address: PlainAddress,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let ShellFlags {
            address: _,
            prefix,
            destination,
            silence: time,
            trust_first_use,
        } = flags;
        if trust_first_use {
            return Err(useless("--trust-first-use"));
        }
        if let Some(name) = &address.name {
            let message = text::shell_begins_at_server(&address, name);
            return Err(CommandError::usage(message));
        }
        Ok(Self {
            place: address.place,
            prefix: parse_prefix(prefix)?,
            destination,
            silence: silence(time),
            state: State::new(environment.state_directory.clone()),
        })
    }
}

fn silence(time: Option<TimeSpan>) -> Duration {
    let time = time.map_or(SILENCE, TimeSpan::duration);
    // With none at all every file would be empty.
    time.max(Duration::from_millis(1))
}

/// Refuses flags that ask for what the plain mode does not have.
fn refuse_useless(flags: &GetFlags) -> Result<(), CommandError> {
    let usual = DownloadSettings::default();
    let given = [
        ("--checksum", flags.checksum),
        ("--connections", flags.connections.is_some()),
        ("--follow-links", flags.follow_links),
        ("--unsafe-links", flags.unsafe_links),
        ("--xattrs", flags.xattrs),
        ("--hard-links", flags.hard_links),
        ("--include", !flags.include.is_empty()),
        ("--exclude", !flags.exclude.is_empty()),
        ("--exclude-from", !flags.exclude_from.is_empty()),
        ("--retry-for", flags.retry_for.duration() != usual.retry_for),
        ("--trust-first-use", flags.trust_first_use),
        ("--dry-run", flags.dry_run),
    ];
    let given_for_output = [
        // It would be written out before its hash is known.
        ("--expect", flags.expect.is_some()),
        ("--overwrite", flags.overwrite),
        ("--keep-both", flags.keep_both),
        ("--durable", flags.durable),
        ("--json", flags.json),
        ("--report", flags.report.is_some()),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, is_given)| *is_given) {
        return Err(useless(flag));
    }
    let flag = given_for_output.iter().find(|(_, is_given)| *is_given);
    match flag.filter(|_| is_output(&flags.destination)) {
        Some((flag, _)) => Err(CommandError::usage(usage::useless_for_output(flag))),
        None => Ok(()),
    }
}

fn useless(flag: &str) -> CommandError {
    CommandError::usage(text::useless(flag))
}
