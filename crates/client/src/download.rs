//! Fetches a file or a tree into a directory.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::filter::{Filter, FilterError};
use packhorse_protocol::key::Pin;
use packhorse_protocol::message::{Completion, Request};
use packhorse_protocol::session::Answer;
use packhorse_storage::destination::{
    Destination, DestinationError, DestinationOptions, JobName, is_vacant,
};
use packhorse_storage::disk::Disk;
use packhorse_storage::workers::DiskWorkers;
use packhorse_transport::dial::Dial;
use packhorse_transport::throttle::Throttle;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::connect::{ConnectError, Connector, Conversation};
use crate::connection_count::{CONNECTIONS_NEAR, ConnectionCount};
use crate::drive::{Crew, Driver, Ended, MEMORY_KIB, tree_request};
use crate::patience::{Backoff, Patience};
use crate::place::{Site, SiteParts};
use crate::plan::Task;
use crate::report::{Event, Observer, Totals};
use crate::settings::DownloadSettings;

/// How long to wait at the end for further connections to be closed in good order.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// How long to wait at the end for the first connection to be dialled again, over which the server
/// hears that all is done: enough for a lost packet or two.
const LAST_DIAL_TIME: Duration = Duration::from_secs(5);

/// A download and everything that it uses.
pub struct Download {
    /// The directory to fetch into; made if it is missing.
    pub destination: PathBuf,
    /// How it treats what is there.
    pub options: DestinationOptions,
    /// The disk that it lies on.
    pub disk: Disk,
    /// Who does the work on it.
    pub workers: Arc<DiskWorkers>,
    /// What to fetch.
    pub settings: DownloadSettings,
    /// Counts what is done.
    pub totals: Arc<Totals>,
    /// Hears of each entry.
    pub observer: Arc<dyn Observer>,
}

/// Why a download came to nothing, or was not finished. What happened to single entries is told to
/// the observer and counted.
#[derive(Debug, Error)]
pub enum DownloadError {
    /// There is no connection, or no more.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server does not send what was asked for at all.
    #[error("{0}")]
    Refused(Refusal),
    /// A name or a hash was given for a single file, and this is a directory.
    #[error("it is a directory: a name or a hash can only be given for a single file")]
    NotFile,
    /// The destination cannot be used.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The patterns cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A disk job failed in a way that it never should.
    #[error("a disk worker failed; this is a defect of Packhorse")]
    Worker,
}

impl Download {
    /// Runs the download to its end. Returns who the server is. Dropping it ends the download, whose
    /// connections and disk jobs under way end soon after.
    ///
    /// # Errors
    /// [`DownloadError`]. Files that are complete stay; so does what is unfinished, for a later run.
    pub async fn run<D: Dial>(self, connector: &Arc<Connector<D>>) -> Result<Pin, DownloadError> {
        let filter = Filter::new(&self.settings.patterns)?;
        let base = Site::base(&self.settings);
        let place = self.settings.name.clone().map_or(base, Into::into);
        let is_vacant = is_vacant(&self.disk, &self.destination, &place);
        if self.settings.dry_run && is_vacant {
            return self.report_all(connector, &filter).await;
        }
        let in_line = is_vacant && !self.settings.checksum;
        let (mut conversation, first) = self.begin(connector, in_line).await?;
        if let Err(error) = self.check_first(&first) {
            conversation.shutdown().await;
            return Err(error);
        }
        let pin = conversation.pin();
        let workers = Arc::clone(&self.workers);
        let rate_limit = self.settings.rate_limit;
        let connections = self.settings.connections.unwrap_or(CONNECTIONS_NEAR);
        let opened = self.workers.run({
            let (disk, path) = (self.disk.clone(), self.destination.clone());
            // A dry run must not take the place of a download that was interrupted.
            let server: &[u8] = if self.settings.dry_run {
                b"dry run"
            } else {
                pin.as_bytes()
            };
            let job = JobName::new(server, self.settings.path.as_bytes());
            let dry_run = self.settings.dry_run;
            let fills_destination = place.is_root() && is_directory(&first);
            move || {
                let destination = Destination::open(disk, &path, &job, self.options)?;
                if !dry_run {
                    if fills_destination {
                        destination.allow_owner();
                    }
                    // Two of the same job meet here, not in the middle of their work.
                    destination.claim()?;
                }
                Ok::<_, DestinationError>(destination)
            }
        });
        let destination = opened.await.map_err(|_| DownloadError::Worker)??;
        let crew = Arc::new(Crew {
            site: Arc::new(Site::new(SiteParts {
                existing: self.options.existing,
                settings: self.settings,
                filter,
                destination,
                totals: self.totals,
                observer: self.observer,
                in_line,
            })),
            workers,
            memory: Arc::new(Semaphore::new(MEMORY_KIB as usize)),
            writing: Arc::new(Semaphore::new(connections.max(1))),
            throttle: rate_limit.map(Throttle::new),
            answers: AtomicU64::new(0),
        });
        let running = Running {
            crew,
            connector: Arc::clone(connector),
        };
        running.run_as_task(conversation, first).await?;
        Ok(pin)
    }

