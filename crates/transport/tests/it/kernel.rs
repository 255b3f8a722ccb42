//! Over loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use packhorse_protocol::address::HostPort;
use packhorse_transport::accept::{Accept, AcceptError, Opened};
use packhorse_transport::dial::{Dial, DialError, Stage};
use packhorse_transport::identity::Identity;
use packhorse_transport::kernel::{BindError, KernelDialer, KernelListener, ListenAt};
use packhorse_transport::tls::ServerTls;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn listen(identity: &Identity, at: ListenAt) -> KernelListener {
    KernelListener::bind(&at, ServerTls::new(identity, None), None).unwrap()
}

fn dialer(to: SocketAddr) -> KernelDialer {
    KernelDialer::new(HostPort::parse(&to.to_string(), None).unwrap(), None)
}

#[tokio::test]
async fn bytes_go_both_ways_and_end_in_order() {
    let identity = Identity::generate().unwrap();
    let listener = listen(&identity, ListenAt::Addresses(vec![loopback()]));
    let dialer = dialer(listener.local_addresses()[0]);
    let server = async {
        let (raw, _peer) = listener.accept().await.unwrap();
        assert!(raw.nodelay().unwrap());
        let Ok(Opened::Native(mut native)) = listener.open(raw).await else {
            panic!("expected a native stream")
        };
        let mut request = String::new();
        native.stream.read_to_string(&mut request).await.unwrap();
        native.stream.write_all(&vec![7; 5_000_000]).await.unwrap();
        native.stream.shutdown().await.unwrap();
        (request, native.binding)
    };
    let client = async {
        let mut dialled = dialer.dial().await.unwrap();
        assert_eq!(dialled.pin, identity.pin());
        assert_eq!(dialled.peer, listener.local_addresses()[0]);
        let stream = &mut dialled.native.stream;
        stream.write_all(b"request").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer == vec![7; 5_000_000]);
        dialled.native.binding
    };
    let both = async { tokio::join!(server, client) };
    let ((request, near), far) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!(request, "request");
    assert_eq!(near.0, far.0);
}

#[tokio::test]
async fn a_reset_is_told_from_an_end() {
    let identity = Identity::generate().unwrap();
    let listener = listen(&identity, ListenAt::Addresses(vec![loopback()]));
    let address = listener.local_addresses()[0];
    for (switches, is_reset) in [(&[][..], false), (&[true], true), (&[true, false], false)] {
        let server = async {
            let (mut raw, _peer) = listener.accept().await.unwrap();
            listener.until_spoken(&mut raw).await;
            let Ok(Opened::Clear { mut stream, .. }) = listener.open(raw).await else {
                panic!("expected clear text")
            };
            stream.read_exact(&mut [0; 2]).await.unwrap();
            for is_wanted in switches {
                listener.reset_on_drop(&stream, *is_wanted);
            }
        };
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"a\n").await.unwrap();
            stream.read(&mut [0; 1]).await.map_err(|error| error.kind())
        };
        let both = async { tokio::join!(server, client) };
        let ((), ended) = timeout(PATIENCE, both).await.unwrap();
        match is_reset {
            true => assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset)),
            false => assert_eq!(ended, Ok(0)),
        }
    }
}

/// Connects to each of `addresses` and returns who the listener says came.
async fn visitors(listener: &KernelListener, addresses: &[SocketAddr]) -> Vec<IpAddr> {
    let mut visitors = Vec::new();
    for address in addresses {
        let visit = async { tokio::join!(TcpStream::connect(address), listener.accept()) };
        let (connected, accepted) = timeout(PATIENCE, visit).await.unwrap();
        connected.unwrap();
        visitors.push(accepted.unwrap().1.ip());
    }
    visitors
}

fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[tokio::test]
async fn everywhere_is_both_families() {
    let identity = Identity::generate().unwrap();
    let listener = listen(&identity, ListenAt::Everywhere { port: 0 });
    let port = listener.local_addresses()[0].port();
    let mut loopbacks = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    if has_ipv6() {
        loopbacks.push(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)));
    }
    let ips: Vec<_> = loopbacks.iter().map(SocketAddr::ip).collect();
    assert_eq!(visitors(&listener, &loopbacks).await, ips);
}

#[tokio::test]
async fn several_addresses_share_a_free_port_and_each_is_served() {
    let identity = Identity::generate().unwrap();
    let any: [SocketAddr; 2] = [([127, 0, 0, 1], 0).into(), ([127, 0, 0, 2], 0).into()];
    let listener = listen(&identity, ListenAt::Addresses(any.to_vec()));
    let actual = listener.local_addresses();
    assert_eq!(actual[0].port(), actual[1].port());
    let rounds: Vec<_> = actual.iter().cycle().take(6).copied().collect();
    assert_eq!(visitors(&listener, &rounds).await.len(), 6);
}

