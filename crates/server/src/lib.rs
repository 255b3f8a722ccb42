//! The Packhorse server: limits, access and the driver of the server session.
//!
//! A [`Server`] takes connections from any [`Accept`](packhorse_transport::accept::Accept), reads
//! from any [`Source`](packhorse_storage::source::Source), and never lets one client's silence or
//! greed become another's wait.

mod answer;
mod clients;
mod connection;
mod groups;
mod http;
pub mod limits;
pub mod listen;
mod measuring;
mod pages;
mod pages_ahead;
mod plain;
mod queue;
mod seen_off;
mod sending;
mod serve;

pub use self::limits::Limits;
pub use self::serve::{Server, ServerSettings, Stop, Watch};
