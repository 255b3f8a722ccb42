//! Where scripted clients arrive.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use packhorse_protocol::proof::ChannelBinding;
use packhorse_transport::accept::{Accept, AcceptError, OpenError, Opened};
use packhorse_transport::stream::Native;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::{Mutex, mpsc, watch};

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
    pipe: Pipe,
    binding: ChannelBinding,
    shake: Shake,
}

/// The server's end of a pipe, and who looks on.
#[derive(Debug)]
pub(crate) struct Pipe {
    pipe: DuplexStream,
    seen: watch::Sender<Seen>,
}

/// What a server does with its end of a pipe.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many bytes went with each write.
    pub(crate) writes: Vec<usize>,
    /// It is to be reset where it is dropped.
    pub(crate) reset_on_drop: bool,
    pub(crate) is_dropped: bool,
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
        let (near, binding, _) = self.connect_watched(pipe_bytes, shake);
        (near, binding)
    }

    /// The same, with what the server does at its end.
    pub(crate) fn connect_watched(
        &self,
        pipe_bytes: usize,
        shake: Shake,
    ) -> (DuplexStream, ChannelBinding, watch::Receiver<Seen>) {
        let (near, pipe) = duplex(pipe_bytes);
        let (seen, watched) = watch::channel(Seen::default());
        let pipe = Pipe { pipe, seen };
        let binding = ChannelBinding([self.next.fetch_add(1, Ordering::Relaxed); 32]);
        // A gate that is gone leaves the pipe closed.
        let _ = self.arrive.send(Ok(Arrival {
            pipe,
            binding,
            shake,
        }));
        (near, binding, watched)
    }

    /// Something goes wrong with accepting.
    pub(crate) fn fail(&self, error: AcceptError) {
        let _ = self.arrive.send(Err(error));
    }
}

impl Accept for Gate {
    type Raw = Arrival;
    type Stream = Pipe;

    async fn accept(&self) -> Result<(Arrival, SocketAddr), AcceptError> {
        match self.0.lock().await.recv().await {
            Some(arrival) => Ok((arrival?, SocketAddr::from(([127, 0, 0, 1], 1)))),
            None => std::future::pending().await,
        }
    }

    async fn open(&self, arrival: Arrival) -> Result<Opened<Pipe>, OpenError> {
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

    fn reset_on_drop(&self, stream: &Pipe, is_wanted: bool) {
        stream
            .seen
            .send_modify(|seen| seen.reset_on_drop = is_wanted);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.seen.send_modify(|seen| seen.is_dropped = true);
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_read(cx, out)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.pipe).poll_write(cx, bytes))?;
        this.seen.send_modify(|seen| seen.writes.push(written));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_shutdown(cx)
    }
}
