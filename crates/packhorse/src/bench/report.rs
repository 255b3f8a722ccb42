//! What a person reads of it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use packhorse_client::bench::Course;
use packhorse_protocol::escape::Escaped;

use super::parts::{Certainty, Detail, Limit, Measured, Part, PathLimit, Stage, Verdict};
use super::picture::{Ink, picture, sparkline};
use crate::byte_count::{ByteCount, TimeTaken};
use crate::display_width::{cut_in_the_middle, width};
use crate::text::wrapping::wrap;
use crate::text::{Text, bench, progress};

/// Between two columns of the table.
const GAP: &str = "  ";

/// Fewer columns than this tell nothing of how a part was measured.
const NOTE_COLUMNS_MIN: usize = 20;

/// What a rate takes.
pub(super) const RATE_COLUMNS: usize = "9.99 MB/s".len();

/// How wide a picture is that goes nowhere in particular.
const PICTURE_COLUMNS: usize = 80;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// Of the terminal; `None` where it goes anywhere else, and lines may be as long as they are.
    pub(super) columns: Option<usize>,
    pub(super) ink: Ink,
    /// What matters most may stand out.
    pub(super) has_colours: bool,
}

/// The whole report, line by line.
pub(super) fn report(parts: &[Part], destination: &Path, style: Style) -> Vec<String> {
    let verdict = Verdict::of(parts);
    let mut lines = table(parts, verdict, destination, style);
    let path = parts.iter().find_map(|part| match &part.measured {
        Ok(Measured {
            detail: Detail::Path { course, limit, .. },
            ..
        }) => Some((course, *limit)),
        _ => None,
    });
    if let Some((course, _)) = path {
        let drawn = picture(course, style.columns.unwrap_or(PICTURE_COLUMNS), style.ink);
        if !drawn.is_empty() {
            let time = TimeTaken(course.time()).to_string();
            lines.extend([String::new(), bench::picture(&time).to_string()]);
            lines.extend(drawn);
        }
    }
    lines.push(String::new());
    let limit = path.map_or(PathLimit::Line, |(_, limit)| limit);
    let words = match verdict {
        Some(verdict) => words(verdict, limit),
        None => vec![bench::no_verdict()],
    };
    lines.extend(words.iter().map(|text| match style.columns {
        Some(columns) => wrap(&text.to_string(), columns),
        None => text.to_string(),
    }));
    lines
}

/// What is being measured, and what has come of it so far, in at most `columns`.
pub(super) fn live_line(stage: Stage, course: Option<&Course>, columns: usize, ink: Ink) -> String {
    let mut line = bench::measuring(&stage.name()).to_string();
    if let Some(course) = course {
        let latest = course.rates(course.parts_max().max(1));
        let latest = rate(latest.last().copied().unwrap_or(0));
        line = format!("{line}{GAP}{latest:>RATE_COLUMNS$}");
        let room = columns.saturating_sub(width(&line) + GAP.len());
        line = format!("{line}{GAP}{}", sparkline(course, room, ink));
    }
    match width(&line) <= columns {
        true => line,
        false => cut_in_the_middle(&line, columns),
    }
}

