//! A TCP without I/O: segments, data and the time go in; segments, deadlines and data come out.
#![no_std]
#![allow(dead_code, reason = "the connection that uses these comes next")]

extern crate alloc;

mod config;
pub mod congestion;
mod deadline;
mod event;
mod isn;
mod seq;
mod state;
mod stats;
mod stranger;
mod time;
pub mod wire;

pub use config::{Config, KeepAlive, RtoBounds, UserTimeout};
pub use deadline::{Deadline, Reason};
pub use event::{Event, Failure};
pub use isn::IsnGenerator;
pub use seq::SeqNumber;
pub use state::State;
pub use stats::Stats;
pub use stranger::answer_stranger;
pub use time::Instant;
pub use wire::{
    Ecn, Flags, Options, Packet, ParseError, SackBlock, SackBlocks, Segment, Timestamps,
};
