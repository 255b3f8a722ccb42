//! Streams on our own TCP, over anything that carries IP packets.
//!
//! A [`Stack`] is an [`Endpoint`] with a device, a clock and a task that moves packets between
//! them. Its [`TcpListener`] and [`TcpStream`] behave as tokio's of these names do. All share one
//! lock, which is held for the length of a call and never across an `await` (decision 19).
//!
//! ```
//! use packhorse_transport::stack::{PacketPipe, Stack};
//! use packhorse_tcp::{EndpointConfig, ListenAt};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let (near, far) = PacketPipe::pair(1_000);
//! let (client, _) = Stack::start(near, EndpointConfig::default(), [1; 16]);
//! let (server, _) = Stack::start(far, EndpointConfig::default(), [2; 16]);
//! let listener = server.listen(ListenAt::Port(80), 16)?;
//! let mut stream = client.connect("192.0.2.1:0".parse().unwrap(), "192.0.2.2:80".parse().unwrap()).await?;
//! let (mut accepted, _peer) = listener.accept().await?;
//! stream.write_all(b"hello").await?;
//! let mut word = [0; 5];
//! accepted.read_exact(&mut word).await?;
//! assert_eq!(&word, b"hello");
//! # Ok(())
//! # }
//! ```

mod device;
mod dialer;
mod driver;
mod listener;
mod packet_buffers;
mod packet_pipe;
mod socket;
mod split;
mod stream;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use packhorse_tcp::{Endpoint, EndpointConfig, EndpointStats, ListenAt, OpenError, State};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use device::{PacketDevice, ReceivedPacket, send_packets};
pub use dialer::{StackAcceptor, StackDialer};
pub use listener::TcpListener;
pub use packet_pipe::PacketPipe;
pub use split::{OwnedReadHalf, OwnedWriteHalf};
pub use stream::TcpStream;

use socket::{Sockets, now_since};
use stream::Socket;

/// Our own TCP on a device; clones are the same stack.
#[derive(Debug)]
pub struct Stack {
    shared: Arc<Shared>,
}

/// What a stack, its sockets and its driver have together.
#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// There is something for the driver to do.
    work: Notify,
    start: tokio::time::Instant,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    sockets: Sockets,
    /// Stacks, listeners and streams that users hold.
    handles: usize,
    /// What the device broke with.
    broken: Option<(io::ErrorKind, String)>,
}

impl Stack {
    /// Runs our TCP on `device`, in a tokio runtime. The task ends when nobody holds anything of
    /// the stack any more, everything was sent and no connection is in TIME-WAIT
    /// ([`Config::time_wait`](packhorse_tcp::Config::time_wait) after the last close), or with the
    /// error of the device.
    ///
    /// A program may end sooner: the task goes with its runtime, and what it had not sent is lost.
    /// In TIME-WAIT all was sent and acknowledged; a peer that missed our last acknowledgement
    /// then sends its FIN in vain until its own time-out (RFC 9293 §3.6.1).
    ///
    /// `key` must be random; see [`Endpoint::new`].
    #[must_use]
    pub fn start(
        device: impl PacketDevice,
        config: EndpointConfig,
        key: [u8; 16],
    ) -> (Self, JoinHandle<io::Result<()>>) {
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                endpoint: Endpoint::new(config, key),
                sockets: Sockets::default(),
                handles: 1,
                broken: None,
            }),
            work: Notify::new(),
            start: tokio::time::Instant::now(),
        });
        let task = tokio::spawn(driver::run(device, Arc::clone(&shared)));
        (Self { shared }, task)
    }

    /// Takes connections for `at`; at most `backlog` of them wait to be accepted.
    ///
    /// # Errors
    /// `AddrInUse`: there is a listener for exactly that.
    pub fn listen(&self, at: ListenAt, backlog: usize) -> io::Result<TcpListener> {
        let mut inner = self.shared.lock();
        let id = inner.endpoint.listen(at, backlog).map_err(refused)?;
        inner.handles += 1;
        drop(inner);
        Ok(TcpListener::new(Arc::clone(&self.shared), id, at))
    }

    /// Opens a connection; with port 0 in `local`, from an ephemeral port. Dropped while it
    /// waits, it leaves nothing behind.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` (no port), `OutOfMemory` (too many connections),
    /// `ConnectionRefused`, `TimedOut`, or what the device broke with.
    pub async fn connect(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
        let socket = {
            let mut inner = self.shared.lock();
            let now = self.shared.now();
            let id = inner
                .endpoint
                .connect(now, local, remote)
                .map_err(refused)?;
            Socket::new(&self.shared, &mut inner, id)
        };
        self.shared.work.notify_one();
        poll_fn(|cx| {
            let mut inner = socket.shared.lock();
            let connection = inner.endpoint.connection(socket.id);
            match connection.map(|connection| (connection.state(), connection.failure())) {
                Some((State::Closed, Some(failure))) => Poll::Ready(Err(socket::error(failure))),
                None | Some((State::Closed, None)) => {
                    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
                }
                Some((State::SynSent | State::SynReceived, _)) => {
                    inner.broken()?;
                    inner.sockets.writer_waits(socket.id, cx);
                    Poll::Pending
                }
                Some(_) => Poll::Ready(Ok(())),
            }
        })
        .await?;
        Ok(TcpStream::new(socket))
    }

    /// Connections of every kind; see [`Endpoint::connections`].
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().endpoint.connections()
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        *self.shared.lock().endpoint.stats()
    }
}

impl Clone for Stack {
    fn clone(&self) -> Self {
        self.shared.lock().handles += 1;
        let shared = Arc::clone(&self.shared);
        Self { shared }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.shared.lock().handles -= 1;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in a call of one user leaves nothing half done that others could notice.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> packhorse_tcp::Instant {
        now_since(self.start)
    }

    /// Has the driver look at what a call has left to do.
    fn wake_driver(&self, inner: MutexGuard<'_, Inner>) {
        let has_work = inner.endpoint.is_undrained();
        drop(inner);
        if has_work {
            self.work.notify_one();
        }
    }
}

impl Inner {
    /// # Errors
    /// What the device broke with, if it did.
    fn broken(&self) -> io::Result<()> {
        match &self.broken {
            None => Ok(()),
            Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
        }
    }
}

fn refused(error: OpenError) -> io::Error {
    let kind = match error {
        OpenError::InUse => io::ErrorKind::AddrInUse,
        OpenError::NoPort => io::ErrorKind::AddrNotAvailable,
        OpenError::TooMany => io::ErrorKind::OutOfMemory,
    };
    io::Error::new(kind, error)
}
