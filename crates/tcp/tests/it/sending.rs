//! What a sender does when, where no other test says it.

use packhorse_tcp::{Config, Event, Failure, Flags, Options, State};

use crate::lab::{Lab, briefs, plain, say, syn_options};

/// RFC 3042: each of the first two duplicates lets one new segment go.
#[test]
fn limited_transmit() {
    for sack in [true, false] {
        let mut lab = Lab::established(&Config { sack, ..plain() });
        assert_eq!(lab.write(30_000).len(), 10);
        lab.pass(100);
        for (count, right) in [(0, 2_001), (1, 3_001)] {
            let blocks = if sack { vec![(1_001, right)] } else { vec![] };
            let sent = lab.hear(say(1, 1).sack(&blocks));
            assert_eq!(
                briefs(&sent),
                [(10_001 + count * 1_000, Some(1), 1_000)],
                "{sack}"
            );
        }
    }
}

/// RFC 6928 §2: ten segments, or 14,600 bytes of them if they are large; one after a lost SYN.
#[test]
fn the_initial_window() {
    for (mss, segments) in [(1_000, 10), (1_460, 10), (4_000, 3), (9_000, 2)] {
        let options = Options {
            mss: Some(mss),
            ..syn_options()
        };
        let config = Config {
            mtu_bytes: 9_040,
            ..plain()
        };
        let mut lab = Lab::established_with(&config, options);
        assert_eq!(lab.write(59_000).len(), segments, "{mss}");
    }
    let mut lab = Lab::syn_sent(&plain());
    assert_eq!(lab.pass_until_sent().0, 1_000);
    lab.hear(say(0, 1).flag(Flags::SYN).options(syn_options()));
    assert_eq!(lab.write(20_000).len(), 1);
}

/// RFC 9293 §3.7.4: a small segment waits while another is not acknowledged.
#[test]
fn nagle() {
    let mut lab = Lab::established(&plain());
    assert_eq!(briefs(&lab.write(10)), [(1, Some(1), 10)]);
    assert_eq!(lab.write(10), []);
    assert_eq!(briefs(&lab.write(1_500)), [(11, Some(1), 1_000)]);
    assert_eq!(briefs(&lab.hear(say(1, 11))), []);
    assert_eq!(briefs(&lab.hear(say(1, 1_011))), [(1_011, Some(1), 510)]);
    let mut lab = Lab::established(&Config {
        nagle: false,
        ..plain()
    });
    lab.write(10);
    assert_eq!(briefs(&lab.write(10)), [(11, Some(1), 10)]);
}

/// RFC 8985 §7: the last segment is lost; a probe brings the SACK that tells of it.
#[test]
fn a_lost_tail_is_probed_before_the_time_out() {
    let mut lab = Lab::established(&plain());
    lab.write(3_000);
    lab.pass(100);
    lab.hear(say(1, 2_001));
    let (_, sent) = lab.pass_until_sent();
    assert_eq!(briefs(&sent), [(2_001, Some(1), 1_000)]);
    let stats = lab.connection.stats();
    assert_eq!((stats.counters.loss_probes, stats.counters.rtos), (1, 0));
}

/// RFC 8985 §7.3: a probe that the peer's window holds back has told of nothing.
#[test]
fn a_probe_that_was_not_sent_mends_no_loss() {
    let mut lab = Lab::established(&plain());
    lab.write(3_000);
    // The last segment lies behind the edge now.
    lab.hear(say(1, 1).window(1_500));
    assert_eq!(lab.pass(250), []);
    lab.hear(say(1, 3_001));
    lab.write(1_000);
    lab.pass(100);
    lab.hear(say(1, 4_001));
    let stats = lab.connection.stats();
    assert_eq!((stats.counters.loss_probes, stats.ssthresh), (0, u64::MAX));
}

/// RFC 5681 §3.1: the threshold is set anew if another segment's timer runs out, and not if the
/// same one's does.
#[test]
fn each_segment_that_times_out_lowers_the_threshold_once() {
    let mut lab = Lab::established(&Config {
        congestion: packhorse_tcp::congestion::Congestion::NewReno,
        sack: false,
        ..plain()
    });
    lab.write(40_000);
    let threshold = |lab: &Lab| lab.connection.stats().ssthresh;
    for _ in 0..2 {
        let (_, sent) = lab.pass_until_sent();
        assert_eq!(briefs(&sent), [(1, Some(1), 1_000)]);
        assert_eq!(threshold(&lab), 5_000);
    }
    lab.hear(say(1, 8_001));
    let (_, sent) = lab.pass_until_sent();
    assert_eq!(briefs(&sent), [(8_001, Some(1), 1_000)]);
    assert_eq!(threshold(&lab), 2_000);
}

/// RFC 3522: an acknowledgement that echoes the original undoes a needless recovery.
#[test]
fn eifel_undoes_a_needless_time_out() {
    let config = Config {
        timestamps: true,
        sack: false,
        ..plain()
    };
    let options = Options {
        timestamps: Some(packhorse_tcp::Timestamps { value: 1, echo: 0 }),
        ..syn_options()
    };
    let mut lab = Lab::established_with(&config, options);
    let sent = lab.write(8_000);
    let original = sent[0].options.timestamps.map_or(0, |stamp| stamp.value);
    let window = lab.connection.stats().cwnd;
    lab.pass_until_sent();
    assert_eq!(lab.connection.stats().counters.rtos, 1);
    assert!(lab.connection.stats().cwnd < window);
    lab.hear(say(1, 989).stamp(2, original));
    assert_eq!(lab.connection.stats().counters.spurious_undone, 1);
    assert!(lab.connection.stats().cwnd >= window);
}

/// RFC 9293 §3.5, figure 7: both open at once.
#[test]
fn simultaneous_open() {
    let mut lab = Lab::syn_sent(&plain());
    let sent = lab.hear(say(0, None).flag(Flags::SYN).options(syn_options()));
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].brief(), sent[0].flags),
        ((0, Some(1), 0), Flags::SYN)
    );
    assert_eq!(lab.connection.state(), State::SynReceived);
    lab.hear(say(0, 1).flag(Flags::SYN).options(syn_options()));
    assert_eq!(lab.connection.state(), State::Established);
    assert_eq!(lab.events(), [Event::Connected]);
    assert_eq!(briefs(&lab.write(100)), [(1, Some(1), 100)]);
}

/// RFC 1122 §4.2.2.13: data that nobody will read is answered with a reset.
#[test]
fn data_after_close_is_reset() {
    let mut lab = Lab::established(&plain());
    lab.connection.close(lab.now);
    assert_eq!(lab.sent()[0].flags, Flags::FIN);
    let sent = lab.hear(say(1, 2).data(10));
    assert_eq!(sent[0].flags, Flags::RST);
    assert_eq!(lab.connection.failure(), Some(Failure::Aborted));
    // And what was there before, too.
    let mut lab = Lab::established(&plain());
    lab.hear(say(1, 1).data(10));
    lab.connection.close(lab.now);
    assert_eq!(lab.sent()[0].flags, Flags::RST);
}

/// A window that moves byte by byte must not fill the memory with records of single bytes.
#[test]
fn a_creeping_window_costs_no_memory() {
    let mut lab = Lab::established(&plain());
    lab.write(9_000);
    for window in 1..3_000 {
        lab.pass(700);
        lab.hear(say(1, 1).window(window));
    }
    let debug = format!("{:?}", lab.connection);
    assert!(debug.matches("Sent {").count() < 30, "{debug}");
}
