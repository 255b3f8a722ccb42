//! A server of a directory, and the bounds of every test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use packhorse_protocol::key::Token;
use packhorse_server::{Limits, Server, ServerSettings, Stop};
use packhorse_storage::directory_source::DirectorySource;
use packhorse_storage::disk::{Disk, DiskCall, DiskHook, Verdict};
use packhorse_storage::workers::DiskWorkers;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet, yield_now};

use crate::client::Client;
use crate::gate::{Gate, Road, Shake};

/// More than any test needs, also on a busy machine: in real time, whatever the test's own clock
/// says.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which clock a test's timers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Real,
    /// It jumps to the next timer whenever everyone waits. The disk's threads do not count as
    /// someone: while they work, every timer may run out.
    Paused,
}

/// Runs `test` on a runtime of its own, bounded in real time.
pub(crate) fn within<T, F>(clock: Clock, test: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(clock == Clock::Paused)
            .build()
            .unwrap();
        let result = runtime.block_on(test());
        let _ = tell.send(result);
    });
    match told.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("the thread tells its result or panics"),
        },
    }
}

/// A server that runs.
pub(crate) struct Served {
    pub(crate) road: Road,
    pub(crate) stop: Stop,
    pub(crate) running: JoinHandle<()>,
    pub(crate) workers: Arc<DiskWorkers>,
    threads: usize,
    tree: Tree,
    token: Option<Token>,
}

/// A directory to be served.
pub(crate) struct Tree(TempDir);

/// What a server is told.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) token: Option<Token>,
    pub(crate) rate_limit: Option<u64>,
    pub(crate) once: bool,
    pub(crate) plain: bool,
    pub(crate) leave_idle_time: Duration,
    pub(crate) grace: Duration,
    pub(crate) disk: Disk,
    pub(crate) threads: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            token: None,
            rate_limit: None,
            once: false,
            plain: false,
            leave_idle_time: Duration::from_secs(5),
            grace: Duration::from_secs(3600),
            disk: Disk::new(),
            threads: 3,
        }
    }
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(&self, below: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(below)
    }

    pub(crate) fn file(self, below: &str, content: impl AsRef<[u8]>) -> Self {
        let at = self.at(below);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, content).unwrap();
        self
    }

    pub(crate) fn directory(self, below: &str) -> Self {
        fs::create_dir_all(self.at(below)).unwrap();
        self
    }

    pub(crate) fn link(self, below: &str, target: &str) -> Self {
        std::os::unix::fs::symlink(target, self.at(below)).unwrap();
        self
    }

    /// A file of `groups` MiB without holes.
    pub(crate) fn large(self, below: &str, groups: usize) -> Self {
        self.file(below, vec![b'x'; groups << 20])
    }
}

impl Setup {
    pub(crate) fn serve(self, tree: Tree) -> Served {
        let source = DirectorySource::open(self.disk, tree.0.path()).unwrap();
        let workers = Arc::new(DiskWorkers::new(self.threads, 64).unwrap());
        let (gate, road) = Gate::new();
        let settings = ServerSettings {
            token: self.token.clone(),
            limits: self.limits,
            rate_limit: self.rate_limit,
            once: self.once,
            plain: self.plain,
            clear_http: false,
            pin: [0; 16].into(),
            leave_idle_time: self.leave_idle_time,
        };
        let server = Server::new(gate, Arc::new(source), Arc::clone(&workers), settings);
        Served {
            road,
            stop: server.stop(),
            running: tokio::spawn(server.run(self.grace)),
            workers,
            threads: self.threads,
            tree,
            token: self.token,
        }
    }
}

impl Served {
    /// An open server of `tree` with the usual limits.
    pub(crate) fn of(tree: Tree) -> Self {
        Setup::default().serve(tree)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Somebody who has said nothing yet.
    pub(crate) fn arrive(&self) -> Client {
        self.arrive_with(64 << 10)
    }

    /// The same over a pipe that holds `pipe_bytes` each way.
    pub(crate) fn arrive_with(&self, pipe_bytes: usize) -> Client {
        let (pipe, binding) = self.road.connect(pipe_bytes, Shake::Native);
        Client::new(pipe, binding, self.token.clone())
    }

    /// A client that was admitted.
    pub(crate) async fn admitted(&self) -> Client {
        let mut client = self.arrive();
        client.greet().await;
        client
    }

    /// The same over a pipe that holds `pipe_bytes` each way.
    pub(crate) async fn admitted_with(&self, pipe_bytes: usize) -> Client {
        let mut client = self.arrive_with(pipe_bytes);
        client.greet().await;
        client
    }

    /// Lets every task do what it can, and the disk's threads all that was asked of them by then.
    pub(crate) async fn take_turns(&self) {
        // One task may have to wake another, and that one the next.
        for _ in 0..100 {
            yield_now().await;
        }
        // A thread comes here with nothing left of what stood before it in the queue; none goes on
        // before all are here.
        let meeting = Arc::new(Barrier::new(self.threads));
        let mut threads = JoinSet::new();
        for _ in 0..self.threads {
            let meeting = Arc::clone(&meeting);
            threads.spawn(self.workers.run(move || meeting.wait()));
        }
        for met in threads.join_all().await {
            met.unwrap();
        }
    }

    /// Requires that an honest client gets all that it wants.
    pub(crate) async fn expect_good_service(&self) {
        let mut client = self.admitted().await;
        let page = client.whole_tree("").await;
        assert!(!page.is_empty());
        client.leave().await;
    }
}

/// A disk that asks `decide` before each call.
pub(crate) fn disk_with(
    decide: impl Fn(&DiskCall<'_>) -> std::io::Result<Verdict> + Send + Sync + 'static,
) -> Disk {
    struct Deciding<F>(F);
    impl<F: Fn(&DiskCall<'_>) -> std::io::Result<Verdict> + Send + Sync> DiskHook for Deciding<F> {
        fn before(&self, call: &DiskCall<'_>) -> std::io::Result<Verdict> {
            (self.0)(call)
        }
    }
    Disk::with_hook(Arc::new(Deciding(decide)))
}
