//! When a connection next needs the clock, and why.

use crate::time::Instant;

/// A point in time at which `handle_timeout` is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
    reason: Reason,
}

/// What happens at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A SYN is sent again (RFC 6298 §5).
    HandshakeRetransmit,
    /// The retransmission time-out (RFC 6298 §5).
    Retransmit,
    /// The tail loss probe (RFC 8985 §7).
    LossProbe,
    /// A segment counts as lost unless it is acknowledged until then (RFC 8985 §6.2).
    Reordering,
    /// The closed window is probed (RFC 9293 §3.8.6.1).
    WindowProbe,
    /// Data goes out though the window is small (RFC 9293 §3.8.6.2.1).
    SmallWindow,
    /// The delayed acknowledgement (RFC 9293 §3.8.6.3).
    DelayedAck,
    /// The pacer lets the next segment go.
    Pacing,
    /// The keep-alive probe (RFC 9293 §3.8.4).
    KeepAlive,
    /// The peer is given up (RFC 9293 §3.8.3).
    UserTimeout,
    /// The peer's FIN is no longer waited for.
    FinWait2,
    /// Twice the lifetime of a segment is over (RFC 9293 §3.6.1).
    TimeWait,
}

impl Deadline {
    pub(crate) const fn new(at: Instant, reason: Reason) -> Self {
        Self { at, reason }
    }

    /// When; it may lie in the past.
    #[must_use]
    pub const fn at(self) -> Instant {
        self.at
    }

    /// Why.
    #[must_use]
    pub const fn reason(self) -> Reason {
        self.reason
    }

    /// The one that comes first; of two at once, this.
    pub(crate) fn earlier(self, other: Self) -> Self {
        if other.at < self.at { other } else { self }
    }

    /// The first of several.
    ///
    /// The last instant there is, where sums end that would lie behind it, never comes:
    /// a timer set for it would be due again as soon as it had run out.
    pub(crate) fn first(deadlines: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        let comes = |deadline: &Self| deadline.at < Instant::LAST;
        deadlines
            .into_iter()
            .flatten()
            .filter(comes)
            .reduce(Self::earlier)
    }
}
