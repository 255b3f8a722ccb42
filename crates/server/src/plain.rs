//! A client of the plain mode: it sends names and gets contents.
//!
//! What it may send is in [`packhorse_protocol::plain`], and for people in PROTOCOL.md. Nothing tells
//! such a client that something failed but the end of the connection: where all that it was sent is
//! whole, the connection is closed in order; where a file came to no end, it is reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::message::{Completion, EntryOptions, LinkMode};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::plain::{PlainNames, PlainRequest};
use packhorse_storage::clock::wall_clock;
use packhorse_storage::read::read_small;
use packhorse_storage::source::{FileState, Found, Source, SourceError, SourceFile};
use packhorse_transport::accept::Accept;
use packhorse_transport::first_bytes::NAME_PAUSE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;

use crate::connection::{ConnectionError, rate};
use crate::sending::send;
use crate::serve::{Shared, Stage};

/// What is read of a file and then sent; a file of no more is read whole before anything is sent.
const CHUNK_BYTES: usize = 256 << 10;

/// What is read of a client at once.
const READ_BYTES: usize = 1 << 10;

const FOLLOWING: EntryOptions = EntryOptions {
    links: LinkMode::Follow,
    xattrs: false,
    hard_links: false,
};

/// A client of the plain mode, and what it was sent so far.
pub(crate) struct PlainClient<'a, A: Accept> {
    shared: &'a Shared<A>,
    stream: A::Stream,
    peer: SocketAddr,
    names: PlainNames,
    /// When something last came from it.
    heard_at: Instant,
    /// It has closed its side.
    has_ended: bool,
    files: u64,
    /// Names for which nothing was sent: at most one, since the connection ends with it.
    refused: u64,
    sent_bytes: u64,
}

/// What a name stands for.
enum Content {
    /// All of a small file.
    Whole(Vec<u8>),
    /// A file that is read while it is sent.
    Large(Arc<dyn SourceFile>, FileState),
}

impl<'a, A: Accept> PlainClient<'a, A> {
    /// The client behind `stream`, which has been silent for `silence` since what it sent last.
    pub(crate) fn new(
        shared: &'a Shared<A>,
        stream: A::Stream,
        silence: Duration,
        peer: SocketAddr,
    ) -> Self {
        let now = Instant::now();
        Self {
            shared,
            stream,
            peer,
            names: PlainNames::default(),
            heard_at: now.checked_sub(silence).unwrap_or(now),
            has_ended: false,
            files: 0,
            refused: 0,
            sent_bytes: 0,
        }
    }

    /// Bytes of files sent so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Sends what is asked for until nothing more is, or something cannot be had.
    pub(crate) async fn run(&mut self) -> Result<(), ConnectionError> {
        while let PlainRequest::File(name) = self.next_request().await? {
            self.answer(&name).await?;
            if self.refused > 0 {
                break;
            }
        }
        self.close().await?;
        if self.files > 0 {
            self.shared.handle_complete(Completion {
                files: self.files,
                bytes: self.sent_bytes,
                failed: self.refused,
            });
        }
        Ok(())
    }

    /// Waits for what the client asks for next, but not for ever.
    async fn next_request(&mut self) -> Result<PlainRequest, ConnectionError> {
        let mut stage = self.shared.stage.subscribe();
        let idle_since = Instant::now();
        let mut stage_since = idle_since;
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.names.next_request() {
                Ok(Some(request)) => return Ok(request),
                Ok(None) => {}
                Err(error) => {
                    info!(peer = %self.peer, %error, "refused");
                    self.refused += 1;
                    return Ok(PlainRequest::End);
                }
            }
            let leaving = *stage.borrow_and_update() != Stage::Open;
            let idle_time = match leaving {
                true => self.shared.settings.leave_idle_time,
                false => self.shared.settings.limits.idle_time,
            };
            let idle_at = idle_since.max(stage_since) + idle_time;
            let is_begun = self.names.is_begun();
            let deadline = match is_begun {
                true => idle_at.min(self.heard_at + NAME_PAUSE),
                false => idle_at,
            };
            let read = tokio::select! {
                read = timeout_at(deadline, self.stream.read(&mut buffer)) => read,
                _ = stage.changed() => {
                    stage_since = Instant::now();
                    continue;
                }
            };
            match read {
                Ok(Ok(0)) => {
                    self.has_ended = true;
                    self.names.handle_end();
                }
                Ok(Ok(length)) => {
                    self.names.handle_bytes(&buffer[..length]);
                    self.heard_at = Instant::now();
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if is_begun && deadline < idle_at => self.names.handle_silence(),
                Err(_) if leaving => return Ok(PlainRequest::End),
                Err(_) => return Err(ConnectionError::Idle(idle_time)),
            }
        }
    }

