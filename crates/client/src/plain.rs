//! Fetches files in the plain mode, from any server that takes a name and sends what is called so.
//!
//! Such a server says neither how long a file is nor where it ends, and there is no hash of it: a
//! file is taken for complete when the server closes the connection, or has been silent. Nothing is
//! verified.

use std::io;
use std::time::Duration;

use packhorse_protocol::plain_address::PlainName;
use packhorse_transport::dial::{DialClear, DialError};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a server is silent before its file is taken for complete, unless said otherwise.
pub const SILENCE: Duration = Duration::from_secs(2);

/// Behind the last file, the connection's own side is closed after a silence of this length, so that
/// a server that waits for that need not be waited for.
const HALF_CLOSE_SILENCE_MAX: Duration = Duration::from_millis(500);

/// What comes at once.
const CHUNK_BYTES: usize = 256 << 10;

/// How long to look for what came behind a file: what has arrived shows within this.
const REST_TIME: Duration = Duration::from_millis(20);

/// A server that does not take a name within this time is lost.
const SEND_TIME_MAX: Duration = Duration::from_secs(60);

/// Fetches one file after the other, over one connection if the server leaves that open.
#[derive(Debug)]
pub struct PlainConnection<D: DialClear> {
    dialer: D,
    silence: Duration,
    /// Open, with nothing under way.
    stream: Option<D::Stream>,
}

/// A file that is being fetched. Dropped before its end, it takes the connection with it: what still
/// came would be taken for the next file.
#[derive(Debug)]
pub struct PlainFetch<'a, D: DialClear> {
    connection: &'a mut PlainConnection<D>,
    stream: Option<D::Stream>,
    name: &'a PlainName,
    is_last: bool,
    /// The connection was dialled for this file.
    is_fresh: bool,
    /// This side of the connection is closed.
    is_half_closed: bool,
    received_bytes: u64,
    end: Option<PlainEnd>,
}

/// What was taken for the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainEnd {
    /// The server closed the connection.
    Closed,
    /// It was silent.
    Silence,
}

/// What became of a connection since the last file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainRest {
    /// Nothing more came.
    Nothing,
    /// More came: the last file was not complete. The connection is closed, for nobody can tell what
    /// belongs to what.
    More,
}

/// Why a file was not fetched.
#[derive(Debug, Error)]
pub enum PlainError {
    /// No stream.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server closed the connection instead of sending anything.
    #[error("it does not exist on the server, which closed the connection and sent nothing")]
    NotFound,
    /// The connection broke, perhaps in the middle of the file.
    #[error("the connection was lost after {received_bytes} bytes: {source}")]
    Lost {
        /// How much had come.
        received_bytes: u64,
        /// How it broke.
        source: io::Error,
    },
}

/// What comes next.
enum Next {
    Bytes(Vec<u8>),
    Closed,
    Silence,
}

impl<D: DialClear> PlainConnection<D> {
    /// To whoever `dialer` reaches, whose files are complete after `silence`.
    #[must_use]
    pub fn new(dialer: D, silence: Duration) -> Self {
        Self {
            dialer,
            silence,
            stream: None,
        }
    }

    /// Dials if there is no connection.
    ///
    /// # Errors
    /// Nobody is there.
    pub async fn open(&mut self) -> Result<(), DialError> {
        if self.stream.is_none() {
            self.stream = Some(self.dialer.dial_clear().await?.0);
        }
        Ok(())
    }

    /// Looks whether more came behind the last file; to be asked before the next one.
    pub async fn look_for_rest(&mut self) -> PlainRest {
        let Some(stream) = &mut self.stream else {
            return PlainRest::Nothing;
        };
        let mut byte = [0];
        match timeout(REST_TIME, stream.read(&mut byte)).await {
            Err(_) => PlainRest::Nothing,
            Ok(read) => {
                self.stream = None;
                match read {
                    Ok(1..) => PlainRest::More,
                    // It ends here, or broke after all had come.
                    Ok(0) | Err(_) => PlainRest::Nothing,
                }
            }
        }
    }

