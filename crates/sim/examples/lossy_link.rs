//! Two of our stacks over a link that loses: what happens, segment by segment.
//!
//! `cargo run -p packhorse-sim --example lossy_link`; with `-- --pcapng FILE` the packets also go
//! into a file that Wireshark opens.

use std::error::Error;
use std::time::Duration;
use std::{env, fs};

use packhorse_sim::application::{Application, Closes, Plan};
use packhorse_sim::link::{Fate, LinkConfig, Loss};
use packhorse_sim::random::Random;
use packhorse_sim::stream::Stream;
use packhorse_sim::tcp_host::TcpHost;
use packhorse_sim::time_sequence::{Bases, seconds};
use packhorse_sim::trace::{Passing, Record};
use packhorse_sim::wire::{Flags, TcpPacket};
use packhorse_sim::world::{Side, Step, World};
use packhorse_sim::{Instant, pcapng};
use packhorse_tcp::Config;

const BYTES: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut world = world();
    world.record();
    world.flush()?;
    while world.step()? == Step::Went {}
    let trace = world.take_trace().ok_or("nothing was recorded")?;

    println!("left sends {BYTES} bytes to right, 20 ms away; three of its segments are lost");
    println!("when, whose, flags (S SYN, F FIN, P PSH, . ACK), first:behind(bytes), counted from");
    println!("the sender's SYN, what is acknowledged, the window, <options>, what it is for\n");
    let mut narrator = Narrator::default();
    for record in trace.records() {
        if let Passing::Out(fate) = record.passing {
            println!("{}", narrator.tell(record, fate)?);
        }
    }
    let read = world.host(Side::Right).progress().read;
    let breach = world.host(Side::Right).breach();
    println!(
        "\nright has read {read} bytes, each as it was sent: {}",
        breach.is_none()
    );
    let counters = world.link(Side::Left).counters();
    println!(
        "left sent {} segments, {} were lost",
        counters.sent, counters.lost
    );

    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some("--pcapng") {
        let path = arguments.next().ok_or("--pcapng wants a file")?;
        let left = trace.records().iter().filter(|r| r.side == Side::Left);
        fs::write(path, pcapng::write(left))?;
    }
    Ok(())
}

fn world() -> World<Application> {
    let mut random = Random::new(1);
    let ends = ["192.0.2.1:40000", "192.0.2.2:7225"].map(|end| end.parse().expect("an address"));
    let there = LinkConfig {
        delay: Duration::from_millis(20),
        rate: Some(1_000_000),
        // Two of the data, and the last one, which no later segment gives away.
        loss: Loss::Chosen(vec![4, 7, 15]),
        ..LinkConfig::default()
    };
    let back = LinkConfig {
        loss: Loss::None,
        ..there.clone()
    };
    let plan = Plan {
        write_bytes: BYTES,
        write_chunk_bytes: 100_000,
        write_pauses: 0,
        read_chunk_bytes: 100_000,
        read_pauses: 0,
        pause: Duration::ZERO,
        closes: Closes::WhenWritten,
        is_rude: false,
        aborts_at: None,
    };
    let listener = Plan {
        write_bytes: 0,
        closes: Closes::AfterTheOther,
        ..plan.clone()
    };
    let left = TcpHost::new(ends[0], ends[1], Config::default(), 1_000_000);
    let right = TcpHost::new(ends[1], ends[0], Config::default(), 2_000_000);
    let left = Application::new(left, plan, Stream::Left, 0, random.fork());
    let right = Application::new(right, listener, Stream::Right, BYTES, random.fork());
    let mut world = World::new([left, right], [there, back], &mut random);
    world.host_mut(Side::Right).listen();
    world.host_mut(Side::Left).connect(Instant::default());
    world
}

/// Remembers enough of both sides to say what a segment is for.
#[derive(Default)]
struct Narrator {
    bases: Bases,
    /// Behind the last number that a side has sent.
    sent_to: [Option<u32>; 2],
    last_ack: [Option<u32>; 2],
}

impl Narrator {
    fn tell(&mut self, record: &Record, fate: Fate) -> Result<String, Box<dyn Error>> {
        let Record { at, side, .. } = record;
        let packet = TcpPacket::decode(&record.packet)?;
        let segment = self.bases.describe(*side, &packet);
        let what = self.purpose(*side, &packet);
        let (sender, lost) = match (side, fate.remark()) {
            (Side::Left, "") => ("left  -->      ", ""),
            (Side::Left, remark) => ("left  --X      ", remark),
            (Side::Right, "") => ("      <-- right", ""),
            (Side::Right, remark) => ("      X-- right", remark),
        };
        let line = format!("{}  {sender}  {segment:<64} {what} {lost}", seconds(*at));
        Ok(line.trim_end().to_owned())
    }

    fn purpose(&mut self, side: Side, packet: &TcpPacket) -> &'static str {
        let here = side.index();
        let end = packet.seq.wrapping_add(packet.sequence_length());
        let sent_to = *self.sent_to[here].get_or_insert(packet.seq);
        let is_new = end.wrapping_sub(sent_to) as i32 > 0;
        if is_new {
            self.sent_to[here] = Some(end);
        }
        let repeats = self.last_ack[here].replace(packet.ack) == Some(packet.ack);
        let sacks = packet
            .options
            .iter()
            .any(|option| matches!(option, packhorse_sim::wire::TcpOption::Sack(_)));
        let has = |flag| packet.flags.has(flag);
        match () {
            () if has(Flags::SYN | Flags::ACK) => "handshake: the call is taken",
            () if has(Flags::SYN) => "handshake: a call",
            () if has(Flags::RST) => "reset",
            () if packet.sequence_length() > 0 && !is_new => "sent AGAIN",
            () if has(Flags::FIN) => "close: no more from here",
            () if !packet.payload.is_empty() => "data",
            () if sacks => "a hole: what came behind it is told",
            () if repeats => "acknowledged once more",
            () => "acknowledged",
        }
    }
}
