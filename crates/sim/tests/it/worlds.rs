//! Ten thousand worlds; more by `cargo run --release -p packhorse-sim -- worlds --count N`.

use packhorse_sim::report::{Report, explain};
use packhorse_sim::scenario::Scenario;

const WORLDS_PER_TEST: u64 = 1_000;

/// Runs the worlds of one test and holds them to what all of them together must show.
fn check(part: u64) {
    let report = Report::of(part * WORLDS_PER_TEST, WORLDS_PER_TEST, 1);
    println!("{report}");
    if let Some((seed, _)) = report.wrong.first() {
        panic!("{}", explain(*seed).unwrap_or_default());
    }
    assert_eq!(report.worlds, WORLDS_PER_TEST);
    assert!(report.long >= 100, "too few long worlds\n{report}");
    assert!(report.complete > WORLDS_PER_TEST * 9 / 10, "{report}");
    let links = &report.links;
    for (fault, count, least) in [
        ("lost", links.lost, 10_000),
        ("lost in full queues", links.overflowed, 100),
        ("reordered", links.reordered, 1_000),
        ("duplicated", links.duplicated, 1_000),
        ("corrupted", links.corrupted, 1_000),
    ] {
        assert!(count > least, "few packets were {fault}\n{report}");
    }
}

macro_rules! parts {
    ($($name:ident $part:literal)*) => {
        $(
            #[test]
            fn $name() {
                check($part);
            }
        )*
    };
}

parts! {
    the_stream_is_the_stream_in_worlds_0 0
    the_stream_is_the_stream_in_worlds_1 1
    the_stream_is_the_stream_in_worlds_2 2
    the_stream_is_the_stream_in_worlds_3 3
    the_stream_is_the_stream_in_worlds_4 4
    the_stream_is_the_stream_in_worlds_5 5
    the_stream_is_the_stream_in_worlds_6 6
    the_stream_is_the_stream_in_worlds_7 7
    the_stream_is_the_stream_in_worlds_8 8
    the_stream_is_the_stream_in_worlds_9 9
}

#[test]
fn a_seed_replays_to_the_last_bit() {
    for seed in 0..50 {
        let run = || {
            let outcome = Scenario::draw(seed).run(true);
            let outcome = outcome.unwrap_or_else(|(wrong, _)| panic!("seed {seed}: {wrong}"));
            (
                outcome.ended,
                outcome.progress,
                outcome.links,
                outcome.trace,
            )
        };
        let (first, second) = (run(), run());
        assert!(first.3.as_ref().is_some_and(|t| !t.records().is_empty()));
        assert!(first == second, "seed {seed} gave two worlds");
    }
}
