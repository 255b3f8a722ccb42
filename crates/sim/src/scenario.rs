//! One world from one seed: two stacks, their applications, a path, and what must hold there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use packhorse_tcp::congestion::Congestion;
use packhorse_tcp::{Config, KeepAlive, UserTimeout};

use crate::Instant;
use crate::application::{Application, Breach, Closes, Plan, Progress};
use crate::link::{LinkConfig, LinkCounters, Loss};
use crate::random::Random;
use crate::stream::Stream;
use crate::tcp_host::TcpHost;
use crate::trace::Trace;
use crate::world::{Fault, Side, Step, World};

/// No world may take longer; whoever still waits then waits for ever.
const VIRTUAL_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a connection may send beyond what its bytes and its time account for.
const PACKETS_SPARE: u64 = 200;

/// How often a byte may be sent, on the average, however bad the path is.
const SENDINGS_PER_SEGMENT_MAX: u64 = 40;

/// What a connection may send in a second in which it moves nothing.
const PACKETS_PER_SECOND_MAX: u64 = 20;

/// What kind of a world it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A MiB and more over a path that loses a lot, with sequence numbers that wrap.
    Long,
    /// Some data over a path with some faults.
    Ordinary,
    /// Buffers of a few bytes to a few segments.
    TinyWindow,
    /// An MTU as small as it may be.
    TinyMss,
    /// A fast way there and a slow way back, or the other way round.
    Asymmetric,
    /// Readers that sleep while the window is closed.
    Sleepy,
    /// A path on which a connection may well fail.
    Harsh,
    /// A path without a fault.
    Clean,
}

impl Kind {
    const ODDS: [(Self, u64); 8] = [
        (Self::Long, 16),
        (Self::Ordinary, 34),
        (Self::TinyWindow, 10),
        (Self::TinyMss, 8),
        (Self::Asymmetric, 10),
        (Self::Sleepy, 10),
        (Self::Harsh, 7),
        (Self::Clean, 5),
    ];

    fn draw(random: &mut Random) -> Self {
        let mut ticket = random.below(Self::ODDS.iter().map(|(_, odds)| odds).sum());
        for (kind, odds) in Self::ODDS {
            if ticket < odds {
                return kind;
            }
            ticket -= odds;
        }
        Self::Ordinary
    }
}

/// A world before it begins.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Where it comes from.
    pub seed: u64,
    /// What kind it is.
    pub kind: Kind,
    /// Over IPv6.
    pub is_ipv6: bool,
    /// By side.
    pub configs: [Config; 2],
    /// By side.
    pub isns: [u32; 2],
    /// By side.
    pub plans: [Plan; 2],
    /// By sender.
    pub links: [LinkConfig; 2],
    random: Random,
}

/// How a world ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When nothing was left to happen.
    pub ended: Instant,
    /// By side.
    pub progress: [Progress; 2],
    /// By sender.
    pub links: [LinkCounters; 2],
    /// Whether a stream went through the middle or the end of the sequence space.
    pub wrapped: bool,
    /// Every packet, if it was asked for.
    pub trace: Option<Trace>,
}

/// Why a world is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A stream is not what was sent.
    #[error("{0:?}: {1}")]
    Breach(Side, Breach),
    /// Time does not go on, or a rule is broken that can be seen from outside.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Nobody waits for anything, and it is not over.
    #[error("everything is quiet, but {0:?} has come no further than {1:?}")]
    Deadlock(Side, Progress),
    /// It takes for ever.
    #[error("a day has passed: {0:?} has come to {1:?}")]
    Endless(Side, Progress),
    /// The connection failed on a path on which none has to.
    #[error("{0:?} failed ({1}), though the path is not that bad")]
    Failed(Side, &'static str),
    /// One side says that all went well, and the other one lacks something.
    #[error("{0:?} says that all was delivered, but the other side has {1:?}")]
    NotDelivered(Side, Progress),
    /// More packets than the bytes and the time account for.
    #[error("{0} packets for {1} segments in {2:?}")]
    Storm(u64, u64, Duration),
    /// A packet was larger than the path or the peer takes.
    #[error("{0} packets were too large")]
    Oversized(u64),
}

