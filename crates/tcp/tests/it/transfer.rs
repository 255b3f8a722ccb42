//! Whole connections: handshake, data both ways, losses, close.

use std::time::Duration;

use packhorse_tcp::congestion::Congestion;
use packhorse_tcp::{Config, Counters, Event, Flags, Instant, SeqNumber, State};

use crate::pair::{Fate, Pair, pattern};

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

/// Sends `up` and `down` bytes under `fate`, and checks that all of it came, once, in order.
fn check(
    client: &Config,
    server: &Config,
    up: usize,
    down: usize,
    fate: &mut dyn FnMut(usize) -> Fate,
) -> Pair {
    check_pair(Pair::new(client, server), up, down, fate)
}

fn check_pair(mut pair: Pair, up: usize, down: usize, fate: &mut dyn FnMut(usize) -> Fate) -> Pair {
    let mut count = 0;
    let mut each = |_: &packhorse_tcp::Packet, _: bool| {
        count += 1;
        fate(count)
    };
    pair.client.send(pattern(up));
    pair.client.finish();
    while pair.server.is_none() {
        let until = pair.now + Duration::from_secs(1);
        pair.run_until(until, &mut each);
        assert!(pair.now < at(200), "no handshake");
    }
    pair.server().send(pattern(down));
    pair.server().finish();
    pair.run_until(at(20_000), &mut each);
    for end in [pair.server.as_ref().unwrap(), &pair.client] {
        let connection = &end.connection;
        let due = connection.poll_timeout();
        assert_eq!(
            (connection.state(), connection.failure()),
            (State::Closed, None),
            "at {:?}, due {due:?}, {:?}, {:#?}",
            pair.now,
            end.events,
            connection,
        );
    }
    assert!(
        pair.server().got == pattern(up),
        "{} of {up} up",
        pair.server().got.len()
    );
    assert!(
        pair.client.got == pattern(down),
        "{} of {down} down",
        pair.client.got.len()
    );
    for end in [&pair.client, pair.server.as_ref().unwrap()] {
        for event in [Event::Connected, Event::PeerClosed, Event::Finished] {
            assert!(end.saw(event), "{event:?} in {:?}", end.events);
        }
        assert_eq!(end.events.last(), Some(&Event::Closed));
        assert_eq!(end.connection.failure(), None);
    }
    pair
}

/// A generator of numbers that look random (`xorshift64*`), so that runs can be repeated.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }
}

/// Whatever is set to nothing, a stream comes through, byte by byte if need be.
#[test]
fn no_setting_of_nothing_stops_a_stream() {
    type Set = fn(&mut Config);
    let settings: [(&str, Set); 9] = [
        ("mtu", |config| config.mtu_bytes = 0),
        ("held", |config| config.receive_buffer_bytes = 0),
        ("held at first", |config| {
            // Less than a unit of the scale: such a window would stay closed.
            config.receive_buffer_initial_bytes = 0;
        }),
        ("written", |config| config.send_buffer_bytes = 0),
        ("delayed ACK", |config| config.delayed_ack = Duration::ZERO),
        ("quick ACKs", |config| config.quick_acks = 0),
        ("first window", |config| config.initial_window_segments = 0),
        ("pieces", |config| config.reassembly_pieces_max = 0),
        ("in flight", |config| config.segments_in_flight_max = 0),
    ];
    for (name, set) in settings {
        println!("{name}");
        let mut config = Config::default();
        set(&mut config);
        check(&config, &config, 2_000, 1_000, &mut |count| {
            if count % 10 == 0 {
                Fate::Lose
            } else {
                Fate::Deliver
            }
        });
    }
}

#[test]
fn a_clean_path_needs_no_retransmission() {
    let config = Config::default();
    let mut pair = check(&config, &config, 3_000_000, 1_000_000, &mut |_| {
        Fate::Deliver
    });
    for stats in [
        pair.client.connection.stats().counters,
        pair.server().connection.stats().counters,
    ] {
        assert_eq!((stats.retransmits, stats.rtos), (0, 0), "{stats:?}");
        assert_eq!(stats.acks_withheld, 0);
    }
}

