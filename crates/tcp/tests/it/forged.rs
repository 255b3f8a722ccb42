//! Segments of somebody who guesses: none may harm the connection that it is forged for.

use std::time::Duration;

use packhorse_tcp::{Config, Connection, Flags, Instant, Options, Packet, State, Timestamps};

use crate::lab::{Lab, briefs, plain, say, syn_options};

fn with_timestamps() -> (Config, Options) {
    let config = Config {
        timestamps: true,
        ..plain()
    };
    let options = Options {
        timestamps: Some(Timestamps {
            value: 100,
            echo: 0,
        }),
        ..syn_options()
    };
    (config, options)
}

/// RFC 5961 §5 and RFC 7323 §4.3: what is not acceptable for its acknowledgement leaves
/// TS.Recent alone, or PAWS would drop all that the true peer sends from then on.
#[test]
fn an_acknowledgement_of_nothing_leaves_ts_recent_alone() {
    let (config, options) = with_timestamps();
    for ack in [2, 5_000, 1_u32.wrapping_sub(1 << 20), 1 << 31] {
        let mut lab = Lab::established_with(&config, options);
        lab.hear(say(1, ack).data(1).stamp(100 + (1 << 30), 0));
        assert_eq!(lab.connection.readable(), 0, "{ack}");
        lab.hear(say(1, 1).data(10).stamp(101, 0));
        assert_eq!(lab.read(), 10, "{ack}: the true peer is not heard any more");
        assert_eq!(lab.connection.stats().counters.paws_dropped, 0, "{ack}");
    }
}

/// RFC 5961 §3.2: SEG.SEQ is what counts, and not what follows a SYN beside the RST.
#[test]
fn a_reset_with_a_syn_counts_by_its_own_number() {
    for state in [
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::CloseWait,
        State::Closing,
        State::LastAck,
    ] {
        let next = match state {
            State::CloseWait | State::Closing | State::LastAck => 2,
            _ => 1,
        };
        for (seq, survives, answers) in [(next - 1, true, 0), (next, false, 0), (next + 1, true, 1)]
        {
            let mut lab = Lab::in_state(&plain(), state);
            let sent = lab.hear(say(seq, 1).flag(Flags::SYN | Flags::RST));
            assert_eq!(sent.len(), answers, "{state:?} {seq} {next}");
            let is_there = lab.connection.state() == state;
            assert_eq!(is_there, survives, "{state:?} {seq} {next}");
        }
    }
}

/// RFC 8985 §7.3: a probe repeats what may be missing, never what the peer has reported.
#[test]
fn a_loss_probe_does_not_take_back_what_was_reported() {
    let mut lab = Lab::established(&plain());
    lab.write(4_000);
    // Reordering as long as a round trip: RACK waits longer than the probe.
    lab.pass(110);
    lab.hear(say(1, 1).sack(&[(3_001, 4_001)]));
    lab.pass(90);
    let sent = lab.sent();
    let repeated: Vec<_> = sent.iter().filter(|said| said.seq == 3_001).collect();
    assert!(repeated.is_empty(), "{:?}", briefs(&sent));
}

/// Data forged into both directions leaves two stacks that disagree about everything. However
/// long the path is, they stop telling each other.
#[test]
fn two_stacks_that_disagree_fall_silent() {
    for round_trip_secs in [0, 1, 2, 4] {
        let (mut one, mut other) = pair();
        let mut now = Instant::from_millis(20_000);
        for (end, peer) in [(&mut one, SECOND_ISN), (&mut other, FIRST_ISN)] {
            let mut forged = say_raw(peer, end);
            forged.payload = vec![b'z'; 100].into();
            end.handle_segment(now, forged);
        }
        let mut last = now;
        let mut count = 0;
        for _ in 0..5_000 {
            for end in [&mut one, &mut other] {
                end.handle_timeout(now);
            }
            let (from_one, from_other) = (drain(&mut one, now), drain(&mut other, now));
            if !from_one.is_empty() || !from_other.is_empty() {
                last = now;
                count += from_one.len() + from_other.len();
            }
            now = now + Duration::from_millis(1 + round_trip_secs * 500);
            for packet in from_one {
                other.handle_segment(now, packet.segment);
            }
            for packet in from_other {
                one.handle_segment(now, packet.segment);
            }
        }
        let silent = now.saturating_since(last);
        assert!(
            silent > Duration::from_secs(1 + round_trip_secs * 100),
            "{round_trip_secs} s: still talking after {count} segments"
        );
    }
}

const FIRST_ISN: u32 = 7_000;
const SECOND_ISN: u32 = 9_000;

/// A segment in order for `end`, whose peer began at `isn`.
fn say_raw(isn: u32, end: &Connection) -> packhorse_tcp::Segment {
    let ours = if isn == FIRST_ISN {
        SECOND_ISN
    } else {
        FIRST_ISN
    };
    assert_eq!(end.state(), State::Established);
    let number = |isn: u32| packhorse_tcp::SeqNumber::new(isn + 1);
    let mut segment = packhorse_tcp::Segment::new(number(isn), Some(number(ours)));
    segment.window = 60_000;
    segment
}

fn drain(end: &mut Connection, now: Instant) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let Some(transmit) = end.poll_transmit(now, 1) {
        packets.extend(transmit.packets());
    }
    packets
}

/// Two connections that have shaken hands.
fn pair() -> (Connection, Connection) {
    let (here, there) = (
        "192.0.2.1:4000".parse().unwrap(),
        "192.0.2.2:80".parse().unwrap(),
    );
    let now = Instant::from_millis(10_000);
    let isn = packhorse_tcp::SeqNumber::new;
    let mut one = Connection::connect(&plain(), here, there, isn(FIRST_ISN), now);
    let syn = drain(&mut one, now).remove(0);
    let mut other = Connection::accept(&plain(), &syn, isn(SECOND_ISN), now).unwrap();
    for packet in drain(&mut other, now) {
        one.handle_segment(now, packet.segment);
    }
    for packet in drain(&mut one, now) {
        other.handle_segment(now, packet.segment);
    }
    assert_eq!(other.state(), State::Established);
    (one, other)
}
