//! What a source tells of links, special files and damage. Threats 2, 3 and 19.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use packhorse_protocol::entry::{FileInfo, Refusal, Timestamp};
use packhorse_protocol::message::EntryOptions;
use packhorse_storage::clock::wall_clock;
use packhorse_storage::directory_source::DirectorySource;
use packhorse_storage::disk::{Disk, Opening, Operation, Verdict};
use packhorse_storage::root::Method;
use packhorse_storage::selection::{SelectionError, SelectionSource};
use packhorse_storage::source::{Found, Source, SourceEntry};
use rustix::io::Errno;

use crate::trees::{
    FOLLOW, KEEP, METHODS, Tree, content, disk_with, name, open_directory, path, read,
};

#[test]
fn a_link_is_kept_if_it_stays_in_the_tree() {
    let kept = Ok(());
    let leaves = Err(Refusal::LeavesTree);
    let cases = [
        ("a/link", "file", kept),
        ("a/link", "../b", kept),
        ("a/link", "../b/../a/file", kept),
        ("a/link", "nothing", kept),
        ("a/link", "link", kept),
        ("a/link", "file/below", kept),
        ("a/link", ".", kept),
        ("a/link", "..", kept),
        ("link", ".", kept),
        ("link", "..", leaves),
        ("a/link", "../..", leaves),
        ("a/link", "../../root/a/file", leaves),
        ("a/link", "nothing/../../../secret", leaves),
        ("a/link", "../b/out/secret", leaves),
        ("a/link", "../b/absolute", leaves),
        ("a/link", "/etc/passwd", leaves),
        ("a/link", "/proc/self/root/etc/passwd", leaves),
        ("a/link", "/nothing", leaves),
    ];
    for method in METHODS {
        for (link, target, expected) in cases {
            let tree = Tree::new();
            tree.file("a/file", "").directory("b");
            tree.file("../outside/secret", "secret");
            tree.link("b/out", "../../outside").link("b/absolute", "/");
            tree.link(link, target);
            let source = DirectorySource::new(tree.root(Disk::new(), method));
            let context = format!("{link} to {target} by {method:?}");

            let found = source.find(&path(link), KEEP).map(|found| match found {
                Found::Link(link) => assert_eq!(link.target, target.as_bytes(), "{context}"),
                other => panic!("{context}: {other:?}"),
            });
            assert_eq!(found.map_err(|error| error.refusal), expected, "{context}");

            let (parent, last) = path(link).split_last().unwrap();
            let parent = open_directory(&source, &parent.to_string().replace('.', ""));
            let entry = parent.entry(&last).map(|entry| match entry {
                SourceEntry::Link(link) => assert_eq!(link.target, target.as_bytes()),
                other => panic!("{context}: {other:?}"),
            });
            assert_eq!(entry.map_err(|error| error.refusal), expected, "{context}");
        }
    }
}

#[test]
fn links_are_followed_only_within_the_tree() {
    let tree = Tree::new();
    tree.file("a/file", "inner")
        .file("../outside/secret", "secret");
    tree.link("to-file", "a/file").link("to-a", "a");
    tree.link("out", "../outside").link("dangling", "nothing");
    tree.link("loop", "loop")
        .fifo("fifo")
        .link("to-fifo", "fifo");
    for method in METHODS {
        let source = DirectorySource::new(tree.root(Disk::new(), method));
        for (at, expected) in [
            ("to-file", Ok(b"inner".to_vec())),
            ("to-a/file", Ok(b"inner".to_vec())),
            ("to-a", Err(Refusal::IsDirectory)),
            ("out", Err(Refusal::LeavesTree)),
            ("out/secret", Err(Refusal::LeavesTree)),
            ("dangling", Err(Refusal::NotFound)),
            ("loop", Err(Refusal::LinkLoop)),
            ("to-fifo", Err(Refusal::Special)),
            ("a/file/below", Err(Refusal::NotDirectory)),
        ] {
            let found = read(&source, at, FOLLOW).map_err(|error| error.refusal);
            assert_eq!(found, expected, "{at} by {method:?}");
        }
    }
}

