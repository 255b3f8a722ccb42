//! A server of messages, with peers that say all kinds of things or nothing, and leave in all ways.

use std::net::SocketAddr;
use std::time::Duration;

use packhorse_server::limits::{DEAF_TIME, MESSAGE_BYTES_MAX, PARTS_WAITING_MAX};
use packhorse_server::listen::{
    Answer, CommandFailure, MessageEvent, MessageServer, MessageSettings, Peers, SendError,
    TallyReader, To,
};
use packhorse_transport::accept::{AcceptClear, AcceptError};
use packhorse_transport::kernel::{ClearListener, ListenAt};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::served::{Clock, within};

/// Where pipes arrive.
struct Door(Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

impl AcceptClear for Door {
    type Stream = DuplexStream;

    async fn accept_clear(&self) -> Result<(DuplexStream, SocketAddr), AcceptError> {
        match self.0.lock().await.recv().await {
            Some(pipe) => Ok((pipe, SocketAddr::from(([127, 0, 0, 1], 1)))),
            None => std::future::pending().await,
        }
    }
}

/// A server that runs.
struct Hall {
    arrivals: mpsc::UnboundedSender<DuplexStream>,
    events: mpsc::Receiver<MessageEvent>,
    peers: Peers,
    tally: TallyReader,
    running: JoinHandle<()>,
}

fn settings(answer: Answer) -> MessageSettings {
    MessageSettings {
        answer,
        once: false,
        peers: None,
    }
}

impl Hall {
    fn open(settings: MessageSettings) -> Self {
        let (arrivals, door) = mpsc::unbounded_channel();
        let (events, happened) = mpsc::channel(8);
        let server = MessageServer::new(Door(Mutex::new(door)), settings, events);
        Self {
            arrivals,
            events: happened,
            peers: server.peers(),
            tally: server.tally(),
            running: tokio::spawn(async { server.run().await.unwrap() }),
        }
    }

    /// A peer over a pipe that holds `pipe_bytes` each way.
    fn dial(&self, pipe_bytes: usize) -> DuplexStream {
        let (near, far) = duplex(pipe_bytes);
        self.arrivals.send(far).unwrap();
        near
    }

    /// A peer that the server has heard of.
    async fn arrive(&mut self) -> DuplexStream {
        let pipe = self.dial(64 << 10);
        let event = self.next().await;
        assert!(event.ends_with("connected"), "{event}");
        pipe
    }

    /// What happens next, in few words.
    async fn next(&mut self) -> String {
        shown(self.events.recv().await.unwrap())
    }

    async fn expect(&mut self, event: &str) {
        assert_eq!(self.next().await, event);
    }
}

fn shown(event: MessageEvent) -> String {
    match event {
        MessageEvent::Connected(peer) => format!("{} connected", peer.number),
        MessageEvent::Said(peer, message) => {
            format!("{}: {}", peer.number, message.text().escape_ascii())
        }
        MessageEvent::Unanswered(peer, CommandFailure::Status(status)) => {
            format!("{} unanswered: {status}", peer.number)
        }
        MessageEvent::Unanswered(peer, CommandFailure::Run(error)) => {
            format!("{} unanswered: {error}", peer.number)
        }
        MessageEvent::Left { peer, tally, error } => {
            let error = error.map_or_else(String::new, |error| format!(" {:?}", error.kind()));
            format!(
                "{} left: {} messages, {} in, {} out{error}",
                peer.number, tally.messages, tally.received_bytes, tally.sent_bytes
            )
        }
    }
}

async fn say(pipe: &mut DuplexStream, text: &str) {
    pipe.write_all(text.as_bytes()).await.unwrap();
}

async fn hear(pipe: &mut DuplexStream, text: &str) {
    let mut found = vec![0; text.len()];
    pipe.read_exact(&mut found).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&found), text);
}

