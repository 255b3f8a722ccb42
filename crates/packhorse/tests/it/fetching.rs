//! `packhorse get` into a place where nothing is yet.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::sandbox::{Sandbox, json_lines, walk};

/// What `b3sum` prints for `hello\n`.
const HELLO_HASH: &str = "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99";

fn make_tree(sandbox: &Sandbox) {
    sandbox.serve_file("hello.txt", "hello\n");
    sandbox.serve_file("empty", "");
    sandbox.serve_file("d/e/f/deep", "deep");
    sandbox.serve_file(b"names/line\nbreak \xff \x1b[31m", "strange");
    for number in 0..300 {
        sandbox.serve_file(format!("many/{number:03}"), vec![number as u8; number * 37]);
    }
    let large: Vec<u8> = (0..5_000_001u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    sandbox.serve_file("large", large);
    let served = sandbox.path("served");
    fs::create_dir(served.join("nothing")).unwrap();
    symlink("hello.txt", served.join("link")).unwrap();
    fs::set_permissions(served.join("empty"), PermissionsExt::from_mode(0o741)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    for name in ["empty", "nothing"] {
        fs::File::open(served.join(name))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    }
}

#[test]
fn a_tree_arrives_as_it_is_and_is_not_fetched_again() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let report = sandbox.path("report");
    let arguments = [
        "get",
        &server.address,
        "-o",
        "new/dest",
        "--report",
        report.to_str().unwrap(),
    ];
    let ended = sandbox.run(&arguments).code(0).says("fetched 305 files");
    assert!(ended.stdout.is_empty());
    assert_eq!(
        walk(&sandbox.path("here/new/dest")),
        walk(&sandbox.path("served"))
    );
    let summary = json_lines(&fs::read(&report).unwrap()).pop().unwrap();
    assert_eq!(
        (&summary["files_fetched"], &summary["exit"]),
        (&305.into(), &0.into())
    );

    sandbox
        .run(&arguments)
        .code(0)
        .says("fetched 0 files")
        .says(" kept");
    let summary = json_lines(&fs::read(&report).unwrap()).pop().unwrap();
    assert_eq!(
        (&summary["bytes_fetched"], &summary["files_fetched"]),
        (&0.into(), &0.into())
    );
    assert_eq!(
        walk(&sandbox.path("here/new/dest")),
        walk(&sandbox.path("served"))
    );
}

#[test]
fn several_clients_at_once_all_get_everything() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let names = ["one", "two", "three", "four"];
    let clients = names
        .map(|name| sandbox.start(&mut sandbox.command(&["get", &server.address, "-o", name])));
    for (name, client) in names.iter().zip(clients) {
        client.wait().code(0);
        assert_eq!(
            walk(&sandbox.path("here").join(name)),
            walk(&sandbox.path("served"))
        );
    }
}

#[test]
fn a_directory_lands_under_its_name_and_a_file_too() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    sandbox
        .run(&["get", &server.at("d/e"), &server.at("hello.txt")])
        .code(0);
    assert_eq!(sandbox.read("e/f/deep"), b"deep");
    assert_eq!(sandbox.read("hello.txt"), b"hello\n");
    sandbox
        .run(&["get", &server.at("hello.txt"), "--as", "bye.txt"])
        .code(0);
    assert_eq!(sandbox.read("bye.txt"), b"hello\n");
    sandbox
        .run(&["get", &server.at("d"), "--as", "x"])
        .code(2)
        .says("directory");
    let strange = server.at("names/line%0Abreak%20%FF%20%1B%5B31m");
    sandbox.run(&["get", &strange, "--as", "strange"]).code(0);
    assert_eq!(sandbox.read("strange"), b"strange");
}

#[test]
fn links_are_kept_or_followed() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    sandbox
        .run(&["get", &server.at("link"), "-o", "kept"])
        .code(0);
    assert_eq!(
        fs::read_link(sandbox.path("here/kept/link"))
            .unwrap()
            .to_str(),
        Some("hello.txt")
    );
    sandbox
        .run(&[
            "get",
            &server.at("link"),
            "-o",
            "followed",
            "--follow-links",
        ])
        .code(0);
    assert!(
        fs::symlink_metadata(sandbox.path("here/followed/link"))
            .unwrap()
            .is_file()
    );
    assert_eq!(sandbox.read("followed/link"), b"hello\n");
}

