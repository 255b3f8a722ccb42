//! How fast our TCP and the kernel's exchange data over a TUN device, with offloads and without.
//!
//! `unshare --net cargo run --release -p packhorse-transport --example tun_throughput -- [MIB]`,
//! as root, on Linux. Each way three times in turn.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
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
    let kernel = tokio::task::spawn_blocking(move || talk_by_kernel(address, sends, bytes));
    let (mut ours, _) = listener.accept().await?;
    drop((stack, listener));
    if sends {
        send(&mut ours, bytes).await?;
        // Both ends close, and the device is free once they have.
        assert_eq!(ours.read(&mut [0]).await?, 0);
    } else {
        receive(&mut ours, bytes).await?;
        ours.shutdown().await?;
    }
    drop(ours);
    let seconds = kernel.await??;
    // The next device has the same address: it must not find this one there.
    driver.await??;
    Ok(seconds)
}

/// The other end, on a thread of its own: seconds from the first byte to the end of the stream.
fn talk_by_kernel(address: SocketAddr, ours_sends: bool, bytes: usize) -> io::Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    let start = Instant::now();
    let mut chunk = vec![7; CHUNK_BYTES];
    if ours_sends {
        let mut got = 0;
        while got < bytes {
            got += match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => length,
            };
        }
    } else {
        let mut left = bytes;
        while left > 0 {
            let length = left.min(CHUNK_BYTES);
            stream.write_all(&chunk[..length])?;
            left -= length;
        }
    }
    stream.shutdown(Shutdown::Write)?;
    assert_eq!(stream.read(&mut chunk)?, 0, "nothing more comes");
    Ok(start.elapsed().as_secs_f64())
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: usize) -> io::Result<()> {
    let chunk = vec![7; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK_BYTES);
        stream.write_all(&chunk[..length]).await?;
        left -= length;
    }
    stream.shutdown().await
}

async fn receive(stream: &mut (impl AsyncRead + Unpin), bytes: usize) -> io::Result<()> {
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
