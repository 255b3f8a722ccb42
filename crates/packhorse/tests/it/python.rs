//! A second client, written in Python from `PROTOCOL.md` alone, against the real server.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Where the interpreter is that has what `tests/python/requirements.txt` asks for.
const INTERPRETER: &str = "PACKHORSE_PYTHON";

/// A command that runs `name` in `tests/python`; `None`, with a notice, where there is no Python.
pub(crate) fn script(name: &str) -> Option<Command> {
    let Some(interpreter) = env::var_os(INTERPRETER).filter(|path| !path.is_empty()) else {
        assert!(
            env::var_os("CI").is_none_or(|value| value != "true"),
            "{INTERPRETER} must be set where CI=true: run `cargo xtask test`"
        );
        let line = "=".repeat(72);
        let reason = format!("set {INTERPRETER}, or run `cargo xtask test`");
        // Not by `eprintln!`: the runner would keep that to itself, since nothing fails.
        let _ = writeln!(
            io::stderr(),
            "{line}\nSKIPPED: {name} in Python; {reason}\n{line}"
        );
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python");
    let mut command = Command::new(interpreter);
    command.arg("-B").arg(script.join(name));
    Some(command)
}

/// A server in Python, in `tests/python`; killed when dropped.
pub(crate) struct Scripted {
    child: Child,
    /// Where it listens.
    pub(crate) place: String,
}

impl Scripted {
    /// `None`, with a notice, where there is no Python.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        let mut command = script(name)?;
        command.args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut place = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut place).unwrap();
        let place = place.trim_end().to_owned();
        Some(Self { child, place })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_client_written_from_the_document_alone_agrees_with_the_server() {
    let Some(mut command) = script("test_client.py") else {
        return;
    };
    let output = command
        .env("PACKHORSE_BINARY", env!("CARGO_BIN_EXE_packhorse"))
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    // Printed by the runner if this fails.
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "the Python tests failed: {}",
        output.status
    );
}
