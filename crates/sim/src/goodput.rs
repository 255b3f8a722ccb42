//! How fast one stream is, by loss, delay and controller.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use packhorse_tcp::congestion::Congestion;
use packhorse_tcp::{Config, Stats};

use crate::Instant;
use crate::application::{Application, Closes, Plan};
use crate::link::{LinkConfig, Loss};
use crate::random::{MILLION, Random};
use crate::stream::Stream;
use crate::tcp_host::TcpHost;
use crate::world::{Fault, Side, World};

/// 100 Mbit/s, in bytes in a second.
const RATE: u64 = 12_500_000;

/// How long each stream goes on, from the call on.
const SPAN: Duration = Duration::from_secs(60);

/// A cell is the mean of so many worlds.
const SEEDS: u64 = 2;

/// Round trips in milliseconds.
const ROUND_TRIPS: [u64; 5] = [1, 10, 30, 100, 300];

/// Lost packets in a million, each by itself, on the way there only.
const LOSSES: [u32; 5] = [0, 1_000, 10_000, 20_000, 50_000];

const CONTROLLERS: [(&str, Congestion); 2] = [
    ("newreno", Congestion::NewReno),
    ("cubic", Congestion::Cubic),
];

/// One cell of the table.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    /// The controller's name.
    pub controller: &'static str,
    congestion: Congestion,
    /// In milliseconds.
    pub round_trip: u64,
    /// In a million.
    pub loss: u32,
}

impl Cell {
    /// Every cell, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        CONTROLLERS
            .into_iter()
            .flat_map(|(controller, congestion)| {
                LOSSES.into_iter().flat_map(move |loss| {
                    ROUND_TRIPS.into_iter().map(move |round_trip| Self {
                        controller,
                        congestion,
                        round_trip,
                        loss,
                    })
                })
            })
    }

    /// Kilobytes in a second, the handshake counted.
    ///
    /// # Errors
    /// A world went wrong.
    pub fn measure(&self) -> Result<u64, Fault> {
        let mut bytes = 0;
        for seed in 0..SEEDS {
            let mut path = Path::new(self.congestion, self.link(), u64::MAX, seed);
            bytes += path.read_until(Instant::default() + SPAN)?;
        }
        Ok(bytes / SEEDS / SPAN.as_secs() / 1_000)
    }

    fn link(&self) -> LinkConfig {
        let queue = (RATE * self.round_trip / 1_000).max(64 * 1024);
        LinkConfig {
            delay: Duration::from_millis(self.round_trip) / 2,
            rate: Some(RATE),
            queue_bytes_max: queue as usize,
            loss: Loss::Independent(self.loss),
            ..LinkConfig::default()
        }
    }
}

/// The table as text, and as `parse` reads it.
#[must_use]
pub fn table(goodputs: &[u64]) -> String {
    let mut text = String::from(
        "One stream for 60 s at 100 Mbit/s with a queue of one round trip, in kB/s.\n\
         controller  lost in a million",
    );
    for round_trip in ROUND_TRIPS {
        let _ = write!(text, "  {round_trip:>4} ms");
    }
    for (cell, goodput) in Cell::all().zip(goodputs) {
        if cell.round_trip == ROUND_TRIPS[0] {
            let _ = write!(text, "\n{:<10}  {:>17}", cell.controller, cell.loss);
        }
        let _ = write!(text, "  {goodput:>7}");
    }
    text.push('\n');
    text
}

/// The numbers of a table, in its order.
#[must_use]
pub fn parse(table: &str) -> Vec<u64> {
    let rows = table.lines().skip(2);
    rows.flat_map(|row| row.split_whitespace().skip(2))
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// How a reader reads.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// It makes one after so many bytes at the most.
    pub after_bytes: usize,
    /// The longest; the others are anything below.
    pub longest: Duration,
}

impl Default for Pauses {
    /// None.
    fn default() -> Self {
        Self {
            after_bytes: 1 << 20,
            longest: Duration::ZERO,
        }
    }
}

/// One stream from left to right, over a link that loses on the way there only.
#[derive(Debug)]
pub struct Path {
    world: World<Application>,
    seed: u64,
}

impl Path {
    /// A path on which `bytes` are about to be sent, `u64::MAX` for without end, to a reader who
    /// is always there. Both ends are as they are by default.
    #[must_use]
    pub fn new(congestion: Congestion, link: LinkConfig, bytes: u64, seed: u64) -> Self {
        Self::with_reader(congestion, link, bytes, Pauses::default(), seed)
    }

    /// The same with a reader who makes pauses.
    ///
    /// # Panics
    /// The hosts do not even begin.
    #[must_use]
    pub fn with_reader(
        congestion: Congestion,
        link: LinkConfig,
        bytes: u64,
        pauses: Pauses,
        seed: u64,
    ) -> Self {
        let config = Config {
            congestion,
            mtu_bytes: link.packet_bytes_max as u32,
            ..Config::default()
        };
        let plan = |write_bytes, closes| Plan {
            write_bytes,
            write_chunk_bytes: 100_000,
            write_pauses: 0,
            read_chunk_bytes: 1 << 20,
            read_pauses: 0,
            pause: Duration::ZERO,
            closes,
            is_rude: false,
            aborts_at: None,
        };
        let mut random = Random::new(seed);
        let ends = [([192, 0, 2, 1], 40_000), ([192, 0, 2, 2], 7225)].map(SocketAddr::from);
        let left = TcpHost::new(ends[0], ends[1], config.clone(), u32::MAX - 1_000_000);
        let right = TcpHost::new(ends[1], ends[0], config, 1);
        let sender = plan(bytes, Closes::WhenWritten);
        let reader = Plan {
            read_chunk_bytes: pauses.after_bytes,
            read_pauses: if pauses.longest.is_zero() { 0 } else { MILLION },
            pause: pauses.longest,
            ..plan(0, Closes::AfterTheOther)
        };
        let left = Application::new(left, sender, Stream::Left, 0, random.fork());
        let right = Application::new(right, reader, Stream::Right, bytes, random.fork());
        let back = LinkConfig {
            loss: Loss::None,
            ..link.clone()
        };
        let mut world = World::new([left, right], [link, back], &mut random);
        world.host_mut(Side::Right).listen();
        world.host_mut(Side::Left).connect(Instant::default());
        world.flush().expect("one SYN is no storm");
        Self { world, seed }
    }

    /// Lets time go on until `until` or the stream's end, and says what was read in all.
    ///
    /// # Errors
    /// The world went wrong.
    ///
    /// # Panics
    /// A byte is not what was sent, or nothing will ever happen again.
    pub fn read_until(&mut self, until: Instant) -> Result<u64, Fault> {
        let seed = self.seed;
        while !self.world.host(Side::Right).progress().read_end
            && self.world.next_event().is_some_and(|at| at <= until)
        {
            self.world.step()?;
            let reader = self.world.host(Side::Right);
            assert_eq!(reader.breach(), None, "seed {seed}");
        }
        let reader = self.world.host(Side::Right).progress();
        let is_over = self.world.next_event().is_none() && !reader.read_end;
        assert!(!is_over, "seed {seed}: nobody went on: {reader:?}");
        Ok(reader.read)
    }

    /// What an end has counted.
    ///
    /// # Panics
    /// It has no connection yet.
    #[must_use]
    pub fn stats(&self, side: Side) -> Stats {
        let host = self.world.host(side).host();
        host.stats().expect("there is a connection")
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now()
    }
}