/// A line for each part.
fn table(
    parts: &[Part],
    verdict: Option<Verdict>,
    destination: &Path,
    style: Style,
) -> Vec<String> {
    let rows = parts.iter().map(|part| {
        let (rate, note) = match &part.measured {
            Ok(measured) => (rate(measured.rate), note(measured, part.stage, destination)),
            Err(why) => ("-".to_owned(), bench::not_measured(why)),
        };
        let name = part.stage.name().to_string();
        (part.stage, part.measured.is_ok(), name, rate, note)
    });
    let rows: Vec<_> = rows.collect();
    let names = rows.iter().map(|(_, _, name, ..)| width(name)).max();
    let rates = rows.iter().map(|(_, _, _, rate, _)| width(rate)).max();
    let (names, rates) = (names.unwrap_or(0), rates.unwrap_or(0));
    rows.into_iter()
        .map(|(stage, is_measured, name, rate, note)| {
            let is_slowest = verdict.is_some_and(|verdict| verdict.slowest.stage == stage);
            let mark = match (is_slowest, style.ink) {
                (true, Ink::Blocks) => "▶ ",
                (true, Ink::Ascii) => "> ",
                (false, _) => "  ",
            };
            let padding = " ".repeat(names - width(&name));
            let figures = format!("{mark}{name}{padding}{GAP}{rate:>rates$}");
            let indent = " ".repeat(width(&figures) + GAP.len());
            let room = style
                .columns
                .map(|columns| columns.saturating_sub(indent.len()));
            let figures = match is_slowest && style.has_colours {
                true => format!("\x1b[1m{figures}\x1b[0m"),
                false => figures,
            };
            let note = note.to_string();
            let note = match room {
                None => note,
                Some(room) if room < NOTE_COLUMNS_MIN => return figures,
                Some(room) if is_measured => cut_in_the_middle(&note, room),
                // The middle of a reason may be what matters.
                Some(room) => {
                    let lines = wrap(&note, room);
                    let lines = lines.lines().map(|line| cut_in_the_middle(line, room));
                    lines.collect::<Vec<_>>().join(&format!("\n{indent}"))
                }
            };
            format!("{figures}{GAP}{note}")
        })
        .collect()
}

/// How a part was measured.
fn note(measured: &Measured, stage: Stage, destination: &Path) -> Text {
    match &measured.detail {
        Detail::Path {
            connections,
            round_trip,
            ..
        } => {
            let connections = progress::connections(*connections as u64);
            bench::path_note(&connections, &TimeTaken(*round_trip).to_string())
        }
        Detail::Disk { bytes, .. } => {
            let bytes = ByteCount(*bytes).to_string();
            match stage {
                Stage::Destination => {
                    let directory = Escaped(destination.as_os_str().as_bytes()).to_string();
                    bench::destination_note(&bytes, &directory)
                }
                _ => bench::source_note(&bytes),
            }
        }
        Detail::Work { core_rate, cores } => match *cores {
            1 => bench::one_core(&rate(*core_rate)),
            cores => bench::several_cores(&rate(*core_rate), cores),
        },
    }
}

/// What it means, and what to do.
fn words(verdict: Verdict, limit: PathLimit) -> Vec<Text> {
    let Verdict {
        slowest,
        next,
        certainty,
    } = verdict;
    let (stage, of_slowest) = (slowest.stage.name(), rate(slowest.rate));
    let said = match certainty {
        Certainty::Clear => bench::clear(&stage, &of_slowest),
        Certainty::Likely => bench::likely(&stage, &of_slowest),
        Certainty::Close => bench::close(&stage, &of_slowest),
    };
    let lifted = next.map(|Limit { stage, rate: next }| bench::lifted(&stage.name(), &rate(next)));
    let help = match (slowest.stage, limit) {
        (Stage::Path, PathLimit::Line) => bench::help_path(),
        (Stage::Path, PathLimit::SameMachine) => bench::help_same_machine(),
        (Stage::Path, PathLimit::ProcessorHere) => bench::help_processor_path(),
        (Stage::Source, _) => bench::help_source(),
        (Stage::Destination, _) => bench::help_destination(),
        (Stage::HashingThere | Stage::EncryptionThere, _) => bench::help_processor_there(),
        (Stage::HashingHere | Stage::EncryptionHere, _) => bench::help_processor_here(),
    };
    [Some(said), lifted, Some(help)]
        .into_iter()
        .flatten()
        .collect()
}

