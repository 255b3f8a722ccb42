//! What one HTTP connection may take, in one place.

use std::time::Duration;

/// What one connection sends at once where a rate is shared, so that all get of it in turn.
pub(crate) const PACE_BYTES: usize = 16 << 10;

/// What is read of a request's body over HTTP/2, only to be dropped.
pub(crate) const UNREAD_BYTES_MAX: usize = 16 << 20;

/// An HTTP/1 connection with nothing under way keeps its buffers for so long.
pub(crate) const REST_TIME: Duration = Duration::from_millis(250);

/// How much of a README is shown.
pub(crate) const README_BYTES_MAX: usize = 256 << 10;

/// How many elements of a README lie in one another; what is deeper is shown without its own.
pub(crate) const MARKDOWN_DEPTH_MAX: usize = 32;

/// What a README may become on the page: references in it can stand for something long.
pub(crate) const MARKDOWN_HTML_BYTES_MAX: usize = 1 << 20;

/// The limits of HTTP. How many connections there are at once is the server's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the end of the last answer, or of the handshake, to the end of a request's header. So a
    /// connection that is kept alive may idle for as long.
    pub header_time: Duration,
    /// The request line and all header fields of one request.
    pub header_bytes_max: usize,
    /// The number of header fields in one request.
    pub header_fields_max: usize,
    /// A client that takes nothing of what is written to it.
    pub stall_time: Duration,
    /// An HTTP/2 client that lets none of its answers go on, though it takes other frames.
    pub streams_stall_time: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// HTTP/2 streams that a client opened and reset before they were looked at (CVE-2023-44487).
    pub early_resets_max: usize,
    /// HTTP/2 streams that were reset because of the client's own errors.
    pub error_resets_max: usize,
    /// How long a wrong key waits for its answer, so that guessing is slow.
    pub denial_time: Duration,
    /// Memory for what all answers together have read ahead. An answer that gets no part of it
    /// reads in small chunks, and none before the last is taken.
    pub ahead_bytes: usize,
    /// Entries on one page of a listing.
    pub page_entries_max: usize,
    /// Trees that are looked at for an archive at once, for all clients together; others wait.
    pub surveys_max: usize,
    /// Ranges in one request; with more of them, the header is ignored.
    pub ranges_asked_max: usize,
    /// Ranges in one answer, after those that touch were joined; with more, the whole is sent.
    pub ranges_sent_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_time: Duration::from_secs(30),
            header_bytes_max: 32 << 10,
            header_fields_max: 100,
            stall_time: Duration::from_secs(60),
            streams_stall_time: Duration::from_secs(300),
            streams_max: 32,
            early_resets_max: 20,
            error_resets_max: 64,
            denial_time: Duration::from_millis(500),
            ahead_bytes: 64 << 20,
            page_entries_max: 2000,
            surveys_max: 8,
            ranges_asked_max: 200,
            ranges_sent_max: 32,
        }
    }
}
