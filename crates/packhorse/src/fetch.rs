//! One download, with its progress line, and what it comes to.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;

use packhorse_client::download::{Download, DownloadError};
use packhorse_client::report::{Observer, Totals};
use packhorse_client::settings::DownloadSettings;
use packhorse_storage::destination::DestinationOptions;
use packhorse_storage::disk::Disk;
use packhorse_storage::workers::DiskWorkers;
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::SignalKind;

use crate::exit::{CommandError, Exit, OrExit};
use crate::progress::{Moment, ProgressLine};
use crate::so_far::SoFar;
use crate::text::{Text, files, machine};
use crate::trust::Server;

/// Threads that serve the network: a download has few connections.
pub(crate) const NETWORK_THREADS: usize = 2;

/// Disk jobs that wait beyond those that are under way.
const DISK_JOBS_WAITING_MAX: usize = 256;

/// What a client runs on.
///
/// # Errors
/// The system starts no more threads.
pub(crate) fn client_runtime() -> Result<Runtime, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .enable_all()
        .build()
        .or_exit(Exit::LocalIo, machine::no_runtime)?;
    outlive_size_limits(&runtime);
    Ok(runtime)
}

/// A write beyond the limit of `ulimit -f` fails as others do, instead of ending the process: the
/// signal that says so has a listener, which needs to do nothing.
fn outlive_size_limits(runtime: &Runtime) {
    const SIGXFSZ: i32 = Signal::XFSZ.as_raw();
    let _context = runtime.enter();
    // Without a listener a file that is too large ends the process, as it always did.
    let _ = tokio::signal::unix::signal(SignalKind::from_raw(SIGXFSZ));
}

/// What writes to the disk for a client.
///
/// # Errors
/// The system starts no more threads.
pub(crate) fn client_workers() -> Result<Arc<DiskWorkers>, CommandError> {
    let cores = available_parallelism().map_or(1, usize::from);
    DiskWorkers::new(4.max(2 * cores), DISK_JOBS_WAITING_MAX)
        .map(Arc::new)
        .or_exit(Exit::LocalIo, machine::no_disk_workers)
}

/// What is fetched, and to where.
pub(crate) struct Fetch<'a> {
    /// From whom.
    pub(crate) server: &'a mut Server,
    /// The directory.
    pub(crate) destination: &'a Path,
    /// How it treats what is there.
    pub(crate) options: DestinationOptions,
    /// What is asked for.
    pub(crate) download: DownloadSettings,
    /// Who does the work on the disk.
    pub(crate) workers: Arc<DiskWorkers>,
    /// Hears of each entry.
    pub(crate) observer: Arc<dyn Observer>,
    /// Shows how far it is.
    pub(crate) progress: &'a ProgressLine,
    /// Hears of that once in a while.
    pub(crate) report: Option<&'a (dyn Fn(&Moment) + Sync)>,
}

/// What a download came to.
#[derive(Debug)]
pub(crate) struct FetchEnd {
    /// What was done.
    pub(crate) so_far: SoFar,
    /// The server has begun to send what was asked for.
    pub(crate) is_reached: bool,
    /// How it ended.
    pub(crate) exit: Exit,
    /// Why it did not go on to its end, if it did not.
    pub(crate) error: Option<Text>,
}

impl Fetch<'_> {
    /// Fetches to the end.
    pub(crate) async fn run(self) -> FetchEnd {
        let totals = Arc::<Totals>::default();
        let download = Download {
            destination: self.destination.to_owned(),
            options: self.options,
            disk: Disk::new(),
            workers: self.workers,
            settings: self.download,
            totals: Arc::clone(&totals),
            observer: self.observer,
        };
        let connector = &self.server.connector;
        let received_before = connector.received_bytes();
        let received = || connector.received_bytes() - received_before;
        let ended = tokio::select! {
            // The first report comes before the first event.
            biased;
            never = self.progress.follow(&totals, received, self.report) => match never {},
            ended = download.run(connector) => ended,
        };
        self.progress.clear();
        let (server_is_known, ended) = match ended {
            Ok(_) => (true, Ok(())),
            Err(error) => (
                matches!(error, DownloadError::Refused(_)),
                Err(explain(&error, self.server)),
            ),
        };
        let remembered = match server_is_known {
            true => self.server.handle_success(),
            false => Ok(()),
        };
        let so_far = SoFar::of(&totals);
        let mut end = FetchEnd {
            so_far,
            is_reached: so_far != SoFar::default() || ended.is_ok(),
            exit: exit_of(&totals),
            error: None,
        };
        if let Err(CommandError { exit, error }) = ended.and(remembered) {
            end.exit = end.exit.and(exit);
            end.error = Some(error);
        }
        end
    }
}

fn explain(error: &DownloadError, server: &Server) -> CommandError {
    match error {
        DownloadError::Connect(error) => server.explain(error),
        DownloadError::Refused(refusal) => CommandError::new(Exit::SomeFailed, refusal),
        DownloadError::Filter(_) | DownloadError::NotFile => CommandError::usage(error),
        DownloadError::Destination(error) => {
            CommandError::new(Exit::LocalIo, files::destination(error))
        }
        DownloadError::Worker => CommandError::new(Exit::LocalIo, error),
    }
}

fn exit_of(totals: &Totals) -> Exit {
    let cases = [
        (
            totals.integrity_failed.load(Ordering::Relaxed),
            Exit::Integrity,
        ),
        (
            totals.local_io_failed.load(Ordering::Relaxed),
            Exit::LocalIo,
        ),
        (totals.failed.load(Ordering::Relaxed) > 0, Exit::SomeFailed),
    ];
    let applying = cases.into_iter().filter(|(applies, _)| *applies);
    applying.map(|(_, exit)| exit).fold(Exit::Done, Exit::and)
}
