//! The calls by which a destination is written, on a sound disk and on one that fails.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};

use packhorse_protocol::entry::{Mode, Timestamp};
use packhorse_protocol::path::RelativePath;
use packhorse_storage::directory::{Directory, Part};
use packhorse_storage::disk::{Disk, Opening, Operation, Verdict};
use packhorse_storage::root::{Links, Root};
use packhorse_storage::status::{Kind, NotRegular};
use rustix::io::Errno;

use crate::trees::{METHODS, Tree, disk_with, name};

const MODE: fn() -> Mode = || Mode::from_bits(0o644);

fn open(tree: &Tree, disk: Disk) -> Directory {
    let root = Root::open_with(disk, &tree.at(""), METHODS[0]).unwrap();
    root.open_directory(&RelativePath::ROOT, Links::Refuse)
        .unwrap()
}

#[test]
fn files_are_written_whole_on_a_disk_that_takes_little_at_a_time() {
    let tree = Tree::new();
    let stingy = disk_with(|_| Ok(Verdict::Shorten(7)));
    let content: Vec<u8> = (0..1000u32).map(|n| (n % 251) as u8).collect();
    for (at, disk) in [("a", Disk::new()), ("b", stingy)] {
        let directory = open(&tree, disk);
        let file = directory.create_file(&name(at), MODE()).unwrap();
        file.allocate(4096).unwrap();
        assert_eq!(file.status().unwrap().size, 0);
        file.write_all_at(10, &content).unwrap();
        file.set_length(1005).unwrap();
        file.sync().unwrap();
        directory.sync().unwrap();
        let mut read = vec![0; 2000];
        assert_eq!(file.read_at(10, &mut read).unwrap(), 995);
        assert_eq!(read[..995], content[..995]);
        assert_eq!(fs::read(tree.at(at)).unwrap()[10..], content[..995]);
        let again = directory.open_for_update(&name(at)).unwrap();
        again.write_all_at(0, b"start").unwrap();
        assert_eq!(&fs::read(tree.at(at)).unwrap()[..5], b"start");
        let error = directory.create_file(&name(at), MODE()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let tree = Tree::new();
    tree.file("../outside/file", "outside")
        .directory("../outside/directory");
    tree.link("file", "../outside/file")
        .link("directory", "../outside/directory");
    tree.link("dangling", "../outside/new").fifo("fifo");
    let disk = disk_with(|call| match call.operation {
        Operation::Open(Opening::File | Opening::Update) if call.path.ends_with(b"/fifo") => {
            panic!("a FIFO is opened")
        }
        _ => Ok(Verdict::Proceed),
    });
    let directory = open(&tree, disk);
    for at in ["file", "directory", "dangling"] {
        let error = directory.open_for_update(&name(at)).unwrap_err();
        assert_eq!(NotRegular::of(&error), Some(Kind::Symlink), "{at}");
        let error = directory.create_file(&name(at), MODE()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{at}");
        let error = directory.open_directory(&name(at)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory, "{at}");
        assert_eq!(
            directory.status_of(&name(at)).unwrap().kind,
            Kind::Symlink,
            "{at}"
        );
    }
    for opened in [
        directory.open_for_update(&name("fifo")),
        directory.open_file(&name("fifo")),
    ] {
        assert_eq!(NotRegular::of(&opened.unwrap_err()), Some(Kind::Special));
    }
    assert!(!tree.at("../outside/new").exists());
    assert_eq!(fs::read(tree.at("../outside/file")).unwrap(), b"outside");
}

#[test]
fn times_and_modes_are_set_on_the_object_itself() {
    let tree = Tree::new();
    tree.file("file", "")
        .link("link", "file")
        .directory("directory");
    let directory = open(&tree, Disk::new());
    let times = |seconds, nanoseconds| Timestamp::new(seconds, nanoseconds).unwrap();
    directory.set_times_of(&name("link"), times(-5, 7)).unwrap();
    let file = directory.open_for_update(&name("file")).unwrap();
    file.set_times(times(1_700_000_000, 999_999_999)).unwrap();
    file.set_mode(Mode::from_bits(0o4755)).unwrap();
    let inner = directory.open_directory(&name("directory")).unwrap();
    inner.set_mode(Mode::from_bits(0o1700)).unwrap();
    inner.set_times(times(3, 0)).unwrap();

    let status = |at: &str| directory.status_of(&name(at)).unwrap();
    assert_eq!(status("link").modified, times(-5, 7));
    assert_eq!(status("file").modified, times(1_700_000_000, 999_999_999));
    assert_eq!(status("file").mode, 0o755, "setuid is never set");
    assert_eq!(
        (status("directory").mode, status("directory").modified),
        (0o1700, times(3, 0))
    );
    let metadata = fs::symlink_metadata(tree.at("link")).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-5, 7));
}

/// Renames on a file system that knows no rename without replacing, and on one that does.
#[test]
fn a_rename_that_does_not_replace_never_does() {
    let lacking = || {
        disk_with(|call| match call.operation {
            Operation::Rename { replace: false, .. } => Err(Errno::INVAL.into()),
            _ => Ok(Verdict::Proceed),
        })
    };
    let lacking_links_too = || {
        disk_with(|call| match call.operation {
            Operation::Rename { replace: false, .. } => Err(Errno::INVAL.into()),
            Operation::HardLink { .. } => Err(Errno::PERM.into()),
            _ => Ok(Verdict::Proceed),
        })
    };
    for disk in [Disk::new(), lacking(), lacking_links_too()] {
        let tree = Tree::new();
        tree.file("from/file", "new")
            .directory("from/directory/inner")
            .link("from/link", "file");
        tree.file("to/there", "old")
            .directory("to/there-too")
            .link("to/dangling", "nothing");
        let root = open(&tree, disk);
        let from = root.open_directory(&name("from")).unwrap();
        let to = root.open_directory(&name("to")).unwrap();
        for source in ["file", "directory", "link"] {
            for taken in ["there", "there-too", "dangling"] {
                let error = from
                    .rename_no_replace(&name(source), &to, &name(taken))
                    .unwrap_err();
                assert_eq!(
                    error.kind(),
                    ErrorKind::AlreadyExists,
                    "{source} to {taken}"
                );
                assert!(from.status_of(&name(source)).is_ok());
            }
            from.rename_no_replace(&name(source), &to, &name(source))
                .unwrap();
            let error = from.status_of(&name(source)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        assert_eq!(fs::read(tree.at("to/there")).unwrap(), b"old");
        assert_eq!(fs::read(tree.at("to/file")).unwrap(), b"new");
        assert!(tree.at("to/directory/inner").is_dir());
        assert_eq!(
            fs::read_link(tree.at("to/link")).unwrap().to_str(),
            Some("file")
        );
        to.rename_replace(&name("file"), &to, &name("there"))
            .unwrap();
        assert_eq!(fs::read(tree.at("to/there")).unwrap(), b"new");
    }
}

#[test]
fn the_partial_directory_is_reached_by_its_own_name_only() {
    let tree = Tree::new();
    let directory = open(&tree, Disk::new());
    directory
        .create_directory(Part::PARTIAL, Mode::from_bits(0o700))
        .unwrap();
    let partial = directory.open_directory(Part::PARTIAL).unwrap();
    partial.create_file(&name("0"), MODE()).unwrap();
    partial
        .hard_link(&name("0"), &directory, &name("file"))
        .unwrap();
    assert_eq!(directory.status_of(&name("file")).unwrap().links, 2);
    directory.make_symlink(b"\xff/../x", &name("link")).unwrap();
    assert_eq!(directory.read_link(&name("link")).unwrap(), b"\xff/../x");

    let listing = directory.names().unwrap();
    let mut names: Vec<_> = listing
        .iter()
        .map(|(name, kind)| (name.to_string(), kind))
        .collect();
    names.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        names,
        [
            ("file".to_owned(), Kind::File),
            ("link".to_owned(), Kind::Symlink)
        ]
    );
    assert!(listing.has_partial());
    assert!(!partial.names().unwrap().has_partial());

    let mode = fs::metadata(tree.at(".packhorse-partial"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    partial.remove_file(&name("0")).unwrap();
    directory.remove_directory(Part::PARTIAL).unwrap();
    assert!(!tree.at(".packhorse-partial").exists());
    assert!(directory.free_bytes().unwrap() > Some(0));
}

#[test]
fn a_lock_is_held_by_one_until_its_file_is_closed() {
    let tree = Tree::new();
    tree.file("lock", "");
    let directory = open(&tree, Disk::new());
    let first = directory.open_for_update(&name("lock")).unwrap();
    let second = directory.open_for_update(&name("lock")).unwrap();
    assert!(first.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    drop(first);
    assert!(second.try_lock().unwrap());
}

#[test]
fn attributes_are_read_and_written() {
    let tree = Tree::new();
    tree.file("file", "");
    let directory = open(&tree, Disk::new());
    let file = directory.open_for_update(&name("file")).unwrap();
    for (attribute, length) in [(&b"user.small"[..], 3), (b"user.large", 3000)] {
        let value = vec![7; length];
        match file.set_xattr(attribute, &value) {
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                eprintln!("SKIPPED: no extended attributes here ({error})");
                assert_eq!(file.xattr_names().unwrap(), Vec::<Vec<u8>>::new());
                return;
            }
            other => other.unwrap(),
        }
        assert_eq!(file.xattr(attribute).unwrap(), Some(value));
    }
    assert_eq!(file.xattr(b"user.none").unwrap(), None);
    assert_eq!(file.xattr_names().unwrap().len(), 2);
    directory.set_xattr(b"user.own", b"").unwrap();
    assert_eq!(directory.xattr(b"user.own").unwrap(), Some(Vec::new()));
}

/// What a later test replays: every change, in order, with its path.
#[test]
fn a_hook_hears_of_every_change() {
    let tree = Tree::new();
    let base = tree.at("");
    let log = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&log);
    let disk = disk_with(move |call| {
        let path = call.path.strip_prefix(base.as_os_str().as_encoded_bytes());
        let path = String::from_utf8_lossy(path.unwrap_or(b"?")).into_owned();
        heard
            .lock()
            .unwrap()
            .push(format!("{} {path}", call.operation.kind()));
        Ok(Verdict::Proceed)
    });
    let root = open(&tree, disk);
    root.create_directory(&name("d"), MODE()).unwrap();
    let directory = root.open_directory(&name("d")).unwrap();
    let file = directory.create_file(&name("f"), MODE()).unwrap();
    file.write_all_at(0, b"x").unwrap();
    file.sync().unwrap();
    directory
        .rename_no_replace(&name("f"), &root, &name("g"))
        .unwrap();
    root.sync().unwrap();
    assert_eq!(
        *log.lock().unwrap(),
        [
            "open directory ",
            "open directory ",
            "create directory d",
            "open directory d",
            "create file d/f",
            "status d/f",
            "write d/f",
            "sync d/f",
            "rename d/f",
            "sync ",
        ]
    );
}
