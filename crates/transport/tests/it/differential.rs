//! The same scripted peer against the kernel's TCP and against ours.
//!
//! Each segment goes to the kernel through a TUN device, and behind it a SYN to a port where
//! nobody listens: the device keeps the order, so that what comes before the reset of that SYN
//! is the whole answer, however slow the machine is. Ours is asked in virtual time. Answers are
//! reduced to flags, relative numbers, options, and whether the window is closed. A difference
//! is ours to mend, or stands in the script with the rule that allows it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::{
    Config, Connection, Ecn, Flags, Instant, Options, Packet, SackBlock, Segment, SeqNumber,
    Timestamps,
};
use packhorse_transport::stack::PacketDevice;
use packhorse_transport::tun::TunDevice;

use crate::tun::{KERNEL, OURS, PATIENCE, in_namespace};

const PEER_ISN: u32 = u32::MAX - 2_000;
const CLOSED_PORT: u16 = 9;

/// What happens next.
#[derive(Clone, Copy)]
enum Step {
    /// The peer sends a segment.
    Say(Say),
    /// The user writes so many bytes.
    Write(usize),
    /// The user closes the sending half.
    Shutdown,
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

    const fn step(self) -> Step {
        Step::Say(self)
    }
}

/// One exchange, and how the two differ in it, if they do.
struct Script {
    name: &'static str,
    /// Where the connection begins.
    from: Start,
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
}

/// A stack under test, with what the peer knows of it.
struct Peer {
    port: u16,
    /// The stack's initial number, once it is known.
    isn: Option<SeqNumber>,
    /// The stack's latest timestamp.
    echo: u32,
    /// What took sequence space, so that what a timer repeats is not counted.
    seen: Vec<(SeqNumber, Flags, usize)>,
}

