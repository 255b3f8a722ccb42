//! Many clients at one listener over bad links, with a flood of SYNs among them: what endpoints
//! must withstand, checked to the byte.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::{
    Config, ConnectionId, Ecn, Endpoint, EndpointConfig, EndpointEvent, EndpointStats, Flags,
    ListenAt, ListenerId, Packet, Read, Segment, SeqNumber, UserTimeout,
};
use thiserror::Error;

use crate::Instant;
use crate::link::{LinkConfig, LinkCounters, Loss};
use crate::random::Random;
use crate::stream::Stream;
use crate::world::{Fault, Host, Side, Step, World};

/// Longer no crowd may take.
const VIRTUAL_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

const SERVER: ([u8; 4], u16) = ([192, 0, 2, 2], 7225);

/// A crowd to be: everything about it follows from its seed.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// How many clients come.
    pub clients: usize,
    /// What each sends, and wants to have back; bytes.
    pub bytes: u64,
    /// The time within which they come.
    pub within: Duration,
    /// SYNs from addresses that do not exist, spread over the same time.
    pub flood: u32,
    /// The server's limits.
    pub server: EndpointConfig,
    /// How many may wait to be accepted.
    pub backlog: usize,
    /// How many are served at once; the others wait.
    pub served_at_once: usize,
    /// Both ways.
    pub link: LinkConfig,
    seed: u64,
}

/// What came of a crowd.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the server counted.
    pub server: EndpointStats,
    /// The most connections that the server had at once.
    pub connections_most: usize,
    /// What happened to packets.
    pub links: LinkCounters,
    /// How long it took.
    pub ended: Instant,
}

/// What a crowd must not come to.
#[derive(Debug, Error)]
pub enum Wrong {
    /// A host does not let time go on, or breaks a rule.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A byte came back as another.
    #[error("client {0} got another byte back at {1}")]
    Byte(usize, u64),
    /// A connection ended before its bytes were back.
    #[error("client {0} got {1} bytes back, and then the end or a failure")]
    Short(usize, u64),
    /// Nothing happens any more, and not everybody is served.
    #[error("only {0} clients were served, and nothing happens any more")]
    Deadlock(usize),
    /// Something is left when everybody has gone.
    #[error("{0} connections and {1} TIME-WAITs are left on the {2:?}")]
    Left(usize, usize, Side),
    /// It takes longer than a day.
    #[error("only {0} clients were served in a day")]
    Endless(usize),
}

impl Crowd {
    /// The crowd that `seed` leads to.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let is_flooded = random.chance(500_000);
        let link = LinkConfig {
            delay: Duration::from_micros(random.between(50..=100_000)),
            jitter: Duration::from_micros(random.between(0..=20_000)),
            loss: Loss::Independent(random.pick(&[0, 1_000, 20_000, 100_000])),
            reorder: random.pick(&[0, 10_000, 50_000]),
            reorder_delay: Duration::from_millis(random.between(1..=100)),
            duplicate: random.pick(&[0, 10_000]),
            corrupt: random.pick(&[0, 10_000]),
            ..LinkConfig::default()
        };
        let half_open_max = random.pick(&[4, 50, 1_000]);
        // Who came by a cookie and finds the queue full for longer than that is good is lost.
        let has_cookies = is_flooded || half_open_max < 1_000;
        Self {
            clients: random.between(2..=60) as usize,
            bytes: random.pick(&[1, 1_000, 30_000]),
            within: Duration::from_millis(random.between(1..=3_000)),
            flood: if is_flooded { 2_000 } else { 0 },
            server: EndpointConfig {
                connection: patient(),
                half_open_max,
                ..EndpointConfig::default()
            },
            backlog: random.pick(&[1, 8, 100]),
            served_at_once: if has_cookies { 1_000 } else { 2 },
            link,
            seed,
        }
    }

    /// Lets it come, be served and go.
    ///
    /// # Errors
    /// `Wrong`.
    pub fn run(&self) -> Result<Outcome, Wrong> {
        let mut random = Random::new(self.seed ^ 0x9e37);
        let hosts = [
            Member::Clients(Clients::new(self, random.fork())),
            Member::Server(EchoServer::new(self)),
        ];
        let links = [self.link.clone(), self.link.clone()];
        let mut world = World::new(hosts, links, &mut random);
        world.flush()?;
        let mut connections_most = 0;
        while world.step()? == Step::Went {
            let server = world.host(Side::Right).endpoint();
            connections_most = connections_most.max(server.connections());
            if let Some(wrong) = world.host_mut(Side::Left).take_wrong() {
                return Err(wrong);
            }
            if world.now() > Instant::default() + VIRTUAL_TIME_MAX {
                return Err(Wrong::Endless(world.host(Side::Left).served()));
            }
        }
        let served = world.host(Side::Left).served();
        if served < self.clients {
            return Err(Wrong::Deadlock(served));
        }
        let mut links = *world.link(Side::Left).counters();
        links.add(world.link(Side::Right).counters());
        for side in Side::BOTH {
            let end = world.host(side).endpoint();
            if end.connections() + end.time_waits() > 0 {
                return Err(Wrong::Left(end.connections(), end.time_waits(), side));
            }
        }
        Ok(Outcome {
            server: *world.host(Side::Right).endpoint().stats(),
            connections_most,
            links,
            ended: world.now(),
        })
    }
}

