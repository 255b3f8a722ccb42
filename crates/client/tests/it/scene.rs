//! A download from a scripted server into a directory with something beside it, and all that came
//! of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use packhorse_client::connect::Connector;
use packhorse_client::download::{Download, DownloadError};
use packhorse_client::report::{Event, Failure, Observer, Totals};
use packhorse_client::settings::DownloadSettings;
use packhorse_protocol::content::ContentHash;
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::key::Token;
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_storage::destination::{DestinationOptions, Existing};
use packhorse_storage::disk::Disk;
use packhorse_storage::workers::DiskWorkers;
use tempfile::TempDir;

use crate::scripted_server::{Log, Script, ScriptedDial, ScriptedServer};
use crate::tree::{Node, ServedTree};

pub(crate) const PARTIAL: &str = ".packhorse-partial";

/// More than any test needs, also on a busy machine: in real time, whatever the test's own clock
/// says.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which clock a test's timers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Real,
    /// It jumps to the next timer whenever everyone waits. The disk's threads do not count as
    /// someone: a timer must not be what ends a wait for them.
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

/// What is fetched, from whom, and into what.
pub(crate) struct Scene {
    base: Arc<TempDir>,
    pub(crate) server: Arc<ScriptedServer>,
    pub(crate) settings: DownloadSettings,
    pub(crate) options: DestinationOptions,
    pub(crate) disk: Disk,
    pub(crate) token: Option<Token>,
}

impl Scene {
    pub(crate) fn new(tree: ServedTree) -> Self {
        Self::with(tree, Script::default())
    }

    pub(crate) fn with(tree: ServedTree, script: Script) -> Self {
        Self::with_token(tree, script, None)
    }

    pub(crate) fn with_token(tree: ServedTree, script: Script, token: Option<Token>) -> Self {
        let base = Arc::new(tempfile::tempdir().unwrap());
        fs::create_dir(base.path().join("outside")).unwrap();
        fs::write(base.path().join("outside/canary"), "untouched").unwrap();
        Self {
            base,
            server: ScriptedServer::new(tree, script, token.clone()),
            settings: DownloadSettings {
                connections: Some(1),
                ..DownloadSettings::default()
            },
            options: DestinationOptions::default(),
            disk: Disk::new(),
            token,
        }
    }

    /// Another download from another server of the same identity, into the same destination.
    pub(crate) fn beside(&self, tree: ServedTree, script: Script) -> Self {
        Self {
            base: Arc::clone(&self.base),
            server: ScriptedServer::new(tree, script, self.token.clone()),
            settings: self.settings.clone(),
            options: self.options,
            disk: self.disk.clone(),
            token: self.token.clone(),
        }
    }

    pub(crate) fn ask(mut self, path: &str) -> Self {
        self.settings.path = RelativePath::parse(path.as_bytes()).unwrap();
        self
    }

    pub(crate) fn existing(mut self, existing: Existing) -> Self {
        self.options.existing = existing;
        self
    }

    pub(crate) fn settings(mut self, set: impl FnOnce(&mut DownloadSettings)) -> Self {
        set(&mut self.settings);
        self
    }

