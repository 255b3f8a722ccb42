//! What one direction of a line does to packets.

use anyhow::{Context, bail, ensure};

use crate::quantity::{QueueLimit, probability, queue_limit, rate_bits, time_ns};

/// Names of lines to begin with.
pub(crate) const PROFILES: [(&str, &str); 6] = [
    ("lan", "rtt=0.2ms,rate=1gbit,queue=1MB"),
    ("metro", "rtt=10ms,loss=0.01%,rate=1gbit,queue=1bdp"),
    ("continent", "rtt=60ms,loss=0.1%,rate=200mbit,queue=1bdp"),
    ("lossy", "rtt=100ms,loss=1%,rate=100mbit,queue=1bdp"),
    (
        "awful",
        "rtt=200ms,loss=3%,jitter=20ms,reorder=1%,reorder-by=20ms,rate=50mbit,queue=1bdp",
    ),
    ("bursty", "rtt=50ms,ge=0.1%:10%:80%,rate=100mbit,queue=1bdp"),
];

/// Packets of full size that the queue holds at least, unless its length was set.
const QUEUE_PACKETS_MIN: u64 = 100;

/// One direction.
#[derive(Clone, Debug)]
pub(crate) struct LineSettings {
    pub(crate) delay_ns: u64,
    pub(crate) jitter_ns: u64,
    pub(crate) jitter_period_ns: u64,
    pub(crate) jitter_reorders: bool,
    pub(crate) loss: f64,
    pub(crate) burst_loss: Option<BurstLoss>,
    /// Mean times up and down, both exponential.
    pub(crate) outage_ns: Option<(u64, u64)>,
    /// Start, since the link came up, and length.
    pub(crate) cuts_ns: Vec<(u64, u64)>,
    pub(crate) reorder: f64,
    pub(crate) reorder_by_ns: u64,
    pub(crate) duplicate: f64,
    pub(crate) corrupt: f64,
    pub(crate) corrupt_silent: f64,
    /// Bits a second of IP bytes and overhead; 0 is no limit.
    pub(crate) rate_bits: u64,
    pub(crate) queue: Option<QueueLimit>,
    /// Above which congestion is marked.
    pub(crate) mark_above: Option<QueueLimit>,
    pub(crate) overhead_bytes: u64,
    /// Longer packets vanish; 0 is no limit.
    pub(crate) path_mtu_bytes: usize,
}

/// Gilbert and Elliott's two states, stepped with each packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BurstLoss {
    pub(crate) good_to_bad: f64,
    pub(crate) bad_to_good: f64,
    pub(crate) loss_in_bad: f64,
    pub(crate) loss_in_good: f64,
}

impl Default for LineSettings {
    fn default() -> Self {
        Self {
            delay_ns: 0,
            jitter_ns: 0,
            jitter_period_ns: 20_000_000,
            jitter_reorders: false,
            loss: 0.0,
            burst_loss: None,
            outage_ns: None,
            cuts_ns: Vec::new(),
            reorder: 0.0,
            reorder_by_ns: 5_000_000,
            duplicate: 0.0,
            corrupt: 0.0,
            corrupt_silent: 0.0,
            rate_bits: 0,
            queue: None,
            mark_above: None,
            overhead_bytes: 0,
            path_mtu_bytes: 0,
        }
    }
}

impl LineSettings {
    /// Those of a profile.
    pub(crate) fn of_profile(name: &str) -> anyhow::Result<Self> {
        let profile = PROFILES.iter().find(|(known, _)| *known == name);
        let (_, list) = profile.with_context(|| format!("there is no profile `{name}`"))?;
        let mut settings = Self::default();
        settings.set_all(list)?;
        Ok(settings)
    }

