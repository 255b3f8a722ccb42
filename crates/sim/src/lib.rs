//! A deterministic world for the tests of Packhorse's TCP.
//!
//! Time is virtual, every choice comes from one seed, and the same seed gives the same world, to
//! the last bit of the last packet. Never part of the product.

pub mod application;
pub mod crowd;
pub mod fuzz;
pub mod goodput;
pub mod link;
pub mod monitor;
pub mod pcapng;
pub mod random;
pub mod report;
pub mod scenario;
pub mod script;
pub mod stream;
pub mod tcp_host;
pub mod time_sequence;
pub mod trace;
pub mod wire;
pub mod world;

pub use packhorse_tcp::Instant;
