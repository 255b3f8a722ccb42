//! Walks one hot path as often as it is told, for `cargo xtask count`, which has the instructions
//! counted: once for some turns and once for twice as many, so that the difference is the path's.
//!
//! `hot_paths NAME TURNS`; without arguments it prints the names, each with a number of turns that
//! is enough.

use std::error::Error;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use packhorse_client::connect::Connector;
use packhorse_client::download::Download;
use packhorse_client::report::{Event, Observer};
use packhorse_client::settings::DownloadSettings;
use packhorse_protocol::address::HostPort;
use packhorse_protocol::content::{GroupHash, GroupIndex, GroupRange};
use packhorse_protocol::entry::Version;
use packhorse_protocol::frame::FRAME_HEADER_BYTES;
use packhorse_protocol::frame::FrameType;
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_protocol::message::{ReadRequest, ReadWhat, Request, begin_group, finish_group};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::proof::ChannelBinding;
use packhorse_protocol::session::{Answer, ClientSession, ServerEvent, ServerSession};
use packhorse_server::{Limits, Server, ServerSettings};
use packhorse_storage::destination::DestinationOptions;
use packhorse_storage::directory_source::DirectorySource;
use packhorse_storage::disk::Disk;
use packhorse_storage::workers::DiskWorkers;
use packhorse_tcp::{Endpoint, EndpointConfig, Instant, ListenAt, Read};
use packhorse_transport::identity::Identity;
use packhorse_transport::kernel::{self, KernelDialer, KernelListener};
use packhorse_transport::tls::ServerTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A file that has changed since is looked at twice.
const SETTLING_TIME: Duration = Duration::from_secs(4);

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The way of bytes or files through one part of the product.
struct HotPath {
    name: &'static str,
    turns: usize,
    walk: fn(usize) -> Fallible<()>,
}

static HOT_PATHS: [HotPath; 7] = [
    HotPath {
        name: "hash-group",
        turns: 10,
        walk: hash_groups,
    },
    HotPath {
        name: "frame-group",
        turns: 10,
        walk: frame_groups,
    },
    HotPath {
        name: "request",
        turns: 2000,
        walk: request,
    },
    HotPath {
        name: "tcp-64-kib",
        turns: 100,
        walk: tcp_segments,
    },
    HotPath {
        name: "http-range",
        turns: 200,
        walk: http_ranges,
    },
    HotPath {
        name: "get-mib",
        turns: 16,
        walk: get_large,
    },
    HotPath {
        name: "get-small-file",
        turns: 1000,
        walk: get_small,
    },
];

fn main() -> Fallible<()> {
    let mut words = std::env::args().skip(1);
    let (Some(name), Some(turns)) = (words.next(), words.next()) else {
        for path in &HOT_PATHS {
            println!("{} {}", path.name, path.turns);
        }
        return Ok(());
    };
    let path = HOT_PATHS.iter().find(|path| path.name == name);
    let path = path.ok_or_else(|| format!("there is no hot path {name}"))?;
    (path.walk)(turns.parse()?)
}

fn group() -> Vec<u8> {
    (0..GROUP_BYTES).map(|at| (at * 7 % 251) as u8).collect()
}

/// What both sides do with every MiB.
fn hash_groups(turns: usize) -> Fallible<()> {
    let bytes = group();
    let size = (turns * GROUP_BYTES) as u64;
    for index in GroupRange::whole(size).iter() {
        std::hint::black_box(GroupHash::of(index, size, &bytes));
    }
    Ok(())
}