/// What gets through whatever the path does short of losing everything.
fn patient() -> Config {
    Config {
        handshake_timeout: Duration::from_secs(3_600),
        user_timeout: UserTimeout {
            local: Duration::from_secs(3_600),
            ..UserTimeout::default()
        },
        ..Config::default()
    }
}

/// Either side, since a world has hosts of one kind.
#[derive(Debug)]
enum Member {
    Clients(Clients),
    Server(EchoServer),
}

/// Everybody who comes, on one endpoint.
#[derive(Debug)]
struct Clients {
    endpoint: Endpoint,
    arrivals: VecDeque<Instant>,
    /// Of the flood: what is still to come, and when the next one does.
    flood: VecDeque<Instant>,
    outbox: Vec<Bytes>,
    here: BTreeMap<ConnectionId, Client>,
    bytes: u64,
    served: usize,
    came: usize,
    wrong: Option<Wrong>,
    random: Random,
}

/// One of them; its stream begins where its number says.
#[derive(Debug, Clone, Copy)]
struct Client {
    number: usize,
    written: u64,
    read: u64,
}

#[derive(Debug)]
struct EchoServer {
    endpoint: Endpoint,
    listener: ListenerId,
    served_at_once: usize,
    /// What was read and not written back.
    here: BTreeMap<ConnectionId, VecDeque<Bytes>>,
}

impl Client {
    fn offset(self, at: u64) -> u64 {
        self.number as u64 * 1_000_003 + at
    }
}

impl Clients {
    fn new(crowd: &Crowd, mut random: Random) -> Self {
        let config = EndpointConfig {
            connection: patient(),
            ..EndpointConfig::default()
        };
        let nanos = crowd.within.as_nanos() as u64;
        let mut times = |count: usize| {
            let mut times: Vec<_> = (0..count).map(|_| random.between(0..=nanos)).collect();
            times.sort_unstable();
            times.into_iter().map(Instant::from_nanos).collect()
        };
        Self {
            arrivals: times(crowd.clients),
            flood: times(crowd.flood as usize),
            endpoint: Endpoint::new(config, [1; 16]),
            outbox: Vec::new(),
            here: BTreeMap::new(),
            bytes: crowd.bytes,
            served: 0,
            came: 0,
            wrong: None,
            random,
        }
    }

    fn work(&mut self, now: Instant) {
        while self.arrivals.front().is_some_and(|at| *at <= now) {
            self.arrivals.pop_front();
            let local = SocketAddr::from(([192, 0, 2, 1], 0));
            let id = self.endpoint.connect(now, local, SERVER.into());
            let client = Client {
                number: self.came,
                written: 0,
                read: 0,
            };
            self.came += 1;
            match id {
                Ok(id) => drop(self.here.insert(id, client)),
                Err(_) => self.wrong = Some(Wrong::Short(client.number, 0)),
            }
        }
        while self.flood.front().is_some_and(|at| *at <= now) {
            self.flood.pop_front();
            self.outbox.push(random_syn(&mut self.random));
        }
        for (id, client) in &mut self.here {
            let left = (self.bytes - client.written) as usize;
            if left > 0 {
                let data = Stream::Left.bytes(client.offset(client.written), left.min(4_096));
                client.written += self.endpoint.write(now, *id, data.into()) as u64;
                if client.written == self.bytes {
                    self.endpoint.shutdown(now, *id);
                }
            }
        }
        self.read(now);
    }

    fn read(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (id, client) in &mut self.here {
            loop {
                match self.endpoint.read(now, *id, usize::MAX) {
                    Read::Data(data) => {
                        let offset = client.offset(client.read);
                        if Stream::Left.difference(offset, &data).is_some() {
                            self.wrong = Some(Wrong::Byte(client.number, client.read));
                        }
                        client.read += data.len() as u64;
                    }
                    Read::Pending => break,
                    Read::End if client.read == self.bytes => {
                        gone.push(*id);
                        break;
                    }
                    Read::End | Read::Failed(_) => {
                        self.wrong = Some(Wrong::Short(client.number, client.read));
                        gone.push(*id);
                        break;
                    }
                }
            }
        }
        for id in gone {
            self.here.remove(&id);
            self.endpoint.release(now, id);
            self.served += 1;
        }
    }
}