    /// Asks for the tree, again if the server is lost after it has shown who it is.
    async fn begin<D: Dial>(
        &self,
        connector: &Arc<Connector<D>>,
        in_line: bool,
    ) -> Result<(Conversation<D::Stream>, Answer), ConnectError> {
        let request = tree_request(&self.settings, in_line, None);
        let mut patience = Patience::new(self.settings.retry_for, 0);
        let mut was_reached = false;
        loop {
            let begun = async {
                let mut conversation = connector.connect(&request).await?;
                let first = conversation.answer().await?;
                Ok((conversation, first))
            };
            let error: ConnectError = match begun.await {
                Ok(begun) => return Ok(begun),
                Err(error) => error,
            };
            was_reached |= error.is_cut();
            let wait = (was_reached && error.is_passing()).then(|| patience.next_wait(0));
            let Some(wait) = wait.flatten() else {
                return Err(match was_reached {
                    true => error.after_reached(),
                    false => error,
                });
            };
            self.observer.handle(Event::Lost { why: &error });
            sleep(wait).await;
        }
    }

    /// Whether the first answer is one to what was asked for.
    fn check_first(&self, first: &Answer) -> Result<(), DownloadError> {
        match first {
            Answer::Failed(refusal) => Err(DownloadError::Refused(*refusal)),
            Answer::Page(page) if self.settings.directory_only && !page.is_directory() => {
                Err(DownloadError::Refused(Refusal::NotDirectory))
            }
            Answer::Page(page) if self.settings.is_for_file() && page.is_directory() => {
                Err(DownloadError::NotFile)
            }
            _ => Ok(()),
        }
    }
}

fn is_directory(first: &Answer) -> bool {
    matches!(first, Answer::Page(page) if page.is_directory())
}

/// A download whose first answer has come.
struct Running<D> {
    crew: Arc<Crew>,
    connector: Arc<Connector<D>>,
}

impl<D: Dial> Running<D> {
    /// Runs on the threads that the further connections run on. What a caller blocks on has a thread
    /// to itself, so that whatever passes between the connections would wake another thread: an
    /// eighth of the time of a large file.
    async fn run_as_task(
        self,
        conversation: Conversation<D::Stream>,
        first: Answer,
    ) -> Result<(), DownloadError> {
        let mut task = JoinSet::new();
        task.spawn(self.run(conversation, first));
        match task
            .join_next()
            .await
            .map(|ended| ended.map_err(JoinError::try_into_panic))
        {
            Some(Ok(ended)) => ended,
            Some(Err(Ok(panic))) => resume_unwind(panic),
            // Only a runtime that is shut down ends it otherwise.
            Some(Err(Err(_))) | None => Err(DownloadError::Worker),
        }
    }

