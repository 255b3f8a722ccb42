//! HTTP on one connection after another.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Version;
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::service::Service;
use packhorse_protocol::key::{Pin, Token};
use packhorse_storage::source::Source;
use packhorse_storage::workers::DiskWorkers;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::activity::{Activity, Turn};
use crate::answer::Answerer;
use crate::body::{Ahead, Body};
use crate::limits::{Limits, UNREAD_BYTES_MAX};
use crate::line::Line;
use crate::{http1, http2};

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
        let answering = Answering {
            answerer: Arc::new(Answerer::new(
                Arc::clone(&self.shared),
                peer,
                secure,
                gatekeeper,
            )),
            activity: Arc::clone(&activity),
        };
        let line = Line::new(stream, pace, limits.stall_time, activity);
        match is_http2 {
            true => Box::pin(http2::serve(line, answering, limits, leaving)).await,
            false => Box::pin(http1::serve(line, answering, limits, leaving)).await,
        }
    }
}

impl From<hyper::Error> for WebError {
    /// With its causes: hyper's own words say little.
    fn from(error: hyper::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        Self::Http(text)
    }
}

impl From<io::Error> for WebError {
    fn from(error: io::Error) -> Self {
        Self::Http(error.to_string())
    }
}

/// Answers the requests of one connection.
pub(crate) struct Answering {
    answerer: Arc<Answerer>,
    activity: Arc<Activity>,
}

impl Answering {
    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }
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
