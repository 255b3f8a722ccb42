//! How fast our TCP and the kernel's exchange data over a TUN device, with offloads and without.
//!
//! `unshare --net cargo run --release -p packhorse-transport --example tun_throughput -- [MIB]`,
//! as root, on Linux. Each way three times in turn.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use packhorse_tcp::{Config, EndpointConfig, ListenAt};
use packhorse_transport::stack::Stack;
use packhorse_transport::tun::TunDevice;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const CHUNK_BYTES: usize = 256 << 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mib: usize = match std::env::args().nth(1) {
        Some(mib) => mib.parse()?,
        None => 2_048,
    };
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut devices = 0;
    for _ in 0..3 {
        for offloads in [false, true] {
            for sends in [true, false] {
                devices += 1;
                let name = format!("phspeed{devices}");
                // All of it in tasks: the thread that waits here would have to be woken each time.
                let transfer = threads.spawn(transfer(name, offloads, sends, mib << 20));
                let seconds = threads.block_on(transfer)??;
                let gbits = (mib << 20) as f64 * 8.0 / seconds / 1e9;
                println!(
                    "{} {:<16} {gbits:>6.2} Gbit/s",
                    if sends {
                        "to the kernel  "
                    } else {
                        "from the kernel"
                    },
                    if offloads { "with offloads" } else { "without" },
                );
            }
        }
    }
    Ok(())
}

/// Seconds that `bytes` take from one side to the other.
async fn transfer(name: String, offloads: bool, sends: bool, bytes: usize) -> io::Result<f64> {
    let device = if offloads {
        TunDevice::open_offloading(&name, KERNEL, 24, 1_500)?
    } else {
        TunDevice::open(&name, KERNEL, 24, 1_500)?
    };
    let config = EndpointConfig {
        connection: Config {
            receive_buffer_bytes: 4 << 20,
            send_buffer_bytes: 4 << 20,
            pacing: false,
            time_wait: std::time::Duration::from_millis(1),
            ..Config::default()
        },
        ..EndpointConfig::default()
    };
    let (stack, driver) = Stack::start(device, config, [5; 16]);
    let address = SocketAddr::from((OURS, 80));
    let listener = stack.listen(ListenAt::Address(address), 1)?;
    let connecting = tokio::net::TcpStream::connect(address);
    let (kernel, (ours, _)) = tokio::try_join!(connecting, listener.accept())?;
    drop((stack, listener));
    let start = Instant::now();
    if sends {
        let sending = tokio::spawn(send(ours, bytes));
        receive(kernel, bytes).await?;
        sending.await??;
    } else {
        let sending = tokio::spawn(send(kernel, bytes));
        receive(ours, bytes).await?;
        sending.await??;
    }
    let seconds = start.elapsed().as_secs_f64();
    // The next device has the same address: it must not find this one there.
    driver.await??;
    Ok(seconds)
}

async fn send(mut stream: impl AsyncWrite + Unpin, bytes: usize) -> io::Result<()> {
    let chunk = vec![7; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK_BYTES);
        stream.write_all(&chunk[..length]).await?;
        left -= length;
    }
    stream.shutdown().await
}

async fn receive(mut stream: impl AsyncRead + Unpin, bytes: usize) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut got = 0;
    loop {
        match stream.read(&mut chunk).await? {
            0 => break,
            length => got += length,
        }
    }
    assert_eq!(got, bytes, "something is missing");
    Ok(())
}