    async fn run(
        self,
        conversation: Conversation<D::Stream>,
        first: Answer,
    ) -> Result<(), DownloadError> {
        let mut further = Further {
            tasks: JoinSet::new(),
            count: ConnectionCount::new(
                self.crew.site.settings.connections,
                self.crew.site.settings.rate_limit,
                conversation.dial_time(),
                Instant::now(),
                self.connector.received_bytes(),
            ),
        };
        let ended = self.work(conversation, first, &mut further).await;
        if ended.is_err() {
            // What has come is written before it is counted.
            further.tasks.shutdown().await;
            self.crew.site.plan.until_idle().await;
            self.run_on_disk(Site::leave_unfinished).await?;
        }
        match self.crew.site.plan.is_stopped() {
            // Whatever else came of it.
            true => Err(DownloadError::Worker),
            false => ended,
        }
    }

    async fn work(
        &self,
        conversation: Conversation<D::Stream>,
        first: Answer,
        further: &mut Further,
    ) -> Result<(), DownloadError> {
        let plan = &self.crew.site.plan;
        plan.begin_with_page(0);
        let mut driver = Driver::new(&self.crew, 0, conversation, Some(Task::Page));
        driver.handle_answer(first).await?;
        let mut driver = Some(driver);
        loop {
            driver = tokio::select! {
                done = self.keep_on(driver) => done?,
                never = self.open_further(further) => match never {},
            };
            self.run_on_disk(Site::place_further_names).await?;
            if plan.is_finished() {
                break;
            }
        }
        // They have nothing left to do but to say so to the server.
        let _ = timeout(FAREWELL_TIME, async {
            while further.tasks.join_next().await.is_some() {}
        })
        .await;
        if plan.is_stopped() {
            return Err(DownloadError::Worker);
        }
        self.run_on_disk(Site::finish_all).await?;
        let totals = &self.crew.site.totals;
        let completion = Completion {
            files: totals.files_fetched.load(Ordering::Relaxed)
                + totals.files_kept.load(Ordering::Relaxed),
            bytes: totals.bytes_fetched.load(Ordering::Relaxed),
            failed: totals.failed.load(Ordering::Relaxed),
        };
        // Everything is in place; whether the server hears of it makes no difference to that.
        if let Some(driver) = driver {
            driver.close(&Request::Complete(completion)).await;
        }
        Ok(())
    }

