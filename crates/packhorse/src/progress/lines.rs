//! The words of the progress lines, in as many columns as there are.

use std::time::Duration;

use crate::byte_count::{ByteCount, Clock};
use crate::display_width::{cut_in_the_middle, width};
use crate::so_far::SoFar;
use crate::text::progress;

/// Between two things that are said.
const GAP: &str = "  ";

/// Fewer columns than this tell nothing of a name.
const NAME_COLUMNS_MIN: usize = 8;

/// How far a download is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// What is done.
    pub(crate) so_far: SoFar,
    /// Connections that are open.
    pub(crate) connections: u64,
    /// Bytes a second that come over them, if that can be said yet.
    pub(crate) rate: Option<u64>,
    /// How long the rest takes at this pace, if that can be said.
    pub(crate) left: Option<Duration>,
}

/// Something that is said if there is room for it.
struct Piece {
    text: String,
    /// What has a larger one goes first.
    dispensable: u8,
}

impl Moment {
    /// How fast, and how long still.
    pub(super) fn pace_line(&self, columns: usize) -> String {
        let mut pieces = Vec::new();
        let mut add = |dispensable, text: String| pieces.push(Piece { text, dispensable });
        let so_far = self.so_far;
        let (done, seen) = (so_far.bytes_done(), so_far.bytes_seen);
        if so_far.listing_ended {
            // Rounded down: 100 % means that nothing is left.
            let percent = match seen {
                0 => 100,
                seen => u128::from(done.min(seen)) * 100 / u128::from(seen),
            };
            add(0, format!("{percent:3}%"));
            let (done, seen) = (ByteCount(done).to_string(), ByteCount(seen).to_string());
            add(3, progress::share(&done, &seen).to_string());
        } else {
            add(0, ByteCount(done).to_string());
        }
        if let Some(rate) = self.rate {
            add(2, format!("{}/s", ByteCount(rate)));
        }
        match (so_far.listing_ended, self.left) {
            (false, _) => add(3, progress::total_unknown().to_string()),
            (true, Some(left)) => add(1, progress::time_left(&Clock(left).to_string()).to_string()),
            (true, None) if self.rate == Some(0) => add(1, progress::waiting().to_string()),
            (true, None) => {}
        }
        // Before the first one stands, and in the plain mode, which does not count its one.
        if self.connections > 0 {
            add(4, progress::connections(self.connections).to_string());
        }
        joined(pieces, columns)
    }

    /// Which files, and how many.
    pub(super) fn files_line(&self, name: Option<&str>, columns: usize) -> String {
        let so_far = self.so_far;
        let more = if so_far.listing_ended { "" } else { "+" };
        let seen = format!("{}{more}", so_far.files_seen);
        let mut pieces = vec![Piece {
            text: progress::files(so_far.files_done(), &seen).to_string(),
            dispensable: 0,
        }];
        let (kept, failed) = (so_far.files_kept, so_far.failed);
        let rare = [
            (kept, progress::kept(kept)),
            (failed, progress::failed(failed)),
        ];
        pieces.extend(
            rare.into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(_, text)| Piece {
                    text: text.to_string(),
                    dispensable: 1,
                }),
        );
        let counts = joined(pieces, columns);
        let room = columns.saturating_sub(width(&counts) + GAP.len());
        match name {
            Some(name) if room >= NAME_COLUMNS_MIN => {
                format!("{counts}{GAP}{}", cut_in_the_middle(name, room))
            }
            _ => counts,
        }
    }
}

/// As many of `pieces` as fit, in their order.
fn joined(mut pieces: Vec<Piece>, columns: usize) -> String {
    let needed = |pieces: &[Piece]| {
        let gaps = GAP.len() * pieces.len().saturating_sub(1);
        pieces.iter().map(|piece| width(&piece.text)).sum::<usize>() + gaps
    };
    while pieces.len() > 1 && needed(&pieces) > columns {
        let worst = pieces.iter().map(|piece| piece.dispensable).max();
        let last = pieces
            .iter()
            .rposition(|piece| Some(piece.dispensable) == worst);
        pieces.remove(last.unwrap_or(0));
    }
    let texts: Vec<_> = pieces.into_iter().map(|piece| piece.text).collect();
    cut_in_the_middle(&texts.join(GAP), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Moment {
        Moment {
            so_far: SoFar {
                files_seen: 20,
                bytes_seen: 4_000_000,
                listing_ended: true,
                files_fetched: 9,
                bytes_fetched: 900_000,
                files_kept: 1,
                bytes_kept: 100_000,
                ..SoFar::default()
            },
            connections: 2,
            rate: Some(500_000),
            left: Some(Duration::from_secs(6)),
        }
    }

    #[test]
    fn the_pace_is_said_in_the_columns_there_are() {
        let stuck = Moment {
            rate: Some(0),
            left: None,
            ..whole()
        };
        let young = Moment {
            rate: None,
            left: None,
            ..whole()
        };
        let mut listing = whole();
        listing.so_far.listing_ended = false;
        let cases = [
            (
                whole(),
                80,
                " 25%  1.00 MB of 4.00 MB  500 kB/s  0:06 left  2 connections",
            ),
            (whole(), 50, " 25%  1.00 MB of 4.00 MB  500 kB/s  0:06 left"),
            (whole(), 30, " 25%  500 kB/s  0:06 left"),
            (whole(), 20, " 25%  0:06 left"),
            (whole(), 5, " 25%"),
            (whole(), 2, "…%"),
            (
                stuck,
                80,
                " 25%  1.00 MB of 4.00 MB  0 B/s  waiting  2 connections",
            ),
            (young, 80, " 25%  1.00 MB of 4.00 MB  2 connections"),
            (
                listing,
                80,
                "1.00 MB  500 kB/s  total not known yet  2 connections",
            ),
            (listing, 30, "1.00 MB  500 kB/s"),
        ];
        for (moment, columns, text) in cases {
            assert_eq!(moment.pace_line(columns), text, "{columns}");
        }
    }

    #[test]
    fn files_are_counted_and_named() {
        let mut listing = whole();
        listing.so_far.listing_ended = false;
        listing.so_far.failed = 2;
        let name = Some("照片/二零二四年/夏天.jpg");
        let cases = [
            (
                whole(),
                name,
                80,
                "10 of 20 files  1 kept  照片/二零二四年/夏天.jpg",
            ),
            (
                whole(),
                name,
                40,
                "10 of 20 files  1 kept  照片/二…夏天.jpg",
            ),
            (whole(), name, 25, "10 of 20 files  1 kept"),
            (whole(), name, 16, "10 of 20 files"),
            (whole(), None, 80, "10 of 20 files  1 kept"),
            (listing, None, 80, "12 of 20+ files  1 kept  2 failed"),
        ];
        for (moment, name, columns, text) in cases {
            assert_eq!(moment.files_line(name, columns), text, "{columns}");
        }
    }

    #[test]
    fn no_line_is_ever_longer_than_its_columns() {
        let name = Some("照片/二零二四年/e\u{301}te\u{301} und so weiter.tar.gz");
        for columns in 0..300 {
            for line in [
                whole().pace_line(columns),
                whole().files_line(name, columns),
            ] {
                assert!(width(&line) <= columns, "{columns}: {line}");
            }
        }
    }
}
