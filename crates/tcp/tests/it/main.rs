//! What two connections do over a path, and what one does with what a peer sends it.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod behaviours;
mod cost;
mod endpoint;
mod forged;
mod growth;
mod hostile;
mod lab;
mod opening;
mod pair;
mod sending;
mod time_wait;
mod transfer;
