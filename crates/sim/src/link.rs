//! One direction of a path between two hosts, and everything bad that it can do.

use std::time::Duration;

use crate::Instant;
use bytes::{Bytes, BytesMut};

use crate::random::Random;

/// How a link behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// How long a packet travels at least.
    pub delay: Duration,
    /// How much longer at most. This alone does not change the order of packets.
    pub jitter: Duration,
    /// Bytes in a second; `None` for as many as come.
    pub rate: Option<u64>,
    /// What may wait to be sent at `rate`; the packet that does not fit is lost.
    pub queue_bytes_max: usize,
    /// The largest packet; a larger one is lost, and counted apart.
    pub packet_bytes_max: usize,
    /// Which packets are lost.
    pub loss: Loss,
    /// How many in a million are held back, so that later ones overtake them.
    pub reorder: u32,
    /// For how long they are held back, at most.
    pub reorder_delay: Duration,
    /// How many in a million come twice.
    pub duplicate: u32,
    /// How many in a million come with bits flipped.
    pub corrupt: u32,
}

impl Default for LinkConfig {
    /// A link without a fault: 10 ms, as fast as can be.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            rate: None,
            queue_bytes_max: 256 * 1024,
            packet_bytes_max: 1500,
            loss: Loss::None,
            reorder: 0,
            reorder_delay: Duration::ZERO,
            duplicate: 0,
            corrupt: 0,
        }
    }
}

/// Which packets a link loses; all numbers are parts of a million.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// None.
    None,
    /// Each by itself.
    Independent(u32),
    /// In bursts: a good and a bad state (Gilbert and Elliott), with what each loses.
    Bursty {
        /// From good to bad, for each packet.
        worsens: u32,
        /// From bad to good, for each packet.
        recovers: u32,
        /// Lost in the bad state.
        bad: u32,
    },
    /// The packets with these numbers, counted from 0 in the order of sending.
    Chosen(Vec<u64>),
    /// The last of each so many.
    Every(u64),
}

/// What happened to the packets of a link: every fault that really fired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Handed to the link.
    pub sent: u64,
    /// The bytes of those.
    pub sent_bytes: u64,
    /// Lost on the way.
    pub lost: u64,
    /// Lost because the queue was full.
    pub overflowed: u64,
    /// Lost because they were larger than the link takes.
    pub oversized: u64,
    /// Arrived behind a packet that was sent later.
    pub reordered: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Sent on with bits flipped.
    pub corrupted: u64,
    /// Arrived, duplicates too.
    pub arrived: u64,
}

impl LinkCounters {
    /// Adds what happened on another link.
    pub fn add(&mut self, other: &Self) {
        let Self {
            sent,
            sent_bytes,
            lost,
            overflowed,
            oversized,
            reordered,
            duplicated,
            corrupted,
            arrived,
        } = other;
        self.sent += sent;
        self.sent_bytes += sent_bytes;
        self.lost += lost;
        self.overflowed += overflowed;
        self.oversized += oversized;
        self.reordered += reordered;
        self.duplicated += duplicated;
        self.corrupted += corrupted;
        self.arrived += arrived;
    }

    /// Every packet that was sent and did not arrive whole.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.lost + self.overflowed + self.oversized + self.corrupted
    }
}

/// What a link did with one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on its way.
    Passed,
    /// It goes on its way later than packets behind it may.
    HeldBack,
    /// It arrives twice.
    Duplicated,
    /// It arrives with bits flipped.
    Corrupted,
    /// It is lost on the way.
    Lost,
    /// It is lost because the queue is full.
    Overflowed,
    /// It is lost because it is larger than the link takes.
    Oversized,
}

impl Fate {
    /// What a trace says of it; nothing for a packet that simply went on its way.
    #[must_use]
    pub fn remark(self) -> &'static str {
        match self {
            Self::Passed => "",
            Self::HeldBack => "held back",
            Self::Duplicated => "duplicated",
            Self::Corrupted => "corrupted",
            Self::Lost => "LOST",
            Self::Overflowed => "LOST: queue full",
            Self::Oversized => "LOST: too large",
        }
    }
}

/// A packet under way.
#[derive(Debug, Clone)]
pub struct Passage {
    /// When it arrives.
    pub arrives: Instant,
    /// Its place in the order of sending.
    pub index: u64,
    /// What arrives.
    pub packet: Bytes,
}

/// One direction of a path.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    random: Random,
    counters: LinkCounters,
    is_bad: bool,
    /// When the last packet in the queue has left it.
    queue_empty_at: Instant,
    /// When the latest packet that was not held back arrives.
    in_order_until: Instant,
    /// The largest index that has arrived.
    latest_arrived: Option<u64>,
}