async fn hear_end(pipe: &mut DuplexStream) {
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn lines_are_messages_and_so_is_what_comes_before_a_silence() {
    within(Clock::Paused, || async {
        let mut hall = Hall::open(settings(Answer::Nothing));
        let mut pipe = hall.arrive().await;
        say(&mut pipe, "one\ntwo\r\nthr").await;
        hall.expect("1: one").await;
        hall.expect("1: two").await;
        let start = Instant::now();
        hall.expect("1: thr").await;
        assert_eq!(start.elapsed().as_millis(), 200);
        say(&mut pipe, "e").await;
        sleep(Duration::from_millis(150)).await;
        say(&mut pipe, "e\n\x1b\n\nend").await;
        drop(pipe);
        for event in ["1: ee", "1: \\x1b", "1: ", "1: end"] {
            hall.expect(event).await;
        }
        hall.expect("1 left: 7 messages, 21 in, 0 out").await;
        assert_eq!(hall.tally.read().received_bytes, 21);
    });
}

#[test]
fn answers_are_given_in_kind() {
    within(Clock::Real, || async {
        let text = |text: &str| Answer::Text(text.into());
        let command = |text: &str| Answer::Command(text.into());
        let cases: [(Answer, &str, &str); 8] = [
            (text("ok"), "one\ntwo\r\nthree", "ok\nok\r\nok"),
            (text(""), "one\n", "\n"),
            (Answer::Echo, "one\ntwo\r\n\n\x01", "one\ntwo\r\n\n\x01"),
            (Answer::Nothing, "one\n", ""),
            (command("tr a-z A-Z"), "one\ntwo\n", "ONE\nTWO\n"),
            (
                command("echo $PACKHORSE_PEER $PACKHORSE_PEER_ADDRESS"),
                "x\n",
                "1 127.0.0.1:1\n",
            ),
            (command("head -c 100000 /dev/zero | wc -c"), "x", "100000\n"),
            (command(":"), "x", ""),
        ];
        for (answer, said, expected) in cases {
            let what = format!("{answer:?}");
            let mut hall = Hall::open(settings(answer));
            let mut pipe = hall.arrive().await;
            say(&mut pipe, said).await;
            pipe.shutdown().await.unwrap();
            let taking = tokio::spawn(async move { while hall.events.recv().await.is_some() {} });
            let mut answer = Vec::new();
            pipe.read_to_end(&mut answer).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), expected, "{what}");
            taking.abort();
        }
    });
}

#[test]
fn a_command_that_fails_is_told() {
    within(Clock::Real, || async {
        let mut hall = Hall::open(settings(Answer::Command("echo sorry; exit 3".into())));
        let mut pipe = hall.arrive().await;
        say(&mut pipe, "x\n").await;
        hear(&mut pipe, "sorry\n").await;
        hall.expect("1: x").await;
        hall.expect("1 unanswered: exit status: 3").await;
        drop(pipe);
        hall.expect("1 left: 1 messages, 2 in, 6 out").await;
    });
}

#[test]
fn once_is_one_message_and_its_answer() {
    within(Clock::Real, || async {
        let once = MessageSettings {
            once: true,
            ..settings(Answer::Text("ok".into()))
        };
        let mut hall = Hall::open(once);
        for number in 1..=3 {
            let mut pipe = hall.arrive().await;
            say(&mut pipe, "one\ntwo\n").await;
            hear(&mut pipe, "ok\n").await;
            hear_end(&mut pipe).await;
            drop(pipe);
            hall.expect(&format!("{number}: one")).await;
            hall.expect(&format!("{number} left: 1 messages, 8 in, 3 out"))
                .await;
        }
    });
}