impl Scenario {
    /// The world of `seed`.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let kind = Kind::draw(&mut random);
        let is_ipv6 = random.chance(400_000);
        let configs = [(); 2].map(|()| draw_config(kind, &mut random));
        let plans = draw_plans(kind, &mut random);
        let mtus = configs.iter().map(|config| config.mtu_bytes as usize);
        let packet_bytes_max = mtus.min().unwrap_or(1500);
        let mut links = [(); 2].map(|()| draw_link(kind, packet_bytes_max, &mut random));
        if kind == Kind::Asymmetric {
            let slow = random.below(2) as usize;
            links[slow].rate = Some(random.between(2_000..=50_000));
            links[slow].queue_bytes_max = random.between(10_000..=60_000) as usize;
            links[1 - slow].rate = Some(random.between(1_000_000..=100_000_000));
        }
        let isns = [0, 1].map(|side: usize| draw_isn(kind, plans[side].write_bytes, &mut random));
        Self {
            seed,
            kind,
            is_ipv6,
            configs,
            isns,
            plans,
            links,
            random,
        }
    }

    /// Lets it happen; with a trace if `record`.
    ///
    /// # Errors
    /// The first thing that must not be, with the trace up to there.
    pub fn run(&self, record: bool) -> Result<Outcome, (Wrong, Option<Trace>)> {
        let mut world = self.world();
        if record {
            world.record();
        }
        world.watch();
        let run = run_to_the_end(&mut world);
        let trace = world.take_trace();
        if let Err(wrong) = run.and_then(|()| self.judge(&world)) {
            return Err((wrong, trace));
        }
        let outcome = Outcome {
            ended: world.now(),
            progress: Side::BOTH.map(|side| *world.host(side).progress()),
            links: Side::BOTH.map(|side| *world.link(side).counters()),
            wrapped: self.wraps(&world),
            trace,
        };
        Ok(outcome)
    }

    fn world(&self) -> World<Application> {
        let mut random = self.random.clone();
        let addresses = self.addresses();
        let applications = Side::BOTH.map(|side| {
            let (here, there) = (side.index(), side.other().index());
            let host = TcpHost::new(
                addresses[here],
                addresses[there],
                self.configs[here].clone(),
                self.isns[here],
            );
            let stream = match side {
                Side::Left => Stream::Left,
                Side::Right => Stream::Right,
            };
            let expected = self.plans[there].write_bytes;
            let plan = self.plans[here].clone();
            Application::new(host, plan, stream, expected, random.fork())
        });
        let mut world = World::new(applications, self.links.clone(), &mut random);
        world.host_mut(Side::Right).listen();
        world.host_mut(Side::Left).connect(Instant::default());
        world
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        let ips: [IpAddr; 2] = if self.is_ipv6 {
            [1, 2].map(|last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into())
        } else {
            [1, 2].map(|last| [192, 0, 2, last].into())
        };
        [
            SocketAddr::new(ips[0], 40_000),
            SocketAddr::new(ips[1], 7225),
        ]
    }

    fn judge(&self, world: &World<Application>) -> Result<(), Wrong> {
        let counters = Side::BOTH.map(|side| *world.link(side).counters());
        let oversized = counters.iter().map(|link| link.oversized).sum();
        if oversized > 0 {
            return Err(Wrong::Oversized(oversized));
        }
        for side in Side::BOTH {
            self.judge_side(world, side)?;
        }
        let packets = counters.iter().map(|link| link.sent).sum();
        let segments = self.segments(world);
        let time = world.now().saturating_since(Instant::default());
        let most = PACKETS_SPARE
            + segments * SENDINGS_PER_SEGMENT_MAX
            + time.as_secs() * PACKETS_PER_SECOND_MAX;
        if packets > most {
            return Err(Wrong::Storm(packets, segments, time));
        }
        Ok(())
    }

    fn judge_side(&self, world: &World<Application>, side: Side) -> Result<(), Wrong> {
        let here = *world.host(side).progress();
        let there = *world.host(side.other()).progress();
        let plan = &self.plans[side.index()];
        let wants_no_more = here.read_end || plan.is_rude && here.closed;
        let is_done = wants_no_more && here.written == plan.write_bytes;
        match here.failed {
            Some(why) if !(self.may_fail() || here.read_end && there.read_end) => {
                return Err(Wrong::Failed(side, why));
            }
            // Nobody ever reached the side that was called.
            None if there.failed.is_some() && !world.host(side).host().is_open() => {}
            None if !is_done => return Err(Wrong::Deadlock(side, here)),
            _ => {}
        }
        let is_rude = self.plans[side.other().index()].is_rude;
        let has_all = there.read_end || there.failed.is_some() || is_rude;
        if here.finished && !has_all {
            return Err(Wrong::NotDelivered(side, there));
        }
        Ok(())
    }

    /// Whether a connection of this world may be given up before its data is there.
    fn may_fail(&self) -> bool {
        let aborts = |plan: &Plan| plan.aborts_at.is_some() || plan.is_rude;
        let aborts = self.plans.iter().any(aborts);
        self.kind == Kind::Harsh || aborts
    }

    /// How many segments the bytes take at the least that a segment can hold here.
    fn segments(&self, world: &World<Application>) -> u64 {
        let per_side = Side::BOTH.map(|side| {
            let written = world.host(side).progress().written;
            let mtu = u64::from(self.configs.iter().map(|c| c.mtu_bytes).min().unwrap_or(68));
            let mss = mtu.saturating_sub(100).max(8);
            let window = self.configs[side.other().index()].receive_buffer_bytes;
            written.div_ceil(mss.min(window / 2).max(1)) + 1
        });
        per_side.iter().sum()
    }

    fn wraps(&self, world: &World<Application>) -> bool {
        Side::BOTH.iter().any(|side| {
            let isn = u64::from(self.isns[side.index()]);
            let end = isn + world.host(*side).progress().written;
            end >= 1 << 32 || (isn < 1 << 31 && end >= 1 << 31)
        })
    }
}

