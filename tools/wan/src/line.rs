//! One direction of the wire, as a state machine: the time is an argument, so that it can be tested
//! without a clock, a device or a thread.
//!
//! A packet passes the check of its length, the bottleneck (queue, tail drop, mark, its time on the
//! line), the line (cuts, outages, loss, bit errors), and the way (delay, jitter, reordering,
//! duplication). Loss comes after the bottleneck: a lost packet has used up its share of the rate.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::packet::{flip_bit, mark_congestion};
use crate::quantity::{QueueLimit, SECOND_NS};
use crate::random::Random;
use crate::settings::LineSettings;

/// Buffers that are kept for the next packets.
const SPARE_BUFFERS_MAX: usize = 65_536;

/// What has happened so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) in_packets: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_packets: u64,
    pub(crate) out_bytes: u64,
    pub(crate) drop_queue: u64,
    pub(crate) drop_loss: u64,
    pub(crate) drop_burst: u64,
    pub(crate) drop_cut: u64,
    pub(crate) drop_path_mtu: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
    pub(crate) corrupted_silent: u64,
    pub(crate) marked: u64,
    pub(crate) queue_bytes_max: u64,
    pub(crate) queue_packets_max: u64,
    pub(crate) queue_delay_ns_max: u64,
    pub(crate) first_out_ns: u64,
    pub(crate) last_out_ns: u64,
}

/// A packet on its way. They are ordered by when they arrive.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Travelling {
    pub(crate) due_ns: u64,
    number: u64,
    pub(crate) packet: Vec<u8>,
}

/// Buffers for packets, used again and again.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Vec<Vec<u8>>);

/// One direction. Times are in nanoseconds of one clock.
#[derive(Debug)]
pub(crate) struct Line {
    settings: LineSettings,
    counts: Counts,
    start_ns: u64,
    dice: Dice,
    is_bad: bool,
    is_down: bool,
    outage_changes_ns: u64,
    bottleneck: Bottleneck,
    last_due_ns: u64,
    next_number: u64,
    /// Nearly all packets are in order, and kept out of the heap.
    in_order: VecDeque<Travelling>,
    out_of_order: BinaryHeap<Reverse<Travelling>>,
}

/// A stream of random numbers for each kind of trouble: to switch one on does not change which
/// packets another one hits.
#[derive(Debug)]
struct Dice {
    seed: u64,
    loss: Random,
    burst: Random,
    outage: Random,
    reorder: Random,
    duplicate: Random,
    corrupt: Random,
    corrupt_silent: Random,
    jitter: Random,
}

/// The queue before the slowest place.
#[derive(Debug)]
struct Bottleneck {
    busy_until_ns: u64,
    /// When each packet will have left, and its bytes.
    waiting: VecDeque<(u64, u64)>,
    waiting_bytes: u64,
}

impl Buffers {
    /// An empty one, with whatever room it has.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if self.0.len() < SPARE_BUFFERS_MAX {
            self.0.push(buffer);
        }
    }
}

impl Line {
    /// A line that is idle at `start_ns`. Its settings are resolved.
    pub(crate) fn new(settings: LineSettings, seed: u64, start_ns: u64) -> Self {
        let mut dice = Dice::new(seed);
        let outage_changes_ns = match settings.outage_ns {
            Some((up, _)) => start_ns + dice.outage.exponential(up),
            None => u64::MAX,
        };
        Self {
            settings,
            counts: Counts::default(),
            start_ns,
            dice,
            is_bad: false,
            is_down: false,
            outage_changes_ns,
            bottleneck: Bottleneck {
                busy_until_ns: start_ns,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
            },
            last_due_ns: 0,
            next_number: 0,
            in_order: VecDeque::new(),
            out_of_order: BinaryHeap::new(),
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Packets that are on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_order.len() + self.out_of_order.len()
    }

    /// Takes a packet at the near end.
    pub(crate) fn handle_packet(&mut self, now: u64, mut packet: Vec<u8>, buffers: &mut Buffers) {
        self.counts.in_packets += 1;
        self.counts.in_bytes += packet.len() as u64;
        let departs = self
            .pass_bottleneck(now, &mut packet)
            .filter(|&at| self.survives(at));
        let Some(departs) = departs else {
            return buffers.put(packet);
        };
        self.hurt(&mut packet);
        let (due_ns, keeps_order) = self.arrival(departs);
        if self.dice.duplicate.hits(self.settings.duplicate) {
            self.counts.duplicated += 1;
            let mut copy = buffers.take();
            copy.extend_from_slice(&packet);
            self.schedule(due_ns, copy, keeps_order);
        }
        self.schedule(due_ns, packet, keeps_order);
    }

    /// When the next packet arrives.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let heaped = self.out_of_order.peek().map(|Reverse(next)| next.due_ns);
        let first = self.in_order.front().map(|next| next.due_ns);
        heaped.into_iter().chain(first).min()
    }

