//! What went over the links, to be written down.

use bytes::Bytes;

use crate::Instant;
use crate::link::Fate;
use crate::world::Side;

/// Every packet that was sent or arrived, in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    records: Vec<Record>,
}

/// A packet at one of the hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Instant,
    /// Where.
    pub side: Side,
    /// Which way.
    pub passing: Passing,
    /// From its IP header on.
    pub packet: Bytes,
}

/// Which way a packet goes at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// It leaves the host, for this fate.
    Out(Fate),
    /// It arrives.
    In,
}

impl Trace {
    /// What was kept.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// A packet leaves `side`.
    pub fn send(&mut self, at: Instant, side: Side, packet: Bytes, fate: Fate) {
        let passing = Passing::Out(fate);
        self.push(at, side, passing, packet);
    }

    /// A packet arrives at `side`.
    pub fn receive(&mut self, at: Instant, side: Side, packet: Bytes) {
        self.push(at, side, Passing::In, packet);
    }

    fn push(&mut self, at: Instant, side: Side, passing: Passing, packet: Bytes) {
        self.records.push(Record {
            at,
            side,
            passing,
            packet,
        });
    }
}
