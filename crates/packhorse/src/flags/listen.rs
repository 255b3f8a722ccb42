//! The flags of `packhorse listen`.

use std::ffi::OsString;
use std::str::FromStr;

use clap::Args;

use crate::listen_place::ListenPlace;
use crate::text::{Text, usage};

const EXAMPLES: &str = "\
Examples:
  packhorse listen                       on port 7225; answer by typing
  packhorse listen :9000 --echo          send back what comes
  packhorse listen :9000 --reply ok --once
  packhorse listen :9000 --exec 'tr a-z A-Z'

Without --reply, --echo or --exec, what is typed goes to the newest peer, `@2 text` to the second,
`@all text` to all. A line is a message; so is what comes without a line end, after 200 ms.
COMMAND is started anew for each message, so very many of them take their time.
Standard output holds what peers do and say, a line each; what is not plain text in it is escaped.
Nothing is encrypted, and anyone may connect.";

/// Print the messages of whoever connects, over plain TCP, and answer them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListenFlags {
    /// Where to listen, also a port alone; port 0 takes a free one [default: all addresses, port
    /// 7225]
    #[arg(value_name = "HOST:PORT", value_parser = place)]
    pub(crate) place: Option<ListenPlace>,

    /// Answer each message with TEXT, and with the line end that the message had
    #[arg(long, value_name = "TEXT", group = "answer")]
    pub(crate) reply: Option<OsString>,

    /// Answer each message with itself
    #[arg(long, group = "answer")]
    pub(crate) echo: bool,

    /// Answer each message with what COMMAND prints, a command of the shell that has it as its input
    #[arg(long, value_name = "COMMAND", group = "answer")]
    pub(crate) exec: Option<String>,

    /// Take one message from each peer, answer it, and close the connection
    #[arg(long)]
    pub(crate) once: bool,

    /// Let in N peers and no more, and end when they have left
    #[arg(long, value_name = "N", value_parser = at_least_one::<u64>)]
    pub(crate) peers: Option<u64>,

    /// Connections that may wait to be accepted
    #[arg(long, value_name = "N", default_value_t = 128)]
    #[arg(value_parser = at_least_one::<i32>)]
    pub(crate) backlog: i32,
}

fn place(text: &str) -> Result<ListenPlace, Text> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!(":{text}").parse(),
        false => text.parse(),
    }
}

fn at_least_one<N: FromStr + PartialOrd + Default>(text: &str) -> Result<N, Text> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number > N::default());
    number.ok_or_else(|| usage::not_from(1))
}
