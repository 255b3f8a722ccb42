//! Holds native connections open: each greets the server, has one request answered, and then asks
//! for nothing until standard input ends. Then each has another one answered, so that a connection
//! counts only if it was there all the time.
//!
//! `cargo xtask bench idle` runs it; by hand:
//! `cargo run --release -p packhorse-transport --example idle_sessions -- ADDRESS 10000`

use std::error::Error;
use std::io::{Write, copy, sink, stdin, stdout};
use std::sync::Arc;

use packhorse_protocol::address::Address;
use packhorse_protocol::frame::FrameType;
use packhorse_protocol::message::{Request, TreeRequest};
use packhorse_protocol::session::{Answer, ClientSession};
use packhorse_transport::dial::Dial;
use packhorse_transport::framed::FrameReader;
use packhorse_transport::kernel::KernelDialer;
use packhorse_transport::tls::ClientStream;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_blocking};

/// Handshakes under way at once: fewer than a server lets strangers be.
const ARRIVING_MAX: usize = 64;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Native = ClientStream<TcpStream>;

/// A connection that a server has admitted.
struct Connection {
    frames: FrameReader<ReadHalf<Native>>,
    writer: WriteHalf<Native>,
    session: ClientSession,
    address: Arc<Address>,
}

#[tokio::main]
async fn main() -> Fallible<()> {
    let mut words = std::env::args().skip(1);
    let (Some(address), Some(count)) = (words.next(), words.next()) else {
        return Err("usage: idle_sessions ADDRESS COUNT".into());
    };
    let address: Arc<Address> = Arc::new(address.parse()?);
    let (mut arriving, mut standing) = (JoinSet::new(), Vec::new());
    for _ in 0..count.parse::<usize>()? {
        if arriving.len() == ARRIVING_MAX
            && let Some(arrived) = arriving.join_next().await
        {
            standing.push(arrived??);
        }
        arriving.spawn(Connection::open(Arc::clone(&address)));
    }
    while let Some(arrived) = arriving.join_next().await {
        standing.push(arrived??);
    }
    say(&format!("{} stand", standing.len()))?;
    spawn_blocking(|| copy(&mut stdin(), &mut sink())).await??;
    for connection in &mut standing {
        connection.ask().await?;
    }
    say(&format!("{} answer still", standing.len()))
}

impl Connection {
    async fn open(address: Arc<Address>) -> Fallible<Self> {
        let key = address.key.clone();
        let dialer = KernelDialer::new(address.place.clone(), key.as_ref().map(|key| key.pin));
        let native = dialer.dial().await?.native;
        let session = ClientSession::new(key.and_then(|key| key.token), native.binding);
        let (reader, writer) = tokio::io::split(native.stream);
        let frames = FrameReader::new(reader);
        let mut connection = Self {
            frames,
            writer,
            session,
            address,
        };
        let hello = connection.session.hello();
        connection.writer.write_all(&hello).await?;
        let (kind, body) = connection.next().await?;
        connection.session.handle_greeting(kind, &body)??;
        connection.ask().await?;
        Ok(connection)
    }

    /// Asks for the first page of what the address names.
    async fn ask(&mut self) -> Fallible<()> {
        let first_page = Request::Tree(TreeRequest {
            tree: 1,
            path: self.address.path.clone(),
            options: Default::default(),
            recursive: false,
            inline_bytes_max: 0,
            patterns: Default::default(),
            cursor: None,
        });
        self.send(&first_page).await?;
        let (kind, body) = self.next().await?;
        match self.session.handle_frame(kind, body)? {
            Answer::Page(_) => self.send(&Request::CloseTree { tree: 1 }).await,
            other => Err(format!("it answered {other:?}").into()),
        }
    }

    async fn send(&mut self, request: &Request) -> Fallible<()> {
        let request = self.session.request(request);
        self.writer.write_all(&request).await?;
        Ok(self.writer.flush().await?)
    }

    async fn next(&mut self) -> Fallible<(FrameType, Vec<u8>)> {
        let frame = self.frames.next(self.session.body_bytes_max()).await?;
        Ok(frame.ok_or("the server closed the connection")?)
    }
}

fn say(line: &str) -> Fallible<()> {
    println!("{line}");
    Ok(stdout().flush()?)
}
