//! One end of a link: a network namespace, a TUN device in it, and the programs that run there.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The device's name, in both namespaces.
pub(crate) const DEVICE: &str = "wan0";

/// Between the attempts to end the programs in a namespace.
const KILL_PAUSE: Duration = Duration::from_millis(60);

/// How an end is to be.
#[derive(Clone, Debug)]
pub(crate) struct EndPlan {
    /// Of the namespace; without one it has no name.
    pub(crate) name: Option<String>,
    pub(crate) address: String,
    pub(crate) peer_address: String,
    pub(crate) prefix: u8,
    pub(crate) address_v6: Option<&'static str>,
    pub(crate) mtu_bytes: u16,
    /// Packets that the device holds before the emulator fetches them.
    pub(crate) device_queue: u32,
    pub(crate) sysctls: Vec<String>,
    pub(crate) congestion: Option<String>,
}

/// One end.
pub(crate) struct End {
    namespace: File,
    device: Arc<SyncDevice>,
    /// The name below `/run/netns` that we made and have to remove.
    made_name: Option<String>,
    /// Whether the namespace is ours: whatever still runs in it at the end may be killed.
    is_owned: bool,
}

/// A namespace by its file's device and inode numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl End {
    /// Makes one, in a thread that enters the new namespace and ends there.
    pub(crate) fn make(plan: EndPlan) -> anyhow::Result<Self> {
        let made = thread::spawn(move || {
            let is_owned = plan.name.as_deref().is_none_or(|name| !is_name(name));
            let made_name = plan.name.clone().filter(|_| is_owned);
            let made = enter(&plan).and_then(|()| equip(&plan));
            if let (Err(_), Some(name)) = (&made, &made_name) {
                let _ = ip(["netns", "del", name]);
            }
            let (namespace, device) = made?;
            Ok(Self {
                namespace,
                device,
                made_name,
                is_owned,
            })
        });
        made.join().map_err(|_| anyhow!("a thread has failed"))?
    }

    pub(crate) fn device(&self) -> Arc<SyncDevice> {
        Arc::clone(&self.device)
    }

    /// The name that the namespace was given, if it is ours.
    pub(crate) fn made_name(&self) -> Option<&str> {
        self.made_name.as_deref()
    }

    /// The namespace, if it is ours.
    pub(crate) fn owned_id(&self) -> Option<NamespaceId> {
        let metadata = self.namespace.metadata().ok()?;
        self.is_owned.then(|| NamespaceId::of(&metadata))
    }

    /// Packets that the device dropped on their way to the kernel, and on their way to us: those
    /// that the emulator was too slow to fetch.
    pub(crate) fn dropped(&self) -> (u64, u64) {
        let table = self.inside(|| read_net("dev")).unwrap_or_default();
        let prefix = format!("{DEVICE}:");
        let mut lines = table.lines().map(str::trim_start);
        let line = lines.find_map(|line| line.strip_prefix(&prefix));
        let numbers: Vec<u64> = line
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let number = |at| numbers.get(at).copied().unwrap_or_default();
        (number(3), number(11))
    }

    /// Whether a socket in the namespace listens (TCP) or is bound (UDP) at `port`.
    pub(crate) fn listens(&self, port: u16) -> bool {
        let tables =
            self.inside(|| ["tcp", "tcp6", "udp", "udp6"].map(|name| (name, read_net(name))));
        let local = format!(":{port:04X}");
        let is_open = |name: &str, line: &str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            // State 0A is LISTEN.
            fields.get(1).is_some_and(|field| field.ends_with(&local))
                && (name.starts_with("udp") || fields.get(3) == Some(&"0A"))
        };
        tables.is_some_and(|tables| {
            let mut tables = tables.iter();
            tables.any(|(name, table)| table.lines().skip(1).any(|line| is_open(name, line)))
        })
    }

    /// Starts a program in the namespace, in a process group of its own; its output goes to `log`.
    pub(crate) fn spawn(
        &self,
        words: &[String],
        variables: &[(&'static str, String)],
        log: Option<File>,
    ) -> anyhow::Result<Child> {
        let (program, arguments) = words.split_first().context("no program is named")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(variables.iter().cloned());
        command.process_group(0);
        if let Some(log) = log {
            command.stderr(log.try_clone()?).stdout(log);
            command.stdin(Stdio::null());
        }
        let spawned = self.inside(move || {
            // The program is not to inherit that we block signals.
            SigSet::empty().thread_set_mask()?;
            command.spawn()
        });
        let spawned = spawned.context("cannot enter the namespace")?;
        spawned.with_context(|| format!("cannot run {program}"))
    }

    /// Kills what runs in the namespace, if that is ours.
    pub(crate) fn kill_all(&self) {
        if let Some(namespace) = self.owned_id() {
            kill_members(namespace);
        }
    }

    /// What `work` gives in a thread inside the namespace.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Option<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter_namespace(self.namespace.as_fd()).ok()?;
                Some(work())
            });
            inside.join().ok().flatten()
        })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.kill_all();
        if let Some(name) = &self.made_name {
            let _ = ip(["netns", "del", name]);
        }
    }
}

