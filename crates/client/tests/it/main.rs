//! Downloads from a server that lies, changes its mind, falls silent and hangs up.
//!
//! [`scripted_server`] follows the protocol until a test's script bends it; [`scene`] runs a
//! download from it and looks at the destination, at what was reported, and at what lies outside.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod bench;
mod changes;
mod connections;
mod cuts;
mod damage;
mod disks;
mod endings;
mod existing;
mod honest;
mod idle;
mod lies;
mod mutation;
mod names;
mod options;
mod plain;
mod reading;
mod refusals;
mod resume;
mod rivals;
mod scene;
mod scripted_server;
mod silence;
mod sizes;
mod talk;
mod tree;
mod wire;
