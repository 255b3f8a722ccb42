//! HTTP on one connection after another.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin as Pinned, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Version;
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use packhorse_protocol::key::{Pin, Token};
use packhorse_storage::source::Source;
use packhorse_storage::workers::DiskWorkers;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::access::Access;
use crate::activity::{Activity, Turn};
use crate::answer::Answerer;
use crate::body::{Ahead, Body};
use crate::limits::{Limits, UNREAD_BYTES_MAX};
use crate::paced::Paced;
use crate::watched::Watched;

/// Serves one source over HTTP.
#[derive(Clone)]
pub struct Web {
    shared: Arc<Shared>,
}

/// What a server says about itself.
#[derive(Debug)]
pub struct WebSettings {
    /// What a client must show; `None` gives read access to anyone.
    pub token: Option<Token>,
    /// The server's identity, for the native address that the page offers.
    pub pin: Pin,
    /// Answer also without TLS. Otherwise clear text only learns where the server is found.
    pub clear_text: bool,
    /// The limits.
    pub limits: Limits,
}

/// What the server at whose door a connection arrived decides.
pub trait Gatekeeper: Send + Sync + 'static {
    /// The client has shown that it may read; asked once for a connection. False if there are as
    /// many clients as there may be.
    fn admit(&self) -> bool;

    /// A whole file or archive was sent.
    fn handle_complete(&self);
}

/// A rate that all connections share.
pub trait Pace: Send + Sync + 'static {
    /// Waits until `bytes` more may leave.
    fn pass(&self, bytes: usize) -> Pinned<Box<dyn Future<Output = ()> + Send>>;
}

/// A connection that speaks HTTP from its next byte on.
pub struct Conversation<S> {
    /// Carries it.
    pub stream: S,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// HTTP/2 was agreed on; otherwise it is HTTP/1.
    pub is_http2: bool,
    /// It came through TLS.
    pub secure: bool,
    /// Who lets it in.
    pub gatekeeper: Arc<dyn Gatekeeper>,
    /// How fast bytes may leave; `None` for as fast as they can.
    pub pace: Option<Arc<dyn Pace>>,
}

/// Why a conversation ended, other than by the client's wish.
#[derive(Debug, Error)]
pub enum WebError {
    /// The client broke HTTP, the connection broke, or the client took nothing for too long.
    #[error("{0}")]
    Http(String),
    /// The client asked for nothing, or let none of its answers go on, for too long.
    #[error("it was silent for too long")]
    Silent,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) workers: Arc<DiskWorkers>,
    pub(crate) access: Access,
    pub(crate) pin: Pin,
    pub(crate) clear_text: bool,
    pub(crate) limits: Limits,
    pub(crate) ahead: Ahead,
    pub(crate) surveys: Semaphore,
}

impl Web {
    /// Serves `source`, which `workers` read.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, workers: Arc<DiskWorkers>, settings: WebSettings) -> Self {
        let WebSettings {
            token,
            pin,
            clear_text,
            limits,
        } = settings;
        Self {
            shared: Arc::new(Shared {
                source,
                workers,
                access: Access::new(token, &pin),
                pin,
                clear_text,
                ahead: Ahead::new(limits.ahead_bytes),
                surveys: Semaphore::new(limits.surveys_max),
                limits,
            }),
        }
    }

    /// Answers requests until the client has no more, or until `leaving`: then those under way are
    /// answered and no more.
    ///
    /// # Errors
    /// [`WebError`]; the connection is closed.
    pub async fn serve<S>(
        &self,
        conversation: Conversation<S>,
        leaving: impl Future<Output = ()>,
    ) -> Result<(), WebError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Conversation {
            stream,
            peer,
            is_http2,
            secure,
            gatekeeper,
            pace,
        } = conversation;
        let limits = &self.shared.limits;
        let activity = Arc::new(Activity::new());
        let service = Answering {
            answerer: Arc::new(Answerer::new(
                Arc::clone(&self.shared),
                peer,
                secure,
                gatekeeper,
            )),
            activity: Arc::clone(&activity),
        };
        // Who waits for its share of a rate is not one that takes nothing.
        let stream = Watched::new(stream, limits.stall_time);
        let stream = TokioIo::new(Paced::new(stream, pace, Arc::clone(&activity)));
        if is_http2 {
            let connection = http2_builder(limits).serve_connection(stream, service);
            let silent = until_silent(&activity, limits);
            let shut_down = |it: Pinned<&mut _>| http2::Connection::graceful_shutdown(it);
            converse(Box::pin(connection), leaving, silent, shut_down).await
        } else {
            // Its own timer watches the header, and `Watched` what is written.
            let connection = http1_builder(limits).serve_connection(stream, service);
            let silent = std::future::pending();
            let shut_down = |it: Pinned<&mut _>| http1::Connection::graceful_shutdown(it);
            converse(Box::pin(connection), leaving, silent, shut_down).await
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(limits.header_fields_max)
        .max_header_size(limits.header_bytes_max)
        // Who has sent its request and closed its side still wants the answer.
        .half_close(true);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    /// The least that HTTP/2 allows: requests have no bodies here.
    const WINDOW_BYTES: u32 = 65_535;
    /// What a stream takes before the connection has taken it.
    const SEND_BYTES_MAX: usize = 64 << 10;

    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(limits.early_resets_max)
        .max_local_error_reset_streams(limits.error_resets_max)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX);
    builder
}

