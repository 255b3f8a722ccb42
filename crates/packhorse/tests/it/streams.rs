//! Where addresses come from, and what standard streams carry.

use std::process::Stdio;

use crate::sandbox::Sandbox;

#[test]
fn an_address_comes_from_standard_input_or_the_environment() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    sandbox.serve_file("b", "b");
    let server = sandbox.serve(&[]);
    let (a, b) = (server.at("a"), server.at("b"));
    sandbox
        .run_with_input(&["get", "-"], format!("{a}\n").as_bytes())
        .code(0);
    assert_eq!(sandbox.read("a"), b"a");
    let both = format!("{a}\n  {b}  \r\n");
    sandbox
        .run_with_input(&["get", "-", "-", "-o", "both"], both.as_bytes())
        .code(0);
    assert_eq!(sandbox.read("both/b"), b"b");
    let with_address = |arguments: &[&str], address: &str| {
        let mut command = sandbox.command(arguments);
        sandbox
            .start(command.env("PACKHORSE_ADDRESS", address))
            .wait()
    };
    assert_eq!(with_address(&["get", "-o", "-"], &a).code(0).stdout, b"a");
    assert_eq!(
        with_address(&["ls"], &server.address).code(0).text(),
        "a\nb\n"
    );
    assert_eq!(
        with_address(&["get", &b, "-o", "-"], &a).code(0).stdout,
        b"b"
    );
    with_address(&["get"], "nonsense").code(2);
    sandbox
        .run_with_input(&["get", "-"], b"")
        .code(2)
        .says("no address came");
}

#[test]
fn a_broken_pipe_ends_quietly() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![3; 8 << 20]);
    let server = sandbox.serve(&[]);
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for arguments in [
        &["get", &server.at("large"), "-o", "-"][..],
        &["ls", "--json", &server.address],
        &["--help"],
    ] {
        let ended = sandbox
            .start(sandbox.command(arguments).stdout(closed()))
            .wait()
            .code(0);
        assert_eq!(ended.stderr, "", "{arguments:?}");
    }
    // The files are still wanted.
    let mut command = sandbox.command(&["get", "--json", &server.address]);
    sandbox.start(command.stdout(closed())).wait().code(0);
    assert_eq!(sandbox.read("large").len(), 8 << 20);
    // Nobody listens to the talk either.
    let mut command = sandbox.command(&["get", &server.address, "-o", "again"]);
    let mut command_child = command
        .stderr(closed())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(command_child.wait().unwrap().code(), Some(0));
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_the_files_come_all_the_same() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&[]);
    let full = || {
        Stdio::from(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
    };
    let mut command = sandbox.command(&["get", "--json", &server.address]);
    let ended = sandbox.start(command.stdout(full())).wait().code(6);
    ended.says("standard output cannot be written to");
    assert_eq!(sandbox.read("a"), b"a");
    let mut command = sandbox.command(&["get", &server.at("a"), "-o", "-"]);
    sandbox.start(command.stdout(full())).wait().code(6);
    let ended = sandbox.run(&["get", &server.address, "-o", "b", "--report", "/dev/full"]);
    ended.code(6).says("/dev/full is not complete");
    assert_eq!(sandbox.read("b/a"), b"a");
}
