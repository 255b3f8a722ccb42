//! What idle connections cost: opens as many as asked for between two endpoints, lets each
//! carry a little both ways, and says how much memory that has taken for each end.
//!
//! `cargo run --release -p packhorse-tcp --example idle_connections -- 100000`, on Linux.

use std::net::{IpAddr, SocketAddr};

use packhorse_tcp::{Endpoint, EndpointConfig, Instant, ListenAt, Read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u32 = match std::env::args().nth(1) {
        Some(count) => count.parse()?,
        None => 100_000,
    };
    let mut client = Endpoint::new(EndpointConfig::default(), [1; 16]);
    let mut server = Endpoint::new(EndpointConfig::default(), [2; 16]);
    let listener = server.listen(ListenAt::Port(80), 1)?;
    let local: IpAddr = [10, 0, 0, 1].into();
    let mut now = Instant::from_millis(1);
    let before = resident_bytes()?;
    for number in 0..count {
        let host: IpAddr = (u32::from_be_bytes([10, 1, 0, 0]) + number / 1_000)
            .to_be_bytes()
            .into();
        let id = client.connect(now, (local, 0).into(), SocketAddr::new(host, 80))?;
        exchange(now, &mut client, &mut server);
        let accepted = server.accept(listener).ok_or("nobody came")?;
        client.write(now, id, "ping".into());
        server.write(now, accepted, "pong".into());
        exchange(now, &mut client, &mut server);
        let got = (client.read(now, id, 9), server.read(now, accepted, 9));
        assert_eq!(got, (Read::Data("pong".into()), Read::Data("ping".into())));
        let rest = (client.read(now, id, 9), server.read(now, accepted, 9));
        assert_eq!(rest, (Read::Pending, Read::Pending));
        now = now + std::time::Duration::from_micros(100);
    }
    for _ in 0..100 {
        now = now + std::time::Duration::from_millis(50);
        client.handle_timeout(now);
        server.handle_timeout(now);
        exchange(now, &mut client, &mut server);
    }
    let taken = resident_bytes()?.saturating_sub(before);
    let each = taken / u64::from(count) / 2;
    println!("{count} connections: {each} bytes for each end");
    println!(
        "next deadlines: {:?} {:?}",
        client.poll_timeout(),
        server.poll_timeout()
    );
    Ok(())
}

/// Lets packets go back and forth until there are none.
fn exchange(now: Instant, client: &mut Endpoint, server: &mut Endpoint) {
    loop {
        let mut is_quiet = true;
        for is_client in [true, false] {
            let (from, to) = if is_client {
                (&mut *client, &mut *server)
            } else {
                (&mut *server, &mut *client)
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

/// The pages that this process holds, from `/proc`.
fn resident_bytes() -> Result<u64, Box<dyn std::error::Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("no second field")?.parse()?;
    Ok(pages * 4_096)
}
