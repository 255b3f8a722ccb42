//! A server that follows the protocol to the letter, until a script makes it lie, fall silent or
//! hang up.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use packhorse_protocol::address::HostPort;
use packhorse_protocol::key::{Pin, Token};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_protocol::message::{
    Completion, MeasureRequest, MeasureWhat, ReadRequest, ReadWhat, Request,
};
use packhorse_protocol::proof::ChannelBinding;
use packhorse_protocol::session::{ServerEvent, ServerSession};
use packhorse_transport::dial::{Dial, DialError, Dialled};
use packhorse_transport::framed::FrameReader;
use packhorse_transport::stream::Native;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

use crate::tree::{ServedTree, text};
use crate::wire::{Answer, Body, Told, frame};

/// How much a pipe holds; less than a group, so that sending one takes several steps.
const PIPE_BYTES: usize = 64 << 10;

/// How long to listen to a client that has ended.
const LAST_WORDS: Duration = Duration::from_millis(50);

pub(crate) const PIN: [u8; 16] = [7; 16];

/// A request as the server met it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Which connection, from 0.
    pub(crate) connection: usize,
    /// How many requests came before it, on all connections.
    pub(crate) number: usize,
    pub(crate) request: Request,
}

/// What a connection does besides answering.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire {
    /// How long it takes to reach the server.
    pub(crate) dial_time: Duration,
    /// It ends behind this many frames, the greeting among them.
    pub(crate) frames_max: Option<usize>,
    /// It ends behind this many bytes.
    pub(crate) bytes_max: Option<usize>,
    /// In place of ending, it stays and says nothing more.
    pub(crate) falls_silent: bool,
    /// It reads no more requests than this.
    pub(crate) requests_max: Option<usize>,
    /// Bytes are sent in such pieces, with such a pause behind each.
    pub(crate) pace: Option<(usize, Duration)>,
    /// The greeting is this frame.
    pub(crate) greeting: Option<Vec<u8>>,
    /// Behind its last frame it sends this one again and again, with such a pause behind each.
    pub(crate) prattle: Option<(Vec<u8>, Duration)>,
    /// How much the pipe holds.
    pub(crate) pipe_bytes: Option<usize>,
    /// Before the frame of this number is sent, or the connection ends in its place, the test has
    /// to say so.
    pub(crate) hold: Option<(usize, Arc<Notify>)>,
}

type OnCall = Box<dyn FnMut(&Call, &mut ServedTree) + Send>;
type Lie = Box<dyn FnMut(&Call, &mut Vec<Answer>) + Send>;
type OnDial = Box<dyn FnMut(usize) -> Result<Wire, DialError> + Send>;

/// What a test has the server do.
pub(crate) struct Script {
    /// Changes the tree before a request is answered.
    pub(crate) before: OnCall,
    /// Changes the answer.
    pub(crate) lie: Lie,
    /// Says what a new connection is like.
    pub(crate) wire: OnDial,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            before: Box::new(|_, _| {}),
            lie: Box::new(|_, _| {}),
            wire: Box::new(|_| Ok(Wire::default())),
        }
    }
}

/// The server, and the way to it.
pub(crate) struct ScriptedServer {
    token: Option<Token>,
    state: Mutex<State>,
    /// The download has ended, so that nobody needs to be kept waiting.
    over: watch::Sender<bool>,
}

struct State {
    tree: ServedTree,
    script: Script,
    connections: usize,
    /// Of these, those that have not ended.
    open: usize,
    log: Log,
}

/// What the server has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) calls: Vec<Call>,
    /// How the client broke the protocol: never.
    pub(crate) violations: Vec<String>,
    pub(crate) completions: Vec<Completion>,
    pub(crate) connections: usize,
    /// The lengths of the frames sent on each connection, in bytes.
    pub(crate) frames: BTreeMap<usize, Vec<usize>>,
}

impl Log {
    /// The groups of `path` whose content was asked for, in order.
    pub(crate) fn groups(&self, path: &str) -> Vec<u64> {
        self.reads(path, ReadWhat::Content)
            .flat_map(|read| read.range.iter().map(|group| group.get()))
            .collect()
    }

    /// How many hashes of groups of `path` were asked for.
    pub(crate) fn hashes(&self, path: &str) -> u64 {
        self.reads(path, ReadWhat::Hashes)
            .map(|read| read.range.count())
            .sum()
    }

    /// The paths that were fetched, in order.
    pub(crate) fn fetched(&self) -> Vec<&str> {
        let requests = self.calls.iter().map(|call| &call.request);
        requests
            .filter_map(|request| match request {
                Request::Fetch(fetch) => Some(fetch.paths.iter().map(text)),
                _ => None,
            })
            .flatten()
            .collect()
    }

    /// How often `path` was asked for as a tree.
    pub(crate) fn trees(&self, path: &str) -> usize {
        let requests = self.calls.iter().map(|call| &call.request);
        requests
            .filter(|request| matches!(request, Request::Tree(tree) if text(&tree.path) == path))
            .count()
    }

