//! TIME-WAIT, of whose connections an endpoint keeps a few bytes.

use std::time::Duration;

use packhorse_tcp::{EndpointConfig, Flags, Packet, Segment, SeqNumber};

use crate::endpoint::{CLIENT, Net, SERVER, config, stranger, syn};

#[test]
fn time_waits_have_a_limit() {
    let mut net = Net::new(EndpointConfig {
        time_wait_max: 2,
        ..config()
    });
    let listener = net.listen(10);
    let remotes: Vec<_> = (0..3).map(|_| net.closed(listener)).collect();
    assert_eq!(net.ends[SERVER].time_waits(), 2);
    assert_eq!(net.ends[SERVER].stats().time_waits_cut_short, 1);
    // A late FIN: to the one that was forgotten it is a stranger's.
    for (remote, is_known) in remotes.into_iter().zip([false, true, true]) {
        let mut fin = Segment::new(SeqNumber::new(1), Some(SeqNumber::new(1)));
        fin.flags = Flags::FIN;
        let answers = net.hear(remote, fin);
        assert_eq!(answers[0].segment.flags == Flags::RST, !is_known);
    }
}

/// RFC 9293 §3.10.7.4 for TIME-WAIT, of which only a few bytes are left.
#[test]
fn a_fin_in_time_wait_is_acknowledged_and_begins_it_anew() {
    let mut net = Net::new(config());
    let listener = net.listen(10);
    let remote = net.closed(listener);
    let from_client = |(from, packet): &&(usize, Packet)| {
        *from == CLIENT && packet.segment.flags.contains(Flags::FIN)
    };
    let fin = net.sent.iter().find(from_client).unwrap().1.segment.clone();
    net.pass(Duration::from_secs(50));
    let answers = net.hear(remote, fin.clone());
    assert_eq!(answers.len(), 1);
    let answer = &answers[0].segment;
    assert_eq!(answer.ack, Some(fin.seq.advanced_by(1)));
    assert_eq!(Some(answer.seq), fin.ack);
    let mut reset = Segment::new(fin.seq.advanced_by(1), None);
    reset.flags = Flags::RST;
    assert_eq!(net.hear(remote, reset), [], "RFC 1337");
    net.pass(Duration::from_secs(59));
    assert_eq!(net.ends[SERVER].time_waits(), 1);
    let elsewhere = Segment {
        seq: fin.seq.advanced_by(700),
        ..fin
    };
    assert_eq!(net.hear(remote, elsewhere).len(), 1);
    net.pass(Duration::from_secs(2));
    assert_eq!(net.ends[SERVER].time_waits(), 0);
}

/// What takes sequence space is answered in TIME-WAIT each time, so that its sender stops; of the
/// rest what is out of order, as often as two stacks can that disagree, and what is in order never.
#[test]
fn time_wait_answers_no_more_than_it_must() {
    const TIMES: usize = 20;
    let rarely = 10;
    for (name, seq, ack, flags, bytes, answers) in [
        ("data", -9, 0, Flags::NONE, 9, TIMES),
        ("data with a SYN", -9, 0, Flags::SYN, 9, rarely),
        ("in order", 0, 0, Flags::NONE, 0, 0),
        ("behind the end", 1, 0, Flags::NONE, 0, rarely),
        ("of something not sent", 0, 1, Flags::NONE, 0, rarely),
        ("SYN and ACK", -1, 0, Flags::SYN, 0, rarely),
        ("later SYN and ACK", 1_000, 0, Flags::SYN, 0, rarely),
    ] {
        let mut net = Net::new(config());
        let listener = net.listen(10);
        let remote = net.closed(listener);
        let last = &net.sent.iter().rfind(|(from, _)| *from == SERVER);
        let last = &last.unwrap().1.segment;
        let at = |number: SeqNumber, by: i32| number.advanced_by(by.cast_unsigned());
        let mut segment = Segment::new(at(last.ack.unwrap(), seq), Some(at(last.seq, ack)));
        segment.flags = flags;
        segment.payload = vec![7; bytes].into();
        let heard = (0..TIMES).map(|_| net.hear(remote, segment.clone()).len());
        assert_eq!(heard.sum::<usize>(), answers, "{name}");
        assert_eq!(net.ends[SERVER].time_waits(), 1, "{name}");
    }
}

/// RFC 6191 §2: a SYN that must be a new connection's ends TIME-WAIT, another is dropped.
#[test]
fn a_new_connection_may_end_time_wait() {
    for (later_stamp, later_seq, begins) in [
        (Some(true), false, true),
        (Some(true), true, true),
        (Some(false), true, false),
        (None, true, true),
        (None, false, false),
    ] {
        let mut net = Net::new(config());
        let listener = net.listen(10);
        let remote = net.closed(listener);
        let from = |side: usize| net.sent.iter().filter(move |(from, _)| *from == side);
        let last = &from(CLIENT).next_back().unwrap().1.segment;
        let theirs = from(SERVER).next_back().unwrap().1.segment.clone();
        let recent = last.options.timestamps.unwrap().value;
        let stamp = later_stamp.map(|later| if later { recent + 1 } else { recent - 1 });
        let seq = if later_seq {
            last.seq.advanced_by(1_000)
        } else {
            last.seq.back_by(1_000)
        };
        let answers = net.hear(remote, syn(seq.get(), stamp));
        assert_eq!(
            answers.len(),
            usize::from(begins),
            "{later_stamp:?} {later_seq}"
        );
        assert_eq!(net.ends[SERVER].time_waits(), usize::from(!begins));
        if let Some(answer) = answers.first() {
            assert_eq!(answer.segment.ack, Some(seq.advanced_by(1)));
            assert!(
                answer.segment.seq.is_after(theirs.seq),
                "RFC 9293 §3.10.7.4"
            );
        }
    }
}

/// A SYN that may end TIME-WAIT waits for room as any other does.
#[test]
fn time_wait_is_not_ended_for_a_syn_there_is_no_room_for() {
    for is_queue_full in [false, true] {
        let mut net = Net::new(EndpointConfig {
            half_open_max: if is_queue_full { 10 } else { 1 },
            ..config()
        });
        let listener = net.listen(1);
        let remote = net.closed(listener);
        let from_client = |(from, _): &&(usize, Packet)| *from == CLIENT;
        let last = &net.sent.iter().rfind(from_client).unwrap().1.segment;
        let stamp = last.options.timestamps.unwrap().value + 1_000;
        let next = syn(last.seq.advanced_by(1_000).get(), Some(stamp));
        if is_queue_full {
            net.connect();
            net.pass(Duration::from_millis(50));
        } else {
            assert_eq!(net.hear(stranger(1), syn(7, None)).len(), 1);
        }
        assert_eq!(net.hear(remote, next), [], "{is_queue_full}");
        assert_eq!(net.ends[SERVER].time_waits(), 1);
        assert_eq!(net.ends[SERVER].stats().syns_dropped, 1);
    }
}

/// RFC 6191 §2: after a connection without timestamps, one with them is always new.
#[test]
fn timestamps_begin_a_new_connection_after_one_without() {
    let mut server = config();
    server.connection.timestamps = false;
    let mut net = Net::new(server);
    let listener = net.listen(10);
    let remote = net.closed(listener);
    let from_client = |(from, _): &&(usize, Packet)| *from == CLIENT;
    let old = net.sent.iter().rfind(from_client).unwrap().1.segment.seq;
    for (stamp, answers) in [(None, 0), (Some(1), 1)] {
        let syn = syn(old.back_by(1_000).get(), stamp);
        assert_eq!(net.hear(remote, syn).len(), answers, "{stamp:?}");
    }
}
