//! The flags of `packhorse serve`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use packhorse_server::Limits;

use crate::listen_place::ListenPlace;
use crate::rate::Rate;
use crate::text::{Text, usage};
use crate::time_span::TimeSpan;

const EXAMPLES: &str = "\
Examples:
  packhorse serve                          this directory, with a fresh key
  packhorse serve a.iso b.iso              two files and nothing else
  packhorse serve --key-file ~/.key data   the same address at every start
  packhorse serve --once --listen 192.168.1.5:7000 report.pdf

The address with the key goes to standard output, and nowhere else.
SIGTERM or Ctrl-C once lets running transfers end, twice ends at once.";

/// Serve a directory or some files, read-only, with a key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeFlags {
    /// A directory, or files and directories under their own names [default: this directory]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Where to listen; port 0 takes a free one [default: all addresses, port 7225]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<ListenPlace>,

    /// Give read access to anyone, without a key
    #[arg(long, conflicts_with = "key_file")]
    pub(crate) open: bool,

    /// Keep the secret part of the key in FILE, made if missing, so that addresses stay valid
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// Keep this server's identity in FILE, made if missing [default: in the state directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,

    /// End after one complete transfer
    #[arg(long)]
    pub(crate) once: bool,

    /// Send at most this many bytes a second to all clients together, as in 500k, 10M or 1.5G
    #[arg(long, value_name = "RATE")]
    pub(crate) rate_limit: Option<Rate>,

    /// Have the kernel control congestion in this way, such as bbr [default: the system's]
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion: Option<String>,

    /// How long running transfers may go on once the server is told to end
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) grace: TimeSpan,

    /// How standard error is written: text for people, json for programs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    #[arg(hide_possible_values = true)]
    pub(crate) log_format: LogFormat,

    /// Show this certificate (PEM, its chain behind it) to browsers instead of this server's own
    #[arg(long, value_name = "FILE", requires = "cert_key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of --cert (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) cert_key: Option<PathBuf>,

    /// Also answer browsers and `curl` without TLS, on the same port
    #[arg(long)]
    pub(crate) http: bool,

    /// Also send any file to anyone who sends its name in clear text, as `nc` does; see the README
    #[arg(long)]
    pub(crate) plain: bool,

    /// Print the URL for browsers as a QR code too
    #[arg(long)]
    pub(crate) qr: bool,

    /// Clients at once; further ones are told to try again later
    #[arg(long, value_name = "N", help_heading = "Limits")]
    #[arg(default_value_t = Limits::default().clients_max, value_parser = count)]
    pub(crate) max_clients: usize,

    /// Connections at once that have not shown a key yet; one more, and the oldest goes
    #[arg(long, value_name = "N", help_heading = "Limits")]
    #[arg(default_value_t = Limits::default().unproven_max, value_parser = count)]
    pub(crate) max_unproven: usize,

    /// How long a connection may take to show its key
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    #[arg(default_value_t = Limits::default().greeting_time.into())]
    pub(crate) greeting_timeout: TimeSpan,

    /// How long a client may stay without asking for anything
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    #[arg(default_value_t = Limits::default().idle_time.into())]
    pub(crate) idle_timeout: TimeSpan,

    /// How long a client may take nothing of what it asked for
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    #[arg(default_value_t = Limits::default().stall_time.into())]
    pub(crate) stall_timeout: TimeSpan,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

fn count(text: &str) -> Result<usize, Text> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(usage::not_from_to(1, 1_000_000)),
    }
}
