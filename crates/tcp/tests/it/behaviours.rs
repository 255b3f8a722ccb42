//! The behaviours that stacks in user space most often get wrong, each by its number.
//!
//! 8 (wrap), 9 (doubling), 11 (SACK order), 14 (PRR), 15 (timestamps) and 16 (shift) have
//! tests beside their code too, with the same words in their names.

use packhorse_tcp::{Config, Event, Failure, Flags, Options, Read, State};

use crate::lab::{Lab, briefs, plain, say, syn_options};

const SYNCHRONIZED: [State; 7] = [
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
    State::TimeWait,
];

/// What the peer's next number is, and ours, in a connection that `Lab::in_state` made.
fn numbers(state: State) -> (u32, u32) {
    let peer_fin = matches!(
        state,
        State::CloseWait | State::Closing | State::LastAck | State::TimeWait
    );
    let our_fin = !matches!(state, State::Established | State::CloseWait);
    (1 + u32::from(peer_fin), 1 + u32::from(our_fin))
}

/// 1: a reset counts only at exactly RCV.NXT (RFC 5961 §3.2).
#[test]
fn b01_rst_only_at_exact_rcv_nxt() {
    for state in SYNCHRONIZED
        .into_iter()
        .filter(|state| *state != State::TimeWait)
    {
        let (next, ours) = numbers(state);
        for (seq, answered, resets) in [
            (next.wrapping_sub(1), false, false),
            (next + 1, true, false),
            (next + 19_000, true, false),
            (next + 30_000, false, false),
            (next, false, true),
        ] {
            let mut lab = Lab::in_state(&plain(), state);
            let sent = lab.hear(say(seq, None).flag(Flags::RST));
            let expected = if answered {
                vec![(ours, Some(next), 0)]
            } else {
                vec![]
            };
            assert_eq!(briefs(&sent), expected, "{state:?} {seq}");
            let closed = lab.connection.state() == State::Closed;
            assert_eq!(closed, resets, "{state:?} {seq}");
            if resets {
                assert_eq!(lab.connection.failure(), Some(Failure::Reset));
                assert!(lab.events().contains(&Event::Failed(Failure::Reset)));
            }
        }
    }
}

/// 2: a SYN in any synchronised state gets a challenge ACK and nothing else (RFC 5961 §4.2).
#[test]
fn b02_in_window_syn_gets_a_challenge_ack() {
    for state in SYNCHRONIZED {
        let (next, ours) = numbers(state);
        for seq in [0, next, next + 1_000, next + 100_000] {
            for ack in [None, Some(ours)] {
                let mut lab = Lab::in_state(&plain(), state);
                let sent = lab.hear(say(seq, ack).flag(Flags::SYN));
                assert_eq!(briefs(&sent), [(ours, Some(next), 0)], "{state:?} {seq}");
                assert_eq!(lab.connection.state(), state);
                assert_eq!(lab.connection.stats().counters.challenge_acks, 1);
            }
        }
    }
}

/// 3: an ACK beyond SND.NXT is answered, a limited number of times, and changes nothing.
#[test]
fn b03_ack_beyond_snd_nxt_is_answered_without_a_loop() {
    let mut lab = Lab::established(&plain());
    lab.write(500);
    for count in 0..100 {
        let sent = lab.hear(say(1, 502));
        let expected = if count < 10 {
            vec![(501, Some(1), 0)]
        } else {
            vec![]
        };
        assert_eq!(briefs(&sent), expected, "{count}");
    }
    assert_eq!(lab.connection.stats().counters.acks_withheld, 90);
    assert_eq!(lab.connection.stats().counters.bytes_acked, 0);
    // Data beside such an acknowledgement is not taken either (RFC 9293 §3.10.7.4).
    lab.hear(say(1, 502).data(10));
    assert_eq!(lab.read(), 0);
    // One that is older than any window is challenged (RFC 5961 §5.2).
    lab.pass(10_000);
    let sent = lab.hear(say(1, 0_u32.wrapping_sub(70_000)));
    assert_eq!(briefs(&sent), [(501, Some(1), 0)]);
}

