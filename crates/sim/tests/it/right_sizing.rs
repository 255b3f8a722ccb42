//! The receive buffer grows to what the path and the reader need, and no further.

use std::time::Duration;

use packhorse_sim::Instant;
use packhorse_sim::goodput::{Path, Pauses};
use packhorse_sim::link::LinkConfig;
use packhorse_sim::world::Side;
use packhorse_tcp::Config;
use packhorse_tcp::congestion::Congestion;

/// 200 Mbit/s, in bytes in a second.
const RATE: u64 = 25_000_000;

/// 60 ms at this rate.
const ON_THE_WAY: u64 = RATE * 60 / 1_000;

fn link() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(30),
        rate: Some(RATE),
        queue_bytes_max: ON_THE_WAY as usize,
        ..LinkConfig::default()
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

/// With nothing set, a stream is soon as fast as 200 Mbit/s over 60 ms let it be.
#[test]
fn a_long_path_is_filled() {
    let mut path = Path::new(Congestion::default(), link(), u64::MAX, 1);
    let before = path.read_until(at(2)).expect("the world goes on");
    let read = path.read_until(at(8)).expect("the world goes on") - before;
    let share = read as f64 / 6.0 / RATE as f64;
    // Of a packet of 1,500 bytes 1,448 are data.
    assert!(share > 0.95, "{share}");
    let held = path.stats(Side::Right).receive_buffer;
    // At most twice what is on the way and in the queue, and twice that while the rate grows.
    assert!((ON_THE_WAY..8 * ON_THE_WAY).contains(&held), "{held}");
}

/// Who reads less in a round trip than is held at first gets no more, however much is sent.
#[test]
fn a_slow_reader_is_sent_no_more() {
    for (after_bytes, millis) in [(20_000, 50), (1_000, 4)] {
        let pauses = Pauses {
            after_bytes,
            longest: Duration::from_millis(millis),
        };
        let mut path = Path::with_reader(Congestion::Cubic, link(), u64::MAX, pauses, 1);
        let read = path.read_until(at(60)).expect("the world goes on");
        let initial = Config::default().receive_buffer_initial_bytes;
        assert!(read > 2 * initial, "{pauses:?}: {read}");
        let held = path.stats(Side::Right).receive_buffer;
        assert_eq!(held, initial, "{pauses:?}");
        let sent = path.stats(Side::Left).counters.bytes_sent;
        assert!(
            sent <= read + initial + initial / 64,
            "{pauses:?}: {sent} {read}"
        );
    }
}
