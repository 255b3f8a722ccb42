//! A proxy that nobody has to know of: whatever TCP is routed into its TUN device, it accepts in
//! the name of the destination, and carries on from there over the kernel's TCP.
//!
//! As root, with `eth0` the way out: `cargo run -p packhorse-transport --example transparent_proxy
//! -- ph0 10.77.0.1/24 eth0`, then for what is to go through it:
//! `ip route add 198.51.100.0/24 dev ph0`.
//!
//! A connection is accepted before it is known whether its destination can be reached: if not, it
//! is reset.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use packhorse_tcp::{EndpointConfig, ListenAt};
use packhorse_transport::stack::{Stack, TcpStream};
use packhorse_transport::tun::TunDevice;
use socket2::SockRef;
use tokio::net::TcpSocket;
use tokio::time::timeout;

const MTU_BYTES: u16 = 1_500;

/// Connections that may wait to be accepted.
const BACKLOG: usize = 1_024;

/// How long a destination may take to answer.
const CONNECT_TIME: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: transparent_proxy DEVICE ADDRESS/PREFIX WAY-OUT";
    let name = arguments.next().ok_or(usage)?;
    let network = arguments.next().ok_or(usage)?;
    let way_out = arguments.next().ok_or(usage)?;
    let (address, prefix) = network.split_once('/').ok_or(usage)?;
    let (address, prefix) = (address.parse::<Ipv4Addr>()?, prefix.parse()?);
    let device = TunDevice::open(&name, address, prefix, MTU_BYTES)?;
    let mut key = [0; 16];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| "there are no random numbers")?;
    let (stack, _driver) = Stack::start(device, EndpointConfig::default(), key);
    let listener = stack.listen(ListenAt::Anything, BACKLOG)?;
    println!("listening on {name}");
    loop {
        let (stream, peer) = listener.accept().await?;
        let way_out = way_out.clone();
        tokio::spawn(async move {
            let destination = stream.local_addr();
            match carry(stream, &way_out).await {
                Ok((there, back)) => println!("{peer}: {there} bytes there, {back} back"),
                Err(error) => println!("{peer} to {destination:?}: {error}"),
            }
        });
    }
}

/// Carries bytes between `near` and where it was meant to go, until both have ended.
async fn carry(mut near: TcpStream, way_out: &str) -> io::Result<(u64, u64)> {
    // Unless all goes well to the end, the peer must not take what it has for everything.
    near.set_zero_linger(true);
    let mut far = timeout(CONNECT_TIME, connect(near.local_addr()?, way_out)).await??;
    let outcome = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    match &outcome {
        Ok(_) => near.set_zero_linger(false),
        Err(_) => SockRef::from(&far).set_linger(Some(Duration::ZERO))?,
    }
    outcome
}

/// Over the interface `way_out`, since the routes lead back to us.
async fn connect(to: SocketAddr, way_out: &str) -> io::Result<tokio::net::TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    SockRef::from(&socket).bind_device(Some(way_out.as_bytes()))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
