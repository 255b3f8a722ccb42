//! Exchanges written by hand.

use packhorse_tcp::Flags;

use super::Start::{Established, Listen, Stamped, SynReceived};
use super::Step::{Shutdown, Write};
use super::{Script, same, say};

/// Only what is answered at once, whatever the time is: no acknowledgement that the kernel
/// delays, such as that of a FIN in order, which its timer may or may not send meanwhile.
pub(super) fn scripts() -> Vec<Script> {
    let (fin, syn, rst) = (Flags::FIN, Flags::SYN, Flags::RST);
    vec![
        same("a SYN", Listen, &[say(0, 0).without_ack().flag(syn).step()]),
        same(
            "a SYN with timestamps",
            Listen,
            &[say(0, 0).without_ack().flag(syn).stamp(7).step()],
        ),
        same(
            "SYN-RECEIVED, data beyond the window",
            SynReceived,
            &[say(200_000, 1).data(10).step()],
        ),
        same(
            "SYN-RECEIVED, an ACK of what was never sent",
            SynReceived,
            &[say(1, 2).step()],
        ),
        same(
            "SYN-RECEIVED, data with the ACK",
            SynReceived,
            &[say(1, 1).data(10).step()],
        ),
        same(
            "data in order",
            Established,
            &[say(1, 1).data(1_000).step(), say(1_001, 1).data(10).step()],
        ),
        same(
            "data behind a hole, then the hole",
            Established,
            &[
                say(1_001, 1).data(1_000).step(),
                say(3_001, 1).data(1_000).step(),
                say(1, 1).data(1_000).step(),
                say(2_001, 1).data(1_000).step(),
            ],
        ),
        same(
            "a duplicate in order",
            Established,
            &[say(1, 1).data(1_000).step(), say(1, 1).data(1_000).step()],
        ),
        same(
            "a duplicate behind a hole",
            Established,
            &[
                say(2_001, 1).data(1_000).step(),
                say(2_001, 1).data(1_000).step(),
            ],
        ),
        same(
            "data beyond the window",
            Established,
            &[say(200_001, 1).data(10).step()],
        ),
        same(
            "an ACK of what was never sent",
            Established,
            &[say(1, 5_000).step()],
        ),
        same(
            "data with an ACK of what was never sent",
            Established,
            &[say(1, 5_000).data(10).step(), say(1, 1).data(20).step()],
        ),
        same(
            "an ACK that is far too old",
            Established,
            &[say(1, 1_u32.wrapping_sub(200_000)).data(10).step()],
        ),
        same(
            "data without an ACK",
            Established,
            &[say(1, 1).without_ack().data(10).step()],
        ),
        same(
            "a reset right behind RCV.NXT",
            Established,
            &[say(2, 1).flag(rst).step(), say(1, 1).data(10).step()],
        ),
        same(
            "a reset before the window",
            Established,
            &[say(0, 1).flag(rst).step(), say(1, 1).data(10).step()],
        ),
        same(
            "a reset with a SYN before the window",
            Established,
            &[say(0, 1).flag(rst | syn).step(), say(1, 1).data(10).step()],
        )
        .but(
            "{} 1+0 ack 1 | {} 1+0 ack 11",
            " | {} 1+0 ack 11",
            "RFC 9293 §3.10.7.4, RFC 5961 §3.2: a reset outside of the window is dropped in silence",
        ),
        same(
            "a SYN in the window",
            Established,
            &[say(10, 1).flag(syn).step()],
        ),
        same(
            "a SYN outside of the window",
            Established,
            &[say(300_000, 1).flag(syn).without_ack().step()],
        ),
        same("the SYN-ACK's ACK again", Established, &[say(1, 1).step()]),
        same("a keep-alive", Established, &[say(0, 1).step()]),
        same(
            "the peer closes behind a hole",
            Established,
            &[
                say(1_001, 1).data(10).flag(fin).step(),
                say(1, 1).data(1_000).step(),
            ],
        ),
        same(
            "we close, the peer later",
            Established,
            &[
                Shutdown,
                say(1, 2).step(),
                say(1, 2).flag(fin).step(),
                say(1, 2).flag(fin).step(),
            ],
        ),
        same(
            "both close at once",
            Established,
            &[Shutdown, say(1, 1).flag(fin).step(), say(2, 2).step()],
        ),
        same(
            "TIME-WAIT against a reset",
            Established,
            &[
                Shutdown,
                say(1, 2).flag(fin).step(),
                say(2, 2).flag(rst).step(),
                say(1, 2).flag(fin).step(),
            ],
        )
        .but(
            "{\"FIN\"} 1+0 ack 1 | {} 2+0 ack 2 |  | {\"RST\"} 2+0",
            "{\"FIN\"} 1+0 ack 1 | {} 2+0 ack 2 |  | {} 2+0 ack 2",
            "RFC 1337 §3, fix F1: a reset does not cut TIME-WAIT short",
        ),
        same(
            "a closed window holds back what is written",
            Established,
            &[
                say(1, 1).window(0).step(),
                Write(500),
                say(1, 1).window(600).step(),
            ],
        ),
        same(
            "a window that shrinks",
            Established,
            &[
                Write(2_000),
                say(1, 1_001).window(500).step(),
                Write(600),
                say(1, 2_001).window(2_000).step(),
            ],
        ),
        same(
            "three reports of what lies behind a hole",
            Established,
            &[
                Write(5_000),
                say(1, 1).sack(1_001, 2_001).step(),
                say(1, 1).sack(1_001, 3_001).step(),
                say(1, 1).sack(1_001, 5_001).step(),
            ],
        ),
        same(
            "an old timestamp",
            Stamped,
            &[
                say(1, 1).data(10).stamp(1_005).step(),
                say(11, 1).data(10).stamp(900).step(),
                say(11, 1).data(10).stamp(1_005).step(),
            ],
        ),
        same(
            "a timestamp with an ACK of what was never sent",
            Stamped,
            &[
                say(1, 9_000).data(10).stamp(1 << 30).step(),
                say(1, 1).data(10).stamp(1_001).step(),
            ],
        ),
        same(
            "a timestamp behind a hole is not echoed",
            Stamped,
            &[
                say(1_001, 1).data(1_000).stamp(2_000).step(),
                say(1, 1).data(1_000).stamp(2_001).step(),
            ],
        ),
    ]
}
