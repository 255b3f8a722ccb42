//! The TCP crate in worlds and scripts, and the product on it.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod codec;
mod crowds;
mod fuzz;
mod goodput;
#[cfg(target_os = "linux")]
mod packetdrill;
mod path;
#[cfg(target_os = "linux")]
mod product;
mod response;
mod right_sizing;
mod scripts;
mod traces;
mod worlds;
