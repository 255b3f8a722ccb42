//! The segment that nearly every one is to who receives: the next, with nothing but its data that
//! is new (what Van Jacobson called header prediction).

use super::Connection;
use crate::time::Instant;
use crate::wire::{Flags, Segment};

impl Connection {
    /// Whether `segment` is the next of the peer's, and acknowledges what the one before it did.
    ///
    /// In ESTABLISHED, what RFC 9293 §3.10.7.4 asks for then comes to what `take_expected` does.
    #[inline]
    pub(super) fn is_expected(&self, now: Instant, segment: &Segment) -> bool {
        let Some(receiver) = &self.receiver else {
            return false;
        };
        let in_time = match (&self.timestamps, &segment.options.timestamps) {
            (Some(state), Some(stamp)) => !state.is_old(stamp.value, now),
            _ => true,
        };
        let window = u64::from(segment.window) << self.peer_shift;
        segment.flags.without(Flags::PSH) == Flags::NONE
            && receiver.expects(segment.seq, segment.payload.len() as u64)
            && segment.ack == Some(self.sender.space().number(self.sender.next()))
            && segment.options.sack.is_empty()
            && self.sender.learns_nothing_from(window)
            && in_time
    }

    /// Takes a segment that is expected.
    #[inline]
    pub(super) fn take_expected(&mut self, now: Instant, segment: &mut Segment) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        let start = receiver.next();
        self.sender.note_no_news(start, self.sender.next());
        self.keep_alive.on_heard(now);
        self.challenges.on_agreement();
        if let (Some(state), Some(stamp)) = (&mut self.timestamps, segment.options.timestamps) {
            state.update(stamp.value, start, receiver.last_ack_sent(), now);
        }
        let bytes = segment.payload.len() as u64;
        receiver.take_next(core::mem::take(&mut segment.payload), now);
        self.note_new_data(now, bytes, segment.options.timestamps);
        self.stats.bytes_received += bytes;
        self.wake_reader();
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;
    use core::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::seq::SeqNumber;
    use crate::state::State;
    use crate::wire::{SackBlock, Timestamps};

    const OUR_ISN: u32 = u32::MAX - 900;

    /// The peer, as far as it says what comes next.
    struct Peer {
        seq: u32,
        ack: u32,
        window: u16,
        stamp: Option<u32>,
    }

    impl Peer {
        fn segment(&self, bytes: usize) -> Segment {
            let (seq, ack) = (SeqNumber::new(self.seq), SeqNumber::new(self.ack));
            let mut segment = Segment::new(seq, Some(ack));
            segment.window = self.window;
            segment.payload = vec![7; bytes].into();
            segment.options.timestamps = self.stamp.map(|value| Timestamps { value, echo: 1 });
            segment
        }
    }

    /// A connection that was accepted, and its peer.
    fn accepted(stamps: bool) -> (Connection, Peer) {
        let config = Config {
            receive_buffer_bytes: 20_000,
            receive_buffer_initial_bytes: 3_000,
            ..Config::default()
        };
        let (here, there) = ("192.0.2.1:80".parse(), "192.0.2.2:4000".parse());
        let (here, there) = (here.unwrap(), there.unwrap());
        let now = Instant::from_millis(1_000);
        let isn = SeqNumber::new(u32::MAX - 5_000);
        let config = Config {
            timestamps: stamps,
            ..config
        };
        let mut client = Connection::connect(&config, there, here, isn, now);
        let syn = client.poll_transmit(now, 1).unwrap().whole().clone();
        let isn = SeqNumber::new(OUR_ISN);
        let mut server = Connection::accept(&config, &syn, isn, now).unwrap();
        server.poll_transmit(now, 1).unwrap();
        let peer = Peer {
            seq: syn.segment.seq.get().wrapping_add(1),
            ack: OUR_ISN.wrapping_add(1),
            window: 5_000,
            stamp: syn.segment.options.timestamps.map(|stamp| stamp.value),
        };
        server.handle_segment(now, peer.segment(0));
        (server, peer)
    }

