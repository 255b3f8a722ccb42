//! The seam through which a client reaches its server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use packhorse_protocol::address::HostPort;
use packhorse_protocol::key::Pin;
use thiserror::Error;

use crate::stream::{Native, Stream};

/// A way to one server, to be walked as often as needed.
pub trait Dial: Send + Sync + 'static {
    /// What a dial gives.
    type Stream: Stream;

    /// Opens one more stream to the server, bounded in time.
    ///
    /// # Errors
    /// [`DialError`]; nothing is left open.
    fn dial(&self) -> impl Future<Output = Result<Dialled<Self::Stream>, DialError>> + Send;
}

/// A way to whoever listens at one place, without TLS: nothing is known of who that is.
pub trait DialClear: Send + Sync + 'static {
    /// What a dial gives.
    type Stream: Stream;

    /// Opens one more stream, bounded in time, and says which of the host's addresses answered.
    ///
    /// # Errors
    /// `NotFound`, `Refused`, `TimedOut`, `Unreachable` or `Io`; nothing is left open.
    fn dial_clear(
        &self,
    ) -> impl Future<Output = Result<(Self::Stream, SocketAddr), DialError>> + Send;
}

/// A stream to a server whose identity is proven.
#[derive(Debug)]
pub struct Dialled<S> {
    /// Ready for the greeting.
    pub native: Native<S>,
    /// Who the server is: the pin that was expected, or the one that it showed where none was.
    pub pin: Pin,
    /// Which of the host's addresses answered.
    pub peer: SocketAddr,
}

/// How far a dial had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Asking for the addresses of a name.
    Lookup,
    /// Waiting for one of them to accept.
    Connect,
    /// Accepted, waiting for the server to show who it is.
    Handshake,
}

/// Why there is no stream.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name does not resolve: a wrong address, or no name service here.
    #[error("no address was found for `{}`: check its spelling and this machine's network ({source})", place.host)]
    NotFound {
        /// What was dialled.
        place: HostPort,
        /// What the name service said.
        source: io::Error,
    },
    /// The machine is there and nothing listens on the port.
    #[error("{place} refused the connection: check the port, and that the server is running")]
    Refused {
        /// What was dialled.
        place: HostPort,
    },
    /// Silence.
    #[error("{place} did not answer within {after:?}: {}", stage.silence())]
    TimedOut {
        /// What was dialled.
        place: HostPort,
        /// How far it came.
        stage: Stage,
        /// The whole time that the dial was given.
        after: Duration,
    },
    /// There is no way to any of the addresses from here.
    #[error(
        "there is no way to {place} from here ({source}): check the address and this machine's \
         network"
    )]
    Unreachable {
        /// What was dialled.
        place: HostPort,
        /// What the system said of the last address.
        source: io::Error,
    },
    /// It accepted, and left before it had shown who it is.
    #[error("{place} closed the connection at once: it may be too busy, or no Packhorse server")]
    HungUp {
        /// What was dialled.
        place: HostPort,
    },
    /// Something else listens there: the address names the wrong port.
    #[error("what answers at {place} is not a Packhorse server of this version ({source})")]
    NotPackhorse {
        /// What was dialled.
        place: HostPort,
        /// What it did instead.
        source: io::Error,
    },
    /// A Packhorse server, but not the one that was meant. Its claim to be `found` is not proven.
    #[error(
        "the server at {place} is not the one that was expected: its fingerprint is {found}, not {expected}"
    )]
    WrongIdentity {
        /// What was dialled.
        place: HostPort,
        /// Who it must be.
        expected: Pin,
        /// Who it said it is.
        found: Pin,
    },
    /// It shows an identity without owning its key: only who wants to deceive does that.
    #[error("someone pretends to be the server at {place}: it does not own the key that it shows")]
    Impersonated {
        /// What was dialled.
        place: HostPort,
    },
    /// What arrived fails its check: a faulty network, or someone who meddles with it.
    #[error("the secure connection to {place} failed: something damages what is sent ({source})")]
    Damaged {
        /// What was dialled.
        place: HostPort,
        /// Which check it failed.
        source: io::Error,
    },
    /// Anything else that the system reports.
    #[error("the connection to {place} failed: {source}")]
    Io {
        /// What was dialled.
        place: HostPort,
        /// What the system said.
        source: io::Error,
    },
}

impl DialError {
    /// The server is not the one that was meant: never to be tried again or worked around.
    #[must_use]
    pub fn is_refusal_of_trust(&self) -> bool {
        matches!(self, Self::WrongIdentity { .. } | Self::Impersonated { .. })
    }

    /// Whether the same dial may succeed later with nothing changed on this side.
    ///
    /// For a server that was never reached. One that was reached before may be tried again after
    /// every error but a refusal of trust: names come back after sleep, and a damaged first record
    /// looks like another protocol.
    #[must_use]
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Unreachable { .. }
            | Self::HungUp { .. }
            | Self::Damaged { .. }
            | Self::Io { .. } => true,
            Self::NotFound { .. }
            | Self::NotPackhorse { .. }
            | Self::WrongIdentity { .. }
            | Self::Impersonated { .. } => false,
        }
    }
}

impl Stage {
    /// What silence most likely means, and what to do.
    fn silence(self) -> &'static str {
        match self {
            Self::Lookup => {
                "its name could not be looked up; check this machine's network, or give its number"
            }
            Self::Connect => {
                "a firewall may keep silent in its place, or it is switched off; check the \
                 address, and that the firewall lets the port through"
            }
            Self::Handshake => "it accepted the connection, but is it a Packhorse server?",
        }
    }
}
