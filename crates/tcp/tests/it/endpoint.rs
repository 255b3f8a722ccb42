//! Endpoints: who gets a packet, what waits for whom, and what happens at each limit.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::{
    Config, ConnectionId, Ecn, Endpoint, EndpointConfig, EndpointEvent, Event, Flags, Instant,
    ListenAt, ListenerId, OpenError, Options, Packet, Read, Segment, SeqNumber, State, Timestamps,
};

/// Two endpoints whose packets take 10 ms, and what a test keeps from arriving.
pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) ends: [Endpoint; 2],
    under_way: Vec<(Instant, usize, Packet)>,
    events: [Vec<EndpointEvent>; 2],
    /// Everything that was sent, by whom.
    pub(crate) sent: Vec<(usize, Packet)>,
}

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;
const DELAY: Duration = Duration::from_millis(10);

fn client_address() -> SocketAddr {
    "192.0.2.1:0".parse().unwrap()
}

fn server_address() -> SocketAddr {
    "192.0.2.2:80".parse().unwrap()
}

pub(crate) fn config() -> EndpointConfig {
    EndpointConfig::default()
}

impl Net {
    pub(crate) fn new(server: EndpointConfig) -> Self {
        Self {
            now: Instant::from_millis(1_000_000),
            ends: [
                Endpoint::new(config(), [1; 16]),
                Endpoint::new(server, [2; 16]),
            ],
            under_way: Vec::new(),
            events: [Vec::new(), Vec::new()],
            sent: Vec::new(),
        }
    }

    pub(crate) fn listen(&mut self, backlog: usize) -> ListenerId {
        let at = ListenAt::Address(server_address());
        self.ends[SERVER].listen(at, backlog).unwrap()
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        let id = self.ends[CLIENT].connect(self.now, client_address(), server_address());
        id.unwrap()
    }

