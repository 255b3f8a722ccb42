//! What many worlds came to.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Instant;
use crate::link::LinkCounters;
use crate::scenario::{Kind, Outcome, Scenario, Wrong};
use crate::time_sequence;

/// A long world moves at least so much.
pub const LONG_BYTES_MIN: u64 = 1 << 20;

/// A long world loses at least so many packets.
pub const LONG_LOSSES_MIN: u64 = 100;

/// The most lines of a trace that a failure prints: the last ones.
const TRACE_LINES_MAX: usize = 400;

/// Sums over worlds.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many there were.
    pub worlds: u64,
    /// Those that moved a MiB, met a hundred losses and crossed a wrap.
    pub long: u64,
    /// Those in which both sides read everything.
    pub complete: u64,
    /// Those that ended in a failure that both sides know of.
    pub failed: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Virtual time.
    pub time: Duration,
    /// All packets.
    pub links: LinkCounters,
    /// Worlds by kind, in the order of `Kind`'s variants.
    pub kinds: [u64; 8],
    /// Seeds of worlds that are not as they must be, with why.
    pub wrong: Vec<(u64, Wrong)>,
}

impl Report {
    /// Runs the worlds of `count` seeds from `first` on, on `threads` threads.
    #[must_use]
    pub fn of(first: u64, count: u64, threads: usize) -> Self {
        let next = AtomicU64::new(0);
        let work = || {
            let mut report = Self::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return report;
                }
                report.run(first.wrapping_add(number));
            }
        };
        let mut sum = Self::default();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                match worker.join() {
                    Ok(report) => sum.add(report),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        sum.wrong.sort_by_key(|(seed, _)| *seed);
        sum
    }

    fn run(&mut self, seed: u64) {
        let scenario = Scenario::draw(seed);
        self.worlds += 1;
        self.kinds[scenario.kind as usize] += 1;
        match scenario.run(false) {
            Ok(outcome) => self.count(&scenario, &outcome),
            Err((wrong, _)) => self.wrong.push((seed, wrong)),
        }
    }

    fn count(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let mut links = outcome.links[0];
        links.add(&outcome.links[1]);
        self.links.add(&links);
        let bytes = outcome.progress.iter().map(|p| p.read).sum::<u64>();
        self.bytes += bytes;
        self.time += outcome.ended.saturating_since(Instant::default());
        let is_complete = outcome.progress.iter().all(|p| p.read_end);
        if is_complete {
            self.complete += 1;
        } else {
            self.failed += 1;
        }
        let is_long = bytes >= LONG_BYTES_MIN && links.losses() >= LONG_LOSSES_MIN;
        if scenario.kind == Kind::Long && is_complete && is_long && outcome.wrapped {
            self.long += 1;
        }
    }

    fn add(&mut self, other: Self) {
        let Self {
            worlds,
            long,
            complete,
            failed,
            bytes,
            time,
            links,
            kinds,
            wrong,
        } = other;
        self.worlds += worlds;
        self.long += long;
        self.complete += complete;
        self.failed += failed;
        self.bytes += bytes;
        self.time += time;
        self.links.add(&links);
        for (sum, count) in self.kinds.iter_mut().zip(kinds) {
            *sum += count;
        }
        self.wrong.extend(wrong);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links = &self.links;
        writeln!(
            f,
            "{} worlds: {} delivered everything, {} failed and both ends know, {} are WRONG",
            self.worlds,
            self.complete,
            self.failed,
            self.wrong.len()
        )?;
        writeln!(
            f,
            "{} moved 1 MiB or more, met {LONG_LOSSES_MIN} losses or more and crossed a wrap",
            self.long
        )?;
        writeln!(
            f,
            "{} bytes in {} s of virtual time",
            self.bytes,
            self.time.as_secs()
        )?;
        writeln!(
            f,
            "{} packets: {} lost, {} lost in full queues, {} reordered, {} duplicated, \
             {} corrupted, {} arrived",
            links.sent,
            links.lost,
            links.overflowed,
            links.reordered,
            links.duplicated,
            links.corrupted,
            links.arrived
        )?;
        for (seed, wrong) in self.wrong.iter().take(20) {
            writeln!(f, "seed {seed}: {wrong}")?;
        }
        Ok(())
    }
}

/// What went wrong in the world of `seed`, if anything did, and its last segments.
#[must_use]
pub fn explain(seed: u64) -> Option<String> {
    let scenario = Scenario::draw(seed);
    let (wrong, trace) = scenario.run(true).err()?;
    let text = trace.map_or_else(String::new, |trace| time_sequence::write(trace.records()));
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TRACE_LINES_MAX);
    Some(format!(
        "seed {seed}: {wrong}\n{scenario:#?}\n({from} lines before)\n{}",
        lines[from..].join("\n")
    ))
}
