//! What `packhorse get` is told.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use packhorse_client::settings::DownloadSettings;
use packhorse_protocol::address::Address;
use packhorse_protocol::content::ContentHash;
use packhorse_protocol::filter::{Filter, Patterns};
use packhorse_protocol::message::{EntryOptions, LinkMode};
use packhorse_protocol::path::Name;
use packhorse_storage::destination::{DestinationOptions, Existing};

use crate::environment::Environment;
use crate::exit::{CommandError, Exit, OrExit};
use crate::flags::GetFlags;
use crate::rate::Rate;
use crate::text::{files, plain, usage};
use crate::time_span::TimeSpan;
use crate::trust::TrustSettings;

/// The settings of a `get`.
#[derive(Debug)]
pub(crate) struct GetSettings {
    /// What to fetch, at least one, one after the other.
    pub(crate) addresses: Vec<Address>,
    /// Who the servers must be.
    pub(crate) trust: TrustSettings,
    /// Where it goes.
    pub(crate) destination: GetDestination,
    /// Lines of JSON to standard output.
    pub(crate) json: bool,
    /// Lines of JSON to this file.
    pub(crate) report: Option<PathBuf>,
    /// Say only what failed.
    pub(crate) quiet: bool,
}

/// Where what is fetched goes.
#[derive(Debug)]
pub(crate) enum GetDestination {
    /// Into a directory.
    Directory {
        /// The directory; made if missing.
        path: PathBuf,
        /// How it treats what is there.
        options: DestinationOptions,
        /// How to fetch; its path is each address's own. Boxed, for it is large.
        download: Box<DownloadSettings>,
    },
    /// A single file to standard output.
    Output {
        /// The hash that it must have.
        expect: Option<ContentHash>,
        /// How fast it may come.
        rate_limit: Option<Rate>,
        /// How long to dial again without progress.
        retry_for: Duration,
    },
}

impl GetSettings {
    pub(super) fn resolve(
        flags: GetFlags,
        addresses: Vec<Address>,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        check_output(&flags)?;
        let GetFlags {
            addresses: _,
            destination,
            name,
            overwrite,
            keep_both,
            checksum,
            expect,
            connections,
            rate_limit,
            durable,
            follow_links,
            unsafe_links,
            xattrs,
            hard_links,
            include,
            exclude,
            exclude_from,
            retry_for,
            silence,
            trust_first_use,
            dry_run,
            json,
            report,
            quiet,
        } = flags;
        refuse_silence(silence)?;
        check_single(&addresses, name.is_some() || expect.is_some())?;
        let destination = if is_output(&destination) {
            GetDestination::Output {
                expect,
                rate_limit,
                retry_for: retry_for.duration(),
            }
        } else {
            let download = DownloadSettings {
                name: name.map(|name| parse_name(name.as_bytes())).transpose()?,
                options: EntryOptions {
                    links: link_mode(follow_links, unsafe_links),
                    xattrs,
                    hard_links,
                },
                patterns: patterns(include, exclude, &exclude_from)?,
                checksum,
                expect,
                connections,
                retry_for: retry_for.duration(),
                rate_limit: rate_limit.map(Rate::bytes_per_second),
                dry_run,
                ..DownloadSettings::default()
            };
            let existing = existing(overwrite, keep_both);
            GetDestination::Directory {
                path: destination,
                options: DestinationOptions {
                    existing,
                    durable,
                    xattrs,
                    unsafe_links,
                },
                download: Box::new(download),
            }
        };
        Ok(Self {
            trust: TrustSettings::resolve(&addresses, trust_first_use, environment)?,
            addresses,
            destination,
            json,
            report,
            quiet,
        })
    }
}

/// What becomes of a file that is here.
pub(super) fn existing(overwrite: bool, keep_both: bool) -> Existing {
    match (overwrite, keep_both) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::KeepBoth,
        _ => Existing::Refuse,
    }
}

/// Refuses several addresses where something was given that only one file can have.
fn check_single(addresses: &[Address], is_for_one: bool) -> Result<(), CommandError> {
    if addresses.len() > 1 && is_for_one {
        let message = usage::for_single_address("--as, --expect");
        return Err(CommandError::usage(message));
    }
    Ok(())
}

/// Only the plain mode has to guess where a file ends.
pub(super) fn refuse_silence(silence: Option<TimeSpan>) -> Result<(), CommandError> {
    match silence {
        None => Ok(()),
        Some(_) => Err(CommandError::usage(plain::silence_is_for_plain())),
    }
}

/// The name that `--as` or `--prefix` make.
pub(super) fn parse_name(bytes: &[u8]) -> Result<Name, CommandError> {
    Name::parse(bytes).map_err(|error| CommandError::usage(usage::not_a_file_name(&error.into())))
}

/// What becomes of links: what is behind one is sent, wherever it may lead otherwise.
fn link_mode(follow: bool, keep_all: bool) -> LinkMode {
    match (follow, keep_all) {
        (true, _) => LinkMode::Follow,
        (false, true) => LinkMode::KeepAll,
        (false, false) => LinkMode::Keep,
    }
}

/// Standard output takes the content of one file, and nothing that is said of a file or of many.
fn check_output(flags: &GetFlags) -> Result<(), CommandError> {
    if !is_output(&flags.destination) {
        return Ok(());
    }
    let useless = [
        ("--as", flags.name.is_some()),
        ("--overwrite", flags.overwrite),
        ("--keep-both", flags.keep_both),
        ("--checksum", flags.checksum),
        ("--durable", flags.durable),
        ("--unsafe-links", flags.unsafe_links),
        ("--xattrs", flags.xattrs),
        ("--hard-links", flags.hard_links),
        ("--include", !flags.include.is_empty()),
        ("--exclude", !flags.exclude.is_empty()),
        ("--exclude-from", !flags.exclude_from.is_empty()),
        ("--dry-run", flags.dry_run),
        ("--json", flags.json),
    ];
    match useless.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(CommandError::usage(usage::useless_for_output(flag))),
        None => Ok(()),
    }
}

pub(super) fn is_output(destination: &Path) -> bool {
    destination.as_os_str() == "-"
}

fn patterns(
    include: Vec<String>,
    mut exclude: Vec<String>,
    exclude_from: &[PathBuf],
) -> Result<Patterns, CommandError> {
    for path in exclude_from {
        let text = fs::read_to_string(path)
            .or_exit(Exit::LocalIo, || files::cannot_read(path.display()))?;
        let lines = text.lines().map(str::trim_end);
        let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        exclude.extend(patterns.map(str::to_owned));
    }
    let patterns = Patterns { include, exclude };
    Filter::new(&patterns).map_err(CommandError::usage)?;
    Ok(patterns)
}
