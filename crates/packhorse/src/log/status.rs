//! The line at the bottom of a server's terminal: who is here, how fast it goes, and what it came to.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use packhorse_server::Watch;

use crate::byte_count::ByteCount;
use crate::display_width::cut_in_the_middle;
use crate::text::progress;

/// How far back speed is measured.
const WINDOW: Duration = Duration::from_secs(3);

/// What a server did lately.
#[derive(Debug, Default)]
pub(super) struct Status {
    samples: VecDeque<(Instant, u64)>,
}

impl Status {
    /// The line as it is now, in `columns`.
    pub(super) fn line(&mut self, watch: &Watch, columns: usize) -> String {
        let (now, sent) = (Instant::now(), watch.sent_bytes());
        self.samples.push_back((now, sent));
        while self.samples.len() > 2 && self.samples[1].0 + WINDOW <= now {
            self.samples.pop_front();
        }
        let rate = self.samples.front().map_or(0.0, |&(at, sent_then)| {
            (sent - sent_then) as f64 / (now - at).as_secs_f64().max(1e-3)
        });
        // A character in the last column makes some terminals wrap.
        let columns = columns.saturating_sub(1);
        cut_in_the_middle(&words(watch.connections(), rate as u64, sent), columns)
    }
}

fn words(connections: u64, rate: u64, sent: u64) -> String {
    let sent = ByteCount(sent).to_string();
    let words = match connections {
        0 => progress::nobody(&sent),
        _ => {
            let rate = ByteCount(rate).to_string();
            progress::serving(&progress::connections(connections), &rate, &sent)
        }
    };
    words.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_who_is_here() {
        assert_eq!(words(0, 0, 3_000_000), "nobody is connected  3.00 MB sent");
        assert_eq!(
            words(2, 1_500_000, 3_000_000),
            "2 connections  1.50 MB/s  3.00 MB sent"
        );
    }
}
