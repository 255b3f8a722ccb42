//! How fast one stream is, by loss, delay and controller.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use packhorse_tcp::Config;
use packhorse_tcp::congestion::Congestion;

use crate::Instant;
use crate::application::{Application, Closes, Plan};
use crate::link::{LinkConfig, Loss};
use crate::random::Random;
use crate::stream::Stream;
use crate::tcp_host::TcpHost;
use crate::world::{Fault, Side, Step, World};

/// 100 Mbit/s, in bytes in a second.
const RATE: u64 = 12_500_000;

/// What is sent in each world.
const BYTES: u64 = 8 << 20;

/// A cell is the mean of so many worlds.
const SEEDS: u64 = 2;

/// Round trips in milliseconds.
const ROUND_TRIPS: [u64; 4] = [2, 20, 100, 300];

/// Lost packets in a million, each by itself, on the way there only.
const LOSSES: [u32; 4] = [0, 1_000, 10_000, 50_000];

const CONTROLLERS: [(&str, Congestion); 2] = [
    ("newreno", Congestion::NewReno),
    ("cubic", Congestion::Cubic),
];

/// One cell of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The controller's name.
    pub controller: &'static str,
    /// In milliseconds.
    pub round_trip: u64,
    /// In a million.
    pub loss: u32,
    /// Kilobytes in a second, the handshake and the close counted.
    pub goodput: u64,
}

/// Every cell, in the order of the table.
///
/// # Errors
/// A world went wrong.
pub fn measure() -> Result<Vec<Cell>, Fault> {
    let mut cells = Vec::new();
    for (controller, congestion) in CONTROLLERS {
        for loss in LOSSES {
            for round_trip in ROUND_TRIPS {
                let mut time = Duration::ZERO;
                for seed in 0..SEEDS {
                    let link = link(loss, round_trip);
                    time += transfer(congestion, link, BYTES, seed)?;
                }
                let micros = time.as_micros() as u64;
                cells.push(Cell {
                    controller,
                    round_trip,
                    loss,
                    goodput: SEEDS * BYTES * 1_000 / micros,
                });
            }
        }
    }
    Ok(cells)
}

/// The table as text, and as `parse` reads it.
#[must_use]
pub fn table(cells: &[Cell]) -> String {
    let mut text = String::from(
        "One stream of 8 MiB at 100 Mbit/s with a queue of one round trip, in kB/s.\n\
         controller  lost in a million",
    );
    for round_trip in ROUND_TRIPS {
        let _ = write!(text, "  {round_trip:>4} ms");
    }
    for row in cells.chunks(ROUND_TRIPS.len()) {
        let _ = write!(text, "\n{:<10}  {:>17}", row[0].controller, row[0].loss);
        for cell in row {
            let _ = write!(text, "  {:>7}", cell.goodput);
        }
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

/// How long `bytes` take from the call until the reader has all of them.
///
/// # Errors
/// The world went wrong.
pub fn transfer(
    congestion: Congestion,
    link: LinkConfig,
    bytes: u64,
    seed: u64,
) -> Result<Duration, Fault> {
    let mut random = Random::new(seed);
    let config = Config {
        congestion,
        receive_buffer_bytes: 32 << 20,
        send_buffer_bytes: 32 << 20,
        mtu_bytes: link.packet_bytes_max as u32,
        ..Config::default()
    };
    let ends = [([192, 0, 2, 1], 40_000), ([192, 0, 2, 2], 7225)].map(SocketAddr::from);
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
    let left = TcpHost::new(ends[0], ends[1], config.clone(), u32::MAX - 1_000_000);
    let right = TcpHost::new(ends[1], ends[0], config, 1);
    let sender = plan(bytes, Closes::WhenWritten);
    let reader = plan(0, Closes::AfterTheOther);
    let left = Application::new(left, sender, Stream::Left, 0, random.fork());
    let right = Application::new(right, reader, Stream::Right, bytes, random.fork());
    let back = LinkConfig {
        loss: Loss::None,
        ..link.clone()
    };
    let mut world = World::new([left, right], [link, back], &mut random);
    world.host_mut(Side::Right).listen();
    world.host_mut(Side::Left).connect(Instant::default());
    world.flush()?;
    while !world.host(Side::Right).progress().read_end {
        let is_over = world.step()? == Step::Quiet;
        let reader = world.host(Side::Right);
        assert!(
            !is_over,
            "seed {seed}: nobody went on: {:?}",
            reader.progress()
        );
        assert_eq!(reader.breach(), None, "seed {seed}");
    }
    Ok(world.now().saturating_since(Instant::default()))
}

fn link(loss: u32, round_trip: u64) -> LinkConfig {
    let delay = Duration::from_millis(round_trip) / 2;
    let queue = (RATE * round_trip / 1000).max(64 * 1024);
    LinkConfig {
        delay,
        rate: Some(RATE),
        queue_bytes_max: queue as usize,
        loss: Loss::Independent(loss),
        ..LinkConfig::default()
    }
}
