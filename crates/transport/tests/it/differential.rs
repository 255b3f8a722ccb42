//! The same scripted peer against the kernel's TCP and against ours.
//!
//! Each segment goes to the kernel through a TUN device, and behind it a SYN to a port where
//! nobody listens: the device keeps the order, so that what comes before the reset of that SYN
//! is the whole answer, however slow the machine is. Ours is asked in virtual time. Answers are
//! reduced to flags, relative numbers, options, and whether the window is closed. A difference
//! is ours to mend, or stands in the script with the rule that allows it.

mod active;
mod exchanges;
mod stack;
mod states;
mod timed;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::{Ipv6Addr, SocketAddr};

use packhorse_tcp::{Ecn, Flags, Options, Packet, SackBlock, Segment, SeqNumber, Timestamps};
use packhorse_transport::tun::TunDevice;

use crate::tun::{KERNEL, OURS, PATIENCE, in_namespace};
use stack::{Kernel, Stack};

const PEER_ISN: u32 = u32::MAX - 2_000;

/// The peer's address over IPv6, beside the kernel's own on the device.
const OURS_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);

/// What happens next.
#[derive(Clone, Copy)]
enum Step {
    /// The peer sends a segment.
    Say(Say),
    /// The user opens the connection.
    Dial,
    /// The user writes so many bytes.
    Write(usize),
    /// The user closes the sending half.
    Shutdown,
    /// Time passes until so many segments have come, repeated ones too.
    Await(usize),
}

/// A segment of the peer's; numbers count from the SYNs.
#[derive(Clone, Copy)]
struct Say {
    seq: u32,
    ack: Option<u32>,
    flags: Flags,
    length: usize,
    window: u16,
    /// The value of its timestamp; the echo is the latest that was seen.
    stamp: Option<u32>,
    sack: Option<(u32, u32)>,
    /// The options of a SYN.
    offer: Offer,
}

/// What the peer's SYN asks for.
#[derive(Clone, Copy)]
struct Offer {
    mss: Option<u16>,
    sack: bool,
    scale: Option<u8>,
}

fn say(seq: u32, ack: u32) -> Say {
    Say {
        seq,
        ack: Some(ack),
        flags: Flags::NONE,
        length: 0,
        window: 60_000,
        stamp: None,
        sack: None,
        offer: Offer {
            mss: Some(1_000),
            sack: true,
            scale: None,
        },
    }
}

impl Say {
    fn flag(mut self, flags: Flags) -> Self {
        self.flags = self.flags | flags;
        self
    }

    fn data(mut self, length: usize) -> Self {
        self.length = length;
        self
    }

    fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    fn stamp(mut self, value: u32) -> Self {
        self.stamp = Some(value);
        self
    }

    fn sack(mut self, left: u32, right: u32) -> Self {
        self.sack = Some((left, right));
        self
    }

    fn without_ack(mut self) -> Self {
        self.ack = None;
        self
    }

    fn offer(mut self, mss: Option<u16>, sack: bool, scale: Option<u8>) -> Self {
        self.offer = Offer { mss, sack, scale };
        self
    }

    const fn step(self) -> Step {
        Step::Say(self)
    }
}

/// One exchange, and how the two differ in it, if they do.
struct Script {
    name: String,
    /// Where the connection begins.
    from: Start,
    /// How many of the steps only lead there; what they bring is not compared.
    prelude: usize,
    steps: Vec<Step>,
    differs: Option<Difference>,
}

