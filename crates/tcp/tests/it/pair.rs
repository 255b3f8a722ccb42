//! Two connections and the path between them, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::{Config, Connection, Event, Flags, Instant, Packet, Read, SeqNumber, Transmit};

/// One end, with what its user has seen.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) events: Vec<Event>,
    pub(crate) got: Vec<u8>,
    /// Whether what arrives is read at once.
    pub(crate) reads: bool,
    /// What is still to be written.
    to_write: VecDeque<Bytes>,
    closes: bool,
    /// Packets on their way to this end, by the time of their arrival.
    arriving: VecDeque<(Instant, Packet)>,
}

/// A decision about a packet on its way.
pub(crate) enum Fate {
    Deliver,
    Lose,
    Delay(Duration),
    Twice,
}

/// A client and a server with a path of 50 ms in each direction.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: End,
    pub(crate) server: Option<End>,
    config: Config,
    server_isn: SeqNumber,
    delay: Duration,
    /// How many segments may come at once.
    pub(crate) segments_max: usize,
    /// How often several came.
    pub(crate) batches: usize,
    /// What is on its way to a server that is not there yet.
    knocking: Vec<(Instant, Packet)>,
    /// What was sent, by the client (true) or the server, and when.
    pub(crate) log: Vec<(Instant, bool, Packet)>,
}

pub(crate) const CLIENT: &str = "192.0.2.1:4000";
pub(crate) const SERVER: &str = "192.0.2.2:80";

pub(crate) type FateOf<'a> = &'a mut dyn FnMut(&Packet, bool) -> Fate;

impl Pair {
    pub(crate) fn new(client: &Config, server: &Config) -> Self {
        Self::with_isns(client, server, 1_000, u32::MAX - 5_000)
    }

    pub(crate) fn with_isns(client: &Config, server: &Config, isn: u32, server_isn: u32) -> Self {
        let now = Instant::from_millis(1_000);
        let connection = Connection::connect(
            client,
            CLIENT.parse().unwrap(),
            SERVER.parse().unwrap(),
            SeqNumber::new(isn),
            now,
        );
        Self {
            now,
            client: End::new(connection),
            server: None,
            config: server.clone(),
            server_isn: SeqNumber::new(server_isn),
            delay: Duration::from_millis(50),
            segments_max: 1,
            batches: 0,
            knocking: Vec::new(),
            log: Vec::new(),
        }
    }

    pub(crate) fn server(&mut self) -> &mut End {
        self.server.as_mut().unwrap()
    }

