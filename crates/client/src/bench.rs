//! Measures what a download from a server depends on, each part alone.

mod course;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use packhorse_protocol::content::{GroupRange, group_count};
use packhorse_protocol::limits::{GROUP_BYTES, MEASURED_GROUPS_MAX};
use packhorse_protocol::message::{
    FEATURE_MEASURE, MeasureRequest, MeasureWhat, Measured, ReadRequest, ReadWhat, Request,
};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::{Answer, Violation};
use packhorse_transport::dial::Dial;
use packhorse_transport::processing::{Work, cores};
use packhorse_transport::stream::Stream;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use self::course::{Course, follow};
use crate::connect::{ConnectError, Connector, Conversation};
use crate::connection_count::ConnectionCount;

/// Connections over which files are read: what a download of two has read ahead for it.
const READING_CONNECTIONS: u64 = 8;

/// Groups whose hashes are asked for at once.
const GROUPS_PER_READ: u64 = 8;

/// Requests that are under way on one connection.
const REQUESTS_AHEAD_MAX: usize = 60;

/// More is asked for ahead while an answer takes less than this; so at the end little is on its way.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// How long to wait at the end for what is on its way.
const REST_TIME_MAX: Duration = Duration::from_secs(3);

/// No core hashes or encrypts more bytes in a second.
const CORE_RATE_MAX: f64 = 1e12;

/// How often work and round trips are measured; the quickest counts, which was disturbed least.
const REPETITIONS: usize = 3;

/// Why there is no measurement.
#[derive(Debug, Error)]
pub enum BenchError {
    /// There is no connection, or no more.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server is older than this.
    #[error("this server cannot measure: it is an older one")]
    NoFeature,
    /// The server told what cannot be.
    #[error("the server says that it worked longer or faster than it can have")]
    Incredible,
}

/// What the path is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFigures {
    /// From a request to its answer, with nothing else on the way.
    pub round_trip: Duration,
    /// How many connections there were at the end.
    pub connections: usize,
    /// What came over them.
    pub course: Course,
}

/// How fast a machine is at something that it does to every byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkFigures {
    /// Bytes a second on one core.
    pub rate: u64,
    /// Cores that can work on it.
    pub cores: u16,
}

/// A file that the server reads to show how fast it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSample {
    /// Where it is.
    pub path: RelativePath,
    /// Its size in bytes.
    pub size: u64,
}

/// Hears how far a measurement is.
pub type Tell<'a> = &'a mut (dyn FnMut(&Course) + Send);

/// Has the server send for `time` what is on no disk, over so many connections, or as many as a
/// download would find worth having.
///
/// # Errors
/// [`BenchError`].
pub async fn measure_path<D: Dial>(
    connector: &Arc<Connector<D>>,
    connections: Option<usize>,
    time: Duration,
    tell: Tell<'_>,
) -> Result<PathFigures, BenchError> {
    let mut first = begin(connector).await?;
    let round_trip = round_trip(&mut first).await?;
    let filling = fill(connector, first, connections, Instant::now() + time);
    let received = || connector.received_bytes();
    let (filled, course) = follow(filling, received, time, tell).await;
    Ok(PathFigures {
        round_trip,
        connections: filled?,
        course,
    })
}

/// Has the server read and hash files until `time` is over or all are read. Files that it cannot
/// read are left out; what it has in memory it does not read from the disk.
///
/// # Errors
/// [`BenchError`].
pub async fn measure_source<D: Dial>(
    connector: &Arc<Connector<D>>,
    samples: Vec<SourceSample>,
    time: Duration,
    tell: Tell<'_>,
) -> Result<Course, BenchError> {
    let count = samples.iter().map(|sample| group_count(sample.size));
    let groups = count.fold(0, u64::saturating_add);
    let connections = groups.div_ceil(GROUPS_PER_READ).min(READING_CONNECTIONS);
    // What a server says it has can be more than fits anywhere.
    let reads = Arc::new(Mutex::new(samples.into_iter().flat_map(reads_of)));
    let bytes = Arc::<AtomicU64>::default();
    let mut conversations = Vec::new();
    for _ in 0..connections {
        conversations.push(connector.greet().await?);
    }
    let deadline = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for conversation in conversations {
        let (reads, bytes) = (Arc::clone(&reads), Arc::clone(&bytes));
        tasks.spawn(take_hashes(conversation, reads, deadline, bytes));
    }
    let count = || bytes.load(Ordering::Relaxed);
    let (read, course) = follow(all(&mut tasks), count, time, tell).await;
    read.map(|()| course)
}