impl Link {
    /// A link in its good state with nothing under way.
    #[must_use]
    pub fn new(config: LinkConfig, random: Random) -> Self {
        Self {
            config,
            random,
            counters: LinkCounters::default(),
            is_bad: false,
            queue_empty_at: Instant::default(),
            in_order_until: Instant::default(),
            latest_arrived: None,
        }
    }

    /// How it behaves.
    #[must_use]
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// What has happened on it.
    #[must_use]
    pub fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// Takes a packet, says what becomes of it, and adds what will arrive to `passages`.
    pub fn send(&mut self, now: Instant, packet: Bytes, passages: &mut Vec<Passage>) -> Fate {
        let index = self.counters.sent;
        self.counters.sent += 1;
        self.counters.sent_bytes += packet.len() as u64;
        if packet.len() > self.config.packet_bytes_max {
            self.counters.oversized += 1;
            return Fate::Oversized;
        }
        let Some(departs) = self.enqueue(now, packet.len()) else {
            self.counters.overflowed += 1;
            return Fate::Overflowed;
        };
        if self.loses(index) {
            self.counters.lost += 1;
            return Fate::Lost;
        }
        let (arrives, mut fate) = self.travel(departs);
        let mut arriving = packet;
        if self.random.chance(self.config.corrupt) {
            arriving = self.flip_bits(&arriving);
            self.counters.corrupted += 1;
            fate = Fate::Corrupted;
        } else if self.random.chance(self.config.duplicate) {
            self.counters.duplicated += 1;
            fate = Fate::Duplicated;
            passages.push(Passage {
                arrives: arrives + self.up_to(self.config.delay + self.config.jitter),
                index,
                packet: arriving.clone(),
            });
        }
        passages.push(Passage {
            arrives,
            index,
            packet: arriving,
        });
        fate
    }

    /// Counts a packet that arrives.
    pub fn handle_arrival(&mut self, index: u64) {
        self.counters.arrived += 1;
        if self.latest_arrived.is_some_and(|latest| latest > index) {
            self.counters.reordered += 1;
        }
        self.latest_arrived = self.latest_arrived.max(Some(index));
    }

    /// When a packet of `bytes` has left the queue; `None` if it does not fit in.
    fn enqueue(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.config.rate else {
            return Some(now);
        };
        let starts = self.queue_empty_at.max(now);
        let waiting = starts.saturating_since(now).as_nanos() * u128::from(rate) / 1_000_000_000;
        if waiting + bytes as u128 > self.config.queue_bytes_max as u128 {
            return None;
        }
        let takes = bytes as u64 * 1_000_000_000 / rate;
        self.queue_empty_at = starts + Duration::from_nanos(takes);
        Some(self.queue_empty_at)
    }

    fn loses(&mut self, index: u64) -> bool {
        match &self.config.loss {
            Loss::None => false,
            Loss::Independent(part) => self.random.chance(*part),
            Loss::Bursty {
                worsens,
                recovers,
                bad,
            } => {
                let turns = if self.is_bad { *recovers } else { *worsens };
                self.is_bad ^= self.random.chance(turns);
                self.is_bad && self.random.chance(*bad)
            }
            Loss::Chosen(indices) => indices.contains(&index),
            Loss::Every(count) => (index + 1).is_multiple_of(*count),
        }
    }

    fn travel(&mut self, departs: Instant) -> (Instant, Fate) {
        let arrives = departs + self.config.delay + self.up_to(self.config.jitter);
        if self.random.chance(self.config.reorder) {
            let held_back = self.up_to(self.config.reorder_delay);
            return (arrives + held_back, Fate::HeldBack);
        }
        self.in_order_until = self.in_order_until.max(arrives);
        (self.in_order_until, Fate::Passed)
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        match u64::try_from(longest.as_nanos()) {
            Ok(0) | Err(_) => Duration::ZERO,
            Ok(nanos) => Duration::from_nanos(self.random.between(0..=nanos)),
        }
    }

    /// Flips 1 to 15 neighbouring bits: what the Internet checksum always notices (RFC 1071
    /// leaves two flips that cancel each other unseen, and they would say nothing about a stack).
    fn flip_bits(&mut self, packet: &Bytes) -> Bytes {
        let mut damaged = BytesMut::from(&packet[..]);
        let bits = damaged.len() * 8;
        if bits == 0 {
            return damaged.freeze();
        }
        let length = self.random.between(1..=15) as usize;
        let first = self.random.below(bits as u64) as usize;
        let pattern = self.random.next_u64() | 1;
        for offset in 0..length {
            let bit = first + offset;
            if bit < bits && pattern >> offset & 1 == 1 {
                damaged[bit / 8] ^= 0x80 >> (bit % 8);
            }
        }
        damaged.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: LinkConfig, packets: u64, gap: Duration) -> (Link, Vec<Passage>) {
        let mut link = Link::new(config, Random::new(1));
        let mut passages = Vec::new();
        for number in 0..packets {
            let now = Instant::default() + gap * number as u32;
            link.send(now, Bytes::from(vec![number as u8; 1000]), &mut passages);
        }
        passages.sort_by_key(|passage| passage.arrives);
        for passage in &passages {
            link.handle_arrival(passage.index);
        }
        (link, passages)
    }

