//! A directory that is served, and the simplest client.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use packhorse_protocol::key::{Pin, Token};
use packhorse_storage::directory_source::DirectorySource;
use packhorse_storage::disk::Disk;
use packhorse_storage::workers::DiskWorkers;
use packhorse_web::{Conversation, Gatekeeper, Limits, Pace, Web, WebError, WebSettings};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

/// What a stream holds that nobody has read yet.
pub(crate) const STREAM_BYTES: usize = 16 << 10;

pub(crate) struct Served {
    directory: TempDir,
    web: Web,
    pub(crate) door: Arc<Door>,
    pub(crate) pace: Option<Arc<dyn Pace>>,
}

/// Counts.
#[derive(Default)]
pub(crate) struct Door {
    pub(crate) admitted: AtomicUsize,
    pub(crate) completed: AtomicUsize,
}

impl Gatekeeper for Door {
    fn admit(&self) -> bool {
        self.admitted.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn handle_complete(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }
}

/// An answer of HTTP/1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {}", bytes.escape_ascii()));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut answer = Self {
            status: head[9..12].parse().unwrap(),
            head,
            body: bytes[end + 4..].to_vec(),
        };
        if answer.field("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        }
        answer
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
}

impl Served {
    /// An empty directory, open to anyone.
    pub(crate) fn new() -> Self {
        Self::with(None, Limits::default())
    }

    pub(crate) fn with(token: Option<Token>, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = DirectorySource::open(Disk::new(), directory.path()).unwrap();
        let workers = DiskWorkers::new(2, 64).unwrap();
        let settings = WebSettings {
            token,
            pin: Pin::from([7; 16]),
            clear_text: true,
            limits,
        };
        Self {
            directory,
            web: Web::new(Arc::new(source), Arc::new(workers), settings),
            door: Arc::default(),
            pace: None,
        }
    }

    pub(crate) fn path(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.directory.path().join(OsStr::from_bytes(name.as_ref()))
    }

    /// Writes a file that has not changed for long.
    pub(crate) fn file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        self.write(name.as_ref(), content);
        self.age(name);
    }

    /// Writes a file that stays as if it had changed just now: its time is yet to come.
    pub(crate) fn fresh_file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        self.write(name.as_ref(), content);
        let file = fs::File::open(self.path(name)).unwrap();
        let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
        file.set_modified(tomorrow).unwrap();
    }

    fn write(&self, name: &[u8], content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Gives something a time long ago; also a directory.
    pub(crate) fn age(&self, name: impl AsRef<[u8]>) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = fs::File::open(self.path(name)).unwrap();
        file.set_modified(time).unwrap();
    }

    /// A connection that is served.
    pub(crate) fn connect(
        &self,
        is_http2: bool,
    ) -> (DuplexStream, JoinHandle<Result<(), WebError>>) {
        let (client, server) = duplex(STREAM_BYTES);
        (client, self.serve(server, is_http2, std::future::pending()))
    }

    /// Serves what comes on `stream`.
    pub(crate) fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        is_http2: bool,
        leaving: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<Result<(), WebError>> {
        let conversation = Conversation {
            stream,
            peer: SocketAddr::from(([192, 0, 2, 1], 4000)),
            is_http2,
            secure: false,
            gatekeeper: Arc::clone(&self.door) as Arc<dyn Gatekeeper>,
            pace: self.pace.clone(),
        };
        let web = self.web.clone();
        tokio::spawn(async move { web.serve(conversation, leaving).await })
    }

    /// Sends `request` as it is, and reads to the end of the stream.
    pub(crate) async fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let (mut client, _served) = self.connect(false);
        // The server may refuse without reading to the end.
        let _ = client.write_all(request).await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, method: &str, path: &str, lines: &[&str]) -> Answer {
        let request = request(method, path, lines);
        Answer::parse(&self.exchange(request.as_bytes()).await)
    }

    pub(crate) async fn get(&self, path: &str, lines: &[&str]) -> Answer {
        self.ask("GET", path, lines).await
    }
}

pub(crate) fn request(method: &str, path: &str, lines: &[&str]) -> String {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: files.example:7225\r\nConnection: close\r\n");
    for line in lines {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request + "\r\n"
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