#[test]
fn lines_go_to_the_newest_to_one_or_to_all() {
    within(Clock::Real, || async {
        let mut hall = Hall::open(settings(Answer::Nothing));
        let peers = hall.peers.clone();
        assert_eq!(peers.send(To::Newest, b"x"), Err(SendError::Nobody));
        assert_eq!(peers.send(To::All, b"x"), Err(SendError::Nobody));
        let mut pipes = Vec::new();
        for _ in 0..3 {
            pipes.push(hall.arrive().await);
        }
        peers.wait_for_one().await;
        peers.send(To::All, b"all\n").unwrap();
        peers.send(To::Number(2), b"two\n").unwrap();
        peers.send_patiently(To::Newest, b"newest\n").await.unwrap();
        assert_eq!(peers.send(To::Number(4), b"x"), Err(SendError::NotHere(4)));
        for pipe in &mut pipes {
            hear(pipe, "all\n").await;
        }
        hear(&mut pipes[1], "two\n").await;
        hear(&mut pipes[2], "newest\n").await;
        drop(pipes.pop());
        hall.expect("3 left: 0 messages, 0 in, 11 out").await;
        assert_eq!(peers.send(To::Number(3), b"x"), Err(SendError::NotHere(3)));
        peers.send(To::Newest, b"again\n").unwrap();
        hear(&mut pipes[1], "again\n").await;
    });
}

/// The seventeenth line, at the latest, finds no room.
#[test]
fn a_peer_that_takes_nothing_keeps_nobody_else_and_no_memory() {
    within(Clock::Paused, || async {
        let mut hall = Hall::open(settings(Answer::Nothing));
        let _deaf = hall.dial(10);
        hall.expect("1 connected").await;
        let mut other = hall.arrive().await;
        let line = [b'x'; 100];
        let sent = (0..1000).take_while(|_| hall.peers.send(To::Number(1), &line).is_ok());
        assert!(sent.count() <= PARTS_WAITING_MAX + 1);
        assert_eq!(
            hall.peers.send(To::Number(1), &line),
            Err(SendError::Deaf(1))
        );
        assert_eq!(hall.peers.send(To::All, b"all\n"), Err(SendError::Deaf(1)));
        hear(&mut other, "all\n").await;

        // It talks and never reads the answers: it is not read from any more after a while.
        let mut hall = Hall::open(settings(Answer::Echo));
        let mut chatty = hall.dial(1000);
        let mut other = hall.dial(1000);
        let chatting = tokio::spawn(async move {
            let line = [&[b'x'; 999][..], b"\n"].concat();
            while chatty.write_all(&line).await.is_ok() {}
        });
        let taking = tokio::spawn(async move { while hall.events.recv().await.is_some() {} });
        for _ in 0..10 {
            // Whatever could move has moved by then.
            sleep(Duration::from_secs(1)).await;
            say(&mut other, "hello\n").await;
            hear(&mut other, "hello\n").await;
        }
        let held = 2 * MESSAGE_BYTES_MAX + (PARTS_WAITING_MAX + 3) * 1000;
        assert!(hall.tally.read().received_bytes < held as u64);
        chatting.abort();
        taking.abort();
    });
}

#[test]
fn a_peer_that_never_ends_a_line_is_heard_in_parts() {
    within(Clock::Real, || async {
        let mut hall = Hall::open(settings(Answer::Nothing));
        let mut pipe = hall.arrive().await;
        let total = 5 * MESSAGE_BYTES_MAX;
        let talking = tokio::spawn(async move {
            pipe.write_all(&vec![b'x'; total]).await.unwrap();
        });
        let mut heard = 0;
        while heard < total {
            let MessageEvent::Said(_, message) = hall.events.recv().await.unwrap() else {
                panic!("it says something")
            };
            assert!(message.bytes().len() <= MESSAGE_BYTES_MAX);
            heard += message.bytes().len();
        }
        assert_eq!(heard, total);
        talking.await.unwrap();
    });
}

#[test]
fn who_has_ended_and_takes_nothing_is_left() {
    within(Clock::Paused, || async {
        let mut hall = Hall::open(settings(Answer::Echo));
        let mut pipe = hall.dial(10);
        hall.expect("1 connected").await;
        let start = Instant::now();
        say(&mut pipe, "one\ntwo\nthree\n").await;
        pipe.shutdown().await.unwrap();
        for event in ["1: one", "1: two", "1: three"] {
            hall.expect(event).await;
        }
        hall.expect("1 left: 3 messages, 14 in, 8 out TimedOut")
            .await;
        assert!(start.elapsed() >= DEAF_TIME);
    });
}

