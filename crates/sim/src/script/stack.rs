//! What a script needs of the stack that it is played against.

use crate::Instant;
use crate::tcp_host::{Reading, TcpHost};
use crate::world::Host;

/// A host with at most one connection, and its user's calls.
pub trait Stack: Host {
    /// Begins an active open.
    fn connect(&mut self, now: Instant);

    /// Takes the first SYN that comes.
    fn listen(&mut self);

    /// Writes; how many bytes were taken.
    fn write(&mut self, now: Instant, data: &[u8]) -> usize;

    /// Reads up to `most` bytes.
    fn read(&mut self, now: Instant, most: usize) -> Reading;

    /// Closes the sending half.
    fn shutdown(&mut self, now: Instant);

    /// Gives the connection up.
    fn abort(&mut self, now: Instant);

    /// The state as RFC 9293 writes it.
    fn state_name(&mut self) -> &'static str;

    /// The next event, by its name.
    fn next_event(&mut self) -> Option<&'static str>;
}

impl Stack for TcpHost {
    fn connect(&mut self, now: Instant) {
        Self::connect(self, now);
    }

    fn listen(&mut self) {
        Self::listen(self);
    }

    fn write(&mut self, now: Instant, data: &[u8]) -> usize {
        Self::write(self, now, data)
    }

    fn read(&mut self, now: Instant, most: usize) -> Reading {
        Self::read(self, now, most)
    }

    fn shutdown(&mut self, now: Instant) {
        Self::shutdown(self, now);
    }

    fn abort(&mut self, now: Instant) {
        Self::abort(self, now);
    }

    fn state_name(&mut self) -> &'static str {
        Self::state_name(self)
    }

    fn next_event(&mut self) -> Option<&'static str> {
        Self::next_event(self)
    }
}
