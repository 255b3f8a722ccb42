//! Every limit of the native protocol and of the plain mode, in one place.
//!
//! A peer that exceeds one of these breaks the protocol and is disconnected; nothing is allocated
//! on its word alone beyond them.

/// Content is cut into groups of this many bytes; the last group of a file may be shorter.
pub const GROUP_BYTES: usize = 1 << 20;

/// The body of a frame: a group with its header and trailer, or a page of a tree.
pub const FRAME_BYTES_MAX: usize = GROUP_BYTES + (64 << 10);

/// The body of a frame from a client, all of which are requests.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The body of the first frame from a client that has not proven anything yet.
pub const HELLO_BYTES_MAX: usize = 1 << 10;

/// One component of a path.
pub const NAME_BYTES_MAX: usize = 255;

/// A whole path, as the kernel's own `PATH_MAX` without its NUL.
pub const PATH_BYTES_MAX: usize = 4095;

/// A name in the plain mode, without its line end.
pub const PLAIN_NAME_BYTES_MAX: usize = 4096;

/// The target of a symbolic link.
pub const LINK_TARGET_BYTES_MAX: usize = 4095;

/// Requests that a client may have unanswered on one connection.
pub const REQUESTS_MAX: usize = 64;

/// Trees that a client may have open on one connection.
pub const TREES_MAX: usize = 4;

/// Groups in one `Read` or `Hashes` request.
pub const GROUPS_PER_REQUEST_MAX: u64 = 1024;

/// Groups in one `Measure` request: less work than a `Read` may ask for.
pub const MEASURED_GROUPS_MAX: u64 = 64;

/// Files in one `Fetch` request.
pub const FILES_PER_REQUEST_MAX: usize = 1024;

/// A file larger than this is never sent in line.
pub const INLINE_BYTES_MAX: u64 = 256 << 10;

/// Items in one page.
pub const PAGE_ITEMS_MAX: usize = 4096;

/// Extended attributes of one file: names and values together.
pub const XATTR_BYTES_MAX: usize = 64 << 10;

/// Include and exclude rules of one tree request: their number.
pub const FILTER_RULES_MAX: usize = 256;

/// Include and exclude rules of one tree request: all patterns together.
pub const FILTER_BYTES_MAX: usize = 16 << 10;

/// The largest file: offsets fit into a signed 64-bit integer on every system.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;
