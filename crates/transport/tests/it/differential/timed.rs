//! What timers do: how often and in which order, whatever the clock says.

use packhorse_tcp::Flags;

use super::Start::{Active, Established, KeptAlive, Listen, Plain, Six, Stamped};
use super::Step::{Await, Dial, Shutdown, Write};
use super::{Script, same, say};

pub(super) fn scripts() -> Vec<Script> {
    let (fin, syn) = (Flags::FIN, Flags::SYN);
    vec![
        same("a SYN without an answer", Active, &[Dial, Await(1)]),
        same(
            "a SYN-ACK without an answer",
            Listen,
            &[say(0, 0).without_ack().flag(syn).step(), Await(1)],
        ),
        same(
            "data without an answer, no SACK",
            Plain,
            &[Write(3_000), Await(3), say(1, 3_001).step()],
        ),
        same(
            "data without an answer, SACK",
            Established,
            &[Write(3_000), Await(3), say(1, 3_001).step()],
        ),
        same(
            "one segment without an answer",
            Stamped,
            &[Write(500), Await(2), say(1, 501).stamp(1_000).step()],
        ),
        same(
            "a FIN without an answer",
            Plain,
            &[Shutdown, Await(2), say(1, 2).step()],
        ),
        same(
            "data and FIN without an answer, over IPv6",
            Six,
            &[
                Write(500),
                Shutdown,
                Await(2),
                say(1, 502).step(),
                say(1, 502).flag(fin).step(),
            ],
        ).but("{} 1+500 ack 1 | {\"FIN\"} 501+0 ack 1 | {\"FIN\"} 501+0 ack 1, {\"FIN\"} 1+500 ack 1 |  | {} 502+0 ack 2","{} 1+500 ack 1 | {\"FIN\"} 501+0 ack 1 | {\"FIN\"} 501+0 ack 1, {} 1+500 ack 1 |  | {} 502+0 ack 2","RFC 9293 §3.7.5: segments may be cut anew when they go out again, and need not be"),
        same(
            "a closed window is probed",
            Plain,
            &[
                say(1, 1).window(0).step(),
                Write(500),
                Await(2),
                say(1, 1).window(600).step(),
            ],
        ).but(" |  | {} 0+0 ack 1, {} 0+0 ack 1 | {} 1+500 ack 1"," |  | {} 1+1 ack 1, {} 1+1 ack 1 | {} 2+499 ack 1","RFC 9293 §3.8.6.1: a probe is an octet of new data; the kernel asks with an old number"),
        same(
            "a silent peer is asked, then given up",
            KeptAlive,
            &[Await(2)],
        ),
        same(
            "a silent peer is asked and answers",
            KeptAlive,
            &[Await(1), say(1, 1).step(), Await(1)],
        ),
    ]
}
