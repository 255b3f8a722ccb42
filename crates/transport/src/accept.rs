//! The seam through which a server is reached by its clients.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::stream::{Native, Stream};

/// A place where clients arrive.
pub trait Accept: Send + Sync + 'static {
    /// A connection of which nothing is read yet.
    type Raw: Send + 'static;
    /// What it becomes.
    type Stream: Stream;

    /// Waits for the next connection; quick, and may be dropped while it waits.
    ///
    /// # Errors
    /// [`AcceptError`], which says how to go on.
    fn accept(&self) -> impl Future<Output = Result<(Self::Raw, SocketAddr), AcceptError>> + Send;

    /// Returns once the client has said something, or has left. At once where that cannot be known.
    fn until_spoken(&self, raw: &mut Self::Raw) -> impl Future<Output = ()> + Send {
        let _ = raw;
        async {}
    }

    /// Learns from a connection's first bytes what its client wants, and shakes hands.
    ///
    /// It waits for a stranger for as long as that one likes: run it in the connection's own task,
    /// under a deadline.
    ///
    /// # Errors
    /// [`OpenError`]; the connection is closed.
    fn open(
        &self,
        raw: Self::Raw,
    ) -> impl Future<Output = Result<Opened<Self::Stream>, OpenError>> + Send;

    /// Whether `stream` is to be aborted (RFC 9293 §3.10.5) where it is dropped, or left behind by a
    /// process that is killed: then its client cannot take what has come for all there was. Without
    /// effect where there is no such way.
    fn reset_on_drop(&self, stream: &Self::Stream, is_wanted: bool) {
        let _ = (stream, is_wanted);
    }
}

/// A place where anyone may arrive, without TLS. Dropped, it lets nobody else in; who is here stays.
pub trait AcceptClear: Send + Sync + 'static {
    /// What arrives.
    type Stream: Stream;

    /// Waits for the next connection; may be dropped while it waits.
    ///
    /// # Errors
    /// [`AcceptError`], which says how to go on.
    fn accept_clear(
        &self,
    ) -> impl Future<Output = Result<(Self::Stream, SocketAddr), AcceptError>> + Send;
}

/// What the first bytes decided. Every stream begins at its first byte.
#[derive(Debug)]
pub enum Opened<S> {
    /// A Packhorse client.
    Native(Native<S>),
    /// A browser, `curl`, or anything else that speaks HTTP.
    Http {
        /// Carries the requests.
        stream: S,
        /// Which HTTP.
        version: HttpVersion,
        /// It came through TLS.
        secure: bool,
    },
    /// Clear text that is not HTTP.
    Clear {
        /// Carries it.
        stream: S,
        /// For how long nothing had followed when it was decided that it is not.
        silence: Duration,
    },
}

/// What a client speaks that does not speak the native protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, agreed on by ALPN, or in clear text from its first byte on.
    Http2,
}

/// Why no connection was accepted, by what to do about it.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// That client gave up before its turn: accept the next at once.
    #[error("a connection ended before it was accepted: {0}")]
    Gone(#[source] io::Error),
    /// Descriptors or memory ran out: wait until some are given back, and accept again.
    #[error("no more connections can be accepted at the moment: {0}")]
    Exhausted(#[source] io::Error),
    /// Nothing will arrive here any more.
    #[error("no connections can be accepted any more: {0}")]
    Broken(#[source] io::Error),
}

/// Why a connection came to nothing. None of these is the server's fault.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It was closed before its first byte, as a port scan or a health check does.
    #[error("the client left without a word")]
    Silent,
    /// The client does not take this server for the one that it means.
    #[error(
        "it expected another identity: its address is another server's or an old one, or it is a \
         browser that was not told to trust this one"
    )]
    IdentityRefused,
    /// The TLS handshake failed; the client was sent an alert that says why.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke before it was open: {0}")]
    Io(#[source] io::Error),
}