    /// Puts a file into the destination.
    pub(crate) fn put(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, content).unwrap();
        self
    }

    pub(crate) fn put_directory(self, path: &str) -> Self {
        fs::create_dir_all(self.at(path)).unwrap();
        self
    }

    pub(crate) fn put_link(self, path: &str, target: &str) -> Self {
        fs::create_dir_all(self.destination()).unwrap();
        std::os::unix::fs::symlink(target, self.at(path)).unwrap();
        self
    }

    pub(crate) fn destination(&self) -> PathBuf {
        self.base.path().join("dest")
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.destination().join(path)
    }

    /// Runs the download, and looks at everything afterwards.
    pub(crate) async fn run(&self) -> Outcome {
        let outcome = self.run_unchecked().await;
        assert_eq!(
            outcome.log.violations, [""; 0],
            "the client broke the protocol"
        );
        if outcome.error.is_none() && outcome.exit.is_empty() {
            let left = self.at(PARTIAL);
            assert!(!left.exists(), "something unfinished was left: {outcome:?}");
        }
        outcome
    }

    /// As `run`, without a word on what may be left behind; for two at once.
    pub(crate) async fn run_unchecked(&self) -> Outcome {
        let outside = self.outside();
        let totals = Arc::<Totals>::default();
        let observer = Arc::<Recorder>::default();
        let workers = Arc::new(DiskWorkers::new(3, 64).unwrap());
        let download = Download {
            destination: self.destination(),
            options: self.options,
            disk: self.disk.clone(),
            workers: Arc::clone(&workers),
            settings: self.settings.clone(),
            totals: Arc::clone(&totals),
            observer: Arc::clone(&observer) as Arc<dyn Observer>,
        };
        let connector = Connector::new(ScriptedDial(Arc::clone(&self.server)), self.token.clone());
        let result = download.run(&connector).await;
        self.server.end();
        // Jobs that nobody waits for end before anything is looked at.
        while Arc::strong_count(&workers) > 1 || !self.server.is_left() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            thread::sleep(Duration::from_millis(1));
        }
        drop(workers);
        assert_eq!(self.outside(), outside, "something outside was written");
        Outcome {
            error: result.err(),
            events: observer.lines(),
            losses: observer.losses(),
            unfinished: observer.unfinished(),
            exit: exit(&totals),
            totals,
            tree: lines_of(&self.destination()),
            log: self.server.log(),
        }
    }

    /// Everything in the base but the destination.
    fn outside(&self) -> Vec<String> {
        let mut lines = Vec::new();
        describe(self.base.path(), "", &mut lines);
        lines.retain(|line| line != "dest/" && !line.starts_with("dest/"));
        lines
    }
}

/// What came of a download.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) error: Option<DownloadError>,
    /// What the observer heard, sorted; lost connections and what is unfinished left out.
    pub(crate) events: Vec<String>,
    /// How often the first connection was lost.
    pub(crate) losses: usize,
    /// What the run has ended without.
    pub(crate) unfinished: Vec<String>,
    /// What decides over the exit code, besides the error.
    pub(crate) exit: Vec<&'static str>,
    pub(crate) totals: Arc<Totals>,
    /// What is in the destination.
    pub(crate) tree: Vec<String>,
    pub(crate) log: Log,
}

impl Outcome {
    /// All of it as text, to be compared with what is expected; without what is kept for a later
    /// run, where not all went well.
    pub(crate) fn summary(&self) -> String {
        let mut lines = self.tree.clone();
        if !self.exit.is_empty() || self.error.is_some() {
            lines.retain(|line| !line.starts_with(PARTIAL));
        }
        lines.push("--".to_owned());
        let told = self.events.iter();
        lines.extend(told.filter(|line| !line.starts_with("fetched ")).cloned());
        lines.extend(self.exit.iter().map(|exit| format!("exit: {exit}")));
        lines.extend(self.error.as_ref().map(|error| format!("error: {error}")));
        lines.join("\n")
    }

    /// Requires that all went well and the tree is exactly what `tree` says, below `base`.
    #[track_caller]
    pub(crate) fn expect_all(&self, scene: &Scene, base: &str, tree: &ServedTree) {
        assert!(self.error.is_none(), "{}", self.summary());
        assert_eq!(self.exit, [""; 0], "{}", self.summary());
        expect_tree(&scene.at(base), tree);
    }

    pub(crate) fn damaged(&self) -> u64 {
        self.totals.damaged.load(Ordering::Relaxed)
    }
}

