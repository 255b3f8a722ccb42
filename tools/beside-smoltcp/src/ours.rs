//! Two of our endpoints, and the packets between them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use packhorse_tcp::{
    Config, ConnectionId, Endpoint, EndpointConfig, Instant, ListenAt, ListenerId, Packet, Read,
};

use crate::application::{Data, Sink, Source};
use crate::{BUFFER_BYTES, CHUNK_BYTES, MTU_BYTES};

/// As long as smoltcp waits.
const TIME_WAIT: Duration = Duration::from_secs(10);

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
                time_wait: TIME_WAIT,
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

pub(crate) fn transfer(bytes: usize, data: Data) {
    let mut pair = Pair::new();
    let (client, server) = pair.open();
    let (mut source, mut sink) = (Source::new(bytes), Sink::new());
    while sink.read() < bytes {
        loop {
            let next = source.next();
            let room = pair.ends[0]
                .connection(client)
                .map_or(0, |it| it.writable());
            let length = next.len().min(room as usize);
            if length == 0 {
                break;
            }
            let data = match data {
                Data::Copied => BytesMut::from(&next[..length]).freeze(),
                Data::InPlace => next.slice(..length),
            };
            source.advance(pair.ends[0].write(pair.now, client, data));
        }
        pair.step();
        let server_end = &mut pair.ends[1];
        loop {
            let count = match data {
                Data::Copied => {
                    let (buffer, mut filled) = (sink.buffer(), 0);
                    let count = server_end.read_pieces(pair.now, server, CHUNK_BYTES, |piece| {
                        buffer[filled..filled + piece.len()].copy_from_slice(&piece);
                        filled += piece.len();
                    });
                    if count > 0 {
                        sink.filled(count);
                    }
                    count
                }
                Data::InPlace => {
                    server_end.read_pieces(pair.now, server, usize::MAX, |piece| sink.check(&piece))
                }
            };
            if count == 0 {
                break;
            }
        }
    }
}

/// Each is opened, carries a byte, is closed from the side that opened it, and waits out
/// TIME-WAIT before the next.
pub(crate) fn handshakes(count: usize) {
    let mut pair = Pair::new();
    for _ in 0..count {
        let (client, server) = pair.open();
        pair.ends[0].write(pair.now, client, Bytes::from_static(b"x"));
        pair.ends[0].release(pair.now, client);
        while pair.step() {}
        let Read::Data(data) = pair.ends[1].read(pair.now, server, 1) else {
            panic!("the byte has come");
        };
        assert_eq!(&data[..], b"x");
        pair.ends[1].release(pair.now, server);
        while pair.step() {}
        assert_eq!(pair.ends.each_ref().map(|end| end.connections()), [0, 0]);
        pair.now = pair.now + TIME_WAIT;
    }
}
