//! TCP without I/O: segments, data and the time go in; segments, deadlines and data come out.
//!
//! A [`Connection`] does nothing by itself: it has no clock, no socket and no thread.
//! Whoever drives it hands in what arrives and what the time is, and **drains** it after
//! each call, in this order:
//!
//! 1. [`Connection::poll_transmit`] until it gives `None`: packets to send,
//! 2. [`Connection::poll_event`] until it gives `None`: what the user should know,
//! 3. wait for a packet, the user, or the time that [`Connection::poll_timeout`] names;
//!    then [`Connection::handle_segment`], a call of the user's, or
//!    [`Connection::handle_timeout`].
//!
//! `now` is when a packet arrived, not when its turn came: round trips are measured by it.
//! Several packets may be handed in before a drain; to a peer without SACK it is better to
//! drain after each, so that it counts every acknowledgement.
//!
//! ```
//! use packhorse_tcp::{Config, Connection, Instant, IsnGenerator, Packet, Read};
//!
//! let (config, isns) = (Config::default(), IsnGenerator::new([7; 16]));
//! let (here, there) = ("192.0.2.1:4000".parse()?, "192.0.2.2:80".parse()?);
//! let now = Instant::from_millis(0);
//! let isn = isns.generate(here, there, now);
//! let mut client = Connection::connect(&config, here, there, isn, now);
//! let syn: Packet = client.poll_transmit(now, 1).into_iter().flat_map(|sent| sent.packets()).next().ok_or("no SYN")?;
//! let isn = isns.generate(there, here, now);
//! let mut server = Connection::accept(&config, &syn, isn, now).ok_or("not a SYN")?;
//! client.write(now, "hello".into());
//! for _ in 0..3 {
//!     while let Some(sent) = server.poll_transmit(now, 1) {
//!         sent.packets().for_each(|packet| client.handle_segment(now, packet.segment));
//!     }
//!     while let Some(sent) = client.poll_transmit(now, 1) {
//!         sent.packets().for_each(|packet| server.handle_segment(now, packet.segment));
//!     }
//! }
//! assert_eq!(server.read(now, usize::MAX), Read::Data("hello".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An [`Endpoint`] holds many connections and the listeners that they come to. It is drained in
//! the same way, and looks only at connections to which something happened.
//!
//! What is done of which RFC, and where we differ, is in `CONFORMANCE.md` beside this crate.
#![no_std]

extern crate alloc;

mod addresses;
mod challenge_ack;
mod config;
pub mod congestion;
mod connection;
mod deadline;
mod delivery_rate;
mod endpoint;
mod event;
mod event_queue;
mod handshake;
mod isn;
mod keep_alive;
mod pacing;
mod prr;
mod rack;
mod range_set;
mod receiver;
mod rto;
mod rtt;
mod scoreboard;
mod send_buffer;
mod send_window;
mod sender;
mod seq;
mod spurious;
mod state;
mod stats;
mod stranger;
mod tail_loss;
mod time;
mod timestamps;
mod transmit;
mod user_timeout;
mod window_probe;
pub mod wire;

pub use addresses::is_unicast;
pub use config::{Config, KeepAlive, RtoBounds, UserTimeout};
pub use connection::{Connection, Read};
pub use deadline::{Deadline, Reason};
pub use endpoint::{
    ConnectionId, Endpoint, EndpointConfig, EndpointEvent, EndpointStats, ListenAt, ListenerId,
    OpenError,
};
pub use event::{Event, Failure};
pub use isn::IsnGenerator;
pub use seq::SeqNumber;
pub use state::State;
pub use stats::{Counters, Stats};
pub use stranger::answer_stranger;
pub use time::Instant;
pub use transmit::Transmit;
pub use wire::{
    Ecn, Flags, Options, Packet, ParseError, SackBlock, SackBlocks, Segment, Timestamps,
};
