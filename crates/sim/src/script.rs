//! Scripts that play a peer, in virtual time: a small dialect of packetdrill's language.
//!
//! `PKT.md` beside this crate's manifest says how a script is written.

mod library;
mod parse;
mod run;
mod settings;
mod stack;

use std::time::Duration;

use crate::wire::{Flags, TcpOption};

pub use library::Library;
pub use parse::ParseError;
pub use run::{Failure, Variant};
pub use stack::Stack;

/// A script, read and checked.
#[derive(Debug, Clone)]
pub struct Script {
    /// What `set` lines ask for, in their order.
    pub settings: Vec<Setting>,
    /// What happens and what is expected, in the order of time.
    pub steps: Vec<Step>,
}

/// A line `set NAME VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its line, counted from 1.
    pub line: usize,
    /// What is set.
    pub name: String,
    /// To what.
    pub value: String,
}

/// One thing that happens or is expected.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its line, counted from 1; 0 if it comes from an included script.
    pub line: usize,
    /// As it is written.
    pub text: String,
    /// When.
    pub when: When,
    /// What.
    pub action: Action,
}

/// When a step takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long after the script began.
    At(Duration),
    /// So long after the step before.
    After(Duration),
    /// Between these spans after the step before.
    Between(Duration, Duration),
    /// At any time; the next steps count from when it really was.
    Whenever,
}

/// What a step does or expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `<`: the peer sends a segment.
    Inject(Pattern),
    /// `>`: the stack sends a segment.
    Expect(Pattern),
    /// `connect()`: the stack begins an active open.
    Connect,
    /// `listen()`: the stack takes one connection, for the first SYN that comes.
    Listen,
    /// `write(N)`, or `write(N) = M` where only M bytes are taken.
    Write(usize, usize),
    /// `read(N) = …`.
    Read(usize, ReadResult),
    /// `shutdown()`: no more data from us.
    Shutdown,
    /// `abort()`: the connection is given up.
    Abort,
    /// `state NAME`.
    State(String),
    /// `event NAME`: it has come since the last such step, in this order.
    Event(String),
    /// `quiet`: nothing is sent until then.
    Quiet,
}

/// What `read` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResult {
    /// So many bytes.
    Bytes(usize),
    /// The end of the stream.
    End,
    /// Nothing yet.
    Blocked,
    /// An error: the connection was reset, refused or timed out.
    Failed,
}

/// A segment, with sequence numbers relative to those of the SYNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Exactly these.
    pub flags: Flags,
    /// Of the sender.
    pub seq: i64,
    /// Bytes of data.
    pub length: usize,
    /// Of the receiver; `None` if the flag is not set, or for any in an expected RST.
    pub ack: Option<i64>,
    /// As on the wire; `None` for any.
    pub window: Option<u16>,
    /// The urgent pointer; `None` for any, or 0.
    pub urgent: Option<u16>,
    /// `None` for any.
    pub options: Option<Vec<OptionPattern>>,
    /// The sender's numbers are as on the wire.
    pub is_raw: bool,
    /// Injected with a wrong sum over the segment.
    pub has_bad_checksum: bool,
}

/// An option of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionPattern {
    /// One whose numbers are absolute.
    Plain(TcpOption),
    /// Blocks relative to the SYN of the side that they tell about.
    Sack(Vec<(i64, i64)>),
    /// Relative to the first value that the stack sends; `None` for any.
    Timestamps(Option<i64>, Option<i64>),
}