    impl Connection {
        fn take_the_long_way(&mut self, now: Instant, segment: &mut Segment) {
            self.stats.segments_received += 1;
            if self.state != State::Closed {
                self.arrive(now, segment);
                self.after_input();
            }
        }
    }

    #[test]
    fn the_next_segment_of_a_peer_that_only_sends_is_expected() {
        for stamps in [false, true] {
            let (server, mut peer) = accepted(stamps);
            let now = Instant::from_millis(1_001);
            assert!(server.is_expected(now, &peer.segment(1_000)));
            assert!(!server.is_expected(now, &peer.segment(0)), "it has no data");
            peer.seq = peer.seq.wrapping_add(1);
            assert!(!server.is_expected(now, &peer.segment(1_000)));
        }
    }

    proptest! {
        /// The short way and the long one leave the same connection behind, whatever came before.
        #[test]
        fn what_is_expected_is_taken_as_any_other(
            stamps: bool,
            steps in prop::collection::vec((0_u8..32, 0_u32..3_000, 0_u64..60), 1..120),
        ) {
            let (one, mut peer) = accepted(stamps);
            let mut twins = [one, accepted(stamps).0];
            let mut now = Instant::from_millis(1_000);
            for (step, count, millis) in steps {
                now = now + Duration::from_millis(if step == 15 { 6_000 } else { millis });
                peer.stamp = peer.stamp.map(|stamp| stamp + count % 3);
                let mut segment = peer.segment(count as usize % 1_449);
                match step {
                    0 => segment.seq = SeqNumber::new(peer.seq.wrapping_add(count)),
                    1 => segment.seq = SeqNumber::new(peer.seq.wrapping_sub(count)),
                    2 => segment.ack = Some(SeqNumber::new(peer.ack.wrapping_add(count))),
                    3 => segment.ack = None,
                    4 => segment.flags = [Flags::FIN, Flags::SYN, Flags::RST, Flags::URG][count as usize % 4],
                    5 => peer.window = (count * 3) as u16,
                    6 => segment.options.timestamps = None,
                    7 => segment.options.timestamps = Some(Timestamps { value: count, echo: 1 }),
                    8 => segment.options.sack.push(SackBlock {
                        left: SeqNumber::new(peer.ack.wrapping_add(count).wrapping_sub(1_000)),
                        right: SeqNumber::new(peer.ack.wrapping_add(count).wrapping_sub(990)),
                    }),
                    9 => segment.flags = Flags::PSH,
                    _ => {}
                }
                let told = twins.each_mut().map(|twin| twin.sender.next());
                prop_assert_eq!(told[0], told[1]);
                let mut outcomes = vec![];
                for (is_short, twin) in [true, false].into_iter().zip(&mut twins) {
                    twin.handle_timeout(now);
                    match step {
                        10 => drop(twin.write(now, vec![1; count as usize].into())),
                        11 if count < 100 => twin.shutdown(now),
                        12 if count < 100 => twin.close(now),
                        13..15 => drop(twin.read(now, 10 * count as usize)),
                        15 => twin.give_back(now),
                        _ if is_short => twin.take_segment(now, &mut segment.clone()),
                        _ => twin.take_the_long_way(now, &mut segment.clone()),
                    }
                    let mut sent = vec![];
                    if millis % 3 == 0 {
                        while let Some(transmit) = twin.poll_transmit(now, 4) {
                            sent.push(transmit);
                        }
                    }
                    outcomes.push((sent, twin.poll_timeout(), twin.poll_event(), format!("{twin:?}")));
                }
                prop_assert_eq!(&outcomes[0], &outcomes[1]);
                // What the peer says next is mostly in order, and acknowledges what it has seen.
                if let Some(receiver) = &twins[0].receiver {
                    peer.seq = receiver.space().number(receiver.next()).get();
                }
                if count % 2 == 0 {
                    let sender = &twins[0].sender;
                    peer.ack = sender.space().number(sender.next()).get();
                }
            }
        }
    }
}