    fn reads(&self, path: &str, what: ReadWhat) -> impl Iterator<Item = &ReadRequest> {
        let requests = self.calls.iter().map(|call| &call.request);
        requests.filter_map(move |request| match request {
            Request::Read(read) if text(&read.path) == path && read.what == what => Some(read),
            _ => None,
        })
    }
}

impl ScriptedServer {
    pub(crate) fn new(tree: ServedTree, script: Script, token: Option<Token>) -> Arc<Self> {
        Arc::new(Self {
            token,
            state: Mutex::new(State {
                tree,
                script,
                connections: 0,
                open: 0,
                log: Log::default(),
            }),
            over: watch::Sender::new(false),
        })
    }

    /// The download has ended.
    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }

    /// Keeps the other end waiting.
    async fn say_nothing(&self) {
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    pub(crate) fn log(&self) -> Log {
        let state = self.lock();
        Log {
            connections: state.connections,
            ..state.log.clone()
        }
    }

    /// Forgets what it has seen, and has another script from now on.
    pub(crate) fn begin_again(&self, script: Script) {
        let mut state = self.lock();
        state.log = Log::default();
        state.connections = 0;
        state.script = script;
        self.over.send_replace(false);
    }

    /// Whether every connection has come to its end.
    pub(crate) fn is_left(&self) -> bool {
        self.lock().open == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(
        self: Arc<Self>,
        pipe: DuplexStream,
        number: usize,
        wire: Wire,
        binding: ChannelBinding,
    ) {
        let (reader, writer) = split(pipe);
        let session = Mutex::new(ServerSession::new(self.token.clone(), binding));
        let (told, requests) = mpsc::unbounded_channel();
        let reading = self.read(reader, &session, &wire, told);
        let connection = Connection {
            server: &self,
            number,
            session: &session,
            wire: &wire,
            writer,
            frames: 0,
            bytes: 0,
            trees: BTreeMap::new(),
        };
        let mut writing = std::pin::pin!(connection.write(requests));
        tokio::select! {
            biased;
            () = &mut writing => return,
            () = reading => {}
        }
        if !wire.falls_silent {
            writing.await;
        }
    }

    async fn read(
        &self,
        reader: ReadHalf<DuplexStream>,
        session: &Mutex<ServerSession>,
        wire: &Wire,
        told: mpsc::UnboundedSender<ServerEvent>,
    ) {
        let mut frames = FrameReader::new(reader);
        let mut requests = 0;
        loop {
            if wire.requests_max == Some(requests) {
                return self.say_nothing().await;
            }
            let limit = session.lock().unwrap().body_bytes_max();
            // A client that hangs up in the middle of a frame has no more to say either.
            let Ok(Some((kind, body))) = frames.next(limit).await else {
                return;
            };
            let event = session.lock().unwrap().handle_frame(kind, &body);
            match event {
                Ok(event) => {
                    requests += usize::from(matches!(event, ServerEvent::Request(_)));
                    let _ = told.send(event);
                }
                Err(violation) => {
                    let violation = format!("{kind:?}: {violation}");
                    self.lock().log.violations.push(violation);
                    return;
                }
            }
        }
    }

    /// Notes a request and makes its answer; `None` for those that have none.
    fn answer(
        &self,
        connection: usize,
        request: Request,
        trees: &mut BTreeMap<u32, VecDeque<Told>>,
    ) -> Option<Vec<Answer>> {
        let mut state = self.lock();
        let State {
            tree, script, log, ..
        } = &mut *state;
        let call = Call {
            connection,
            number: log.calls.len(),
            request,
        };
        log.calls.push(call.clone());
        (script.before)(&call, tree);
        let mut answers = match &call.request {
            Request::Tree(request) => match tree.items(request) {
                Err(refusal) => vec![Answer::Failed(refusal)],
                Ok(items) => {
                    let items = trees.entry(request.tree).or_insert_with(|| items.into());
                    vec![next_page(items, tree.page_items)]
                }
            },
            Request::More { tree: number } => match trees.get_mut(number) {
                Some(items) => vec![next_page(items, tree.page_items)],
                None => vec![Answer::Failed(packhorse_protocol::entry::Refusal::NotFound)],
            },
            Request::CloseTree { tree } => {
                trees.remove(tree);
                return None;
            }
            Request::Fetch(request) => tree.contents(request),
            Request::Read(request) => tree.groups(request),
            Request::Complete(completion) => {
                log.completions.push(*completion);
                return None;
            }
            Request::Measure(request) => measured(*request),
        };
        (script.lie)(&call, &mut answers);
        Some(answers)
    }
}

/// Filler, and a millisecond on one of two cores for work.
fn measured(request: MeasureRequest) -> Vec<Answer> {
    let filler = Answer::Raw(frame(73, &[0; GROUP_BYTES]));
    let (groups, nanoseconds) = match request.what {
        MeasureWhat::Path => (request.groups, 0),
        MeasureWhat::Hashing | MeasureWhat::Encryption => (0, 1_000_000),
    };
    let mut body = Body::default();
    body.number(nanoseconds).number(2);
    let mut answers = vec![filler; usize::try_from(groups).unwrap()];
    answers.push(Answer::Raw(frame(74, &body.0)));
    answers
}

fn next_page(items: &mut VecDeque<Told>, page_items: usize) -> Answer {
    let page: Vec<_> = items.drain(..items.len().min(page_items)).collect();
    Answer::Page(if page.is_empty() {
        vec![Told::End]
    } else {
        page
    })
}

/// The sending half of a connection.
struct Connection<'a> {
    server: &'a ScriptedServer,
    number: usize,
    session: &'a Mutex<ServerSession>,
    wire: &'a Wire,
    writer: WriteHalf<DuplexStream>,
    frames: usize,
    bytes: usize,
    trees: BTreeMap<u32, VecDeque<Told>>,
}