#[test]
fn what_is_no_file_is_never_opened() {
    let tree = Tree::new();
    tree.fifo("fifo").link("to-fifo", "fifo");
    let _listener = UnixListener::bind(tree.at("socket")).unwrap();
    let mut names = vec!["fifo", "socket", "to-fifo"];
    let device = rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.at("device"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    );
    match device {
        Ok(()) => names.push("device"),
        Err(error) => eprintln!("SKIPPED: a device cannot be made here ({error})"),
    }
    let opened = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&opened);
    let disk = disk_with(move |call| {
        if matches!(call.operation, Operation::Open(Opening::File)) {
            log.lock().unwrap().push(call.path.to_vec());
        }
        Ok(Verdict::Proceed)
    });
    for method in METHODS {
        let source = DirectorySource::new(tree.root(disk.clone(), method));
        for options in [KEEP, FOLLOW] {
            let Found::Directory(root) = source.find(&path(""), options).unwrap() else {
                panic!("the root is a directory");
            };
            assert_eq!(root.names().unwrap().others(), names.len());
            for &at in &names {
                if at == "to-fifo" && options == KEEP {
                    continue;
                }
                let refused = [
                    source.find(&path(at), options).map(drop),
                    root.entry(&name(at)).map(drop),
                    root.open_file(&name(at)).map(drop),
                ];
                for refused in refused {
                    let refusal = refused.map_err(|error| error.refusal);
                    assert_eq!(refusal, Err(Refusal::Special), "{at} by {method:?}");
                }
                assert_eq!(source.at_hand(&path(at), 100, options), None, "{at}");
                assert!(root.open_directory(&name(at)).is_err());
            }
        }
    }
    assert_eq!(*opened.lock().unwrap(), Vec::<Vec<u8>>::new());
}

/// What `/proc` and `/sys` hold looks like files; read, it waits, acts or has no end.
#[test]
fn what_shows_the_kernel_is_never_opened() {
    if !std::path::Path::new("/proc/self/status").exists() {
        eprintln!("SKIPPED: /proc is not mounted");
        return;
    }
    let disk = disk_with(|call| match call.operation {
        Operation::Open(Opening::File) => panic!("{} is opened", call.path.escape_ascii()),
        _ => Ok(Verdict::Proceed),
    });
    let open = |at: &str| DirectorySource::open(disk.clone(), at.as_ref()).unwrap();
    let chosen = SelectionSource::open(&disk, &["/proc/self/status"]);
    assert!(matches!(chosen, Err(SelectionError::Open { .. })));
    let whole = open("/");
    for options in [KEEP, FOLLOW] {
        for at in [
            "proc",
            "proc/self",
            "proc/kmsg",
            "proc/self/status",
            "proc/sys/kernel",
        ] {
            let refused = whole.find(&path(at), options).unwrap_err().refusal;
            assert_eq!(refused, Refusal::Special, "{at}");
        }
        assert_eq!(
            open("/proc").find(&path(""), options).unwrap_err().refusal,
            Refusal::Special
        );
        let Found::Directory(root) = whole.find(&path(""), options).unwrap() else {
            panic!("the root is a directory");
        };
        let refused = [
            root.entry(&name("proc")).map(drop),
            root.open_directory(&name("proc")).map(drop),
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().refusal, Refusal::Special);
        }
        assert!(root.entry(&name("tmp")).is_ok());
    }
}

/// A FIFO that takes the place of a file between the look and the opening must not hang.
#[test]
fn a_file_swapped_for_a_fifo_does_not_hang() {
    for (method, at_hand) in METHODS.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let tree = Arc::new(Tree::new());
        tree.file("file", "content");
        let swapped = Arc::clone(&tree);
        let done = AtomicBool::new(false);
        let disk = disk_with(move |call| {
            if matches!(call.operation, Operation::Open(Opening::File))
                && !done.swap(true, Ordering::Relaxed)
            {
                fs::remove_file(swapped.at("file")).unwrap();
                swapped.fifo("file");
            }
            Ok(Verdict::Proceed)
        });
        let source = DirectorySource::new(tree.root(disk, method));
        if at_hand {
            assert_eq!(source.at_hand(&path("file"), 100, FOLLOW), None);
        }
        let read = read(&source, "file", KEEP).map_err(|error| error.refusal);
        assert_eq!(read, Err(Refusal::Special), "{method:?}");
    }
}

