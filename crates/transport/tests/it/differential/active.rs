//! Exchanges in which the stack under test calls.

use packhorse_tcp::Flags;

use super::Start::Active;
use super::Step::{Dial, Shutdown, Write};
use super::{Script, Step, same, say};

/// A call, and what comes of it.
fn call(name: &str, steps: &[Step]) -> Script {
    let steps: Vec<Step> = [Dial].into_iter().chain(steps.iter().copied()).collect();
    same(format!("calling, {name}"), Active, &steps)
}

pub(super) fn scripts() -> Vec<Script> {
    let mut scripts = answers();
    scripts.extend(oddities());
    scripts.extend(crossings());
    scripts
}

/// Answers with all kinds of options.
fn answers() -> Vec<Script> {
    let answer = || say(0, 1).flag(Flags::SYN);
    let offering = |mss, sack, scale| answer().offer(mss, sack, scale).step();
    vec![
        call("a SYN", &[]),
        call("an answer", &[answer().step(), say(0, 1).data(1).step()]),
        call("timestamps", &[answer().stamp(500).step()]),
        call(
            "no options",
            &[offering(None, false, None), Write(600), say(1, 537).step()],
        ),
        call(
            "a scaled window",
            &[offering(Some(1_000), true, Some(3)), Write(3_000)],
        ),
        call(
            "a window scaled too far",
            &[offering(Some(1_000), true, Some(15)), Write(3_000)],
        ),
        call(
            "segments of 300 bytes",
            &[offering(Some(300), false, None), Write(700)],
        ),
        call(
            "a closed window",
            &[answer().window(0).step(), Write(100), say(1, 1).step()],
        ),
        call(
            "an answer with data",
            &[answer().data(10).step(), say(1, 1).data(20).step()],
        )
        .but(
            "{\"SYN\"} 0+0 mss scale sackOK echo 0 | {} 1+0 ack 1 | {} 1+0 ack 21",
            "{\"SYN\"} 0+0 mss scale sackOK echo 0 | {} 1+0 ack 11 | {} 1+0 ack 21 sack 1:11",
            "RFC 9293 §3.10.7.3, fifth step: what comes with the answer is taken",
        ),
        call(
            "an answer with a FIN",
            &[answer().flag(Flags::FIN).step(), say(1, 1).data(1).step()],
        )
        .but(
            "{\"SYN\"} 0+0 mss scale sackOK echo 0 | {} 1+0 ack 1 | {} 1+0 ack 2",
            "{\"SYN\"} 0+0 mss scale sackOK echo 0 | {} 1+0 ack 2 | {} 1+0 ack 2 sack 1:2",
            "RFC 9293 §3.10.7.3, fifth step: what comes with the answer is taken",
        ),
        call(
            "the answer twice",
            &[answer().step(), answer().step(), say(0, 1).data(1).step()],
        ),
    ]
}

/// What is no answer.
fn oddities() -> Vec<Script> {
    let (fin, syn, rst) = (Flags::FIN, Flags::SYN, Flags::RST);
    let answer = || say(0, 1).flag(syn).step();
    vec![
        call(
            "a refusal",
            &[say(0, 1).flag(rst).step(), say(1, 1).data(1).step()],
        ),
        call(
            "a reset without an ACK",
            &[say(0, 1).flag(rst).without_ack().step(), answer()],
        ),
        call(
            "a reset of what was never sent",
            &[say(0, 77).flag(rst).step(), answer()],
        ),
        call(
            "an ACK of what was never sent",
            &[say(0, 77).step(), answer()],
        ),
        call("an ACK of nothing", &[say(0, 0).step(), answer()]),
        call(
            "an answer with a wrong ACK",
            &[say(0, 77).flag(syn).step(), answer()],
        ),
        call("an ACK without a SYN", &[say(0, 1).step(), answer()]),
        call(
            "a FIN without a SYN",
            &[say(0, 1).flag(fin).step(), answer()],
        ),
        call("data without a SYN", &[say(1, 1).data(10).step(), answer()]),
    ]
}

/// SYNs that cross, and ends that have lost their memory.
fn crossings() -> Vec<Script> {
    let (fin, syn, rst) = (Flags::FIN, Flags::SYN, Flags::RST);
    let answer = || say(0, 1).flag(syn);
    let crossing = || answer().without_ack().step();
    let probe = || say(0, 1).data(1).step();
    vec![
        call("both at once", &[crossing(), say(1, 1).step(), probe()]),
        call(
            "both at once, the SYN again with an ACK",
            &[crossing(), answer().step(), probe()],
        ).but("{\"SYN\"} 0+0 mss scale sackOK echo 0 |  | {} 1+0 ack 1 sack 0:1 | {} 1+0 ack 1 sack 0:1","{\"SYN\"} 0+0 mss scale sackOK echo 0 |  |  | {} 1+0 ack 1 sack 0:1","RFC 9293 §3.5, figure 7: nothing is owed for the SYN that both have answered"),
        call(
            "both at once, then a reset",
            &[
                crossing(),
                say(1, 1).flag(rst).step(),
                say(1, 1).data(1).step(),
            ],
        ),
        call(
            "then both close at once",
            &[
                answer().step(),
                Shutdown,
                say(1, 1).flag(fin).step(),
                say(2, 2).step(),
                say(1, 2).data(1).step(),
            ],
        ),
        call(
            "a peer that begins anew, and resets what it does not know",
            &[
                answer().step(),
                say(9_000, 0).flag(syn).without_ack().step(),
                say(1, 0).flag(rst).without_ack().step(),
                say(1, 1).data(1).step(),
            ],
        ),
    ]
}
