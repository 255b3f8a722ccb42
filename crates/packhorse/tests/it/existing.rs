//! `packhorse get` where something is already.

use std::fs;
use std::os::unix::fs::symlink;

use crate::sandbox::Sandbox;

fn changed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "theirs");
    sandbox.serve_file("b.txt", "theirs");
    fs::write(sandbox.path("here/a.txt"), "mine").unwrap();
    sandbox
}

#[test]
fn what_differs_is_refused_and_the_rest_arrives() {
    let sandbox = changed();
    let server = sandbox.serve(&[]);
    let ended = sandbox
        .run(&["get", &server.address])
        .code(1)
        .says("1 failed");
    assert!(
        ended
            .stderr
            .contains("a.txt: it exists here already and differs"),
        "{}",
        ended.stderr
    );
    assert_eq!(sandbox.read("a.txt"), b"mine");
    assert_eq!(sandbox.read("b.txt"), b"theirs");
    let quiet = sandbox.run(&["get", &server.address, "--quiet"]).code(1);
    assert_eq!(quiet.stderr.lines().count(), 1, "{}", quiet.stderr);
}

#[test]
fn it_can_be_replaced() {
    let sandbox = changed();
    let server = sandbox.serve(&[]);
    sandbox
        .run(&["get", &server.address, "--overwrite"])
        .code(0);
    assert_eq!(sandbox.read("a.txt"), b"theirs");
}

#[test]
fn both_can_be_kept() {
    let sandbox = changed();
    let server = sandbox.serve(&[]);
    sandbox
        .run(&["get", &server.address, "--keep-both"])
        .code(0);
    assert_eq!(sandbox.read("a.txt"), b"mine");
    assert_eq!(sandbox.read("a (1).txt"), b"theirs");
}

/// A run that is interrupted and begun again placed everything twice.
#[test]
fn what_was_placed_beside_is_not_fetched_again() {
    let sandbox = changed();
    sandbox.serve_file("large.bin", vec![7; 3 << 20]);
    symlink("b.txt", sandbox.path("served/link")).unwrap();
    fs::write(sandbox.path("here/large.bin"), "mine").unwrap();
    symlink("a.txt", sandbox.path("here/link")).unwrap();
    let server = sandbox.serve(&[]);
    let names = || {
        let entries = fs::read_dir(sandbox.path("here")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let get = ["get", &server.address, "--keep-both"];
    sandbox.run(&get).code(0).says("fetched 3 files");
    let after_first = names();
    assert_eq!(after_first.len(), 7, "{after_first:?}");
    sandbox
        .run(&get)
        .code(0)
        .says("fetched 0 files")
        .says("4 kept");
    assert_eq!(names(), after_first);
    sandbox.serve_file("a.txt", "theirs, newer");
    sandbox.run(&get).code(0).says("fetched 1 file");
    assert_eq!(sandbox.read("a (1).txt"), b"theirs");
    assert_eq!(sandbox.read("a (2).txt"), b"theirs, newer");
}

#[test]
fn a_checksum_sees_what_size_and_time_do_not() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "theirs");
    let server = sandbox.serve(&[]);
    sandbox.run(&["get", &server.address]).code(0);
    let (here, served) = (sandbox.path("here/a"), sandbox.path("served/a"));
    fs::write(&here, "mine..").unwrap();
    let time = fs::metadata(&served).unwrap().modified().unwrap();
    fs::File::options()
        .write(true)
        .open(&here)
        .unwrap()
        .set_modified(time)
        .unwrap();
    sandbox
        .run(&["get", &server.address])
        .code(0)
        .says("1 kept");
    sandbox
        .run(&["get", &server.address, "--checksum"])
        .code(1)
        .says("a: ");
    sandbox
        .run(&["get", &server.address, "--checksum", "--overwrite"])
        .code(0);
    assert_eq!(sandbox.read("a"), b"theirs");
}