    /// Sends the file called `name`, or nothing if there is none that may be sent.
    async fn answer(&mut self, name: &[u8]) -> Result<(), ConnectionError> {
        let path = match RelativePath::parse(name) {
            Ok(path) => path,
            Err(error) => {
                info!(peer = %self.peer, name = %Escaped(name), %error, "refused");
                self.refused += 1;
                return Ok(());
            }
        };
        let start = Instant::now();
        let (source, wanted) = (Arc::clone(&self.shared.source), path.clone());
        let content = match self.shared.work(move || open(&*source, &wanted)).await? {
            Ok(content) => content,
            Err(error) => {
                info!(peer = %self.peer, %path, %error, "refused");
                self.refused += 1;
                return Ok(());
            }
        };
        let before = self.sent_bytes;
        // Whatever happens before all is sent, it is not to look like the file's end.
        self.shared.accept.reset_on_drop(&self.stream, true);
        match content {
            Content::Whole(bytes) => self.send(&bytes).await?,
            Content::Large(file, opened) => self.send_large(&path, &file, opened).await?,
        }
        self.shared.accept.reset_on_drop(&self.stream, false);
        self.files += 1;
        let bytes = self.sent_bytes - before;
        let seconds = start.elapsed().as_secs_f64();
        info!(peer = %self.peer, %path, bytes, seconds, rate = rate(bytes, seconds), "sent");
        Ok(())
    }

    async fn send_large(
        &mut self,
        path: &RelativePath,
        file: &Arc<dyn SourceFile>,
        opened: FileState,
    ) -> Result<(), ConnectionError> {
        let mut offset = 0;
        while offset < opened.size {
            let file = Arc::clone(file);
            let read = self.shared.work(move || read_chunk(&*file, opened, offset));
            let chunk = read.await?.map_err(|error| ConnectionError::Unfinished {
                path: path.clone(),
                error,
            })?;
            self.send(&chunk).await?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        send(self.shared, &mut self.stream, bytes).await?;
        self.sent_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Ends the connection in order. What the client still sends is read and dropped: a socket that
    /// is closed with something unread is reset, and the client might lose what it has not read yet
    /// (RFC 2525 §2.17). A reset by the client says that it has not read all.
    async fn close(&mut self) -> Result<(), ConnectionError> {
        let stall_time = self.shared.settings.limits.stall_time;
        timeout(stall_time, self.stream.shutdown())
            .await
            .map_err(|_| ConnectionError::Stalled(stall_time))??;
        let linger = Instant::now() + self.shared.settings.limits.linger_time;
        let mut buffer = [0; READ_BYTES];
        while !self.has_ended {
            let read = timeout_at(linger, self.stream.read(&mut buffer)).await;
            self.has_ended = !matches!(read.unwrap_or(Ok(0))?, 1..);
        }
        Ok(())
    }
}

/// Opens the file at `path`, and reads it if it is small.
fn open(source: &dyn Source, path: &RelativePath) -> Result<Content, SourceError> {
    let file = source.find(path, FOLLOWING).and_then(Found::into_file)?;
    let mut bytes = Vec::new();
    match read_small(&*file, CHUNK_BYTES as u64, wall_clock(), &mut bytes) {
        Ok(_) => Ok(Content::Whole(bytes)),
        Err(error) if error.refusal == Refusal::TooLarge => {
            let state = file.state()?;
            Ok(Content::Large(Arc::from(file), state))
        }
        Err(error) => Err(error),
    }
}

/// Reads the part at `offset` of a file that must still be as it was `opened`.
fn read_chunk(
    file: &dyn SourceFile,
    opened: FileState,
    offset: u64,
) -> Result<Vec<u8>, SourceError> {
    let left = usize::try_from(opened.size - offset).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(CHUNK_BYTES)];
    let length = file.read_at(offset, &mut bytes)?;
    if length < bytes.len() || file.state()?.version != opened.version {
        return Err(Refusal::Changed.into());
    }
    Ok(bytes)
}
