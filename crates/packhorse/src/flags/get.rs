//! The flags of `packhorse get`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use packhorse_client::settings::DownloadSettings;
use packhorse_protocol::content::ContentHash;

use crate::rate::Rate;
use crate::text::{Text, usage};
use crate::time_span::TimeSpan;

const EXAMPLES: &str = "\
Examples:
  packhorse get ph://KEY@host:7225/                 all of it, into here
  packhorse get ph://KEY@host:7225/a.iso -o /tmp    one file, into /tmp
  packhorse get ph://KEY@host:7225/docs --exclude '*.tmp' --overwrite
  packhorse get ph://KEY@host:7225/a.tar -o - | tar x
  packhorse get - < address.txt                     the key is not seen in `ps`
  packhorse get plain://host:7225/a.txt             plain mode: not verified

How far it is shows on a terminal only. On a pipe come what fails and a last line; --json says how
far it is once a second.

The same command again fetches what is missing and nothing else.";

/// Fetch files and whole trees
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetFlags {
    /// What to fetch; `-` reads a line of standard input [default: what PACKHORSE_ADDRESS holds]
    #[arg(value_name = "ADDRESS", hide_default_value = true)]
    pub(crate) addresses: Vec<String>,

    /// The directory to fetch into, made if missing; `-` writes a single file to standard output
    #[arg(short = 'o', long = "output", value_name = "DEST", default_value = ".")]
    pub(crate) destination: PathBuf,

    /// The name that a single file gets here
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<OsString>,

    /// Replace files that are here and differ; only what differs in them is fetched
    #[arg(long, conflicts_with = "keep_both")]
    pub(crate) overwrite: bool,

    /// Give what differs from a file here another name
    #[arg(long)]
    pub(crate) keep_both: bool,

    /// Compare files that are here by content, not by size and time
    #[arg(long)]
    pub(crate) checksum: bool,

    /// Accept a single file only with this BLAKE3 hash, as `b3sum` prints it
    #[arg(long, value_name = "HASH")]
    pub(crate) expect: Option<ContentHash>,

    /// Connections at once [default: 3, and up to 16 with a distant server that sends more by it]
    #[arg(long, value_name = "N", value_parser = connections)]
    pub(crate) connections: Option<usize>,

    /// Take at most this many bytes a second, as in 500k, 10M or 1.5G
    #[arg(long, value_name = "RATE")]
    pub(crate) rate_limit: Option<Rate>,

    /// Report success only when everything would survive a power cut
    #[arg(long)]
    pub(crate) durable: bool,

    /// Fetch what links point to in place of the links
    #[arg(long)]
    pub(crate) follow_links: bool,

    /// Keep also links that leave the tree
    #[arg(long)]
    pub(crate) unsafe_links: bool,

    /// Fetch extended attributes too
    #[arg(long)]
    pub(crate) xattrs: bool,

    /// Keep several names of one file what they are
    #[arg(long)]
    pub(crate) hard_links: bool,

    /// Fetch only files that match; may be given again
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,

    /// Never fetch what matches, nor what lies in it; may be given again
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,

    /// Exclude every pattern in FILE, one a line; `#` begins a comment
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,

    /// How long to dial again without progress when the connection is lost
    #[arg(long, value_name = "TIME", default_value_t = DownloadSettings::default().retry_for.into())]
    pub(crate) retry_for: TimeSpan,

    /// plain:// only: how long the server must be silent for a file to be complete [default: 2s]
    #[arg(long, value_name = "TIME")]
    pub(crate) silence: Option<TimeSpan>,

    /// Accept and remember whoever answers at an address without a key
    #[arg(long)]
    pub(crate) trust_first_use: bool,

    /// Write nothing; print what would be fetched
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print what happens as lines of JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write what happens as lines of JSON to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Say only what failed
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// How many connections may be asked for.
pub(super) fn connections(text: &str) -> Result<usize, Text> {
    match text.parse() {
        Ok(count @ 1..=64) => Ok(count),
        _ => Err(usage::not_from_to(1, 64)),
    }
}
