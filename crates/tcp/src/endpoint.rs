//! Many connections behind one stream of packets.

mod accept_queue;
mod arrive;
mod drain;
mod ends;
mod ports;
mod settings;
mod syn_cookie;
mod table;
mod time_wait;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;

use bytes::Bytes;

pub use accept_queue::{ListenAt, ListenerId};
pub use settings::{EndpointConfig, EndpointStats};
pub use table::ConnectionId;

use crate::config::Config;
use crate::connection::{Connection, Read};
use crate::event::Event;
use crate::isn::IsnGenerator;
use crate::time::Instant;
use crate::wire::Packet;
use accept_queue::Listeners;
use ends::Ends;
use ports::Ports;
use syn_cookie::SynCookies;
use table::{Stage, Table};
pub(crate) use time_wait::Remnant;
use time_wait::TimeWaits;

/// Many connections and listeners: packets, the users' calls and the time go in; packets,
/// deadlines, events and data come out.
///
/// Drain it after each call that takes `now`, in the order of the crate's page:
/// [`poll_transmit`](Self::poll_transmit) until `None`, [`poll_event`](Self::poll_event) until
/// `None`, then wait for a packet, a user, or [`poll_timeout`](Self::poll_timeout). Only
/// connections to which something happened are looked at, so idle ones cost memory and nothing
/// else. Every table has its limit in [`EndpointConfig`].
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    /// `config.connection`, which all connections have together.
    shared: Arc<Config>,
    isns: IsnGenerator,
    cookies: SynCookies,
    ports: Ports,
    listeners: Listeners,
    table: Table,
    time_waits: TimeWaits,
    /// Connections to which something has happened since they were last drained.
    dirty: VecDeque<ConnectionId>,
    /// Connections whose users have something to hear.
    eventful: VecDeque<ConnectionId>,
    /// Packets that belong to no connection.
    outbox: VecDeque<Packet>,
    stats: EndpointStats,
}

/// Something that a user of an endpoint may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointEvent {
    /// A connection waits in the listener's accept queue.
    Acceptable(ListenerId),
    /// What happened to a connection.
    Connection(ConnectionId, Event),
}

/// Why an endpoint opens no connection, or does not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// These two ends have a connection, or had one until just now.
    InUse,
    /// Every ephemeral port has a connection to this remote end, or had one until just now.
    NoPort,
    /// There are as many connections as `EndpointConfig::connections_max` allows.
    TooMany,
}

impl Endpoint {
    /// An endpoint without connections.
    ///
    /// `key` must be random, and stays as long as peers may remember connections: initial
    /// sequence numbers, timestamps, ports and SYN cookies come from it.
    #[must_use]
    pub fn new(config: EndpointConfig, key: [u8; 16]) -> Self {
        Self {
            shared: Arc::new(config.connection.clone()),
            isns: IsnGenerator::new(key),
            cookies: SynCookies::new(key),
            ports: Ports::new(key),
            listeners: Listeners::default(),
            table: Table::new(key),
            time_waits: TimeWaits::new(config.time_wait_max),
            dirty: VecDeque::new(),
            eventful: VecDeque::new(),
            outbox: VecDeque::new(),
            stats: EndpointStats::default(),
            config,
        }
    }

    /// Takes connections for `at`; at most `backlog` of them wait to be accepted.
    ///
    /// # Errors
    /// `InUse`: there is a listener for exactly that.
    pub fn listen(&mut self, at: ListenAt, backlog: usize) -> Result<ListenerId, OpenError> {
        self.listeners.open(at, backlog).ok_or(OpenError::InUse)
    }

    /// Takes no more connections; those that nobody has accepted are reset.
    pub fn close_listener(&mut self, now: Instant, listener: ListenerId) {
        self.listeners.close(listener);
        for id in self.table.of_listener(listener) {
            self.abort(now, id);
            self.release(now, id);
        }
    }

    /// The connection that has waited longest in the listener's queue.
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnectionId> {
        let id = self.listeners.pop(listener)?;
        let entry = self.table.get_mut(id)?;
        entry.stage = Stage::Owned;
        if !entry.has_events {
            entry.has_events = true;
            self.eventful.push_back(id);
        }
        Some(id)
    }

