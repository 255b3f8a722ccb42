//! Our own TCP as a way to a server, and as a place where clients arrive.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use packhorse_protocol::address::HostPort;
use packhorse_protocol::key::Pin;
use tokio::time::Instant;

use super::{Stack, TcpListener, TcpStream};
use crate::accept::{Accept, AcceptClear, AcceptError, OpenError, Opened};
use crate::dial::{Dial, DialClear, DialError, Dialled, Stage};
use crate::goal::Goal;
use crate::kernel::DIAL_TIMEOUT;
use crate::tls::{ClientStream, ClientTls, ServerStream, ServerTls};

/// The way to one server through a stack.
#[derive(Debug, Clone)]
pub struct StackDialer {
    stack: Stack,
    local: IpAddr,
    goal: Goal,
    tls: ClientTls,
}

/// Takes connections from a stack and opens them.
#[derive(Debug)]
pub struct StackAcceptor {
    listener: TcpListener,
    tls: ServerTls,
}

impl StackDialer {
    /// From the address `local` to the server at `place` with the pin `expected`, or to whoever
    /// is there. A name is looked up as the system does it, and the first address of `local`'s
    /// family is taken.
    #[must_use]
    pub fn new(stack: Stack, local: IpAddr, place: HostPort, expected: Option<Pin>) -> Self {
        Self {
            stack,
            local,
            goal: Goal {
                place,
                timeout: DIAL_TIMEOUT,
            },
            tls: ClientTls::new(expected),
        }
    }

    /// Gives up after `timeout` and not after [`DIAL_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.goal.timeout = timeout;
        self
    }

    async fn dial_until(&self, deadline: Instant) -> Result<(TcpStream, SocketAddr), DialError> {
        let remote = self.look_up();
        let remote = self.goal.until(deadline, Stage::Lookup, remote).await?;
        let connecting = async {
            let local = SocketAddr::new(self.local, 0);
            let stream = self.stack.connect(local, remote).await;
            let stream = stream.map_err(|source| self.connect_error(source))?;
            // Without it, the last part of every request would wait for an acknowledgement.
            let nodelay = stream.set_nodelay(true);
            nodelay.map_err(|source| self.connect_error(source))?;
            Ok((stream, remote))
        };
        self.goal.until(deadline, Stage::Connect, connecting).await
    }

    async fn look_up(&self) -> Result<SocketAddr, DialError> {
        let is_v4 = self.local.is_ipv4();
        let found = self.goal.look_up(|address| address.is_ipv4() == is_v4);
        Ok(found.await?[0])
    }

    fn connect_error(&self, source: io::Error) -> DialError {
        let place = self.goal.place.clone();
        match source.kind() {
            io::ErrorKind::ConnectionRefused => DialError::Refused { place },
            io::ErrorKind::TimedOut => self.goal.timed_out(Stage::Connect),
            _ => DialError::Io { place, source },
        }
    }
}

impl Dial for StackDialer {
    type Stream = ClientStream<TcpStream>;

    async fn dial(&self) -> Result<Dialled<Self::Stream>, DialError> {
        let deadline = self.goal.deadline();
        let (raw, peer) = self.dial_until(deadline).await?;
        let shaking_hands = self.tls.handshake(raw, &self.goal.place);
        let (native, pin) = self
            .goal
            .until(deadline, Stage::Handshake, shaking_hands)
            .await?;
        Ok(Dialled { native, pin, peer })
    }
}

impl DialClear for StackDialer {
    type Stream = TcpStream;

    async fn dial_clear(&self) -> Result<(TcpStream, SocketAddr), DialError> {
        self.dial_until(self.goal.deadline()).await
    }
}

impl StackAcceptor {
    /// Opens what `listener` takes.
    #[must_use]
    pub fn new(listener: TcpListener, tls: ServerTls) -> Self {
        Self { listener, tls }
    }
}

impl Accept for StackAcceptor {
    type Raw = TcpStream;
    type Stream = ServerStream<TcpStream>;

    async fn accept(&self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        self.listener.accept_clear().await
    }

    async fn until_spoken(&self, raw: &mut TcpStream) {
        raw.readable().await;
    }

    async fn open(&self, raw: TcpStream) -> Result<Opened<Self::Stream>, OpenError> {
        self.tls.open(raw).await
    }

    fn reset_on_drop(&self, stream: &Self::Stream, is_wanted: bool) {
        stream.raw().set_zero_linger(is_wanted);
    }
}

impl AcceptClear for TcpListener {
    type Stream = TcpStream;

    async fn accept_clear(&self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        let (stream, peer) = self.accept().await.map_err(AcceptError::Broken)?;
        stream.set_nodelay(true).map_err(AcceptError::Gone)?;
        Ok((stream, peer))
    }
}
