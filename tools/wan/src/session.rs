//! The commands that bring a link up.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, kill_process_group};
use serde_json::{Value, json};

use crate::flags::{LinkFlags, RunFlags, UpFlags};
use crate::link::Link;
use crate::quantity::time_ns;
use crate::summary::rounded;

/// What `timeout` ends with too.
const EXIT_TIMED_OUT: i32 = 124;

/// What shells add to the number of a signal.
const EXIT_SIGNAL: i32 = 128;

/// How long a server may take to open its port.
const PORT_WAIT_MAX: Duration = Duration::from_secs(30);

/// Signals, which this process is told by a descriptor.
pub(crate) struct Signals(SignalFd);

/// What ended a wait.
enum Event {
    ChildChanged,
    /// With the signal's number.
    ToldToEnd(i32),
    TimedOut,
}

/// How the client ended.
struct ClientEnd {
    code: i32,
    how: &'static str,
}

impl Signals {
    /// To be called before there is another thread, since threads inherit what is blocked.
    pub(crate) fn block() -> anyhow::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGCHLD,
        ] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&signals, flags)?))
    }

    /// Waits for a signal, at most until `deadline`.
    fn wait(&self, deadline: Option<Instant>) -> Event {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs() as _,
            tv_nsec: left.subsec_nanos().into(),
        });
        let descriptor = self.0.as_fd();
        let _ = poll(
            &mut [PollFd::new(&descriptor, PollFlags::IN)],
            left.as_ref(),
        );
        match self.0.read_signal() {
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGCHLD as u32 => Event::ChildChanged,
            Ok(Some(signal)) => Event::ToldToEnd(signal.ssi_signo as i32),
            _ => Event::TimedOut,
        }
    }
}

/// Holds a link up.
pub(crate) fn up(flags: &UpFlags, signals: &Signals) -> anyhow::Result<i32> {
    let lasts = time_of(flags.r#for.as_deref())?;
    let link = Link::bring_up(&flags.link, true)?;
    let name = |given: &Option<String>, made: Option<&str>| {
        made.or(given.as_deref()).unwrap_or_default().to_owned()
    };
    let a = name(&flags.link.ns_a, link.a().made_name());
    let b = name(&flags.link.ns_b, link.b().made_name());
    println!("up {a} {b} pid {}", std::process::id());
    let deadline = lasts.map(|lasts| link.start() + lasts);
    while !is_over(deadline) && !matches!(signals.wait(deadline), Event::ToldToEnd(_)) {}
    let summary = link.bring_down(Value::Null);
    tell(&flags.link, &summary)?;
    Ok(0)
}

/// Runs a server and a client.
pub(crate) fn run(flags: &RunFlags, signals: &Signals) -> anyhow::Result<i32> {
    let mut parts = flags.commands.splitn(2, |word| word == ":::");
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let (server, client) = second.map_or((None, first), |client| (Some(first), client));
    ensure!(!client.is_empty(), "no client is named");
    let timeout = time_of(flags.timeout.as_deref())?;
    let wait = Duration::from_nanos(time_ns(&flags.wait)?);

    let link = Link::bring_up(&flags.link, false)?;
    let variables = [
        ("WANLINK_A", flags.link.addr_a.clone()),
        ("WANLINK_B", flags.link.addr_b.clone()),
    ];
    let mut server = match server.filter(|words| !words.is_empty()) {
        Some(words) => {
            let log = flags.server_log.as_ref().map(File::create).transpose()?;
            Some(link.a().spawn(words, &variables, log)?)
        }
        None => None,
    };
    if let Some(port) = flags.wait_port
        && let Some(code) = wait_for_port(&link, port, signals)?
    {
        return Ok(code);
    }
    sleep(wait);
    let start = Instant::now();
    let mut client = link.b().spawn(client, &variables, None)?;
    let end = wait_for_client(&mut client, timeout.map(|left| start + left), signals)?;
    let seconds = start.elapsed().as_secs_f64();
    signal_group(&client, rustix::process::Signal::KILL);
    let _ = client.wait();
    let cpu_seconds = cpu_seconds_of_children()?;
    if let Some(server) = &server {
        signal_group(server, rustix::process::Signal::TERM);
    }
    let summary = link.bring_down(json!({
        "wall_s": rounded(seconds),
        "exit": end.code,
        "end": end.how,
        "cpu_s": rounded(cpu_seconds),
    }));
    if let Some(server) = &mut server {
        let _ = server.kill();
        let _ = server.wait();
    }
    tell(&flags.link, &summary)?;
    if flags.link.json.is_some() {
        let ClientEnd { code, how } = end;
        eprintln!("wanlink: client {how} with {code} after {seconds:.3} s");
    }
    Ok(end.code)
}

/// Waits until the port is open; gives an exit code if told to end meanwhile.
fn wait_for_port(link: &Link, port: u16, signals: &Signals) -> anyhow::Result<Option<i32>> {
    let deadline = Instant::now() + PORT_WAIT_MAX;
    while !link.a().listens(port) {
        if is_over(Some(deadline)) {
            bail!("nothing opened port {port} in A within {PORT_WAIT_MAX:?}");
        }
        let next_look = Instant::now() + Duration::from_millis(10);
        if let Event::ToldToEnd(signal) = signals.wait(Some(next_look)) {
            return Ok(Some(EXIT_SIGNAL + signal));
        }
    }
    Ok(None)
}

fn wait_for_client(
    client: &mut Child,
    deadline: Option<Instant>,
    signals: &Signals,
) -> anyhow::Result<ClientEnd> {
    loop {
        if let Some(status) = client.try_wait()? {
            let signal = status.signal().unwrap_or_default();
            let code = status.code().unwrap_or(EXIT_SIGNAL + signal);
            return Ok(ClientEnd {
                code,
                how: "exited",
            });
        }
        if is_over(deadline) {
            return Ok(ClientEnd {
                code: EXIT_TIMED_OUT,
                how: "timed out",
            });
        }
        if let Event::ToldToEnd(signal) = signals.wait(deadline) {
            return Ok(ClientEnd {
                code: EXIT_SIGNAL + signal,
                how: "interrupted",
            });
        }
    }
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

fn time_of(text: Option<&str>) -> anyhow::Result<Option<Duration>> {
    let time = text.map(time_ns).transpose()?;
    Ok(time.map(Duration::from_nanos))
}

/// Signals a program that we started, and what it started itself.
fn signal_group(leader: &Child, signal: rustix::process::Signal) {
    let _ = kill_process_group(Pid::from_child(leader), signal);
}

fn cpu_seconds_of_children() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let times = [usage.user_time(), usage.system_time()];
    let seconds = times.map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
    Ok(seconds.iter().sum())
}

fn tell(flags: &LinkFlags, summary: &Value) -> anyhow::Result<()> {
    match &flags.json {
        Some(path) => fs::write(path, format!("{summary}\n"))
            .with_context(|| format!("cannot write {}: {summary}", path.display())),
        None => {
            eprintln!("{summary}");
            Ok(())
        }
    }
}