/// A server's frame of a group, from memory, and what the client's session makes of it.
fn frame_groups(turns: usize) -> Fallible<()> {
    let (mut client, _) = admitted()?;
    let bytes = group();
    let read = read_request(turns);
    client.request(&Request::Read(read));
    let hash = GroupHash::of(GroupIndex::new(0).ok_or("no group 0")?, 2 << 20, &bytes);
    for index in GroupRange::whole((turns * GROUP_BYTES) as u64).iter() {
        let mut frame = begin_group(index, Version([7; 16]), Vec::with_capacity(2 * GROUP_BYTES));
        frame.buffer().extend_from_slice(&bytes);
        let body = finish_group(frame, hash).split_off(FRAME_HEADER_BYTES);
        match client.handle_frame(FrameType::Group, body)? {
            Answer::Group(group) => assert_eq!(group.bytes().len(), GROUP_BYTES),
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

/// A request from the client's session to the server's.
fn request(turns: usize) -> Fallible<()> {
    let (_, mut server) = admitted()?;
    for _ in 0..turns {
        let frame = Request::Read(read_request(64)).encode();
        match server.handle_frame(FrameType::Read, &frame[FRAME_HEADER_BYTES..])? {
            ServerEvent::Request(_) => server.handle_answered(),
            _ => return Err("no request".into()),
        }
    }
    Ok(())
}

fn read_request(groups: usize) -> ReadRequest {
    ReadRequest {
        path: RelativePath::ROOT,
        follow_links: false,
        what: ReadWhat::Content,
        range: GroupRange::whole((groups * GROUP_BYTES) as u64),
        version: Some(Version([7; 16])),
    }
}

/// Two sessions that have greeted each other.
fn admitted() -> Fallible<(ClientSession, ServerSession)> {
    let mut client = ClientSession::new(None, ChannelBinding([1; 32]));
    let mut server = ServerSession::new(None, ChannelBinding([1; 32]));
    let hello = client.hello();
    match server.handle_frame(FrameType::Hello, &hello[FRAME_HEADER_BYTES..])? {
        ServerEvent::Admitted(welcome) => {
            client.handle_greeting(FrameType::Welcome, &welcome[FRAME_HEADER_BYTES..])??;
        }
        _ => return Err("not admitted".into()),
    }
    Ok((client, server))
}

/// 64 KiB through two of our TCPs, in segments of an Ethernet, and the acknowledgements.
fn tcp_segments(turns: usize) -> Fallible<()> {
    let mut client = Endpoint::new(EndpointConfig::default(), [1; 16]);
    let mut server = Endpoint::new(EndpointConfig::default(), [2; 16]);
    let listener = server.listen(ListenAt::Port(80), 1)?;
    let mut now = Instant::from_millis(1);
    let here: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
    let there = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 2).into(), 80);
    let id = client.connect(now, (here, 0).into(), there)?;
    exchange(now, &mut client, &mut server);
    let accepted = server.accept(listener).ok_or("nobody came")?;
    let data = bytes::Bytes::from(vec![7; 64 << 10]);
    for _ in 0..turns {
        let (mut written, mut read) = (0, 0);
        while read < data.len() {
            written += client.write(now, id, data.slice(written..));
            now = now + Duration::from_micros(100);
            client.handle_timeout(now);
            server.handle_timeout(now);
            exchange(now, &mut client, &mut server);
            while let Read::Data(part) = server.read(now, accepted, 64 << 10) {
                read += part.len();
            }
        }
    }
    Ok(())
}

/// Lets packets go back and forth until there are none.
fn exchange(now: Instant, client: &mut Endpoint, server: &mut Endpoint) {
    loop {
        let mut is_quiet = true;
        for is_client in [true, false] {
            let (from, to) = match is_client {
                true => (&mut *client, &mut *server),
                false => (&mut *server, &mut *client),
            };
            while let Some(transmit) = from.poll_transmit(now, 1) {
                is_quiet = false;
                transmit
                    .packets()
                    .for_each(|packet| to.handle_packet(now, packet));
            }
            while from.poll_event().is_some() {}
        }
        if is_quiet {
            return;
        }
    }
}

/// 64 KiB out of the middle of a file, by HTTP in clear text.
fn http_ranges(turns: usize) -> Fallible<()> {
    let make = |served: &Path| fs::write(served.join("file"), group());
    with_server(make, async |place: HostPort, _, _| {
        let mut stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
        let request = "GET /file HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=65536-131071\r\n\r\n";
        let mut part = vec![0; 64 << 10];
        for _ in 0..turns {
            stream.write_all(request.as_bytes()).await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            assert!(head.starts_with(b"HTTP/1.1 206"), "no part came");
            stream.read_exact(&mut part).await?;
        }
        Ok(())
    })
}

/// A whole `get` of one file, for each MiB.
fn get_large(turns: usize) -> Fallible<()> {
    let make = |served: &Path| fs::write(served.join("file"), group().repeat(turns));
    with_server(make, get)
}

/// A whole `get` of a tree of small files, for each of them.
fn get_small(turns: usize) -> Fallible<()> {
    let make = |served: &Path| {
        for number in 0..turns {
            let directory = served.join((number / 100).to_string());
            fs::create_dir_all(&directory)?;
            fs::write(directory.join(number.to_string()), [7; 1000])?;
        }
        Ok(())
    };
    with_server(make, get)
}

async fn get(place: HostPort, base: PathBuf, workers: Arc<DiskWorkers>) -> Fallible<()> {
    let download = Download {
        destination: base.join("fetched"),
        options: DestinationOptions::default(),
        disk: Disk::new(),
        workers,
        settings: DownloadSettings {
            connections: Some(1),
            ..DownloadSettings::default()
        },
        totals: Arc::default(),
        observer: Arc::new(Quiet),
    };
    let connector = Connector::new(KernelDialer::new(place, None), None);
    download.run(&connector).await?;
    Ok(())
}

struct Quiet;

impl Observer for Quiet {
    fn handle(&self, event: Event<'_>) {
        if let Event::Failed { path, failure } = event {
            panic!("{path:?}: {failure:?}");
        }
    }
}

/// Serves what `make` makes to `ask`. One thread serves the network and one the disk, so that
/// chance decides little.
fn with_server(
    make: impl FnOnce(&Path) -> io::Result<()>,
    ask: impl AsyncFnOnce(HostPort, PathBuf, Arc<DiskWorkers>) -> Fallible<()>,
) -> Fallible<()> {
    let base = tempfile::tempdir()?;
    let served = base.path().join("served");
    fs::create_dir(&served)?;
    make(&served)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::time::sleep(SETTLING_TIME).await;
        let identity = Identity::generate()?;
        let at = kernel::ListenAt::Addresses(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
        let accept = KernelListener::bind(&at, ServerTls::new(&identity, None), None)?;
        let place = accept.local_addresses()[0].to_string();
        let source = Arc::new(DirectorySource::open(Disk::new(), &served)?);
        let workers = Arc::new(DiskWorkers::new(1, 64)?);
        let settings = ServerSettings {
            token: None,
            limits: Limits::default(),
            rate_limit: None,
            once: false,
            plain: false,
            clear_http: true,
            pin: identity.pin(),
            leave_idle_time: Duration::ZERO,
        };
        let server = Server::new(accept, source, Arc::clone(&workers), settings);
        let stop = server.stop();
        let serving = tokio::spawn(server.run(Duration::ZERO));
        ask(HostPort::parse(&place, None)?, base.path().into(), workers).await?;
        stop.end();
        serving.await?;
        Ok(())
    })
}
