//! Dials a server and greets it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use packhorse_protocol::frame::FrameType;
use packhorse_protocol::key::{Pin, Token};
use packhorse_protocol::message::{Denial, Request};
use packhorse_protocol::session::{Answer, ClientSession, GreetingError, Violation};
use packhorse_transport::dial::{Dial, DialError, Dialled};
use packhorse_transport::frame_buffers::FrameBuffers;
use packhorse_transport::framed::{FrameReadError, FrameReader};
use packhorse_transport::stream::Stream;
use thiserror::Error;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::silence::{CountedReader, Silence};

/// A server says nothing for this long while it owes an answer, or takes nothing of a request: the
/// connection is taken for lost.
const SILENCE: Duration = Duration::from_secs(60);

/// A server does not greet for this long.
const GREETING_SILENCE: Duration = Duration::from_secs(10);

/// A server takes nothing of a farewell for this long.
const FAREWELL_SILENCE: Duration = Duration::from_secs(2);

/// Memory of groups that are written, kept for the next ones.
const FREE_BUFFERS_MAX: usize = 8;

/// How to reach one server, and with what right.
pub struct Connector<D> {
    dial: D,
    token: Option<Token>,
    buffers: Arc<FrameBuffers>,
    received_bytes: Arc<AtomicU64>,
}

/// Why there is no conversation with the server, or no more.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No stream.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The two do not admit each other.
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// The stream failed.
    #[error("the connection was lost: {0}")]
    Lost(#[from] std::io::Error),
    /// The server closed the connection, whether or not it owed an answer.
    #[error("the server closed the connection before it had sent everything")]
    Closed,
    /// The server went silent though it owed an answer.
    #[error("the server has said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// The server was reached before with this key, and then lost.
    #[error(
        "{0}; it was reached with the same address before, so it may have been restarted without \
         --key-file or --identity: then its new address is needed"
    )]
    Estranged(Box<ConnectError>),
    /// The server takes no more requests.
    #[error("the server has taken nothing for {} s", .0.as_secs())]
    Deaf(Duration),
}

impl ConnectError {
    /// The server is not the one that was meant, or does not accept the key: exit 4.
    #[must_use]
    pub fn is_refusal_of_trust(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_refusal_of_trust(),
            Self::Greeting(GreetingError::Denied(denial)) => *denial == Denial::Access,
            Self::Greeting(GreetingError::ServerProof) | Self::Estranged(_) => true,
            Self::Violation(_) | Self::Lost(_) | Self::Closed | Self::Silent(_) | Self::Deaf(_) => {
                false
            }
        }
    }

    /// Whether it is worth dialling again a server that was reached before.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Dial(error) => !error.is_refusal_of_trust(),
            Self::Estranged(_) => false,
            Self::Greeting(_)
            | Self::Violation(_)
            | Self::Lost(_)
            | Self::Closed
            | Self::Silent(_)
            | Self::Deaf(_) => self.is_worth_retrying(),
        }
    }

    /// The same error, of a server that was reached before.
    pub(crate) fn after_reached(self) -> Self {
        match self.is_refusal_of_trust() {
            true => Self::Estranged(Box::new(self)),
            false => self,
        }
    }

    /// Whether a server that had shown who it is was lost.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Closed)
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_worth_retrying(),
            Self::Greeting(GreetingError::Denied(Denial::Busy | Denial::Leaving)) => true,
            Self::Greeting(_) | Self::Violation(_) | Self::Estranged(_) => false,
            Self::Lost(_) | Self::Closed | Self::Silent(_) | Self::Deaf(_) => true,
        }
    }
}

impl From<FrameReadError> for ConnectError {
    fn from(error: FrameReadError) -> Self {
        match error {
            FrameReadError::Io(error) => Self::Lost(error),
            FrameReadError::Frame(error) => Self::Violation(error.into()),
        }
    }
}

/// A conversation with a server. Requests may be sent before the greeting is answered.
pub(crate) struct Conversation<S> {
    frames: FrameReader<CountedReader<ReadHalf<S>>>,
    silence: Silence,
    writer: WriteHalf<S>,
    session: ClientSession,
    greeted: bool,
    pin: Pin,
    buffers: Arc<FrameBuffers>,
    dial_time: Duration,
}

impl<D: Dial> Connector<D> {
    /// Reaches a server by `dial`, and proves that it has `token` if there is one.
    pub fn new(dial: D, token: Option<Token>) -> Arc<Self> {
        Arc::new(Self {
            dial,
            token,
            buffers: Arc::new(FrameBuffers::new(FREE_BUFFERS_MAX)),
            received_bytes: Arc::default(),
        })
    }

    /// Bytes that have come from the server, over all connections so far.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Dials, and sends the greeting.
    pub(crate) async fn greet(&self) -> Result<Conversation<D::Stream>, ConnectError> {
        self.open(None, 0).await
    }

    /// Dials, and waits until the server has greeted, to which `features` are offered.
    pub(crate) async fn greet_with(
        &self,
        features: u64,
    ) -> Result<Conversation<D::Stream>, ConnectError> {
        let mut conversation = self.open(None, features).await?;
        conversation.wait_for_greeting().await?;
        Ok(conversation)
    }