    /// Works on the first connection, dialled again whenever it has ended, until all is done. `None`
    /// if it could not be dialled, and others have done the rest.
    async fn keep_on<'c>(
        &'c self,
        mut driver: Option<Driver<'c, D::Stream>>,
    ) -> Result<Option<Driver<'c, D::Stream>>, ConnectError> {
        let retry_for = self.crew.site.settings.retry_for;
        let mut patience = Patience::new(retry_for, progress(&self.crew));
        let mut backoff = Backoff::default();
        loop {
            let mut lost = None;
            if let Some(running) = &mut driver {
                lost = match running.run().await {
                    Ok(Ended::Finished) => return Ok(driver),
                    Ok(Ended::Relieved) => None,
                    // Nothing is lost with it.
                    Err(error) if running.is_idle() && error.is_passing() => None,
                    Err(error) => Some(error),
                };
                if running.was_of_use() {
                    backoff.handle_use();
                }
                if lost.is_some() || !running.was_of_use() {
                    backoff.handle_failure();
                }
            }
            drop(driver);
            let again = self.dial_again(lost, &mut patience, &mut backoff);
            let Some(conversation) = again.await? else {
                return Ok(None);
            };
            driver = Some(Driver::new(&self.crew, 0, conversation, None));
        }
    }

    /// Dials again and again until a connection stands, all is done without it, or patience is at
    /// its end. Behind a connection that was not lost, but relieved or idle, that only begins once
    /// no other is open and there is something to ask for.
    async fn dial_again(
        &self,
        mut lost: Option<ConnectError>,
        patience: &mut Patience,
        backoff: &mut Backoff,
    ) -> Result<Option<Conversation<D::Stream>>, ConnectError> {
        let site = &self.crew.site;
        loop {
            let was_lost = lost.is_some();
            if let Some(error) = lost {
                if !error.is_passing() {
                    return Err(error.after_reached());
                }
                if !patience.goes_on(progress(&self.crew)) {
                    return Err(error);
                }
                site.observer.handle(Event::Lost { why: &error });
            }
            tokio::select! {
                () = backoff.wait() => {}
                () = site.plan.until_finished() => {}
            }
            // A server that takes no more clients says so in its greeting.
            let error = tokio::select! {
                greeted = self.connector.greet_with(0) => match greeted {
                    Ok(conversation) => return Ok(Some(conversation)),
                    Err(error) => error,
                },
                () = self.until_long_finished() => return Ok(None),
            };
            // Nothing is missing, whoever may have the server's address by now.
            if site.plan.is_finished() {
                return Ok(None);
            }
            backoff.handle_failure();
            let others_go_on = site.totals.connections.load(Ordering::Relaxed) > 0;
            let can_wait = others_go_on || !site.plan.has_work();
            lost = (was_lost || !can_wait).then_some(error);
        }
    }

    /// Waits until nothing is left to be done, and a while longer.
    async fn until_long_finished(&self) {
        self.crew.site.plan.until_finished().await;
        sleep(LAST_DIAL_TIME).await;
    }

    /// Opens further connections while there is work for them; never returns.
    async fn open_further(&self, further: &mut Further) -> Infallible {
        let Further { tasks, count } = further;
        let plan = &self.crew.site.plan;
        let mut changes = plan.changes();
        let mut backoff = Backoff::default();
        loop {
            // All at once: the first of them would leave nothing for the others.
            while backoff.is_over() && count.wants_more(tasks.len() + 1, plan.groups_waiting()) {
                let (crew, connector) = (Arc::clone(&self.crew), Arc::clone(&self.connector));
                let slot = plan.new_slot();
                tasks.spawn(async move { work_beside(&crew, &connector, slot).await });
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = backoff.wait(), if !backoff.is_over() => {}
                () = sleep_until(count.next_look().unwrap_or_else(Instant::now)), if count.next_look().is_some() => {
                    count.handle_look(Instant::now(), self.connector.received_bytes());
                }
                Some(ended) = tasks.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(lost)) if lost.error.is_passing() => {
                        if lost.was_of_use {
                            backoff.handle_use();
                        }
                        backoff.handle_failure();
                    }
                    // This server has something against it; what is open goes on.
                    _ => std::future::pending().await,
                },
            }
        }
    }

    async fn run_on_disk(&self, job: fn(&Site)) -> Result<(), DownloadError> {
        let site = Arc::clone(&self.crew.site);
        let done = self.crew.workers.run(move || job(&site));
        done.await.map_err(|_| DownloadError::Worker)
    }
}

/// The connections beside the first.
struct Further {
    tasks: JoinSet<Result<(), Lost>>,
    count: ConnectionCount,
}

/// A further connection that was lost.
struct Lost {
    error: ConnectError,
    was_of_use: bool,
}

/// Works on one more connection until everything is done, others do it better, or it is lost.
async fn work_beside<D: Dial>(
    crew: &Crew,
    connector: &Connector<D>,
    slot: usize,
) -> Result<(), Lost> {
    let lost = |was_of_use| move |error| Lost { error, was_of_use };
    let conversation = connector.greet().await.map_err(lost(false))?;
    let mut driver = Driver::new(crew, slot, conversation, None);
    match driver.run().await {
        Ok(Ended::Finished) => driver.leave().await,
        // What is still on its way over this connection is of no use.
        Ok(Ended::Relieved) => {}
        Err(error) => return Err(lost(driver.was_of_use())(error)),
    }
    Ok(())
}

/// A number that changes whenever something has arrived.
fn progress(crew: &Crew) -> u64 {
    let totals = &crew.site.totals;
    [
        &crew.answers,
        &totals.bytes_fetched,
        &totals.files_fetched,
        &totals.files_seen,
        &totals.directories,
    ]
    .iter()
    .map(|count| count.load(Ordering::Relaxed))
    .sum()
}