/// 4: data outside of the window is acknowledged and dropped.
#[test]
fn b04_data_outside_the_window_is_acknowledged_and_dropped() {
    let mut lab = Lab::established(&plain());
    let sent = lab.hear(say(20_001, 1).data(10));
    assert_eq!(briefs(&sent), [(1, Some(1), 0)]);
    assert_eq!(sent[0].sack, []);
    // What came before comes with a D-SACK.
    lab.hear(say(1, 1).data(600));
    lab.hear(say(601, 1).data(600));
    let sent = lab.hear(say(1, 1).data(600));
    assert_eq!(briefs(&sent), [(1, Some(1_201), 0)]);
    assert_eq!(sent[0].sack, [(1, 601)]);
    // Of what lies across the edge, the part inside is taken.
    let mut lab = Lab::established(&plain());
    for start in (1..20_000).step_by(1_100) {
        lab.hear(say(start, 1).data(1_100));
    }
    assert_eq!(lab.connection.readable(), 20_000);
}

/// 5: a peer that draws its window in: nothing is sent behind the edge, nothing is lost,
/// nobody is given up (RFC 9293 §3.8.6, SHLD-15 to SHLD-18).
#[test]
fn b05_a_peer_that_shrinks_its_window() {
    let mut lab = Lab::established(&plain());
    assert_eq!(briefs(&lab.write(5_000)).len(), 5);
    lab.hear(say(1, 1).window(2_000));
    lab.write(5_000);
    // What is in flight behind the edge is not sent again; what is before it is.
    let sent = lab.pass(1_000);
    assert!(!sent.is_empty());
    for said in sent {
        assert!(said.seq + said.data.len() as u32 <= 2_001, "{said:?}");
    }
    // Closed altogether, it is probed.
    lab.hear(say(1, 1).window(0));
    for _ in 0..30 {
        let (_, sent) = lab.pass_until_sent();
        assert_eq!(briefs(&sent), [(1, Some(1), 1)]);
        lab.hear(say(1, 1).window(0));
    }
    assert_eq!(lab.connection.state(), State::Established);
    // And with the window, everything moves again.
    let mut acked = 1;
    lab.hear(say(1, acked).window(60_000));
    for _ in 0..200 {
        for said in lab.pass_until_sent().1 {
            let end = said.seq + said.data.len() as u32;
            if said.seq <= acked && end > acked {
                acked = end;
            }
        }
        lab.hear(say(1, acked).window(60_000));
        if acked == 10_001 {
            return;
        }
    }
    panic!("stuck at {acked}");
}

/// 6: a window probe gets an answer, backs off, and goes on while it is answered.
#[test]
fn b06_window_probes_back_off_and_never_give_up_while_answered() {
    let mut lab = Lab::established(&plain());
    lab.hear(say(1, 1).window(0));
    assert_eq!(lab.write(3_000), []);
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (wait, sent) = lab.pass_until_sent();
        // RFC 9293 §3.8.6.1: at least one byte of new data.
        assert_eq!(briefs(&sent), [(1, Some(1), 1)]);
        waits.push(wait);
        lab.hear(say(1, 1).window(0));
    }
    assert_eq!(waits[..4], [300, 600, 1_200, 2_400]);
    assert_eq!(waits[19], 60_000);
    assert_eq!(lab.connection.stats().counters.rtos, 0);
    // The window opens with the byte taken: what follows goes out at once.
    let sent = lab.hear(say(1, 2).window(60_000));
    assert_eq!(briefs(&sent)[0], (2, Some(1), 1_000));
    // An unanswered probe is given up with the user's patience.
    let mut lab = Lab::established(&plain());
    lab.hear(say(1, 1).window(0));
    lab.write(1);
    lab.pass(300_300);
    assert_eq!(lab.connection.failure(), Some(Failure::TimedOut));
}