    /// Asks for the file `name`. After the `is_last` one this side of the connection is closed.
    ///
    /// # Errors
    /// `Dial`, `Lost`.
    pub async fn fetch<'a>(
        &'a mut self,
        name: &'a PlainName,
        is_last: bool,
    ) -> Result<PlainFetch<'a, D>, PlainError> {
        let stream = self.stream.take();
        let mut fetch = PlainFetch {
            is_fresh: stream.is_none(),
            stream,
            connection: self,
            name,
            is_last,
            is_half_closed: false,
            received_bytes: 0,
            end: None,
        };
        if fetch.stream.is_none() {
            fetch.dial().await?;
        }
        match fetch.ask().await {
            // The server had closed a connection that it had left open behind the last file.
            Err(_) if !fetch.is_fresh => fetch.start_again().await?,
            asked => asked?,
        }
        Ok(fetch)
    }

    /// Ends the conversation.
    pub async fn close(mut self) {
        if let Some(mut stream) = self.stream.take() {
            // Whether the server hears of it makes no difference to what has come.
            let _ = timeout(SEND_TIME_MAX, stream.shutdown()).await;
        }
    }
}

impl<D: DialClear> PlainFetch<'_, D> {
    /// What comes next of the file; `None` once it is complete.
    ///
    /// # Errors
    /// Any [`PlainError`]. What has come is not the file.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, PlainError> {
        while self.end.is_none() {
            let is_untouched = self.received_bytes == 0 && !self.is_fresh;
            match self.read().await {
                Ok(Next::Bytes(bytes)) => {
                    self.received_bytes += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                // Perhaps it was closed for the last name, just when this one was sent.
                Ok(Next::Closed) | Err(_) if is_untouched => self.start_again().await?,
                Ok(Next::Closed) if self.received_bytes == 0 => return Err(PlainError::NotFound),
                Ok(Next::Closed) => self.end = Some(PlainEnd::Closed),
                Ok(Next::Silence) => {
                    self.end = Some(PlainEnd::Silence);
                    if !self.is_half_closed {
                        self.connection.stream = self.stream.take();
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// How much has come.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// What was taken for the file's end, if it has come.
    #[must_use]
    pub fn end(&self) -> Option<PlainEnd> {
        self.end
    }

    async fn read(&mut self) -> Result<Next, PlainError> {
        let silence = self.connection.silence;
        let since = Instant::now();
        let half_close_at = since + HALF_CLOSE_SILENCE_MAX.min(silence / 4);
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        loop {
            // A file of which nothing has come may be missing: the server says so by closing first.
            let is_to_half_close = self.is_last && !self.is_half_closed && self.received_bytes > 0;
            let deadline = match is_to_half_close {
                true => half_close_at,
                false => since + silence,
            };
            let read = timeout_at(deadline, self.stream()?.read_buf(&mut bytes)).await;
            match read {
                Ok(Ok(0)) => return Ok(Next::Closed),
                Ok(Ok(_)) => return Ok(Next::Bytes(bytes)),
                Ok(Err(error)) => return Err(self.lost(error)),
                Err(_) if is_to_half_close => self.half_close().await,
                Err(_) => return Ok(Next::Silence),
            }
        }
    }

    async fn half_close(&mut self) {
        self.is_half_closed = true;
        if let Some(stream) = &mut self.stream {
            // What the server makes of it shows when it is read from.
            let _ = timeout(SEND_TIME_MAX, stream.shutdown()).await;
        }
    }

    async fn start_again(&mut self) -> Result<(), PlainError> {
        self.dial().await?;
        self.ask().await
    }

    async fn dial(&mut self) -> Result<(), PlainError> {
        self.stream = None;
        self.stream = Some(self.connection.dialer.dial_clear().await?.0);
        self.is_fresh = true;
        Ok(())
    }

    /// Sends the name as it is, in one write: what takes it may read once and know of no line ends.
    async fn ask(&mut self) -> Result<(), PlainError> {
        let name = self.name.as_bytes();
        let stream = self.stream()?;
        let sending = async {
            stream.write_all(name).await?;
            stream.flush().await
        };
        let sent = timeout(SEND_TIME_MAX, sending).await;
        let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        sent.map_err(|error| self.lost(error))
    }

    fn stream(&mut self) -> Result<&mut D::Stream, PlainError> {
        let received_bytes = self.received_bytes;
        self.stream.as_mut().ok_or(PlainError::Lost {
            received_bytes,
            source: io::ErrorKind::NotConnected.into(),
        })
    }

    fn lost(&self, source: io::Error) -> PlainError {
        PlainError::Lost {
            received_bytes: self.received_bytes,
            source,
        }
    }
}
