//! Where scripted clients arrive.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use packhorse_protocol::proof::ChannelBinding;
use packhorse_transport::accept::{Accept, AcceptError, OpenError, Opened};
use packhorse_transport::stream::Native;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Mutex, mpsc};

/// Accepts what a [`Road`] brings.
pub(crate) struct Gate(Mutex<mpsc::UnboundedReceiver<Result<Arrival, AcceptError>>>);

/// The way to a [`Gate`].
#[derive(Debug)]
pub(crate) struct Road {
    arrive: mpsc::UnboundedSender<Result<Arrival, AcceptError>>,
    next: AtomicU8,
}

#[derive(Debug)]
pub(crate) struct Arrival {
    pipe: DuplexStream,
    binding: ChannelBinding,
    shake: Shake,
}

/// How a connection's first bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shake {
    Native,
    /// A handshake that never comes to its end.
    Never,
    /// Something else than the native protocol.
    Clear,
}

impl Gate {
    pub(crate) fn new() -> (Self, Road) {
        let (arrive, arrivals) = mpsc::unbounded_channel();
        let road = Road {
            arrive,
            next: AtomicU8::new(0),
        };
        (Self(Mutex::new(arrivals)), road)
    }
}

impl Road {
    /// A connection whose pipe holds `pipe_bytes` each way.
    pub(crate) fn connect(
        &self,
        pipe_bytes: usize,
        shake: Shake,
    ) -> (DuplexStream, ChannelBinding) {
        let (near, pipe) = duplex(pipe_bytes);
        let binding = ChannelBinding([self.next.fetch_add(1, Ordering::Relaxed); 32]);
        // A gate that is gone leaves the pipe closed.
        let _ = self.arrive.send(Ok(Arrival {
            pipe,
            binding,
            shake,
        }));
        (near, binding)
    }

    /// Something goes wrong with accepting.
    pub(crate) fn fail(&self, error: AcceptError) {
        let _ = self.arrive.send(Err(error));
    }
}

impl Accept for Gate {
    type Raw = Arrival;
    type Stream = DuplexStream;

    async fn accept(&self) -> Result<(Arrival, SocketAddr), AcceptError> {
        match self.0.lock().await.recv().await {
            Some(arrival) => Ok((arrival?, SocketAddr::from(([127, 0, 0, 1], 1)))),
            None => std::future::pending().await,
        }
    }

    async fn open(&self, arrival: Arrival) -> Result<Opened<DuplexStream>, OpenError> {
        let Arrival {
            pipe,
            binding,
            shake,
        } = arrival;
        match shake {
            Shake::Native => Ok(Opened::Native(Native {
                stream: pipe,
                binding,
            })),
            Shake::Never => {
                let _held = pipe;
                std::future::pending().await
            }
            Shake::Clear => Ok(Opened::Clear {
                stream: pipe,
                silence: Duration::ZERO,
            }),
        }
    }
}