#[test]
fn many_are_heard_and_answered_at_once() {
    within(Clock::Real, || async {
        let mut hall = Hall::open(settings(Answer::Echo));
        let mut pipes: Vec<_> = (0..300).map(|_| hall.dial(100)).collect();
        let tally = hall.tally.clone();
        let taking = tokio::spawn(async move { while hall.events.recv().await.is_some() {} });
        for round in 0..3 {
            for (number, pipe) in pipes.iter_mut().enumerate() {
                say(pipe, &format!("{number} {round}\n")).await;
            }
            for (number, pipe) in pipes.iter_mut().enumerate() {
                hear(pipe, &format!("{number} {round}\n")).await;
            }
        }
        assert_eq!(tally.read().messages, 900);
        assert_eq!(tally.read().received_bytes, tally.read().sent_bytes);
        taking.abort();
    });
}

#[test]
fn where_nobody_takes_what_happens_the_server_ends() {
    within(Clock::Real, || async {
        let mut hall = Hall::open(settings(Answer::Echo));
        let mut pipe = hall.arrive().await;
        drop(hall.events);
        hall.running.await.unwrap();
        hear_end(&mut pipe).await;
    });
}

/// A server on a socket of the kernel, and where it is.
fn open_on_kernel(peers: u64) -> (SocketAddr, mpsc::Receiver<MessageEvent>, JoinHandle<()>) {
    let at = ListenAt::Addresses(vec![SocketAddr::from(([127, 0, 0, 1], 0))]);
    let listener = ClearListener::bind(&at, 16).unwrap();
    let address = listener.local_addresses()[0];
    let (events, happened) = mpsc::channel(8);
    let settings = MessageSettings {
        peers: Some(peers),
        ..settings(Answer::Echo)
    };
    let server = MessageServer::new(listener, settings, events);
    let running = tokio::spawn(async { server.run().await.unwrap() });
    (address, happened, running)
}

async fn exchange(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut found = vec![0; text.len()];
    stream.read_exact(&mut found).await.unwrap();
    assert_eq!(found, text.as_bytes());
}

#[test]
fn closing_the_listener_leaves_connected_peers_talking() {
    within(Clock::Real, || async {
        let (address, mut events, running) = open_on_kernel(2);
        let mut first = TcpStream::connect(address).await.unwrap();
        exchange(&mut first, "before\n").await;
        // With the second, the listener closes.
        let mut second = TcpStream::connect(address).await.unwrap();
        exchange(&mut second, "hello\n").await;
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        exchange(&mut first, "still here\n").await;
        exchange(&mut second, "me too\n").await;
        drop(first);
        exchange(&mut second, "alone\n").await;
        assert!(!running.is_finished());
        drop(second);
        let mut left = 0;
        while let Some(event) = events.recv().await {
            left += u64::from(matches!(event, MessageEvent::Left { error: None, .. }));
        }
        assert_eq!(left, 2);
        running.await.unwrap();
    });
}

#[test]
fn a_peer_that_resets_is_survived() {
    within(Clock::Real, || async {
        let (address, mut events, running) = open_on_kernel(2);
        let mut honest = TcpStream::connect(address).await.unwrap();
        exchange(&mut honest, "hello\n").await;
        let mut rude = TcpStream::connect(address).await.unwrap();
        exchange(&mut rude, "bye\n").await;
        SockRef::from(&rude)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(rude);
        loop {
            if let MessageEvent::Left { peer, error, .. } = events.recv().await.unwrap() {
                assert_eq!(peer.number, 2);
                assert_eq!(error.unwrap().kind(), std::io::ErrorKind::ConnectionReset);
                break;
            }
        }
        exchange(&mut honest, "still here\n").await;
        drop(honest);
        while events.recv().await.is_some() {}
        running.await.unwrap();
    });
}
