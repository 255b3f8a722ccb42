//! HTTP streams on their way to the room where they are answered.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use packhorse_protocol::message::Completion;
use packhorse_transport::accept::{Accept, HttpVersion};
use packhorse_transport::throttle::Throttle;
use packhorse_web::{Conversation, Gatekeeper, WebError, WebSettings};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tracing::info;

use crate::clients::Place;
use crate::seen_off::SeenOff;
use crate::serve::{ServerSettings, Shared, Stage};

/// A file or an archive, to its end.
const WHOLE: Completion = Completion {
    files: 1,
    bytes: 0,
    failed: 0,
};

/// A client that speaks HTTP, and may not have shown a key yet.
pub(crate) struct HttpClient<S> {
    pub(crate) stream: S,
    pub(crate) version: HttpVersion,
    pub(crate) secure: bool,
}

/// What answers the requests of a server with these settings.
pub(crate) fn web_settings(settings: &ServerSettings) -> WebSettings {
    let limits = &settings.limits;
    let defaults = packhorse_web::Limits::default();
    WebSettings {
        token: settings.token.clone(),
        pin: settings.pin,
        clear_text: settings.clear_http,
        limits: packhorse_web::Limits {
            header_time: defaults.header_time.min(limits.idle_time),
            stall_time: limits.stall_time,
            denial_time: limits.denial_time,
            ahead_bytes: limits.ahead_bytes,
            ..defaults
        },
    }
}

/// Answers requests until the client has no more, the server leaves, or the place is taken back.
pub(crate) async fn serve<A: Accept>(
    shared: &Arc<Shared<A>>,
    client: HttpClient<A::Stream>,
    peer: SocketAddr,
    place: Place,
) {
    let HttpClient {
        stream,
        version,
        secure,
    } = client;
    let sent_away = place.sent_away();
    let gate = Arc::new(Gate {
        shared: Arc::clone(shared),
        peer,
        place: Mutex::new(place),
        has_sent_whole: watch::Sender::new(false),
        ends_in_clear: !secure && version != HttpVersion::Http2,
    });
    let mut has_sent_whole = gate.has_sent_whole.subscribe();
    let stream = Throttled::new(stream, Arc::clone(shared));
    let conversation = Conversation {
        stream: SeenOff::new(
            stream,
            has_sent_whole.clone(),
            shared.settings.limits.stall_time,
        ),
        peer,
        is_http2: version == HttpVersion::Http2,
        secure,
        gatekeeper: Arc::clone(&gate) as Arc<dyn Gatekeeper>,
    };
    let mut stage = shared.stage.subscribe();
    let leaving = async move {
        // The senders live in what is shared, and in the gate.
        tokio::select! {
            _ = stage.wait_for(|stage| *stage != Stage::Open) => {}
            _ = has_sent_whole.wait_for(|has_sent| *has_sent) => {}
        }
    };
    let result = tokio::select! {
        result = shared.web.serve(conversation, leaving) => result,
        () = sent_away => Err(WebError::Http("it had to make room before it showed a key".into())),
    };
    if result.is_ok() && *gate.has_sent_whole.borrow() {
        shared.handle_complete(WHOLE);
    }
    match (gate.is_proven(), result) {
        (true, Ok(())) => info!(%peer, "left"),
        (true, Err(error)) => info!(%peer, %error, "lost"),
        (false, Ok(())) => info!(%peer, "turned away"),
        (false, Err(error)) => info!(%peer, %error, "turned away"),
    }
}

/// Where an HTTP client becomes one that is known.
struct Gate<A> {
    shared: Arc<Shared<A>>,
    peer: SocketAddr,
    place: Mutex<Place>,
    /// All of a file or archive has left for the client; whether it arrives shows at the end. Set
    /// only where the server ends with that.
    has_sent_whole: watch::Sender<bool>,
    /// A reset at the end says that the client has not read all. Not so in TLS or HTTP/2: there the
    /// last word is the server's, and a client that has all may leave without reading it.
    ends_in_clear: bool,
}

impl<A> Gate<A> {
    fn is_proven(&self) -> bool {
        self.lock().is_proven()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Accept> Gatekeeper for Gate<A> {
    fn admit(&self) -> bool {
        let admitted = *self.shared.stage.borrow() == Stage::Open && self.lock().prove();
        if admitted {
            info!(peer = %self.peer, mode = "http", "connected");
        }
        admitted
    }

    fn handle_complete(&self) {
        if !self.shared.settings.once {
            return;
        }
        match self.ends_in_clear {
            true => {
                self.has_sent_whole.send_replace(true);
            }
            false => self.shared.handle_complete(WHOLE),
        }
    }
}

/// A stream that keeps to the rate of its server.
struct Throttled<S, A> {
    inner: S,
    shared: Arc<Shared<A>>,
    /// Bytes that may be written now.
    credit: usize,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S, A: Accept> Throttled<S, A> {
    fn new(inner: S, shared: Arc<Shared<A>>) -> Self {
        Self {
            inner,
            shared,
            credit: 0,
            waiting: None,
        }
    }

    /// How many of `bytes` may be written.
    fn poll_credit(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<usize> {
        if self.shared.throttle.is_none() {
            return Poll::Ready(bytes);
        }
        if self.credit == 0 {
            let asked = bytes.min(Throttle::CHUNK_BYTES);
            let waiting = self.waiting.get_or_insert_with(|| {
                let shared = Arc::clone(&self.shared);
                Box::pin(async move {
                    if let Some(throttle) = &shared.throttle {
                        throttle.pass(asked).await;
                    }
                })
            });
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            self.credit = asked;
        }
        Poll::Ready(bytes.min(self.credit))
    }
}

impl<S: AsyncRead + Unpin, A: Accept> AsyncRead for Throttled<S, A> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin, A: Accept> AsyncWrite for Throttled<S, A> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let allowed = ready!(this.poll_credit(cx, bytes.len()));
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, &bytes[..allowed]))?;
        this.credit = this.credit.saturating_sub(written);
        this.shared.handle_sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.shared.throttle.is_none() {
            let this = self.get_mut();
            let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, slices))?;
            this.shared.handle_sent(written);
            return Poll::Ready(Ok(written));
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.shared.throttle.is_none() && self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
