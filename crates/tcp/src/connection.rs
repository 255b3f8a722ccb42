//! One connection.

mod arrive;
mod close;
mod expected;
mod expire;
mod open;
mod remnant;
mod syn_sent;
mod transmit;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::challenge_ack::ChallengeAcks;
use crate::config::Config;
use crate::deadline::{Deadline, Reason};
use crate::event::{Event, Failure};
use crate::event_queue::EventQueue;
use crate::handshake::{self, Handshake};
use crate::keep_alive::KeepAliveTimer;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::state::State;
use crate::stats::{Counters, Stats};
use crate::time::Instant;
use crate::timestamps::TimestampState;
use crate::transmit::Transmit;
use crate::wire::Segment;

/// One connection: segments, data and the time go in; segments, deadlines and data come out.
///
/// It does nothing by itself. After each call that takes `now`, drain it in this order:
/// `poll_transmit` until `None`, `poll_event` until `None`, then sleep until a segment
/// arrives, the user acts, or `poll_timeout` says so, and call `handle_timeout`. Time
/// must not go backwards.
#[derive(Debug)]
pub struct Connection {
    /// Shared by the connections of an endpoint, but for the timestamp offset in it.
    config: Arc<Config>,
    timestamp_offset: u32,
    local: SocketAddr,
    remote: SocketAddr,
    state: State,
    /// Until both SYNs are acknowledged.
    handshake: Option<Box<Handshake>>,
    sender: Sender,
    /// From the peer's SYN on.
    receiver: Option<Receiver>,
    timestamps: Option<TimestampState>,
    /// By how much the peer's windows are shifted.
    peer_shift: u8,
    /// The largest payload of a segment beside timestamps; zero before the peer's SYN.
    payload_max: u64,
    challenges: ChallengeAcks,
    keep_alive: KeepAliveTimer,
    keep_alive_due: bool,
    user_timeout: Duration,
    /// When TIME-WAIT is over.
    time_wait_until: Option<Instant>,
    /// When the peer's FIN is no longer waited for.
    fin_wait_2_until: Option<Instant>,
    /// The user has closed for reading too.
    reader_gone: bool,
    /// The last `read` came back empty.
    reader_waits: bool,
    /// The last `write` was cut short.
    writer_waits: bool,
    /// A reset that waits to be sent.
    reset: Option<Box<Segment>>,
    failure: Option<Failure>,
    events: EventQueue,
    stats: Counters,
}

/// What `read` gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The next bytes, never none.
    Data(Bytes),
    /// Nothing yet; `Event::Readable` comes.
    Pending,
    /// The peer has closed, and everything it sent was read.
    End,
    /// The connection failed, and nothing more will come.
    Failed(Failure),
}

