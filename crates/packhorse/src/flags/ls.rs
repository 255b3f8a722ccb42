//! The flags of `packhorse ls`.

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  packhorse ls ph://KEY@host:7225/          the names in the root
  packhorse ls -lR ph://KEY@host:7225/docs  all below docs, in full
  packhorse ls --json - < address.txt       for programs";

/// List what a server has
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LsFlags {
    /// What to list; `-` reads a line of standard input [default: what PACKHORSE_ADDRESS holds]
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Option<String>,

    /// Show permissions, size and time too
    #[arg(short, long)]
    pub(crate) long: bool,

    /// Enter directories
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,

    /// Print lines of JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Accept and remember whoever answers at an address without a key
    #[arg(long)]
    pub(crate) trust_first_use: bool,
}