    /// The next packet that has arrived at the far end.
    pub(crate) fn poll_packet(&mut self, now: u64) -> Option<Travelling> {
        if self.poll_timeout()? > now {
            return None;
        }
        let from_heap = match (self.in_order.front(), self.out_of_order.peek()) {
            (Some(first), Some(Reverse(heaped))) => heaped < first,
            (first, _) => first.is_none(),
        };
        let next = match from_heap {
            true => self.out_of_order.pop()?.0,
            false => self.in_order.pop_front()?,
        };
        if self.counts.out_packets == 0 {
            self.counts.first_out_ns = now;
        }
        self.counts.last_out_ns = now;
        self.counts.out_packets += 1;
        self.counts.out_bytes += next.packet.len() as u64;
        Some(next)
    }

    /// When the packet has left the bottleneck; `None` if it is dropped there or before.
    fn pass_bottleneck(&mut self, now: u64, packet: &mut [u8]) -> Option<u64> {
        let Self {
            settings,
            counts,
            bottleneck,
            ..
        } = self;
        if settings.path_mtu_bytes > 0 && packet.len() > settings.path_mtu_bytes {
            counts.drop_path_mtu += 1;
            return None;
        }
        if settings.rate_bits == 0 {
            return Some(now);
        }
        let bytes = packet.len() as u64;
        bottleneck.forget_what_left(now);
        let overflows = |limit: Option<QueueLimit>| {
            limit.is_some_and(|limit| bottleneck.would_exceed(limit, bytes))
        };
        if overflows(settings.queue) && !bottleneck.waiting.is_empty() {
            counts.drop_queue += 1;
            return None;
        }
        if overflows(settings.mark_above) && mark_congestion(packet) {
            counts.marked += 1;
        }
        let on_line_ns = (bytes + settings.overhead_bytes) * 8 * SECOND_NS / settings.rate_bits;
        let begins = bottleneck.busy_until_ns.max(now);
        let departs = begins + on_line_ns;
        bottleneck.busy_until_ns = departs;
        bottleneck.waiting.push_back((departs, bytes));
        bottleneck.waiting_bytes += bytes;
        counts.queue_bytes_max = counts.queue_bytes_max.max(bottleneck.waiting_bytes);
        let waiting = bottleneck.waiting.len() as u64;
        counts.queue_packets_max = counts.queue_packets_max.max(waiting);
        counts.queue_delay_ns_max = counts.queue_delay_ns_max.max(begins - now);
        Some(departs)
    }

    /// Whether a packet that departs then is not lost on the line.
    fn survives(&mut self, departs: u64) -> bool {
        while let Some((up, down)) = self.settings.outage_ns
            && departs >= self.outage_changes_ns
        {
            self.is_down = !self.is_down;
            let mean = if self.is_down { down } else { up };
            // At least a nanosecond: with a mean of nothing this would not end.
            self.outage_changes_ns += self.dice.outage.exponential(mean).max(1);
        }
        let since_start = departs.saturating_sub(self.start_ns);
        let mut cuts = self.settings.cuts_ns.iter();
        let is_cut = cuts.any(|&(start, length)| (start..start + length).contains(&since_start));
        if self.is_down || is_cut {
            self.counts.drop_cut += 1;
            return false;
        }
        if let Some(burst) = self.settings.burst_loss {
            let turns = match self.is_bad {
                true => burst.bad_to_good,
                false => burst.good_to_bad,
            };
            self.is_bad ^= self.dice.burst.hits(turns);
            let loss = match self.is_bad {
                true => burst.loss_in_bad,
                false => burst.loss_in_good,
            };
            if self.dice.burst.hits(loss) {
                self.counts.drop_burst += 1;
                return false;
            }
        }
        let is_lost = self.dice.loss.hits(self.settings.loss);
        self.counts.drop_loss += u64::from(is_lost);
        !is_lost
    }

    fn hurt(&mut self, packet: &mut [u8]) {
        let dice = &mut self.dice.corrupt;
        if dice.hits(self.settings.corrupt) && flip_bit(packet, dice.next(), false) {
            self.counts.corrupted += 1;
        }
        let dice = &mut self.dice.corrupt_silent;
        if dice.hits(self.settings.corrupt_silent) && flip_bit(packet, dice.next(), true) {
            self.counts.corrupted_silent += 1;
        }
    }

