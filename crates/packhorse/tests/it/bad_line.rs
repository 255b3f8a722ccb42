//! The real kernel's TCP over a line that loses, reorders, and damages in a way that TCP does not
//! see. (THREATS 23 to 25.)
//!
//! Needs root, for network namespaces and TUN devices. Without it, or without `wanlink`, which
//! `cargo xtask test` builds, the tests are skipped, with a notice; with `CI=true` that is an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::sandbox::{Sandbox, json_lines, walk};

const MIB: usize = 1 << 20;

/// Where the server listens: at the line's other end.
const SERVER: &str = "10.77.0.1:7225";

/// The line's seed, behind which the first damage comes only after the first handshake: before it a
/// server was never there, which is not dialled again.
const SEED: &str = "4";

/// What a script has left: its output line by line, and what the line did.
struct Done {
    said: Vec<String>,
    errors: String,
    line: Value,
}

impl Done {
    fn count(&self, direction: &str, what: &str) -> u64 {
        self.line[direction][what].as_u64().unwrap()
    }
}

/// Runs a server of what is served and, at the other end of a line with these flags, `script` in a
/// shell, with `$P` for the program and `$A` for the server's address. `None`, and says so, where
/// this machine does not let us.
fn run_over_line(sandbox: &Sandbox, line_flags: &str, script: &str) -> Option<Done> {
    let wanlink = wanlink()?;
    // The address holds the server's key, which is the same wherever it listens.
    let identity = sandbox.path("identity").to_str().unwrap().to_owned();
    let nearby = sandbox.serve(&["--open", "--identity", &identity]);
    let address = format!("ph://{}@{SERVER}/", nearby.key());
    nearby.stop();

    let program = env!("CARGO_BIN_EXE_packhorse");
    let (served, summary) = (sandbox.path("served"), sandbox.path("line.json"));
    let mut command = Command::new(wanlink);
    command.args(["run", "--seed", SEED, "--cc", "cubic"]);
    command.args(line_flags.split_whitespace());
    command
        .args(["--wait-port", "7225", "--json"])
        .arg(&summary);
    command.arg("--server-log").arg(sandbox.path("server.log"));
    command.args(["--", program, "serve", "--open", "--http"]);
    command.args(["--listen", SERVER, "--identity", &identity]);
    command.arg(served).args([":::", "sh", "-c", script]);
    command.current_dir(sandbox.path("here"));
    command.env("P", program).env("A", address);
    command.env("PACKHORSE_STATE", sandbox.path("state"));
    command.env("RUST_BACKTRACE", "0").env("LC_ALL", "C.UTF-8");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = sandbox.start(&mut command).wait().code(0);
    let line = json_lines(&fs::read(summary).unwrap()).pop().unwrap();
    assert!(line["b_to_a"]["in_packets"] != 0, "nothing passed: {line}");
    Some(Done {
        said: ended.text().lines().map(str::to_owned).collect(),
        errors: ended.stderr,
        line,
    })
}

/// The emulator, if it can be run here.
fn wanlink() -> Option<PathBuf> {
    let wanlink = Path::new(env!("CARGO_BIN_EXE_packhorse")).with_file_name("wanlink");
    let reason = if !wanlink.exists() {
        "there is no wanlink beside packhorse: cargo build -p packhorse-wan"
    } else if !rustix::process::geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
        "network namespaces and TUN devices need root and /dev/net/tun"
    } else {
        return Some(wanlink);
    };
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "where CI=true, this must run: {reason}");
    eprintln!("SKIPPED: {reason}");
    None
}

/// Serves a large file of so much and small ones; gives the bytes of all.
fn serve_much(sandbox: &Sandbox, large_mib: usize) -> usize {
    let large = (0..large_mib * MIB).map(|at| (at / 4096 + at * 7) as u8);
    sandbox.serve_file("large", large.collect::<Vec<_>>());
    for number in 0..200 {
        let content = vec![number as u8; number * 40];
        sandbox.serve_file(format!("d{}/f{number}", number % 7), content);
    }
    large_mib * MIB + (0..200).map(|number| number * 40).sum::<usize>()
}