/// 6, the other side: a probe of our closed window is answered (RFC 9293 §3.8.6.1, MUST-37).
#[test]
fn b06_a_probe_of_a_closed_window_gets_an_answer() {
    let mut lab = Lab::established(&plain());
    for start in (1..20_000).step_by(1_000) {
        lab.hear(say(start, 1).data(1_000));
    }
    for seq in [20_001, 20_000] {
        let sent = lab.hear(say(seq, 1).data(1));
        assert_eq!(briefs(&sent), [(1, Some(20_001), 0)], "{seq}");
        assert_eq!(sent[0].window, 0);
    }
    // Its acknowledgement counts nevertheless (MUST-66).
    lab.write(700);
    lab.hear(say(20_001, 701).data(1));
    assert_eq!(lab.connection.stats().counters.bytes_acked, 700);
}

/// 7: the window opens again, told at once, when the reader has made room worth telling.
#[test]
fn b07_window_update_after_the_reader_catches_up() {
    let mut lab = Lab::established(&plain());
    for start in (1..20_000).step_by(1_000) {
        lab.hear(say(start, 1).data(1_000));
    }
    assert!(matches!(lab.connection.read(lab.now, 1_000), Read::Data(_)));
    assert_eq!(
        lab.sent(),
        [],
        "a thousand bytes are less than a segment of ours"
    );
    assert!(matches!(lab.connection.read(lab.now, 1_000), Read::Data(_)));
    let sent = lab.sent();
    assert_eq!(briefs(&sent), [(1, Some(20_001), 0)]);
    assert_eq!(sent[0].window, 2_000);
    lab.read();
    assert_eq!(lab.sent()[0].window, 20_000);
}

/// 7: a buffer larger than a window that is not scaled can tell of is no reason for updates: they
/// would be duplicate acknowledgements to the peer.
#[test]
fn b07_no_window_update_that_says_nothing() {
    let mut lab = Lab::established(&Config {
        receive_buffer_bytes: 256 << 10,
        receive_buffer_initial_bytes: 256 << 10,
        ..plain()
    });
    for start in (1..40_000).step_by(1_000) {
        lab.hear(say(start, 1).data(1_000));
    }
    for _ in 0..100 {
        assert!(matches!(lab.connection.read(lab.now, 100), Read::Data(_)));
        assert_eq!(lab.sent(), []);
    }
    // Once the window has become much smaller, the peer hears of the room.
    let mut start = 40_001;
    while start + 1_000 <= 256 << 10 {
        lab.hear(say(start, 1).data(1_000));
        start += 1_000;
    }
    lab.read();
    assert_eq!(lab.sent()[0].window, u16::MAX);
}

/// 9: after a time-out the round trip of what was sent twice is not measured (Karn), and
/// the doubled time-out stays until something is measured.
#[test]
fn b09_karn_and_rto_doubling_and_collapse() {
    let mut lab = Lab::established(&Config {
        sack: false,
        ..plain()
    });
    let srtt = lab.connection.stats().srtt;
    lab.write(100);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let (wait, sent) = lab.pass_until_sent();
        assert_eq!(briefs(&sent), [(1, Some(1), 100)]);
        waits.push(wait);
    }
    assert_eq!(waits, [300, 600, 1_200, 2_400]);
    lab.hear(say(1, 101));
    assert_eq!(lab.connection.stats().srtt, srtt);
    assert_eq!(lab.connection.stats().rto.as_millis(), 4_800);
    lab.write(100);
    lab.pass(100);
    lab.hear(say(1, 201));
    assert_eq!(lab.connection.stats().rto.as_millis(), 300);
}

/// 10: new acknowledgements restart the timer, duplicates do not (RFC 6298 §5.3).
#[test]
fn b10_rto_restarts_on_new_acks_not_on_duplicates() {
    let mut lab = Lab::established(&Config {
        sack: false,
        ..plain()
    });
    lab.write(3_000);
    lab.pass(200);
    lab.hear(say(1, 1_001));
    // 300 ms from here, whatever duplicates come.
    lab.pass(150);
    lab.hear(say(1, 1_001));
    lab.hear(say(1, 1_001));
    let rto = lab.connection.stats().rto.as_millis() as u64;
    let (wait, sent) = lab.pass_until_sent();
    assert_eq!(wait, rto - 150);
    assert_eq!(sent[0].brief(), (1_001, Some(1), 1_000));
    assert_eq!(lab.connection.stats().counters.rtos, 1);
}

