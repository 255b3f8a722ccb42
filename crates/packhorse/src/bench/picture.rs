//! A picture of rates over time, in characters.

use packhorse_client::bench::Course;

use super::report::{RATE_COLUMNS, rate};

/// Rows of the picture, its axis not among them.
const ROWS: usize = 6;

/// More columns than this say nothing more.
const COLUMNS_MAX: usize = 100;

/// Fewer columns than this show nothing.
const COLUMNS_MIN: usize = 12;

/// What is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Blocks of eighths, and lines.
    Blocks,
    /// What every terminal and every file can show.
    Ascii,
}

impl Ink {
    /// The best for where it goes.
    pub(super) fn of(shows_unicode: bool) -> Self {
        match shows_unicode {
            true => Self::Blocks,
            false => Self::Ascii,
        }
    }

    /// Characters from nothing to a full cell.
    fn levels(self) -> &'static [char] {
        match self {
            Self::Blocks => &[' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Self::Ascii => &[' ', '.', ':', '#'],
        }
    }

    /// The axis: where a number stands, beside the picture, its corner, and below it.
    fn axis(self) -> [char; 4] {
        match self {
            Self::Blocks => ['┤', '│', '└', '─'],
            Self::Ascii => ['+', '|', '+', '-'],
        }
    }
}

/// The picture in at most `columns`; no lines at all where that is too few, or there is nothing to
/// be seen.
pub(super) fn picture(course: &Course, columns: usize, ink: Ink) -> Vec<String> {
    let label_columns = RATE_COLUMNS + 1;
    let room = columns.saturating_sub(label_columns + 2).min(COLUMNS_MAX);
    if room < COLUMNS_MIN || course.parts_max() == 0 {
        return Vec::new();
    }
    let rates = course.rates(room);
    let peak = peak_of(&rates);
    let top = rate(peak);
    let [tick, side, corner, below] = ink.axis();
    let mut lines: Vec<_> = (0..ROWS)
        .map(|row| {
            let (label, mark) = match row {
                0 => (top.as_str(), tick),
                _ => ("", side),
            };
            let cells: String = rates
                .iter()
                .map(|&rate| cell(rate, peak, ROWS - 1 - row, ROWS, ink))
                .collect();
            let line = format!("{label:>label_columns$} {mark}{cells}");
            line.trim_end().to_owned()
        })
        .collect();
    let floor: String = std::iter::repeat_n(below, room).collect();
    lines.push(format!("{:>label_columns$} {corner}{floor}", "0"));
    let end = format!("{:.1} s", course.time().as_secs_f64());
    let middle = room.saturating_sub("0 s".len());
    lines.push(format!("{:>label_columns$}  0 s{end:>middle$}", ""));
    lines
}

/// The last rates of `course` in one line of at most `columns`, each of one look at it.
pub(super) fn sparkline(course: &Course, columns: usize, ink: Ink) -> String {
    let parts = course.parts_max();
    if parts == 0 {
        return String::new();
    }
    let rates = course.rates(parts);
    let last = &rates[parts.saturating_sub(columns)..];
    let peak = peak_of(last);
    last.iter()
        .map(|&rate| cell(rate, peak, 0, 1, ink))
        .collect()
}

fn peak_of(rates: &[u64]) -> u64 {
    rates.iter().copied().max().unwrap_or(0)
}

/// What stands in a row (from below, of so many) above a rate: what there is is always to be seen.
fn cell(rate: u64, peak: u64, row: usize, rows: usize, ink: Ink) -> char {
    let levels = ink.levels();
    let full = levels.len() - 1;
    if rate == 0 || peak == 0 {
        return levels[0];
    }
    let height = (rate as f64 / peak as f64 * (rows * full) as f64).round() as usize;
    levels[height.max(1).saturating_sub(row * full).min(full)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::display_width::width;

    fn course(rates: &[u64]) -> Course {
        let mut bytes = 0;
        let samples = rates.iter().zip(1..).map(|(rate, number)| {
            bytes += rate;
            (Duration::from_secs(number), bytes)
        });
        Course::of(samples)
    }

    #[test]
    fn a_line_has_a_character_for_each_look() {
        let course = course(&[0, 1, 2, 4, 8, 8000, 16_000]);
        assert_eq!(sparkline(&course, 20, Ink::Blocks), " ▁▁▁▁▄█");
        assert_eq!(sparkline(&course, 3, Ink::Ascii), ".:#");
        assert_eq!(sparkline(&Course::of([]), 3, Ink::Ascii), "");
    }

    #[test]
    fn it_fits_into_any_width() {
        let course = course(&[5, 1000, 0, 250_000_000, 999_999_999, 3]);
        for ink in [Ink::Blocks, Ink::Ascii] {
            for columns in 0..300 {
                let lines = picture(&course, columns, ink);
                assert_eq!(lines.is_empty(), columns < 24, "{columns}");
                for line in lines {
                    assert!(width(&line) <= columns, "{columns}: {line}");
                    assert!(ink == Ink::Blocks || line.is_ascii(), "{line}");
                }
            }
        }
    }
}
