//! `packhorse serve`

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::sandbox::{Sandbox, json_lines};

#[test]
fn the_address_is_the_first_line_and_works_at_once() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&[]);
    assert!(server.address.starts_with("ph://"), "{}", server.address);
    assert!(server.address.contains("@127.0.0.1:"), "{}", server.address);
    assert!(server.address.ends_with('/'), "{}", server.address);
    assert_eq!(sandbox.run(&["ls", &server.address]).code(0).text(), "a\n");
    let expected = format!("{}\n", server.web_url);
    let ended = server.stop().code(0);
    assert_eq!(ended.text(), expected, "nothing follows the second line");
    assert!(ended.stderr.contains("serving"), "{}", ended.stderr);
    assert!(ended.stderr.contains(" 127.0.0.1:"), "{}", ended.stderr);
}

#[test]
fn without_a_place_all_addresses_are_named_loopback_last() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&["--listen", ":0"]);
    let first = server.address.clone();
    sandbox.run(&["ls", &first]).code(0);
    let key = server.key().to_owned();
    let ended = server.stop().code(0);
    let mut all: Vec<_> = std::iter::once(first.as_str())
        .chain(ended.text().lines())
        .collect();
    let web_url = all.pop().unwrap();
    assert!(web_url.starts_with("https://"), "{web_url}");
    let is_address = |line: &&str| line.starts_with("ph://") && line.contains(&key);
    assert!(all.iter().all(is_address), "{all:?}");
    assert!(all.last().unwrap().contains("@127.0.0.1:"), "{all:?}");
}

#[test]
fn identity_and_token_stay_where_they_are_kept() {
    let sandbox = Sandbox::new();
    let token = sandbox.path("token");
    let flags = ["--key-file", token.to_str().unwrap()];
    let key_of = |flags: &[&str]| {
        let server = sandbox.serve(flags);
        let key = server.key().to_owned();
        server.stop().code(0);
        key
    };
    let first = key_of(&flags);
    assert_eq!(key_of(&flags), first);
    let fresh = key_of(&[]);
    assert_ne!(fresh, first);
    assert_ne!(key_of(&[]), fresh);
    // The same identity: a version byte and 16 bytes of pin in base32.
    assert_eq!(fresh[..27], first[..27]);
    for secret in [token.clone(), sandbox.path("state/identity.pem")] {
        assert_eq!(fs::metadata(secret).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(
        fs::metadata(sandbox.path("state")).unwrap().mode() & 0o777,
        0o700
    );
    fs::write(sandbox.path("token"), "not a token").unwrap();
    sandbox
        .run(&[&["serve"], &flags[..]].concat())
        .code(2)
        .says("token");
}

#[test]
fn two_first_starts_agree_on_an_identity() {
    let sandbox = Sandbox::new();
    let servers: Vec<_> = (0..4)
        .map(|_| sandbox.start(&mut sandbox.command(&["serve", "--listen", "127.0.0.1:0"])))
        .collect();
    let keys: Vec<_> = servers
        .into_iter()
        .map(|server| {
            server.wait_for_stderr("fingerprint ");
            sleep(Duration::from_millis(50));
            server.signal(Signal::TERM);
            server.wait().code(0).text()[5..32].to_owned()
        })
        .collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn some_files_are_served_under_their_names() {
    let sandbox = Sandbox::new();
    for name in ["x/a", "y/b", "y/c", "z/a"] {
        sandbox.serve_file(name, name);
    }
    let path = |name: &str| {
        sandbox
            .path("served")
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let server = sandbox.serve_paths(&[&path("x/a"), &path("y")], &[]);
    assert_eq!(
        sandbox.run(&["ls", "-R", &server.address]).code(0).text(),
        "a\ny/\ny/b\ny/c\n"
    );
    sandbox.run(&["get", &server.address]).code(0);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("y/c")),
        (b"x/a".to_vec(), b"y/c".to_vec())
    );
    sandbox
        .run(&["serve", &path("x/a"), &path("z/a")])
        .code(2)
        .says("same name");
}

#[test]
fn once_ends_after_one_complete_transfer() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let mut server = sandbox.serve(&["--once"]);
    sandbox.run(&["ls", &server.address]).code(0);
    sandbox.run(&["get", &server.at("nothing")]).code(1);
    assert!(server.running.is_running());
    sandbox.run(&["get", &server.at("a")]).code(0);
    server.running.wait().code(0);
}

#[test]
fn a_running_transfer_gets_its_grace() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", vec![1; 3_000_000]);
    let server = sandbox.serve(&[]);
    let mut get = sandbox.command(&["get", &server.at("a"), "--rate-limit", "1500k"]);
    let get = sandbox.start(&mut get);
    server.running.wait_for_stderr("asks for /a");
    sleep(Duration::from_millis(300));
    server.running.signal(Signal::TERM);
    server.running.wait_for_stderr("ending");
    // Nobody new: the listening socket is gone, or says that the server is leaving.
    let late = sandbox.run(&["ls", &server.address]);
    assert_eq!(late.code, Some(3), "{}", late.stderr);
    get.wait().code(0);
    assert_eq!(sandbox.read("a").len(), 3_000_000);
    server.running.wait().code(0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", vec![1; 3_000_000]);
    let server = sandbox.serve(&["--grace", "1h"]);
    let arguments = [
        "get",
        &server.at("a"),
        "--rate-limit",
        "1M",
        "--retry-for",
        "0s",
    ];
    let get = sandbox.start(&mut sandbox.command(&arguments));
    server.running.wait_for_stderr("asks for /a");
    sleep(Duration::from_millis(300));
    server.running.signal(Signal::INT);
    server.running.wait_for_stderr("ending");
    let start = Instant::now();
    server.running.signal(Signal::INT);
    server.running.wait().code(0);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    get.wait().code(3);
    assert!(!sandbox.path("here/a").exists());
}

#[test]
fn there_are_only_so_many_clients() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", vec![1; 3_000_000]);
    let server = sandbox.serve(&["--max-clients", "1"]);
    let arguments = ["get", &server.at("a"), "--rate-limit", "1500k"];
    let get = sandbox.start(&mut sandbox.command(&arguments));
    server.running.wait_for_stderr("asks for /a");
    sandbox
        .run(&["ls", &server.address])
        .code(3)
        .says("as many clients as it takes");
    // Its own second connection was refused too, and it needs none.
    get.wait().code(0);
    assert_eq!(sandbox.read("a").len(), 3_000_000);
    sandbox.run(&["ls", &server.address]).code(0);
}