/// Requires that the directory `at` holds exactly `tree`, with all times and modes.
#[track_caller]
pub(crate) fn expect_tree(at: &Path, tree: &ServedTree) {
    for (path, node) in &tree.nodes {
        let at = at.join(path);
        let metadata = fs::symlink_metadata(&at).unwrap_or_else(|error| panic!("{path}: {error}"));
        let times = (metadata.mtime(), metadata.mtime_nsec() as u32);
        match node {
            Node::Directory(info) => {
                assert!(metadata.is_dir(), "{path}");
                assert_eq!(metadata.mode() & 0o7777, u32::from(info.mode), "{path}");
                assert_eq!(times, info.modified, "{path}");
            }
            Node::File(file) => {
                assert!(metadata.is_file(), "{path}");
                assert!(fs::read(&at).unwrap() == *file.content, "{path} is wrong");
                assert_eq!(
                    metadata.mode() & 0o7777,
                    u32::from(file.info.mode) & 0o1777,
                    "{path}"
                );
                assert_eq!(times, file.info.modified, "{path}");
            }
            Node::Link(target) => {
                let found = fs::read_link(&at).unwrap();
                assert_eq!(found.as_os_str().as_encoded_bytes(), target, "{path}");
                assert_eq!(times, crate::tree::MODIFIED, "{path}");
            }
            Node::Refused(_) => panic!("{path} should not be there"),
        }
    }
    let expected: Vec<_> = tree.nodes.keys().filter(|path| !path.is_empty()).collect();
    assert_eq!(lines_of(at).len(), expected.len(), "{:?}", lines_of(at));
}

/// Hears of everything.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn lines(&self) -> Vec<String> {
        let mut lines = self.0.lock().unwrap().clone();
        lines.retain(|line| !line.starts_with("lost ") && !line.starts_with("unfinished "));
        lines.sort();
        lines
    }

    fn losses(&self) -> usize {
        let lines = self.0.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.starts_with("lost "))
            .count()
    }

    fn unfinished(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let paths = lines
            .iter()
            .filter_map(|line| line.strip_prefix("unfinished "));
        let mut paths: Vec<_> = paths.map(str::to_owned).collect();
        paths.sort();
        paths
    }
}

impl Observer for Recorder {
    fn handle(&self, event: Event<'_>) {
        let line = match event {
            Event::Begun { .. } => return,
            Event::Fetched { path, bytes, .. } => format!("fetched {path} {bytes}"),
            Event::Kept { path } => format!("kept {path}"),
            Event::Linked { path } => format!("linked {path}"),
            Event::Wanted { path, bytes } => format!("wanted {path} {bytes}"),
            Event::Skipped { path, refusal } => format!("skipped {} {refusal:?}", Escaped(path)),
            Event::Failed { path, failure } => {
                format!("failed {} {}", Escaped(path), kind(failure))
            }
            Event::Lost { why } => format!("lost {why}"),
            Event::Unfinished { path } => format!("unfinished {path}"),
            Event::LeftBehind { error } => format!("left behind {error}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// What a failure is, in a word.
fn kind(failure: &Failure) -> String {
    let text = match failure {
        Failure::Refused(refusal) => format!("{refusal:?}"),
        Failure::Destination(error) => format!("{error:?}"),
        other => format!("{other:?}"),
    };
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

fn exit(totals: &Totals) -> Vec<&'static str> {
    let mut exit = Vec::new();
    if totals.failed.load(Ordering::Relaxed) > 0 {
        exit.push("some failed");
    }
    if totals.integrity_failed.load(Ordering::Relaxed) {
        exit.push("integrity");
    }
    if totals.local_io_failed.load(Ordering::Relaxed) {
        exit.push("local io");
    }
    exit
}

/// What lies in the directory `at`, a line each: `directory/`, `link -> target`, `file: content`.
pub(crate) fn lines_of(at: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    if at.exists() {
        describe(at, "", &mut lines);
    }
    lines
}

fn describe(at: &Path, below: &str, lines: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(at).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = format!("{below}{}", Escaped(name.as_encoded_bytes()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            lines.push(format!("{path} -> {}", target.display()));
        } else if kind.is_dir() {
            lines.push(format!("{path}/"));
            describe(&entry.path(), &format!("{path}/"), lines);
        } else if kind.is_file() {
            let content = fs::read(entry.path()).unwrap();
            lines.push(format!("{path}: {}", describe_content(&content)));
        } else {
            lines.push(format!("{path}: {kind:?}"));
        }
    }
}

/// The content itself if it is short, else what tells it apart.
pub(crate) fn describe_content(content: &[u8]) -> String {
    if content.len() <= 32 {
        return Escaped(content).to_string();
    }
    let hash = ContentHash::of(content).to_string();
    format!("{} bytes {}", content.len(), &hash[..8])
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}
