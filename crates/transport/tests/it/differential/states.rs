//! Every state against resets, SYNs, FINs, data and acknowledgements, in the window and out of it.

use packhorse_tcp::Flags;

use super::{Difference, Say, Script, Start, Step, same, say};

/// A state: the steps that lead there, what is expected next, and what the peer has seen.
struct Place {
    name: &'static str,
    from: Start,
    way: Vec<Step>,
    next: u32,
    ack: u32,
}

/// A state, what comes there, and what the two make of it.
type Known = (&'static str, &'static str, Difference);

pub(super) fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for place in places() {
        for (stimulus, said) in stimuli(place.next, place.ack) {
            let name = format!("{}, {stimulus}", place.name);
            let mut steps = place.way.clone();
            steps.push(said.step());
            // An old byte: acknowledged as long as the connection is there.
            steps.push(say(place.next - 1, place.ack).data(1).step());
            let mut script = same(name, place.from, &steps).after(place.way.len());
            script.differs = DIFFERENCES
                .iter()
                .find(|(state, what, _)| place.name == *state && stimulus == *what)
                .map(|(_, _, difference)| *difference);
            scripts.push(script);
        }
    }
    scripts
}

fn places() -> Vec<Place> {
    let fin = |seq, ack| say(seq, ack).flag(Flags::FIN).step();
    // What the kernel may acknowledge later, by its timer, it acknowledges now.
    let settle = say(1, 1).data(1).step();
    let close = Step::Shutdown;
    let open = Start::Established;
    let place = |name, from, way: &[Step], next, ack| Place {
        name,
        from,
        way: way.to_vec(),
        next,
        ack,
    };
    vec![
        place("SYN-RECEIVED", Start::SynReceived, &[], 1, 1),
        place("ESTABLISHED", open, &[], 1, 1),
        place("FIN-WAIT-1", open, &[close], 1, 1),
        place("FIN-WAIT-2", open, &[close, say(1, 2).step()], 1, 2),
        place("CLOSE-WAIT", open, &[fin(1, 1), settle], 2, 1),
        place("CLOSING", open, &[close, fin(1, 1), settle], 2, 1),
        place("LAST-ACK", open, &[fin(1, 1), settle, close], 2, 1),
        place(
            "TIME-WAIT",
            open,
            &[close, say(1, 2).step(), fin(1, 2)],
            2,
            2,
        ),
    ]
}

fn stimuli(next: u32, ack: u32) -> Vec<(&'static str, Say)> {
    let at = |offset: u32| say(next.wrapping_add(offset), ack);
    let (fin, syn, rst) = (Flags::FIN, Flags::SYN, Flags::RST);
    vec![
        ("a reset at RCV.NXT", at(0).flag(rst)),
        ("a reset in the window", at(100).flag(rst)),
        ("a reset behind the window", at(200_000).flag(rst)),
        (
            "a reset before the window",
            at(10_u32.wrapping_neg()).flag(rst),
        ),
        ("a SYN in the window", at(10).flag(syn).without_ack()),
        (
            "a SYN behind the window",
            at(300_000).flag(syn).without_ack(),
        ),
        ("a SYN with an ACK in the window", at(10).flag(syn)),
        ("a FIN behind a hole", at(100).flag(fin)),
        ("a FIN behind the window", at(200_000).flag(fin)),
        ("data behind the window", at(200_000).data(10)),
        ("data behind a hole", at(100).data(10)),
        (
            "an ACK of what was never sent",
            say(next, ack + 5_000).data(10),
        ),
        (
            "an ACK that is far too old",
            say(next, ack.wrapping_sub(200_000)).data(10),
        ),
        ("data without an ACK", at(0).data(10).without_ack()),
    ]
}

const BEGINS_ANEW: &str = "RFC 9293 §3.10.7.4, fourth check, would have a passive open return to \
    LISTEN; as in the synchronised states (RFC 5961 §4.2) a SYN that was guessed ends nothing";
const BEHIND_ITS_FIN: &str = "RFC 9293 §3.10.7.4, seventh and eighth check: it is ignored; that \
    the peer is told so as well does no harm";
