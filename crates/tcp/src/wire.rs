//! What is on the wire: IP packets, the TCP header, its options.

mod checksum;
mod ip;
mod options;
mod packet;
mod segment;

pub use ip::Ecn;
pub use options::{Options, SackBlock, SackBlocks, Timestamps, UserTimeoutOption};
pub use packet::{Packet, ParseError};
pub use segment::{Flags, Segment};

/// TCP's number in the IP header.
const PROTOCOL_TCP: u8 = 6;

/// The bytes of a TCP header without options.
pub(crate) const TCP_HEADER_BYTES: usize = 20;

/// The most bytes that options can take: the data offset counts to 15 words.
pub(crate) const OPTIONS_BYTES_MAX: usize = 40;