/// Drives a connection to its end, to `silent`, or from `leaving` on to the end of what is under way.
async fn converse<C>(
    mut connection: Pinned<Box<C>>,
    leaving: impl Future<Output = ()>,
    silent: impl Future<Output = ()>,
    shut_down: impl Fn(Pinned<&mut C>),
) -> Result<(), WebError>
where
    C: Future<Output = hyper::Result<()>>,
{
    let (mut leaving, mut silent) = (pin!(leaving), pin!(silent));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            ended = &mut connection => return ended.map_err(|error| WebError::Http(describe(&error))),
            () = &mut leaving, if !is_leaving => {
                is_leaving = true;
                shut_down(connection.as_mut());
            }
            () = &mut silent => return Err(WebError::Silent),
        }
    }
}

/// Returns once an HTTP/2 client has asked for nothing, or taken nothing, for too long.
async fn until_silent(activity: &Activity, limits: &Limits) {
    loop {
        let deadline = activity.deadline(limits.header_time, limits.streams_stall_time);
        if deadline <= Instant::now() {
            return;
        }
        sleep_until(deadline).await;
    }
}

/// An error with its causes: hyper's own words say little.
fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Answers the requests of one connection.
struct Answering {
    answerer: Arc<Answerer>,
    activity: Arc<Activity>,
}

impl Service<http::Request<Incoming>> for Answering {
    type Response = http::Response<Tracked>;
    type Error = Infallible;
    type Future =
        Pinned<Box<dyn Future<Output = Result<http::Response<Tracked>, Infallible>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let answerer = Arc::clone(&self.answerer);
        let turn = self.activity.begin();
        Box::pin(async move {
            let (head, unread) = request.into_parts();
            let unread = match head.version == Version::HTTP_2 && !unread.is_end_stream() {
                true => Some(Box::new(Unread::new(unread))),
                false => None,
            };
            let response = answerer.answer(head).await;
            Ok(response.map(|body| Tracked { body, turn, unread }))
        })
    }
}

/// What a request carries, which nobody wants to know. In HTTP/1 hyper deals with it.
///
/// An HTTP/2 client may be told to send no more once it has its answer (RFC 9113 §8.1), but there
/// are some, old `curl`s for one, that then take the answer for failed. So it is read to its end,
/// within bounds, before the answer ends.
struct Unread {
    body: Incoming,
    rest_max: usize,
}

impl Unread {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            rest_max: UNREAD_BYTES_MAX,
        }
    }

    /// Ready at its end, or once there was too much of it; tells of what comes.
    fn poll_end(&mut self, cx: &mut Context<'_>, turn: &Turn) -> Poll<()> {
        while let Some(Ok(frame)) = ready!(Pinned::new(&mut self.body).poll_frame(cx)) {
            turn.touch();
            let length = frame.data_ref().map_or(0, bytes::Bytes::len);
            match self.rest_max.checked_sub(length) {
                Some(rest_max) => self.rest_max = rest_max,
                None => break,
            }
        }
        Poll::Ready(())
    }
}

/// A body that shows that its connection lives whenever more of it is wanted.
pub(crate) struct Tracked {
    body: Body,
    turn: Turn,
    unread: Option<Box<Unread>>,
}

impl HttpBody for Tracked {
    type Data = bytes::Bytes;
    type Error = crate::body::BodyError;

    fn poll_frame(
        self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if !this.body.is_end_stream() {
            this.turn.touch();
            let frame = ready!(Pinned::new(&mut this.body).poll_frame(cx));
            if frame.is_some() {
                return Poll::Ready(frame);
            }
        }
        if let Some(unread) = &mut this.unread {
            ready!(unread.poll_end(cx, &this.turn));
            this.unread = None;
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.unread.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