/// Has the server hash or encrypt on one core.
///
/// # Errors
/// [`BenchError`].
pub async fn measure_work<D: Dial>(
    connector: &Connector<D>,
    work: Work,
) -> Result<WorkFigures, BenchError> {
    let what = match work {
        Work::Hashing => MeasureWhat::Hashing,
        Work::Encryption => MeasureWhat::Encryption,
    };
    let mut conversation = begin(connector).await?;
    let mut figures = Vec::new();
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        let Measured { nanoseconds, cores } =
            measured(&mut conversation, what, MEASURED_GROUPS_MAX).await?;
        let took = Duration::from_nanos(nanoseconds);
        let credible = (took <= start.elapsed()).then(|| WorkFigures::of(took, cores));
        figures.push(credible.flatten().ok_or(BenchError::Incredible)?);
    }
    conversation.shutdown().await;
    quickest(figures).ok_or(BenchError::Incredible)
}

/// The same on this machine; `None` if its clock stands still. It takes some time, so it is nothing
/// for a thread that serves the network.
#[must_use]
pub fn measure_work_here(work: Work) -> Option<WorkFigures> {
    let figures = (0..REPETITIONS)
        .filter_map(|_| WorkFigures::of(work.time_for(MEASURED_GROUPS_MAX), cores()));
    quickest(figures)
}

impl WorkFigures {
    /// Of [`MEASURED_GROUPS_MAX`] groups in that time; `None` if no machine can do so.
    fn of(took: Duration, cores: u16) -> Option<Self> {
        let bytes = MEASURED_GROUPS_MAX * GROUP_BYTES as u64;
        let rate = bytes as f64 / took.as_secs_f64();
        let is_possible = rate < CORE_RATE_MAX && cores > 0;
        is_possible.then_some(Self {
            rate: rate as u64,
            cores,
        })
    }
}

fn quickest(figures: impl IntoIterator<Item = WorkFigures>) -> Option<WorkFigures> {
    figures.into_iter().max_by_key(|figures| figures.rate)
}

/// A connection to a server that can measure.
async fn begin<D: Dial>(connector: &Connector<D>) -> Result<Conversation<D::Stream>, BenchError> {
    let conversation = connector.greet_with(FEATURE_MEASURE).await?;
    match conversation.has_feature(FEATURE_MEASURE) {
        true => Ok(conversation),
        false => Err(BenchError::NoFeature),
    }
}

/// The quickest of a few round trips.
async fn round_trip<S: Stream>(
    conversation: &mut Conversation<S>,
) -> Result<Duration, ConnectError> {
    let mut quickest = Duration::MAX;
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        measured(conversation, MeasureWhat::Path, 0).await?;
        quickest = quickest.min(start.elapsed());
    }
    Ok(quickest)
}

/// What the server says to a request that brings nothing else.
async fn measured<S: Stream>(
    conversation: &mut Conversation<S>,
    what: MeasureWhat,
    groups: u64,
) -> Result<Measured, ConnectError> {
    let request = Request::Measure(MeasureRequest { what, groups });
    conversation.request(&request).await?;
    match conversation.answer().await? {
        Answer::Measured(measured) => Ok(measured),
        _ => Err(Violation::Excess.into()),
    }
}

/// Takes filler over `first` and further connections until `deadline`. Returns how many there were:
/// one that is not let in is done without, as in a download.
async fn fill<D: Dial>(
    connector: &Arc<Connector<D>>,
    first: Conversation<D::Stream>,
    connections: Option<usize>,
    deadline: Instant,
) -> Result<usize, BenchError> {
    let received = || connector.received_bytes();
    let dial_time = first.dial_time();
    let mut count = ConnectionCount::new(connections, None, dial_time, Instant::now(), received());
    let mut tasks = JoinSet::new();
    tasks.spawn(take_filler(first, deadline));
    let open = Arc::new(AtomicUsize::new(1));
    let mut dialled = 1;
    loop {
        while count.wants_more(dialled, u64::MAX) {
            let (connector, open) = (Arc::clone(connector), Arc::clone(&open));
            tasks.spawn(async move {
                let Ok(further) = begin(&connector).await else {
                    return Ok(());
                };
                open.fetch_add(1, Ordering::Relaxed);
                take_filler(further, deadline).await
            });
            dialled += 1;
        }
        let opened = || open.load(Ordering::Relaxed);
        let look = count.next_look().filter(|look| *look < deadline);
        let Some(look) = look else {
            return all(&mut tasks).await.map(|()| opened());
        };
        tokio::select! {
            ended = all(&mut tasks) => return ended.map(|()| opened()),
            () = sleep_until(look) => count.handle_look(Instant::now(), received()),
        }
    }
}

