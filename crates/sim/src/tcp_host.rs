//! A host whose TCP is `packhorse_tcp`: packets in and out, and the calls of one user.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use packhorse_tcp::{
    Config, Connection, Event, Failure, Packet, Read, SeqNumber, State, Stats, answer_stranger,
};

use crate::Instant;
use crate::world::Host;

/// How many segments may go out in one run: they must be the same as one by one.
const RUN_SEGMENTS_MAX: usize = 16;

/// What a read gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Some bytes.
    Data(Bytes),
    /// The end of the stream.
    End,
    /// Nothing yet.
    Blocked,
    /// Nothing ever: the connection failed.
    Failed,
}

/// One host with at most one connection, between two fixed ends.
#[derive(Debug)]
pub struct TcpHost {
    local: SocketAddr,
    remote: SocketAddr,
    config: Config,
    isn: SeqNumber,
    is_listening: bool,
    connection: Option<Connection>,
    /// What was not fetched of the last run.
    run: VecDeque<Packet>,
    /// What goes to strangers.
    outbox: VecDeque<Packet>,
    latest: Instant,
    refused_packets: u64,
}

impl TcpHost {
    /// A host that knows no connection yet.
    #[must_use]
    pub fn new(local: SocketAddr, remote: SocketAddr, config: Config, isn: u32) -> Self {
        Self {
            local,
            remote,
            config,
            isn: SeqNumber::new(isn),
            is_listening: false,
            connection: None,
            run: VecDeque::new(),
            outbox: VecDeque::new(),
            latest: Instant::default(),
            refused_packets: 0,
        }
    }

    /// Begins an active open.
    pub fn connect(&mut self, now: Instant) {
        self.pass(now);
        let connection = Connection::connect(&self.config, self.local, self.remote, self.isn, now);
        self.connection = Some(connection);
    }

    /// Takes the first SYN that comes for a passive open.
    pub fn listen(&mut self) {
        self.is_listening = true;
    }

    /// Writes; how many bytes were taken.
    pub fn write(&mut self, now: Instant, data: &[u8]) -> usize {
        self.pass(now);
        let data = Bytes::copy_from_slice(data);
        let connection = self.connection.as_mut();
        connection.map_or(0, |connection| connection.write(now, data))
    }

    /// How many bytes would be taken now.
    #[must_use]
    pub fn writable(&self) -> u64 {
        let connection = self.connection.as_ref();
        connection.map_or(0, Connection::writable)
    }

    /// Reads up to `most` bytes.
    pub fn read(&mut self, now: Instant, most: usize) -> Reading {
        self.pass(now);
        let Some(connection) = &mut self.connection else {
            return Reading::Blocked;
        };
        match connection.read(now, most) {
            Read::Data(data) => Reading::Data(data),
            Read::Pending => Reading::Blocked,
            Read::End => Reading::End,
            Read::Failed(_) => Reading::Failed,
        }
    }

    /// Closes the sending half.
    pub fn shutdown(&mut self, now: Instant) {
        self.pass(now);
        if let Some(connection) = &mut self.connection {
            connection.shutdown(now);
        }
    }

    /// Closes both ways.
    pub fn close(&mut self, now: Instant) {
        self.pass(now);
        if let Some(connection) = &mut self.connection {
            connection.close(now);
        }
    }

    /// Gives the connection up.
    pub fn abort(&mut self, now: Instant) {
        self.pass(now);
        if let Some(connection) = &mut self.connection {
            connection.abort(now);
        }
    }

    /// The state as RFC 9293 writes it.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        let Some(connection) = &self.connection else {
            return if self.is_listening {
                "LISTEN"
            } else {
                "CLOSED"
            };
        };
        match connection.state() {
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECEIVED",
            State::Established => "ESTABLISHED",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::CloseWait => "CLOSE-WAIT",
            State::Closing => "CLOSING",
            State::LastAck => "LAST-ACK",
            State::TimeWait => "TIME-WAIT",
            State::Closed => "CLOSED",
        }
    }

    /// What has been counted on the connection.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        self.connection.as_ref().map(Connection::stats)
    }

    /// How much more is held for the user, or for the peer, than there is room for; bytes.
    #[must_use]
    pub fn excess_bytes(&self) -> u64 {
        let Some(connection) = &self.connection else {
            return 0;
        };
        // A window may be rounded up to the next unit of its scale, so as not to be taken back.
        let room = self.config.receive_buffer_bytes;
        let unread = connection.readable();
        let unread = unread.saturating_sub(room + room / 16_384 + 1);
        // A FIN is in flight too, and takes no room.
        let unacked = connection.stats().in_flight;
        unread.max(unacked.saturating_sub(self.config.send_buffer_bytes + 1))
    }

    /// Packets that were not readable: damaged on the way.
    #[must_use]
    pub fn refused_packets(&self) -> u64 {
        self.refused_packets
    }

    /// The next event, by its name.
    pub fn next_event(&mut self) -> Option<&'static str> {
        Some(match self.connection.as_mut()?.poll_event()? {
            Event::Connected => "connected",
            Event::Readable => "readable",
            Event::Writable => "writable",
            Event::PeerClosed => "peer-closed",
            Event::Finished => "finished",
            Event::Failed(Failure::Refused) => "refused",
            Event::Failed(Failure::Reset) => "reset",
            Event::Failed(Failure::TimedOut) => "timed-out",
            Event::Failed(Failure::NotUnicast) => "not-unicast",
            Event::Failed(Failure::Aborted) => "aborted",
            Event::Closed => "closed",
        })
    }

    /// Whether there is or was a connection.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// The time when this host was last at work.
    #[must_use]
    pub fn latest(&self) -> Instant {
        self.latest
    }

    /// Tells the time without asking for anything.
    pub fn pass(&mut self, now: Instant) {
        self.latest = self.latest.max(now);
    }

    fn handle_stranger(&mut self, now: Instant, packet: &Packet) {
        if self.is_listening && self.connection.is_none() {
            self.connection = Connection::accept(&self.config, packet, self.isn, now);
            // RFC 9293 §3.10.7.2: to a listener only an acknowledgement is worth a reset.
            if self.connection.is_some() || packet.segment.ack.is_none() {
                return;
            }
        }
        self.outbox.extend(answer_stranger(packet));
    }
}

impl Host for TcpHost {
    fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        self.pass(now);
        let Ok(packet) = Packet::parse(&packet) else {
            self.refused_packets += 1;
            return;
        };
        let is_ours = (packet.destination, packet.source) == (self.local, self.remote);
        if !is_ours {
            return;
        }
        match &mut self.connection {
            Some(connection) if connection.state() != State::Closed => {
                connection.handle_segment(now, packet.segment);
            }
            _ => self.handle_stranger(now, &packet),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.pass(now);
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        self.pass(now);
        if self.run.is_empty()
            && let Some(connection) = &mut self.connection
            && let Some(run) = connection.poll_transmit(now, RUN_SEGMENTS_MAX)
        {
            self.run.extend(run.packets());
        }
        let packet = self.run.pop_front().or_else(|| self.outbox.pop_front())?;
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        Some(Bytes::from(bytes))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.connection.as_ref()?.poll_timeout()?;
        Some(deadline.at())
    }
}