/// 12: a receiver that reneges: what it had reported and then forgot is sent again (RFC 2018 §8).
#[test]
fn b12_a_receiver_that_reneges_on_sack() {
    let mut lab = Lab::established(&plain());
    lab.write(4_000);
    lab.pass(100);
    let sent = lab.hear(say(1, 1).sack(&[(1_001, 4_001)]));
    assert_eq!(sent[0].brief(), (1, Some(1), 1_000));
    // The hole is filled, and nothing behind it is there any more.
    lab.pass(100);
    lab.hear(say(1, 1_001));
    let mut acked = 1_001;
    for _ in 0..20 {
        for said in lab.pass_until_sent().1 {
            if said.seq == acked {
                acked += said.data.len() as u32;
            }
        }
        lab.hear(say(1, acked));
        if acked == 4_001 {
            assert_eq!(lab.connection.stats().counters.reneges, 1);
            return;
        }
    }
    panic!("stuck at {acked}");
}

/// 13: segments that arrive in another order are not taken for lost (RFC 8985 §6).
#[test]
fn b13_reordering_without_false_loss() {
    let mut lab = Lab::established(&plain());
    lab.write(8_000);
    lab.pass(100);
    // Two behind the first come before it, within a quarter of the round trip.
    assert_eq!(lab.hear(say(1, 1).sack(&[(1_001, 2_001)])), []);
    assert_eq!(lab.hear(say(1, 1).sack(&[(1_001, 3_001)])), []);
    assert_eq!(lab.pass(20), []);
    lab.hear(say(1, 3_001));
    assert!(lab.connection.stats().reordering_seen);
    // Now that it is known, even three do not make a loss, before the time is up.
    assert_eq!(lab.hear(say(1, 3_001).sack(&[(4_001, 7_001)])), []);
    assert_eq!(lab.pass(20), []);
    lab.hear(say(1, 7_001));
    assert_eq!(lab.connection.stats().counters.retransmits, 0);
    assert_eq!(lab.connection.stats().counters.fast_recoveries, 0);
}

/// 13, the other half: three behind it make a loss at once if nothing was ever reordered.
#[test]
fn b13_a_loss_is_found_by_the_third() {
    let mut lab = Lab::established(&plain());
    lab.write(8_000);
    lab.pass(100);
    assert_eq!(lab.hear(say(1, 1).sack(&[(1_001, 2_001)])), []);
    assert_eq!(lab.hear(say(1, 1).sack(&[(1_001, 3_001)])), []);
    let sent = lab.hear(say(1, 1).sack(&[(1_001, 4_001)]));
    assert_eq!(sent[0].brief(), (1, Some(1), 1_000));
    assert_eq!(lab.connection.stats().counters.fast_recoveries, 1);
    assert_eq!(lab.connection.stats().counters.rtos, 0);
}

/// 14: in a recovery no acknowledgement lets go more than it reports, and one segment more.
#[test]
fn b14_prr_never_bursts() {
    let mut lab = Lab::established(&plain());
    lab.write(60_000);
    lab.pass(100);
    let mut acked = 1;
    let mut sent_to = 10_001;
    // Slow start to some size.
    while sent_to < 30_001 {
        acked += 1_000;
        for said in lab.hear(say(1, acked)) {
            sent_to = sent_to.max(said.seq + said.data.len() as u32);
        }
        lab.pass(1);
    }
    lab.pass(100);
    // The first half of the flight is lost; the rest is reported, segment by segment.
    let lost_to = (acked + (sent_to - acked) / 2) / 1_000 * 1_000 + 1;
    for right in (lost_to + 1_000..=sent_to).step_by(1_000) {
        let sent = lab.hear(say(1, acked).sack(&[(lost_to, right)]));
        let bytes: usize = sent.iter().map(|said| said.data.len()).sum();
        assert!(bytes <= 2_000, "{bytes} at once");
        lab.pass(1);
    }
    assert_eq!(lab.connection.stats().counters.fast_recoveries, 1);
    assert!(lab.connection.stats().counters.retransmits > 5);
}