fn run_to_the_end(world: &mut World<Application>) -> Result<(), Wrong> {
    world.flush()?;
    loop {
        if world.step()? == Step::Quiet {
            break;
        }
        if world.now() > Instant::default() + VIRTUAL_TIME_MAX {
            let progress = Side::BOTH.map(|side| (side, *world.host(side).progress()));
            let late = progress.iter().find(|(_, progress)| !progress.closed);
            let (side, progress) = late.unwrap_or(&progress[0]);
            return Err(Wrong::Endless(*side, *progress));
        }
        for side in Side::BOTH {
            if let Some(breach) = world.host(side).breach() {
                return Err(Wrong::Breach(side, breach.clone()));
            }
        }
    }
    Ok(())
}

fn draw_config(kind: Kind, random: &mut Random) -> Config {
    let mtu_bytes = match kind {
        Kind::TinyMss => random.between(128..=300),
        _ => random.pick(&[576, 1280, 1400, 1500, 1500, 9000]),
    };
    let (receive, send) = match kind {
        Kind::TinyWindow => (random.between(1..=3000), random.between(1..=5000)),
        Kind::Long => (
            random.between(32_768..=4_000_000),
            random.between(32_768..=4_000_000),
        ),
        _ => (
            random.between(4096..=400_000),
            random.between(2048..=400_000),
        ),
    };
    Config {
        mtu_bytes: mtu_bytes as u32,
        receive_buffer_bytes: receive,
        send_buffer_bytes: send,
        nagle: random.chance(500_000),
        delayed_ack: Duration::from_millis(random.between(1..=200)),
        timestamps: random.chance(600_000),
        timestamp_offset: random.next_u64() as u32,
        sack: random.chance(750_000),
        window_scale: random.chance(750_000),
        congestion: random.pick(&[Congestion::Cubic, Congestion::NewReno]),
        initial_window_segments: random.pick(&[1, 2, 4, 10, 10]),
        pacing: random.chance(700_000),
        // Long enough to get through whatever the path does short of losing everything.
        handshake_timeout: Duration::from_secs(3600),
        user_timeout: UserTimeout {
            local: Duration::from_secs(3600),
            ..UserTimeout::default()
        },
        // So that who waits for a peer that is gone learns of it.
        keep_alive: Some(KeepAlive {
            idle: Duration::from_secs(random.between(30..=600)),
            interval: Duration::from_secs(random.between(5..=75)),
            probes_max: 20,
        }),
        ..Config::default()
    }
}

