//! A client that does as a test tells it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use packhorse_protocol::content::GroupRange;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::frame::FrameType;
use packhorse_protocol::key::Token;
use packhorse_protocol::message::{
    EntryOptions, FetchRequest, ReadRequest, ReadWhat, Request, TreeRequest,
};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::proof::ChannelBinding;
use packhorse_protocol::session::{Answer, ClientSession, Item};
use packhorse_protocol::tree::Cursor;
use packhorse_transport::framed::FrameReader;
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf, split};

pub(crate) struct Client {
    frames: FrameReader<Tap>,
    /// What comes, as bytes; between frames only.
    pub(crate) tap: Tap,
    pub(crate) writer: WriteHalf<DuplexStream>,
    pub(crate) session: ClientSession,
    pub(crate) binding: ChannelBinding,
}

impl Client {
    pub(crate) fn new(pipe: DuplexStream, binding: ChannelBinding, token: Option<Token>) -> Self {
        let (reader, writer) = split(pipe);
        let tap = Tap(Arc::new(Mutex::new(reader)));
        Self {
            frames: FrameReader::new(tap.clone()),
            tap,
            writer,
            session: ClientSession::new(token, binding),
            binding,
        }
    }

    /// Says hello, and is admitted.
    pub(crate) async fn greet(&mut self) {
        let hello = self.session.hello();
        self.send(&hello).await;
        let (kind, body) = self.next().await.expect("an answer to the greeting");
        let greeting = self.session.handle_greeting(kind, &body);
        greeting.expect("a greeting").expect("admitted");
    }

    /// Sends bytes as they are. That nobody takes them shows when the answer is read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.writer.write_all(bytes).await;
    }

    pub(crate) async fn ask(&mut self, request: &Request) {
        let frame = self.session.request(request);
        self.send(&frame).await;
    }

    /// The next frame; `None` once the server has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<(FrameType, Vec<u8>)> {
        self.frames
            .next(self.session.body_bytes_max())
            .await
            .unwrap_or(None)
    }

    /// The next answer, which must be one to what was asked.
    pub(crate) async fn answer(&mut self) -> Answer {
        let (kind, body) = self.next().await.expect("an answer");
        self.session
            .handle_frame(kind, body)
            .expect("an answer to what was asked")
    }

    pub(crate) async fn asked(&mut self, request: &Request) -> Answer {
        self.ask(request).await;
        self.answer().await
    }

    /// Requires that the server closes the connection without another word.
    pub(crate) async fn expect_closed(&mut self, what: &str) {
        let next = self.next().await;
        assert!(next.is_none(), "{what}: {next:?}");
    }

    /// All items of the tree at `path`.
    pub(crate) async fn whole_tree(&mut self, path: &str) -> Vec<Item> {
        let mut items = Vec::new();
        let mut answer = self.asked(&tree(1000, path)).await;
        loop {
            let Answer::Page(page) = answer else {
                panic!("{answer:?}");
            };
            items.extend(page.items);
            if page.ended {
                self.ask(&Request::CloseTree { tree: 1000 }).await;
                return items;
            }
            answer = self.asked(&Request::More { tree: 1000 }).await;
        }
    }

    /// Takes the answers to a read to their end; how many groups came, or the refusal.
    pub(crate) async fn read_to_end(&mut self) -> Result<u64, Refusal> {
        let mut groups = 0;
        loop {
            match self.answer().await {
                Answer::Group(_) => groups += 1,
                Answer::Hole(range, _) | Answer::Hashes(range, ..) => groups += range.count(),
                Answer::Done(_) => return Ok(groups),
                Answer::Failed(refusal) => return Err(refusal),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Closes this side and waits for the other to do so.
    pub(crate) async fn leave(mut self) {
        self.writer.shutdown().await.unwrap();
        self.expect_closed("a farewell").await;
    }
}

/// The reading end, where frames and single bytes are read from.
#[derive(Clone)]
pub(crate) struct Tap(Arc<Mutex<ReadHalf<DuplexStream>>>);

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_read(context, buffer)
    }
}

pub(crate) fn path(text: &str) -> RelativePath {
    RelativePath::parse(text.as_bytes()).unwrap()
}

pub(crate) fn tree(number: u32, at: &str) -> Request {
    tree_behind(number, at, None)
}

/// Asks for the tree 1 with the content of all small files.
pub(crate) fn tree_inline(at: &str) -> Request {
    let Request::Tree(request) = tree(1, at) else {
        unreachable!("it asks for a tree");
    };
    Request::Tree(TreeRequest {
        inline_bytes_max: 1 << 20,
        ..request
    })
}

pub(crate) fn tree_behind(number: u32, at: &str, cursor: Option<Cursor>) -> Request {
    Request::Tree(TreeRequest {
        tree: number,
        path: path(at),
        options: EntryOptions::default(),
        recursive: true,
        inline_bytes_max: 0,
        patterns: Default::default(),
        cursor,
    })
}

pub(crate) fn read(at: &str, start: u64, end: u64) -> Request {
    read_what(at, ReadWhat::Content, start, end)
}

pub(crate) fn read_what(at: &str, what: ReadWhat, start: u64, end: u64) -> Request {
    Request::Read(ReadRequest {
        path: path(at),
        follow_links: false,
        what,
        range: GroupRange::new(start, end).unwrap(),
        version: None,
    })
}

pub(crate) fn fetch(paths: &[&str]) -> Request {
    Request::Fetch(FetchRequest {
        options: EntryOptions::default(),
        paths: paths.iter().map(|at| path(at)).collect(),
    })
}

/// A frame of any type.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&[kind][..], &length.to_le_bytes(), body].concat()
}

/// A number of 7 bits a byte, least significant first.
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