/// What each answers where they differ, and the rule that allows it.
#[derive(Clone, Copy)]
struct Difference {
    kernel: &'static str,
    ours: &'static str,
    rule: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Start {
    Listen,
    SynReceived,
    Established,
    /// Established, with timestamps.
    Stamped,
    /// Established, without SACK.
    Plain,
    /// Established, over IPv6.
    Six,
    /// Established, and the peer is asked whether it is there after a second of silence.
    KeptAlive,
    /// Nothing yet: the stack under test calls.
    Active,
}

/// A stack under test, with what the peer knows of it.
struct Peer {
    here: SocketAddr,
    there: SocketAddr,
    /// The stack's initial number, once it is known.
    isn: Option<SeqNumber>,
    /// The stack's latest timestamp.
    echo: u32,
    /// Behind what it has sent, so that what a timer repeats is told from an answer.
    sent_to: SeqNumber,
    /// What timers have sent, and nobody has awaited yet.
    timed: VecDeque<String>,
    /// What the peer acknowledged last.
    acked: Option<SeqNumber>,
}

#[test]
fn our_tcp_answers_as_the_kernels() {
    if let Some(text) = in_namespace("differential::in_a_namespace") {
        assert!(text.contains("scripts agree"), "{text}");
    }
}

#[tokio::test]
#[ignore = "our_tcp_answers_as_the_kernels runs it in a namespace"]
async fn in_a_namespace() {
    tokio::time::timeout(PATIENCE, compare_all())
        .await
        .expect("it hangs");
}

async fn compare_all() {
    let device = TunDevice::open("phdiff", KERNEL, 24, 1_500).unwrap();
    let kernel = Kernel::new(&device);
    let mut scripts = exchanges::scripts();
    scripts.extend(active::scripts());
    scripts.extend(states::scripts());
    scripts.extend(timed::scripts());
    let mut wrong = String::new();
    for (index, script) in scripts.iter().enumerate() {
        let number = u16::try_from(index).unwrap();
        let there = kernel.address(script.from, 30_000 + number);
        let here = match there {
            SocketAddr::V4(_) => SocketAddr::from((OURS, 20_000 + number)),
            SocketAddr::V6(_) => SocketAddr::from((OURS_V6, 20_000 + number)),
        };
        let mut answers = Vec::new();
        for stack in [Stack::kernel(&kernel), Stack::ours(script.from)] {
            let peer = Peer {
                here,
                there,
                isn: None,
                echo: 0,
                sent_to: SeqNumber::default(),
                timed: VecDeque::new(),
                acked: None,
            };
            answers.push(play(script, stack, peer).await);
        }
        let [kernel, ours] = answers.as_slice() else {
            panic!("two stacks give two answers");
        };
        let (expected, rule) = match script.differs {
            None => (kernel == ours, "must be the same"),
            Some(known) => (kernel == known.kernel && ours == known.ours, known.rule),
        };
        if !expected {
            let name = &script.name;
            writeln!(
                wrong,
                "{name} ({rule})\n  kernel: {kernel}\n  ours:   {ours}"
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    let known = scripts.iter().filter(|script| script.differs.is_some());
    println!(
        "{} scripts agree, {} of them differ as they may",
        scripts.len(),
        known.count()
    );
}

/// Plays `script`; gives the answers to its steps, reduced.
async fn play(script: &Script, mut stack: Stack<'_>, mut peer: Peer) -> String {
    let stamped = script.from == Start::Stamped;
    let stamp = |said: Say| if stamped { said.stamp(1_000) } else { said };
    let mut steps = Vec::new();
    if !matches!(script.from, Start::Listen | Start::Active) {
        let mut syn = stamp(say(0, 0).without_ack().flag(Flags::SYN));
        syn.offer.sack = script.from != Start::Plain;
        steps.push(syn.step());
    }
    if !matches!(
        script.from,
        Start::Listen | Start::Active | Start::SynReceived
    ) {
        steps.push(stamp(say(1, 1)).step());
    }
    let prelude = steps.len() + script.prelude;
    steps.extend(&script.steps);
    let mut answers = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        let mut reduced = Vec::new();
        if let Step::Await(count) = step {
            while peer.timed.len() < count {
                let packet = stack.wait(&peer).await;
                let (text, _) = peer.reduce(&packet.segment);
                peer.timed.push_back(text);
            }
            reduced.extend(peer.timed.drain(..count));
        } else if let Step::Say(said) = step {
            let packet = peer.packet(said);
            stack.hear(&packet).await;
        } else {
            stack.act(step, &peer);
        }
        for packet in stack.drain(&peer, script.from).await {
            reduced.extend(peer.hear(&packet.segment));
        }
        if index >= prelude {
            answers.push(reduced.join(", "));
        }
    }
    answers.join(" | ")
}

impl Peer {
    fn is_between(&self, packet: &Packet) -> bool {
        (packet.source, packet.destination) == (self.there, self.here)
    }

    fn packet(&mut self, said: Say) -> Packet {
        let theirs = self.isn.unwrap_or_default();
        let ack = said.ack.map(|ack| theirs.advanced_by(ack));
        self.acked = ack;
        let mut segment = Segment::new(SeqNumber::new(PEER_ISN).advanced_by(said.seq), ack);
        segment.flags = said.flags;
        segment.window = said.window;
        segment.payload = vec![b'x'; said.length].into();
        let opens = said.flags.contains(Flags::SYN) && said.seq == 0;
        let sack = said.sack.map(|(left, right)| SackBlock {
            left: theirs.advanced_by(left),
            right: theirs.advanced_by(right),
        });
        segment.options = Options {
            mss: said.offer.mss.filter(|_| opens),
            sack_permitted: said.offer.sack && opens,
            window_scale: said.offer.scale.filter(|_| opens),
            sack: sack.into_iter().collect(),
            timestamps: said.stamp.map(|value| Timestamps {
                value,
                echo: self.echo,
            }),
            ..Options::default()
        };
        Packet {
            source: self.here,
            destination: self.there,
            ecn: Ecn::NotCapable,
            segment,
        }
    }

    /// An answer in a few words; what a timer has sent is kept for later instead.
    fn hear(&mut self, segment: &Segment) -> Option<String> {
        let (text, timed) = self.reduce(segment);
        if timed {
            self.timed.push_back(text);
            return None;
        }
        Some(text)
    }

    /// A segment in a few words, and whether a timer has sent it: it repeats what was sent
    /// before, or probes from before what the peer expects.
    fn reduce(&mut self, segment: &Segment) -> (String, bool) {
        if segment.flags.contains(Flags::SYN) && self.isn != Some(segment.seq) {
            self.isn = Some(segment.seq);
            self.sent_to = segment.seq;
        }
        let options = segment.options;
        self.echo = options.timestamps.map_or(self.echo, |stamp| stamp.value);
        let taken = u32::try_from(segment.sequence_bytes()).unwrap();
        let end = segment.seq.advanced_by(taken);
        let timed = if taken > 0 {
            !end.is_after(self.sent_to)
        } else {
            let probes = self.acked == Some(segment.seq.advanced_by(1));
            probes && segment.flags == Flags::NONE
        };
        if taken > 0 && !timed {
            self.sent_to = end;
        }
        let from = |number: SeqNumber, isn: SeqNumber| number.get().wrapping_sub(isn.get());
        let peer = SeqNumber::new(PEER_ISN);
        let mut text = format!("{:?}", segment.flags.without(Flags::PSH));
        match self.isn {
            Some(isn) if segment.seq != SeqNumber::new(0) => {
                write!(text, " {}", from(segment.seq, isn)).unwrap()
            }
            _ => write!(text, " ={}", segment.seq.get()).unwrap(),
        }
        write!(text, "+{}", segment.payload.len()).unwrap();
        if let Some(ack) = segment.ack {
            write!(text, " ack {}", from(ack, peer)).unwrap();
        }
        if segment.window == 0 && !segment.flags.contains(Flags::RST) {
            text.push_str(" closed");
        }
        for (present, kind) in [
            (options.mss.is_some(), " mss"),
            (options.window_scale.is_some(), " scale"),
            (options.sack_permitted, " sackOK"),
        ] {
            text.push_str(if present { kind } else { "" });
        }
        if let Some(stamp) = options.timestamps {
            write!(text, " echo {}", stamp.echo).unwrap();
        }
        for block in options.sack.as_slice() {
            let (left, right) = (from(block.left, peer), from(block.right, peer));
            write!(text, " sack {left}:{right}").unwrap();
        }
        (text, timed)
    }
}

fn same(name: impl Into<String>, from: Start, steps: &[Step]) -> Script {
    Script {
        name: name.into(),
        from,
        prelude: 0,
        steps: steps.to_vec(),
        differs: None,
    }
}

impl Script {
    /// The first `count` steps only lead there.
    fn after(mut self, count: usize) -> Self {
        self.prelude = count;
        self
    }

    /// The two differ, as `rule` allows.
    fn but(mut self, kernel: &'static str, ours: &'static str, rule: &'static str) -> Self {
        self.differs = Some(Difference { kernel, ours, rule });
        self
    }
}
