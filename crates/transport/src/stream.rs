//! What a byte stream is, and one that is ready for the native protocol's first frame.

use packhorse_protocol::proof::ChannelBinding;
use tokio::io::{AsyncRead, AsyncWrite};

/// Ordered bytes both ways, with a half-close: a socket, TLS, or a pipe in a test.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// A stream on which both ends have agreed to speak the native protocol; nothing is said yet.
///
/// Whoever ends a conversation calls `shutdown`, so that the other end can tell an end from a cut.
#[derive(Debug)]
pub struct Native<S> {
    /// Carries the frames.
    pub stream: S,
    /// What the two ends of this stream know, and nobody between them.
    pub binding: ChannelBinding,
}