impl NamespaceId {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Kills every process in a namespace, but not this one.
pub(crate) fn kill_members(namespace: NamespaceId) {
    let own = std::process::id();
    for signal in [Signal::TERM, Signal::KILL, Signal::KILL] {
        let members = processes().filter(|&pid| {
            let metadata = fs::metadata(format!("/proc/{pid}/ns/net"));
            pid != own && metadata.is_ok_and(|metadata| NamespaceId::of(&metadata) == namespace)
        });
        let members: Vec<_> = members.collect();
        if members.is_empty() {
            return;
        }
        for pid in members {
            if let Some(pid) = Pid::from_raw(pid as i32) {
                let _ = kill_process(pid, signal);
            }
        }
        thread::sleep(KILL_PAUSE);
    }
}

/// Runs `ip`.
pub(crate) fn ip<'a>(arguments: impl IntoIterator<Item = &'a str>) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments);
    let output = command.output().context("cannot run ip (iproute2)")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", errors.trim());
    Ok(())
}

/// Whether there is a namespace of this name.
fn is_name(name: &str) -> bool {
    Path::new("/run/netns").join(name).exists()
}

/// Moves this thread into the namespace of the plan, which is made unless it is there.
fn enter(plan: &EndPlan) -> anyhow::Result<()> {
    match &plan.name {
        Some(name) => {
            if !is_name(name) {
                ip(["netns", "add", name])?;
            }
            let path = format!("/run/netns/{name}");
            let namespace = File::open(&path).context(path)?;
            enter_namespace(namespace.as_fd()).context("cannot enter the namespace")
        }
        None => unshare(CloneFlags::CLONE_NEWNET).context("cannot make a namespace; are you root?"),
    }
}

fn enter_namespace(namespace: BorrowedFd<'_>) -> std::io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Opens and sets up the device in the namespace of this thread.
fn equip(plan: &EndPlan) -> anyhow::Result<(File, Arc<SyncDevice>)> {
    let namespace = File::open("/proc/thread-self/ns/net").context("cannot open the namespace")?;
    // No offloads: the kernel segments and sums before we see a packet, so each packet is one
    // that could be on a real wire.
    let device = DeviceBuilder::new().name(DEVICE).enable(false);
    let device = device.build_sync().context("cannot open a TUN device")?;
    device.set_nonblocking(true)?;
    ip(["link", "set", "lo", "up"])?;
    let no_v6 = u8::from(plan.address_v6.is_none());
    // Where there is no IPv6, there is nothing to switch off.
    let _ = set_sysctl(&format!("net.ipv6.conf.{DEVICE}.disable_ipv6={no_v6}"));
    for sysctl in &plan.sysctls {
        set_sysctl(sysctl)?;
    }
    let set = format!(
        "link set {DEVICE} mtu {} txqueuelen {} up",
        plan.mtu_bytes, plan.device_queue
    );
    ip(set.split(' '))?;
    let address = format!("{}/{}", plan.address, plan.prefix);
    ip(["addr", "add", &address, "dev", DEVICE])?;
    if let Some(name) = &plan.congestion {
        // By route: only the first namespace may set the sysctl to every algorithm.
        let (peer, own) = (&plan.peer_address, &plan.address);
        let route = [
            "route", "add", peer, "dev", DEVICE, "src", own, "congctl", name,
        ];
        ip(route)?;
    }
    if let Some(address) = plan.address_v6 {
        ip(["-6", "addr", "add", address, "dev", DEVICE, "nodad"])?;
    }
    Ok((namespace, Arc::new(device)))
}

fn set_sysctl(setting: &str) -> anyhow::Result<()> {
    let (key, value) = setting
        .split_once('=')
        .with_context(|| format!("`{setting}` is not KEY=VALUE"))?;
    let path = format!("/proc/sys/{}", key.trim().replace('.', "/"));
    fs::write(&path, value.trim()).context(path)
}

/// A table of this thread's namespace; empty if it cannot be read.
fn read_net(name: impl Display) -> String {
    let mut table = String::new();
    let file = File::open(format!("/proc/thread-self/net/{name}"));
    let _ = file.and_then(|mut file| file.read_to_string(&mut table));
    table
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
