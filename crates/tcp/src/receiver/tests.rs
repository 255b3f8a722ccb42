//! Tests of the receiving half.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::seq::SeqNumber;

const FIRST: u64 = SequenceSpace::ORIGIN + 1;

fn receiver(capacity: u64) -> Receiver {
    let config = Config {
        receive_buffer_bytes: capacity,
        quick_acks: 0,
        ..Config::default()
    };
    let space = SequenceSpace::new(SeqNumber::new(u32::MAX - 100));
    Receiver::new(&config, space, 1_460, 0)
}

fn take(receiver: &mut Receiver, at: u64, length: usize) -> Arrival {
    let payload = Bytes::from(vec![1; length]);
    receiver.take(FIRST + at, payload, false, Instant::default())
}

/// The user reads once; the window may grow by `spare` bytes.
fn read(receiver: &mut Receiver, bytes_max: usize, now: Instant, spare: u64) -> Bytes {
    let data = receiver.take_out(bytes_max);
    receiver.on_read(data.len() as u64, now, spare);
    data
}

/// RFC 5681 §4.2: out of order and what fills a hole are acknowledged at once.
#[test]
fn holes_are_acknowledged_at_once() {
    let now = Instant::default();
    let mut receiver = receiver(60_000);
    for (at, length, ready, out_of_order, due) in [
        (0, 1_460, 1_460, false, false),
        (2_920, 1_460, 0, true, true),
        (1_460, 1_000, 1_000, false, true),
        (2_460, 460, 460 + 1_460, false, true),
        (4_380, 1_460, 1_460, false, false),
        (0, 1_460, 0, false, true),
    ] {
        let arrival = take(&mut receiver, at, length);
        assert_eq!(
            (arrival.ready, arrival.out_of_order),
            (ready, out_of_order),
            "{at}"
        );
        assert_eq!(receiver.is_ack_due(now), due, "{at}");
        if due {
            receiver.on_ack_sent(true);
        }
    }
}

/// Behaviour 4: data outside of the window is dropped (and acknowledged).
#[test]
fn data_outside_the_window_is_dropped() {
    let mut receiver = receiver(1_000);
    let arrival = take(&mut receiver, 0, 1_460);
    assert_eq!(arrival.ready, 1_000);
    assert!(!arrival.out_of_order);
    let arrival = take(&mut receiver, 1_000, 460);
    assert_eq!(arrival, Arrival::default());
    assert!(receiver.is_ack_due(Instant::default()));
    assert_eq!(receiver.readable(), 1_000);
}

#[test]
fn a_fin_counts_once_everything_before_it_is_there() {
    let mut receiver = receiver(10_000);
    let late = Bytes::from(vec![2; 10]);
    let arrival = receiver.take(FIRST + 10, late, true, Instant::default());
    assert!(!arrival.finished);
    let arrival = take(&mut receiver, 0, 10);
    assert!(arrival.finished);
    assert_eq!((arrival.ready, receiver.next()), (20, FIRST + 21));
    // Nothing can come behind it.
    assert_eq!(take(&mut receiver, 21, 10).ready, 0);
    let arrival = receiver.take(FIRST + 20, Bytes::new(), true, Instant::default());
    assert!(!arrival.finished);
}

#[test]
fn a_fin_that_contradicts_what_arrived_is_ignored() {
    let mut receiver = receiver(10_000);
    take(&mut receiver, 100, 100);
    let arrival = receiver.take(FIRST, Bytes::from(vec![2; 50]), true, Instant::default());
    assert!(!arrival.finished);
    assert_eq!(take(&mut receiver, 50, 50).ready, 150);
}

/// A peer that sends as fast as it likes, and says what it likes of the round trip: what the user
/// does not read makes the window no larger.
#[test]
fn nobody_but_the_reader_makes_the_window_grow() {
    let config = Config {
        receive_buffer_initial_bytes: 100_000,
        receive_buffer_bytes: 10_000_000,
        ..Config::default()
    };
    let space = SequenceSpace::new(SeqNumber::new(7));
    for reads in [false, true] {
        let mut receiver = Receiver::new(&config, space, 1_460, 8);
        let segment = Bytes::from(vec![1; 1_000]);
        for round in 0..100_000_u32 {
            let now = Instant::from_millis(1_000_000 + u64::from(round) / 10);
            let at = receiver.next();
            receiver.take(at, segment.clone(), false, now);
            let millis = if reads { 50 } else { round % 60_000 };
            let age = Duration::from_millis(millis.into());
            let value = round / 10;
            receiver.on_arrival(1_000, Some(Echo { value, age }), None, now);
            if reads {
                read(&mut receiver, usize::MAX, now, u64::MAX);
            } else if round % 100 == 0 {
                // Ten bytes in 10 ms.
                read(&mut receiver, 10, now, u64::MAX);
            }
            receiver.window_field();
        }
        assert_eq!(
            receiver.capacity() > 500_000,
            reads,
            "{}",
            receiver.capacity()
        );
        if !reads {
            assert!(receiver.readable() <= 100_000 + 256);
            assert_eq!(receiver.capacity(), 100_000);
        }
    }
}

proptest! {
    /// Whatever arrives in whatever order: what is read is what was sent, in order.
    #[test]
    fn what_is_read_is_what_was_sent(
        segments in prop::collection::vec((0_usize..6_000, 0_usize..1_600, 0_usize..2_000), 1..80),
    ) {
        let sent: Vec<u8> = (0..8_000_u32).map(|at| (at % 251) as u8).collect();
        let mut receiver = receiver(3_000);
        let mut got = Vec::new();
        for (at, length, bytes_max) in segments {
            let payload = Bytes::copy_from_slice(&sent[at..at + length]);
            receiver.take(FIRST + at as u64, payload, false, Instant::default());
            prop_assert!(receiver.next() <= receiver.edge());
            prop_assert!(receiver.readable() <= 3_000);
            got.extend_from_slice(&read(&mut receiver, bytes_max, Instant::default(), 0));
            receiver.window_field();
        }
        while receiver.readable() > 0 {
            got.extend_from_slice(&read(&mut receiver, usize::MAX, Instant::default(), 0));
        }
        prop_assert_eq!(&got[..], &sent[..got.len()]);
        prop_assert_eq!(receiver.next(), FIRST + got.len() as u64);
    }
}