    fn drain(&mut self) {
        for from in [CLIENT, SERVER] {
            while let Some(transmit) = self.ends[from].poll_transmit(self.now, 1) {
                for packet in transmit.packets() {
                    self.sent.push((from, packet.clone()));
                    self.under_way.push((self.now + DELAY, 1 - from, packet));
                }
            }
            while let Some(event) = self.ends[from].poll_event() {
                self.events[from].push(event);
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        self.drain();
        loop {
            let arrival = self.under_way.iter().map(|(at, ..)| *at).min();
            let timeouts = self.ends.iter().filter_map(Endpoint::poll_timeout);
            let next = timeouts.map(|due| due.at()).chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            let (arrived, rest) = std::mem::take(&mut self.under_way)
                .into_iter()
                .partition(|(at, ..)| *at <= self.now);
            self.under_way = rest;
            for (_, to, packet) in arrived {
                self.ends[to].handle_packet(self.now, packet);
            }
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = until;
    }

    fn state(&self, side: usize, id: ConnectionId) -> Option<State> {
        self.ends[side]
            .connection(id)
            .map(|connection| connection.state())
    }

    /// The server hears `segment` from `source`; gives what it sends in turn.
    pub(crate) fn hear(&mut self, source: SocketAddr, segment: Segment) -> Vec<Packet> {
        let packet = Packet {
            source,
            destination: server_address(),
            ecn: Ecn::NotCapable,
            segment,
        };
        self.ends[SERVER].handle_packet(self.now, packet);
        self.answers()
    }

    fn answers(&mut self) -> Vec<Packet> {
        let server = &mut self.ends[SERVER];
        let polled = std::iter::from_fn(|| server.poll_transmit(self.now, 1));
        polled.flat_map(|transmit| transmit.packets()).collect()
    }

    /// A connection that both have closed, first the server, and which nobody holds any more.
    pub(crate) fn closed(&mut self, listener: ListenerId) -> SocketAddr {
        let client = self.connect();
        self.pass(Duration::from_millis(50));
        let server = self.ends[SERVER].accept(listener).unwrap();
        let remote = self.ends[CLIENT].connection(client).unwrap().local();
        self.ends[SERVER].release(self.now, server);
        self.pass(Duration::from_millis(50));
        self.ends[CLIENT].release(self.now, client);
        self.pass(Duration::from_millis(50));
        remote
    }
}

pub(crate) fn syn(seq: u32, stamp: Option<u32>) -> Segment {
    let mut syn = Segment::new(SeqNumber::new(seq), None);
    syn.flags = Flags::SYN;
    syn.window = 60_000;
    syn.options = Options {
        mss: Some(1_460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: stamp.map(|value| Timestamps { value, echo: 0 }),
        ..Options::default()
    };
    syn
}

pub(crate) fn stranger(number: u32) -> SocketAddr {
    let [a, b, c, d] = number.to_be_bytes();
    SocketAddr::from(([10, b, c, d], 1_024 + u16::from(a)))
}

#[test]
fn two_endpoints_talk_and_forget_each_other() {
    let mut net = Net::new(config());
    let listener = net.listen(8);
    let client = net.connect();
    net.pass(Duration::from_millis(50));
    assert_eq!(net.events[SERVER], [EndpointEvent::Acceptable(listener)]);
    let connected = EndpointEvent::Connection(client, Event::Connected);
    assert_eq!(net.events[CLIENT], [connected]);
    let server = net.ends[SERVER].accept(listener).unwrap();
    assert_eq!(net.ends[SERVER].accept(listener), None);

    let data = Bytes::from(vec![7; 100_000]);
    assert_eq!(
        net.ends[CLIENT].write(net.now, client, data.clone()),
        100_000
    );
    net.ends[CLIENT].shutdown(net.now, client);
    net.pass(Duration::from_secs(1));
    let mut got = Vec::new();
    while let Read::Data(data) = net.ends[SERVER].read(net.now, server, usize::MAX) {
        got.extend_from_slice(&data);
    }
    assert!(got == data);
    assert_eq!(net.ends[SERVER].read(net.now, server, 1), Read::End);
    net.ends[SERVER].release(net.now, server);
    net.ends[CLIENT].release(net.now, client);
    net.pass(Duration::from_secs(1));
    let left = |net: &Net| {
        net.ends
            .each_ref()
            .map(|end| (end.connections(), end.time_waits()))
    };
    assert_eq!(left(&net), [(0, 1), (0, 0)]);
    net.pass(Duration::from_secs(60));
    assert_eq!(left(&net), [(0, 0), (0, 0)]);
    assert!(net.ends.iter().all(|end| end.poll_timeout().is_none()));
    assert_eq!(
        net.ends[CLIENT].read(net.now, client, 1),
        Read::End,
        "an old id"
    );
}

/// RFC 9293 §3.10.7.1, and §3.9.2.3 for what is not from one host to another.
#[test]
fn strangers_are_reset_and_nothing_else_is() {
    let mut net = Net::new(config());
    net.listen(8);
    let mut ack = Segment::new(SeqNumber::new(5), Some(SeqNumber::new(77)));
    let answers = net.hear(stranger(1), ack.clone());
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].segment.flags, Flags::RST);
    assert_eq!(answers[0].segment.seq, SeqNumber::new(77));
    ack.flags = Flags::RST;
    assert_eq!(net.hear(stranger(1), ack), []);
    let mut fin = Segment::new(SeqNumber::new(5), None);
    fin.flags = Flags::FIN;
    assert_eq!(
        net.hear(stranger(1), fin),
        [],
        "to a listener it is nothing"
    );
    for (source, destination, resets) in [
        ("10.0.0.1:9", "192.0.2.2:81", 1),
        ("10.0.0.1:9", "224.0.0.1:81", 0),
        ("10.0.0.1:9", "255.255.255.255:81", 0),
        ("0.0.0.0:9", "192.0.2.2:81", 0),
        ("192.0.2.2:81", "192.0.2.2:81", 0),
        ("192.0.2.2:80", "192.0.2.2:80", 0),
        ("[2001:db8::1]:9", "[ff02::1]:81", 0),
    ] {
        let packet = Packet {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            ecn: Ecn::NotCapable,
            segment: syn(1, None),
        };
        net.ends[SERVER].handle_packet(net.now, packet);
        assert_eq!(net.answers().len(), resets, "{source} {destination}");
    }
    assert_eq!(net.ends[SERVER].connections(), 0);
}

#[test]
fn the_most_particular_listener_gets_the_connection() {
    let mut net = Net::new(config());
    let server = &mut net.ends[SERVER];
    let all = server.listen(ListenAt::Anything, 1).unwrap();
    let port = server.listen(ListenAt::Port(80), 1).unwrap();
    let one = server
        .listen(ListenAt::Address(server_address()), 1)
        .unwrap();
    assert_eq!(server.listen(ListenAt::Port(80), 1), Err(OpenError::InUse));
    for (to, listener) in [
        ("192.0.2.2:80", one),
        ("192.0.2.3:80", port),
        ("192.0.2.2:81", all),
    ] {
        let remote = to.parse().unwrap();
        let client = net.ends[CLIENT].connect(net.now, client_address(), remote);
        net.pass(Duration::from_millis(50));
        let id = net.ends[SERVER].accept(listener).expect(to);
        assert_eq!(net.ends[SERVER].connection(id).unwrap().local(), remote);
        assert_eq!(net.state(CLIENT, client.unwrap()), Some(State::Established));
    }
    net.ends[SERVER].close_listener(net.now, all);
    let remote = "192.0.2.2:81".parse().unwrap();
    let client = net.ends[CLIENT]
        .connect(net.now, client_address(), remote)
        .unwrap();
    net.pass(Duration::from_millis(50));
    assert_eq!(net.state(CLIENT, client), Some(State::Closed));
}

/// What does not fit into the accept queue waits, and is there once there is room.
#[test]
fn who_finds_the_accept_queue_full_comes_again() {
    let mut net = Net::new(config());
    let listener = net.listen(2);
    let clients: Vec<_> = (0..6).map(|_| net.connect()).collect();
    net.pass(Duration::from_millis(500));
    // All were half open before any waited: four are held up in the handshake.
    assert!(net.ends[SERVER].stats().accept_queue_full >= 4);
    assert_eq!(net.ends[SERVER].half_open(), 4);
    let late = net.connect();
    net.pass(Duration::from_millis(50));
    assert_eq!(
        net.state(CLIENT, late),
        Some(State::SynSent),
        "its SYN is dropped"
    );
    assert_eq!(net.ends[SERVER].stats().syns_dropped, 1);
    let mut accepted = Vec::new();
    for _ in 0..200 {
        net.pass(Duration::from_millis(500));
        accepted.extend(net.ends[SERVER].accept(listener));
    }
    assert_eq!(accepted.len(), 7);
    for client in clients.iter().chain([&late]) {
        assert_eq!(net.state(CLIENT, *client), Some(State::Established));
    }
    accepted.dedup();
    assert_eq!(accepted.len(), 7);
}

/// What failed before it was accepted takes no place in the queue.
#[test]
fn a_client_that_leaves_the_queue_makes_room() {
    let mut net = Net::new(config());
    let listener = net.listen(1);
    let first = net.connect();
    net.pass(Duration::from_millis(50));
    net.ends[CLIENT].abort(net.now, first);
    net.pass(Duration::from_millis(50));
    assert_eq!(net.ends[SERVER].connections(), 0);
    let second = net.connect();
    net.pass(Duration::from_millis(50));
    let accepted = net.ends[SERVER].accept(listener).unwrap();
    let local = net.ends[CLIENT].connection(second).unwrap().local();
    assert_eq!(
        net.ends[SERVER].connection(accepted).unwrap().remote(),
        local
    );
}

/// RFC 4987 §3.6: a flood of SYNs from addresses that do not exist keeps no true client out.
#[test]
fn a_flood_of_syns_keeps_nobody_out() {
    let mut net = Net::new(EndpointConfig {
        half_open_max: 100,
        ..config()
    });
    let listener = net.listen(10);
    let mut client = None;
    for number in 0..50_000 {
        let answers = net.hear(stranger(number), syn(number, Some(number)));
        assert_eq!(answers.len(), 1, "each gets its answer");
        assert!(net.ends[SERVER].half_open() <= 100);
        if number == 25_000 {
            client = Some(net.connect());
        }
        if number % 1_000 == 0 {
            net.pass(Duration::from_millis(10));
        }
    }
    let client = client.unwrap();
    let server = net.ends[SERVER].accept(listener).expect("the true client");
    let stats = *net.ends[SERVER].stats();
    assert_eq!((stats.cookies_accepted, stats.syns_dropped), (1, 0));
    assert!(stats.cookies_sent > 49_000);
    // The cookie has kept what makes a connection fast: scaled windows, and SACK.
    let data = Bytes::from(vec![9; 1_000_000]);
    let mut sent = 0;
    let mut got = 0;
    while got < data.len() {
        sent += net.ends[CLIENT].write(net.now, client, data.slice(sent..));
        net.pass(Duration::from_millis(20));
        if got == 0 {
            // A hole, so that there is something for SACK to say.
            let data = |(_, _, packet): &(_, _, Packet)| !packet.segment.payload.is_empty();
            let first = net.under_way.iter().position(data).unwrap();
            net.under_way.remove(first);
        }
        while let Read::Data(data) = net.ends[SERVER].read(net.now, server, usize::MAX) {
            got += data.len();
        }
    }
    assert_eq!(got, data.len());
    let stats = net.ends[CLIENT].connection(client).unwrap().stats();
    assert!(
        stats.send_window > 1 << 16 && stats.counters.bytes_sacked > 0,
        "{stats:?}"
    );
}

#[test]
fn without_cookies_a_flood_does_keep_clients_out() {
    let mut net = Net::new(EndpointConfig {
        half_open_max: 100,
        syn_cookies: false,
        ..config()
    });
    net.listen(10);
    for number in 0..101 {
        let answers = net.hear(stranger(number), syn(number, None));
        assert_eq!(answers.len(), usize::from(number < 100));
    }
    assert_eq!(net.ends[SERVER].stats().syns_dropped, 1);
    assert_eq!(net.ends[SERVER].half_open(), 100);
    // They are given up in time, and nothing is left of them.
    net.pass(Duration::from_secs(200));
    assert_eq!(net.ends[SERVER].connections(), 0);
    assert_eq!(net.ends[SERVER].half_open(), 0);
}

/// A guessed acknowledgement opens nothing, while cookies are about and while they are not.
#[test]
fn who_guesses_a_cookie_gets_nowhere() {
    let mut net = Net::new(EndpointConfig {
        half_open_max: 1,
        ..config()
    });
    net.listen(10);
    for cookies_are_about in [false, true] {
        for number in 0..1_000_u32 {
            let guess = SeqNumber::new(number.wrapping_mul(0x9e37_79b9));
            let ack = Segment::new(SeqNumber::new(number), Some(guess));
            let answers = net.hear(stranger(100_000 + number), ack);
            // Behind a cookie that was lost something may come that is none: no reset then.
            let resets = answers
                .iter()
                .filter(|packet| packet.segment.flags == Flags::RST);
            assert_eq!(resets.count(), usize::from(!cookies_are_about));
        }
        net.hear(stranger(1), syn(1, None));
        net.hear(stranger(2), syn(2, None));
        let sent = net.ends[SERVER].stats().cookies_sent;
        assert!(sent > 0, "{cookies_are_about}");
    }
    assert_eq!(net.ends[SERVER].connections(), 1);
}

#[test]
fn connections_have_a_limit() {
    let mut net = Net::new(EndpointConfig {
        connections_max: 2,
        ..config()
    });
    net.listen(10);
    for number in 0..3 {
        let answers = net.hear(stranger(number), syn(number, None));
        assert_eq!(answers.len(), usize::from(number < 2));
    }
    assert_eq!(net.ends[SERVER].stats().syns_dropped, 1);
    let remote = stranger(9);
    let refused = net.ends[SERVER].connect(net.now, server_address(), remote);
    assert_eq!(refused, Err(OpenError::TooMany));
}

#[test]
fn ends_are_used_once() {
    let mut net = Net::new(config());
    let local = "192.0.2.1:4000".parse().unwrap();
    let client = &mut net.ends[CLIENT];
    let id = client.connect(net.now, local, server_address()).unwrap();
    let again = client.connect(net.now, local, server_address());
    assert_eq!(again, Err(OpenError::InUse));
    let elsewhere = client.connect(net.now, local, stranger(1));
    assert!(elsewhere.is_ok());
    client.abort(net.now, id);
    client.release(net.now, id);
    net.drain();
    let again = net.ends[CLIENT].connect(net.now, local, server_address());
    assert!(again.is_ok_and(|again| again != id));
}

#[test]
fn what_nobody_fetches_has_a_limit() {
    let mut net = Net::new(EndpointConfig {
        outbox_packets_max: 3,
        ..config()
    });
    for number in 0..10 {
        let packet = Packet {
            source: stranger(number),
            destination: server_address(),
            ecn: Ecn::NotCapable,
            segment: syn(1, None),
        };
        net.ends[SERVER].handle_packet(net.now, packet);
    }
    assert_eq!(net.answers().len(), 3);
    assert_eq!(net.ends[SERVER].stats().outbox_dropped, 7);
}

/// It is as if what brought the cookie back had been lost.
#[test]
fn who_brings_a_cookie_back_to_a_full_queue_comes_again() {
    let mut net = Net::new(EndpointConfig {
        half_open_max: 0,
        ..config()
    });
    let listener = net.listen(1);
    let acks = [1, 2].map(|number| {
        let answers = net.hear(stranger(number), syn(7, None));
        Segment::new(
            SeqNumber::new(8),
            Some(answers[0].segment.seq.advanced_by(1)),
        )
    });
    let come = |number: u32, net: &mut Net| {
        let ack = acks[number as usize - 1].clone();
        assert_eq!(net.hear(stranger(number), ack), []);
        (
            net.ends[SERVER].connections(),
            net.ends[SERVER].stats().accept_queue_full,
        )
    };
    assert_eq!(come(1, &mut net), (1, 0));
    assert_eq!(come(2, &mut net), (1, 1));
    assert!(net.ends[SERVER].accept(listener).is_some());
    assert_eq!(come(2, &mut net), (2, 1));
}

/// RFC 9293 §3.10.7.2: only a SYN begins a connection, and RFC 9293 §3.10.7.4 what another number
/// than ours does to one that is half open: it is reset, and the connection stays.
#[test]
fn a_handshake_is_not_disturbed() {
    let mut net = Net::new(config());
    net.listen(10);
    let remote = stranger(1);
    for flags in [Flags::NONE, Flags::SYN | Flags::FIN, Flags::FIN] {
        let segment = Segment {
            flags,
            ..syn(7, None)
        };
        assert_eq!(net.hear(remote, segment), [], "{flags:?}");
        assert_eq!(net.ends[SERVER].half_open(), 0, "{flags:?}");
    }
    let answers = net.hear(remote, syn(7, None));
    let ours = answers[0].segment.seq;
    for ack in [ours, ours.advanced_by(2)] {
        let answers = net.hear(remote, Segment::new(SeqNumber::new(8), Some(ack)));
        assert!(answers[0].segment.flags.contains(Flags::RST));
        assert_eq!(net.ends[SERVER].half_open(), 1);
    }
    let ack = Segment::new(SeqNumber::new(8), Some(ours.advanced_by(1)));
    assert_eq!(net.hear(remote, ack), []);
    assert_eq!(net.ends[SERVER].half_open(), 0);
    assert_eq!(net.ends[SERVER].connections(), 1);
}

/// Whose user has heard something hears the next thing, too.
#[test]
fn readers_who_wait_hear_of_each_arrival() {
    let mut net = Net::new(config());
    let listener = net.listen(10);
    let client = net.connect();
    net.pass(Duration::from_millis(50));
    let server = net.ends[SERVER].accept(listener).unwrap();
    net.pass(Duration::ZERO);
    let connected = EndpointEvent::Connection(server, Event::Connected);
    assert_eq!(net.events[SERVER].last(), Some(&connected));
    for _ in 0..3 {
        let read = net.ends[SERVER].read(net.now, server, usize::MAX);
        assert_eq!(read, Read::Pending);
        net.events[SERVER].clear();
        net.ends[CLIENT].write(net.now, client, Bytes::from_static(b"hello"));
        net.pass(Duration::from_millis(50));
        let readable = EndpointEvent::Connection(server, Event::Readable);
        assert_eq!(net.events[SERVER], [readable]);
        let read = net.ends[SERVER].read(net.now, server, usize::MAX);
        assert_eq!(read, Read::Data("hello".into()));
    }
}

/// Each kind of what there may be to fetch, alone.
#[test]
fn what_is_to_be_fetched_is_told() {
    let mut net = Net::new(config());
    let listener = net.listen(10);
    assert!(!net.ends[SERVER].is_undrained());
    let refused = net.hear(stranger(1), Segment::new(SeqNumber::new(7), None));
    assert_eq!(refused.len(), 0);
    assert!(!net.ends[SERVER].is_undrained());
    net.ends[SERVER].handle_packet(
        net.now,
        Packet {
            source: stranger(1),
            destination: SocketAddr::new(server_address().ip(), 81),
            ecn: Ecn::NotCapable,
            segment: syn(7, None),
        },
    );
    assert!(net.ends[SERVER].is_undrained(), "a reset");
    assert_eq!(net.answers().len(), 1);
    assert!(!net.ends[SERVER].is_undrained());
    let isn = net.hear(stranger(2), syn(7, None))[0].segment.seq;
    assert!(!net.ends[SERVER].is_undrained());
    let ack = Segment::new(SeqNumber::new(8), Some(isn.advanced_by(1)));
    assert_eq!(net.hear(stranger(2), ack), []);
    assert!(net.ends[SERVER].is_undrained(), "somebody waits");
    net.drain();
    assert!(!net.ends[SERVER].is_undrained());
    assert!(net.ends[SERVER].accept(listener).is_some());
    assert!(net.ends[SERVER].is_undrained(), "an event");
    net.drain();
    assert!(!net.ends[SERVER].is_undrained());
}

/// Who waits for a listener that closes is reset, and nobody else.
#[test]
fn a_listener_takes_those_along_who_wait_for_it() {
    let mut net = Net::new(config());
    let listener = net.listen(10);
    let other_address = SocketAddr::new(server_address().ip(), 81);
    let other = net.ends[SERVER].listen(ListenAt::Address(other_address), 10);
    let client = net.connect();
    let beside = net.ends[CLIENT].connect(net.now, client_address(), other_address);
    net.pass(Duration::from_millis(50));
    net.hear(stranger(1), syn(1, None));
    net.ends[SERVER].close_listener(net.now, listener);
    net.pass(Duration::from_millis(50));
    assert_eq!(net.ends[SERVER].half_open(), 0);
    assert_eq!(net.state(CLIENT, client), Some(State::Closed));
    assert_eq!(net.state(CLIENT, beside.unwrap()), Some(State::Established));
    assert!(net.ends[SERVER].accept(other.unwrap()).is_some());
}

/// The ends of a connection that is over are free for the next one, though its user still reads.
#[test]
fn ends_are_free_once_their_connection_is_over() {
    let mut net = Net::new(config());
    let listener = net.listen(10);
    let client = net.connect();
    net.pass(Duration::from_millis(50));
    let server = net.ends[SERVER].accept(listener).unwrap();
    let remote = net.ends[CLIENT].connection(client).unwrap().local();
    net.ends[CLIENT].write(net.now, client, Bytes::from_static(b"hello"));
    net.pass(Duration::from_millis(50));
    net.ends[CLIENT].abort(net.now, client);
    net.pass(Duration::from_millis(50));
    assert_eq!(net.state(SERVER, server), Some(State::Closed));
    let answers = net.hear(remote, syn(7, None));
    assert_eq!(answers[0].segment.ack, Some(SeqNumber::new(8)));
    let read = net.ends[SERVER].read(net.now, server, usize::MAX);
    assert_eq!(read, Read::Data("hello".into()));
    net.ends[SERVER].release(net.now, server);
    net.answers();
    let answers = net.hear(remote, syn(7, None));
    assert_eq!(answers.len(), 1, "the next one stays");
    assert_eq!(net.ends[SERVER].connections(), 1);
}

/// Pieces are what `read` gives one by one, up to what was asked for.
#[test]
fn several_pieces_are_read_at_once() {
    let mut net = Net::new(config());
    let listener = net.listen(1);
    let client = net.connect();
    net.pass(Duration::from_millis(50));
    let server = net.ends[SERVER].accept(listener).unwrap();
    let sent: Vec<u8> = (0..9_000_u32).map(|at| (at % 251) as u8).collect();
    net.ends[CLIENT].write(net.now, client, sent.clone().into());
    net.pass(Duration::from_millis(500));
    let mut got = Vec::new();
    let mut pieces = 0;
    for (bytes_max, expected) in [(0, 0), (5_000, 5_000), (5_000, 4_000), (5_000, 0)] {
        let count = net.ends[SERVER].read_pieces(net.now, server, bytes_max, |piece| {
            got.extend_from_slice(&piece);
            pieces += 1;
        });
        assert_eq!(count, expected);
    }
    assert_eq!(got, sent);
    assert!(pieces > 2, "{pieces}");
    assert_eq!(
        net.ends[SERVER].read(net.now, server, 9),
        Read::Pending,
        "and nothing is left"
    );
    net.ends[CLIENT].write(net.now, client, "more".into());
    net.pass(Duration::from_millis(500));
    net.ends[SERVER].release(net.now, server);
    let count = net.ends[SERVER].read_pieces(net.now, server, 9, |_| panic!("it was released"));
    assert_eq!(count, 0);
}

/// With nothing under way, no clock is asked for and nobody is looked at.
#[test]
fn idle_connections_ask_for_nothing() {
    let mut net = Net::new(EndpointConfig {
        connection: Config {
            receive_buffer_bytes: 65_535,
            ..Config::default()
        },
        ..config()
    });
    let listener = net.listen(1);
    for _ in 0..2_000 {
        net.connect();
        net.pass(Duration::from_millis(30));
        net.ends[SERVER].accept(listener).expect("each gets in");
    }
    net.pass(Duration::from_secs(2));
    assert_eq!(net.ends[SERVER].connections(), 2_000);
    for end in &mut net.ends {
        assert_eq!(end.poll_timeout(), None);
        assert!(end.poll_transmit(net.now, 1).is_none());
    }
}

/// Most of what an idle connection takes; the `idle_connections` example measures all of it.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_connection_is_small() {
    let bytes = size_of::<packhorse_tcp::Connection>();
    assert!(bytes <= 1_640, "{bytes}: box what is rare");
}