const RESET_IN_TIME_WAIT: &str = "RFC 1337 §3, fix F1: a reset does not cut TIME-WAIT short";
const SYN_IN_TIME_WAIT: &str = "RFC 9293 §3.10.7.4, fourth check: a new connection MAY follow; \
    that is for the endpoint, which has the listener (RFC 6191)";

const DIFFERENCES: &[Known] = &[
    (
        "SYN-RECEIVED",
        "a SYN in the window",
        Difference {
            kernel: "{\"RST\"} =0+0 ack 12 | {\"RST\"} 1+0",
            ours: "{} 1+0 ack 1 | {} 1+0 ack 1",
            rule: BEGINS_ANEW,
        },
    ),
    (
        "SYN-RECEIVED",
        "a SYN with an ACK in the window",
        Difference {
            kernel: "{\"RST\"} 1+0 | {\"RST\"} 1+0",
            ours: "{} 1+0 ack 1 | {} 1+0 ack 1",
            rule: BEGINS_ANEW,
        },
    ),
    (
        "CLOSE-WAIT",
        "a FIN behind a hole",
        Difference {
            kernel: " | {} 1+0 ack 2 sack 1:2",
            ours: "{} 1+0 ack 2 | {} 1+0 ack 2 sack 1:2",
            rule: BEHIND_ITS_FIN,
        },
    ),
    (
        "CLOSE-WAIT",
        "data behind a hole",
        Difference {
            kernel: " | {} 1+0 ack 2 sack 1:2",
            ours: "{} 1+0 ack 2 | {} 1+0 ack 2 sack 1:2",
            rule: BEHIND_ITS_FIN,
        },
    ),
    (
        "CLOSING",
        "a FIN behind a hole",
        Difference {
            kernel: " | {} 2+0 ack 2 sack 1:2",
            ours: "{} 2+0 ack 2 | {} 2+0 ack 2 sack 1:2",
            rule: BEHIND_ITS_FIN,
        },
    ),
    (
        "CLOSING",
        "data behind a hole",
        Difference {
            kernel: " | {} 2+0 ack 2 sack 1:2",
            ours: "{} 2+0 ack 2 | {} 2+0 ack 2 sack 1:2",
            rule: BEHIND_ITS_FIN,
        },
    ),
    (
        "LAST-ACK",
        "a FIN behind a hole",
        Difference {
            kernel: " | {} 2+0 ack 2 sack 1:2",
            ours: "{} 2+0 ack 2 | {} 2+0 ack 2 sack 1:2",
            rule: BEHIND_ITS_FIN,
        },
    ),
    (
        "LAST-ACK",
        "data behind a hole",
        Difference {
            kernel: " | {} 2+0 ack 2 sack 1:2",
            ours: "{} 2+0 ack 2 | {} 2+0 ack 2 sack 1:2",
            rule: BEHIND_ITS_FIN,
        },
    ),
    (
        "TIME-WAIT",
        "a reset at RCV.NXT",
        Difference {
            kernel: " | {\"RST\"} 2+0",
            ours: " | {} 2+0 ack 2",
            rule: RESET_IN_TIME_WAIT,
        },
    ),
    (
        "TIME-WAIT",
        "a SYN in the window",
        Difference {
            kernel: "{\"SYN\"} 0+0 ack 13 mss | {\"RST\"} 2+0",
            ours: "{} 2+0 ack 2 | {} 2+0 ack 2",
            rule: SYN_IN_TIME_WAIT,
        },
    ),
    (
        "TIME-WAIT",
        "a SYN behind the window",
        Difference {
            kernel: "{\"SYN\"} 0+0 ack 300003 mss | {\"RST\"} 2+0",
            ours: "{} 2+0 ack 2 | {} 2+0 ack 2",
            rule: SYN_IN_TIME_WAIT,
        },
    ),
    (
        "TIME-WAIT",
        "data without an ACK",
        Difference {
            kernel: "{} 2+0 ack 2 | {} 2+0 ack 2",
            ours: " | {} 2+0 ack 2",
            rule: "RFC 9293 §3.10.7.4, fifth check: without an ACK it is dropped",
        },
    ),
];