impl EchoServer {
    fn new(crowd: &Crowd) -> Self {
        let mut endpoint = Endpoint::new(crowd.server.clone(), [2; 16]);
        let listener = endpoint
            .listen(ListenAt::Port(SERVER.1), crowd.backlog)
            .expect("it is the first");
        Self {
            endpoint,
            listener,
            served_at_once: crowd.served_at_once,
            here: BTreeMap::new(),
        }
    }

    fn work(&mut self, now: Instant) {
        loop {
            let is_room = self.here.len() < self.served_at_once;
            let next = is_room.then(|| self.endpoint.accept(self.listener));
            let Some(id) = next.flatten() else {
                break;
            };
            self.here.insert(id, VecDeque::new());
            self.serve(now);
        }
        self.serve(now);
    }

    fn serve(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (id, echo) in &mut self.here {
            let ended = loop {
                match self.endpoint.read(now, *id, usize::MAX) {
                    Read::Data(data) => echo.push_back(data),
                    Read::Pending => break false,
                    Read::End | Read::Failed(_) => break true,
                }
            };
            while let Some(mut data) = echo.pop_front() {
                let taken = self.endpoint.write(now, *id, data.clone());
                if taken < data.len() {
                    echo.push_front(data.split_off(taken));
                    break;
                }
            }
            if ended && echo.is_empty() {
                gone.push(*id);
            }
        }
        for id in gone {
            self.here.remove(&id);
            self.endpoint.release(now, id);
            self.here.extend(
                self.endpoint
                    .accept(self.listener)
                    .map(|id| (id, VecDeque::new())),
            );
        }
    }
}

impl Member {
    fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Clients(clients) => &clients.endpoint,
            Self::Server(server) => &server.endpoint,
        }
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        match self {
            Self::Clients(clients) => &mut clients.endpoint,
            Self::Server(server) => &mut server.endpoint,
        }
    }

    /// The users do what they can.
    fn work(&mut self, now: Instant) {
        match self {
            Self::Clients(clients) => clients.work(now),
            Self::Server(server) => server.work(now),
        }
    }

    fn served(&self) -> usize {
        match self {
            Self::Clients(clients) => clients.served,
            Self::Server(_) => 0,
        }
    }

    fn take_wrong(&mut self) -> Option<Wrong> {
        match self {
            Self::Clients(clients) => clients.wrong.take(),
            Self::Server(_) => None,
        }
    }
}

impl Host for Member {
    fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        let Ok(packet) = Packet::parse(&packet) else {
            return;
        };
        // What goes to the flood's addresses finds nobody, and so no answer.
        let is_flooded = matches!(packet.destination.ip(), IpAddr::V4(to) if to.octets()[0] == 10);
        if !is_flooded {
            self.endpoint_mut().handle_packet(now, packet);
            self.work(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint_mut().handle_timeout(now);
        self.work(now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        if let Self::Clients(clients) = self
            && let Some(packet) = clients.outbox.pop()
        {
            return Some(packet);
        }
        loop {
            if let Some(transmit) = self.endpoint_mut().poll_transmit(now, 1) {
                let packet = transmit.packets().next()?;
                let mut bytes = Vec::new();
                packet.encode(&mut bytes);
                return Some(bytes.into());
            }
            let mut is_news = false;
            while let Some(event) = self.endpoint_mut().poll_event() {
                is_news |= matches!(event, EndpointEvent::Acceptable(_));
                is_news |= matches!(event, EndpointEvent::Connection(..));
            }
            if !is_news {
                return None;
            }
            self.work(now);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = self.endpoint().poll_timeout().map(|due| due.at());
        let coming = match self {
            Self::Clients(clients) => [clients.arrivals.front(), clients.flood.front()],
            Self::Server(_) => [None; 2],
        };
        coming.into_iter().flatten().copied().chain(due).min()
    }
}

/// A SYN from where nobody is.
fn random_syn(random: &mut Random) -> Bytes {
    let number = random.next_u64();
    let [_, b, c, d, e, f, ..] = number.to_be_bytes();
    let mut segment = Segment::new(SeqNumber::new(number as u32), None);
    segment.flags = Flags::SYN;
    segment.window = 60_000;
    segment.options.mss = Some(1_460);
    let packet = Packet {
        source: SocketAddr::from(([10, b, c, d], u16::from_be_bytes([e, f]))),
        destination: SERVER.into(),
        ecn: Ecn::NotCapable,
        segment,
    };
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    bytes.into()
}