    #[test]
    fn each_fault_fires_as_often_as_asked() {
        let tenth = LinkConfig {
            loss: Loss::Independent(100_000),
            ..LinkConfig::default()
        };
        let (link, passages) = run(tenth, 10_000, Duration::from_millis(1));
        let counters = link.counters();
        assert!((800..1200).contains(&counters.lost), "{counters:?}");
        assert_eq!(counters.arrived, 10_000 - counters.lost);
        assert_eq!(passages.len() as u64, counters.arrived);
        assert_eq!(counters.reordered, 0);

        let faults = LinkConfig {
            jitter: Duration::from_millis(5),
            reorder: 100_000,
            reorder_delay: Duration::from_millis(20),
            duplicate: 100_000,
            corrupt: 100_000,
            ..LinkConfig::default()
        };
        let (link, _) = run(faults, 10_000, Duration::from_millis(1));
        let counters = link.counters();
        assert!((800..1200).contains(&counters.corrupted), "{counters:?}");
        assert!((700..1100).contains(&counters.duplicated), "{counters:?}");
        assert!(counters.reordered > 800, "{counters:?}");
        assert_eq!(counters.arrived, 10_000 + counters.duplicated);
    }

    #[test]
    fn bursts_lose_neighbours() {
        let bursty = LinkConfig {
            loss: Loss::Bursty {
                worsens: 10_000,
                recovers: 200_000,
                bad: 900_000,
            },
            ..LinkConfig::default()
        };
        let (link, passages) = run(bursty, 20_000, Duration::from_millis(1));
        let lost = link.counters().lost;
        // One state change in a hundred, five packets in each: about 1 in 21 is in a burst.
        assert!((500..1300).contains(&lost), "{lost}");
        let bursts = passages
            .windows(2)
            .filter(|pair| pair[1].index > pair[0].index + 1)
            .count() as u64;
        assert!(lost > bursts * 2, "{lost} in {bursts} bursts");
    }

    #[test]
    fn jitter_alone_keeps_the_order() {
        let config = LinkConfig {
            jitter: Duration::from_millis(50),
            ..LinkConfig::default()
        };
        let (link, passages) = run(config, 1000, Duration::from_millis(1));
        assert_eq!(link.counters().reordered, 0);
        assert!(passages.windows(2).all(|p| p[0].index < p[1].index));
    }

    #[test]
    fn a_slow_link_queues_and_then_loses() {
        let config = LinkConfig {
            rate: Some(100_000),
            queue_bytes_max: 10_000,
            ..LinkConfig::default()
        };
        let (link, passages) = run(config, 20, Duration::ZERO);
        assert_eq!(link.counters().overflowed, 10);
        // 1000 bytes at 100 kB/s are 10 ms each, and then 10 ms of way.
        for (place, passage) in passages.iter().enumerate() {
            let after = Duration::from_millis(10 * (place as u64 + 1) + 10);
            assert_eq!(passage.arrives, Instant::default() + after);
        }
    }

    #[test]
    fn a_packet_that_is_too_large_is_counted() {
        let config = LinkConfig {
            packet_bytes_max: 999,
            ..LinkConfig::default()
        };
        let (link, passages) = run(config, 3, Duration::ZERO);
        assert_eq!((link.counters().oversized, passages.len()), (3, 0));
    }

    #[test]
    fn flipped_bits_are_few_and_close() {
        let config = LinkConfig {
            corrupt: crate::random::MILLION,
            ..LinkConfig::default()
        };
        let mut link = Link::new(config, Random::new(3));
        let clean = Bytes::from(vec![0_u8; 60]);
        for _ in 0..1000 {
            let mut passages = Vec::new();
            assert_eq!(
                link.send(Instant::default(), clean.clone(), &mut passages),
                Fate::Corrupted
            );
            let flipped: Vec<usize> = (0..480)
                .filter(|bit| passages[0].packet[bit / 8] & (0x80 >> (bit % 8)) != 0)
                .collect();
            let (first, last) = (flipped[0], flipped[flipped.len() - 1]);
            assert!(last - first < 15, "{flipped:?}");
        }
    }
}