async fn take_filler<S: Stream>(
    mut conversation: Conversation<S>,
    deadline: Instant,
) -> Result<(), BenchError> {
    let request = Request::Measure(MeasureRequest {
        what: MeasureWhat::Path,
        groups: 1,
    });
    let buffers = conversation.buffers();
    let taking = async {
        let mut asked = Asked::new();
        loop {
            while asked.has_room(deadline) {
                conversation.request(&request).await?;
                asked.push(());
            }
            if asked.is_empty() {
                conversation.shutdown().await;
                return Ok(());
            }
            match conversation.answer().await? {
                Answer::Filler(buffer) => buffers.give(buffer),
                Answer::Measured(_) => {
                    asked.pop();
                }
                _ => return Err(ConnectError::from(Violation::Excess).into()),
            }
        }
    };
    until_rest(deadline, taking).await
}

async fn take_hashes<S: Stream>(
    mut conversation: Conversation<S>,
    reads: Arc<Mutex<impl Iterator<Item = Read>>>,
    deadline: Instant,
    bytes: Arc<AtomicU64>,
) -> Result<(), BenchError> {
    let next = || {
        let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.next()
    };
    let taking = async {
        let mut asked = Asked::new();
        loop {
            while asked.has_room(deadline)
                && let Some(Read { request, bytes }) = next()
            {
                conversation.request(&Request::Read(request)).await?;
                asked.push(bytes);
            }
            if asked.is_empty() {
                conversation.shutdown().await;
                return Ok(());
            }
            match conversation.answer().await? {
                Answer::Hashes(..) => {}
                Answer::Done(_) => {
                    bytes.fetch_add(asked.pop().unwrap_or(0), Ordering::Relaxed);
                }
                Answer::Failed(_) => {
                    asked.pop();
                }
                _ => return Err(ConnectError::from(Violation::Excess).into()),
            }
        }
    };
    until_rest(deadline, taking).await
}

/// Does `taking`, but leaves the rest if that does not come soon behind `deadline`.
async fn until_rest(
    deadline: Instant,
    taking: impl Future<Output = Result<(), BenchError>>,
) -> Result<(), BenchError> {
    let taken = timeout_at(deadline + REST_TIME_MAX, taking).await;
    taken.unwrap_or(Ok(()))
}

/// Requests that are not answered, each with what is known of it: as many as a server answers
/// quickly.
struct Asked<T> {
    waiting: VecDeque<(Instant, T)>,
    ahead: usize,
}

impl<T> Asked<T> {
    fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            ahead: 2,
        }
    }

    fn has_room(&self, deadline: Instant) -> bool {
        self.waiting.len() < self.ahead && Instant::now() < deadline
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn push(&mut self, what: T) {
        self.waiting.push_back((Instant::now(), what));
    }

    /// The oldest is answered.
    fn pop(&mut self) -> Option<T> {
        let (at, what) = self.waiting.pop_front()?;
        if at.elapsed() < ANSWER_TIME {
            self.ahead = REQUESTS_AHEAD_MAX.min(self.ahead + 1);
        }
        Some(what)
    }
}

/// A request for hashes, and the bytes that it covers.
#[derive(Debug)]
struct Read {
    request: ReadRequest,
    bytes: u64,
}

/// Requests for the hashes of a whole file.
fn reads_of(sample: SourceSample) -> impl Iterator<Item = Read> {
    let SourceSample { path, size } = sample;
    let groups = group_count(size);
    (0..groups.div_ceil(GROUPS_PER_READ)).filter_map(move |part| {
        let start = part * GROUPS_PER_READ;
        let range = GroupRange::new(start, groups.min(start + GROUPS_PER_READ))?;
        let group_bytes = GROUP_BYTES as u64;
        let end = range.end().saturating_mul(group_bytes).min(size);
        let request = ReadRequest {
            path: path.clone(),
            follow_links: false,
            what: ReadWhat::Hashes,
            range,
            version: None,
        };
        let bytes = end - start * group_bytes;
        Some(Read { request, bytes })
    })
}

async fn all(tasks: &mut JoinSet<Result<(), BenchError>>) -> Result<(), BenchError> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| ConnectError::Lost(std::io::Error::other(error)))??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_from_end_to_end() {
        for size in [0, 1, 1 << 20, (16 << 20) + 5, 40 << 20] {
            let path = RelativePath::parse(b"a").unwrap();
            let reads: Vec<_> = reads_of(SourceSample { path, size }).collect();
            assert_eq!(reads.iter().map(|read| read.bytes).sum::<u64>(), size);
            let groups = reads.iter().map(|read| read.request.range.count());
            assert_eq!(groups.sum::<u64>(), group_count(size));
        }
    }

    #[test]
    fn what_no_machine_can_do_is_not_believed() {
        let second = Duration::from_secs(1);
        let figures = WorkFigures {
            rate: 64 << 20,
            cores: 2,
        };
        assert_eq!(WorkFigures::of(second, 2), Some(figures));
        assert_eq!(WorkFigures::of(second, 0), None);
        assert_eq!(WorkFigures::of(Duration::ZERO, 2), None);
        assert_eq!(WorkFigures::of(Duration::from_nanos(1), 2), None);
    }
}
