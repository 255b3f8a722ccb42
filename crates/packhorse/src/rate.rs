//! How fast something may be, as a person writes it: `10M`.

use std::num::NonZeroU64;
use std::str::FromStr;

use crate::text::{Text, usage};

/// Bytes per second, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(NonZeroU64);

impl Rate {
    /// The rate in bytes per second.
    #[must_use]
    pub(crate) fn bytes_per_second(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Rate {
    type Err = Text;

    /// Reads a number, perhaps with a fraction, and a unit: `k`, `M`, `G`, `T` are powers of 1000,
    /// with an `i` behind them of 1024. `B` and `/s` may follow.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let written = text.strip_suffix("/s").unwrap_or(text);
        let written = written.strip_suffix(['b', 'B']).unwrap_or(written);
        let split = written
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(written.len());
        let (number, unit) = written.split_at(split);
        let factor = match unit {
            "" => 1.0,
            "k" | "K" => 1e3,
            "m" | "M" => 1e6,
            "g" | "G" => 1e9,
            "t" | "T" => 1e12,
            "ki" | "Ki" | "KI" => 1024.0,
            "mi" | "Mi" | "MI" => 1024.0 * 1024.0,
            "gi" | "Gi" | "GI" => 1024.0 * 1024.0 * 1024.0,
            "ti" | "Ti" | "TI" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return Err(usage::rate_unit()),
        };
        let number: f64 = number.parse().map_err(|_| usage::not_a_rate())?;
        let bytes = number * factor;
        if !(1.0..1e18).contains(&bytes) {
            return Err(usage::rate_beyond_reason());
        }
        Ok(Self(
            NonZeroU64::new(bytes as u64).expect("it is at least 1"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let cases = [
            ("1", Some(1)),
            ("500k", Some(500_000)),
            ("10M", Some(10_000_000)),
            ("1.5G", Some(1_500_000_000)),
            ("2MB/s", Some(2_000_000)),
            ("2MiB", Some(2 << 20)),
            ("1Ti", Some(1 << 40)),
            ("0", None),
            ("0.5", None),
            ("-1", None),
            ("1e3", None),
            ("10 M", None),
            ("1.2.3", None),
            ("", None),
            ("M", None),
            ("10X", None),
            ("99999999999T", None),
        ];
        for (text, bytes) in cases {
            let rate = text.parse::<Rate>().ok().map(Rate::bytes_per_second);
            assert_eq!(rate, bytes, "{text}");
        }
    }
}