    /// When a packet that departs then arrives, and whether it stays behind those before it.
    fn arrival(&mut self, departs: u64) -> (u64, bool) {
        let mut due = departs + self.settings.delay_ns;
        let mut keeps_order = true;
        if self.settings.jitter_ns > 0 {
            let share = if self.settings.jitter_reorders {
                keeps_order = false;
                self.dice.jitter.unit() * 2.0 - 1.0
            } else {
                self.wander(departs)
            };
            let offset = (share * self.settings.jitter_ns as f64) as i64;
            due = due.saturating_add_signed(offset).max(departs);
        }
        if self.dice.reorder.hits(self.settings.reorder) {
            let share = 0.1 + 0.9 * self.dice.reorder.unit();
            due += (self.settings.reorder_by_ns as f64 * share) as u64;
            keeps_order = false;
            self.counts.reordered += 1;
        }
        if keeps_order {
            due = due.max(self.last_due_ns);
            self.last_due_ns = due;
        }
        (due, keeps_order)
    }

    /// Where between -1 and 1 the jitter is that keeps the order: at a new place every period, and
    /// on a straight line between.
    fn wander(&self, at: u64) -> f64 {
        let period = self.settings.jitter_period_ns;
        let since_start = at.saturating_sub(self.start_ns);
        let place =
            |number| Random::stream(self.dice.seed ^ 0x6a09_e667, number).unit() * 2.0 - 1.0;
        let (before, share) = (since_start / period, since_start % period);
        let share = share as f64 / period as f64;
        place(before) * (1.0 - share) + place(before + 1) * share
    }

    fn schedule(&mut self, due_ns: u64, packet: Vec<u8>, keeps_order: bool) {
        self.next_number += 1;
        let travelling = Travelling {
            due_ns,
            number: self.next_number,
            packet,
        };
        let is_last = |last: &Travelling| last.due_ns <= due_ns;
        if keeps_order && self.in_order.back().is_none_or(is_last) {
            self.in_order.push_back(travelling);
        } else {
            self.out_of_order.push(Reverse(travelling));
        }
    }
}

impl Bottleneck {
    fn forget_what_left(&mut self, now: u64) {
        while let Some(&(leaves, bytes)) = self.waiting.front()
            && leaves <= now
        {
            self.waiting.pop_front();
            self.waiting_bytes -= bytes;
        }
    }

    fn would_exceed(&self, limit: QueueLimit, bytes: u64) -> bool {
        match limit {
            QueueLimit::Bytes(max) => self.waiting_bytes + bytes > max,
            QueueLimit::Packets(max) => self.waiting.len() as u64 + 1 > max,
            QueueLimit::BandwidthDelayProducts(_) => unreachable!("the settings were resolved"),
        }
    }
}

