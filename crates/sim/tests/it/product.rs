//! `serve`, `get`, `listen` and `talk` on our own TCP: over simulated links without any device,
//! and over a TUN device with the kernel at the other end, both with losses.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use packhorse_client::connect::Connector;
use packhorse_client::download::Download;
use packhorse_client::report::{Event, Observer, Totals};
use packhorse_client::settings::DownloadSettings;
use packhorse_client::talk::{TalkEnd, talk};
use packhorse_protocol::address::HostPort;
use packhorse_protocol::key::Token;
use packhorse_server::listen::{Answer, MessageEvent, MessageServer, MessageSettings};
use packhorse_server::{Limits, Server, ServerSettings};
use packhorse_sim::link::{LinkConfig, Loss};
use packhorse_sim::stream::Stream;
use packhorse_storage::destination::DestinationOptions;
use packhorse_storage::directory_source::DirectorySource;
use packhorse_storage::disk::Disk;
use packhorse_storage::workers::DiskWorkers;
use packhorse_tcp::{EndpointConfig, ListenAt};
use packhorse_transport::accept::{Accept, AcceptClear};
use packhorse_transport::dial::{Dial, DialClear};
use packhorse_transport::identity::Identity;
use packhorse_transport::kernel::{self, ClearDialer, ClearListener, KernelDialer, KernelListener};
use packhorse_transport::stack::{PacketDevice, Stack, StackAcceptor, StackDialer};
use packhorse_transport::tls::ServerTls;
use packhorse_transport::tun::TunDevice;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::path::path;

/// Against hangs only.
const PATIENCE: Duration = Duration::from_secs(120);

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 78, 0, 1));
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 78, 0, 2));
const PORT: u16 = 7225;

/// A few small files and one that takes many segments.
const FILES: [(&str, usize); 4] = [
    ("a/b/deep", 3_000),
    ("a/small", 17),
    ("empty", 0),
    ("large", 3_500_000),
];

fn bad_link() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(3),
        jitter: Duration::from_millis(1),
        loss: Loss::Independent(20_000),
        reorder: 5_000,
        reorder_delay: Duration::from_millis(5),
        duplicate: 5_000,
        corrupt: 5_000,
        ..LinkConfig::default()
    }
}

fn stack(device: impl PacketDevice, key: u8) -> Stack {
    Stack::start(device, EndpointConfig::default(), [key; 16]).0
}

fn place(address: IpAddr, port: u16) -> HostPort {
    HostPort::parse(&SocketAddr::new(address, port).to_string(), None).unwrap()
}

struct Quiet;

impl Observer for Quiet {
    fn handle(&self, event: Event<'_>) {
        if let Event::Failed { path, failure } = event {
            panic!("{path:?}: {failure:?}");
        }
    }
}

/// Serves a tree at `accept`, fetches it through `dial`, and compares every byte.
async fn serve_and_get(identity: &Identity, accept: impl Accept, dial: impl Dial) {
    let base = tempfile::tempdir().unwrap();
    let served = base.path().join("served");
    for (name, bytes) in FILES {
        let at = served.join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, Stream::Left.bytes(0, bytes)).unwrap();
    }
    let token = Token::from([9; 16]);
    let workers = Arc::new(DiskWorkers::new(2, 64).unwrap());
    let source = DirectorySource::open(Disk::new(), &served).unwrap();
    let settings = ServerSettings {
        token: Some(token.clone()),
        limits: Limits::default(),
        rate_limit: None,
        once: false,
        plain: false,
        clear_http: false,
        pin: identity.pin(),
        leave_idle_time: Duration::from_secs(5),
    };
    let server = Server::new(accept, Arc::new(source), Arc::clone(&workers), settings);
    let stop = server.stop();
    let serving = tokio::spawn(server.run(PATIENCE));
    let totals = Arc::<Totals>::default();
    let destination = base.path().join("fetched");
    let download = Download {
        destination: destination.clone(),
        options: DestinationOptions::default(),
        disk: Disk::new(),
        workers,
        settings: DownloadSettings {
            connections: Some(3),
            ..DownloadSettings::default()
        },
        totals,
        observer: Arc::new(Quiet),
    };
    let connector = Connector::new(dial, Some(token));
    let fetched = timeout(PATIENCE, download.run(&connector));
    fetched.await.expect("it hangs").unwrap();
    for (name, bytes) in FILES {
        let got = fs::read(destination.join(name)).unwrap();
        assert!(got == Stream::Left.bytes(0, bytes), "{name} is wrong");
    }
    stop.end();
    serving.await.unwrap();
}

