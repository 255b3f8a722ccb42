//! The sockets of one host, on an endpoint in virtual time. Nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use libc::c_int;
use packhorse_tcp::{
    Connection, ConnectionId, Endpoint, EndpointEvent, Failure, Instant, ListenAt, ListenerId,
    OpenError, Packet, Read, State,
};

use crate::settings::Settings;
use crate::tcp_info;

/// The first number of a socket; those below are the process's own.
const DESCRIPTOR_FIRST: c_int = 3;

/// Initial sequence numbers and ports are the same in each run.
const KEY: [u8; 16] = [7; 16];

/// When the host's clock begins, so that the time of day is none that looks like a mistake.
const EPOCH: Instant = Instant::from_millis(1_000_000_000);

/// A number of `errno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt<T> {
    Done(Result<T, Errno>),
    /// Nothing yet, and nothing was changed.
    Blocked,
}

/// A host with our TCP.
#[derive(Debug)]
pub(crate) struct Machine {
    settings: Settings,
    endpoint: Endpoint,
    now: Instant,
    sockets: BTreeMap<c_int, Socket>,
    /// What has left the host, and when.
    outgoing: VecDeque<(Instant, Bytes)>,
}

#[derive(Debug)]
struct Socket {
    role: Role,
    is_ipv6: bool,
    is_nonblocking: bool,
    is_nodelay: bool,
    /// Closing it resets the connection (`SO_LINGER` with no time).
    resets: bool,
    /// Its error was told (`SO_ERROR`).
    has_told: bool,
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Unused {
        bound: Option<SocketAddr>,
    },
    Listener {
        id: ListenerId,
        /// What `poll` has found waiting, and `accept` takes first.
        found: Option<ConnectionId>,
    },
    Stream(ConnectionId),
}

/// What `poll` asks and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) hung_up: bool,
    pub(crate) failed: bool,
}

