//! The server and the clients of the demo, each a process of its own.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use packhorse_protocol::address::Address;
use rustix::process::{Pid, Signal, kill_process};

use super::scratch::Interrupted;
use super::{STEP_TIME_MAX, read_text};

/// How long the server may take to say where it is.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// This program, run anew with state of its own.
pub(super) struct Program<'a> {
    path: PathBuf,
    scratch: &'a Path,
    interrupted: &'a Interrupted,
}

/// A child that does not outlive the demo.
struct Running {
    child: Child,
    /// What it says of itself, for when it fails.
    log: PathBuf,
    interrupted: Interrupted,
}

/// A server.
pub(super) struct ServerProcess {
    running: Running,
    /// Holds the key: given to clients on their standard input, and shown to nobody.
    address: Address,
}

/// A client that fetches everything.
pub(super) struct Client {
    running: Running,
    report: PathBuf,
}

/// What a client says that it did.
pub(super) struct ClientReport {
    pub(super) files_fetched: u64,
    pub(super) bytes_fetched: u64,
    pub(super) files_kept: u64,
    /// Bytes that were there from an interrupted run, and right.
    pub(super) bytes_resumed: u64,
    /// Bytes that were there from an interrupted run, and not right.
    pub(super) bytes_differing: u64,
    seconds: f64,
}

impl ClientReport {
    /// Bytes a second.
    pub(super) fn rate(&self) -> u64 {
        (self.bytes_fetched as f64 / self.seconds.max(1e-3)) as u64
    }
}

impl<'a> Program<'a> {
    pub(super) fn new(scratch: &'a Path, interrupted: &'a Interrupted) -> Result<Self> {
        let path = env::current_exe().context("cannot find this program's own file")?;
        Ok(Self {
            path,
            scratch,
            interrupted,
        })
    }

    /// Starts the program; what it says goes to a file called `name`.
    fn start(&self, name: &str, prepare: impl FnOnce(&mut Command)) -> Result<Running> {
        let log = self.scratch.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = Command::new(&self.path);
        command
            .env("PACKHORSE_STATE", self.scratch.join("state"))
            .env_remove("PACKHORSE_ADDRESS")
            .env_remove("PACKHORSE_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        prepare(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        Ok(Running {
            child,
            log,
            interrupted: self.interrupted.clone(),
        })
    }

    /// Starts a `get` of `address` into `destination`.
    fn start_get(
        &self,
        name: &str,
        address: &str,
        destination: &Path,
        flags: &[&str],
    ) -> Result<Running> {
        let mut running = self.start(name, |command| {
            command
                .args(["get", "-", "--quiet", "-o"])
                .arg(destination)
                .args(flags);
            command.stdin(Stdio::piped());
        })?;
        let mut input = running
            .child
            .stdin
            .take()
            .context("the client has no input")?;
        writeln!(input, "{address}").context("the client does not read its address")?;
        Ok(running)
    }

    /// The exit code of a client whose key has one wrong character.
    pub(super) fn try_wrong_key(
        &self,
        server: &ServerProcess,
        destination: &Path,
    ) -> Result<Option<i32>> {
        let address = server.address.reveal();
        let (before, behind) = address.split_once('@').context("the address has no key")?;
        let (rest, last) = before.split_at(before.len() - 1);
        let wrong = if last == "a" { "b" } else { "a" };
        let address = format!("{rest}{wrong}@{behind}");
        let mut running = self.start_get("wrong-key", &address, destination, &[])?;
        Ok(running.wait()?.code())
    }
}

impl Running {
    fn wait(&mut self) -> Result<ExitStatus> {
        let until = Instant::now() + STEP_TIME_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            self.interrupted.check()?;
            ensure!(
                Instant::now() < until,
                "a step took longer than {STEP_TIME_MAX:?}"
            );
            sleep(Duration::from_millis(10));
        }
    }

    /// Ends with what the child said, unless it went well.
    fn succeed(&mut self) -> Result<()> {
        let status = self.wait()?;
        if !status.success() {
            let said = read_text(&self.log).unwrap_or_default();
            bail!("a process failed ({status}): {}", said.trim());
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl ServerProcess {
    /// Serves `source` on a free port.
    pub(super) fn start(program: &Program<'_>, source: &Path) -> Result<Self> {
        let mut running = program.start("server", |command| {
            command
                .arg("serve")
                .arg(source)
                .args(["--listen", "127.0.0.1:0"]);
            command.stdout(Stdio::piped());
        })?;
        let output = running
            .child
            .stdout
            .take()
            .context("the server has no output")?;
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines();
            let _ = send.send(lines.next());
            // It stays open, so that the server can go on printing.
            lines.for_each(drop);
        });
        let line = match receive.recv_timeout(START_TIME_MAX) {
            Ok(Some(Ok(line))) => line,
            _ => {
                let said = read_text(&running.log).unwrap_or_default();
                bail!("the server did not start: {}", said.trim());
            }
        };
        // The line is not repeated where it is wrong: it may hold a key.
        let address = line.parse().ok().context("the server printed no address")?;
        Ok(Self { running, address })
    }

    pub(super) fn id(&self) -> u32 {
        self.running.child.id()
    }

    /// Where it listens.
    pub(super) fn place(&self) -> String {
        self.address.place.to_string()
    }

    /// Tells it to end, and waits for that.
    pub(super) fn stop(mut self) -> Result<()> {
        let id = Pid::from_child(&self.running.child);
        kill_process(id, Signal::TERM).context("cannot tell the server to end")?;
        self.running
            .succeed()
            .context("the server did not end well")
    }
}

impl Client {
    /// Fetches everything from `server` into `destination`.
    pub(super) fn start(
        program: &Program<'_>,
        server: &ServerProcess,
        name: &str,
        destination: &Path,
        flags: &[&str],
    ) -> Result<Self> {
        let report = program.scratch.join(format!("{name}.report"));
        let report_flag = format!("--report={}", report.display());
        let flags = [flags, &[report_flag.as_str()]].concat();
        let address = server.address.reveal();
        Ok(Self {
            running: program.start_get(name, &address, destination, &flags)?,
            report,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.running.child.id()
    }

    pub(super) fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.running.child.try_wait()?)
    }

    /// Kills it as `kill -9` does, which it cannot notice.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.running
            .child
            .kill()
            .context("cannot kill the client")?;
        let status = self.running.wait()?;
        let signal = status.signal();
        ensure!(
            signal == Some(Signal::KILL.as_raw()),
            "the client ended before it could be killed ({status})"
        );
        Ok(())
    }

    /// Waits until it has everything.
    pub(super) fn wait(mut self) -> Result<ClientReport> {
        self.running.succeed()?;
        let text = read_text(&self.report)?;
        let last = text
            .lines()
            .next_back()
            .context("the client's report is empty")?;
        let summary: serde_json::Value =
            serde_json::from_str(last).context("the client's report is not JSON")?;
        let number = |name: &str| summary[name].as_u64().context("the report has no number");
        Ok(ClientReport {
            files_fetched: number("files_fetched")?,
            bytes_fetched: number("bytes_fetched")?,
            files_kept: number("files_kept")?,
            bytes_resumed: number("bytes_resumed")?,
            bytes_differing: summary["bytes_again"]["differing"]
                .as_u64()
                .context("the report has no number")?,
            seconds: summary["seconds"].as_f64().unwrap_or_default(),
        })
    }
}
