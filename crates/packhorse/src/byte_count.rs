//! How much, for a person: `1.24 GB`, `0:18`.

use std::fmt;
use std::time::Duration;

/// Prints a number of bytes with three digits and a decimal unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteCount(pub(crate) u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

        if self.0 < 1000 {
            return write!(out, "{} B", self.0);
        }
        let mut amount = self.0 as f64;
        let mut unit = 0;
        // From 999.5 on, three digits would be written as 1000.
        while amount >= 999.5 {
            amount /= 1000.0;
            unit += 1;
        }
        let decimals = match amount {
            amount if amount < 9.995 => 2,
            amount if amount < 99.95 => 1,
            _ => 0,
        };
        write!(out, "{amount:.decimals$} {}", UNITS[unit])
    }
}

/// Prints a length of time as a clock does, to the second: `0:18`, `1:02:03`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock(pub(crate) Duration);

impl fmt::Display for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(out, "{hours}:{minutes:02}:{seconds:02}")
        } else {
            write!(out, "{minutes}:{seconds:02}")
        }
    }
}

/// Prints how long something took: `12 ms`, `1.5 s`, `1:18`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeTaken(pub(crate) Duration);

impl fmt::Display for TimeTaken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs_f64() {
            // Rounded up: nothing takes no time.
            seconds if seconds < 0.9995 => write!(out, "{:.0} ms", (seconds * 1e3).ceil().max(1.0)),
            seconds if seconds < 59.95 => write!(out, "{seconds:.1} s"),
            _ => Clock(self.0).fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (1_240_000_000, "1.24 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
    }

    #[test]
    fn clocks_and_times() {
        for (seconds, text) in [(0, "0:00"), (78, "1:18"), (3723, "1:02:03")] {
            assert_eq!(Clock(Duration::from_secs(seconds)).to_string(), text);
        }
        for (microseconds, text) in [
            (0, "1 ms"),
            (62, "1 ms"),
            (12_001, "13 ms"),
            (999_000, "999 ms"),
            (999_900, "1.0 s"),
            (1_540_000, "1.5 s"),
            (78_000_000, "1:18"),
        ] {
            let taken = TimeTaken(Duration::from_micros(microseconds));
            assert_eq!(taken.to_string(), text);
        }
    }
}