/// How often one look may meet something else that moves on this machine.
const TRIES_MAX: usize = 1000;

/// Without waiting, a source tells the same as otherwise, or nothing.
#[test]
fn what_is_at_hand_is_what_would_be_found() {
    let tree = Tree::new();
    tree.file("a/file", "inner").file("a/large", [b'x'; 101]);
    tree.file("../outside/secret", "secret").file("empty", "");
    tree.link("to-file", "a/file").link("to-a", "a");
    tree.link("out", "../outside")
        .link("absolute", tree.at("a"));
    for method in METHODS {
        let source = DirectorySource::new(tree.root(Disk::new(), method));
        let chosen = SelectionSource::open(&Disk::new(), &[tree.at("a")]).unwrap();
        for (at, content) in [
            ("a/file", Some("inner")),
            ("to-file", Some("inner")),
            ("to-a/file", Some("inner")),
            ("empty", Some("")),
            ("a/large", None),
            ("a", None),
            ("", None),
            ("a/nothing", None),
            ("a/file/below", None),
            ("out/secret", None),
            ("absolute/file", None),
        ] {
            let can_tell = method == Method::Openat2 && content.is_some() && tells_cached(&tree);
            let sources: [&dyn Source; 2] = [&source, &chosen];
            for source in &sources[..if at.starts_with("a/") { 2 } else { 1 }] {
                // The kernel does not look without waiting while anything is mounted or renamed, nor
                // at what has left its memory, until somebody waits for it.
                let tries = if can_tell { TRIES_MAX } else { 1 };
                let found = (0..tries).find_map(|_| {
                    let found = source.at_hand(&path(at), 100, FOLLOW);
                    if found.is_none() && can_tell {
                        assert_eq!(fs::read(tree.at(at)).unwrap(), content.unwrap().as_bytes());
                    }
                    found
                });
                let Some(found) = found else {
                    assert!(!can_tell, "{at} by {method:?}");
                    continue;
                };
                assert_eq!(Some(found.content.as_slice()), content.map(str::as_bytes));
                let file = source.find(&path(at), FOLLOW).unwrap().into_file().unwrap();
                assert_eq!(found.info, file.info().unwrap());
                assert_eq!(found.state, file.state().unwrap());
            }
            assert_eq!(source.at_hand(&path(at), 100, KEEP), None);
        }
    }
}

/// Whether the file system of `tree` says what the kernel has of it in memory.
fn tells_cached(tree: &Tree) -> bool {
    let file = fs::File::open(tree.at("a/file")).unwrap();
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    let told = rustix::io::preadv2(file, &mut parts, 0, rustix::io::ReadWriteFlags::NOWAIT);
    if let Err(error) = told {
        eprintln!("SKIPPED: what is in memory cannot be asked for here ({error})");
    }
    told.is_ok()
}

