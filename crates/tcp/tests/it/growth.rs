//! By how much receive buffers grow together, and how what one has reaches another.

use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::{ConnectionId, EndpointConfig, ListenerId, Read, SeqNumber};

use crate::endpoint::{CLIENT, Net, SERVER, config};

const GROWTH_MAX: u64 = 300_000;

/// The unit of the window's scale with the default buffer: rounding may add one.
const UNIT: u64 = 512;

/// A client and a server, what the one has written and the other read.
struct Stream {
    client: ConnectionId,
    server: ConnectionId,
    written: usize,
    read: usize,
}

fn net() -> (Net, ListenerId) {
    let mut net = Net::new(EndpointConfig {
        receive_growth_bytes_max: GROWTH_MAX,
        ..config()
    });
    let listener = net.listen(10);
    (net, listener)
}

impl Stream {
    fn open(net: &mut Net, listener: ListenerId) -> Self {
        let client = net.connect();
        net.pass(Duration::from_millis(50));
        Self {
            client,
            server: net.ends[SERVER].accept(listener).unwrap(),
            written: 0,
            read: 0,
        }
    }

    /// Writes as much as the client takes.
    fn write(&mut self, net: &mut Net) {
        let data = Bytes::from_static(&[7; 2_000_000]);
        self.written += net.ends[CLIENT].write(net.now, self.client, data);
    }

    fn read(&mut self, net: &mut Net) {
        while let Read::Data(data) = net.ends[SERVER].read(net.now, self.server, usize::MAX) {
            self.read += data.len();
        }
    }

    /// Has much to say for a second, and a fast reader.
    fn hurry(&mut self, net: &mut Net) {
        for _ in 0..50 {
            self.write(net);
            net.pass(Duration::from_millis(20));
            self.read(net);
        }
    }

    fn finish(&mut self, net: &mut Net) {
        for _ in 0..500 {
            if self.read == self.written {
                break;
            }
            net.pass(Duration::from_millis(100));
            self.read(net);
        }
        assert_eq!(self.read, self.written, "it stopped");
    }

    fn buffer(&self, net: &Net) -> u64 {
        let connection = net.ends[SERVER].connection(self.server).unwrap();
        connection.stats().receive_buffer
    }
}

/// However many connections read fast: together they grow by what is allowed, and those that end
/// give it back.
#[test]
fn receive_buffers_grow_within_one_limit() {
    let (mut net, listener) = net();
    let mut streams: Vec<_> = (0..4).map(|_| Stream::open(&mut net, listener)).collect();
    let mut most = 0;
    for _ in 0..100 {
        for stream in &mut streams {
            stream.write(&mut net);
        }
        net.pass(Duration::from_millis(20));
        for stream in &mut streams {
            stream.read(&mut net);
        }
        most = most.max(net.ends[SERVER].receive_growth());
    }
    assert_eq!(most, GROWTH_MAX);
    for Stream { client, server, .. } in streams {
        net.ends[CLIENT].abort(net.now, client);
        net.ends[CLIENT].release(net.now, client);
        net.ends[SERVER].release(net.now, server);
    }
    net.pass(Duration::from_secs(1));
    assert_eq!(net.ends[SERVER].receive_growth(), 0);
}

/// Connections at rest give what they grew by to one that needs it, and take nothing back of what
/// their peers were offered. If all of those use it at once and nobody reads, no more is held than
/// is allowed, and nothing is lost.
#[test]
fn what_rests_gives_back_what_it_grew_by() {
    let (mut net, listener) = net();
    let mut streams: Vec<_> = (0..5).map(|_| Stream::open(&mut net, listener)).collect();
    let [early @ .., waits, late] = streams.as_mut_slice() else {
        panic!("five are more than two");
    };
    let initial = late.buffer(&net);
    for stream in early {
        stream.hurry(&mut net);
        stream.finish(&mut net);
    }
    let pinned = net.ends[SERVER].receive_growth();
    assert!(pinned > GROWTH_MAX / 2, "{pinned}");
    waits.hurry(&mut net);
    let left = GROWTH_MAX - pinned;
    assert_eq!(waits.buffer(&net), initial + left, "they may go on");
    waits.finish(&mut net);
    net.pass(Duration::from_secs(10));
    late.hurry(&mut net);
    assert!(late.buffer(&net) > initial + left, "they have rested");
    late.finish(&mut net);

    for _ in 0..100 {
        for stream in &mut streams {
            stream.write(&mut net);
        }
        net.pass(Duration::from_millis(100));
        let server = |stream: &Stream| net.ends[SERVER].connection(stream.server).unwrap();
        let held: u64 = streams.iter().map(|one| server(one).readable()).sum();
        assert!(held <= 5 * (initial + UNIT) + GROWTH_MAX, "{held}");
    }
    let dropped = |stream: &Stream| {
        let connection = net.ends[SERVER].connection(stream.server).unwrap();
        connection.stats().counters.reassembly_dropped
    };
    assert!(streams.iter().any(|stream| dropped(stream) > 0));
    for stream in &mut streams {
        stream.finish(&mut net);
    }
    assert!(net.ends[SERVER].receive_growth() <= GROWTH_MAX);
    no_edge_moved_back(&net);
}

/// RFC 9293 §3.8.6 (SHLD-14), but for rounding to the scale.
fn no_edge_moved_back(net: &Net) {
    let mut edges = std::collections::BTreeMap::new();
    let sent = net.sent.iter().filter(|(from, _)| *from == SERVER);
    for (_, packet) in sent {
        let segment = &packet.segment;
        let Some(ack) = segment.ack.filter(|_| segment.options.mss.is_none()) else {
            continue;
        };
        let end = ack.advanced_by(u32::from(segment.window) * UNIT as u32);
        let edge: &mut SeqNumber = edges.entry(packet.destination).or_insert(end);
        assert!(
            !edge.is_after(end.advanced_by(UNIT as u32 - 1)),
            "{packet:?}"
        );
        if end.is_after(*edge) {
            *edge = end;
        }
    }
    assert_eq!(edges.len(), 5);
}