    /// Dials, and sends the greeting together with `first`.
    pub(crate) async fn connect(
        &self,
        first: &Request,
    ) -> Result<Conversation<D::Stream>, ConnectError> {
        self.open(Some(first), 0).await
    }

    async fn open(
        &self,
        first: Option<&Request>,
        features: u64,
    ) -> Result<Conversation<D::Stream>, ConnectError> {
        let start = Instant::now();
        let Dialled { native, pin, .. } = self.dial.dial().await?;
        let dial_time = start.elapsed();
        let (reader, writer) = tokio::io::split(native.stream);
        let session =
            ClientSession::new(self.token.clone(), native.binding).with_features(features);
        let (reader, silence) = Silence::over(reader, &self.received_bytes);
        let mut conversation = Conversation {
            frames: FrameReader::new(reader).with_buffers(Arc::clone(&self.buffers)),
            silence,
            writer,
            session,
            greeted: false,
            pin,
            buffers: Arc::clone(&self.buffers),
            dial_time,
        };
        let mut greeting = conversation.session.hello();
        if let Some(first) = first {
            greeting.extend(conversation.session.request(first));
        }
        conversation.write(&greeting).await?;
        Ok(conversation)
    }
}

impl<S: Stream> Conversation<S> {
    /// Where the memory of groups goes once they are written.
    pub(crate) fn buffers(&self) -> Arc<FrameBuffers> {
        Arc::clone(&self.buffers)
    }

    /// Who the server is.
    pub(crate) fn pin(&self) -> Pin {
        self.pin
    }

    /// How long it took to reach the server, its handshake included.
    pub(crate) fn dial_time(&self) -> Duration {
        self.dial_time
    }

    /// Bytes that have come over it.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.silence.received_bytes()
    }

    /// Whether one more request may be sent now.
    pub(crate) fn can_request(&self) -> bool {
        self.session.can_request()
    }

    /// Sends a request.
    pub(crate) async fn request(&mut self, request: &Request) -> Result<(), ConnectError> {
        let frame = self.session.request(request);
        self.write(&frame).await
    }

    /// The next answer. What was read, and since when it is waited for, is kept when the call is
    /// dropped.
    pub(crate) async fn answer(&mut self) -> Result<Answer, ConnectError> {
        self.wait_for_greeting().await?;
        let (kind, body) = self.frame(SILENCE).await?;
        Ok(self.session.handle_frame(kind, body)?)
    }

    /// Waits for the end of a connection on which nothing is asked for; the server may say nothing
    /// for as long as it likes, once it has greeted. What was read is kept when the call is dropped.
    pub(crate) async fn until_ended(&mut self) -> Result<Infallible, ConnectError> {
        self.wait_for_greeting().await?;
        let next = self.frames.next(self.session.body_bytes_max()).await?;
        let (kind, _) = next.ok_or(ConnectError::Closed)?;
        Err(Violation::Unexpected(kind).into())
    }

    /// Whether the server has `feature`, which was offered to it.
    pub(crate) fn has_feature(&self, feature: u64) -> bool {
        self.session.has_feature(feature)
    }

    async fn wait_for_greeting(&mut self) -> Result<(), ConnectError> {
        if !self.greeted {
            let (kind, body) = self.frame(GREETING_SILENCE).await?;
            self.session.handle_greeting(kind, &body)??;
            self.greeted = true;
        }
        Ok(())
    }

    /// The next frame of a server that may be silent for `limit`.
    async fn frame(&mut self, limit: Duration) -> Result<(FrameType, Vec<u8>), ConnectError> {
        loop {
            let deadline = self.silence.deadline(limit);
            let next = self.frames.next(self.session.body_bytes_max());
            let Ok(frame) = timeout_at(deadline, next).await else {
                let is_within_frame = self.frames.is_within_frame();
                if self.silence.is_only_slow(is_within_frame, limit) {
                    continue;
                }
                return Err(ConnectError::Silent(limit));
            };
            let frame = frame?.ok_or(ConnectError::Closed)?;
            self.silence.handle_answer();
            return Ok(frame);
        }
    }

    /// Says that this side is done.
    pub(crate) async fn shutdown(&mut self) {
        // The answer to a farewell does not matter: everything that was asked for has come.
        let _ = timeout(FAREWELL_SILENCE, self.writer.shutdown()).await;
    }

    /// Says `last`, if the server takes it at once, and that this side is done.
    pub(crate) async fn farewell(&mut self, last: &Request) {
        let said = timeout(FAREWELL_SILENCE, self.request(last)).await;
        if matches!(said, Ok(Ok(()))) {
            self.shutdown().await;
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        let deaf = |_| ConnectError::Deaf(SILENCE);
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = timeout(SILENCE, self.writer.write(rest)).await;
            match written.map_err(deaf)?? {
                0 => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
                written => rest = &rest[written..],
            }
        }
        Ok(timeout(SILENCE, self.writer.flush())
            .await
            .map_err(deaf)??)
    }
}
