//! What a connection costs grows with its segments, and never with their square.
//!
//! By the records that it looks at, not by a clock.

use packhorse_tcp::{Config, Options};

use crate::lab::{Lab, plain, say, syn_options};

/// Records looked at for each segment, sent or received, at the most.
const STEPS_PER_SEGMENT_MAX: u64 = 32;

/// The payload of a segment: small, so that many are in flight.
const MSS: u32 = 64;

/// Checks what `lab` has cost so far.
fn check(lab: &Lab, case: &str) {
    let stats = lab.connection.stats();
    let segments = stats.counters.segments_sent + stats.counters.segments_received;
    assert!(
        stats.steps <= STEPS_PER_SEGMENT_MAX * segments,
        "{case}: {} steps for {segments} segments",
        stats.steps
    );
}

/// A connection with nine hundred segments in flight.
fn with_much_in_flight() -> Lab {
    let config = Config {
        initial_window_segments: 900,
        ..plain()
    };
    let options = Options {
        mss: Some(MSS as u16),
        ..syn_options()
    };
    let mut lab = Lab::established_with(&config, options);
    assert_eq!(lab.write(900 * MSS as usize).len(), 900);
    lab.pass(100);
    lab
}

/// The number of the first byte of a segment.
fn start(segment: u32) -> u32 {
    1 + segment * MSS
}

/// A peer that calls everything a duplicate that we send again, so that each recovery seems to
/// have been needless (RFC 3708).
#[test]
fn recoveries_that_are_undone_at_will() {
    let mut lab = with_much_in_flight();
    lab.hear(say(1, 1).sack(&[(start(899), start(900))]));
    // Longer than any reordering window, and shorter than the time-out.
    let mut again = lab.pass(120);
    for round in 0..1_000 {
        // A part of it, so that the segment does not count as arrived.
        let part = again.last().map_or(1, |said| said.seq);
        again = lab.hear(say(1, 1).sack(&[(part, part + 1), (part, part + 2)]));
        // What is found lost anew begins a recovery, and no burst.
        assert!(again.len() <= 2, "{round}: {} segments", again.len());
        if round % 100 == 0 {
            lab.pass(1);
        }
    }
    assert!(lab.connection.stats().counters.spurious_undone > 0);
    check(&lab, "duplicates");
}

/// A peer that reports every other segment, then all, then forgets it, again and again.
#[test]
fn reports_in_pieces() {
    let mut lab = with_much_in_flight();
    for segment in (1..900).step_by(2) {
        lab.hear(say(1, 1).sack(&[(start(segment), start(segment + 1))]));
    }
    for right in 2..900 {
        lab.hear(say(1, 1).sack(&[(start(1), start(right)), (start(3), start(right))]));
    }
    for segment in 1..=900 {
        lab.hear(say(1, start(segment)));
    }
    check(&lab, "pieces");
}

/// A peer that never acknowledges but moves its window.
#[test]
fn a_window_that_opens_and_closes() {
    let mut lab = with_much_in_flight();
    for round in 0..2_000_u32 {
        let window = if round % 2 == 0 { 0 } else { 60_000 };
        lab.hear(say(1, 1).window(window as u16));
    }
    check(&lab, "window");
}

/// A peer that sends single bytes with holes between them, then all of it again and again.
#[test]
fn pieces_of_single_bytes() {
    let mut lab = Lab::established(&plain());
    for at in (2..20_000).step_by(2) {
        lab.hear(say(at, 1).data(1));
    }
    for _ in 0..10_000 {
        lab.hear(say(3, 1).data(1_000));
    }
    check(&lab, "bytes");
    lab.hear(say(1, 1).data(1));
    check(&lab, "bytes, then the hole");
}
