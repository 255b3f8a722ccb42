//! With whom a connection can be opened, and what its handshake is taken to say of the path.

use packhorse_tcp::{
    Config, Connection, Ecn, Event, Failure, Flags, Instant, Options, Packet, Read, Segment,
    SeqNumber, State, Timestamps, answer_stranger,
};

use crate::lab::{Lab, plain, say, syn_options};

const NOBODYS: [&str; 5] = [
    "0.0.0.0:80",
    "224.0.0.1:80",
    "255.255.255.255:80",
    "[::]:80",
    "[ff02::1]:80",
];

/// RFC 9293 §3.9.2.3 (MUST-57, MUST-63): no connection, and no reset either.
#[test]
fn a_syn_from_or_to_no_host_is_dropped_in_silence() {
    let mut syn = Segment::new(SeqNumber::new(1), None);
    syn.flags = Flags::SYN;
    for end in NOBODYS {
        let group = end.parse().unwrap();
        let host = if end.starts_with('[') {
            "[2001:db8::1]:4000"
        } else {
            "192.0.2.1:4000"
        };
        let host = host.parse().unwrap();
        for (source, destination) in [(group, host), (host, group)] {
            let packet = Packet {
                source,
                destination,
                ecn: Ecn::NotCapable,
                segment: syn.clone(),
            };
            let (isn, now) = (SeqNumber::new(7), Instant::default());
            assert!(
                Connection::accept(&plain(), &packet, isn, now).is_none(),
                "{source} {destination}"
            );
            assert_eq!(answer_stranger(&packet), None, "{source} {destination}");
        }
    }
}

/// RFC 9293 §3.9.2.3 (MUST-46): the open fails, and nothing is sent.
#[test]
fn no_connection_is_opened_to_no_host() {
    for end in NOBODYS {
        let remote = end.parse().unwrap();
        let local = "192.0.2.1:4000".parse().unwrap();
        let (isn, now) = (SeqNumber::new(7), Instant::default());
        let mut connection = Connection::connect(&plain(), local, remote, isn, now);
        assert_eq!(connection.poll_transmit(now, 1), None, "{end}");
        assert_eq!(connection.poll_timeout(), None, "{end}");
        assert_eq!(connection.state(), State::Closed, "{end}");
        let failure = Failure::NotUnicast;
        assert_eq!(connection.read(now, 1), Read::Failed(failure), "{end}");
        let events: Vec<Event> = std::iter::from_fn(|| connection.poll_event()).collect();
        assert_eq!(events, [Event::Failed(failure), Event::Closed], "{end}");
    }
}

/// RFC 5681 §3.1: one segment to begin with if a SYN was lost, not if the network doubled one.
#[test]
fn only_a_lost_syn_makes_the_first_window_small() {
    // When the peer's SYN comes again, and how many segments go out after the handshake.
    for (again_ms, segments) in [
        (&[][..], 10),
        (&[0], 10),
        (&[5], 10),
        (&[0, 1, 2, 3], 10),
        (&[980], 1),
        (&[500], 1),
    ] {
        let mut lab = Lab::syn_received(&plain(), syn_options());
        for &millis in again_ms {
            lab.pass(millis);
            let syn = say(0, None).flag(Flags::SYN).options(syn_options());
            assert_eq!(lab.hear(syn).len(), 1);
        }
        lab.pass(10);
        lab.hear(say(1, 1));
        assert_eq!(lab.write(20_000).len(), segments, "{again_ms:?}");
    }
    // Ours goes out again by itself.
    let mut lab = Lab::syn_received(&plain(), syn_options());
    assert_eq!(lab.pass_until_sent().0, 1_000);
    lab.hear(say(1, 1));
    assert_eq!(lab.write(20_000).len(), 1);
}

/// RFC 6691: each way has its own MSS, and timestamps take their share of both.
#[test]
fn what_a_full_segment_carries_differs_by_the_way() {
    for (stamps, to_peer, from_peer) in [(false, 1_000, 1_460), (true, 988, 1_448)] {
        let config = Config {
            timestamps: stamps,
            ..plain()
        };
        let options = Options {
            timestamps: stamps.then_some(Timestamps { value: 1, echo: 0 }),
            ..syn_options()
        };
        let stats = Lab::established_with(&config, options).connection.stats();
        assert_eq!((stats.mss, stats.receive_mss), (to_peer, from_peer));
    }
}
