//! Two of our endpoints, and the packets between them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use packhorse_tcp::{
    Config, ConnectionId, Endpoint, EndpointConfig, Instant, ListenAt, ListenerId, Packet,
};

use crate::{BUFFER_BYTES, CHUNK_BYTES, MTU_BYTES};

/// Packets are written one behind the other into buffers of this size.
const POOL_BYTES: usize = 1 << 20;

struct Pair {
    ends: [Endpoint; 2],
    listener: ListenerId,
    now: Instant,
    pool: Vec<u8>,
    packets: Vec<usize>,
}

impl Pair {
    fn new() -> Self {
        let config = EndpointConfig {
            connection: Config {
                mtu_bytes: MTU_BYTES as u32,
                receive_buffer_bytes: BUFFER_BYTES as u64,
                receive_buffer_initial_bytes: BUFFER_BYTES as u64,
                send_buffer_bytes: BUFFER_BYTES as u64,
                pacing: false,
                time_wait: Duration::from_millis(1),
                ..Config::default()
            },
            ..EndpointConfig::default()
        };
        let client = Endpoint::new(config.clone(), [1; 16]);
        let mut server = Endpoint::new(config, [2; 16]);
        let listener = server
            .listen(ListenAt::Port(80), 16)
            .expect("it is the first");
        Self {
            ends: [client, server],
            listener,
            now: Instant::from_millis(1),
            pool: Vec::with_capacity(POOL_BYTES),
            packets: Vec::new(),
        }
    }

    /// Moves what `from` has to send to the other end; false if that was nothing.
    fn carry(&mut self, from: usize) -> bool {
        let (near, far) = self.ends.split_at_mut(1);
        let (sender, receiver) = if from == 0 {
            (&mut near[0], &mut far[0])
        } else {
            (&mut far[0], &mut near[0])
        };
        self.pool.clear();
        self.packets.clear();
        while self.pool.len() < POOL_BYTES / 2
            && let Some(transmit) = sender.poll_transmit(self.now, 64)
        {
            transmit.encode(&mut self.pool, &mut self.packets);
        }
        while sender.poll_event().is_some() {}
        // As a driver that reads many packets into one buffer has them.
        let wire = Bytes::from(std::mem::take(&mut self.pool));
        let mut start = 0;
        for end in &self.packets {
            if let Ok(packet) = Packet::from_bytes(wire.slice(start..*end)) {
                receiver.handle_packet(self.now, packet);
            }
            start = *end;
        }
        // What a packet was in is used again once nobody holds on to it.
        self.pool = wire
            .try_into_mut()
            .map_or_else(|_| Vec::with_capacity(POOL_BYTES), Vec::from);
        !self.packets.is_empty()
    }

    fn step(&mut self) -> bool {
        self.now = self.now + Duration::from_micros(10);
        for end in &mut self.ends {
            if end.poll_timeout().is_some_and(|due| due.at() <= self.now) {
                end.handle_timeout(self.now);
            }
        }
        let sent = self.carry(0);
        self.carry(1) || sent
    }

    fn open(&mut self) -> (ConnectionId, ConnectionId) {
        let local: SocketAddr = ([10, 0, 0, 1], 0).into();
        let client = self.ends[0].connect(self.now, local, ([10, 0, 0, 2], 80).into());
        let client = client.expect("there are ports");
        loop {
            self.step();
            if let Some(server) = self.ends[1].accept(self.listener) {
                return (client, server);
            }
        }
    }
}

pub(crate) fn transfer(bytes: usize) {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    let source = vec![7; CHUNK_BYTES];
    let mut sink = vec![0; CHUNK_BYTES];
    let (mut written, mut read) = (0, 0);
    while read < bytes {
        // The application has its own buffers, as with sockets: one copy in, one out.
        while written < bytes {
            let room = pair.ends[0]
                .connection(client)
                .map_or(0, |client| client.writable());
            let length = CHUNK_BYTES.min(bytes - written).min(room as usize);
            if length == 0 {
                break;
            }
            let data = BytesMut::from(&source[..length]).freeze();
            written += pair.ends[0].write(pair.now, client, data);
        }
        pair.step();
        loop {
            let mut filled = 0;
            let count = pair.ends[1].read_pieces(pair.now, server, CHUNK_BYTES, |piece| {
                sink[filled..filled + piece.len()].copy_from_slice(&piece);
                filled += piece.len();
            });
            if count == 0 {
                break;
            }
            read += count;
        }
    }
    assert_eq!(sink[0], 7);
}

pub(crate) fn handshakes(count: u32) {
    let mut pair = Pair::new();
    for _ in 0..count {
        let (client, server) = pair.open();
        pair.ends[0].release(pair.now, client);
        pair.ends[1].release(pair.now, server);
        while pair.step() {}
    }
}