    /// Sets what a list `KEY=VALUE,KEY=VALUE` says.
    pub(crate) fn set_all(&mut self, list: &str) -> anyhow::Result<()> {
        for pair in list.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .with_context(|| format!("`{pair}` is not KEY=VALUE"))?;
            self.set(key.trim(), value)?;
        }
        Ok(())
    }

    /// Sets what a flag of this name, without its dashes, sets.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        let known = self.set_if_known(key, value);
        ensure!(
            known.with_context(|| format!("{key}={value}"))?,
            "unknown setting of a line: {key}"
        );
        Ok(())
    }

    fn set_if_known(&mut self, key: &str, value: &str) -> anyhow::Result<bool> {
        match key {
            "delay" => self.delay_ns = time_ns(value)?,
            "rtt" => self.delay_ns = time_ns(value)? / 2,
            "jitter" => self.jitter_ns = time_ns(value)?,
            "jitter-period" => self.jitter_period_ns = time_ns(value)?.max(1),
            "jitter-reorder" => self.jitter_reorders = value.parse()?,
            "loss" => self.loss = probability(value)?,
            "ge" => self.burst_loss = Some(burst_loss(value)?),
            "outage" => self.outage_ns = Some(two_times(value)?),
            "cut" => self.cuts_ns.push(two_times(value)?),
            "reorder" => self.reorder = probability(value)?,
            "reorder-by" => self.reorder_by_ns = time_ns(value)?,
            "dup" => self.duplicate = probability(value)?,
            "corrupt" => self.corrupt = probability(value)?,
            "corrupt-silent" => self.corrupt_silent = probability(value)?,
            "rate" => self.rate_bits = rate_bits(value)?,
            "queue" => self.queue = Some(queue_limit(value)?),
            "ecn" => self.mark_above = Some(queue_limit(value)?),
            "overhead" => self.overhead_bytes = value.parse()?,
            "pmtu" => self.path_mtu_bytes = value.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Makes bytes of queues that are told in products of bandwidth and delay, and sets a queue of
    /// one of these where none was set.
    pub(crate) fn resolve(&mut self, mtu_bytes: usize) {
        let product_bytes = (2 * self.delay_ns) as f64 * self.rate_bits as f64 / 8e9;
        let in_bytes = |limit| match limit {
            QueueLimit::BandwidthDelayProducts(times) => {
                QueueLimit::Bytes((times * product_bytes) as u64)
            }
            other => other,
        };
        let shortest_bytes = QUEUE_PACKETS_MIN * mtu_bytes as u64;
        let default = QueueLimit::Bytes((product_bytes as u64).max(shortest_bytes));
        self.queue = Some(self.queue.map_or(default, in_bytes));
        self.mark_above = self.mark_above.map(in_bytes);
    }
}

/// `P:R[:LOSS_IN_BAD[:LOSS_IN_GOOD]]`.
fn burst_loss(text: &str) -> anyhow::Result<BurstLoss> {
    let numbers: Vec<_> = text
        .split(':')
        .map(probability)
        .collect::<anyhow::Result<_>>()?;
    let (good_to_bad, bad_to_good, loss_in_bad, loss_in_good) = match numbers[..] {
        [to_bad, to_good] => (to_bad, to_good, 1.0, 0.0),
        [to_bad, to_good, bad] => (to_bad, to_good, bad, 0.0),
        [to_bad, to_good, bad, good] => (to_bad, to_good, bad, good),
        _ => bail!("burst loss is P:R[:LOSS_IN_BAD[:LOSS_IN_GOOD]]"),
    };
    Ok(BurstLoss {
        good_to_bad,
        bad_to_good,
        loss_in_bad,
        loss_in_good,
    })
}

fn two_times(text: &str) -> anyhow::Result<(u64, u64)> {
    let (first, second) = text.split_once(':').context("it must be TIME:TIME")?;
    Ok((time_ns(first)?, time_ns(second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_a_product_of_bandwidth_and_delay() {
        for (list, bytes) in [
            ("rtt=60ms,rate=200mbit,queue=1bdp", 1_500_000),
            ("rtt=60ms,rate=200mbit,queue=0.5bdp", 750_000),
            ("rtt=60ms,rate=200mbit", 1_500_000),
            ("rtt=1ms,rate=1mbit", 150_000),
            ("rtt=1ms,rate=1mbit,queue=5kB", 5_000),
        ] {
            let mut settings = LineSettings::default();
            settings.set_all(list).unwrap();
            settings.resolve(1_500);
            assert_eq!(settings.queue, Some(QueueLimit::Bytes(bytes)), "{list}");
        }
    }

    #[test]
    fn every_profile_can_be_read_and_nonsense_cannot() {
        for (name, _) in PROFILES {
            LineSettings::of_profile(name).unwrap();
        }
        for list in ["loss", "los=1%", "loss=200%", "ge=1%", "cut=1s", "pmtu=-1"] {
            assert!(LineSettings::default().set_all(list).is_err(), "{list}");
        }
        assert!(LineSettings::of_profile("moon").is_err());
    }
}
