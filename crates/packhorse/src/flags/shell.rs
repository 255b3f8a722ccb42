//! The flags of `packhorse shell`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::time_span::TimeSpan;

const EXAMPLES: &str = "\
Examples:
  packhorse shell ph://KEY@host:7225/
  packhorse shell ph://KEY@host:7225/ --prefix new     a.txt becomes newa.txt
  packhorse shell plain://host:7225                    plain: not verified
  printf 'a.txt\\nb.txt\\n' | packhorse shell ph://KEY@host:7225/ -o /tmp

Type a file name to fetch it, `help` for all commands, an empty line to end.";

/// Ask for a file name, fetch it, ask for the next
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShellFlags {
    /// Where to begin; `-` reads a line of standard input [default: what PACKHORSE_ADDRESS holds]
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Option<String>,

    /// Put TEXT before the name of each file that is fetched
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) prefix: OsString,

    /// The directory to fetch into, made if missing
    #[arg(short = 'o', long = "output", value_name = "DEST", default_value = ".")]
    pub(crate) destination: PathBuf,

    /// plain:// only: how long the server must be silent for a file to be complete [default: 2s]
    #[arg(long, value_name = "TIME")]
    pub(crate) silence: Option<TimeSpan>,

    /// Accept and remember whoever answers at an address without a key
    #[arg(long)]
    pub(crate) trust_first_use: bool,
}
