//! Everything a tree can hold arrives exactly, as `rsync` sees it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

use crate::sandbox::Sandbox;

const MIB: usize = 1 << 20;

/// What is left out of a tree for what it is.
const LEFT_OUT: [&str; 6] = [
    "absolute",
    "climbing",
    "fifo",
    "null device",
    "round about",
    "socket",
];

fn make_names(root: &Path) {
    let names: [&[u8]; 15] = [
        "na\u{ef}ve \u{6587}\u{5b57}.txt".as_bytes(),
        b"line\nbreak",
        b"tab\there",
        b"escape\x1b[31m",
        b"quote\"'`",
        b"back\\slash",
        b"\xff\xfe\x80",
        &[b'n'; 255],
        b"-dash",
        b" spaces ",
        b"%2e%2e",
        b"*glob?[x]",
        b"CON",
        b"#hash",
        b"trailing.",
    ];
    for name in names {
        fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
    }
}

fn make_sizes(root: &Path) {
    let around = |size: usize| [size - 1, size, size + 1];
    let sizes = [0, 1].into_iter().chain(
        [1 << 10, 256 << 10, MIB, 3 * MIB]
            .into_iter()
            .flat_map(around),
    );
    for size in sizes {
        let content: Vec<u8> = (0..size).map(|at| (at * 31 + at / 251) as u8).collect();
        fs::write(root.join(format!("size {size}")), content).unwrap();
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(40 * MIB as u64).unwrap();
    sparse.write_all_at(&[7; 5000], 20 * MIB as u64).unwrap();
    sparse.write_all_at(b"x", 33 * MIB as u64 + 12_345).unwrap();
    File::create(root.join("hole"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    fs::write(root.join("zeros, not a hole"), vec![0; 2 * MIB]).unwrap();
}

fn make_directories(root: &Path) {
    let mut deep = root.to_owned();
    for level in 0..40 {
        deep.push(format!("level {level}"));
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("at the bottom"), "deep").unwrap();
    for name in ["empty", "read only"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(root.join("read only/file"), "here").unwrap();
}

fn make_links(root: &Path) {
    let links = [
        ("link", "size 1"),
        ("to a directory", "level 0/level 1"),
        ("dangling", "nowhere/at all"),
        ("to itself", "to itself"),
        ("level 0/up", "../size 1"),
        ("level 0/level 1/to the root", "../.."),
        ("by way of a directory", "level 0/../size 1"),
        ("absolute", "/etc/passwd"),
        ("climbing", "../../outside"),
        ("round about", "level 0/../../outside"),
    ];
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
    }
}

fn make_specials(root: &Path) {
    let make = |name, kind| {
        mknodat(
            CWD,
            root.join(name),
            kind,
            Mode::from_raw_mode(0o600),
            0x103,
        )
    };
    make("fifo", FileType::Fifo).unwrap();
    UnixListener::bind(root.join("socket")).unwrap();
    if make("null device", FileType::CharacterDevice).is_err() {
        eprintln!("SKIPPED: a device is not tried, since only root can make one");
        make("null device", FileType::Fifo).unwrap();
    }
}

/// Gives every entry modes and times of its own, the deepest first.
fn make_metadata(root: &Path) {
    for (number, mode) in [0o000, 0o400, 0o444, 0o600, 0o755, 0o777, 0o1644, 0o111]
        .into_iter()
        .enumerate()
    {
        let path = root.join(format!("mode {number}"));
        fs::write(&path, "m").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(root.join("read only"), fs::Permissions::from_mode(0o555)).unwrap();
    let mut seconds = -3;
    for path in entries(root).into_iter().rev().chain([root.to_owned()]) {
        seconds += 1_234_567;
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: 999_999_999 - seconds % 1_000_000,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// All entries below `root`, each behind its directory.
fn entries(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                waiting.push(path.clone());
            }
            all.push(path);
        }
    }
    all
}

/// What `rsync` would still have to do, by content; what is left out is not compared.
fn differences(from: &Path, to: &Path) -> String {
    let mut command = Command::new("rsync");
    command.args([
        "-rlptnc",
        "--modify-window=-1",
        "--delete",
        "--itemize-changes",
    ]);
    for name in LEFT_OUT {
        command.arg(format!("--exclude=/{name}"));
    }
    let output = command.arg(from.join("")).arg(to.join("")).output();
    let output = output.expect("rsync is there: `.ci/run` and HACKING.md say how to install it");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_tree_of_everything_arrives_exactly_and_once() {
    let sandbox = Sandbox::new();
    let served = sandbox.path("served");
    make_names(&served);
    make_sizes(&served);
    make_directories(&served);
    make_links(&served);
    make_specials(&served);
    make_metadata(&served);
    let server = sandbox.serve(&[]);
    let fetched = sandbox.path("here").join("all of it");

    let first = sandbox
        .run(&["get", &server.address, "-o", "all of it"])
        .code(0);
    for name in LEFT_OUT {
        assert!(
            first.stderr.contains(&format!("skipped {name}: ")),
            "{name}: {}",
            first.stderr
        );
        assert!(
            fetched.join(name).symlink_metadata().is_err(),
            "{name} is there"
        );
    }
    assert_eq!(differences(&served, &fetched), "");
    for name in ["sparse", "hole", "zeros, not a hole"] {
        let blocks = |root: &Path| root.join(name).metadata().unwrap().blocks();
        assert_eq!(blocks(&fetched), blocks(&served), "what {name} occupies");
    }
    assert!(!fetched.join(".packhorse-partial").exists());

    let again = sandbox
        .run(&["get", &server.address, "-o", "all of it"])
        .code(0);
    assert!(again.stderr.contains("fetched 0 files"), "{}", again.stderr);
    assert_eq!(differences(&served, &fetched), "");

    for name in LEFT_OUT {
        let path = name.replace(' ', "%20");
        sandbox.run(&["get", &server.at(&path)]).code(1).says(&path);
    }
    assert_eq!(server.stop().code, Some(0));
}
