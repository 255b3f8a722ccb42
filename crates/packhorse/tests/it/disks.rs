//! Disks that are full or may not be written to. (THREATS 26.)

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::sandbox::{Sandbox, walk};

const MIB: usize = 1 << 20;

/// Runs `script` in a shell where `here/dest` is a file system in memory of `size`, which nobody
/// else sees, with `$P` for the program. `None`, and says so, where this machine does not let us.
fn run_on_mount(sandbox: &Sandbox, size: &str, script: &str) -> Option<Vec<String>> {
    let destination = sandbox.path("here").join("dest");
    fs::create_dir_all(&destination).unwrap();
    let mount = format!("mount -t tmpfs -o size={size} tmpfs dest");
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.current_dir(sandbox.path("here"));
        command.env("P", env!("CARGO_BIN_EXE_packhorse"));
        command.env("PACKHORSE_STATE", sandbox.path("state"));
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let tried = unshare(&mount).status();
    if !tried.is_ok_and(|status| status.success()) {
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!is_ci, "where CI=true, mounting must be possible");
        eprintln!("SKIPPED: it needs the right to mount in a namespace of its own");
        return None;
    }
    let ended = sandbox
        .start(&mut unshare(&format!("{mount} && {script}")))
        .wait()
        .code(0);
    Some(ended.text().lines().map(str::to_owned).collect())
}

#[test]
fn a_full_disk_is_said_and_a_later_run_completes() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a-small", "small");
    sandbox.serve_file("large", vec![1; 9 * MIB]);
    sandbox.serve_file("z/other", vec![2; 3 * MIB]);
    let server = sandbox.serve(&[]);
    let script = format!(
        "head -c 8M /dev/zero > dest/mine; \
         $P get {address} -o dest --connections 1 2>first.err; echo $?; \
         rm dest/mine; \
         $P get {address} -o dest 2>second.err; echo $?; \
         cp -a dest copy",
        address = server.address
    );
    let Some(codes) = run_on_mount(&sandbox, "16m", &script) else {
        return;
    };
    let read = |name: &str| String::from_utf8(sandbox.read(name)).unwrap();
    assert_eq!(
        codes,
        ["6", "0"],
        "{} {}",
        read("first.err"),
        read("second.err")
    );
    let said = read("first.err");
    assert!(
        said.contains("packhorse: the disk has no room for `large`: 9.44 MB are needed"),
        "{said}"
    );
    assert!(
        said.contains("2 files") && said.contains("1 failed"),
        "{said}"
    );
    assert_eq!(
        walk(&sandbox.path("here/copy")),
        walk(&sandbox.path("served"))
    );
}

#[test]
fn a_disk_with_little_room_is_not_measured_and_why_is_said() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![1; 2 * MIB]);
    let server = sandbox.serve(&[]);
    let script = format!(
        "$P bench {address} -o dest --time 1s >told; echo $?; LC_ALL=zh_CN.UTF-8 $P bench \
         {address} -o dest --time 1s >told.zh; echo $?; ls -A dest | wc -l",
        address = server.address
    );
    let Some(codes) = run_on_mount(&sandbox, "8m", &script) else {
        return;
    };
    assert_eq!(codes, ["6", "6", "0"]);
    let read = |name: &str| String::from_utf8(sandbox.read(name)).unwrap();
    let (told, told_zh) = (read("told"), read("told.zh"));
    assert!(
        told.contains("less than 128 MiB are free in dest"),
        "{told}"
    );
    assert!(told_zh.contains("dest 的可用空间不足 128 MiB"), "{told_zh}");
}

/// Where nobody can say before how much a file takes, the disk is full in the middle.
#[test]
fn a_disk_that_becomes_full_keeps_what_has_arrived() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("g", "good");
    let large = sandbox.path("served").join("large");
    let file = fs::File::create(&large).unwrap();
    // A hole at its end makes it a sparse file.
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![1; 9 * MIB], 0).unwrap();
    file.set_len(16 * MIB as u64).unwrap();
    drop(file);
    let server = sandbox.serve(&[]);
    let script = format!(
        "head -c 6M /dev/zero > dest/mine; \
         $P get {address} -o dest 2>first.err; echo $?; \
         rm dest/mine; \
         $P get {address} -o dest --report report 2>second.err; echo $?; \
         cmp dest/large ../served/large && ls -A dest",
        address = server.address
    );
    let Some(codes) = run_on_mount(&sandbox, "12m", &script) else {
        return;
    };
    let read = |name: &str| String::from_utf8(sandbox.read(name)).unwrap();
    let (first, second) = (read("first.err"), read("second.err"));
    assert_eq!(codes, ["6", "0", "g", "large"], "{first} {second}");
    assert!(
        first.contains("the disk is full: cannot write `large`"),
        "{first}"
    );
    assert!(
        first.contains("of 1 file half done: run the same command again to go on"),
        "{first}"
    );
    assert!(second.contains("of an interrupted run"), "{second}");
}

#[test]
fn a_directory_that_may_not_be_written_to_is_named() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("d/f", "f");
    sandbox.serve_file("g", vec![1; 2 * MIB]);
    let server = sandbox.serve(&[]);
    // Root may write anywhere but on a file system that takes nothing.
    let script = format!(
        "mkdir dest/d; mount -t tmpfs -o ro tmpfs dest/d; \
         $P get {address} -o dest 2>err; echo $?; ls -A dest",
        address = server.address
    );
    if let Some(lines) = run_on_mount(&sandbox, "16m", &script) {
        let said = String::from_utf8(sandbox.read("err")).unwrap();
        assert_eq!(lines, ["6", "d", "g"], "{said}");
        assert!(
            said.contains("packhorse: `d/f` ") && said.contains("Read-only"),
            "{said}"
        );
    }
    if rustix::process::geteuid().is_root() {
        return;
    }
    let closed = sandbox.path("here").join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let ended = sandbox.run(&["get", &server.address, "-o", "closed"]);
    ended.code(6).says("Permission denied");
}
