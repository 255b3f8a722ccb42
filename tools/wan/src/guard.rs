//! A second process that outlives us by a moment: if we are killed with SIGKILL, it kills what is
//! left in our namespaces and removes their names. It learns of our death by its standard input.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;

use crate::end::{End, NamespaceId, ip, kill_members};

/// What tells the guard that nothing is left to do.
const DONE: &str = "done";

/// What names of ours below `/run/netns` begin with, before the process number.
pub(crate) const NAME_PREFIX: &str = "wl-";

/// The guard, until it is told that it is not needed any more.
pub(crate) struct Guard {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Guard {
    /// Starts it for the namespaces of `ends`.
    pub(crate) fn start(ends: &[End]) -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("guard").process_group(0);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the guard")?;
        let mut stdin = child.stdin.take().context("the guard has no input")?;
        // Our open file keeps each namespace, and after our death the processes in it do: its
        // number cannot come to mean another one while a process of ours is there.
        for end in ends {
            if let Some(NamespaceId { device, inode }) = end.owned_id() {
                let name = end.made_name().unwrap_or("-");
                writeln!(stdin, "{device} {inode} {name}")?;
            }
        }
        let stdin = Some(stdin);
        Ok(Self { child, stdin })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = writeln!(stdin, "{DONE}");
        }
        let _ = self.child.wait();
    }
}

/// What the guard itself does.
pub(crate) fn stand_guard() {
    let mut left = Vec::new();
    for line in io::stdin().lines().map_while(Result::ok) {
        if line == DONE {
            return;
        }
        let fields: Vec<_> = line.split(' ').collect();
        if let [device, inode, name] = fields[..]
            && let (Ok(device), Ok(inode)) = (device.parse(), inode.parse())
        {
            left.push((NamespaceId { device, inode }, name.to_owned()));
        }
    }
    for (namespace, name) in left {
        kill_members(namespace);
        if name != "-" {
            let _ = ip(["netns", "del", &name]);
        }
    }
}

/// Removes the names of namespaces whose process is gone, and gives them.
pub(crate) fn remove_left_names() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| {
            let rest = name.strip_prefix(NAME_PREFIX);
            let process = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
            let is_left =
                process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists());
            is_left && ip(["netns", "del", name]).is_ok()
        })
        .collect()
}
