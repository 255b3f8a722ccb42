//! One table for each thing that a stream must withstand, over pipes in memory with a clock that
//! runs ahead when everyone waits, and over loopback.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod damage;
#[cfg(target_os = "linux")]
mod differential;
#[cfg(target_os = "linux")]
mod examples;
mod handshake;
mod kernel;
mod opened;
mod parties;
mod stack;
#[cfg(target_os = "linux")]
mod tun;
