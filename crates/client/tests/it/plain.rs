//! The plain mode's client, with servers of all kinds, on a paused clock.

use std::net::SocketAddr;
use std::time::Duration;

use packhorse_client::plain::{PlainConnection, PlainEnd, PlainError, PlainRest, SILENCE};
use packhorse_protocol::address::HostPort;
use packhorse_protocol::plain_address::PlainName;
use packhorse_transport::dial::{DialClear, DialError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Reaches a server that takes its ends of pipes from a queue; refused once that has ended.
#[derive(Debug)]
struct Dialer(mpsc::UnboundedSender<DuplexStream>);

impl DialClear for Dialer {
    type Stream = DuplexStream;

    async fn dial_clear(&self) -> Result<(DuplexStream, SocketAddr), DialError> {
        let (near, far) = duplex(64 << 10);
        let place = HostPort::parse("h:1", None).unwrap();
        self.0.send(far).map_err(|_| DialError::Refused { place })?;
        Ok((near, SocketAddr::from(([127, 0, 0, 1], 1))))
    }
}

/// What a server does with a connection.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Requires that exactly this comes, in one piece.
    Expect(&'static str),
    Send(&'static str),
    Pause(u64),
    /// Requires that the client closes its side, and nothing comes before.
    ExpectEnd,
}

use Act::{Expect, ExpectEnd, Pause, Send};

/// A server that does one row with each connection, and then closes it.
fn server(rows: &'static [&'static [Act]]) -> (PlainConnection<Dialer>, JoinHandle<()>) {
    let (dialled, mut arrivals) = mpsc::unbounded_channel();
    let acting = tokio::spawn(async move {
        for row in rows {
            let mut pipe: DuplexStream = arrivals.recv().await.unwrap();
            for act in *row {
                act.on(&mut pipe).await;
            }
        }
    });
    (PlainConnection::new(Dialer(dialled), SILENCE), acting)
}

impl Act {
    async fn on(self, pipe: &mut DuplexStream) {
        let mut buffer = [0; 100];
        match self {
            Expect(text) => {
                let length = pipe.read(&mut buffer).await.unwrap();
                assert_eq!(buffer[..length].escape_ascii().to_string(), text);
            }
            Send(text) => pipe.write_all(text.as_bytes()).await.unwrap(),
            Pause(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
            ExpectEnd => assert_eq!(pipe.read(&mut buffer).await.unwrap(), 0),
        }
    }
}

/// What comes for `name`, and how it ended.
async fn fetch(
    connection: &mut PlainConnection<Dialer>,
    name: &str,
    is_last: bool,
) -> Result<(String, PlainEnd), PlainError> {
    let name = PlainName::parse(name.as_bytes()).unwrap();
    let mut fetch = connection.fetch(&name, is_last).await?;
    let mut content = Vec::new();
    while let Some(bytes) = fetch.next().await? {
        content.extend(bytes);
    }
    assert_eq!(fetch.received_bytes(), content.len() as u64);
    Ok((String::from_utf8(content).unwrap(), fetch.end().unwrap()))
}

fn closed(text: &str) -> (String, PlainEnd) {
    (text.to_owned(), PlainEnd::Closed)
}

fn silent(text: &str) -> (String, PlainEnd) {
    (text.to_owned(), PlainEnd::Silence)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_after_each_file_is_dialled_again() {
    let (mut connection, acting) = server(&[
        &[Expect("a"), Send("content of a")],
        &[Expect("b"), Send("content"), Pause(1900), Send(" of b")],
    ]);
    let mut next = async |name, is_last| fetch(&mut connection, name, is_last).await.unwrap();
    assert_eq!(next("a", false).await, closed("content of a"));
    assert_eq!(next("b", true).await, closed("content of b"));
    acting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_file_and_the_next_one_comes_over_the_same_connection() {
    let (mut connection, acting) = server(&[&[
        Expect("a"),
        Send("content"),
        Pause(1999),
        Send(" of a"),
        Expect("dir/b c"),
        Pause(1999),
        Send("content of b"),
        Expect("empty"),
        Expect("last"),
        Send("content of it"),
        ExpectEnd,
    ]]);
    let start = Instant::now();
    let mut next = async |name, is_last| fetch(&mut connection, name, is_last).await.unwrap();
    assert_eq!(next("a", false).await, silent("content of a"));
    assert_eq!(next("dir/b c", false).await, silent("content of b"));
    assert_eq!(next("empty", false).await, silent(""));
    // The server closes when it is told that nothing more comes.
    assert_eq!(next("last", true).await, closed("content of it"));
    assert_eq!(
        start.elapsed().as_millis(),
        1999 + 2000 + 1999 + 2000 + 2000 + 500
    );
    acting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_closes_is_left() {
    let (mut connection, acting) = server(&[&[Expect("a"), Send("content"), Pause(60_000)]]);
    assert_eq!(
        fetch(&mut connection, "a", true).await.unwrap(),
        silent("content")
    );
    acting.abort();
}

#[tokio::test(start_paused = true)]
async fn closing_without_a_word_means_that_there_is_no_such_file() {
    let (mut connection, acting) = server(&[
        &[Expect("missing")],
        // It was left open behind `a`, so the server may have closed it for that reason.
        &[Expect("a"), Send("content of a"), Expect("missing")],
        &[Expect("missing"), Pause(1999)],
        &[Expect("a"), Send("content of a"), Pause(2100)],
        &[Expect("b"), Send("content of b")],
    ]);
    let mut next = async |name| fetch(&mut connection, name, false).await;
    assert!(matches!(next("missing").await, Err(PlainError::NotFound)));
    assert_eq!(next("a").await.unwrap(), silent("content of a"));
    assert!(matches!(next("missing").await, Err(PlainError::NotFound)));
    assert_eq!(next("a").await.unwrap(), silent("content of a"));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(connection.look_for_rest().await, PlainRest::Nothing);
    let mut next = async |name| fetch(&mut connection, name, false).await;
    assert_eq!(next("b").await.unwrap(), closed("content of b"));
    acting.await.unwrap();
    assert!(matches!(
        next("b").await,
        Err(PlainError::Dial(DialError::Refused { .. }))
    ));
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_is_no_part_of_the_next_file() {
    let (mut connection, acting) = server(&[
        &[Expect("a"), Send("half"), Pause(2500), Send("other half")],
        &[Expect("b"), Send("content of b")],
    ]);
    assert_eq!(
        fetch(&mut connection, "a", false).await.unwrap(),
        silent("half")
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(connection.look_for_rest().await, PlainRest::More);
    assert_eq!(
        fetch(&mut connection, "b", false).await.unwrap(),
        closed("content of b")
    );
    acting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_given_up_takes_the_connection_with_it() {
    let (mut connection, acting) = server(&[
        &[Expect("a"), Send("begins"), ExpectEnd],
        &[Expect("b"), Send("content of b")],
    ]);
    let name = PlainName::parse(b"a").unwrap();
    let mut given_up = connection.fetch(&name, false).await.unwrap();
    assert_eq!(given_up.next().await.unwrap().unwrap(), b"begins");
    drop(given_up);
    assert_eq!(
        fetch(&mut connection, "b", false).await.unwrap(),
        closed("content of b")
    );
    acting.await.unwrap();
}
