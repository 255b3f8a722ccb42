//! Dials over the kernel's TCP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use packhorse_protocol::address::HostPort;
use packhorse_protocol::key::Pin;
use rustix::io::Errno;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::happy_eyeballs::connect_first;
use crate::dial::{Dial, DialError, Dialled, Stage};
use crate::tls::{ClientStream, ClientTls};

/// How long a dial takes at most, from the name to the proven identity, unless said otherwise.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// The way to one server.
#[derive(Debug, Clone)]
pub struct KernelDialer {
    place: HostPort,
    tls: ClientTls,
    timeout: Duration,
}

impl KernelDialer {
    /// To the server at `place` with the pin `expected`, or to whoever is there.
    #[must_use]
    pub fn new(place: HostPort, expected: Option<Pin>) -> Self {
        Self {
            place,
            tls: ClientTls::new(expected),
            timeout: DIAL_TIMEOUT,
        }
    }

    /// Gives up after `timeout` and not after [`DIAL_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Where it dials.
    #[must_use]
    pub fn place(&self) -> &HostPort {
        &self.place
    }

    async fn look_up(&self) -> Result<Vec<SocketAddr>, DialError> {
        let not_found = |source| DialError::NotFound {
            place: self.place.clone(),
            source,
        };
        let found: Vec<_> = lookup_host((self.place.host.as_str(), self.place.port))
            .await
            .map_err(not_found)?
            .collect();
        if found.is_empty() {
            return Err(not_found(io::Error::other("the name has no address")));
        }
        Ok(found)
    }

    async fn connect(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> Result<(TcpStream, SocketAddr), DialError> {
        let (stream, peer) = connect_first(addresses, TcpStream::connect)
            .await
            .map_err(|failures| self.connect_error(failures))?;
        // Without it, the last part of every request would wait for an acknowledgement.
        stream.set_nodelay(true).map_err(|source| DialError::Io {
            place: self.place.clone(),
            source,
        })?;
        Ok((stream, peer))
    }

    /// One error for all addresses. An address that cannot be reached from here, as most of IPv6
    /// cannot, says less than one that answered.
    fn connect_error(&self, failures: Vec<io::Error>) -> DialError {
        let place = self.place.clone();
        let (unreachable, telling): (Vec<_>, Vec<_>) =
            failures.into_iter().partition(is_unreachable);
        if !telling.is_empty() && telling.iter().all(is_refusal) {
            return DialError::Refused { place };
        }
        match (
            telling.into_iter().rfind(|error| !is_refusal(error)),
            unreachable.into_iter().next_back(),
        ) {
            (Some(error), _) if error.kind() == io::ErrorKind::TimedOut => DialError::TimedOut {
                place,
                stage: Stage::Connect,
                after: self.timeout,
            },
            (Some(source), _) => DialError::Io { place, source },
            (None, Some(source)) => DialError::Unreachable { place, source },
            (None, None) => DialError::Unreachable {
                place,
                source: io::Error::other("it has no address"),
            },
        }
    }

    async fn until<T>(
        &self,
        deadline: Instant,
        stage: Stage,
        work: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        timeout_at(deadline, work).await.unwrap_or_else(|_| {
            Err(DialError::TimedOut {
                place: self.place.clone(),
                stage,
                after: self.timeout,
            })
        })
    }
}

impl Dial for KernelDialer {
    type Stream = ClientStream<TcpStream>;

    async fn dial(&self) -> Result<Dialled<Self::Stream>, DialError> {
        let deadline = Instant::now() + self.timeout;
        let addresses = self.until(deadline, Stage::Lookup, self.look_up()).await?;
        let connecting = self.connect(addresses);
        let (raw, peer) = self.until(deadline, Stage::Connect, connecting).await?;
        let shaking_hands = self.tls.handshake(raw, &self.place);
        let (native, pin) = self
            .until(deadline, Stage::Handshake, shaking_hands)
            .await?;
        Ok(Dialled { native, pin, peer })
    }
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
        let dialer = KernelDialer::new(place, None);
        for (failures, expected) in cases {
            let failures = failures.iter().map(|&errno| errno.into()).collect();
            let error = format!("{:?}", dialer.connect_error(failures));
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
