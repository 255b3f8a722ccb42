//! Storage against the machine's own file system.
// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod destination;
mod read;
mod resolver;
mod source;
mod trees;
mod walk;
mod walk_model;
mod write_trial;
mod writing;
