//! Ended in the middle, again and again: nothing wrong is ever left, and the next run finishes.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::sandbox::Sandbox;

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
