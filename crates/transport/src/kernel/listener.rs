//! Accepts from the kernel's TCP.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};

use crate::accept::{Accept, AcceptClear, AcceptError, OpenError, Opened};
use crate::tls::{ServerStream, ServerTls};

/// Connections that the kernel has completed and nobody has accepted yet, for each address. The
/// system may allow fewer (`net.core.somaxconn`).
const BACKLOG_CONNECTIONS_MAX: i32 = 4096;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAt {
    /// All addresses of this machine, IPv6 and IPv4; port 0 for any free one.
    Everywhere {
        /// The TCP port.
        port: u16,
    },
    /// These and no others. Port 0 means a free one, the same for all.
    Addresses(Vec<SocketAddr>),
}

/// Why a server cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// The list of addresses is empty.
    #[error("there is no address to listen on")]
    Nowhere,
    /// The system does not have or does not permit this way of controlling congestion.
    #[error(
        "the congestion control `{name}` cannot be used: {source}; this system has: {available}"
    )]
    Congestion {
        /// What was asked for.
        name: String,
        /// What could have been, divided by spaces.
        available: String,
        /// What the system said.
        source: io::Error,
    },
    /// The port is taken, the address is not this machine's, or a low port is not permitted.
    #[error("cannot listen on {address}: {source}")]
    Address {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Listens on sockets of the kernel and opens what arrives.
#[derive(Debug)]
pub struct KernelListener {
    tcp: ClearListener,
    congestion: Option<String>,
    tls: ServerTls,
}

/// Listens on sockets of the kernel.
#[derive(Debug)]
pub struct ClearListener {
    listeners: Vec<TcpListener>,
    /// Which listener is asked first, so that none can starve another.
    turn: AtomicUsize,
}

impl KernelListener {
    /// Begins to listen, in a tokio runtime. `congestion` names how the kernel is to control
    /// congestion on what is accepted; its own choice without one.
    ///
    /// # Errors
    /// [`BindError`]; nothing listens then.
    pub fn bind(
        at: &ListenAt,
        tls: ServerTls,
        congestion: Option<&str>,
    ) -> Result<Self, BindError> {
        let sockets = Bound::at(at)?;
        let first = sockets.first().ok_or(BindError::Nowhere)?;
        if let Some(name) = congestion {
            // Accepted sockets inherit it, so that a wrong name shows here and costs nothing there.
            for bound in &sockets {
                set_congestion(&bound.socket, name)?;
            }
        }
        let congestion = congestion_of(&first.socket);
        Ok(Self {
            tcp: ClearListener::listen(sockets, BACKLOG_CONNECTIONS_MAX)?,
            congestion,
            tls,
        })
    }

    /// Where it listens, with the ports that the system chose.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.tcp.local_addresses()
    }

    /// How the system says that it controls congestion; `None` where it does not say.
    #[must_use]
    pub fn congestion(&self) -> Option<&str> {
        self.congestion.as_deref()
    }
}

impl ClearListener {
    /// Begins to listen, in a tokio runtime. For each address, `backlog` connections may wait to be
    /// accepted; the system may allow fewer.
    ///
    /// # Errors
    /// [`BindError`]; nothing listens then.
    pub fn bind(at: &ListenAt, backlog: i32) -> Result<Self, BindError> {
        Self::listen(Bound::at(at)?, backlog)
    }

    /// Where it listens, with the ports that the system chose.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    fn listen(sockets: Vec<Bound>, backlog: i32) -> Result<Self, BindError> {
        if sockets.is_empty() {
            return Err(BindError::Nowhere);
        }
        let listeners = sockets
            .into_iter()
            .map(|bound| bound.listen(backlog))
            .collect::<Result<_, BindError>>()?;
        let turn = AtomicUsize::new(0);
        Ok(Self { listeners, turn })
    }

    async fn accept_any(&self) -> io::Result<(TcpStream, SocketAddr)> {
        if let [only] = self.listeners.as_slice() {
            return only.accept().await;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.listeners.len();
        let (later, sooner) = self.listeners.split_at(turn);
        let mut accepts: Vec<_> = sooner
            .iter()
            .chain(later)
            .map(|listener| Box::pin(listener.accept()))
            .collect();
        poll_fn(|cx| {
            accepts
                .iter_mut()
                .map(|accept| accept.as_mut().poll(cx))
                .find(Poll::is_ready)
                .unwrap_or(Poll::Pending)
        })
        .await
    }
}

impl Accept for KernelListener {
    type Raw = TcpStream;
    type Stream = ServerStream<TcpStream>;

    async fn accept(&self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        self.tcp.accept_clear().await
    }

    async fn until_spoken(&self, raw: &mut TcpStream) {
        // An error shows again where the stream is read.
        let _ = raw.peek(&mut [0]).await;
    }

    async fn open(&self, raw: TcpStream) -> Result<Opened<Self::Stream>, OpenError> {
        self.tls.open(raw).await
    }

