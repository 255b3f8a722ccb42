//! `packhorse bench`

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::sandbox::{Running, Sandbox, Server};

/// Against a hang; nothing here needs it.
const TIME_MAX: Duration = Duration::from_secs(60);

fn serve_large(sandbox: &Sandbox) -> Server<'_> {
    sandbox.serve_file("directory/large", vec![b'x'; 3 << 20]);
    sandbox.serve(&[])
}

/// The stages in lines of JSON of the event `event`.
fn stages(lines: &str, event: &str) -> Vec<String> {
    let events = lines.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event
    });
    events
        .filter(|line| line["event"] == event)
        .map(|line| line["stage"].as_str().unwrap().to_owned())
        .collect()
}

const ALL: [&str; 7] = [
    "path",
    "source",
    "hashing_there",
    "encryption_there",
    "encryption_here",
    "hashing_here",
    "destination",
];

#[test]
fn every_part_is_measured_and_one_is_the_bottleneck() {
    let sandbox = Sandbox::new();
    let server = serve_large(&sandbox);
    for path in ["", "directory", "directory/large"] {
        let bench = ["bench", &server.at(path), "--time", "1s", "--json"];
        let ended = sandbox.run(&bench).code(0);
        assert_eq!(ended.stderr, "");
        assert_eq!(stages(ended.text(), "measured"), ALL, "{path}");
        let lines: Vec<_> = ended.text().lines().collect();
        let [.., verdict, end] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert!(verdict.contains(r#""event":"verdict""#), "{verdict}");
        assert!(end.contains(r#""event":"end""#), "{end}");
    }
    assert_eq!(fs::read_dir(sandbox.path("here")).unwrap().count(), 0);
}

#[test]
fn into_a_pipe_goes_plain_text_in_either_language() {
    let sandbox = Sandbox::new();
    let server = serve_large(&sandbox);
    let bench = ["bench", &server.address, "--time", "1s"];
    let ended = sandbox.run(&bench).code(0);
    assert!(ended.text().is_ascii(), "{}", ended.text());
    assert!(ended.text().contains("large files come at about"));
    let ended = sandbox.run_in_chinese(&bench).code(0);
    assert!(
        ended.text().contains("获取大文件的速率约为"),
        "{}",
        ended.text()
    );
}

#[test]
fn what_cannot_be_measured_is_said_and_the_rest_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("small", "x");
    let server = sandbox.serve(&[]);
    let bench = [
        "bench",
        &server.address,
        "--time",
        "1s",
        "--json",
        "-o",
        "no/where",
    ];
    let ended = sandbox.run(&bench).code(6);
    assert_eq!(
        stages(ended.text(), "not_measured"),
        ["source", "destination"]
    );
    assert_eq!(stages(ended.text(), "measured").len(), ALL.len() - 2);
    assert!(ended.text().contains("cannot write to no/where"));
    assert!(!sandbox.path("here/no").exists());
}

#[test]
fn without_a_server_or_a_key_or_a_file_it_says_so() {
    let sandbox = Sandbox::new();
    let server = serve_large(&sandbox);
    let other = sandbox.serve(&[]);
    let place = format!("@127.0.0.1:{}/", server.port());
    let (key, _) = other.address.split_once('@').unwrap();
    let of_another = format!("{key}{place}");
    let cases = [
        (server.at("nothing"), 1),
        ("plain://127.0.0.1:1/x".to_owned(), 2),
        (of_another, 4),
    ];
    for (address, code) in cases {
        let ended = sandbox.run(&["bench", &address, "--time", "1s"]);
        assert_eq!((ended.text(), ended.code), ("", Some(code)), "{address}");
        assert!(ended.stderr.starts_with("packhorse: "), "{}", ended.stderr);
    }
    let address = server.address.clone();
    server.stop().code(0);
    sandbox.run(&["bench", &address, "--time", "1s"]).code(3);
}

/// Whether the process has a file in `directory` open that has no name.
fn writes_without_a_name(running: &Running<'_>, directory: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", running.id()));
    let open = descriptors.into_iter().flatten().flatten();
    open.filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| {
            target.starts_with(directory) && target.to_string_lossy().ends_with(" (deleted)")
        })
}

#[test]
fn nothing_is_left_behind_however_it_ends() {
    let sandbox = Sandbox::new();
    let here = fs::canonicalize(sandbox.path("here")).unwrap();
    let server = serve_large(&sandbox);
    let bench = ["bench", &server.address, "--time", "1s", "--json"];
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let start = Instant::now();
        let running = loop {
            let mut running = sandbox.start(&mut sandbox.command(&bench));
            while running.is_running() && !writes_without_a_name(&running, &here) {
                sleep(Duration::from_millis(1));
            }
            // On a busy machine the moment may have passed unseen.
            if running.is_running() {
                break running;
            }
            assert!(start.elapsed() < TIME_MAX, "it never writes");
        };
        running.signal(signal);
        assert_eq!(running.wait().code, code);
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
    }
}