/// 15: PAWS: a segment with an old timestamp is acknowledged and dropped, a reset is not (RFC 7323 §5.3).
#[test]
fn b15_ts_recent_and_paws() {
    let config = Config {
        timestamps: true,
        ..plain()
    };
    let options = Options {
        timestamps: Some(packhorse_tcp::Timestamps {
            value: 500,
            echo: 0,
        }),
        ..syn_options()
    };
    let mut lab = Lab::established_with(&config, options);
    lab.hear(say(1, 1).stamp(510, 0).data(100));
    let sent = lab.hear(say(101, 1).stamp(505, 0).data(100));
    assert_eq!(briefs(&sent), [(1, Some(101), 0)]);
    assert_eq!(
        sent[0].options.timestamps.map(|stamp| stamp.echo),
        Some(510)
    );
    assert_eq!(
        (lab.read(), lab.connection.stats().counters.paws_dropped),
        (100, 1)
    );
    // After 24 days of silence the old timestamp means nothing.
    lab.pass(24 * 24 * 3_600 * 1_000 + 1);
    lab.hear(say(101, 1).stamp(505, 0).data(100));
    assert_eq!(lab.read(), 100);
    // A reset is never refused for its timestamp.
    lab.hear(say(201, 1).stamp(1, 0).flag(Flags::RST));
    assert_eq!(lab.connection.state(), State::Closed);
}

/// 16: the window in a SYN is not scaled, neither the peer's nor ours (RFC 7323 §2.2).
#[test]
fn b16_the_window_in_a_syn_is_unscaled() {
    let config = Config {
        window_scale: true,
        receive_buffer_bytes: 1 << 20,
        receive_buffer_initial_bytes: 1 << 20,
        ..plain()
    };
    let options = Options {
        window_scale: Some(2),
        ..syn_options()
    };
    // The SYN-ACK offers 2,500 bytes; scaled it would be 10,000.
    let mut lab = Lab::syn_sent(&config);
    lab.write(20_000);
    let said = say(0, 1).flag(Flags::SYN).options(options).window(2_500);
    let sent = lab.hear(said);
    let length: usize = sent.iter().map(|said| said.data.len()).sum();
    assert_eq!(
        length, 2_000,
        "two segments, and the rest waits for the window"
    );
    // From now on it is.
    let sent = lab.hear(say(1, 2_001).window(2_500));
    assert_eq!(sent.len(), 10);
    // Ours: 1 MiB, shifted by 5.
    let mut lab = Lab::syn_received(&config, options);
    lab.connection.handle_segment(lab.now, say(1, 1).segment());
    let sent = lab.hear(say(2, 1).data(1));
    assert_eq!(u32::from(sent[0].window) << 5, 1 << 20);
}

/// 17: a FIN is sent again until it is acknowledged.
#[test]
fn b17_fin_retransmission() {
    let mut lab = Lab::established(&plain());
    lab.write(100);
    lab.connection.shutdown(lab.now);
    let sent = lab.sent();
    assert_eq!(
        (sent[0].brief(), sent[0].flags),
        ((101, Some(1), 0), Flags::FIN)
    );
    assert_eq!(lab.connection.state(), State::FinWait1);
    lab.hear(say(1, 101));
    assert_eq!(lab.connection.state(), State::FinWait1);
    for _ in 0..3 {
        let (_, sent) = lab.pass_until_sent();
        assert_eq!((sent[0].seq, sent[0].flags), (101, Flags::FIN));
    }
    lab.hear(say(1, 102));
    assert_eq!(lab.connection.state(), State::FinWait2);
}

