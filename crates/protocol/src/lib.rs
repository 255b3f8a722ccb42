//! What a Packhorse client and server say to each other.

pub mod address;
pub mod content;
pub mod entry;
pub mod escape;
pub mod filter;
pub mod frame;
pub mod key;
pub mod limits;
pub mod message;
pub mod path;
pub mod plain;
pub mod plain_address;
pub mod proof;
pub mod session;
pub mod tree;