    /// Runs on until nothing is on its way and nobody waits, or until `end`.
    pub(crate) fn run_until(&mut self, end: Instant, fate: FateOf<'_>) {
        for _ in 0..2_000_000 {
            self.drain(fate);
            let next = [Some(&self.client), self.server.as_ref()];
            let knocking = self.knocking.iter().map(|(at, _)| *at);
            let ends = next.into_iter().flatten().filter_map(End::next);
            let next = ends.chain(knocking).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => {
                    self.now = end;
                    return;
                }
            }
            self.turn();
        }
        panic!("no end of it");
    }

    fn turn(&mut self) {
        let now = self.now;
        if let Some(at) = self.knocking.iter().position(|(at, _)| *at <= now) {
            let (_, packet) = self.knocking.remove(at);
            if packet.segment.flags.contains(Flags::SYN) {
                let server = Connection::accept(&self.config, &packet, self.server_isn, now);
                self.server = server.map(End::new);
            }
            for (at, packet) in std::mem::take(&mut self.knocking) {
                self.deliver(packet, true, at);
            }
        }
        for end in [Some(&mut self.client), self.server.as_mut()]
            .into_iter()
            .flatten()
        {
            while end.arriving.front().is_some_and(|(at, _)| *at <= now) {
                let (_, packet) = end.arriving.pop_front().unwrap();
                end.connection.handle_segment(now, packet.segment);
            }
            if end
                .connection
                .poll_timeout()
                .is_some_and(|deadline| deadline.at() <= now)
            {
                end.connection.handle_timeout(now);
            }
        }
    }

    /// Drains both ends: what they send goes on its way.
    pub(crate) fn drain(&mut self, fate: FateOf<'_>) {
        for from_client in [true, false] {
            let mut out = Vec::new();
            let end = if from_client {
                Some(&mut self.client)
            } else {
                self.server.as_mut()
            };
            if let Some(end) = end {
                end.serve_user(self.now);
                for count in 0.. {
                    let transmit = end.connection.poll_transmit(self.now, self.segments_max);
                    let Some(transmit) = transmit else {
                        break;
                    };
                    assert!(transmit.segments() <= self.segments_max);
                    self.batches += usize::from(transmit.segments() > 1);
                    out.extend(taken_apart(transmit));
                    assert!(count < 100_000, "a storm");
                }
                end.serve_user(self.now);
            }
            for packet in out {
                self.carry(packet, from_client, fate);
            }
        }
    }

    fn carry(&mut self, packet: Packet, from_client: bool, fate: FateOf<'_>) {
        let mut wire = Vec::new();
        packet.encode(&mut wire);
        let packet = Packet::parse(&wire.into()).unwrap();
        self.log.push((self.now, from_client, packet.clone()));
        let (copies, extra) = match fate(&packet, from_client) {
            Fate::Deliver => (1, Duration::ZERO),
            Fate::Lose => (0, Duration::ZERO),
            Fate::Delay(extra) => (1, extra),
            Fate::Twice => (2, Duration::ZERO),
        };
        let at = self.now + self.delay + extra;
        for _ in 0..copies {
            self.deliver(packet.clone(), from_client, at);
        }
    }

    /// Puts a packet on its way, as if the client (or the server) had sent it.
    pub(crate) fn deliver(&mut self, packet: Packet, from_client: bool, at: Instant) {
        if from_client && self.server.is_none() {
            self.knocking.push((at, packet));
            return;
        }
        let end = if from_client {
            self.server.as_mut().unwrap()
        } else {
            &mut self.client
        };
        let place = end.arriving.partition_point(|(other, _)| *other <= at);
        end.arriving.insert(place, (at, packet));
    }
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            events: Vec::new(),
            got: Vec::new(),
            reads: true,
            to_write: VecDeque::new(),
            closes: false,
            arriving: VecDeque::new(),
        }
    }

    /// Writes `data`, now or as there is room.
    pub(crate) fn send(&mut self, data: impl Into<Bytes>) {
        self.to_write.push_back(data.into());
    }

    /// Closes once everything is written.
    pub(crate) fn finish(&mut self) {
        self.closes = true;
    }

    pub(crate) fn saw(&self, event: Event) -> bool {
        self.events.contains(&event)
    }

    fn next(&self) -> Option<Instant> {
        let timeout = self.connection.poll_timeout().map(|deadline| deadline.at());
        let arrival = self.arriving.front().map(|(at, _)| *at);
        timeout.into_iter().chain(arrival).min()
    }

    fn serve_user(&mut self, now: Instant) {
        while let Some(event) = self.connection.poll_event() {
            self.events.push(event);
        }
        while let Some(mut data) = self.to_write.pop_front() {
            let accepted = self.connection.write(now, data.clone());
            if accepted < data.len() {
                self.to_write.push_front(data.split_off(accepted));
                break;
            }
        }
        if self.to_write.is_empty() && self.closes {
            self.connection.shutdown(now);
            self.closes = false;
        }
        while self.reads {
            match self.connection.read(now, usize::MAX) {
                Read::Data(data) => self.got.extend_from_slice(&data),
                Read::Pending | Read::End | Read::Failed(_) => break,
            }
        }
    }
}

/// The packets of a batch, which are the same whichever way it is taken apart.
fn taken_apart(transmit: Transmit) -> Vec<Packet> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    transmit.encode(&mut bytes, &mut ends);
    let bytes = Bytes::from(bytes);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let encoded = starts
        .zip(&ends)
        .map(|(start, end)| bytes.slice(start..*end));
    let encoded: Vec<_> = encoded
        .map(|one| Packet::from_bytes(one).unwrap())
        .collect();
    let packets: Vec<_> = transmit.packets().collect();
    assert_eq!(encoded, packets);
    packets
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length)
        .map(|at| (at % 251) as u8 ^ (at / 251 % 256) as u8)
        .collect()
}