/// At every single call on the way, the directory or the file becomes a link to one outside.
#[test]
fn what_is_swapped_at_any_call_shows_nothing_outside() {
    for method in METHODS {
        for (options, swapped) in [
            (KEEP, "a"),
            (FOLLOW, "a"),
            (KEEP, "a/file"),
            (FOLLOW, "a/file"),
        ] {
            for at_call in 0..36 {
                let tree = Arc::new(Tree::in_memory());
                tree.file("a/file", "inner")
                    .file("../outside/a/file", "secret");
                let (to_swap, calls) = (Arc::clone(&tree), Mutex::new(0));
                let disk = disk_with(move |_| {
                    let mut calls = calls.lock().unwrap();
                    *calls += 1;
                    if *calls == at_call {
                        fs::rename(to_swap.at(swapped), to_swap.at("moved")).unwrap();
                        to_swap.link(swapped, to_swap.at("../outside").join(swapped));
                    }
                    Ok(Verdict::Proceed)
                });
                let source = DirectorySource::new(tree.root(disk, method));
                for _ in 0..3 {
                    let through_path = read(&source, "a/file", options);
                    let through_names = source.find(&path(""), options).and_then(|root| {
                        let Found::Directory(root) = root else {
                            panic!("the root is a directory");
                        };
                        let directory = root.open_directory(&name("a"))?;
                        content(&*directory.open_file_seen(&name("file"))?)
                    });
                    let at_hand = source.at_hand(&path("a/file"), 100, options);
                    let contents = [through_path.ok(), through_names.ok()];
                    let at_hand = at_hand.map(|file| file.content);
                    for content in contents.into_iter().chain([at_hand]).flatten() {
                        assert_eq!(content, b"inner", "{swapped} at {at_call} by {method:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_directory_swapped_in_a_loop_shows_nothing_outside() {
    const ROUNDS: usize = 3_000;
    let tree = Arc::new(Tree::new());
    tree.file("a/file", "inner")
        .file("../outside/file", "secret");
    tree.link("link", "../outside");
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = thread::spawn({
        let (tree, stop) = (Arc::clone(&tree), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let (a, link) = (tree.at("a"), tree.at("link"));
                rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &link, exchange)
                    .unwrap();
            }
        }
    });
    let mut read_inner = 0;
    for round in 0..ROUNDS {
        let method = METHODS[round % 2];
        let options = [KEEP, FOLLOW][round / 2 % 2];
        let source = DirectorySource::new(tree.root(Disk::new(), method));
        let through_path = read(&source, "a/file", options);
        let Found::Directory(root) = source.find(&path(""), options).unwrap() else {
            panic!("the root is a directory");
        };
        let through_names = root
            .open_directory(&name("a"))
            .and_then(|directory| content(&*directory.open_file(&name("file"))?));
        for content in [through_path, through_names].into_iter().flatten() {
            assert_eq!(content, b"inner", "round {round}");
            read_inner += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(read_inner > 0, "the directory was never there");
}

#[test]
fn the_systems_errors_become_refusals() {
    let tree = Tree::new();
    tree.file("file", "content");
    for (errno, refusal) in [
        (Errno::MFILE, Refusal::Busy),
        (Errno::NFILE, Refusal::Busy),
        (Errno::NOMEM, Refusal::Busy),
        (Errno::ACCESS, Refusal::PermissionDenied),
        (Errno::PERM, Refusal::PermissionDenied),
        (Errno::XDEV, Refusal::LeavesTree),
        (Errno::NOENT, Refusal::NotFound),
        (Errno::NAMETOOLONG, Refusal::UnusableName),
        (Errno::IO, Refusal::Unreadable),
        (Errno::NXIO, Refusal::Special),
    ] {
        for opening in [Opening::Resolve, Opening::File] {
            let disk = disk_with(move |call| match call.operation {
                Operation::Open(opened) if opened == opening => Err(errno.into()),
                _ => Ok(Verdict::Proceed),
            });
            let error = read(&*tree.source_on(disk), "file", KEEP).unwrap_err();
            assert_eq!(error.refusal, refusal, "{errno} at {opening:?}");
        }
    }
    let stops = disk_with(|call| match call.operation {
        Operation::Read { offset: 3.., .. } => Err(Errno::IO.into()),
        Operation::Read { .. } => Ok(Verdict::Shorten(3)),
        _ => Ok(Verdict::Proceed),
    });
    let error = read(&*tree.source_on(stops), "file", KEEP).unwrap_err();
    assert_eq!(error.refusal, Refusal::Unreadable);
    let short = disk_with(|_| Ok(Verdict::Shorten(0)));
    assert_eq!(
        read(&*tree.source_on(short), "file", KEEP).unwrap(),
        b"content"
    );
}

fn info(source: &dyn Source, at: &str, options: EntryOptions) -> FileInfo {
    let file = source
        .find(&path(at), options)
        .unwrap()
        .into_file()
        .unwrap();
    let info = file.info().unwrap();
    let (parent, last) = path(at).split_last().unwrap();
    let Found::Directory(parent) = source.find(&parent, options).unwrap() else {
        panic!("a parent is a directory");
    };
    let entry = parent.entry(&last).unwrap();
    assert_eq!(entry, SourceEntry::File(info.clone()), "{at}");
    info
}

#[test]
fn a_file_is_told_in_full() {
    let tree = Tree::new();
    tree.file("a", "content").file("b", "content");
    fs::hard_link(tree.at("a"), tree.at("c")).unwrap();
    let sparse = fs::File::create(tree.at("sparse")).unwrap();
    sparse.set_len(10 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 5 << 20).unwrap();
    let source = tree.source();
    let with_links = EntryOptions {
        hard_links: true,
        ..KEEP
    };
    let (a, b, c) = (
        info(&*source, "a", with_links),
        info(&*source, "b", with_links),
        info(&*source, "c", with_links),
    );
    assert_eq!(a, c);
    assert_ne!(a.link_group, 0);
    assert_eq!(b.link_group, 0);
    assert_eq!(info(&*source, "a", KEEP).link_group, 0);
    assert_ne!(a.version, b.version);
    assert!(!a.sparse);

    let file = source
        .find(&path("sparse"), KEEP)
        .unwrap()
        .into_file()
        .unwrap();
    assert!(file.info().unwrap().sparse);
    let data = file.next_data(0).unwrap().unwrap();
    assert!(
        data.start <= 5 << 20 && data.end > 5 << 20 && data.end < 10 << 20,
        "{data:?}"
    );
    assert_eq!(file.next_data(data.end).unwrap(), None);
    assert_eq!(file.next_data(11 << 20).unwrap(), None);
}

#[test]
fn a_version_changes_with_content_times_and_object() {
    let tree = Tree::new();
    tree.file("file", "content");
    let source = tree.source();
    let version = || info(&*source, "file", KEEP).version;
    let mut versions = vec![version()];
    let open = || {
        fs::File::options()
            .append(true)
            .open(tree.at("file"))
            .unwrap()
    };
    let epoch = std::time::UNIX_EPOCH;
    let changes: [&dyn Fn(); 5] = [
        &|| fs::write(tree.at("file"), "longer content").unwrap(),
        &|| open().set_modified(epoch).unwrap(),
        &|| {
            open()
                .set_modified(epoch + std::time::Duration::from_nanos(1))
                .unwrap()
        },
        &|| {
            // Only the time that no program can set tells of this one.
            let modified = open().metadata().unwrap().modified().unwrap();
            thread::sleep(std::time::Duration::from_millis(20));
            fs::write(tree.at("file"), "LONGER CONTENT").unwrap();
            open().set_modified(modified).unwrap();
        },
        &|| {
            fs::write(tree.at("other"), "longer content").unwrap();
            fs::rename(tree.at("other"), tree.at("file")).unwrap();
        },
    ];
    for change in changes {
        change();
        versions.push(version());
    }
    for (index, version) in versions.iter().enumerate() {
        assert!(
            !versions[..index].contains(version),
            "change {index} went unseen"
        );
    }
    assert_eq!(version(), version());
}

#[test]
fn a_file_is_settled_two_seconds_after_its_last_change() {
    let tree = Tree::new();
    tree.file("file", "content");
    let long_ago = std::time::UNIX_EPOCH;
    let opened = fs::File::options()
        .append(true)
        .open(tree.at("file"))
        .unwrap();
    opened.set_modified(long_ago).unwrap();
    let source = tree.source();
    let file = source
        .find(&path("file"), KEEP)
        .unwrap()
        .into_file()
        .unwrap();
    let touched = file.state().unwrap().touched;
    let after =
        |seconds| Timestamp::new(touched.seconds() + seconds, touched.nanoseconds()).unwrap();
    assert!(touched.is_before_by(wall_clock(), 0));
    assert!(
        !file.settled(after(1)).unwrap(),
        "its times were set only now"
    );
    assert!(file.settled(after(2)).unwrap());
}

#[test]
fn the_users_attributes_are_told_on_request() {
    let tree = Tree::new();
    tree.file("directory/file", "content");
    let value = vec![b'v'; 300];
    let set = |at: &str, name: &str| {
        rustix::fs::setxattr(tree.at(at), name, &value, rustix::fs::XattrFlags::empty())
    };
    if let Err(error) = set("directory/file", "user.b") {
        eprintln!("SKIPPED: no extended attributes here ({error})");
        return;
    }
    set("directory/file", "user.a").unwrap();
    set("directory", "user.c").unwrap();
    // Only root may; what belongs to the system is never told.
    let _ = set("directory/file", "security.packhorse");
    let source = tree.source();
    let with_xattrs = EntryOptions {
        xattrs: true,
        ..KEEP
    };
    let names = |xattrs: &[packhorse_protocol::entry::Xattr]| {
        assert!(xattrs.iter().all(|xattr| xattr.value == value));
        xattrs
            .iter()
            .map(|xattr| String::from_utf8(xattr.name.clone()).unwrap())
            .collect::<Vec<_>>()
    };
    let file = info(&*source, "directory/file", with_xattrs);
    assert_eq!(names(&file.xattrs), ["user.a", "user.b"]);
    assert!(info(&*source, "directory/file", KEEP).xattrs.is_empty());
    let Found::Directory(directory) = source.find(&path("directory"), with_xattrs).unwrap() else {
        panic!("it is a directory");
    };
    assert_eq!(names(&directory.info().unwrap().xattrs), ["user.c"]);
}

#[test]
fn a_selection_is_served_under_its_own_names() {
    let tree = Tree::new();
    tree.file("x/dir/inner", "inner").file("y/file", "file");
    tree.file("y/dir/other", "")
        .link("z", "y/file")
        .fifo("fifo");
    tree.link("x/dir/out", "../../y/file");
    let open = |below: &[&str]| {
        let paths: Vec<_> = below.iter().map(|below| tree.at(below)).collect();
        SelectionSource::open(&Disk::new(), &paths)
    };
    let source = open(&["x/dir", "y/file", "z"]).unwrap();
    let root = open_directory(&source, "");
    let names = root.names().unwrap();
    let listed: Vec<_> = (0..names.len())
        .map(|index| names.name(index).to_string())
        .collect();
    assert_eq!(listed, ["file", "z", "dir"]);
    assert_eq!(read(&source, "dir/inner", KEEP).unwrap(), b"inner");
    assert_eq!(read(&source, "file", KEEP).unwrap(), b"file");
    assert_eq!(read(&source, "z", KEEP).unwrap(), b"file");
    for (at, refusal) in [
        ("file/below", Refusal::NotDirectory),
        ("nothing", Refusal::NotFound),
        ("dir", Refusal::IsDirectory),
        ("dir/out", Refusal::LeavesTree),
    ] {
        assert_eq!(
            read(&source, at, FOLLOW).unwrap_err().refusal,
            refusal,
            "{at}"
        );
    }
    // A file that takes the place of a chosen one is served in its stead.
    tree.file("y/new", "newer");
    fs::rename(tree.at("y/new"), tree.at("y/file")).unwrap();
    assert_eq!(read(&source, "file", KEEP).unwrap(), b"newer");

    assert!(matches!(
        open(&["x/dir", "y/dir"]),
        Err(SelectionError::SameName { .. })
    ));
    assert!(matches!(open(&["fifo"]), Err(SelectionError::Open { .. })));
    assert!(matches!(
        open(&["nothing"]),
        Err(SelectionError::Open { .. })
    ));
    assert!(open(&["y/."]).unwrap().find(&path("y"), KEEP).is_ok());
    assert!(open(&["x/.."]).unwrap().find(&path("root"), KEEP).is_ok());
}

#[test]
fn names_that_are_not_text_are_served() {
    let tree = Tree::new();
    let longest = [b'n'; 255];
    for bytes in [&b"\xff\xfe"[..], b"\n\x1b[2J", b"a b", &longest] {
        tree.file(OsStr::from_bytes(bytes), bytes);
    }
    tree.directory(".packhorse-partial/inner");
    let source = tree.source();
    let root = open_directory(&*source, "");
    let names = root.names().unwrap();
    assert_eq!(names.len(), 4);
    assert!(names.unusable().is_empty());
    for index in 0..names.len() {
        let name = names.name(index);
        let file = root.open_file(&name).unwrap();
        assert_eq!(content(&*file).unwrap(), name.as_bytes());
    }
}

#[test]
fn an_interrupted_listing_is_an_error_of_that_directory() {
    let tree = Tree::new();
    tree.file("a/file", "").file("b/file", "");
    let bad = tree.at("a").into_os_string().into_encoded_bytes();
    let disk = disk_with(move |call| match call.operation {
        Operation::List if call.path == bad => Err(io::Error::from(Errno::IO)),
        _ => Ok(Verdict::Proceed),
    });
    let source = tree.source_on(disk);
    let names = |at| {
        open_directory(&*source, at)
            .names()
            .map(|names| names.len())
    };
    assert_eq!(names("a").unwrap_err().refusal, Refusal::Unreadable);
    assert_eq!(names("b").unwrap(), 1);
}