enum Stack<'a> {
    Kernel {
        device: &'a TunDevice,
        listener: &'a TcpListener,
        stream: Option<TcpStream>,
        markers: u32,
    },
    Ours {
        connection: Option<Box<Connection>>,
        now: Instant,
    },
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
    let listener = TcpListener::bind((KERNEL, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut wrong = String::new();
    let scripts = scripts();
    for (index, script) in scripts.iter().enumerate() {
        let kernel = Stack::Kernel {
            device: &device,
            listener: &listener,
            stream: None,
            markers: 0,
        };
        let ours = Stack::Ours {
            connection: None,
            now: Instant::from_millis(10_000),
        };
        let mut answers = Vec::new();
        for stack in [kernel, ours] {
            let peer = Peer {
                port: 20_000 + u16::try_from(index).unwrap(),
                isn: None,
                echo: 0,
                seen: Vec::new(),
            };
            answers.push(play(script, stack, peer, port).await);
        }
        let [kernel, ours] = answers.as_slice() else {
            panic!("two stacks give two answers");
        };
        let (expected, rule) = match script.differs {
            None => (kernel == ours, "must be the same"),
            Some(known) => (kernel == known.kernel && ours == known.ours, known.rule),
        };
        if !expected {
            let name = script.name;
            writeln!(
                wrong,
                "{name} ({rule})\n  kernel: {kernel}\n  ours:   {ours}"
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    println!("{} scripts agree", scripts.len());
}

/// Plays `script`; gives the answers to its steps, reduced.
async fn play(script: &Script, mut stack: Stack<'_>, mut peer: Peer, port: u16) -> String {
    let stamped = script.from == Start::Stamped;
    let stamp = |said: Say| if stamped { said.stamp(1_000) } else { said };
    let mut steps = Vec::new();
    if script.from != Start::Listen {
        steps.push(stamp(say(0, 0).without_ack().flag(Flags::SYN)).step());
    }
    if matches!(script.from, Start::Established | Start::Stamped) {
        steps.push(stamp(say(1, 1)).step());
    }
    let prelude = steps.len();
    steps.extend(&script.steps);
    let mut answers = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        if let Step::Say(said) = step {
            let packet = peer.packet(said, port);
            stack.hear(&packet).await;
        } else {
            stack.act(step);
        }
        let mut reduced = Vec::new();
        for packet in stack.drain(port, peer.port).await {
            reduced.extend(peer.reduce(&packet.segment));
        }
        if index >= prelude {
            answers.push(reduced.join(", "));
        }
    }
    answers.join(" | ")
}

impl Stack<'_> {
    async fn hear(&mut self, packet: &Packet) {
        match self {
            Self::Kernel { device, .. } => send(device, packet).await,
            Self::Ours { connection, now } => {
                *now = *now + Duration::from_millis(1);
                match connection {
                    Some(connection) => connection.handle_segment(*now, &packet.segment),
                    None => {
                        let config = Config {
                            pacing: false,
                            receive_buffer_bytes: 65_535,
                            ..Config::default()
                        };
                        let isn = SeqNumber::new(u32::MAX - 700);
                        *connection = Connection::accept(&config, packet, isn, *now).map(Box::new);
                    }
                }
            }
        }
    }

    fn act(&mut self, step: Step) {
        match (self, step) {
            (Self::Kernel { stream, .. }, Step::Write(length)) => {
                let stream = stream.as_mut().unwrap();
                stream.set_nodelay(true).unwrap();
                stream.write_all(&vec![b'y'; length]).unwrap();
            }
            (Self::Kernel { stream, .. }, Step::Shutdown) => {
                stream.as_ref().unwrap().shutdown(Shutdown::Write).unwrap();
            }
            (Self::Ours { connection, now }, Step::Write(length)) => {
                let data = Bytes::from(vec![b'y'; length]);
                connection.as_mut().unwrap().write(*now, data);
            }
            (Self::Ours { connection, now }, Step::Shutdown) => {
                connection.as_mut().unwrap().shutdown(*now);
            }
            (_, Step::Say(_)) => {}
        }
    }

    /// Everything that the stack has sent.
    async fn drain(&mut self, port: u16, peer_port: u16) -> Vec<Packet> {
        let mut packets = Vec::new();
        match self {
            Self::Kernel {
                device,
                listener,
                stream,
                markers,
            } => {
                *markers += 1;
                let mut marker = Segment::new(SeqNumber::new(*markers), None);
                marker.flags = Flags::SYN;
                send(device, &packet(marker, CLOSED_PORT, CLOSED_PORT)).await;
                let mut buffer = vec![0; 65_535];
                loop {
                    let length = device.recv(&mut buffer).await.unwrap();
                    let bytes = Bytes::copy_from_slice(&buffer[..length]);
                    let Ok(packet) = Packet::parse(&bytes) else {
                        continue;
                    };
                    let ports = (packet.source.port(), packet.destination.port());
                    let behind = Some(SeqNumber::new(*markers + 1));
                    if ports == (CLOSED_PORT, CLOSED_PORT) && packet.segment.ack == behind {
                        if let Ok((accepted, _)) = listener.accept() {
                            *stream = Some(accepted);
                        }
                        return packets;
                    }
                    if ports == (port, peer_port) {
                        packets.push(packet);
                    }
                }
            }
            Self::Ours {
                connection: Some(connection),
                now,
            } => {
                while let Some(transmit) = connection.poll_transmit(*now, 1) {
                    packets.extend(transmit.packets());
                }
                packets
            }
            Self::Ours { .. } => packets,
        }
    }
}

impl Peer {
    fn packet(&self, said: Say, port: u16) -> Packet {
        let theirs = self.isn.unwrap_or_default();
        let ack = said.ack.map(|ack| theirs.advanced_by(ack));
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
            mss: opens.then_some(1_000),
            sack_permitted: opens,
            sack: sack.into_iter().collect(),
            timestamps: said.stamp.map(|value| Timestamps {
                value,
                echo: self.echo,
            }),
            ..Options::default()
        };
        packet(segment, self.port, port)
    }

    /// An answer in a few words; nothing if a timer has repeated it.
    fn reduce(&mut self, segment: &Segment) -> Option<String> {
        if segment.flags.contains(Flags::SYN) {
            self.isn = Some(segment.seq);
        }
        let options = segment.options;
        self.echo = options.timestamps.map_or(self.echo, |stamp| stamp.value);
        let form = (segment.seq, segment.flags, segment.payload.len());
        if segment.sequence_bytes() > 0 {
            if self.seen.contains(&form) {
                return None;
            }
            self.seen.push(form);
        }
        let from = |number: SeqNumber, isn: SeqNumber| number.get().wrapping_sub(isn.get());
        let peer = SeqNumber::new(PEER_ISN);
        let mut text = format!("{:?}", segment.flags.without(Flags::PSH));
        match self.isn {
            Some(isn) => write!(text, " {}", from(segment.seq, isn)).unwrap(),
            None => write!(text, " ={}", segment.seq.get()).unwrap(),
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
        Some(text)
    }
}

fn packet(segment: Segment, source: u16, destination: u16) -> Packet {
    Packet {
        source: SocketAddr::from((OURS, source)),
        destination: SocketAddr::from((KERNEL, destination)),
        ecn: Ecn::NotCapable,
        segment,
    }
}

async fn send(device: &TunDevice, packet: &Packet) {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    device.send(&bytes).await.unwrap();
}

fn same(name: &'static str, from: Start, steps: &[Step]) -> Script {
    Script {
        name,
        from,
        steps: steps.to_vec(),
        differs: None,
    }
}

impl Script {
    /// The two differ, as `rule` allows.
    fn but(mut self, kernel: &'static str, ours: &'static str, rule: &'static str) -> Self {
        self.differs = Some(Difference { kernel, ours, rule });
        self
    }
}

/// Only what is answered at once, whatever the time is: no acknowledgement that the kernel
/// delays, such as that of a FIN in order, which its timer may or may not send meanwhile.
fn scripts() -> Vec<Script> {
    use Start::{Established, Listen, Stamped, SynReceived};
    use Step::{Shutdown, Write};
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
