//! The progress of a download at the bottom of a terminal: how far, how fast, and an honest guess of
//! how long.

mod lines;
mod pace;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use packhorse_client::report::{Event, Totals};
use packhorse_protocol::limits::INLINE_BYTES_MAX;
use packhorse_protocol::path::RelativePath;

pub(crate) use self::lines::Moment;
use self::pace::{Pace, Sample};
use crate::bottom_lines::BottomLines;
use crate::so_far::SoFar;
use crate::text::Text;

/// How often the lines are drawn anew.
const INTERVAL: Duration = Duration::from_millis(100);

/// How often a program is told.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Where there are fewer rows, one line has to do.
const ROWS_MIN: usize = 5;

/// Lines at the bottom of a terminal; nothing where standard error is none. What is said through
/// them stands above.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    bottom: BottomLines,
    names: Mutex<Names>,
    /// The lines want to know the next name.
    wants_name: AtomicBool,
    /// How many of the names are of large files.
    large: AtomicUsize,
}

/// What is being fetched.
#[derive(Debug, Default)]
struct Names {
    /// Large files under way; the last one is named.
    large: Vec<RelativePath>,
    /// A small file of which all has come.
    small: Option<RelativePath>,
}

impl ProgressLine {
    /// Nothing yet; never shown if not `wanted`.
    #[must_use]
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            bottom: BottomLines::new(wanted),
            names: Mutex::default(),
            wants_name: AtomicBool::new(false),
            large: AtomicUsize::new(0),
        }
    }

    /// Whether anybody sees it.
    #[must_use]
    pub(crate) fn is_shown(&self) -> bool {
        self.bottom.is_shown()
    }

    /// Says something; see [`say`](crate::output::say).
    pub(crate) fn say(&self, words: impl Into<Text>) {
        self.bottom.say(&format!("{}\n", words.into()));
    }

    /// Says what went wrong; see [`complain`](crate::output::complain).
    pub(crate) fn complain(&self, what: impl Into<Text>) {
        self.say(what.into().of_packhorse());
    }

    /// Does `act`, which writes to the terminal, while the lines are out of the way.
    pub(crate) fn suspend<T>(&self, act: impl FnOnce() -> T) -> T {
        self.bottom.suspend(act)
    }

    /// Takes note of the name of what is being fetched.
    pub(crate) fn note(&self, event: &Event<'_>) {
        if !self.bottom.is_shown() {
            return;
        }
        match *event {
            Event::Begun { path } => self.change_large(|large| {
                if !large.contains(path) {
                    large.push(path.clone());
                }
            }),
            Event::Fetched { path, bytes, .. } if bytes > INLINE_BYTES_MAX => {
                self.end(path.as_bytes())
            }
            Event::Kept { path } => self.end(path.as_bytes()),
            Event::Failed { path, .. } => self.end(path),
            Event::Fetched { path, .. } if self.wants_name.swap(false, Ordering::Relaxed) => {
                self.lock().small = Some(path.clone());
            }
            _ => {}
        }
    }

    /// Shows `totals` as they grow, with what was `received` over all connections, until it is
    /// dropped. `report` hears of it once in a while, the first time at once.
    pub(crate) async fn follow(
        &self,
        totals: &Totals,
        received: impl Fn() -> u64,
        report: Option<&(dyn Fn(&Moment) + Sync)>,
    ) -> std::convert::Infallible {
        if !self.bottom.is_shown() && report.is_none() {
            return std::future::pending().await;
        }
        let start = Instant::now();
        let mut reported_at = None;
        let mut pace = Pace::default();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let moment = moment(totals, start.elapsed(), received(), &mut pace);
            self.show(&moment);
            if let Some(report) = report
                && reported_at.is_none_or(|at: Instant| at.elapsed() >= REPORT_INTERVAL)
            {
                reported_at = Some(Instant::now());
                report(&moment);
            }
        }
    }

    /// Takes the lines away.
    pub(crate) fn clear(&self) {
        self.bottom.clear();
        self.lock().small = None;
        self.change_large(Vec::clear);
    }

    fn show(&self, moment: &Moment) {
        self.bottom.show(|size| {
            // A character in the last column makes some terminals wrap.
            let columns = size.columns.saturating_sub(1);
            let mut lines = vec![moment.pace_line(columns)];
            if size.rows >= ROWS_MIN {
                let name = self.name();
                lines.push(moment.files_line(name.as_deref(), columns));
            }
            lines
        });
    }

    /// A file is done with that may be a large one.
    fn end(&self, path: &[u8]) {
        // There may be a hundred thousand small ones a second, and only some of the large.
        if self.large.load(Ordering::Relaxed) > 0 {
            self.change_large(|large| large.retain(|large| large.as_bytes() != path));
        }
    }

    fn change_large(&self, change: impl FnOnce(&mut Vec<RelativePath>)) {
        let mut names = self.lock();
        change(&mut names.large);
        self.large.store(names.large.len(), Ordering::Relaxed);
    }

    fn name(&self) -> Option<String> {
        self.wants_name.store(true, Ordering::Relaxed);
        let names = self.lock();
        let name = names.large.last().or(names.small.as_ref());
        name.map(RelativePath::to_string)
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment(totals: &Totals, at: Duration, received: u64, pace: &mut Pace) -> Moment {
    let so_far = SoFar::of(totals);
    pace.note(Sample {
        at,
        received,
        kept: so_far.bytes_kept,
        files: so_far.files_done(),
    });
    let bytes_left = so_far.bytes_seen.saturating_sub(so_far.bytes_done());
    let files_left = so_far.files_seen.saturating_sub(so_far.files_done());
    let left = so_far
        .listing_ended
        .then(|| pace.left(bytes_left, files_left));
    Moment {
        so_far,
        connections: totals.connections.load(Ordering::Relaxed),
        rate: pace.rate(),
        left: left.flatten(),
    }
}