    /// Opens a connection; with port 0 in `local`, from an ephemeral port (RFC 6056).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn connect(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<ConnectionId, OpenError> {
        if self.table.len() >= self.config.connections_max {
            return Err(OpenError::TooMany);
        }
        let is_free = |local: SocketAddr| {
            let ends = Ends::new(local, remote);
            !self.table.contains(&ends) && !self.time_waits.contains(&ends)
        };
        let local = if local.port() == 0 {
            let chosen = self.ports.choose(local.ip(), remote, is_free);
            SocketAddr::new(local.ip(), chosen.ok_or(OpenError::NoPort)?)
        } else if is_free(local) {
            local
        } else {
            return Err(OpenError::InUse);
        };
        let isn = self.isns.generate(local, remote, now);
        let offset = self.isns.timestamp_offset(local, remote);
        let config = Arc::clone(&self.shared);
        let connection = Connection::connect_shared(config, offset, local, remote, isn, now);
        let id = self.table.insert(connection, Stage::Owned);
        self.touch(id);
        Ok(id)
    }

    /// The connection, as long as it was not released.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.table.get(id).map(|entry| &entry.connection)
    }

    /// [`Connection::read`]; `Read::End` for a connection that was released.
    pub fn read(&mut self, now: Instant, id: ConnectionId, bytes_max: usize) -> Read {
        let read = |connection: &mut Connection, spare| {
            let outcome = connection.read_within(now, bytes_max, spare);
            if outcome == Read::Pending {
                connection.shed();
            }
            outcome
        };
        self.with_reader(now, id, read).unwrap_or(Read::End)
    }

    /// Hands what has come to `take`, piece by piece and at most `bytes_max` bytes, and says how
    /// many bytes that were; where it is none, [`read`](Self::read) says why.
    pub fn read_pieces(
        &mut self,
        now: Instant,
        id: ConnectionId,
        bytes_max: usize,
        take: impl FnMut(Bytes),
    ) -> usize {
        let read = |connection: &mut Connection, spare| {
            connection.read_pieces(now, bytes_max, spare, take)
        };
        self.with_reader(now, id, read).unwrap_or(0)
    }

    /// [`Connection::write`].
    pub fn write(&mut self, now: Instant, id: ConnectionId, data: Bytes) -> usize {
        self.with(id, |connection| connection.write(now, data))
            .unwrap_or(0)
    }

    /// [`Connection::shutdown`].
    pub fn shutdown(&mut self, now: Instant, id: ConnectionId) {
        self.with(id, |connection| connection.shutdown(now));
    }

    /// [`Connection::set_nodelay`].
    pub fn set_nodelay(&mut self, id: ConnectionId, nodelay: bool) {
        self.with(id, |connection| connection.set_nodelay(nodelay));
    }

    /// Whether there is anything for `poll_transmit` or `poll_event` to look at.
    #[must_use]
    pub fn is_undrained(&self) -> bool {
        !(self.dirty.is_empty() && self.outbox.is_empty() && self.eventful.is_empty())
            || self.listeners.has_news()
    }

    /// [`Connection::abort`].
    pub fn abort(&mut self, now: Instant, id: ConnectionId) {
        self.with(id, |connection| connection.abort(now));
    }

    /// The user lets go: [`Connection::close`], and `id` means nothing any more.
    ///
    /// What was written is still sent. What TIME-WAIT has to remember needs much less than a
    /// connection.
    pub fn release(&mut self, now: Instant, id: ConnectionId) {
        self.table.advance(id, Stage::Released);
        if let Some(entry) = self.table.get_mut(id) {
            entry.connection.close(now);
            self.touch(id);
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> &EndpointStats {
        &self.stats
    }

    /// Connections of every kind, those that wait or are half open too; TIME-WAIT not, once its
    /// user has let go.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.table.len()
    }

    /// By how much the receive buffers of all connections have grown, bytes.
    #[must_use]
    pub fn receive_growth(&self) -> u64 {
        self.table.receive_growth()
    }

    /// Connections whose handshake is not complete, of those that peers began.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.table.half_open()
    }

    /// Pairs of ends in TIME-WAIT whose users have let go.
    #[must_use]
    pub fn time_waits(&self) -> usize {
        self.time_waits.len()
    }

    fn with<T>(&mut self, id: ConnectionId, call: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let entry = self.table.get_mut(id)?;
        if entry.stage == Stage::Released {
            return None;
        }
        let outcome = call(&mut entry.connection);
        self.touch(id);
        Some(outcome)
    }

    /// Has `read` take from a connection whose receive buffer may grow by what it is given.
    fn with_reader<T>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        read: impl FnOnce(&mut Connection, u64) -> T,
    ) -> Option<T> {
        let growth_max = self.config.receive_growth_bytes_max;
        if self.table.receive_growth() >= growth_max {
            self.table.reclaim_growth(now);
        }
        let spare = growth_max.saturating_sub(self.table.receive_growth());
        let entry = self.table.get_mut(id)?;
        if entry.stage == Stage::Released {
            return None;
        }
        let outcome = read(&mut entry.connection, spare);
        let owes_ack = entry.connection.owes_ack(now);
        self.table.follow_growth(id);
        if owes_ack {
            self.touch(id);
        }
        Some(outcome)
    }

    /// The connection has to be drained.
    fn touch(&mut self, id: ConnectionId) {
        if let Some(entry) = self.table.get_mut(id)
            && !entry.is_dirty
        {
            entry.is_dirty = true;
            self.dirty.push_back(id);
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse => "the address is in use",
            Self::NoPort => "no ephemeral port is free",
            Self::TooMany => "there are as many connections as are allowed",
        })
    }
}

impl core::error::Error for OpenError {}