/// A server of messages at `accept`, and somebody who talks to it through `dial`.
async fn listen_and_talk(accept: impl AcceptClear, dial: impl DialClear) {
    let settings = MessageSettings {
        answer: Answer::Echo,
        once: false,
        peers: None,
    };
    let (events, mut happened) = mpsc::channel(64);
    let server = MessageServer::new(accept, settings, events);
    let serving = tokio::spawn(server.run());
    let listening = tokio::spawn(async move {
        let mut said = 0;
        while let Some(event) = happened.recv().await {
            match event {
                MessageEvent::Said(_, message) => said += message.text().len(),
                MessageEvent::Left { error, .. } => {
                    assert!(error.is_none(), "{error:?}");
                    break;
                }
                _ => {}
            }
        }
        said
    });
    let (stream, _peer) = dial.dial_clear().await.unwrap();
    let (lines, input) = mpsc::channel(4);
    tokio::spawn(async move {
        for number in 0..200 {
            lines
                .send(format!("line {number}\n").into_bytes())
                .await
                .unwrap();
        }
    });
    let mut heard = Vec::new();
    let talked = timeout(PATIENCE, talk(stream, input, &mut heard, None));
    let talked = talked.await.expect("it hangs").unwrap();
    let expected: String = (0..200).map(|number| format!("line {number}\n")).collect();
    assert_eq!(talked.end, TalkEnd::Closed);
    assert_eq!(talked.sent_bytes, expected.len() as u64);
    assert_eq!(String::from_utf8(heard).unwrap(), expected);
    assert!(listening.await.unwrap() > 0);
    serving.abort();
}

#[tokio::test]
async fn files_and_messages_go_over_simulated_links() {
    let (near, far, report) = path(&bad_link(), 7);
    let (client, server) = (stack(near, 1), stack(far, 2));
    let identity = Identity::generate().unwrap();
    let listener = server.listen(ListenAt::Port(PORT), 16).unwrap();
    let accept = StackAcceptor::new(listener, ServerTls::new(&identity, None));
    let to = |port| place(SERVER, port);
    let dial = StackDialer::new(client.clone(), CLIENT, to(PORT), Some(identity.pin()));
    serve_and_get(&identity, accept, dial.with_timeout(PATIENCE)).await;

    let listener = server.listen(ListenAt::Port(PORT + 1), 16).unwrap();
    let dial = StackDialer::new(client, CLIENT, to(PORT + 1), None);
    listen_and_talk(listener, dial.with_timeout(PATIENCE)).await;
    let counters = report.counters();
    let faults = [counters.lost, counters.duplicated, counters.corrupted];
    assert!(faults.iter().all(|count| *count > 3), "{counters:?}");
}

#[test]
fn files_and_messages_go_between_the_kernel_and_us() {
    if !is_root() || !Path::new("/dev/net/tun").exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must test TUN, as root"
        );
        eprintln!("SKIPPED: TUN needs root and /dev/net/tun");
        return;
    }
    let output = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "product::in_a_namespace",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("4 ways"), "{text}\n{errors}");
}

#[tokio::test]
#[ignore = "files_and_messages_go_between_the_kernel_and_us runs it in a namespace"]
async fn in_a_namespace() {
    let identity = Identity::generate().unwrap();
    let IpAddr::V4(kernels) = CLIENT else {
        unreachable!()
    };
    let device = Lossy {
        device: TunDevice::open("phprod", kernels, 24, 1_500).unwrap(),
        count: AtomicU32::new(0),
    };
    let ours = stack(device, 3);
    let tls = || ServerTls::new(&identity, None);
    let pin = Some(identity.pin());
    let kernels = |port| kernel::ListenAt::Addresses(vec![SocketAddr::new(CLIENT, port)]);

    // We serve, the kernel's side fetches, and the other way about.
    let listener = ours.listen(ListenAt::Port(PORT), 16).unwrap();
    let dial = KernelDialer::new(place(SERVER, PORT), pin).with_timeout(PATIENCE);
    serve_and_get(&identity, StackAcceptor::new(listener, tls()), dial).await;
    let accept = KernelListener::bind(&kernels(PORT), tls(), None).unwrap();
    let dial = StackDialer::new(ours.clone(), SERVER, place(CLIENT, PORT), pin);
    serve_and_get(&identity, accept, dial.with_timeout(PATIENCE)).await;

    let listener = ours.listen(ListenAt::Port(PORT + 1), 16).unwrap();
    let dial = ClearDialer::new(place(SERVER, PORT + 1)).with_timeout(PATIENCE);
    listen_and_talk(listener, dial).await;
    let accept = ClearListener::bind(&kernels(PORT + 1), 16).unwrap();
    let dial = StackDialer::new(ours, SERVER, place(CLIENT, PORT + 1), None);
    listen_and_talk(accept, dial.with_timeout(PATIENCE)).await;
    println!("4 ways");
}

/// A device that loses each fortieth packet, in both directions.
struct Lossy {
    device: TunDevice,
    count: AtomicU32,
}

impl Lossy {
    fn loses(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) % 40 == 39
    }
}

impl PacketDevice for Lossy {
    async fn recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let length = self.device.recv(buffer).await?;
            if !self.loses() {
                return Ok(length);
            }
        }
    }

    async fn send(&self, packet: &[u8]) -> std::io::Result<()> {
        if self.loses() {
            return Ok(());
        }
        self.device.send(packet).await
    }
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t0\t"))
}
