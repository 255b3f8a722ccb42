//! Tests that run in a process of their own, to be killed or to have a file system of their own.

use std::env;
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "PACKHORSE_TEST_FOLDER";

/// Runs the ignored test `test` of this file's siblings in a child, which finds `folder` by
/// [`folder`].
pub(super) fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(arguments(test)).env(FOLDER, folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

/// As [`child`], on a file system in memory of its own, mounted on `folder` with `options`, which
/// nobody else sees. `None`, and says so, where this machine does not let us.
pub(super) fn child_on_mount(test: &str, folder: &Path, options: &str) -> Option<Command> {
    let mount = format!("mount -t tmpfs -o {options} tmpfs \"$0\"");
    let unshare = |script: String| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        command.arg(script).arg(folder).env(FOLDER, folder);
        command
    };
    let tried = unshare(mount.clone()).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: {test} needs the right to mount in a namespace of its own");
        return None;
    }
    let mut command = unshare(mount + " && exec \"$@\"");
    command
        .arg(env::current_exe().unwrap())
        .args(arguments(test));
    Some(command)
}

/// The folder given by the parent; `None` if this test was not started by one.
pub(super) fn folder() -> Option<PathBuf> {
    env::var_os(FOLDER).map(PathBuf::from)
}

fn arguments(test: &str) -> [String; 5] {
    let test = format!("destination::{test}");
    [
        "--exact",
        &test,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]
    .map(str::to_owned)
}
