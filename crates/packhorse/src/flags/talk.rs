//! The flags of `packhorse talk`.

use clap::Args;

use crate::listen_place::ListenPlace;
use crate::time_span::TimeSpan;

const EXAMPLES: &str = "\
Examples:
  packhorse talk 192.168.1.5:9000            send what is typed
  echo hello | packhorse talk host:9000 --timeout 2s
  packhorse talk host:9000 --hex < request.bin
  packhorse talk --tls host:443 --trust-first-use

It ends when the other side does. Behind the end of its input it closes its own side and waits for
the rest. On a terminal, what is not plain text is escaped; into a pipe it goes as it is.";

/// Talk to whoever listens at a place, over plain TCP or TLS
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TalkFlags {
    /// Whom to dial; with --tls also an address ph://KEY@HOST:PORT/, for the key in it
    #[arg(value_name = "HOST:PORT")]
    pub(crate) place: String,

    /// The address and port of this machine to dial from
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bind: Option<ListenPlace>,

    /// Speak TLS 1.3, with whoever has the key that is in the address or was accepted before
    #[arg(long)]
    pub(crate) tls: bool,

    /// Give up dialling after TIME, and end once nothing has come or gone for TIME
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<TimeSpan>,

    /// Print what comes as hexadecimal numbers
    #[arg(long)]
    pub(crate) hex: bool,

    /// With --tls: accept and remember whoever answers
    #[arg(long, requires = "tls")]
    pub(crate) trust_first_use: bool,
}
