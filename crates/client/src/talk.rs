//! A conversation in plain bytes with whoever is at the other end of a stream.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use packhorse_transport::stream::Stream;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What is read from the other side at once.
const PART_BYTES: usize = 64 << 10;

/// What was said and heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Talked {
    /// Bytes that the other side took, or this machine for it.
    pub sent_bytes: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// How it ended.
    pub end: TalkEnd,
}

/// How a conversation ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TalkEnd {
    /// The other side has closed the connection.
    Closed,
    /// Nothing came or went for as long as was allowed.
    Idle,
}

/// How a conversation broke.
#[derive(Debug, Error)]
pub enum TalkError {
    /// The connection.
    #[error("the connection was lost: {0}")]
    Lost(#[source] io::Error),
    /// What is heard cannot be passed on.
    #[error("cannot write what came: {0}")]
    Output(#[source] io::Error),
}

/// Sends what comes out of `input` and passes on to `output` what comes, until the other side has
/// ended, or nothing came or went for `idle_time`. Behind the end of the input this side is closed,
/// and the rest waited for.
///
/// # Errors
/// [`TalkError`].
pub async fn talk<S: Stream>(
    stream: S,
    input: mpsc::Receiver<Vec<u8>>,
    output: impl AsyncWrite + Unpin,
    idle_time: Option<Duration>,
) -> Result<Talked, TalkError> {
    let (reader, writer) = tokio::io::split(stream);
    let activity = Activity::new();
    let sending = async {
        send(writer, input, &activity).await;
        // What became of it shows where the other side is read from.
        std::future::pending::<Infallible>().await
    };
    let end = tokio::select! {
        ended = receive(reader, output, &activity) => ended.map(|()| TalkEnd::Closed)?,
        () = activity.until_idle(idle_time) => TalkEnd::Idle,
        never = sending => match never {},
    };
    Ok(Talked {
        sent_bytes: activity.sent_bytes.load(Ordering::Relaxed),
        received_bytes: activity.received_bytes.load(Ordering::Relaxed),
        end,
    })
}

async fn send(
    mut writer: impl AsyncWrite + Unpin,
    mut input: mpsc::Receiver<Vec<u8>>,
    activity: &Activity,
) {
    while let Some(bytes) = input.recv().await {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let Ok(written @ 1..) = writer.write(rest).await else {
                return;
            };
            activity.note(&activity.sent_bytes, written);
            rest = &rest[written..];
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

async fn receive(
    mut reader: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    activity: &Activity,
) -> Result<(), TalkError> {
    let mut buffer = vec![0; PART_BYTES];
    loop {
        let length = reader.read(&mut buffer).await.map_err(TalkError::Lost)?;
        if length == 0 {
            return output.shutdown().await.map_err(TalkError::Output);
        }
        activity.note(&activity.received_bytes, length);
        let passing_on = async {
            output.write_all(&buffer[..length]).await?;
            output.flush().await
        };
        passing_on.await.map_err(TalkError::Output)?;
        // Whoever takes what comes may have taken their time.
        activity.note(&activity.received_bytes, 0);
    }
}

/// What moved, and when.
struct Activity {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    last: Mutex<Instant>,
}

impl Activity {
    fn new() -> Self {
        Self {
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    fn note(&self, count: &AtomicU64, bytes: usize) {
        count.fetch_add(bytes as u64, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns once nothing has moved for `time`; never without one.
    async fn until_idle(&self, time: Option<Duration>) {
        let Some(time) = time else {
            return std::future::pending().await;
        };
        loop {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let end = last + time;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}
