//! Whatever a peer sends: no panic, no growth, no endless exchange.

use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::wire::UserTimeoutOption;
use packhorse_tcp::{Config, Flags, Instant, Options, Read, Timestamps};
use proptest::prelude::*;

use crate::lab::{Lab, STATES, Say, plain, say};

/// Something that happens to a connection.
#[derive(Debug, Clone)]
enum Step {
    Hear(Say),
    Pass(u64),
    Write(usize),
    Read(usize),
    Shutdown,
    Close,
    Abort,
}

/// Numbers where something can go wrong: around the window, around what was sent, anywhere.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 0_u32..12_000,
        2 => (0_u32..3_000).prop_map(|back| 0_u32.wrapping_sub(back)),
        1 => (0_u32..100).prop_map(|near| (1 << 31) + near - 50),
        1 => any::<u32>(),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    (
        prop::option::weighted(0.5, (number(), number())),
        prop::option::weighted(0.1, any::<u16>()),
        prop::option::weighted(0.1, any::<u8>()),
        any::<bool>(),
        prop::option::weighted(0.1, any::<(bool, u16)>()),
    )
        .prop_map(
            |(stamps, mss, window_scale, sack_permitted, timeout)| Options {
                timestamps: stamps.map(|(value, echo)| Timestamps { value, echo }),
                mss,
                window_scale,
                sack_permitted,
                user_timeout: timeout.map(|(minutes, count)| UserTimeoutOption { minutes, count }),
                ..Options::default()
            },
        )
}

fn segment() -> impl Strategy<Value = Say> {
    let flags = prop::sample::select(vec![
        Flags::NONE,
        Flags::NONE,
        Flags::NONE,
        Flags::PSH,
        Flags::FIN,
        Flags::SYN,
        Flags::RST,
        Flags::SYN | Flags::FIN,
        Flags::SYN | Flags::RST,
        Flags::FIN | Flags::URG | Flags::ECE | Flags::CWR | Flags::AE,
    ]);
    let blocks = prop::collection::vec((number(), number()), 0..5);
    let window = prop_oneof![Just(0_u16), 0_u16..3_000, any::<u16>()];
    let ack = prop::option::weighted(0.9, number());
    (
        number(),
        ack,
        flags,
        window,
        blocks,
        options(),
        0_usize..2_000,
    )
        .prop_map(|(seq, ack, flags, window, blocks, options, length)| {
            say(seq, ack)
                .flag(flags)
                .window(window)
                .options(options)
                .sack(&blocks)
                .data(if length < 1_000 { 0 } else { length })
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => segment().prop_map(Step::Hear),
        4 => prop_oneof![0_u64..300, 0_u64..100_000].prop_map(Step::Pass),
        3 => (0_usize..20_000).prop_map(Step::Write),
        3 => (0_usize..5_000).prop_map(Step::Read),
        1 => Just(Step::Shutdown),
        1 => prop_oneof![4 => Just(Step::Shutdown), 1 => Just(Step::Close), 1 => Just(Step::Abort)],
    ]
}

fn configs() -> Vec<Config> {
    let small = Config {
        receive_buffer_bytes: 3_000,
        send_buffer_bytes: 10_000,
        reassembly_pieces_max: 4,
        segments_in_flight_max: 5,
        ..Config::default()
    };
    let zero = Config {
        receive_buffer_bytes: 0,
        mtu_bytes: 0,
        delayed_ack: Duration::ZERO,
        initial_window_segments: 0,
        segments_in_flight_max: 0,
        reassembly_pieces_max: 0,
        rto: packhorse_tcp::RtoBounds {
            initial: Duration::ZERO,
            margin_min: Duration::ZERO,
            max: Duration::ZERO,
        },
        keep_alive: Some(packhorse_tcp::KeepAlive {
            idle: Duration::ZERO,
            interval: Duration::ZERO,
            probes_max: 3,
        }),
        ..Config::default()
    };
    vec![plain(), Config::default(), small, zero]
}

fn run(lab: &mut Lab, steps: Vec<Step>, buffer: u64) {
    for step in steps {
        match step {
            Step::Hear(said) => lab.connection.handle_segment(lab.now, said.segment()),
            Step::Pass(millis) => {
                let end = lab.now + Duration::from_millis(millis);
                for count in 0.. {
                    let Some(deadline) = lab.connection.poll_timeout() else {
                        break;
                    };
                    if deadline.at() > end {
                        break;
                    }
                    lab.now = lab.now.max(deadline.at());
                    lab.connection.handle_timeout(lab.now);
                    lab.sent();
                    let next = lab.connection.poll_timeout();
                    assert!(
                        next.is_none_or(|next| next.at() > lab.now),
                        "{next:?} at {:?}",
                        lab.now
                    );
                    assert!(count < 200_000, "{deadline:?} again and again");
                }
                lab.now = end;
            }
            Step::Write(length) => {
                lab.connection.write(lab.now, Bytes::from(vec![0; length]));
            }
            Step::Read(length) => {
                if let Read::Data(data) = lab.connection.read(lab.now, length) {
                    assert!(data.len() <= length && !data.is_empty());
                }
            }
            Step::Shutdown => lab.connection.shutdown(lab.now),
            Step::Close => lab.connection.close(lab.now),
            Step::Abort => lab.connection.abort(lab.now),
        }
        lab.sent();
        lab.events();
        assert!(lab.connection.readable() <= buffer.max(65_535) + (1 << 14));
        assert!(lab.connection.stats().in_flight <= 1 << 30);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Anything into a connection in any state, under any configuration.
    #[test]
    fn no_input_panics_or_stalls(
        state in prop::sample::select(STATES.to_vec()),
        config in prop::sample::select((0..configs().len()).collect::<Vec<_>>()),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let config = &configs()[config];
        let mut lab = if config.receive_buffer_bytes == 0 || config.mtu_bytes == 0 {
            Lab::syn_sent(config)
        } else {
            Lab::in_state(config, state)
        };
        run(&mut lab, steps, config.receive_buffer_bytes);
    }
}

/// Once its time is over, a connection waits; it does not turn in a circle.
#[test]
fn the_last_instant_is_no_endless_loop() {
    for window in [60_000, 0] {
        for before in [0, 1, 1_000_000, 1_000_000_000] {
            let mut lab = Lab::established(&plain());
            lab.hear(say(1, 1).window(window));
            lab.now = Instant::from_nanos(u64::MAX - before);
            lab.write(3_000);
            lab.connection.shutdown(lab.now);
            lab.now = Instant::from_nanos(u64::MAX);
            for _ in 0..100 {
                lab.connection.handle_timeout(lab.now);
                lab.sent();
            }
        }
    }
}
