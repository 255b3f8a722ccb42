//! Times, rates, sizes and probabilities as people write them.

use anyhow::{Context, bail, ensure};

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// How long a queue may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum QueueLimit {
    Bytes(u64),
    Packets(u64),
    /// So many times what the line holds in a round trip: rate times delay.
    BandwidthDelayProducts(f64),
}

/// `1.5s`, `20ms`, `50us`, `100ns` or `0`, in nanoseconds.
pub(crate) fn time_ns(text: &str) -> anyhow::Result<u64> {
    let units = [("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0)];
    Ok(in_units(text, &units)?.round() as u64)
}

/// `200mbit`, `1gbit` or `0`, in bits a second.
pub(crate) fn rate_bits(text: &str) -> anyhow::Result<u64> {
    let units = [("bit", 1.0), ("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
    Ok(in_units(text, &units)?.round() as u64)
}

/// `500kB`, `64KiB`, `100p` (packets) or `1bdp`.
pub(crate) fn queue_limit(text: &str) -> anyhow::Result<QueueLimit> {
    let lower = text.trim().to_ascii_lowercase();
    let bad = || format!("no size: `{text}`");
    if let Some(number) = lower.strip_suffix("bdp") {
        let number = number.trim().parse().with_context(bad)?;
        return Ok(QueueLimit::BandwidthDelayProducts(number));
    }
    for unit in ["pkts", "pkt", "p"] {
        if let Some(number) = lower.strip_suffix(unit) {
            return Ok(QueueLimit::Packets(
                number.trim().parse().with_context(bad)?,
            ));
        }
    }
    let units = [
        ("b", 1.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("kib", 1024.0),
        ("mib", 1_048_576.0),
        ("", 1.0),
    ];
    Ok(QueueLimit::Bytes(in_units(&lower, &units)? as u64))
}

/// `1%` or `0.01`.
pub(crate) fn probability(text: &str) -> anyhow::Result<f64> {
    let text = text.trim();
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number.trim(), 100.0),
        None => (text, 1.0),
    };
    let bad = || format!("no probability: `{text}`; write 1% or 0.01");
    let value = number.parse::<f64>().with_context(bad)? / scale;
    ensure!((0.0..=1.0).contains(&value), bad());
    Ok(value)
}

fn in_units(text: &str, units: &[(&str, f64)]) -> anyhow::Result<f64> {
    let text = text.trim();
    if text == "0" {
        return Ok(0.0);
    }
    let is_of_number = |character: char| character.is_ascii_digit() || character == '.';
    let end = text.find(|character| !is_of_number(character));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number
        .parse()
        .with_context(|| format!("no number: `{text}`"))?;
    let unit = unit.trim().to_ascii_lowercase();
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => Ok(number * factor),
        None => {
            let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
            bail!("`{text}`: its unit must be one of {}", names.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        assert_eq!(time_ns("0.2ms").unwrap(), 200_000);
        assert_eq!(time_ns("0").unwrap(), 0);
        assert_eq!(rate_bits("1gbit").unwrap(), 1_000_000_000);
        assert!((probability("0.01%").unwrap() - 0.0001).abs() < 1e-12);
        for (text, limit) in [
            ("500kB", QueueLimit::Bytes(500_000)),
            ("64KiB", QueueLimit::Bytes(65_536)),
            ("7p", QueueLimit::Packets(7)),
            ("1bdp", QueueLimit::BandwidthDelayProducts(1.0)),
        ] {
            assert_eq!(queue_limit(text).unwrap(), limit, "{text}");
        }
        assert!(time_ns("5").is_err() && time_ns("ms").is_err());
        assert!(probability("3").is_err() && probability("nan").is_err());
        assert!(rate_bits("5m").is_err() && queue_limit("5x").is_err());
    }
}