/// Seeds to try: 40, or as many as `PACKHORSE_TCP_SEEDS` says, after `PACKHORSE_TCP_SEED`.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("PACKHORSE_TCP_SEED").unwrap_or(0);
    first..first + number("PACKHORSE_TCP_SEEDS").unwrap_or(40)
}

/// Any configuration that a user could think of.
fn any_config(random: &mut dyn FnMut() -> u64) -> Config {
    let mut coin = |parts: u64| random().is_multiple_of(parts);
    let mut config = Config {
        timestamps: !coin(3),
        sack: !coin(3),
        window_scale: !coin(3),
        nagle: !coin(3),
        pacing: !coin(3),
        congestion: if coin(2) {
            Congestion::Cubic
        } else {
            Congestion::NewReno
        },
        ..Config::default()
    };
    let tiny = coin(4);
    let pieces = coin(4);
    // With a fifth of everything lost, the last acknowledgement may take its time: nobody
    // gives up, and TIME-WAIT is longer than several time-outs.
    config.time_wait = Duration::from_secs(1_200);
    config.user_timeout.local = Duration::from_secs(3_600);
    config.mtu_bytes = [576, 1_280, 1_500, 9_000][(random() % 4) as usize];
    if tiny {
        config.receive_buffer_bytes = 500 + random() % 20_000;
        config.send_buffer_bytes = 500 + random() % 20_000;
    }
    if pieces {
        config.reassembly_pieces_max = 3;
        config.segments_in_flight_max = 20;
    }
    config
}

/// A transfer both ways between two ends and over a path that `seed` chooses.
fn any_transfer(seed: u64, segments_max: usize) -> Pair {
    let mut random = random(seed);
    let (client, server) = (any_config(&mut random), any_config(&mut random));
    let (lose, twice, delay) = (random() % 20, random() % 10, random() % 30);
    let jitter = random() % 80;
    let (up, down) = ((random() % 100_000) as usize, (random() % 100_000) as usize);
    let mut fate = |_| match random() % 100 {
        roll if roll < lose => Fate::Lose,
        roll if roll < lose + twice => Fate::Twice,
        roll if roll < lose + twice + delay => {
            Fate::Delay(Duration::from_millis(random() % (jitter + 1)))
        }
        _ => Fate::Deliver,
    };
    let mut pair = Pair::new(&client, &server);
    pair.segments_max = segments_max;
    check_pair(pair, up, down, &mut fate)
}

/// In a batch goes out what would go out one by one, and both ends are the same afterwards.
#[test]
fn batches_are_what_single_segments_would_be() {
    let mut batched = 0;
    for seed in seeds() {
        let one_by_one = any_transfer(seed, 1);
        let segments_max = 2 + seed as usize % 60;
        let in_batches = any_transfer(seed, segments_max);
        batched += in_batches.batches;
        assert!(one_by_one.log == in_batches.log, "seed {seed}");
        let [one, other] = [one_by_one, in_batches].map(|mut pair| {
            let server = format!("{:?}", pair.server().connection);
            (format!("{:?}", pair.client.connection), server)
        });
        assert_eq!(one, other, "seed {seed}");
    }
    assert!(batched > 100, "{batched} batches prove little");
}

/// A FIN goes out with the last segment, also if that is as long as the others.
#[test]
fn a_batch_leaves_the_fin_its_segment() {
    let config = Config {
        pacing: false,
        initial_window_segments: 20,
        ..Config::default()
    };
    let run = |segments_max| {
        let mut pair = Pair::new(&config, &config);
        pair.segments_max = segments_max;
        check_pair(pair, 14_480, 0, &mut |_| Fate::Deliver)
    };
    let (one_by_one, in_batches) = (run(1), run(64));
    assert!(one_by_one.log == in_batches.log);
    assert!(in_batches.batches > 0);
}

