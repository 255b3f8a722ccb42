//! What may be said when: the two ends of a connection as state machines without I/O.
//!
//! A driver reads frames, whose bodies are bounded by `body_bytes_max`, hands them to
//! `handle_frame`, and sends what the session gives it. Answers come in the order of the requests,
//! so neither carries a number.

mod client;
mod server;

use thiserror::Error;

pub use self::client::{Answer, ClientSession, Content, Fetched, Group, Item, Page};
pub use self::server::{ServerEvent, ServerSession};
use crate::frame::{FrameError, FrameType};

/// How a peer broke the protocol; the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// The frame itself.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message that cannot be read.
    #[error("its {0:?} message is malformed")]
    Malformed(FrameType),
    /// A message that may not be sent now.
    #[error("it sent a {0:?} message where none may come")]
    Unexpected(FrameType),
    /// More unanswered requests, or files in one, than allowed.
    #[error("it has more requests under way than allowed")]
    TooManyRequests,
    /// More trees than allowed, or one opened twice.
    #[error("it opened more trees than allowed, or one twice")]
    TooManyTrees,
    /// A tree that was not opened.
    #[error("it asked for a tree that it had not opened")]
    UnknownTree,
    /// A reversed or too long range, or groups that were not asked for.
    #[error("it used a range of groups that cannot be")]
    Range,
    /// An item of a tree out of order, twice, or where none may be.
    #[error("it sent the items of a tree out of order")]
    TreeOrder,
    /// Patterns that cannot be used.
    #[error("it sent patterns that cannot be used")]
    Patterns,
    /// More was sent than asked for.
    #[error("it sent more than was asked for")]
    Excess,
}

/// How a greeting failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GreetingError {
    /// The server does not admit this client.
    #[error("the server does not admit this client: {}", denial_text(*.0))]
    Denied(crate::message::Denial),
    /// The server could not prove that it has the access token.
    #[error("the server could not prove that it knows the key")]
    ServerProof,
}

fn denial_text(denial: crate::message::Denial) -> &'static str {
    use crate::message::Denial;
    match denial {
        Denial::Version => "it speaks another version of the protocol",
        Denial::Access => "the key is wrong or missing",
        Denial::Busy => "it has as many clients as it takes; try again later",
        Denial::Leaving => "it is about to end",
    }
}
