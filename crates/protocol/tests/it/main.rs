//! The protocol crate against the document, and against a server that means harm.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod frames;
mod session;
mod vectors;