fn draw_plans(kind: Kind, random: &mut Random) -> [Plan; 2] {
    // In a long world one side sends much, and the other one something or much too.
    let much = random.below(2) as usize;
    let mut plans = [0, 1].map(|side| draw_plan(kind, side == much, random));
    // One has to begin: two that wait for each other wait rightly.
    if plans
        .iter()
        .all(|plan| plan.closes == Closes::AfterTheOther)
    {
        plans[random.below(2) as usize].closes = Closes::WhenWritten;
    }
    plans
}

fn draw_plan(kind: Kind, is_long: bool, random: &mut Random) -> Plan {
    let write_bytes = match kind {
        Kind::Long if is_long => random.between(1_100_000..=1_400_000),
        Kind::Long => random.pick(&[0, 10_000, 10_000, 1_100_000]),
        Kind::TinyWindow | Kind::TinyMss => random.between(0..=6_000),
        Kind::Sleepy => random.between(0..=60_000),
        Kind::Harsh => random.between(0..=40_000),
        Kind::Asymmetric => random.between(0..=200_000),
        Kind::Ordinary | Kind::Clean => random.pick(&[0, 1, 500, 3_000, 20_000, 100_000]),
    };
    let pauses = match kind {
        Kind::Sleepy => 200_000,
        Kind::Long => 200,
        _ => random.pick(&[0, 1_000, 100_000]),
    };
    let pause = match kind {
        Kind::Sleepy => Duration::from_secs(random.between(1..=200)),
        _ => Duration::from_millis(random.between(1..=2_000)),
    };
    let closes = random.pick(&[Closes::WhenWritten, Closes::AfterTheOther]);
    let aborts = kind == Kind::Ordinary && random.chance(30_000);
    Plan {
        write_bytes,
        write_chunk_bytes: random.pick(&[1, 100, 1_448, 20_000, 200_000]).max(
            // A long stream byte by byte would take longer than it is worth.
            (write_bytes / 500) as usize,
        ),
        write_pauses: pauses,
        read_chunk_bytes: match kind {
            Kind::Long => random.pick(&[10_000, 100_000]),
            _ => random.pick(&[100, 4_000, 100_000]),
        },
        read_pauses: pauses,
        pause,
        closes,
        is_rude: kind == Kind::Ordinary && random.chance(40_000),
        aborts_at: aborts.then(|| random.between(0..=2_000)),
    }
}

fn draw_link(kind: Kind, packet_bytes_max: usize, random: &mut Random) -> LinkConfig {
    let clean = LinkConfig {
        delay: Duration::from_micros(random.between(50..=150_000)),
        packet_bytes_max,
        ..LinkConfig::default()
    };
    let loss = match kind {
        Kind::Clean => return clean,
        Kind::Long => random.between(60_000..=150_000),
        Kind::Harsh => random.between(200_000..=700_000),
        _ => random.pick(&[0, 1_000, 20_000, 100_000]),
    } as u32;
    let loss = match random.below(3) {
        0 if loss > 0 => Loss::Bursty {
            worsens: loss / 4,
            recovers: 250_000,
            bad: 800_000,
        },
        _ => Loss::Independent(loss),
    };
    let fault = |random: &mut Random| random.pick(&[0, 0, 1_000, 10_000, 50_000]);
    LinkConfig {
        jitter: Duration::from_micros(random.between(0..=30_000)),
        rate: random
            .chance(500_000)
            .then(|| random.between(20_000..=20_000_000)),
        queue_bytes_max: random.pick(&[10_000, 30_000, 100_000, 500_000]),
        loss,
        reorder: fault(random),
        reorder_delay: Duration::from_micros(random.between(100..=200_000)),
        duplicate: fault(random),
        corrupt: fault(random),
        ..clean
    }
}

/// Near a wrap as often as not; in a long world so that the stream goes through it.
fn draw_isn(kind: Kind, bytes: u64, random: &mut Random) -> u32 {
    let edge = random.pick(&[1_u64 << 31, 1 << 32]);
    let before = match kind {
        Kind::Long => random.between(1..=bytes.max(1)),
        _ => random.between(0..=bytes + 10),
    };
    match kind {
        Kind::Long => (edge - before) as u32,
        _ if random.chance(500_000) => (edge - before.max(1)) as u32,
        _ => random.next_u64() as u32,
    }
}
