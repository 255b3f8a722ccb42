//! A server of plain messages: whoever connects is heard, and answered by rule or by hand.
//!
//! Nothing is agreed on with a peer but TCP, so that it can be anything: `nc`, a sensor, thirty lines
//! of Python.

mod answer;
mod messages;
mod peers;

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packhorse_transport::accept::{AcceptClear, AcceptError};
use packhorse_transport::stream::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use self::answer::Answer;
pub use self::messages::Message;
pub use self::peers::{Peer, Peers, SendError, To};

use self::messages::Messages;
use self::peers::Queue;
use crate::limits::{
    DEAF_TIME, EXHAUSTED_WAIT, FAREWELL_TIME, MESSAGE_PAUSE, PART_BYTES_MAX, TALKERS_MAX,
};

/// What a message server does.
#[derive(Debug, Clone)]
pub struct MessageSettings {
    /// With what it answers.
    pub answer: Answer,
    /// One message from each peer, which is closed when that is answered.
    pub once: bool,
    /// End when that many peers have come and left; nobody else is let in.
    pub peers: Option<u64>,
}

/// Something that happened.
#[derive(Debug)]
pub enum MessageEvent {
    /// A peer has connected.
    Connected(Peer),
    /// A peer has said something.
    Said(Peer, Message),
    /// A command that was to answer a peer could not be run, or ended with an error.
    Unanswered(Peer, CommandFailure),
    /// A peer has left.
    Left {
        /// Who.
        peer: Peer,
        /// What it has said and was sent.
        tally: Tally,
        /// How its connection broke, if it did.
        error: Option<io::Error>,
    },
}

/// Why a command gave no answer.
#[derive(Debug)]
pub enum CommandFailure {
    /// It could not be run.
    Run(io::Error),
    /// How it ended.
    Status(ExitStatus),
}

/// What was said and sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that came.
    pub messages: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
}

/// A server of plain messages.
#[derive(Debug)]
pub struct MessageServer<A> {
    accept: A,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    settings: MessageSettings,
    peers: Peers,
    events: mpsc::Sender<MessageEvent>,
    total: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// Reads a [`MessageServer`]'s tally while it runs, and after.
#[derive(Debug, Clone)]
pub struct TallyReader(Arc<Counts>);

impl<A: AcceptClear> MessageServer<A> {
    /// A server of whoever arrives at `accept`. What happens goes to `events`, which are waited for:
    /// when nobody takes them any more, the server ends.
    pub fn new(accept: A, settings: MessageSettings, events: mpsc::Sender<MessageEvent>) -> Self {
        let shared = Shared {
            settings,
            peers: Peers::new(),
            events,
            total: Arc::default(),
        };
        Self {
            accept,
            shared: Arc::new(shared),
        }
    }

    /// Who is connected.
    #[must_use]
    pub fn peers(&self) -> Peers {
        self.shared.peers.clone()
    }

    /// What is said and sent, all peers together.
    #[must_use]
    pub fn tally(&self) -> TallyReader {
        TallyReader(Arc::clone(&self.shared.total))
    }