/// A rate for a person.
pub(super) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", ByteCount(bytes_per_second))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::language::Language;

    /// Parts with fixed figures; the path is the slowest of them.
    fn parts() -> Vec<Part> {
        let samples = (1..=50).map(|tick: u64| {
            // It gets going, drops, and recovers.
            let bytes: u64 = (0..tick)
                .map(|tick| match tick {
                    0..15 => tick * 300_000,
                    15..20 => 1_000_000,
                    _ => 4_300_000 + tick % 3 * 90_000,
                })
                .sum();
            (Duration::from_millis(100 * tick), bytes)
        });
        let course = Course::of(samples);
        let work = |core_rate, cores| Measured {
            rate: core_rate * cores,
            detail: Detail::Work { core_rate, cores },
        };
        let disk = |rate, bytes| Measured {
            rate,
            detail: Detail::Disk {
                bytes,
                time: Duration::from_secs(5),
            },
        };
        let path = Measured {
            rate: course.steady_rate().unwrap(),
            detail: Detail::Path {
                connections: 8,
                round_trip: Duration::from_millis(84),
                course,
                limit: PathLimit::Line,
            },
        };
        let measured = [
            (Stage::Path, Ok(path)),
            (Stage::Source, Err(bench::nothing_to_read())),
            (Stage::HashingThere, Ok(work(2_100_000_000, 8))),
            (Stage::EncryptionThere, Ok(work(4_300_000_000, 8))),
            (Stage::EncryptionHere, Ok(work(3_900_000_000, 2))),
            (Stage::HashingHere, Ok(work(1_900_000_000, 1))),
            (Stage::Destination, Ok(disk(310_000_000, 1_550_000_000))),
        ];
        let parts = measured.into_iter();
        parts
            .map(|(stage, measured)| Part { stage, measured })
            .collect()
    }

    fn style(columns: Option<usize>) -> Style {
        Style {
            columns,
            ink: columns.map_or(Ink::Ascii, |_| Ink::Blocks),
            has_colours: false,
        }
    }

    fn reported(style: Style) -> String {
        let lines = report(&parts(), Path::new("/mnt/\x1b[31mdisk"), style);
        let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
        lines.join("\n")
    }

    #[test]
    fn the_report_is_what_it_was() {
        let mut told = String::new();
        for columns in [Some(79), Some(199), None] {
            let english = reported(style(columns));
            // Each language is made of its own texts.
            let chinese = Language::Chinese.render(|| reported(style(columns)));
            told += &format!("# {columns:?}\n{english}\n\n{chinese}\n\n");
        }
        insta::assert_snapshot!(told);
    }

    #[test]
    fn every_line_fits_and_nothing_steers_the_terminal() {
        for language in [Language::English, Language::Chinese] {
            language.render(|| {
                for columns in 30..200 {
                    let report = reported(style(Some(columns)));
                    assert!(!report.contains('\x1b'));
                    for line in report.lines() {
                        assert!(width(line) <= columns, "{columns}: {line}");
                    }
                    let parts = parts();
                    let course = parts.iter().find_map(|part| match &part.measured {
                        Ok(Measured {
                            detail: Detail::Path { course, .. },
                            ..
                        }) => Some(course),
                        _ => None,
                    });
                    for ink in [Ink::Blocks, Ink::Ascii] {
                        let live = live_line(Stage::Path, course, columns, ink);
                        assert!(width(&live) <= columns, "{columns}: {live}");
                    }
                }
            });
        }
    }

    #[test]
    fn a_reason_is_told_in_full() {
        let directory = "/srv/a directory with a long name";
        let cannot = bench::cannot_write(directory).because(std::io::Error::from_raw_os_error(30));
        let mut parts = parts();
        let destination = parts.last_mut().unwrap();
        destination.measured = Err(cannot);
        let lines = report(&parts, Path::new("."), style(Some(60)));
        let told = lines.iter().find(|line| line.contains("destination disk"));
        insta::assert_snapshot!(told.unwrap(), @r"
          destination disk          -  not measured: cannot write to
                                       /srv/a directory with a long
                                       name: Read-only file system
                                       (os error 30)
        ");
    }

    #[test]
    fn what_matters_most_stands_out_where_colours_may_be() {
        let plain = reported(style(Some(79)));
        let coloured = reported(Style {
            has_colours: true,
            ..style(Some(79))
        });
        let bold: Vec<_> = coloured.matches("\x1b[").collect();
        assert_eq!(bold.len(), 2, "on and off");
        let stripped = coloured.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(stripped, plain);
    }
}
