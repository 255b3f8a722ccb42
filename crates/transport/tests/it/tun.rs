//! Our TCP against the kernel's, over a TUN device in a network namespace of its own.
//!
//! Needs root, for the namespace and the device. Without it the test is skipped, with a
//! notice; with `CI=true` that is an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use packhorse_tcp::{Config, EndpointConfig, ListenAt};
use packhorse_transport::stack::Stack;
use packhorse_transport::tun::TunDevice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stack::Lossy;

pub(crate) const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const KERNEL_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const OURS_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
const BYTES: usize = 3_000_000;

/// Against hangs only.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn our_tcp_and_the_kernels_exchange_every_byte() {
    if let Some(text) = in_namespace("tun::in_a_namespace") {
        assert!(text.contains("16 transfers"), "{text}");
    }
}

/// Runs an ignored test in a network namespace of its own, so that no address and no device of
/// this machine is touched; gives what it printed, or nothing if there is no right to.
pub(crate) fn in_namespace(test: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/net/tun").exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must test TUN, as root"
        );
        eprintln!("SKIPPED: TUN needs root and /dev/net/tun");
        return None;
    }
    let output = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    Some(text)
}

#[tokio::test]
#[ignore = "our_tcp_and_the_kernels_exchange_every_byte runs it in a namespace"]
async fn in_a_namespace() {
    let mut transfers = 0;
    let families: [([IpAddr; 2], &[u32]); 2] = [
        ([KERNEL.into(), OURS.into()], &[0, 50, 11]),
        ([KERNEL_V6.into(), OURS_V6.into()], &[50]),
    ];
    for (ends, losses) in families {
        for offloads in [false, true] {
            for &every in losses {
                for dials in [true, false] {
                    let name = format!("ph{transfers}");
                    tokio::time::timeout(PATIENCE, exchange(&name, ends, every, dials, offloads))
                        .await
                        .expect("it hangs");
                    transfers += 1;
                }
            }
        }
    }
    println!("{transfers} transfers");
}

/// Both send, both check: we dial the kernel, or the kernel dials us. With offloads, segments
/// cross the device in runs, and checksums are not made.
async fn exchange(
    name: &str,
    [kernels, ours]: [IpAddr; 2],
    every: u32,
    dials: bool,
    offloads: bool,
) {
    let device = if offloads {
        TunDevice::open_offloading(name, KERNEL, 24, 1_500)
    } else {
        TunDevice::open(name, KERNEL, 24, 1_500)
    };
    let mut device = Lossy::new(device.unwrap(), every);
    if kernels.is_ipv6() {
        let address = format!("{kernels}/64");
        let arguments = ["-6", "address", "add", &address, "dev", name, "nodad"];
        let status = Command::new("ip").args(arguments).status().unwrap();
        assert!(status.success());
    }
    device.in_runs = offloads;
    let (longest_run, longest_arrival) =
        (device.longest_run.clone(), device.longest_arrival.clone());
    let config = EndpointConfig {
        connection: Config {
            time_wait: Duration::from_millis(100),
            ..Config::default()
        },
        ..EndpointConfig::default()
    };
    let (stack, task) = Stack::start(device, config, [5; 16]);
    let (mut stream, kernel) = if dials {
        let listener = TcpListener::bind((kernels, 0)).await.unwrap();
        let remote = listener.local_addr().unwrap();
        let kernel = tokio::spawn(async move { listener.accept().await.unwrap().0 });
        let stream = stack.connect((ours, 0).into(), remote).await.unwrap();
        (stream, kernel)
    } else {
        let local = SocketAddr::from((ours, 80));
        let listener = stack.listen(ListenAt::Address(local), 1).unwrap();
        let kernel = tokio::spawn(async move { TcpStream::connect(local).await.unwrap() });
        let (stream, _peer) = listener.accept().await.unwrap();
        (stream, kernel)
    };
    drop(stack);
    let kernel = tokio::spawn(async move { transfer(&mut kernel.await.unwrap(), 7, 3).await });
    transfer(&mut stream, 3, 7).await;
    kernel.await.unwrap();
    drop(stream);
    task.await.unwrap().unwrap();
    if offloads {
        let sent = longest_run.load(Ordering::Relaxed);
        let arrived = longest_arrival.load(Ordering::Relaxed);
        assert!(sent > 1, "nothing went out in runs");
        assert!(arrived > 1_500, "nothing came in runs: {arrived} bytes");
    }
}

/// Sends one pattern and expects another, at the same time; closes after the last byte.
async fn transfer<S>(stream: &mut S, ours: u8, theirs: u8)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let send = async {
        to.write_all(&pattern(ours)).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let receive = async {
        let mut got = Vec::new();
        from.read_to_end(&mut got).await.unwrap();
        assert!(got == pattern(theirs), "{} bytes, or wrong ones", got.len());
    };
    tokio::join!(send, receive);
}

fn pattern(seed: u8) -> Vec<u8> {
    let byte = |at: usize| (at % 251) as u8 ^ (at / 251 % 256) as u8 ^ seed;
    (0..BYTES).map(byte).collect()
}
