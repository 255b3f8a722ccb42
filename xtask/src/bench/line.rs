//! A bad line between server and client, by `wanlink` of `tools/wan`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// The server's address on it.
pub(super) const SERVER: &str = "10.77.0.1";

/// A line that is up; it is taken down with this.
pub(super) struct Line {
    wanlink: Child,
    namespaces: [String; 2],
}

impl Line {
    /// Brings up a line with the kernel's CUBIC at both ends.
    pub(super) fn bring_up(wanlink: &Path, profile: &str) -> anyhow::Result<Self> {
        let mut wanlink = Command::new(wanlink)
            .args(["up", "--cc", "cubic", "--profile", profile])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run wanlink")?;
        let stdout = wanlink.stdout.take().context("it has no output")?;
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said)?;
        let words: Vec<_> = said.split_whitespace().map(str::to_owned).collect();
        ensure!(words.len() > 2, "there is no line; are you root? {said}");
        let namespaces = [words[1].clone(), words[2].clone()];
        Ok(Self {
            wanlink,
            namespaces,
        })
    }

    /// What a command begins with that is to run at the server's end.
    pub(super) fn at_server(&self) -> Vec<String> {
        enter(&self.namespaces[0])
    }

    /// The same at the client's end.
    pub(super) fn at_client(&self) -> Vec<String> {
        enter(&self.namespaces[1])
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let id = self.wanlink.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.wanlink.wait();
    }
}

fn enter(namespace: &str) -> Vec<String> {
    ["ip", "netns", "exec", namespace]
        .map(str::to_owned)
        .to_vec()
}
