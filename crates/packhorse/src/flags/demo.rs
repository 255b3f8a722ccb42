//! The flags of `packhorse demo`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  packhorse demo
  packhorse demo --directory /mnt/disk    on that disk; needs 150 MB";

/// Serve a sample tree to several clients, kill one, resume it, and verify it all
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoFlags {
    /// Where to make a temporary directory for it [default: the system's place for such]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}