    fn reset_on_drop(&self, stream: &Self::Stream, is_wanted: bool) {
        // A socket that lingers for no time is reset when it is closed, socket(7). It fails only if
        // the client has left.
        let linger = is_wanted.then_some(Duration::ZERO);
        let _ = SockRef::from(stream.raw()).set_linger(linger);
    }
}

impl AcceptClear for ClearListener {
    type Stream = TcpStream;

    async fn accept_clear(&self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        let (stream, peer) = self.accept_any().await.map_err(classify)?;
        // Without it, the last part of every answer would wait for an acknowledgement. It fails
        // only if the client has left already.
        stream.set_nodelay(true).map_err(AcceptError::Gone)?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Ok((stream, peer))
    }
}

/// What a failed `accept` means. Linux also reports there what befell the new connection,
/// accept(2). What is not known is waited out, so that it cannot make a busy loop.
fn classify(error: io::Error) -> AcceptError {
    match Errno::from_io_error(&error) {
        Some(
            Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::INTR
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::PERM
            | Errno::PROTO,
        ) => AcceptError::Gone(error),
        Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) => AcceptError::Broken(error),
        _ => AcceptError::Exhausted(error),
    }
}

/// A socket that has its address and does not listen yet.
struct Bound {
    address: SocketAddr,
    socket: Socket,
}

impl Bound {
    fn at(at: &ListenAt) -> Result<Vec<Self>, BindError> {
        match at {
            ListenAt::Everywhere { port } => Ok(vec![Self::everywhere(*port)?]),
            ListenAt::Addresses(addresses) => Self::each(addresses),
        }
    }

    /// With `only_ipv6`, `[::]` leaves `0.0.0.0` to another socket.
    fn new(address: SocketAddr, only_ipv6: bool) -> Result<Self, BindError> {
        let bind = || {
            let domain = Domain::for_address(address);
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            if address.is_ipv6() {
                socket.set_only_v6(only_ipv6)?;
            }
            // A server that starts again must not wait for the connections of the one before.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            let address = socket.local_addr()?.as_socket().unwrap_or(address);
            Ok(Self { address, socket })
        };
        bind().map_err(|source| BindError::Address { address, source })
    }

    /// One socket for both families where there is IPv6, and one for IPv4 where there is not.
    fn everywhere(port: u16) -> Result<Self, BindError> {
        match Self::new((Ipv6Addr::UNSPECIFIED, port).into(), false) {
            Err(BindError::Address { source, .. }) if source.kind() != io::ErrorKind::AddrInUse => {
                Self::new((Ipv4Addr::UNSPECIFIED, port).into(), false)
            }
            bound => bound,
        }
    }

    /// One socket for each address; those with port 0 share what the system chooses for the first.
    fn each(addresses: &[SocketAddr]) -> Result<Vec<Self>, BindError> {
        let mut all = Vec::new();
        let mut free_port = 0;
        for &(mut address) in addresses {
            let any_port = address.port() == 0;
            if any_port {
                address.set_port(free_port);
            }
            let bound = Self::new(address, true)?;
            if any_port {
                free_port = bound.address.port();
            }
            all.push(bound);
        }
        Ok(all)
    }

    fn listen(self, backlog: i32) -> Result<TcpListener, BindError> {
        let Self { address, socket } = self;
        socket
            .listen(backlog)
            .and_then(|()| TcpListener::from_std(socket.into()))
            .map_err(|source| BindError::Address { address, source })
    }
}

#[cfg(target_os = "linux")]
fn set_congestion(socket: &Socket, name: &str) -> Result<(), BindError> {
    const AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

    socket
        .set_tcp_congestion(name.as_bytes())
        .map_err(|source| BindError::Congestion {
            name: name.to_owned(),
            available: std::fs::read_to_string(AVAILABLE)
                .map_or_else(|_| "(unknown)".into(), |names| names.trim().to_owned()),
            source,
        })
}

#[cfg(target_os = "linux")]
fn congestion_of(socket: &Socket) -> Option<String> {
    let name = socket.tcp_congestion().ok()?;
    let name = name.split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(not(target_os = "linux"))]
fn set_congestion(_socket: &Socket, name: &str) -> Result<(), BindError> {
    Err(BindError::Congestion {
        name: name.to_owned(),
        available: "only its own choice".into(),
        source: io::ErrorKind::Unsupported.into(),
    })
}

#[cfg(not(target_os = "linux"))]
fn congestion_of(_socket: &Socket) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_errors_are_told_apart() {
        let cases = [
            (Errno::CONNABORTED, "Gone"),
            (Errno::NETUNREACH, "Gone"),
            (Errno::MFILE, "Exhausted"),
            (Errno::NFILE, "Exhausted"),
            (Errno::NOBUFS, "Exhausted"),
            (Errno::NOMEM, "Exhausted"),
            (Errno::XFULL, "Exhausted"),
            (Errno::BADF, "Broken"),
        ];
        for (errno, expected) in cases {
            let found = format!("{:?}", classify(errno.into()));
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