    /// Serves until all peers that it is for have left, or nobody takes its events. Dropped, it lets
    /// go of everyone.
    ///
    /// # Errors
    /// Nobody can arrive any more; those who were here have finished.
    pub async fn run(self) -> Result<(), AcceptError> {
        let Self { accept, shared } = self;
        let mut tasks = JoinSet::new();
        tokio::select! {
            ended = take_in(accept, &shared, &mut tasks) => ended?,
            () = shared.events.closed() => return Ok(()),
        }
        tokio::select! {
            () = async { while tasks.join_next().await.is_some() {} } => {}
            () = shared.events.closed() => {}
        }
        Ok(())
    }
}

impl TallyReader {
    /// What it is now.
    #[must_use]
    pub fn read(&self) -> Tally {
        self.0.read()
    }
}

impl Counts {
    fn read(&self) -> Tally {
        Tally {
            messages: self.messages.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Lets peers in until there were as many as there are to be. `accept` is closed then: those who are
/// here go on.
async fn take_in<A: AcceptClear>(
    accept: A,
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<()>,
) -> Result<(), AcceptError> {
    let mut number = 0;
    while shared.settings.peers.is_none_or(|peers| number < peers) {
        let has_room = tasks.len() < TALKERS_MAX;
        let accepted = tokio::select! {
            accepted = accept.accept_clear(), if has_room => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => {
                number += 1;
                let peer = Peer { number, address };
                tasks.spawn(converse(Arc::clone(shared), stream, peer));
            }
            Err(AcceptError::Gone(_)) => {}
            Err(AcceptError::Exhausted(_)) => sleep(EXHAUSTED_WAIT).await,
            Err(error @ AcceptError::Broken(_)) => {
                while tasks.join_next().await.is_some() {}
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Listens to one peer until it leaves.
async fn converse<S: Stream>(shared: Arc<Shared>, stream: S, peer: Peer) {
    let (entry, sender, queue) = shared.peers.enter(peer.number);
    if shared
        .events
        .send(MessageEvent::Connected(peer))
        .await
        .is_err()
    {
        return;
    }
    let (reader, writer) = tokio::io::split(stream);
    let mut talker = Talker {
        shared: &shared,
        peer,
        reader,
        counts: Counts::default(),
    };
    let (counts, ended) = (Counts::default(), Notify::new());
    let writing = write_queued(writer, queue, &shared.total, &counts);
    let reading = async {
        let heard = talker.listen(&sender).await;
        // What was sent already still leaves; nothing more is taken.
        drop((sender, entry));
        ended.notify_one();
        heard
    };
    let writing = async {
        tokio::pin!(writing);
        tokio::select! {
            written = &mut writing => written,
            error = give_up(&ended, &counts) => Err(error),
        }
    };
    let (ended, written) = tokio::join!(reading, writing);
    let error = match (ended, written) {
        (Err(error), _) | (Ok(_), Err(error)) => Some(error),
        (Ok(has_ended), Ok(())) => {
            if !has_ended {
                talker.see_off().await;
            }
            None
        }
    };
    let tally = Tally {
        sent_bytes: counts.read().sent_bytes,
        ..talker.counts.read()
    };
    let left = MessageEvent::Left { peer, tally, error };
    // Where nobody listens any more, all ends.
    let _ = shared.events.send(left).await;
}

/// Once nothing more comes from a peer, returns when it takes nothing of what is left for it.
async fn give_up(ended: &Notify, sent: &Counts) -> io::Error {
    ended.notified().await;
    let mut sent_bytes = None;
    while sent_bytes != Some(sent.read().sent_bytes) {
        sent_bytes = Some(sent.read().sent_bytes);
        sleep(DEAF_TIME).await;
    }
    io::ErrorKind::TimedOut.into()
}

/// One peer, as it is read from.
struct Talker<'a, S> {
    shared: &'a Shared,
    peer: Peer,
    reader: ReadHalf<S>,
    counts: Counts,
}

impl<S: Stream> Talker<'_, S> {
    /// Passes on what the peer says, and answers it. Returns whether the peer has closed its side.
    async fn listen(&mut self, queue: &mpsc::Sender<Vec<u8>>) -> io::Result<bool> {
        let mut messages = Messages::default();
        let mut heard_at = Instant::now();
        let mut buffer = vec![0; PART_BYTES_MAX];
        let mut has_ended = false;
        loop {
            while let Some(message) = messages.next_message() {
                if !self.handle(message, queue).await {
                    return Ok(has_ended);
                }
            }
            if has_ended {
                return Ok(true);
            }
            let read = match messages.is_begun() {
                true => timeout_at(heard_at + MESSAGE_PAUSE, self.reader.read(&mut buffer)).await,
                false => Ok(self.reader.read(&mut buffer).await),
            };
            match read {
                Ok(Ok(0)) => {
                    has_ended = true;
                    messages.handle_pause();
                }
                Ok(Ok(length)) => {
                    heard_at = Instant::now();
                    messages.handle_bytes(&buffer[..length]);
                    let bytes = length as u64;
                    for counts in [&self.counts, &*self.shared.total] {
                        counts.received_bytes.fetch_add(bytes, Ordering::Relaxed);
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => messages.handle_pause(),
            }
        }
    }

    /// False if nothing more is wanted from this peer.
    async fn handle(&mut self, message: Message, queue: &mpsc::Sender<Vec<u8>>) -> bool {
        let Shared {
            settings, events, ..
        } = self.shared;
        for counts in [&self.counts, &*self.shared.total] {
            counts.messages.fetch_add(1, Ordering::Relaxed);
        }
        let said = MessageEvent::Said(self.peer, message.clone());
        if events.send(said).await.is_err() {
            return false;
        }
        let failure = match settings.answer.give(self.peer, &message, queue).await {
            Ok(None) => None,
            Ok(Some(status)) => Some(CommandFailure::Status(status)),
            Err(error) => Some(CommandFailure::Run(error)),
        };
        if let Some(failure) = failure {
            let unanswered = MessageEvent::Unanswered(self.peer, failure);
            return events.send(unanswered).await.is_ok() && !settings.once;
        }
        !settings.once
    }

    /// Waits for the peer to close its side, and drops what it still says: a socket that is closed
    /// with something unread is reset, and the peer might lose its answer (RFC 2525 §2.17).
    async fn see_off(&mut self) {
        let end = Instant::now() + FAREWELL_TIME;
        let mut buffer = [0; 1024];
        while let Ok(Ok(1..)) = timeout_at(end, self.reader.read(&mut buffer)).await {}
    }
}

/// Sends what is queued, in order, and closes this side behind the last.
async fn write_queued<S: Stream>(
    mut writer: WriteHalf<S>,
    mut queue: Queue,
    total: &Counts,
    own: &Counts,
) -> io::Result<()> {
    while let Some(bytes) = queue.recv().await {
        writer.write_all(&bytes).await?;
        writer.flush().await?;
        for counts in [total, own] {
            let bytes = bytes.len() as u64;
            counts.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    timeout(FAREWELL_TIME, writer.shutdown())
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