/// 17: both close at once (RFC 9293 §3.6, figure 13).
#[test]
fn b17_simultaneous_close() {
    let mut lab = Lab::established(&plain());
    lab.connection.shutdown(lab.now);
    lab.sent();
    let sent = lab.hear(say(1, 1).flag(Flags::FIN));
    assert_eq!(briefs(&sent), [(2, Some(2), 0)]);
    assert_eq!(lab.connection.state(), State::Closing);
    lab.hear(say(2, 2));
    assert_eq!(lab.connection.state(), State::TimeWait);
    assert_eq!(lab.events(), [Event::PeerClosed, Event::Finished]);
}

/// 18: TIME-WAIT ignores resets (RFC 1337), challenges SYNs, acknowledges a FIN again
/// and begins anew with it, and ends in time.
#[test]
fn b18_time_wait_against_rst_syn_and_fin() {
    let mut lab = Lab::in_state(&plain(), State::TimeWait);
    assert_eq!(lab.hear(say(2, 2).flag(Flags::RST)), []);
    assert_eq!(lab.connection.state(), State::TimeWait);
    let sent = lab.hear(say(900, None).flag(Flags::SYN));
    assert_eq!(briefs(&sent), [(2, Some(2), 0)]);
    lab.pass(40_000);
    let sent = lab.hear(say(1, 2).flag(Flags::FIN));
    assert_eq!(briefs(&sent), [(2, Some(2), 0)]);
    lab.pass(59_999);
    let elsewhere = lab.hear(say(700, 2).flag(Flags::FIN));
    assert_eq!(briefs(&elsewhere), [(2, Some(2), 0)]);
    assert_eq!(lab.connection.state(), State::TimeWait);
    lab.pass(1);
    assert_eq!(lab.connection.state(), State::Closed);
    assert_eq!(lab.events(), [Event::Closed]);
    assert_eq!(lab.connection.failure(), None);
}

/// 19: no segment exceeds the MSS less its options (RFC 6691), SACK blocks among them.
#[test]
fn b19_no_segment_exceeds_mss_minus_options() {
    let config = Config {
        timestamps: true,
        ..plain()
    };
    let options = Options {
        timestamps: Some(packhorse_tcp::Timestamps { value: 1, echo: 0 }),
        ..syn_options()
    };
    let mut lab = Lab::established_with(&config, options);
    let mut sent = lab.write(15_000);
    // Holes in what we receive, so that there is something for SACK blocks to say.
    for start in [2_001, 4_001, 6_001, 8_001] {
        sent.extend(lab.hear(say(start, 1).stamp(2, 0).data(1_000)));
    }
    sent.extend(lab.pass(3_000));
    sent.extend(lab.hear(say(1, 1_977).stamp(3, 0).data(10)));
    // New data makes room for the blocks.
    let beside = |said: &crate::lab::Say| (said.sack.len(), said.data.len()) == (3, 988 - 28);
    assert!(sent.iter().any(beside), "{sent:?}");
    assert!(sent.iter().any(|said| said.sack.len() == 3));
    assert!(sent.iter().any(|said| said.data.len() == 988));
    for said in sent {
        let segment = said.segment();
        let header = segment.header_bytes();
        assert!(header + said.data.len() <= 1_020, "{said:?}");
    }
}

/// 20: a SYN that asks for ECN, and options that nobody knows, are tolerated.
///
/// Unknown options are skipped by the codec, see `unknown_options_are_skipped` there.
#[test]
fn b20_ecn_syns_are_tolerated() {
    for flags in [Flags::ECE | Flags::CWR, Flags::ECE | Flags::CWR | Flags::AE] {
        let mut lab = Lab::syn_sent(&plain());
        let said = say(0, 1).flag(Flags::SYN | flags).options(syn_options());
        let sent = lab.hear(said);
        assert_eq!(briefs(&sent), [(1, Some(1), 0)]);
        assert_eq!(lab.connection.state(), State::Established);
        let sent = lab.hear(say(1, 1).flag(flags | Flags::URG).data(100));
        assert_eq!(lab.read(), 100, "{sent:?}");
    }
}