impl Machine {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            endpoint: Endpoint::new(settings.endpoint(), KEY),
            settings,
            now: EPOCH,
            sockets: BTreeMap::new(),
            outgoing: VecDeque::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// When something happens here next if nobody calls.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.endpoint.poll_timeout()?;
        Some(deadline.at().max(self.now))
    }

    /// Lets time go on, and does what is due.
    pub(crate) fn advance_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.endpoint.handle_timeout(self.now);
        self.drain();
    }

    /// A packet arrives, from its IP header on.
    pub(crate) fn handle_packet(&mut self, packet: &[u8]) {
        if let Ok(packet) = Packet::parse(&Bytes::copy_from_slice(packet)) {
            self.endpoint.handle_packet(self.now, packet);
            self.drain();
        }
    }

    /// The next packet that has left, and when.
    pub(crate) fn next_packet(&mut self) -> Option<(Instant, Bytes)> {
        self.outgoing.pop_front()
    }

    /// Packets that have left and were not fetched.
    pub(crate) fn packets_waiting(&self) -> usize {
        self.outgoing.len()
    }

    pub(crate) fn socket(&mut self, is_ipv6: bool, is_nonblocking: bool) -> c_int {
        let taken = self.sockets.last_key_value();
        let fd = taken.map_or(DESCRIPTOR_FIRST, |(last, _)| last + 1);
        self.insert(fd, Role::Unused { bound: None }, is_ipv6, is_nonblocking);
        fd
    }

    pub(crate) fn bind(&mut self, fd: c_int, address: SocketAddr) -> Result<(), Errno> {
        match &mut self.get(fd)?.role {
            Role::Unused { bound } if bound.is_none() => {
                *bound = Some(address);
                Ok(())
            }
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    pub(crate) fn listen(&mut self, fd: c_int, backlog: usize) -> Result<(), Errno> {
        let Role::Unused { bound: Some(at) } = self.get(fd)?.role else {
            return Err(Errno(libc::EINVAL));
        };
        let place = if at.ip().is_unspecified() {
            ListenAt::Port(at.port())
        } else {
            ListenAt::Address(at)
        };
        let opened = self.endpoint.listen(place, backlog);
        let id = opened.map_err(|_| Errno(libc::EADDRINUSE))?;
        self.get(fd)?.role = Role::Listener { id, found: None };
        Ok(())
    }

    /// The descriptor and the peer of the connection that has waited longest.
    pub(crate) fn accept(&mut self, fd: c_int) -> Attempt<(c_int, SocketAddr)> {
        let is_ipv6 = self.get(fd).is_ok_and(|socket| socket.is_ipv6);
        let id = match self.look_for_caller(fd) {
            Ok(Some(id)) => id,
            Ok(None) => return Attempt::Blocked,
            Err(error) => return Attempt::Done(Err(error)),
        };
        if let Ok(Socket {
            role: Role::Listener { found, .. },
            ..
        }) = self.get(fd)
        {
            *found = None;
        }
        let accepted = self.socket(is_ipv6, false);
        self.insert(accepted, Role::Stream(id), is_ipv6, false);
        let remote = self.endpoint.connection(id).map(Connection::remote);
        Attempt::Done(
            remote
                .map(|remote| (accepted, remote))
                .ok_or(Errno(libc::ECONNABORTED)),
        )
    }

    /// Begins to connect; `is_connected` says how it went.
    pub(crate) fn connect(&mut self, fd: c_int, remote: SocketAddr) -> Result<(), Errno> {
        let Role::Unused { bound } = self.get(fd)?.role else {
            return Err(Errno(libc::EISCONN));
        };
        let any = |remote: SocketAddr| match remote {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut local = bound.unwrap_or_else(|| SocketAddr::new(any(remote), 0));
        if local.ip().is_unspecified() {
            local.set_ip(match remote {
                SocketAddr::V4(_) => self.settings.local_v4.into(),
                SocketAddr::V6(_) => self.settings.local_v6.into(),
            });
        }
        let opened = self.endpoint.connect(self.now, local, remote);
        let id = opened.map_err(|error| match error {
            OpenError::InUse | OpenError::NoPort => Errno(libc::EADDRNOTAVAIL),
            OpenError::TooMany => Errno(libc::ENOBUFS),
        })?;
        self.get(fd)?.role = Role::Stream(id);
        self.drain();
        Ok(())
    }

    pub(crate) fn is_connected(&mut self, fd: c_int) -> Attempt<()> {
        match self.stream(fd).and_then(|id| self.connection(id)) {
            Err(error) => Attempt::Done(Err(error)),
            Ok(connection) => match (connection.failure(), connection.state()) {
                (Some(failure), _) => Attempt::Done(Err(errno_of(failure))),
                (None, State::SynSent | State::SynReceived) => Attempt::Blocked,
                (None, _) => Attempt::Done(Ok(())),
            },
        }
    }

    /// Fills as much of `into` as there is data for.
    pub(crate) fn read(&mut self, fd: c_int, into: &mut [u8]) -> Attempt<usize> {
        let id = match self.stream(fd) {
            Ok(id) => id,
            Err(error) => return Attempt::Done(Err(error)),
        };
        let mut filled = 0;
        while filled < into.len() {
            match self.endpoint.read(self.now, id, into.len() - filled) {
                Read::Data(data) => {
                    into[filled..filled + data.len()].copy_from_slice(&data);
                    filled += data.len();
                }
                _ if filled > 0 => break,
                Read::Pending => return Attempt::Blocked,
                Read::End => break,
                Read::Failed(failure) => return Attempt::Done(Err(errno_of(failure))),
            }
        }
        self.drain();
        Attempt::Done(Ok(filled))
    }

    /// Takes as much of `data` as there is room for, at least a byte.
    pub(crate) fn write(&mut self, fd: c_int, data: &[u8]) -> Attempt<usize> {
        let connected = self.is_connected(fd);
        let id = match (self.stream(fd), connected) {
            (Ok(id), Attempt::Done(Ok(()))) => id,
            (_, Attempt::Blocked) => return Attempt::Blocked,
            (Err(error), _) | (_, Attempt::Done(Err(error))) => return Attempt::Done(Err(error)),
        };
        if self.connection(id).is_ok_and(Connection::is_shut_down) {
            return Attempt::Done(Err(Errno(libc::EPIPE)));
        }
        let taken = self
            .endpoint
            .write(self.now, id, Bytes::copy_from_slice(data));
        self.drain();
        if taken == 0 && !data.is_empty() {
            return Attempt::Blocked;
        }
        Attempt::Done(Ok(taken))
    }

    /// No more data from us; what we read stays open, as with every TCP.
    pub(crate) fn shutdown(&mut self, fd: c_int, how: c_int) -> Result<(), Errno> {
        let id = self.stream(fd)?;
        if how == libc::SHUT_WR || how == libc::SHUT_RDWR {
            self.endpoint.shutdown(self.now, id);
            self.drain();
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, fd: c_int) -> Result<(), Errno> {
        let socket = self.sockets.remove(&fd).ok_or(Errno(libc::EBADF))?;
        match socket.role {
            Role::Unused { .. } => {}
            Role::Listener { id, .. } => self.endpoint.close_listener(self.now, id),
            Role::Stream(id) => {
                if socket.resets {
                    self.endpoint.abort(self.now, id);
                }
                self.endpoint.release(self.now, id);
            }
        }
        self.drain();
        Ok(())
    }

    pub(crate) fn is_nonblocking(&mut self, fd: c_int) -> Result<bool, Errno> {
        Ok(self.get(fd)?.is_nonblocking)
    }

    pub(crate) fn set_nonblocking(&mut self, fd: c_int, is: bool) -> Result<(), Errno> {
        self.get(fd)?.is_nonblocking = is;
        Ok(())
    }

    pub(crate) fn is_nodelay(&mut self, fd: c_int) -> Result<bool, Errno> {
        Ok(self.get(fd)?.is_nodelay)
    }

    pub(crate) fn set_nodelay(&mut self, fd: c_int, is: bool) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        socket.is_nodelay = is;
        if let Role::Stream(id) = socket.role {
            self.endpoint.set_nodelay(id, is);
            self.drain();
        }
        Ok(())
    }

    /// Whether closing the socket resets its connection.
    pub(crate) fn set_resets(&mut self, fd: c_int, resets: bool) -> Result<(), Errno> {
        self.get(fd)?.resets = resets;
        Ok(())
    }

    /// Why the connection failed, once (`SO_ERROR`).
    pub(crate) fn take_error(&mut self, fd: c_int) -> Result<c_int, Errno> {
        let Role::Stream(id) = self.get(fd)?.role else {
            return Ok(0);
        };
        let failure = self.connection(id)?.failure();
        let socket = self.get(fd)?;
        Ok(match failure {
            Some(failure) if !core::mem::replace(&mut socket.has_told, true) => errno_of(failure).0,
            _ => 0,
        })
    }

    /// Bytes that can be read now.
    pub(crate) fn readable(&mut self, fd: c_int) -> Result<u64, Errno> {
        let id = self.stream(fd)?;
        Ok(self.connection(id)?.readable())
    }

    /// `TCP_INFO`.
    pub(crate) fn info(&mut self, fd: c_int) -> Result<Vec<u8>, Errno> {
        let id = self.stream(fd)?;
        let connection = self.connection(id)?;
        Ok(tcp_info::encode(connection.state(), &connection.stats()))
    }

    /// What `poll` would find.
    pub(crate) fn readiness(&mut self, fd: c_int) -> Result<Readiness, Errno> {
        let id = match self.get(fd)?.role {
            Role::Stream(id) => id,
            Role::Unused { .. } => return Ok(Readiness::default()),
            Role::Listener { .. } => {
                let readable = self.look_for_caller(fd)?.is_some();
                return Ok(Readiness {
                    readable,
                    ..Readiness::default()
                });
            }
        };
        let connection = self.connection(id)?;
        let (state, failed) = (connection.state(), connection.failure().is_some());
        let opens = matches!(state, State::SynSent | State::SynReceived);
        let has_ended = matches!(
            state,
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait | State::Closed
        );
        Ok(Readiness {
            readable: connection.readable() > 0 || has_ended || failed,
            writable: failed || !opens && (connection.writable() > 0 || connection.is_shut_down()),
            hung_up: has_ended && connection.is_shut_down(),
            failed,
        })
    }

    /// A little passes at each look at the clock: who spins on it comes to an end.
    pub(crate) fn tick(&mut self) {
        self.advance_to(self.now + Duration::from_micros(1));
    }

    fn drain(&mut self) {
        while let Some(sent) = self.endpoint.poll_transmit(self.now, 1) {
            for packet in sent.packets() {
                let mut bytes = Vec::new();
                packet.encode(&mut bytes);
                self.outgoing.push_back((self.now, bytes.into()));
            }
        }
        while let Some(EndpointEvent::Acceptable(_) | EndpointEvent::Connection(..)) =
            self.endpoint.poll_event()
        {}
    }

    /// The connection that `accept` gives next.
    fn look_for_caller(&mut self, fd: c_int) -> Result<Option<ConnectionId>, Errno> {
        let socket = self.sockets.get_mut(&fd).ok_or(Errno(libc::EBADF))?;
        match &mut socket.role {
            Role::Listener { id, found, .. } => {
                *found = found.or_else(|| self.endpoint.accept(*id));
                Ok(*found)
            }
            Role::Unused { .. } | Role::Stream(_) => Err(Errno(libc::EINVAL)),
        }
    }

    fn insert(&mut self, fd: c_int, role: Role, is_ipv6: bool, is_nonblocking: bool) {
        let socket = Socket {
            role,
            is_ipv6,
            is_nonblocking,
            is_nodelay: false,
            resets: false,
            has_told: false,
        };
        self.sockets.insert(fd, socket);
    }

    fn get(&mut self, fd: c_int) -> Result<&mut Socket, Errno> {
        self.sockets.get_mut(&fd).ok_or(Errno(libc::EBADF))
    }

    fn stream(&mut self, fd: c_int) -> Result<ConnectionId, Errno> {
        match self.get(fd)?.role {
            Role::Stream(id) => Ok(id),
            Role::Unused { .. } | Role::Listener { .. } => Err(Errno(libc::ENOTCONN)),
        }
    }

    fn connection(&self, id: ConnectionId) -> Result<&Connection, Errno> {
        self.endpoint.connection(id).ok_or(Errno(libc::ENOTCONN))
    }
}

fn errno_of(failure: Failure) -> Errno {
    Errno(match failure {
        Failure::Refused => libc::ECONNREFUSED,
        Failure::Reset => libc::ECONNRESET,
        Failure::TimedOut => libc::ETIMEDOUT,
        Failure::NotUnicast => libc::ENETUNREACH,
        Failure::Aborted => libc::ECONNABORTED,
    })
}
