//! Dials over the kernel's TCP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use packhorse_protocol::address::HostPort;
use packhorse_protocol::key::Pin;
use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::happy_eyeballs::connect_first;
use crate::dial::{Dial, DialClear, DialError, Dialled, Stage};
use crate::goal::Goal;
use crate::tls::{ClientStream, ClientTls};

/// How long a dial takes at most, from the name to the proven identity, unless said otherwise.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// The way to one server.
#[derive(Debug, Clone)]
pub struct KernelDialer {
    tcp: ClearDialer,
    tls: ClientTls,
}

impl KernelDialer {
    /// To the server at `place` with the pin `expected`, or to whoever is there.
    #[must_use]
    pub fn new(place: HostPort, expected: Option<Pin>) -> Self {
        Self {
            tcp: ClearDialer::new(place),
            tls: ClientTls::new(expected),
        }
    }

    /// Gives up after `timeout` and not after [`DIAL_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        let tcp = self.tcp.with_timeout(timeout);
        Self { tcp, ..self }
    }

    /// Where it dials.
    #[must_use]
    pub fn place(&self) -> &HostPort {
        self.tcp.place()
    }
}

impl Dial for KernelDialer {
    type Stream = ClientStream<TcpStream>;

    async fn dial(&self) -> Result<Dialled<Self::Stream>, DialError> {
        let deadline = self.tcp.goal.deadline();
        let (raw, peer) = self.tcp.dial_until(deadline).await?;
        let shaking_hands = self.tls.handshake(raw, self.place());
        let (native, pin) = self
            .tcp
            .goal
            .until(deadline, Stage::Handshake, shaking_hands)
            .await?;
        Ok(Dialled { native, pin, peer })
    }
}

/// The way to whoever listens at a place, without TLS.
#[derive(Debug, Clone)]
pub struct ClearDialer {
    goal: Goal,
    from: Option<SocketAddr>,
}

impl ClearDialer {
    /// To `place`.
    #[must_use]
    pub fn new(place: HostPort) -> Self {
        Self {
            goal: Goal {
                place,
                timeout: DIAL_TIMEOUT,
            },
            from: None,
        }
    }

    /// Gives up after `timeout` and not after [`DIAL_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.goal.timeout = timeout;
        self
    }

    /// Dials from the address `from` of this machine; port 0 for any free one.
    #[must_use]
    pub fn with_source(self, from: SocketAddr) -> Self {
        let from = Some(from);
        Self { from, ..self }
    }

    /// Where it dials.
    #[must_use]
    pub fn place(&self) -> &HostPort {
        &self.goal.place
    }

    async fn dial_until(&self, deadline: Instant) -> Result<(TcpStream, SocketAddr), DialError> {
        let looking_up = self.goal.look_up(|_| true);
        let addresses = self.goal.until(deadline, Stage::Lookup, looking_up).await?;
        let connecting = self.connect(addresses);
        self.goal.until(deadline, Stage::Connect, connecting).await
    }

    async fn connect(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> Result<(TcpStream, SocketAddr), DialError> {
        let from = self.from;
        let (stream, peer) = connect_first(addresses, move |to| connect_from(from, to))
            .await
            .map_err(|failures| self.connect_error(failures))?;
        // Without it, the last part of every request would wait for an acknowledgement.
        stream.set_nodelay(true).map_err(|source| DialError::Io {
            place: self.goal.place.clone(),
            source,
        })?;
        Ok((stream, peer))
    }

    /// One error for all addresses. An address that cannot be reached from here, as most of IPv6
    /// cannot, says less than one that answered.
    fn connect_error(&self, failures: Vec<io::Error>) -> DialError {
        let place = self.goal.place.clone();
        let (unreachable, telling): (Vec<_>, Vec<_>) =
            failures.into_iter().partition(is_unreachable);
        if !telling.is_empty() && telling.iter().all(is_refusal) {
            return DialError::Refused { place };
        }
        match (
            telling.into_iter().rfind(|error| !is_refusal(error)),
            unreachable.into_iter().next_back(),
        ) {
            (Some(error), _) if error.kind() == io::ErrorKind::TimedOut => {
                self.goal.timed_out(Stage::Connect)
            }
            (Some(source), _) => DialError::Io { place, source },
            (None, Some(source)) => DialError::Unreachable { place, source },
            (None, None) => DialError::Unreachable {
                place,
                source: io::Error::other("it has no address"),
            },
        }
    }
}

impl DialClear for ClearDialer {
    type Stream = TcpStream;

    async fn dial_clear(&self) -> Result<(TcpStream, SocketAddr), DialError> {
        self.dial_until(self.goal.deadline()).await
    }
}

async fn connect_from(from: Option<SocketAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(from) = from else {
        return TcpStream::connect(to).await;
    };
    let socket = match from {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // An earlier connection from the same port, to someone else, does no harm.
    socket.set_reuseaddr(true)?;
    socket.bind(from)?;
    socket.connect(to).await
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// The address leads nowhere from here: there is no route, or not even the address family.
fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NETUNREACH
                | Errno::HOSTUNREACH
                | Errno::NETDOWN
                | Errno::ADDRNOTAVAIL
                | Errno::AFNOSUPPORT
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_failure_is_reported() {
        let cases: [(&[Errno], &str); 8] = [
            (&[Errno::CONNREFUSED, Errno::CONNREFUSED], "Refused"),
            (&[Errno::NETUNREACH, Errno::CONNREFUSED], "Refused"),
            (&[Errno::CONNREFUSED, Errno::AFNOSUPPORT], "Refused"),
            (&[Errno::HOSTUNREACH, Errno::NETUNREACH], "Unreachable"),
            (&[Errno::TIMEDOUT, Errno::CONNREFUSED], "TimedOut"),
            (&[Errno::NETUNREACH, Errno::TIMEDOUT], "TimedOut"),
            (&[Errno::CONNRESET, Errno::CONNREFUSED], "Io"),
            (&[], "Unreachable"),
        ];
        let place = HostPort::parse("host:1", None).unwrap();
        let dialer = ClearDialer::new(place);
        for (failures, expected) in cases {
            let failures = failures.iter().map(|&errno| errno.into()).collect();
            let error = format!("{:?}", dialer.connect_error(failures));
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn each_answer_of_the_system_has_its_words() {
        let place = HostPort::parse("host:1", None).unwrap();
        let dialer = ClearDialer::new(place);
        let silent = "host:1 did not answer within 15s: a firewall may keep silent";
        let no_way = "there is no way to host:1 from here";
        let refused = "host:1 refused the connection: check the port";
        let failed = "the connection to host:1 failed";
        let cases = [
            (Errno::TIMEDOUT, silent),
            (Errno::CONNREFUSED, refused),
            (Errno::HOSTUNREACH, no_way),
            (Errno::NETUNREACH, no_way),
            (Errno::NETDOWN, no_way),
            (Errno::ADDRNOTAVAIL, no_way),
            (Errno::AFNOSUPPORT, no_way),
            (Errno::CONNRESET, failed),
            (Errno::PERM, failed),
        ];
        for (errno, words) in cases {
            let error = dialer.connect_error(vec![errno.into()]).to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