/// One in two thousand packets has a bit flipped and a checksum that is right.
#[test]
fn what_tcp_does_not_see_costs_a_connection_and_no_wrong_byte() {
    let sandbox = Sandbox::in_memory();
    let size = serve_much(&sandbox, 32);
    let script = format!(
        "$P get $A -o one --connections 1 --quiet --report one.json; echo $?; \
         $P get $A -o several --connections 4 --quiet --report several.json; echo $?; \
         until [ $(stat -c %s plain || echo 0) = {} ]; do \
             curl -sS -o plain http://{SERVER}/large; \
         done; echo $?",
        32 * MIB
    );
    let flags = "--rtt 10ms --rate 200mbit --corrupt-silent 0.05%";
    let Some(done) = run_over_line(&sandbox, flags, &script) else {
        return;
    };
    let damaged = done.count("a_to_b", "corrupted_silent");
    // Some 35 of 70,000 packets.
    assert!(damaged > 0, "{}", done.line);
    assert_eq!(done.said, ["0", "0", "0"], "{}", done.errors);

    let served = walk(&sandbox.path("served"));
    for name in ["one", "several"] {
        assert_eq!(walk(&sandbox.path("here").join(name)), served, "{name}");
        let report = json_lines(&sandbox.read(&format!("{name}.json")));
        let summary = report.last().unwrap();
        assert_eq!(summary["damaged"], 0, "TLS has found it: {summary}");
        assert_eq!(summary["bytes_fetched"], size, "and nothing came twice");
        let lost = report.iter().filter(|line| line["event"] == "lost");
        let lost = lost.count();
        println!("{name}: {lost} connections lost");
        // With several, most of those lost are not the first.
        assert!(lost > 0 || name == "several", "{report:?}");
    }
    let log = fs::read_to_string(sandbox.path("server.log")).unwrap();
    let lost = log.lines().filter(|line| line.contains(" was lost"));
    println!(
        "{damaged} packets damaged, {} connections lost",
        lost.count()
    );

    // Over the same line, without an end-to-end check: the whole length, and wrong.
    let (plain, right) = (sandbox.read("plain"), sandbox.path("served").join("large"));
    let right = fs::read(right).unwrap();
    let wrong = plain
        .iter()
        .zip(&right)
        .filter(|(plain, right)| plain != right);
    assert!(
        wrong.count() > 0,
        "nothing that was served in clear was hit"
    );
}

/// A client killed in the middle over a line that loses, reorders and repeats, and run again.
#[test]
fn a_kill_over_a_bad_line_costs_what_was_on_its_way() {
    let sandbox = Sandbox::in_memory();
    let size = serve_much(&sandbox, 16);
    let script = "$P get $A -o dest --connections 4 --quiet & client=$!; \
         while [ $(du -sk dest 2>/dev/null | cut -f 1)0 -lt 60000 ]; do sleep 0.02; done; \
         kill -9 $client; wait $client; echo $?; \
         $P get $A -o dest --connections 4 --quiet --report again.json; echo $?";
    let flags = "--rtt 20ms --rate 60mbit --loss 1% --reorder 1% --dup 0.5%";
    let Some(done) = run_over_line(&sandbox, flags, script) else {
        return;
    };
    for trouble in ["drop_loss", "reordered", "duplicated"] {
        assert!(done.count("a_to_b", trouble) > 0, "{}", done.line);
    }
    assert_eq!(done.said, ["137", "0"], "{}", done.errors);
    let dest = sandbox.path("here").join("dest");
    assert_eq!(walk(&dest), walk(&sandbox.path("served")));
    assert!(!dest.join(".packhorse-partial").exists());
    let summary = json_lines(&sandbox.read("again.json")).pop().unwrap();
    let number = |name: &str| summary[name].as_u64().unwrap() as usize;
    assert!(number("bytes_resumed") >= 2 * MIB, "{summary}");
    assert_eq!(number("bytes_fetched") + number("bytes_kept"), size);
    let torn = summary["bytes_again"]["differing"].as_u64().unwrap() as usize;
    assert!(torn <= 4 * MIB, "a group for each connection: {summary}");
}