#[test]
fn who_says_nothing_is_left() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--greeting-timeout", "300ms"]);
    let mut silent = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let start = Instant::now();
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(200)..Duration::from_secs(10)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn the_log_can_be_json() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&["--log-format", "json"]);
    sandbox.run(&["get", &server.at("a")]).code(0);
    let ended = server.stop().code(0);
    let lines = json_lines(ended.stderr.as_bytes());
    let said: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    for message in ["serving", "listening", "connected", "left", "ended"] {
        assert!(said.contains(&message), "{message}: {said:?}");
    }
}

#[test]
fn what_the_system_does_not_have_is_said() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&[
            "serve",
            "--congestion",
            "nonsense",
            "--listen",
            "127.0.0.1:0",
        ])
        .code(2)
        .says("nonsense");
    sandbox
        .run(&["serve", "--listen", "no-such-host.invalid:0"])
        .code(2)
        .says("no-such-host");
}

#[test]
fn a_qr_code_of_the_browsers_url_is_printed_on_request() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--qr"]);
    let url = server.web_url.clone();
    let ended = server.stop().code(0);
    let (_, picture) = ended.text().split_once(&format!("{url}\n")).unwrap();
    let lines: Vec<Vec<char>> = picture.lines().map(|line| line.chars().collect()).collect();
    let code = qrcode::QrCode::new(&url).unwrap();
    let columns = code.width() + 8;
    assert_eq!(lines.len(), columns.div_ceil(2));
    for (y, x) in (0..columns).flat_map(|y| (0..columns).map(move |x| (y, x))) {
        // Without colours the white is drawn.
        let drawn = if y % 2 == 0 { "█▀" } else { "█▄" };
        let is_dark = !drawn.contains(lines[y / 2][x]);
        let inside = |place: usize| (4..columns - 4).contains(&place);
        let expected = inside(x) && inside(y) && code[(x - 4, y - 4)] == qrcode::Color::Dark;
        assert_eq!(is_dark, expected, "{x}, {y}:\n{picture}");
    }
}