#[test]
fn whatever_the_path_does_the_stream_comes_through() {
    let mut total = Counters::default();
    for seed in seeds() {
        println!("seed {seed}");
        let mut pair = any_transfer(seed, 1);
        for stats in [
            pair.client.connection.stats().counters,
            pair.server().connection.stats().counters,
        ] {
            total.retransmits += stats.retransmits;
            total.rtos += stats.rtos;
            total.fast_recoveries += stats.fast_recoveries;
            total.loss_probes += stats.loss_probes;
            total.window_probes += stats.window_probes;
            total.spurious_undone += stats.spurious_undone;
            total.dsacks_received += stats.dsacks_received;
            total.duplicate_acks += stats.duplicate_acks;
            total.reassembly_dropped += stats.reassembly_dropped;
        }
    }
    println!("{total:#?}");
    // What never happens is not tested.
    for happened in [
        total.retransmits,
        total.rtos,
        total.fast_recoveries,
        total.loss_probes,
        total.spurious_undone,
        total.dsacks_received,
        total.duplicate_acks,
    ] {
        assert!(happened > 0, "{total:#?}");
    }
}

/// Behaviour 8: sequence numbers wrap, near 2^31 and near 2^32, with losses right there.
#[test]
fn b08_sequence_numbers_wrap() {
    let config = Config::default();
    for isn in [0, u32::MAX, u32::MAX - 40_000, (1 << 31) - 40_000, 1 << 31] {
        let mut pair = Pair::with_isns(&config, &config, isn, isn.wrapping_add(7));
        let mut count = 0;
        let mut fate = |_: &packhorse_tcp::Packet, _: bool| {
            count += 1;
            if count % 17 == 0 {
                Fate::Lose
            } else {
                Fate::Deliver
            }
        };
        pair.client.send(pattern(150_000));
        pair.client.finish();
        pair.run_until(at(2), &mut fate);
        pair.server().send(pattern(150_000));
        pair.server().finish();
        pair.run_until(at(300), &mut fate);
        assert!(pair.server().got == pattern(150_000), "{isn}");
        assert!(pair.client.got == pattern(150_000), "{isn}");
        assert!(
            pair.client.connection.stats().counters.retransmits > 0,
            "{isn}"
        );
    }
}

/// Two stacks do not go on answering each other, whatever one forged segment says.
#[test]
fn a_forged_segment_starts_no_endless_exchange() {
    let config = Config::default();
    let mut random = random(77);
    for round in 0..300 {
        let mut pair = Pair::new(&config, &config);
        pair.run_until(at(3), &mut |_, _| Fate::Deliver);
        let before = pair.log.len();
        let (_, from_client, mut forged) = pair.log[before - 1].clone();
        let near = |random: &mut dyn FnMut() -> u64, number: SeqNumber| match random() % 4 {
            0 => number,
            1 => number.advanced_by((random() % 100_000) as u32),
            2 => number.back_by((random() % 100_000) as u32),
            _ => SeqNumber::new(random() as u32),
        };
        forged.segment.seq = near(&mut random, forged.segment.seq);
        forged.segment.ack = forged.segment.ack.map(|ack| near(&mut random, ack));
        if random().is_multiple_of(2) {
            forged.segment.payload = pattern(100);
        }
        let flags = [Flags::NONE, Flags::SYN, Flags::FIN, Flags::RST];
        forged.segment.flags = flags[(random() % 4) as usize];
        let now = pair.now;
        pair.deliver(forged.clone(), from_client, now);
        pair.run_until(at(600), &mut |_, _| Fate::Deliver);
        let exchanged = pair.log.len() - before;
        assert!(
            exchanged < 60,
            "round {round}: {exchanged} packets after {forged:?}"
        );
    }
}
