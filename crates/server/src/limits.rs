//! What one server gives to its clients, all of them together.

use std::time::Duration;

use packhorse_protocol::limits::{FRAME_BYTES_MAX, INLINE_BYTES_MAX, XATTR_BYTES_MAX};

/// How long to wait for a descriptor to be given back.
pub(crate) const EXHAUSTED_WAIT: Duration = Duration::from_millis(10);

/// Peers of a message server at once; further ones wait until one leaves.
pub const TALKERS_MAX: usize = 4096;

/// A message that goes on behind this is cut in two.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// What comes of a message without a line end is printed, and answered, after a silence this long.
pub const MESSAGE_PAUSE: Duration = Duration::from_millis(200);

/// What is read from a peer, or from a command that answers it, at once.
pub const PART_BYTES_MAX: usize = 16 << 10;

/// Answers, parts of answers and lines that wait for one peer to take them.
pub const PARTS_WAITING_MAX: usize = 16;

/// A peer that says nothing more and takes nothing for this long is left.
pub const DEAF_TIME: Duration = Duration::from_secs(60);

/// After the last word to a peer: how long it may take to close its side.
pub const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// What is hashed or encrypted at once for a client that measures, before a disk worker does
/// something for somebody else, in groups.
pub(crate) const MEASURED_GROUPS_AT_ONCE: u64 = 8;

/// A page is sent once it holds this many bytes; one more entry may follow.
pub(crate) const PAGE_BYTES: usize = 128 << 10;

/// The same of what carries content, where memory allows: each frame costs both sides several
/// changes of thread, which is what small files are limited by.
pub(crate) const CONTENT_PAGE_BYTES: usize = 512 << 10;

/// The largest entry fits into a frame behind a page that is not full yet.
const _: () = assert!(
    CONTENT_PAGE_BYTES + INLINE_BYTES_MAX as usize + XATTR_BYTES_MAX + (64 << 10) < FRAME_BYTES_MAX
);

/// The limits of a server. What each request may ask for is in
/// [`packhorse_protocol::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Admitted clients at once; further ones are told that the server is busy.
    pub clients_max: usize,
    /// Connections at once that have not proven anything yet; one more, and the oldest goes.
    pub unproven_max: usize,
    /// From the accepted connection to the greeting.
    pub greeting_time: Duration,
    /// An admitted client without a request under way.
    pub idle_time: Duration,
    /// A client that takes nothing of what it asked for.
    pub stall_time: Duration,
    /// After the last word of a client of the plain mode: how long it may take to close its side.
    pub linger_time: Duration,
    /// How long a wrong proof waits for its answer, so that guessing is slow.
    pub denial_time: Duration,
    /// Groups that are read ahead for one client while it takes one, where memory allows.
    pub groups_ahead: usize,
    /// Memory for what is read ahead, for all clients together, pages at most half of it; a client
    /// always has the frame that it is taking besides.
    pub ahead_bytes: usize,
}

impl Limits {
    /// Lets connections that have proven nothing hold at most a quarter of `descriptors`, so that
    /// strangers cannot keep the server from opening the files of its clients.
    pub fn leave_descriptors(&mut self, descriptors: u64) {
        let quarter = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
        self.unproven_max = self.unproven_max.min(quarter).max(1);
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: 4096,
            // A thousand browsers and scripts may arrive at once, before any of them has its turn.
            unproven_max: 2048,
            greeting_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(600),
            stall_time: Duration::from_secs(60),
            linger_time: Duration::from_secs(2),
            denial_time: Duration::from_millis(500),
            groups_ahead: 3,
            ahead_bytes: 64 << 20,
        }
    }
}
