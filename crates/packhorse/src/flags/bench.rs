//! The flags of `packhorse bench`.

use std::path::PathBuf;

use clap::Args;

use super::get::connections;
use crate::text::{Text, usage};
use crate::time_span::TimeSpan;

const EXAMPLES: &str = "\
Examples:
  packhorse bench ph://KEY@host:7225/              all of it, and this disk
  packhorse bench ph://KEY@host:7225/big.iso       reading that very file
  packhorse bench ph://KEY@host:7225/ -o /mnt/disk --time 10s
  packhorse bench ph://KEY@host:7225/ --connections 1

Each part of a download is measured alone: the path, with what is on no disk; the server's disk, by
having files there read and hashed, those in its memory too; the disk here, by writing to it what is
gone at the end; and on each side hashing and encryption. The slowest of them is the bottleneck of
large files. Many small files can be slower than all of this.";

/// Measure the path, the disks and the processors apart, and say which is the bottleneck
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchFlags {
    /// What the server is to read; `-` reads a line of standard input [default: what
    /// PACKHORSE_ADDRESS holds]
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Option<String>,

    /// A directory on the disk to write to; nothing stays there
    #[arg(short = 'o', long = "output", value_name = "DEST", default_value = ".")]
    pub(crate) destination: PathBuf,

    /// How long to measure the path, and each of the disks
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub(crate) time: TimeSpan,

    /// Connections at once [default: as `get` has them]
    #[arg(long, value_name = "N", value_parser = connections)]
    pub(crate) connections: Option<usize>,

    /// Print what happens as lines of JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Accept and remember whoever answers at an address without a key
    #[arg(long)]
    pub(crate) trust_first_use: bool,
}

/// Less tells nothing of a path, and more nothing new.
fn time(text: &str) -> Result<TimeSpan, Text> {
    let span: TimeSpan = text.parse()?;
    match span.duration().as_secs() {
        1..=3600 => Ok(span),
        _ => Err(usage::not_a_time_from_to("1s", "1h")),
    }
}
