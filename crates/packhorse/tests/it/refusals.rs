//! What is refused before anything happens, and with which exit code.

use std::net::TcpListener;
use std::time::Duration;

use crate::sandbox::Sandbox;

/// A key that could be one: no server has it.
const KEY: &str = "aeaqcaibaeaqcaibaeaqcaibaeaqeaqcaibaeaqcaibaeaqcaibae";

#[test]
fn what_makes_no_sense_is_usage() {
    let sandbox = Sandbox::new();
    let address = format!("ph://{KEY}@127.0.0.1:1/a");
    let address = address.as_str();
    let cases: [(&[&str], &str); 25] = [
        (&["get"], "no address"),
        (&["ls"], "no address"),
        (&["shell"], "no address"),
        (&["get", ""], "ph://"),
        (&["get", "ftp://127.0.0.1/"], "begins with `ph://`"),
        (&["get", "127.0.0.1:7225"], "begins with `ph://`"),
        (&["get", "ph:///a"], "host"),
        (&["get", "ph://127.0.0.1:0/a"], "port"),
        (&["get", "ph://127.0.0.1/a/../b"], "`.` or `..`"),
        (&["get", "ph://127.0.0.1/%zz"], "%25"),
        (
            &["get", address, "--overwrite", "--keep-both"],
            "cannot be used with",
        ),
        (
            &["get", address, "-o", "-", "--as", "b"],
            "--as makes no sense",
        ),
        (
            &["get", address, "-o", "-", "--json"],
            "--json makes no sense",
        ),
        (
            &["get", address, address, "-o", "-"],
            "`-o -` writes one file out",
        ),
        (&["get", address, address, "--as", "b"], "a single ADDRESS"),
        (&["get", address, "--as", "a/b"], "no name for a file"),
        (&["get", address, "--as", ".."], "no name for a file"),
        (
            &["get", address, "--expect", "abc"],
            "64 hexadecimal digits",
        ),
        (&["get", address, "--rate-limit", "0"], "at least 1 byte"),
        (
            &["get", address, "--retry-for", "soon"],
            "a number with a unit",
        ),
        (&["get", address, "--connections", "0"], "from 1 to 64"),
        (&["get", address, "--exclude", "["], "not a pattern"),
        (&["ls", address, address], "unexpected argument"),
        (&["shell", address, "--prefix", "a/"], "no name for a file"),
        (&["serve", "--listen", "nowhere:0:0"], "HOST:PORT"),
    ];
    for (arguments, message) in cases {
        let ended = sandbox.run(arguments).code(2).says(message);
        assert!(ended.stdout.is_empty(), "{arguments:?}");
        assert!(
            !ended.stderr.contains(KEY),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
}

#[test]
fn a_key_that_cannot_be_right_is_a_wrong_key() {
    let sandbox = Sandbox::new();
    for key in [
        "",
        "x",
        &KEY[1..],
        &KEY.replace('b', "1"),
        &KEY.to_uppercase(),
        &KEY.repeat(2),
    ] {
        for command in ["get", "ls", "shell"] {
            let ended = sandbox
                .run(&[command, &format!("ph://{key}@127.0.0.1:1/")])
                .code(4);
            assert!(ended.stderr.contains("the key in the address is not right"));
            assert!(
                key.is_empty() || key == "x" || !ended.stderr.contains(key),
                "{}",
                ended.stderr
            );
        }
    }
}

#[test]
fn a_port_where_nobody_listens_is_no_connection_at_once() {
    let sandbox = Sandbox::new();
    // Taken and given back, so that it is free for a moment.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for address in [format!("ph://{KEY}@{free}/"), format!("ph://{free}/")] {
        for command in ["get", "ls", "shell"] {
            let ended = sandbox
                .run(&[command, &address])
                .code(3)
                .says("refused the connection");
            assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
        }
    }
}

#[test]
fn what_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&[]);
    for command in ["get", "ls", "shell"] {
        sandbox
            .run(&[command, &server.at("b")])
            .code(1)
            .says("/b: it does not exist");
        sandbox
            .run(&[command, &server.at("a/")])
            .code(1)
            .says("it is not a directory");
    }
    sandbox
        .run(&["get", &server.at("b"), "-o", "-"])
        .code(1)
        .says("/b: it does not exist");
    sandbox.run(&["serve", "nothing"]).code(1).says("nothing");
    // One that does not exist, and one that does.
    let ended = sandbox
        .run(&["get", &server.at("b"), &server.at("a")])
        .code(1);
    assert_eq!(sandbox.read("a"), b"a", "{}", ended.stderr);
}

#[test]
fn this_machines_disk_has_its_own_code() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&[]);
    let address = server.at("a");
    std::fs::write(sandbox.path("here/file"), "").unwrap();
    sandbox.run(&["get", &address, "-o", "file"]).code(6);
    sandbox
        .run(&["get", &address, "--report", "nowhere/report"])
        .code(6)
        .says("nowhere/report");
    sandbox
        .run(&["get", &address, "--exclude-from", "nowhere"])
        .code(6)
        .says("nowhere");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    sandbox
        .run(&["serve", "--listen", &place])
        .code(6)
        .says(&place);
}
