//! Two hosts, the path between them, and the time that passes for both.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use bytes::Bytes;

use crate::Instant;
use crate::link::{Link, LinkConfig, Passage};
use crate::monitor::{Foul, Monitor};
use crate::random::Random;
use crate::trace::Trace;

/// The most packets that a host may send without time going on: more is a storm.
pub const PACKETS_PER_INSTANT_MAX: u32 = 20_000;

/// The most turns that a host may ask for without time going on: more is a livelock.
pub const TURNS_PER_INSTANT_MAX: u32 = 1_000;

/// What a world needs of a host: the verbs of every engine in this house.
pub trait Host {
    /// Takes a packet, from its IP header on.
    fn handle_packet(&mut self, now: Instant, packet: Bytes);

    /// The time that `poll_timeout` asked for has come.
    fn handle_timeout(&mut self, now: Instant);

    /// The next packet to send; called until there is none.
    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes>;

    /// When this host next needs the clock.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// One of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that calls.
    Left,
    /// The one that is called.
    Right,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// The one at the other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// 0 for left, 1 for right.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something happened.
    Went,
    /// Nothing is under way and nobody waits for the clock: nothing will ever happen again.
    Quiet,
}

/// What a host must never do: not let time go on, or break a rule that can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It sends and sends.
    #[error("{side:?} sent {PACKETS_PER_INSTANT_MAX} packets at once, {} ns after the beginning", at.as_nanos())]
    Storm {
        /// Who.
        side: Side,
        /// When.
        at: Instant,
    },
    /// It breaks a rule.
    #[error("{foul}, {} ns after the beginning", .at.as_nanos())]
    Foul {
        /// Which.
        foul: Foul,
        /// When.
        at: Instant,
    },
    /// Its deadline has come and stays where it is.
    #[error("{side:?} asks for the clock over and over, {} ns after the beginning", at.as_nanos())]
    Livelock {
        /// Who.
        side: Side,
        /// When.
        at: Instant,
    },
}

/// Two hosts and the two links between them, all from one seed.
#[derive(Debug)]
pub struct World<H> {
    now: Instant,
    hosts: [H; 2],
    /// By sender.
    links: [Link; 2],
    arrivals: BinaryHeap<Reverse<Arrival>>,
    arrivals_made: u64,
    turns_now: [u32; 2],
    packets_now: [u32; 2],
    trace: Option<Trace>,
    monitor: Option<Monitor>,
    passages: Vec<Passage>,
}

impl<H: Host> World<H> {
    /// A world at its beginning; each link belongs to the host that sends on it.
    #[must_use]
    pub fn new(hosts: [H; 2], links: [LinkConfig; 2], random: &mut Random) -> Self {
        Self {
            now: Instant::default(),
            hosts,
            links: links.map(|config| Link::new(config, random.fork())),
            arrivals: BinaryHeap::new(),
            arrivals_made: 0,
            turns_now: [0; 2],
            packets_now: [0; 2],
            trace: None,
            monitor: None,
            passages: Vec::new(),
        }
    }

    /// Keeps every packet from now on.
    pub fn record(&mut self) {
        self.trace = Some(Trace::default());
    }

    /// Watches every segment from now on.
    pub fn watch(&mut self) {
        self.monitor = Some(Monitor::default());
    }

    /// What was kept.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// What was kept, taken out of the world.
    pub fn take_trace(&mut self) -> Option<Trace> {
        self.trace.take()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A host.
    #[must_use]
    pub fn host(&self, side: Side) -> &H {
        &self.hosts[side.index()]
    }

    /// A host, to be changed; call `flush` afterwards.
    pub fn host_mut(&mut self, side: Side) -> &mut H {
        &mut self.hosts[side.index()]
    }

    /// The link that `side` sends on.
    #[must_use]
    pub fn link(&self, side: Side) -> &Link {
        &self.links[side.index()]
    }

    /// Takes what the hosts have to send now.
    ///
    /// # Errors
    /// `Storm`: one of them does not end.
    pub fn flush(&mut self) -> Result<(), Fault> {
        for side in Side::BOTH {
            self.transmit(side)?;
        }
        Ok(())
    }

    /// When something happens next; `None` if nothing ever will.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        let arrival = self.arrivals.peek().map(|next| next.0.at);
        let timeouts = self.hosts.iter().filter_map(Host::poll_timeout);
        timeouts.chain(arrival).min().map(|at| at.max(self.now))
    }

    /// Goes on to the next event and lets it happen.
    ///
    /// # Errors
    /// `Fault`: a host does not let time go on.
    pub fn step(&mut self) -> Result<Step, Fault> {
        let Some(next) = self.next_event() else {
            return Ok(Step::Quiet);
        };
        if next > self.now {
            self.now = next;
            self.turns_now = [0; 2];
            self.packets_now = [0; 2];
        }
        match self.arrivals.peek() {
            Some(arrival) if arrival.0.at <= self.now => self.deliver()?,
            _ => self.wake()?,
        }
        Ok(Step::Went)
    }

    fn deliver(&mut self) -> Result<(), Fault> {
        let Some(Reverse(arrival)) = self.arrivals.pop() else {
            return Ok(());
        };
        let Arrival { to, passage, .. } = arrival;
        self.links[to.other().index()].handle_arrival(passage.index);
        if let Some(trace) = &mut self.trace {
            trace.receive(self.now, to, passage.packet.clone());
        }
        if let Some(monitor) = &mut self.monitor {
            monitor.on_arrived(to, &passage.packet);
        }
        self.hosts[to.index()].handle_packet(self.now, passage.packet);
        self.transmit(to)
    }