impl Dice {
    fn new(seed: u64) -> Self {
        let stream = |number| Random::stream(seed, number);
        Self {
            seed,
            loss: stream(1),
            burst: stream(2),
            outage: stream(3),
            reorder: stream(4),
            duplicate: stream(5),
            corrupt: stream(6),
            corrupt_silent: stream(7),
            jitter: stream(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::packet;

    const MS: u64 = 1_000_000;

    fn line(list: &str, seed: u64) -> Line {
        let mut settings = LineSettings::default();
        settings.set_all(list).unwrap();
        settings.resolve(1_500);
        Line::new(settings, seed, 0)
    }

    /// Sends packets of 1,500 bytes so far apart; gives the number and time of each that arrived.
    fn send(line: &mut Line, packets: u32, apart_ns: u64) -> Vec<(u32, u64)> {
        let mut buffers = Buffers::default();
        for number in 0..packets {
            let mut packet = packet(6, 12, 1_448);
            packet[24..28].copy_from_slice(&number.to_be_bytes());
            line.handle_packet(u64::from(number) * apart_ns, packet, &mut buffers);
        }
        let arrived = std::iter::from_fn(|| line.poll_packet(u64::MAX));
        arrived
            .map(|next| {
                let number = next.packet[24..28].try_into().unwrap();
                (u32::from_be_bytes(number), next.due_ns)
            })
            .collect()
    }

    #[test]
    fn rate_and_delay_are_exact() {
        // A packet of 1,500 bytes takes a millisecond at 12 Mbit/s.
        let arrived = send(&mut line("delay=50ms,rate=12mbit,queue=10MB", 1), 1_000, 0);
        let expected = (0..1_000).map(|number| (number, (u64::from(number) + 51) * MS));
        assert_eq!(arrived, expected.collect::<Vec<_>>());
    }

    #[test]
    fn the_queue_holds_what_it_holds() {
        for (list, apart_ns, packets, arrive) in [
            ("rate=12mbit,queue=15000B", 0, 100, 10),
            ("rate=12mbit,queue=7p", 0, 100, 7),
            // At exactly the rate there is no queue.
            ("rate=12mbit,queue=2p", MS, 1_000, 1_000),
        ] {
            let mut line = line(list, 1);
            assert_eq!(send(&mut line, packets, apart_ns).len(), arrive, "{list}");
            assert_eq!(line.counts.drop_queue, u64::from(packets) - arrive as u64);
            assert!(line.counts.queue_packets_max <= 10, "{:?}", line.counts);
        }
    }

    #[test]
    fn loss_is_as_asked_and_the_same_again() {
        let run = |list, seed| send(&mut line(list, seed), 100_000, 1_000);
        let numbers = |arrived: Vec<(u32, u64)>| -> Vec<_> {
            arrived.into_iter().map(|(number, _)| number).collect()
        };
        let arrived = numbers(run("loss=3%", 7));
        let lost = 100_000 - arrived.len();
        assert!((2_800..3_200).contains(&lost), "{lost}");
        assert_eq!(arrived, numbers(run("loss=3%", 7)));
        assert_ne!(arrived, numbers(run("loss=3%", 8)));
        // Other trouble does not move the losses.
        let troubled = run("loss=3%,corrupt=10%,delay=1ms", 7);
        assert_eq!(arrived, numbers(troubled));
    }

    #[test]
    fn bursts_are_as_long_and_as_many_as_asked() {
        let arrived = send(&mut line("ge=0.1%:10%", 3), 400_000, 1_000);
        let lost = 400_000 - arrived.len();
        assert!((3_000..5_000).contains(&lost), "1 % was asked: {lost}");
        let gaps = arrived.windows(2).filter(|two| two[1].0 != two[0].0 + 1);
        let mean = lost as f64 / gaps.count() as f64;
        assert!((8.0..12.5).contains(&mean), "10 was asked: {mean}");
    }

    #[test]
    fn jitter_keeps_the_order_unless_told() {
        let arrived = send(&mut line("delay=100ms,jitter=20ms", 3), 50_000, 240_000);
        assert!(arrived.windows(2).all(|two| two[0].0 < two[1].0));
        let offsets = arrived
            .iter()
            .map(|&(number, due)| due as i64 - i64::from(number) * 240_000 - 100 * MS as i64);
        let (least, most) = offsets.fold((0, 0), |(least, most), offset| {
            (offset.min(least), offset.max(most))
        });
        let ms = MS as i64;
        assert!((-20 * ms..-15 * ms).contains(&least), "{least}");
        assert!((15 * ms..=20 * ms).contains(&most), "{most}");

        let list = "delay=100ms,jitter=20ms,jitter-reorder=true";
        let arrived = send(&mut line(list, 3), 5_000, 240_000);
        assert_eq!(arrived.len(), 5_000);
        assert!(arrived.windows(2).any(|two| two[0].0 > two[1].0));
        assert!(arrived.windows(2).all(|two| two[0].1 <= two[1].1));
    }

    #[test]
    fn each_trouble_comes_as_often_as_asked() {
        let mut restless = line("delay=10ms,reorder=1%,dup=2%", 3);
        let arrived = send(&mut restless, 50_000, 100_000);
        let counts = restless.counts();
        assert!((400..600).contains(&counts.reordered), "{counts:?}");
        assert!((900..1_100).contains(&counts.duplicated), "{counts:?}");
        assert_eq!(arrived.len() as u64, 50_000 + counts.duplicated);
        assert!(arrived.windows(2).any(|two| two[0].0 > two[1].0));
        assert!(arrived.windows(2).all(|two| two[0].1 <= two[1].1));

        let mut wrong = line("corrupt=1%,corrupt-silent=1%", 3);
        send(&mut wrong, 50_000, 100_000);
        assert!((400..600).contains(&wrong.counts.corrupted));
        assert!((400..600).contains(&wrong.counts.corrupted_silent));

        let mut cut = line("cut=1s:500ms", 3);
        assert_eq!(send(&mut cut, 2_000, MS).len(), 1_500);
        assert_eq!(cut.counts.drop_cut, 500);

        let mut outages = line("outage=100ms:100ms", 3);
        let up = send(&mut outages, 20_000, MS).len();
        assert!((8_000..12_000).contains(&up), "half was asked: {up}");

        let mut narrow = line("pmtu=1400", 3);
        assert_eq!(send(&mut narrow, 10, 1).len(), 0);
        assert_eq!(narrow.counts.drop_path_mtu, 10);

        let mut marking = line("rate=12mbit,queue=100p,ecn=10p", 3);
        send(&mut marking, 50, 0);
        assert_eq!((marking.counts.marked, marking.counts.drop_queue), (40, 0));
    }
}