#[test]
fn links_that_leave_are_kept_only_on_request() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("file", "here");
    for (name, target) in [("absolute", "/etc/passwd"), ("climbing", "../../outside")] {
        symlink(target, sandbox.path("served").join(name)).unwrap();
    }
    let server = sandbox.serve(&[]);
    sandbox
        .run(&["get", &server.address, "-o", "safe"])
        .code(0)
        .says("2 skipped");
    assert!(!sandbox.path("here").join("safe/absolute").is_symlink());
    sandbox
        .run(&["get", &server.address, "-o", "unsafe", "--unsafe-links"])
        .code(0);
    for (name, target) in [("absolute", "/etc/passwd"), ("climbing", "../../outside")] {
        let link = sandbox.path("here").join("unsafe").join(name);
        assert_eq!(fs::read_link(link).unwrap(), Path::new(target));
    }
}

#[test]
fn a_file_goes_to_standard_output() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    for name in ["hello.txt", "empty", "large", "link"] {
        let ended = sandbox.run(&["get", &server.at(name), "-o", "-"]).code(0);
        assert_eq!(
            ended.stdout,
            fs::read(sandbox.path("served").join(name)).unwrap()
        );
        assert_eq!(ended.stderr, "");
    }
    sandbox
        .run(&["get", &server.at("d"), "-o", "-"])
        .code(1)
        .says("directory");
    sandbox
        .run(&["get", &server.address, "-o", "-"])
        .code(1)
        .says("directory");
    assert!(fs::read_dir(sandbox.path("here")).unwrap().next().is_none());
}

#[test]
fn the_only_file_of_a_server_needs_no_path() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("hello.txt", "hello\n");
    let file = sandbox.path("served/hello.txt");
    let server = sandbox.serve_paths(&[file.to_str().unwrap()], &[]);
    let address = server.address.as_str();
    assert_eq!(
        sandbox.run(&["get", address, "-o", "-"]).code(0).stdout,
        b"hello\n"
    );
    sandbox
        .run(&["get", address, "--as", "bye.txt", "--expect", HELLO_HASH])
        .code(0);
    assert_eq!(sandbox.read("bye.txt"), b"hello\n");
    sandbox.run(&["get", address]).code(0);
    assert_eq!(sandbox.read("hello.txt"), b"hello\n");
}

#[test]
fn only_the_expected_content_is_accepted() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let (address, wrong) = (server.at("hello.txt"), HELLO_HASH.replace('8', "9"));
    sandbox
        .run(&["get", &address, "--expect", &wrong])
        .code(5)
        .says(HELLO_HASH);
    assert!(!sandbox.path("here/hello.txt").exists());
    sandbox
        .run(&["get", &server.at("large"), "--expect", &wrong])
        .code(5);
    assert!(!sandbox.path("here/large").exists());
    sandbox
        .run(&["get", &address, "--expect", &wrong, "-o", "-"])
        .code(5)
        .says(HELLO_HASH);
    sandbox
        .run(&["get", &address, "--expect", HELLO_HASH])
        .code(0);
    assert_eq!(sandbox.read("hello.txt"), b"hello\n");
    sandbox
        .run(&["get", &address, "--expect", HELLO_HASH, "-o", "-"])
        .code(0);
}

#[test]
fn patterns_choose() {
    let sandbox = Sandbox::new();
    for name in ["a.txt", "b.tmp", "d/c.txt", "d/e.tmp", "cache/x.txt"] {
        sandbox.serve_file(name, name);
    }
    fs::write(
        sandbox.path("here/patterns"),
        "# not wanted\n\ncache/\n*.tmp\n",
    )
    .unwrap();
    let server = sandbox.serve(&[]);
    let cases: [(&[&str], &[&str]); 3] = [
        (
            &["--exclude", "*.tmp"],
            &["a.txt", "cache/x.txt", "d/c.txt"],
        ),
        (&["--exclude-from", "patterns"], &["a.txt", "d/c.txt"]),
        (&["--include", "*.tmp", "--exclude", "d/"], &["b.tmp"]),
    ];
    for (index, (flags, expected)) in cases.into_iter().enumerate() {
        let destination = format!("to{index}");
        let arguments = [
            &["get", &server.address, "-o", &destination, "--json"],
            flags,
        ]
        .concat();
        let ended = sandbox.run(&arguments).code(0);
        let events = ended
            .json()
            .into_iter()
            .filter(|event| event["event"] == "fetched");
        let mut fetched: Vec<_> = events
            .map(|event| event["path"].as_str().unwrap().to_owned())
            .collect();
        fetched.sort();
        assert_eq!(fetched, expected);
    }
}