impl Connection<'_> {
    /// Answers until the client has no more requests, or the connection is to end.
    async fn write(mut self, mut requests: mpsc::UnboundedReceiver<ServerEvent>) {
        while let Some(event) = requests.recv().await {
            let frames = match event {
                ServerEvent::Admitted(welcome) => {
                    vec![self.wire.greeting.clone().unwrap_or(welcome)]
                }
                ServerEvent::Denied(_, denied) => vec![denied],
                ServerEvent::Request(request) => {
                    let answered = self.server.answer(self.number, request, &mut self.trees);
                    let Some(answers) = answered else {
                        continue;
                    };
                    // Behind the answer there is room for another request. That it is counted a
                    // little early can only hide a violation, which `ClientSession` excludes.
                    self.session.lock().unwrap().handle_answered();
                    answers.iter().map(Answer::encode).collect()
                }
            };
            for frame in frames {
                if self.send(&frame).await.is_none() {
                    return self.stop().await;
                }
            }
        }
        let _ = self.writer.shutdown().await;
    }

    /// No more is answered.
    async fn stop(mut self) {
        self.wait_for_test().await;
        if let Some((frame, pause)) = &self.wire.prattle {
            while self.writer.write_all(frame).await.is_ok() {
                sleep(*pause).await;
            }
        } else if self.wire.falls_silent {
            self.server.say_nothing().await;
        }
    }

    /// `None` once the connection is to end.
    async fn send(&mut self, frame: &[u8]) -> Option<()> {
        if self.wire.frames_max == Some(self.frames) {
            return None;
        }
        self.wait_for_test().await;
        let room = self
            .wire
            .bytes_max
            .map_or(usize::MAX, |max| max - self.bytes);
        let part = &frame[..frame.len().min(room)];
        let (piece, pause) = self
            .wire
            .pace
            .unwrap_or((part.len().max(1), Duration::ZERO));
        for piece in part.chunks(piece) {
            self.writer.write_all(piece).await.ok()?;
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        self.frames += 1;
        self.bytes += part.len();
        let mut state = self.server.lock();
        let frames = state.log.frames.entry(self.number).or_default();
        frames.push(frame.len());
        drop(state);
        (part.len() == frame.len() && self.wire.frames_max != Some(self.frames)).then_some(())
    }

    async fn wait_for_test(&self) {
        if let Some((at, held)) = &self.wire.hold
            && *at == self.frames
        {
            held.notified().await;
        }
    }
}

/// Reaches a [`ScriptedServer`] by a new pipe each time.
pub(crate) struct ScriptedDial(pub(crate) Arc<ScriptedServer>);

impl Dial for ScriptedDial {
    type Stream = DuplexStream;

    async fn dial(&self) -> Result<Dialled<DuplexStream>, DialError> {
        let (number, wire) = {
            let mut state = self.0.lock();
            let number = state.connections;
            state.connections += 1;
            let wire = (state.script.wire)(number)?;
            (number, wire)
        };
        sleep(wire.dial_time).await;
        self.0.lock().open += 1;
        let binding = ChannelBinding([u8::try_from(number % 251).unwrap(); 32]);
        let (near, far) = duplex(wire.pipe_bytes.unwrap_or(PIPE_BYTES));
        let server = Arc::clone(&self.0);
        tokio::spawn(async move {
            let serving = Arc::clone(&server).serve(far, number, wire, binding);
            let mut over = server.over.subscribe();
            let long_over = async {
                let _ = over.wait_for(|over| *over).await;
                sleep(LAST_WORDS).await;
            };
            tokio::select! {
                () = serving => {}
                () = long_over => {}
            }
            server.lock().open -= 1;
        });
        Ok(Dialled {
            native: Native {
                stream: near,
                binding,
            },
            pin: Pin::from(PIN),
            peer: SocketAddr::from(([127, 0, 0, 1], 7225)),
        })
    }
}

/// Nobody listens any more.
pub(crate) fn refused() -> DialError {
    DialError::Refused { place: place() }
}

pub(crate) fn place() -> HostPort {
    HostPort::parse("host.test:7225", None).unwrap()
}
