//! How long something may take, as a person writes it: `30s`, `2m`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text::{Text, usage};

/// Beyond this nobody waits, and arithmetic with clocks stays safe.
const SPAN_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A length of time, at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeSpan(Duration);

impl TimeSpan {
    /// The span as the standard library has it.
    #[must_use]
    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for TimeSpan {
    fn from(duration: Duration) -> Self {
        Self(duration.min(SPAN_MAX))
    }
}

impl FromStr for TimeSpan {
    type Err = Text;

    /// Reads numbers, each with a unit `ms`, `s`, `m`, `h` or `d`; a number alone is in seconds.
    fn from_str(text: &str) -> Result<Self, Text> {
        let mut rest = text;
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let is_number = |c: char| c.is_ascii_digit() || c == '.';
            let number_end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
            let (number, behind) = rest.split_at(number_end);
            let unit_end = behind.find(is_number).unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(unit_end);
            let number: f64 = number.parse().map_err(|_| usage::not_a_time())?;
            seconds += number
                * match unit {
                    "ms" => 0.001,
                    "s" => 1.0,
                    "m" | "min" => 60.0,
                    "h" => 3600.0,
                    "d" => 24.0 * 3600.0,
                    "" if number_end == text.len() => 1.0,
                    _ => return Err(usage::not_a_time()),
                };
            rest = behind;
        }
        if text.is_empty() {
            return Err(usage::not_a_time());
        }
        let span = Duration::try_from_secs_f64(seconds).ok();
        match span.filter(|span| *span <= SPAN_MAX) {
            Some(span) => Ok(Self(span)),
            None => Err(usage::time_too_long()),
        }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        match self.0.as_secs() {
            seconds if !milliseconds.is_multiple_of(1000) || seconds == 0 => {
                write!(out, "{milliseconds}ms")
            }
            seconds if seconds % 3600 == 0 => write!(out, "{}h", seconds / 3600),
            seconds if seconds % 60 == 0 => write!(out, "{}m", seconds / 60),
            seconds => write!(out, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let cases = [
            ("30s", Some(30_000)),
            ("30", Some(30_000)),
            ("0", Some(0)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("1.5s", Some(1500)),
            ("250ms", Some(250)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("s", None),
            ("5x", None),
            ("5s5", None),
            ("-5s", None),
            ("1.2.3s", None),
            ("1e9s", None),
            ("999999999999h", None),
        ];
        for (text, milliseconds) in cases {
            let span = text.parse::<TimeSpan>().ok();
            let found = span.map(|span| span.duration().as_millis());
            assert_eq!(found, milliseconds, "{text}");
        }
    }

    #[test]
    fn a_time_reads_back_what_it_prints() {
        for text in ["250ms", "30s", "90s", "2m", "1h", "0ms"] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().to_string(), text);
        }
    }
}
