//! A TUN device with an echo server behind it, on our own TCP.
//!
//! As root: `cargo run -p packhorse-transport --example tun_echo -- ph0 10.77.0.1/24`, then
//! `nc 10.77.0.2 7` on the same machine: every address of the network but the kernel's own
//! answers, on every port.

use std::net::Ipv4Addr;

use packhorse_tcp::{EndpointConfig, ListenAt};
use packhorse_transport::stack::Stack;
use packhorse_transport::tun::TunDevice;

const MTU_BYTES: u16 = 1_500;

/// Connections that may wait to be accepted.
const BACKLOG: usize = 128;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: tun_echo DEVICE ADDRESS/PREFIX";
    let name = arguments.next().ok_or(usage)?;
    let network = arguments.next().ok_or(usage)?;
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
        println!("{peer} has come to {}", stream.local_addr()?);
        tokio::spawn(async move {
            let (mut from, mut to) = stream.into_split();
            match tokio::io::copy(&mut from, &mut to).await {
                Ok(bytes) => println!("{peer} has left after {bytes} bytes"),
                Err(error) => println!("{peer} was lost: {error}"),
            }
        });
    }
}
