//! One connection from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use packhorse_protocol::message::Denial;
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::{ServerEvent, ServerSession, Violation};
use packhorse_storage::source::SourceError;
use packhorse_transport::accept::{Accept, OpenError, Opened};
use packhorse_transport::framed::{FrameReadError, FrameReader};
use packhorse_transport::stream::{Native, Stream};
use thiserror::Error;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info};

use crate::answer::Answerer;
use crate::clients::Place;
use crate::http::{self, HttpClient};
use crate::plain::PlainClient;
use crate::queue::RequestQueue;
use crate::serve::{ServerSettings, Shared, Stage};

/// Why a connection ended, other than by the client's wish.
#[derive(Debug, Error)]
pub(crate) enum ConnectionError {
    #[error("it said nothing that admits it within {0:?}")]
    NoGreeting(Duration),
    #[error("it had to make room before it said who it is")]
    SentAway,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("it speaks neither the native protocol nor any that is served here")]
    NotServed,
    #[error("not admitted: {}", denial_reason(*.0))]
    Denied(Denial),
    #[error("it broke the protocol: {0}")]
    Violation(#[from] Violation),
    #[error("the connection failed: {0}")]
    Read(#[from] FrameReadError),
    #[error("the connection failed: {0}")]
    Write(#[from] std::io::Error),
    #[error("it took nothing of what it asked for within {0:?}")]
    Stalled(Duration),
    #[error("it asked for nothing within {0:?}")]
    Idle(Duration),
    #[error("{path} could not be sent to its end: {error}")]
    Unfinished {
        path: RelativePath,
        error: SourceError,
    },
    #[error("this server has no disk workers any more")]
    NoWorkers,
}

/// Why a client is not admitted, as the server sees it.
fn denial_reason(denial: Denial) -> &'static str {
    match denial {
        Denial::Version => "it speaks another version of the protocol",
        Denial::Access => "its key is wrong or missing",
        Denial::Busy => "there are as many clients as are taken",
        Denial::Leaving => "this server is about to end",
    }
}

/// A client that may ask.
enum Admitted<S> {
    /// For whatever the native protocol has.
    Native(AdmittedNative<S>),
    /// For files, by name. It has been silent for that long since what it sent last.
    Plain(S, Duration),
    /// By HTTP, once a request shows a key.
    Http(HttpClient<S>),
}

/// An admitted client's two halves.
struct AdmittedNative<S> {
    frames: FrameReader<ReadHalf<S>>,
    writer: WriteHalf<S>,
    session: ServerSession,
}

/// Serves one connection to its end and says so in the log.
pub(crate) async fn serve<A: Accept>(
    shared: Arc<Shared<A>>,
    raw: A::Raw,
    peer: SocketAddr,
    mut place: Place,
) {
    debug!(%peer, "arrived");
    let sent_away = place.sent_away();
    let admitted = tokio::select! {
        // What the handshake needs is given back before the conversation begins.
        admitted = Box::pin(admit_in_time(&shared, raw, &mut place)) => admitted,
        () = sent_away => Err(ConnectionError::SentAway),
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(ConnectionError::Open(OpenError::Silent)) => return,
        Err(error) => return info!(%peer, %error, "turned away"),
    };
    // So that a client that needs little takes little: most are of that kind.
    Box::pin(serve_admitted(&shared, admitted, peer, place)).await;
}

/// Serves a client to its end, each kind in room of its own.
async fn serve_admitted<A: Accept>(
    shared: &Arc<Shared<A>>,
    admitted: Admitted<A::Stream>,
    peer: SocketAddr,
    place: Place,
) {
    let start = Instant::now();
    let (bytes, result) = match admitted {
        Admitted::Native(AdmittedNative {
            frames,
            writer,
            session,
        }) => {
            info!(%peer, "connected");
            let mut answerer = Answerer::new(shared, writer, peer);
            let result = Box::pin(converse(shared, frames, session, &mut answerer)).await;
            (answerer.sent_bytes(), result)
        }
        Admitted::Plain(stream, silence) => {
            info!(%peer, mode = "plain", "connected");
            let mut client = PlainClient::new(shared, stream, silence, peer);
            let result = Box::pin(client.run()).await;
            (client.sent_bytes(), result)
        }
        Admitted::Http(client) => {
            return Box::pin(http::serve(shared, client, peer, place)).await;
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let rate = rate(bytes, seconds);
    match result {
        Ok(()) => info!(%peer, bytes, seconds, rate, "left"),
        // A further connection that was not needed any more when it stood.
        Err(ConnectionError::Write(_)) if bytes == 0 => info!(%peer, bytes, seconds, rate, "left"),
        Err(error) => info!(%peer, bytes, seconds, rate, %error, "lost"),
    }
}

/// Opens the stream and admits the client, before both their patience ends.
async fn admit_in_time<A: Accept>(
    shared: &Shared<A>,
    mut raw: A::Raw,
    place: &mut Place,
) -> Result<Admitted<A::Stream>, ConnectionError> {
    let ServerSettings { limits, plain, .. } = &shared.settings;
    if *plain {
        // A person may have connected and be about to type a name.
        timeout(limits.idle_time, shared.accept.until_spoken(&mut raw))
            .await
            .map_err(|_| ConnectionError::Idle(limits.idle_time))?;
    }
    timeout(limits.greeting_time, admit(shared, raw, place))
        .await
        .unwrap_or(Err(ConnectionError::NoGreeting(limits.greeting_time)))
}

/// Opens the stream and sees what the client is.
async fn admit<A: Accept>(
    shared: &Shared<A>,
    raw: A::Raw,
    place: &mut Place,
) -> Result<Admitted<A::Stream>, ConnectionError> {
    match shared.accept.open(raw).await? {
        Opened::Native(native) => greet(shared, native, place).await.map(Admitted::Native),
        Opened::Clear { stream, silence } if shared.settings.plain => {
            // There are no words to refuse it with.
            if *shared.stage.borrow() != Stage::Open {
                Err(ConnectionError::Denied(Denial::Leaving))
            } else if !place.prove() {
                Err(ConnectionError::Denied(Denial::Busy))
            } else {
                Ok(Admitted::Plain(stream, silence))
            }
        }
        Opened::Http {
            stream,
            version,
            secure,
        } => Ok(Admitted::Http(HttpClient {
            stream,
            version,
            secure,
        })),
        Opened::Clear { .. } => Err(ConnectionError::NotServed),
    }
}

/// Exchanges greetings.
async fn greet<A: Accept>(
    shared: &Shared<A>,
    native: Native<A::Stream>,
    place: &mut Place,
) -> Result<AdmittedNative<A::Stream>, ConnectionError> {
    let Native { stream, binding } = native;
    let (reader, writer) = tokio::io::split(stream);
    let session = ServerSession::new(shared.settings.token.clone(), binding);
    let mut admitted = AdmittedNative {
        frames: FrameReader::new(reader),
        writer,
        session,
    };
    let event = match hello(&mut admitted).await? {
        ServerEvent::Admitted(_) if *shared.stage.borrow() != Stage::Open => {
            ServerSession::deny(Denial::Leaving)
        }
        ServerEvent::Admitted(_) if !place.prove() => ServerSession::deny(Denial::Busy),
        event => event,
    };
    match event {
        ServerEvent::Admitted(welcome) => {
            admitted.writer.write_all(&welcome).await?;
            admitted.writer.flush().await?;
            Ok(admitted)
        }
        ServerEvent::Denied(denial, answer) => {
            if denial == Denial::Access {
                sleep(shared.settings.limits.denial_time).await;
            }
            admitted.writer.write_all(&answer).await?;
            admitted.writer.shutdown().await?;
            Err(ConnectionError::Denied(denial))
        }
        ServerEvent::Request(_) => Err(ConnectionError::NotServed),
    }
}

/// What the client's first frame means.
async fn hello<S: Stream>(
    admitted: &mut AdmittedNative<S>,
) -> Result<ServerEvent, ConnectionError> {
    let limit = admitted.session.body_bytes_max();
    let Some((kind, body)) = admitted.frames.next(limit).await? else {
        return Err(OpenError::Silent.into());
    };
    Ok(admitted.session.handle_frame(kind, &body)?)
}

/// Reads requests and answers them until the client has no more, and all are answered.
async fn converse<A: Accept>(
    shared: &Shared<A>,
    mut frames: FrameReader<ReadHalf<A::Stream>>,
    session: ServerSession,
    answerer: &mut Answerer<'_, A>,
) -> Result<(), ConnectionError> {
    let queue = RequestQueue::new(session);
    let mut answering = std::pin::pin!(answerer.run(&queue));
    tokio::select! {
        read = read_requests(shared, &mut frames, &queue) => read?,
        answered = &mut answering => return answered,
    }
    queue.end();
    answering.await
}

/// Passes requests on until the client closes its side, is idle for too long, or the server leaves.
async fn read_requests<A: Accept>(
    shared: &Shared<A>,
    frames: &mut FrameReader<ReadHalf<A::Stream>>,
    queue: &RequestQueue,
) -> Result<(), ConnectionError> {
    let mut stage = shared.stage.subscribe();
    let mut stage_since = Instant::now();
    loop {
        let leaving = *stage.borrow_and_update() != Stage::Open;
        let idle_time = if leaving {
            shared.settings.leave_idle_time
        } else {
            shared.settings.limits.idle_time
        };
        // Idleness begins with the end of the last answer, however long that took.
        let idle_since = queue.idle_since();
        let deadline = idle_since.unwrap_or_else(Instant::now).max(stage_since) + idle_time;
        let frame = tokio::select! {
            frame = timeout_at(deadline, frames.next(queue.body_bytes_max())) => frame,
            _ = stage.changed() => {
                stage_since = Instant::now();
                continue;
            }
        };
        match frame {
            Ok(Ok(Some((kind, body)))) => queue.handle_frame(kind, &body)?,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) if idle_since.is_none() || queue.idle_since() != idle_since => {}
            Err(_) if leaving => return Ok(()),
            Err(_) => return Err(ConnectionError::Idle(idle_time)),
        }
    }
}

/// Bytes a second, for the log.
pub(crate) fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}