    fn wake(&mut self) -> Result<(), Fault> {
        for side in Side::BOTH {
            let host = &mut self.hosts[side.index()];
            if host.poll_timeout().is_none_or(|at| at > self.now) {
                continue;
            }
            self.turns_now[side.index()] += 1;
            if self.turns_now[side.index()] > TURNS_PER_INSTANT_MAX {
                let at = self.now;
                return Err(Fault::Livelock { side, at });
            }
            host.handle_timeout(self.now);
            self.transmit(side)?;
        }
        Ok(())
    }

    fn transmit(&mut self, from: Side) -> Result<(), Fault> {
        let (sender, to) = (from.index(), from.other());
        while let Some(packet) = self.hosts[sender].poll_transmit(self.now) {
            self.packets_now[sender] += 1;
            if self.packets_now[sender] > PACKETS_PER_INSTANT_MAX {
                let at = self.now;
                return Err(Fault::Storm { side: from, at });
            }
            let watched = match &mut self.monitor {
                Some(monitor) => monitor.on_sent(from, &packet),
                None => Ok(()),
            };
            let kept = self.trace.as_ref().map(|_| packet.clone());
            let fate = self.links[sender].send(self.now, packet, &mut self.passages);
            if let (Some(trace), Some(packet)) = (&mut self.trace, kept) {
                trace.send(self.now, from, packet, fate);
            }
            if let Err(foul) = watched {
                return Err(Fault::Foul { foul, at: self.now });
            }
            for passage in self.passages.drain(..) {
                let at = passage.arrives;
                let number = self.arrivals_made;
                self.arrivals_made += 1;
                self.arrivals.push(Reverse(Arrival {
                    at,
                    number,
                    to,
                    passage,
                }));
            }
        }
        Ok(())
    }
}

/// A packet on its way, in the order of arrival; of two at the same time the older one is first.
#[derive(Debug)]
struct Arrival {
    at: Instant,
    number: u64,
    to: Side,
    passage: Passage,
}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Arrival {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::link::Loss;

    /// Sends a packet each millisecond until `left` is 0, and counts what comes.
    #[derive(Debug, Default)]
    struct Ticker {
        left: u32,
        due: Option<Instant>,
        outbox: Vec<Bytes>,
        came: Vec<(Instant, Bytes)>,
        is_mad: bool,
        is_stuck: bool,
    }

    impl Ticker {
        fn new(left: u32) -> Self {
            Self {
                left,
                due: (left > 0).then_some(Instant::default()),
                ..Self::default()
            }
        }
    }

    impl Host for Ticker {
        fn handle_packet(&mut self, now: Instant, packet: Bytes) {
            self.came.push((now, packet));
        }

        fn handle_timeout(&mut self, now: Instant) {
            if self.is_stuck {
                return;
            }
            self.left -= 1;
            self.outbox
                .push(Bytes::from(self.left.to_be_bytes().to_vec()));
            self.due = (self.left > 0).then(|| now + Duration::from_millis(1));
        }

        fn poll_transmit(&mut self, _now: Instant) -> Option<Bytes> {
            if self.is_mad {
                return Some(Bytes::from_static(b"again"));
            }
            self.outbox.pop()
        }

        fn poll_timeout(&self) -> Option<Instant> {
            self.due
        }
    }

    fn world(hosts: [Ticker; 2], seed: u64) -> World<Ticker> {
        let bad = LinkConfig {
            jitter: Duration::from_millis(3),
            loss: Loss::Independent(100_000),
            reorder: 100_000,
            reorder_delay: Duration::from_millis(10),
            duplicate: 50_000,
            corrupt: 50_000,
            ..LinkConfig::default()
        };
        let mut random = Random::new(seed);
        let mut world = World::new(hosts, [bad.clone(), bad], &mut random);
        world.record();
        world
    }

    fn finish(world: &mut World<Ticker>) {
        while world.step() == Ok(Step::Went) {}
    }

    #[test]
    fn the_same_seed_is_the_same_world() {
        let run = |seed| {
            let mut world = world([Ticker::new(500), Ticker::new(300)], seed);
            finish(&mut world);
            let counters = Side::BOTH.map(|side| *world.link(side).counters());
            (world.take_trace().expect("was recorded"), counters)
        };
        let (trace, counters) = run(11);
        assert_eq!((counters[0].sent, counters[1].sent), (500, 300));
        assert_eq!((trace.clone(), counters), run(11));
        assert_ne!(trace, run(12).0);
    }

    #[test]
    fn what_is_sent_arrives_after_the_delay() {
        let links = [LinkConfig::default(), LinkConfig::default()];
        let hosts = [Ticker::new(3), Ticker::new(0)];
        let mut world = World::new(hosts, links, &mut Random::new(1));
        finish(&mut world);
        let times: Vec<_> = world.host(Side::Right).came.iter().map(|c| c.0).collect();
        let at = |ms| Instant::default() + Duration::from_millis(ms);
        assert_eq!(times, [at(10), at(11), at(12)]);
        assert_eq!(world.now(), at(12));
    }

    #[test]
    fn who_does_not_let_time_go_on_is_named() {
        let mut mad = world([Ticker::new(0), Ticker::new(1)], 1);
        mad.host_mut(Side::Right).is_mad = true;
        let (side, at) = (Side::Right, Instant::default());
        assert_eq!(mad.step(), Err(Fault::Storm { side, at }));

        let mut stuck = world([Ticker::new(1), Ticker::new(0)], 1);
        stuck.host_mut(Side::Left).is_stuck = true;
        let stalled = (0..2 * TURNS_PER_INSTANT_MAX).find_map(|_| stuck.step().err());
        let side = Side::Left;
        assert_eq!(stalled, Some(Fault::Livelock { side, at }));
    }
}