#[test]
fn a_dry_run_lists_and_writes_nothing() {
    let sandbox = Sandbox::new();
    for name in ["a", "b", "d/c"] {
        sandbox.serve_file(name, name);
    }
    let server = sandbox.serve(&[]);
    sandbox.run(&["get", &server.at("a"), "-o", "dest"]).code(0);
    let ended = sandbox
        .run(&["get", &server.address, "-o", "dest", "--dry-run"])
        .code(0);
    assert_eq!(ended.text(), "b\nd/c\n");
    assert!(
        ended.stderr.contains("would fetch 2 files, 4 B, 1 kept"),
        "{}",
        ended.stderr
    );
    assert_eq!(walk(&sandbox.path("here/dest")).len(), 1);
    sandbox
        .run(&["get", &server.address, "-o", "never", "--dry-run"])
        .code(0);
    assert!(!sandbox.path("here/never").exists());
}

#[test]
fn events_are_json_with_every_byte_of_a_name() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let ended = sandbox
        .run(&["get", &server.address, "--json", "--quiet"])
        .code(0);
    assert_eq!(ended.stderr, "");
    let events = ended.json();
    let find = |name: &str| events.iter().find(|event| event["path"] == name).unwrap();
    assert_eq!(events[0]["event"], "begin");
    assert_eq!(events.last().unwrap()["event"], "summary");
    let hello = find("hello.txt");
    assert_eq!(
        (&hello["event"], &hello["bytes"]),
        (&"fetched".into(), &6.into())
    );
    assert_eq!(hello["blake3"], HELLO_HASH);
    let strange = find("names/line\\nbreak \\xff \\u{1b}[31m");
    assert_eq!(
        strange["path_hex"],
        "6e616d65732f6c696e650a627265616b20ff201b5b33316d"
    );
    assert_eq!(find("link")["event"], "linked");
}

#[test]
fn a_rate_limit_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", vec![7; 4_000_000]);
    let server = sandbox.serve(&[]);
    let limited = sandbox.serve(&["--rate-limit", "2M"]);
    let cases: [&[&str]; 3] = [
        &["get", &server.at("a"), "--rate-limit", "2M"],
        &["get", &server.at("a"), "--rate-limit", "2M", "-o", "-"],
        &["get", &limited.at("a"), "-o", "-"],
    ];
    for arguments in cases {
        let start = Instant::now();
        sandbox.run(arguments).code(0);
        // What may be on its way at once, a group of 1 MiB, takes no time. How much longer it takes
        // on a busy machine says nothing.
        let took = start.elapsed().as_secs_f64();
        assert!(took >= 1.4, "{took} s");
    }
}

#[test]
fn what_is_no_file_is_left_out_and_named() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let served = sandbox.path("served");
    symlink("/etc/passwd", served.join("out")).unwrap();
    let fifo = served.join("fi\x1bfo");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let server = sandbox.serve(&[]);
    let ended = sandbox.run(&["get", &server.address]).code(0);
    assert!(
        ended.stderr.contains("skipped fi\\u{1b}fo: it is a FIFO"),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .contains("skipped out: it is a link that leaves"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("2 skipped"), "{}", ended.stderr);
    assert_eq!(walk(&sandbox.path("here")).len(), 1);
}

/// `ulimit -f` ends a process by a signal, unless that takes care of it.
#[test]
fn a_limit_on_the_size_of_files_fails_one_file() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![7; 6 << 20]);
    sandbox.serve_file("small", "hello");
    let server = sandbox.serve(&[]);
    let command = sandbox.command(&[]);
    let get = command.get_program().to_owned();
    let mut limited = Command::new("bash");
    limited
        .args(["-c", r#"ulimit -f 3000; exec "$0" get "$1""#])
        .arg(get)
        .arg(&server.address)
        .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .current_dir(sandbox.path("here"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = sandbox.start(&mut limited).wait().code(1);
    ended.says(
        "packhorse: `large` of 6.29 MB is larger than this file system or `ulimit -f` allows\n",
    );
    assert_eq!(sandbox.read("small"), b"hello");
    assert!(!sandbox.path("here/large").exists());
}
