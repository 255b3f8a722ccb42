//! A place for one test: directories, state, servers and clients of its own.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a process may take before a test gives it up.
const TIME_MAX: Duration = Duration::from_secs(60);

/// What a key without a token has: base32 of a version byte and 16 bytes of pin. What stands behind
/// that in a longer key is of the token alone.
const OPEN_KEY_CHARACTERS: usize = 28;

/// Temporary directories, and every key that was given out in them: none may show on standard
/// error.
pub(crate) struct Sandbox {
    directory: TempDir,
    secrets: Mutex<Vec<String>>,
}

/// A process that runs.
pub(crate) struct Running<'a> {
    sandbox: &'a Sandbox,
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: Option<JoinHandle<()>>,
}

/// A process that has ended.
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// A server that accepts connections.
pub(crate) struct Server<'a> {
    pub(crate) running: Running<'a>,
    /// The first line of its standard output.
    pub(crate) address: String,
    /// The line for browsers.
    pub(crate) web_url: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory if this machine has room for it there, for a test that writes much.
    pub(crate) fn in_memory() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::within(directory.unwrap())
    }

    fn within(directory: TempDir) -> Self {
        for name in ["here", "served"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self {
            directory,
            secrets: Mutex::default(),
        }
    }

    /// A path in the sandbox. Processes run in `here`, and `served` is there to be served.
    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join(name.as_ref())
    }

    /// Writes `content` to a file in `served`, whose directories are made.
    pub(crate) fn serve_file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.path("served").join(OsStr::from_bytes(name.as_ref()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The content of a file in `here`.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path("here").join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The command with `arguments`, to be started by `start` or `run`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
        command.args(arguments).current_dir(self.path("here"));
        command
            .env("PACKHORSE_STATE", self.path("state"))
            .env("RUST_BACKTRACE", "0")
            .env("LC_ALL", "C.UTF-8");
        for variable in ["PACKHORSE_ADDRESS", "PACKHORSE_KEY", "XDG_STATE_HOME"] {
            command.env_remove(variable);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(&mut self.command(arguments)).wait()
    }

    /// Runs the command to its end, for someone who reads Chinese.
    pub(crate) fn run_in_chinese(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        self.start(command.env("LC_ALL", "zh_CN.UTF-8")).wait()
    }

    /// Runs the command to its end, with `input` on its standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(arguments);
        let mut running = self.start(command.stdin(Stdio::piped()));
        let mut stdin = running.take_stdin();
        let input = input.to_vec();
        // It may end without reading all of it.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let ended = running.wait();
        writer.join().unwrap();
        ended
    }

    /// Starts `command`.
    pub(crate) fn start(&self, command: &mut Command) -> Running<'_> {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(|mut stdout| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                stdout.read_to_end(&mut bytes).unwrap();
                bytes
            })
        });
        let (stderr, stderr_reader) = read_along(child.stderr.take());
        Running {
            sandbox: self,
            child,
            stdout,
            stderr,
            stderr_reader,
        }
    }

    /// Serves `served` on a free port, with further flags.
    pub(crate) fn serve(&self, flags: &[&str]) -> Server<'_> {
        let served = self.path("served");
        self.serve_paths(&[served.to_str().unwrap()], flags)
    }

    /// Serves `paths` on a free port of 127.0.0.1, unless `flags` say where to listen.
    pub(crate) fn serve_paths(&self, paths: &[&str], flags: &[&str]) -> Server<'_> {
        let mut command = self.command(&["serve"]);
        command.args(paths).args(flags);
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        self.serve_by(&mut command)
    }

    /// The server that `command` starts, as soon as it accepts connections.
    pub(crate) fn serve_by(&self, command: &mut Command) -> Server<'_> {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (stderr, stderr_reader) = read_along(child.stderr.take());
        let mut running = Running {
            sandbox: self,
            child,
            stdout: None,
            stderr,
            stderr_reader,
        };
        let mut lines: Vec<String> = Vec::new();
        while !lines
            .last()
            .is_some_and(|line| line.starts_with("https://"))
        {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                panic!("the server did not start: {}", running.wait().stderr);
            }
            lines.push(line);
        }
        let address = lines[0].trim_end().to_owned();
        let web_url = lines[lines.len() - 1].trim_end().to_owned();
        let mut rest = lines[1..].concat().into_bytes();
        running.stdout = Some(thread::spawn(move || {
            stdout.read_to_end(&mut rest).unwrap();
            rest
        }));
        if let Some((_, token)) = web_url.split_once("?key=") {
            self.secrets.lock().unwrap().push(token.to_owned());
        }
        if let Some((key, _)) = address
            .strip_prefix("ph://")
            .and_then(|rest| rest.split_once('@'))
            && key.len() > OPEN_KEY_CHARACTERS
        {
            self.secrets.lock().unwrap().push(key.to_owned());
        }
        Server {
            running,
            address,
            web_url,
        }
    }
}

