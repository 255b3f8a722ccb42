//! Ended in the middle, again and again: nothing wrong is ever left, and the next run finishes.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::sandbox::{Running, Sandbox, json_lines, wait_until};

const ROUNDS: u64 = 12;
const LARGE: usize = 24 << 20;

fn content(number: usize) -> Vec<u8> {
    (0..200 + number * 37)
        .map(|at| (at * number + at / 13) as u8)
        .collect()
}

/// Every file that has its name must have all of its content. Returns how many there are.
fn check(root: &Path) -> usize {
    let mut found = 0;
    for number in 0..300 {
        if let Ok(bytes) = fs::read(root.join(format!("d{}/f{number}", number % 7))) {
            assert!(bytes == content(number), "f{number} is wrong");
            found += 1;
        }
    }
    if let Ok(bytes) = fs::read(root.join("large")) {
        assert!(bytes == large(), "the large file is wrong");
        found += 1;
    }
    found
}

fn large() -> Vec<u8> {
    (0..LARGE).map(|at| (at / 4096 + at * 7) as u8).collect()
}

#[test]
fn a_client_killed_at_any_moment_leaves_nothing_wrong() {
    let sandbox = Sandbox::new();
    for number in 0..300 {
        sandbox.serve_file(format!("d{}/f{number}", number % 7), content(number));
    }
    sandbox.serve_file("large", large());
    let server = sandbox.serve(&["--rate-limit", "60M"]);
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let name = format!("killed {}", round % 4);
        let here = sandbox.path("here").join(&name);
        let client = sandbox.start(&mut sandbox.command(&["get", &server.address, "-o", &name]));
        sleep(Duration::from_millis(15 + round * 29));
        client.signal(Signal::KILL);
        interrupted += usize::from(client.wait().code.is_none());
        if here.exists() {
            check(&here);
        }
    }
    assert!(
        interrupted >= 4,
        "only {interrupted} of {ROUNDS} clients were killed on their way"
    );
    for number in 0..4 {
        let name = format!("killed {number}");
        let here = sandbox.path("here").join(&name);
        sandbox.run(&["get", &server.address, "-o", &name]).code(0);
        assert_eq!(check(&here), 301);
        assert!(
            !here.join(".packhorse-partial").exists(),
            "unfinished data is left in {name}"
        );
    }
}

/// What is half done of the large file, in bytes.
pub(crate) fn half_done(destination: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;

    let jobs = fs::read_dir(destination.join(".packhorse-partial"));
    let files = jobs
        .into_iter()
        .flatten()
        .flat_map(|job| fs::read_dir(job.unwrap().path()));
    let sizes = files.flatten().flatten().map(|file| file.metadata());
    sizes.flatten().map(|found| found.blocks() * 512).sum()
}

/// Waits until `client` has some of the large file, and nothing was wrong by then.
fn wait_for_some(client: &Running, dest: &Path) {
    wait_until(|| {
        assert_eq!(client.stderr_so_far(), "");
        half_done(dest) >= 3 << 20
    });
}

/// It said that the connection was lost, and no word of what it had.
#[test]
fn a_client_whose_server_is_gone_says_what_it_keeps() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", large());
    sandbox.serve_file("small", "small");
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let (key, identity, report) = (path("key"), path("identity"), path("report"));
    let keys = ["--key-file", &key, "--identity", &identity];
    let server = sandbox.serve(&[&keys[..], &["--rate-limit", "20M"]].concat());
    let listen = format!("127.0.0.1:{}", server.port());
    let address = server.address.clone();
    let get = [
        "get",
        &address,
        "-o",
        "dest",
        "--retry-for",
        "1s",
        "--report",
        &report,
    ];
    let client = sandbox.start(&mut sandbox.command(&get));
    let dest = sandbox.path("here").join("dest");
    wait_for_some(&client, &dest);
    server.running.signal(Signal::KILL);
    let ended = client.wait().code(3);
    let lines = || json_lines(&fs::read(&report).unwrap());
    let (told, summary) = (lines(), lines().pop().unwrap());
    let of = |event: &str| {
        told.iter()
            .find(|line| line["event"] == event)
            .unwrap()
            .clone()
    };
    assert_eq!(of("unfinished")["path"], "large");
    assert_eq!(of("fetched")["path"], "small");
    assert_eq!(
        (&of("end")["exit"], &of("end")["listed"]),
        (&3.into(), &true.into())
    );
    assert_eq!(
        (&summary["unfinished"], &summary["half_done"]),
        (&1.into(), &1.into())
    );
    let kept = summary["half_done_bytes"].as_u64().unwrap();
    assert_eq!(kept, half_done(&dest));
    let ended = ended.says(", 1 unfinished");
    ended.says(" of 1 file half done: run the same command again to go on");
    let _server = sandbox.serve(&[&keys[..], &["--listen", &listen]].concat());
    sandbox.run(&get).code(0);
    assert_eq!(lines().pop().unwrap()["bytes_resumed"], kept);
    assert_eq!(check(&dest), 1);
}

/// It said that the key was wrong, which it was not when the run began.
#[test]
fn a_client_whose_server_has_another_key_now_says_what_may_have_happened() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", large());
    let server = sandbox.serve(&["--rate-limit", "20M"]);
    let listen = format!("127.0.0.1:{}", server.port());
    let get = ["get", &server.address, "-o", "dest"];
    let client = sandbox.start(&mut sandbox.command(&get));
    let dest = sandbox.path("here").join("dest");
    wait_for_some(&client, &dest);
    server.running.signal(Signal::KILL);
    server.running.wait();
    let server = sandbox.serve(&["--listen", &listen]);
    let ended = client.wait().code(4).says("restarted without --key-file");
    ended.says("run the same command again to go on");
    // The new address goes on with what is there.
    let report = sandbox.path("report");
    let mut again = sandbox.command(&["get", &server.address, "-o", "dest", "--report"]);
    sandbox.start(again.arg(&report)).wait().code(0);
    let summary = json_lines(&fs::read(&report).unwrap()).pop().unwrap();
    assert_ne!(summary["bytes_resumed"], 0);
    assert_eq!(check(&dest), 1);
}
