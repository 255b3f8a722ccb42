//! A deterministic world for the tests of Packhorse's TCP.
//!
//! Time is virtual, every choice comes from one seed, and the same seed gives the same world, to
//! the last bit of the last packet. Never part of the product.

mod clock;
pub mod link;
pub mod pcapng;
pub mod random;
pub mod trace;
pub mod world;

pub use clock::Instant;
