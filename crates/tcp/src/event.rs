//! What a connection tells its user.

/// Something that the user of a connection may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The handshake is complete.
    Connected,
    /// There is something to read since the last `read` came back empty.
    Readable,
    /// There is room to write since the last `write` was cut short.
    Writable,
    /// The peer will send nothing more; what it sent can still be read.
    PeerClosed,
    /// Both sides have closed and everything was acknowledged, in TIME-WAIT too.
    Finished,
    /// The connection has failed.
    Failed(Failure),
    /// Nothing is left: it can be dropped. Always the last event.
    Closed,
}

/// Why a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The peer answered the SYN with a reset.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// The peer did not answer in time.
    TimedOut,
    /// The remote address is that of a group, of everybody or of nobody.
    NotUnicast,
    /// `abort` was called, or `close` with data that nobody will read.
    Aborted,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Refused => "the peer refused the connection",
            Self::Reset => "the peer reset the connection",
            Self::TimedOut => "the peer did not answer in time",
            Self::NotUnicast => "the address is not that of one host",
            Self::Aborted => "the connection was aborted on this side",
        })
    }
}

impl core::error::Error for Failure {}
