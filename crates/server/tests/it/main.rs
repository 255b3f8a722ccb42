//! A server and the clients that it has to live with: silent, greedy, slow, lying, and honest ones
//! among them, over pipes in memory.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod client;
mod crowd;
mod disk;
mod gate;
mod greeting;
mod leaving;
mod listen;
mod measuring;
mod patience;
mod plain;
mod requests;
mod served;