#[tokio::test]
async fn a_place_that_cannot_be_had_is_named() {
    let tls = ServerTls::new(&Identity::generate().unwrap(), None);
    let taken = std::net::TcpListener::bind(loopback()).unwrap();
    let taken = taken.local_addr().map(|address| (address, taken)).unwrap();
    let cases = [
        (
            ListenAt::Addresses(vec![]),
            "there is no address".to_owned(),
        ),
        (
            ListenAt::Addresses(vec![loopback(), taken.0]),
            format!("cannot listen on {}: Address already in use", taken.0),
        ),
        (
            ListenAt::Addresses(vec!["192.0.2.1:1".parse().unwrap()]),
            "cannot listen on 192.0.2.1:1: ".to_owned(),
        ),
    ];
    for (at, expected) in cases {
        let error = KernelListener::bind(&at, tls.clone(), None)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn congestion_is_set_on_what_is_accepted() {
    let tls = ServerTls::new(&Identity::generate().unwrap(), None);
    let at = ListenAt::Addresses(vec![loopback()]);
    // Every Linux has it, and lets everybody use it.
    let listener = KernelListener::bind(&at, tls.clone(), Some("reno")).unwrap();
    assert_eq!(listener.congestion(), Some("reno"));
    let to = listener.local_addresses()[0];
    let visit = async { tokio::join!(TcpStream::connect(to), listener.accept()) };
    let (_connected, accepted) = timeout(PATIENCE, visit).await.unwrap();
    let name = SockRef::from(&accepted.unwrap().0)
        .tcp_congestion()
        .unwrap();
    assert!(name.starts_with(b"reno\0") || name == b"reno", "{name:?}");

    for name in [
        "no-such-thing",
        "",
        "a-name-that-is-longer-than-any",
        "a\0b",
    ] {
        let error = KernelListener::bind(&at, tls.clone(), Some(name)).unwrap_err();
        assert!(matches!(error, BindError::Congestion { .. }), "{error}");
        assert!(error.to_string().contains("reno"), "{error}");
    }
}

#[tokio::test]
async fn a_closed_port_refuses_at_once() {
    let gone = std::net::TcpListener::bind(loopback()).unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let start = Instant::now();
    let error = dialer(address).dial().await.unwrap_err();
    assert!(matches!(error, DialError::Refused { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn silence_ends_with_the_time() {
    let wait = Duration::from_millis(300);
    let mute = TcpListener::bind(loopback()).await.unwrap();
    let error = dialer(mute.local_addr().unwrap())
        .with_timeout(wait)
        .dial()
        .await
        .unwrap_err();
    let DialError::TimedOut { stage, .. } = error else {
        panic!("expected TimedOut: {error}")
    };
    assert_eq!(stage, Stage::Handshake);
}

/// A listener whose queue is full drops what would open a connection, as a far host that is off.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_host_that_does_not_answer_ends_with_the_time() {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&loopback().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
        assert!(queued.len() < 16, "the queue has no end");
    }
    let wait = Duration::from_millis(300);
    let error = dialer(address).with_timeout(wait).dial().await.unwrap_err();
    let DialError::TimedOut { stage, .. } = error else {
        panic!("expected TimedOut: {error}")
    };
    assert_eq!(stage, Stage::Connect);
}

#[tokio::test]
async fn a_name_that_is_none_is_not_found() {
    // The C library refuses an empty label by itself, so that no name server is asked.
    let place = HostPort::parse("a..b:1", None).unwrap();
    let error = KernelDialer::new(place, None).dial().await.unwrap_err();
    assert!(matches!(error, DialError::NotFound { .. }), "{error}");
    assert!(!error.is_worth_retrying());
}

/// THREATS.md 13. Runs itself again, because a limit holds for a whole process.
#[test]
fn accepting_goes_on_after_descriptors_ran_out() {
    const ALONE: &str = "PACKHORSE_TEST_ALONE";
    const NAME: &str = "kernel::accepting_goes_on_after_descriptors_ran_out";

    if std::env::var_os(ALONE).is_none() {
        let this = std::env::current_exe().unwrap();
        let alone = Command::new(this)
            .args(["--exact", NAME])
            .env(ALONE, "1")
            .status();
        assert!(alone.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let identity = Identity::generate().unwrap();
        let listener = listen(&identity, ListenAt::Addresses(vec![loopback()]));
        let _client = std::net::TcpStream::connect(listener.local_addresses()[0]).unwrap();
        let enough = getrlimit(Resource::Nofile);
        let none = Rlimit {
            current: Some(1),
            ..enough
        };
        setrlimit(Resource::Nofile, none).unwrap();
        for _ in 0..3 {
            let accepted = timeout(PATIENCE, listener.accept()).await.unwrap();
            assert!(
                matches!(accepted, Err(AcceptError::Exhausted(_))),
                "{accepted:?}"
            );
        }
        setrlimit(Resource::Nofile, enough).unwrap();
        timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    });
}