impl Connection {
    /// Our end.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// The peer's end.
    #[must_use]
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Where the connection is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why it failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let stamp_bytes = if self.timestamps.is_some() {
            handshake::TIMESTAMPS_BYTES
        } else {
            0
        };
        let receive_mss = handshake::own_mss(&self.config, self.remote.ip()) - stamp_bytes;
        let mut stats = Stats {
            counters: self.stats,
            mss: u32::try_from(self.payload_max).unwrap_or(u32::MAX),
            receive_mss: u32::try_from(receive_mss).unwrap_or(u32::MAX),
            receive_buffer: self.receiver.as_ref().map_or(0, Receiver::capacity),
            steps: self.receiver.as_ref().map_or(0, Receiver::steps),
            ..Stats::default()
        };
        self.sender.describe(&mut stats);
        stats
    }

    /// Takes a segment that arrived at `now` and whose addresses are this connection's.
    #[inline]
    pub fn handle_segment(&mut self, now: Instant, mut segment: Segment) {
        self.take_segment(now, &mut segment);
    }

    /// Like `handle_segment`; the payload is taken out of the segment.
    pub(crate) fn take_segment(&mut self, now: Instant, segment: &mut Segment) {
        self.stats.segments_received += 1;
        match self.state {
            // A segment for a connection that is gone is a stranger's.
            State::Closed => return,
            State::SynSent => self.arrive_in_syn_sent(now, segment),
            State::Established if self.is_expected(now, segment) => {
                self.take_expected(now, segment);
            }
            _ => self.arrive(now, segment),
        }
        self.after_input();
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
        self.after_input();
    }

    /// The next thing to send now; call it until it gives `None`.
    ///
    /// At most `segments_max` segments, of which all but the last are equal in length: what
    /// several calls would give one by one, as far as it lies in one buffer of the user's.
    pub fn poll_transmit(&mut self, now: Instant, segments_max: usize) -> Option<Transmit> {
        if segments_max == 0 {
            return None;
        }
        let transmit = self.next_transmit(now, segments_max)?;
        self.stats.segments_sent += transmit.segments() as u64;
        Some(transmit)
    }

    /// When `handle_timeout` is due next, and why; `None` if never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let deadline = |at: Option<Instant>, reason| at.map(|at| Deadline::new(at, reason));
        if self.state == State::Closed {
            return None;
        }
        if self.handshake.is_some() {
            return self
                .handshake
                .as_ref()
                .and_then(|handshake| handshake.poll_timeout());
        }
        let ack = self.receiver.as_ref().and_then(Receiver::ack_due_at);
        let given_up = self
            .sender
            .waiting_since()
            .map(|since| since + self.user_timeout);
        Deadline::first([
            self.sender.poll_timeout(),
            deadline(ack, Reason::DelayedAck),
            deadline(self.keep_alive_at(), Reason::KeepAlive),
            deadline(given_up, Reason::UserTimeout),
            deadline(self.fin_wait_2_until, Reason::FinWait2),
            deadline(self.time_wait_until, Reason::TimeWait),
        ])
    }

    /// The next event; call it until it gives `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Takes the next bytes, at most `bytes_max`, without copying them.
    ///
    /// What had arrived before a failure can still be read.
    pub fn read(&mut self, now: Instant, bytes_max: usize) -> Read {
        self.read_within(now, bytes_max, u64::MAX)
    }

    /// Like `read`; the receive buffer may grow by `spare` bytes.
    pub(crate) fn read_within(&mut self, now: Instant, bytes_max: usize, spare: u64) -> Read {
        if let Some(receiver) = &mut self.receiver
            && receiver.readable() > 0
            && bytes_max > 0
        {
            let data = receiver.take_out(bytes_max);
            self.after_read(data.len(), now, spare);
            return Read::Data(data);
        }
        if self.receiver.as_ref().is_some_and(Receiver::is_finished) {
            return Read::End;
        }
        if let Some(failure) = self.failure {
            return Read::Failed(failure);
        }
        if self.state == State::Closed {
            return Read::End;
        }
        self.reader_waits = true;
        Read::Pending
    }

    /// Takes as much of `data` as there is room for, and says how many bytes that were.
    ///
    /// Before the handshake is complete, data waits. None is taken once `shutdown`,
    /// `close` or `abort` was called or the connection has failed. If it is cut short,
    /// `Event::Writable` comes when there is room.
    pub fn write(&mut self, now: Instant, data: Bytes) -> usize {
        if self.state == State::Closed {
            return 0;
        }
        let offered = data.len();
        let accepted = self.sender.write(data, now);
        self.writer_waits = accepted < offered;
        accepted
    }

    /// Whether small segments go out at once, and do not wait for an acknowledgement
    /// (RFC 9293 §3.7.4).
    pub fn set_nodelay(&mut self, nodelay: bool) {
        self.sender.set_nagle(!nodelay);
    }

    /// Whether small segments go out at once.
    #[must_use]
    pub fn nodelay(&self) -> bool {
        !self.sender.nagle()
    }

    /// Whether nothing more can be written: the user has closed, or the connection is gone.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.state == State::Closed || self.sender.is_closing()
    }

    /// Bytes that `write` would take now.
    #[must_use]
    pub fn writable(&self) -> u64 {
        if self.state == State::Closed {
            0
        } else {
            self.sender.room()
        }
    }

    /// Bytes that can be read now.
    #[must_use]
    pub fn readable(&self) -> u64 {
        self.receiver.as_ref().map_or(0, Receiver::readable)
    }

    /// By how much the receive buffer has grown, bytes.
    pub(crate) fn receive_grown(&self) -> u64 {
        self.receiver.as_ref().map_or(0, Receiver::grown)
    }

    /// Other connections need what the receive buffer has grown by.
    pub(crate) fn give_back(&mut self, now: Instant) {
        if let Some(receiver) = &mut self.receiver {
            receiver.give_back(now);
        }
    }

    /// Hands what has come to `take`, piece by piece and at most `bytes_max` bytes, and says how
    /// many bytes that were; of none, `read` says why. The receive buffer may grow by `spare` bytes.
    pub(crate) fn read_pieces(
        &mut self,
        now: Instant,
        bytes_max: usize,
        spare: u64,
        mut take: impl FnMut(Bytes),
    ) -> usize {
        let Some(receiver) = &mut self.receiver else {
            return 0;
        };
        let mut read = 0;
        while read < bytes_max && receiver.readable() > 0 {
            let piece = receiver.take_out(bytes_max - read);
            read += piece.len();
            take(piece);
        }
        if read > 0 {
            self.after_read(read, now, spare);
        }
        read
    }

    /// The user has taken so many bytes; the receive buffer may grow by `spare`.
    fn after_read(&mut self, bytes: usize, now: Instant, spare: u64) {
        if let Some(receiver) = &mut self.receiver
            && receiver.on_read(bytes as u64, now, spare)
            && self.state.can_receive()
        {
            receiver.demand_ack();
        }
    }

    /// What follows from whatever came in.
    fn after_input(&mut self) {
        if self.writer_waits && self.writable() > 0 {
            self.writer_waits = false;
            self.events.push(Event::Writable);
        }
    }

    /// Keep-alive is for connections on which nothing is awaited (RFC 9293 §3.8.4).
    fn keep_alive_at(&self) -> Option<Instant> {
        let applies = self.state.is_synchronized()
            && self.state != State::TimeWait
            && !self.sender.has_unacked();
        if applies { self.keep_alive.due() } else { None }
    }
}