impl Running<'_> {
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// What it has said.
    pub(crate) fn stderr_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Waits until its standard error holds `text`.
    pub(crate) fn wait_for_stderr(&self, text: &str) {
        let start = Instant::now();
        while !self.stderr_so_far().contains(text) {
            assert!(
                start.elapsed() < TIME_MAX,
                "{text:?} is not in: {}",
                self.stderr_so_far()
            );
            sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                start.elapsed() < TIME_MAX,
                "it does not end: {}",
                self.stderr_so_far()
            );
            sleep(Duration::from_millis(5));
        };
        let took = start.elapsed();
        let stdout = self
            .stdout
            .take()
            .map_or_else(Vec::new, |stdout| stdout.join().unwrap());
        self.stderr_reader.take().unwrap().join().unwrap();
        let stderr = self.stderr_so_far();
        for secret in &*self.sandbox.secrets.lock().unwrap() {
            assert!(
                !stderr.contains(secret),
                "a key is on standard error: {stderr}"
            );
            if let Some(token) = secret.get(OPEN_KEY_CHARACTERS..) {
                assert!(
                    !stderr.contains(token),
                    "a token is on standard error: {stderr}"
                );
            }
        }
        assert!(
            !stderr.contains('\x1b'),
            "there are escapes on standard error: {stderr}"
        );
        Ended {
            code: status.code(),
            stdout,
            stderr,
            took,
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Only ever our own child, and only if it still runs.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        let (found, stderr) = (self.code, &self.stderr);
        assert_eq!(found, Some(code), "standard error: {stderr}");
        self
    }

    /// Checks that standard error says `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{text:?} is not in: {}",
            self.stderr
        );
        self
    }

    /// Standard output as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Standard output as lines of JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        json_lines(&self.stdout)
    }
}

/// Lines of JSON.
#[track_caller]
pub(crate) fn json_lines(text: &[u8]) -> Vec<serde_json::Value> {
    let lines = text
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

impl Server<'_> {
    /// The address of `path`.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// The address of `path` without the key.
    pub(crate) fn bare(&self, path: &str) -> String {
        let (_, place) = self.address.rsplit_once('@').unwrap();
        format!("ph://{place}{path}")
    }

    /// The key.
    pub(crate) fn key(&self) -> &str {
        let (before, _) = self.address.rsplit_once('@').unwrap();
        before.strip_prefix("ph://").unwrap()
    }

    /// The token, as browsers and `curl` send it.
    pub(crate) fn token(&self) -> &str {
        self.web_url.split_once("?key=").unwrap().1
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        let (_, port) = self.address.trim_end_matches('/').rsplit_once(':').unwrap();
        port.parse().unwrap()
    }

    /// Tells it to end, and waits for that.
    pub(crate) fn stop(self) -> Ended {
        self.running.signal(Signal::TERM);
        self.running.wait()
    }
}

/// Everything at and below `root`, for comparison: path, kind, mode, time, and content or target.
pub(crate) fn walk(root: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;

    let mut lines = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            let metadata = entry.metadata().unwrap();
            let content = if metadata.is_dir() {
                directories.push(path.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                format!("-> {:?}", fs::read_link(entry.path()).unwrap())
            } else if metadata.is_file() {
                let content = fs::read(entry.path()).unwrap();
                format!("{} bytes, hash {:x}", content.len(), hash(&content))
            } else {
                continue;
            };
            let (time, part) = (metadata.mtime(), metadata.mtime_nsec());
            lines.push(format!(
                "{path:?} {:o} {time}.{part:09} {content}",
                metadata.mode()
            ));
        }
    }
    lines.sort();
    lines
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < TIME_MAX, "it does not come to that");
        sleep(Duration::from_millis(5));
    }
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    hasher.finish()
}

fn read_along(
    pipe: Option<impl Read + Send + 'static>,
) -> (Arc<Mutex<Vec<u8>>>, Option<JoinHandle<()>>) {
    let bytes = Arc::<Mutex<Vec<u8>>>::default();
    let (mut pipe, read) = (pipe.unwrap(), Arc::clone(&bytes));
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            read.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
    });
    (bytes, Some(reader))
}
