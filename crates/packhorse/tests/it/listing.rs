//! `packhorse ls`

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::sandbox::Sandbox;

fn make_tree(sandbox: &Sandbox) {
    sandbox.serve_file("b.txt", "12345");
    sandbox.serve_file("a dir/c", "");
    sandbox.serve_file(b"z\x1b[2J\xff", "");
    let served = sandbox.path("served");
    symlink("b.txt", served.join("link")).unwrap();
    fs::set_permissions(served.join("b.txt"), PermissionsExt::from_mode(0o640)).unwrap();
    fs::set_permissions(served.join("a dir"), PermissionsExt::from_mode(0o755)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5);
    for name in ["b.txt", "a dir", "z\x1b[2J"] {
        if let Ok(file) = fs::File::open(served.join(name)) {
            file.set_modified(time).unwrap();
        }
    }
}

#[test]
fn names_are_listed_and_escaped() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let cases: [(&[&str], &str, &str); 5] = [
        (&[], "", "b.txt\nlink\nz\\u{1b}[2J\\xff\na dir/\n"),
        (
            &["-R"],
            "",
            "b.txt\nlink\nz\\u{1b}[2J\\xff\na dir/\na dir/c\n",
        ),
        (&[], "a%20dir", "c\n"),
        (&[], "a%20dir/", "c\n"),
        (&[], "b.txt", "b.txt\n"),
    ];
    for (flags, path, expected) in cases {
        let ended = sandbox
            .run(&[&["ls", &server.at(path)], flags].concat())
            .code(0);
        assert_eq!(
            (ended.text(), ended.stderr.as_str()),
            (expected, ""),
            "{flags:?} {path}"
        );
    }
}

#[test]
fn the_long_list_says_more() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let mut command = sandbox.command(&["ls", "-l", &server.address]);
    let ended = sandbox.start(command.env("TZ", "UTC")).wait().code(0);
    let lines: Vec<_> = ended.text().lines().collect();
    assert_eq!(lines[0], "-rw-r-----             5 2001-09-09 01:46 b.txt");
    assert!(
        lines[1].starts_with("lrwxrwxrwx             - "),
        "{}",
        lines[1]
    );
    assert!(lines[1].ends_with(" link -> b.txt"), "{}", lines[1]);
    assert_eq!(lines[3], "drwxr-xr-x             - 2001-09-09 01:46 a dir/");
}

#[test]
fn programs_get_json() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let rows = sandbox
        .run(&["ls", "--json", &server.address])
        .code(0)
        .json();
    let expected = serde_json::json!({
        "event": "entry", "kind": "file", "path": "b.txt", "size": 5, "mode": "0640",
        "modified": "2001-09-09T01:46:40.000000005Z",
    });
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1]["target"]["path"], "b.txt");
    assert_eq!(rows[2]["path"], "z\\u{1b}[2J\\xff");
    assert_eq!(rows[2]["path_hex"], "7a1b5b324aff");
    assert_eq!(
        (&rows[3]["kind"], &rows[3]["path"]),
        (&"directory".into(), &"a dir".into())
    );
}

#[test]
fn a_long_list_comes_whole_and_a_reader_may_leave() {
    let sandbox = Sandbox::new();
    for number in 0..6000 {
        sandbox.serve_file(
            format!("a rather long name so that pipes fill {number:05}"),
            "",
        );
    }
    let server = sandbox.serve(&[]);
    assert_eq!(
        sandbox
            .run(&["ls", &server.address])
            .code(0)
            .text()
            .lines()
            .count(),
        6000
    );

    // A reader that leaves at once: standard output is a pipe that nobody holds the other end of.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = sandbox.command(&["ls", &server.address]);
    let ended = sandbox
        .start(command.stdout(Stdio::from(writer)))
        .wait()
        .code(0);
    assert_eq!(ended.stderr, "");

    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = sandbox.command(&["ls", &server.address]);
    sandbox
        .start(command.stdout(full))
        .wait()
        .code(6)
        .says("standard output");
}
