//! Where a dial leads, and how long it may take.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use packhorse_protocol::address::HostPort;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use crate::dial::{DialError, Stage};

/// A place, and the time to reach it.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) place: HostPort,
    pub(crate) timeout: Duration,
}

impl Goal {
    /// When a dial that begins now has taken too long.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Does one stage of a dial, as long as there is time.
    ///
    /// # Errors
    /// Those of `work`, and `TimedOut`.
    pub(crate) async fn until<T>(
        &self,
        deadline: Instant,
        stage: Stage,
        work: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        timeout_at(deadline, work)
            .await
            .unwrap_or_else(|_| Err(self.timed_out(stage)))
    }

    pub(crate) fn timed_out(&self, stage: Stage) -> DialError {
        DialError::TimedOut {
            place: self.place.clone(),
            stage,
            after: self.timeout,
        }
    }

    /// The addresses of the place that are `wanted`, in the order in which the system gives them.
    ///
    /// # Errors
    /// `NotFound`, also if none is wanted.
    pub(crate) async fn look_up(
        &self,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let not_found = |source| DialError::NotFound {
            place: self.place.clone(),
            source,
        };
        let found: Vec<_> = lookup_host((self.place.host.as_str(), self.place.port))
            .await
            .map_err(not_found)?
            .filter(wanted)
            .collect();
        match found.is_empty() {
            true => Err(not_found(io::Error::other("the name has no such address"))),
            false => Ok(found),
        }
    }
}
