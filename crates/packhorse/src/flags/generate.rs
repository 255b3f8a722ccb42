//! The flags of `packhorse generate`, which packages are made with.

use std::path::PathBuf;

use clap::Args;

/// Write the man pages and the completions for bash, zsh and fish
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct GenerateFlags {
    /// Where to: into `man` and `completions` there
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
