//! Connections at the mercy of bytes; `cargo run --release -p packhorse-sim -- fuzz` goes on.

use std::path::Path;

use packhorse_sim::fuzz;
use packhorse_sim::random::Random;

/// How many inputs are made of those that are kept.
const INPUTS: u64 = 20_000;

#[test]
fn nothing_panics_or_goes_on_for_ever() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/connection");
    let corpus = fuzz::corpus(&directory).expect("the corpus can be read");
    assert!(corpus.len() > 20, "{} inputs are kept", corpus.len());
    let mut reached = fuzz::Features::new();
    for (name, input) in &corpus {
        match fuzz::play(input) {
            Ok(features) => reached.extend(features),
            Err(finding) => panic!("{name}: {finding}"),
        }
    }
    for state in [
        "SYN-SENT",
        "SYN-RECEIVED",
        "ESTABLISHED",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "CLOSE-WAIT",
        "CLOSING",
        "LAST-ACK",
        "TIME-WAIT",
        "CLOSED",
    ] {
        assert!(reached.contains(state), "no input reaches {state}");
    }
    let mut random = Random::new(1);
    for number in 0..INPUTS {
        let [first, second] = [(); 2].map(|()| random.below(corpus.len() as u64) as usize);
        let input = fuzz::mutate(&corpus[first].1, &corpus[second].1, &mut random);
        if let Err(finding) = fuzz::play(&input) {
            panic!("{finding}: input {number} is {input:?}");
        }
    }
}
