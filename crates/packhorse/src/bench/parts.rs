//! The parts of a download, how fast each is alone, and which of them is the slowest.

use std::time::Duration;

use packhorse_client::bench::Course;
use serde::Serialize;

use crate::text::{Text, bench};

/// Twice as fast as the slowest is far from being the bottleneck.
const CLEAR_RATIO: u64 = 2;

/// What is not faster than the slowest by this many hundredths may be the slowest the next time.
const CLOSE_PERCENT: u64 = 25;

/// What every byte of a large file passes, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Path,
    Source,
    HashingThere,
    EncryptionThere,
    EncryptionHere,
    HashingHere,
    Destination,
}

/// A part, and what came of measuring it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) stage: Stage,
    /// Why it was not measured, if it was not.
    pub(super) measured: Result<Measured, Text>,
}

/// How fast a part is.
#[derive(Debug)]
pub(super) struct Measured {
    /// Bytes a second.
    pub(super) rate: u64,
    pub(super) detail: Detail,
}

/// What is known of a part besides.
#[derive(Debug)]
pub(super) enum Detail {
    Path {
        connections: usize,
        round_trip: Duration,
        course: Course,
        limit: PathLimit,
    },
    /// Reading or writing.
    Disk { bytes: u64, time: Duration },
    /// Work of a processor.
    Work { core_rate: u64, cores: u64 },
}

/// What holds a path back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PathLimit {
    /// The line, as far as can be seen.
    Line,
    /// There is no line: both sides are on one machine.
    SameMachine,
    /// This machine's processor was busy all the time.
    ProcessorHere,
}

/// Which part is the bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) slowest: Limit,
    /// What would be the slowest without that.
    pub(super) next: Option<Limit>,
    pub(super) certainty: Certainty,
}

/// A part and the bytes a second that it lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) stage: Stage,
    pub(super) rate: u64,
}

/// How far the slowest part is from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Certainty {
    Clear,
    Likely,
    Close,
}

impl Stage {
    /// Its name for a person.
    pub(super) fn name(self) -> Text {
        match self {
            Self::Path => bench::path(),
            Self::Source => bench::source(),
            Self::HashingThere => bench::hashing_there(),
            Self::EncryptionThere => bench::encryption_there(),
            Self::EncryptionHere => bench::encryption_here(),
            Self::HashingHere => bench::hashing_here(),
            Self::Destination => bench::destination(),
        }
    }
}

impl Verdict {
    /// Of all parts; `None` if the path was not measured, which is the bottleneck most of the time.
    pub(super) fn of(parts: &[Part]) -> Option<Self> {
        let limits = parts.iter().filter_map(|part| {
            let rate = part.measured.as_ref().ok()?.rate;
            let stage = part.stage;
            Some(Limit { stage, rate })
        });
        let mut limits: Vec<_> = limits.collect();
        if !limits.iter().any(|limit| limit.stage == Stage::Path) {
            return None;
        }
        limits.sort_by_key(|limit| limit.rate);
        let slowest = *limits.first()?;
        let next = limits.get(1).copied();
        let certainty = match next {
            Some(next) if next.rate / CLEAR_RATIO >= slowest.rate => Certainty::Clear,
            Some(next) if next.rate - slowest.rate > slowest.rate / 100 * CLOSE_PERCENT => {
                Certainty::Likely
            }
            Some(_) => Certainty::Close,
            // Nothing else was measured.
            None => Certainty::Likely,
        };
        Some(Self {
            slowest,
            next,
            certainty,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(stage: Stage, rate: Option<u64>) -> Part {
        let detail = Detail::Work {
            core_rate: 1,
            cores: 1,
        };
        let measured = rate.map(|rate| Measured { rate, detail });
        Part {
            stage,
            measured: measured.ok_or_else(bench::nothing_to_read),
        }
    }

    #[test]
    fn the_slowest_is_the_bottleneck_and_how_surely() {
        use Certainty::{Clear, Close, Likely};
        use Stage::{Destination, Path, Source};

        let check = |rates: [Option<u64>; 3], expected| {
            let stages = [Path, Source, Destination].into_iter();
            let parts: Vec<_> = stages.zip(rates).map(|(s, rate)| part(s, rate)).collect();
            let found = Verdict::of(&parts).map(|verdict| {
                let next = verdict.next.map(|next| next.stage);
                (verdict.slowest.stage, next, verdict.certainty)
            });
            assert_eq!(found, expected, "{rates:?}");
        };
        let after_path = |certainty| Some((Path, Some(Source), certainty));
        check([Some(1000), Some(2000), Some(3000)], after_path(Clear));
        check([Some(1000), Some(1999), Some(3000)], after_path(Likely));
        check([Some(1000), Some(1250), Some(3000)], after_path(Close));
        check([Some(u64::MAX), Some(u64::MAX), None], after_path(Close));
        check([Some(0), Some(1), Some(2)], after_path(Clear));
        let after_source = Some((Source, Some(Destination), Likely));
        check([Some(3000), Some(1000), Some(1300)], after_source);
        let after_destination = Some((Destination, Some(Path), Clear));
        check([Some(1000), None, Some(500)], after_destination);
        check([Some(1000), None, None], Some((Path, None, Likely)));
        check([None, Some(1), Some(2)], None);
    }
}
