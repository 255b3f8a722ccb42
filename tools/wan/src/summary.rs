//! What a link has done, in JSON.

use serde_json::{Value, json};

use crate::pump::{LATE_BY_1_MS, LATE_EDGES_US, Report};
use crate::quantity::QueueLimit;
use crate::settings::LineSettings;

/// One direction.
pub(crate) struct Direction<'a> {
    pub(crate) settings: &'a LineSettings,
    pub(crate) report: &'a Report,
    /// Packets that the emulator was too slow to fetch.
    pub(crate) missed: u64,
    /// Packets that the receiver's kernel did not take.
    pub(crate) receiver_dropped: u64,
}

/// The whole summary.
pub(crate) fn summary(
    seed: u64,
    seconds: f64,
    client: Value,
    directions: &[Direction; 2],
) -> Value {
    let [a_to_b, b_to_a] = directions;
    // Degraded: the emulator itself has lost packets, or was over a millisecond late for more than
    // one in a hundred of them.
    let is_degraded = directions.iter().any(|direction| {
        let late = &direction.report.late;
        let very_late: u64 = late[LATE_BY_1_MS..].iter().sum();
        direction.missed > 0 || very_late * 100 > late.iter().sum()
    });
    json!({
        "wanlink": env!("CARGO_PKG_VERSION"),
        "seed": seed,
        "link_s": rounded(seconds),
        "client": client,
        "a_to_b": a_to_b.to_json(),
        "b_to_a": b_to_a.to_json(),
        "fidelity": if is_degraded { "degraded" } else { "ok" },
    })
}

/// Seconds with three places.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

impl Direction<'_> {
    fn to_json(&self) -> Value {
        let Self {
            settings,
            report,
            missed,
            receiver_dropped,
        } = self;
        let counts = &report.counts;
        let span_ns = counts.last_out_ns.saturating_sub(counts.first_out_ns);
        let mbit = counts.out_bytes as f64 * 8e3 / span_ns.max(1) as f64;
        let packets: u64 = report.late.iter().sum();
        let very_late: u64 = report.late[LATE_BY_1_MS..].iter().sum();
        let queue = match settings.queue {
            Some(QueueLimit::Bytes(bytes)) if settings.rate_bits > 0 => json!({"bytes": bytes}),
            Some(QueueLimit::Packets(packets)) if settings.rate_bits > 0 => {
                json!({"packets": packets})
            }
            _ => Value::Null,
        };
        json!({
            "set": {
                "delay_ms": settings.delay_ns as f64 / 1e6,
                "jitter_ms": settings.jitter_ns as f64 / 1e6,
                "loss": settings.loss,
                "rate_bit_s": settings.rate_bits,
                "queue": queue,
            },
            "in_packets": counts.in_packets,
            "in_bytes": counts.in_bytes,
            "out_packets": counts.out_packets,
            "out_bytes": counts.out_bytes,
            "out_mbit_s": rounded(mbit),
            "drop_queue": counts.drop_queue,
            "drop_loss": counts.drop_loss,
            "drop_burst": counts.drop_burst,
            "drop_cut": counts.drop_cut,
            "drop_pmtu": counts.drop_path_mtu,
            "duplicated": counts.duplicated,
            "reordered": counts.reordered,
            "corrupted": counts.corrupted,
            "corrupted_silent": counts.corrupted_silent,
            "ecn_marked": counts.marked,
            "queue_max_bytes": counts.queue_bytes_max,
            "queue_max_packets": counts.queue_packets_max,
            "queue_delay_max_ms": rounded(counts.queue_delay_ns_max as f64 / 1e6),
            "in_flight_at_end": report.in_flight,
            "late_us": {
                "p50_below": late_us(report, 0.5),
                "p99_below": late_us(report, 0.99),
                "max": report.late_us_max,
                "over_1ms_share": very_late as f64 / packets.max(1) as f64,
            },
            "emulator_missed": missed,
            "write_errors": report.write_errors,
            "rx_dropped": receiver_dropped,
            "cpu_s": rounded(report.cpu_seconds),
            "wakeups": report.wakeups,
            "aim_early_us": report.aim_early_us,
        })
    }
}

/// The end of the class below which this share of the packets was late.
fn late_us(report: &Report, share: f64) -> u64 {
    let wanted = share * report.late.iter().sum::<u64>() as f64;
    let mut sum = 0;
    let class = report.late.iter().position(|packets| {
        sum += packets;
        sum as f64 >= wanted
    });
    let edge = class.and_then(|class| LATE_EDGES_US.get(class).copied());
    edge.unwrap_or(report.late_us_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fidelity(report: &Report, missed: u64) -> Value {
        let settings = LineSettings::default();
        let direction = |missed| Direction {
            settings: &settings,
            report,
            missed,
            receiver_dropped: 0,
        };
        let directions = [direction(0), direction(missed)];
        summary(1, 2.0, Value::Null, &directions)["fidelity"].clone()
    }

    #[test]
    fn a_late_or_lossy_emulator_says_so() {
        let mut report = Report::default();
        assert_eq!(fidelity(&report, 0), "ok");
        assert_eq!(fidelity(&report, 1), "degraded");
        report.late = [98, 0, 0, 0, 1, 1, 0, 0];
        assert_eq!(fidelity(&report, 0), "ok");
        assert_eq!((late_us(&report, 0.5), late_us(&report, 0.99)), (50, 1_000));
        report.late[7] = 2;
        assert_eq!(fidelity(&report, 0), "degraded");
    }
}
