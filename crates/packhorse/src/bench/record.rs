//! What happens, for programs.

use serde::Serialize;

use super::parts::{Certainty, Detail, Measured, PathLimit, Stage, Verdict};
use crate::exit::Exit;

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Record {
    /// The measuring begins.
    Begin { address: String },
    /// How far a part is.
    Progress {
        stage: Stage,
        seconds: f64,
        bytes: u64,
    },
    /// How fast a part is.
    Measured {
        stage: Stage,
        bytes_per_second: u64,
        #[serde(flatten)]
        detail: DetailFields,
    },
    /// A part that cannot be measured.
    NotMeasured { stage: Stage, why: String },
    /// Which part is the bottleneck.
    Verdict {
        bottleneck: Stage,
        bytes_per_second: u64,
        certainty: Certainty,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<Stage>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_bytes_per_second: Option<u64>,
    },
    /// The last line.
    End {
        address: String,
        exit: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

/// What is known of a part besides its rate.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum DetailFields {
    Path {
        connections: usize,
        round_trip_seconds: f64,
        bytes: u64,
        seconds: f64,
        limit: PathLimit,
    },
    Disk {
        bytes: u64,
        seconds: f64,
    },
    Work {
        core_bytes_per_second: u64,
        cores: u64,
    },
}

impl Record {
    /// How fast `stage` is.
    pub(super) fn measured(stage: Stage, measured: &Measured) -> Self {
        let Measured { rate, detail } = measured;
        let detail = match detail {
            Detail::Path {
                connections,
                round_trip,
                course,
                limit,
            } => DetailFields::Path {
                connections: *connections,
                round_trip_seconds: round_trip.as_secs_f64(),
                bytes: course.bytes(),
                seconds: course.time().as_secs_f64(),
                limit: *limit,
            },
            Detail::Disk { bytes, time } => DetailFields::Disk {
                bytes: *bytes,
                seconds: time.as_secs_f64(),
            },
            Detail::Work { core_rate, cores } => DetailFields::Work {
                core_bytes_per_second: *core_rate,
                cores: *cores,
            },
        };
        Self::Measured {
            stage,
            bytes_per_second: *rate,
            detail,
        }
    }

    /// What it all means.
    pub(super) fn verdict(verdict: Verdict) -> Self {
        let Verdict {
            slowest,
            next,
            certainty,
        } = verdict;
        Self::Verdict {
            bottleneck: slowest.stage,
            bytes_per_second: slowest.rate,
            certainty,
            next: next.map(|next| next.stage),
            next_bytes_per_second: next.map(|next| next.rate),
        }
    }

    /// The last line.
    pub(super) fn end(address: &str, exit: Exit, why: Option<&str>) -> Self {
        Self::End {
            address: address.to_owned(),
            exit: exit.code(),
            why: why.map(ToOwned::to_owned),
        }
    }
}
