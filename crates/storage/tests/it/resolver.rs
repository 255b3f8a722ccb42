//! Paths and links against both resolvers. Threats 1, 2 and 3.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use packhorse_storage::disk::Disk;
use packhorse_storage::root::{Links, Root};

use crate::trees::{METHODS, path};

/// A path, and what comes of it with links followed and with links refused: content or error number.
type Case = (
    &'static str,
    Result<&'static str, i32>,
    Result<&'static str, i32>,
);

/// A tree `root` beside a directory `outside`, with every kind of link between them.
fn tree(base: &Path) {
    let make = |file: &str| {
        let file = base.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, file.file_name().unwrap().as_encoded_bytes()).unwrap();
    };
    make("outside/secret");
    make("root/file");
    make("root/a/b/inner");
    let outside = base.join("outside");
    let outside = outside.to_str().unwrap();
    for (target, link) in [
        ("file", "to-file"),
        ("a/b", "to-directory"),
        ("../file", "a/up-to-file"),
        ("b/../../a/b/./inner", "a/about"),
        ("to-file", "to-link"),
        ("b/", "a/slash"),
        ("../file/", "a/file-slash"),
        ("nothing", "dangling"),
        ("self", "self"),
        ("pong", "ping"),
        ("ping", "pong"),
        ("..", "a/up"),
        (".", "here"),
        ("..", "out"),
        ("../outside/secret", "out-file"),
        ("../outside", "out-directory"),
        ("a/../../outside/secret", "out-about"),
        ("../root/file", "out-and-back"),
        (outside, "absolute"),
        ("/proc/self/root", "proc-root"),
        ("/proc/self/cwd", "proc-cwd"),
        ("out-directory", "out-twice"),
    ] {
        symlink(target, base.join("root").join(link)).unwrap();
    }
}

#[test]
fn every_path_stays_beneath_the_root() {
    const LEAVES: i32 = rustix::io::Errno::XDEV.raw_os_error();
    const LOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();
    const NOT_FOUND: i32 = rustix::io::Errno::NOENT.raw_os_error();
    const NOT_DIRECTORY: i32 = rustix::io::Errno::NOTDIR.raw_os_error();
    let base = tempfile::tempdir().unwrap();
    tree(base.path());
    let cases: &[Case] = &[
        ("file", Ok("file"), Ok("file")),
        ("a/b/inner", Ok("inner"), Ok("inner")),
        ("to-file", Ok("file"), Err(LOOP)),
        ("to-directory/inner", Ok("inner"), Err(LOOP)),
        ("a/up-to-file", Ok("file"), Err(LOOP)),
        ("a/about", Ok("inner"), Err(LOOP)),
        ("to-link", Ok("file"), Err(LOOP)),
        ("a/slash/inner", Ok("inner"), Err(LOOP)),
        ("a/file-slash", Err(NOT_DIRECTORY), Err(LOOP)),
        ("a/up/file", Ok("file"), Err(LOOP)),
        ("here/here/here/file", Ok("file"), Err(LOOP)),
        ("a/up/a/up/a/b/inner", Ok("inner"), Err(LOOP)),
        ("dangling", Err(NOT_FOUND), Err(LOOP)),
        ("self", Err(LOOP), Err(LOOP)),
        ("ping", Err(LOOP), Err(LOOP)),
        ("nothing", Err(NOT_FOUND), Err(NOT_FOUND)),
        ("file/below", Err(NOT_DIRECTORY), Err(NOT_DIRECTORY)),
        ("out/outside/secret", Err(LEAVES), Err(LOOP)),
        ("out-file", Err(LEAVES), Err(LOOP)),
        ("out-directory/secret", Err(LEAVES), Err(LOOP)),
        ("out-about", Err(LEAVES), Err(LOOP)),
        ("out-and-back", Err(LEAVES), Err(LOOP)),
        ("absolute/secret", Err(LEAVES), Err(LOOP)),
        ("proc-root/etc/passwd", Err(LEAVES), Err(LOOP)),
        ("proc-cwd/Cargo.toml", Err(LEAVES), Err(LOOP)),
        ("out-twice/secret", Err(LEAVES), Err(LOOP)),
    ];
    for method in METHODS {
        let root = Root::open_with(Disk::new(), &base.path().join("root"), method).unwrap();
        for (asked, followed, refused) in cases {
            for (links, expected) in [(Links::Follow, followed), (Links::Refuse, refused)] {
                let read = root.open_file(&path(asked), links).map(|file| {
                    let mut content = [0; 16];
                    let length = file.read_at(0, &mut content).unwrap();
                    String::from_utf8_lossy(&content[..length]).into_owned()
                });
                let read = read
                    .as_deref()
                    .map_err(|error| error.raw_os_error().unwrap_or(0));
                assert_eq!(read, *expected, "{asked} {links:?} {method:?}");
            }
        }
    }
}
