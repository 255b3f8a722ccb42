//! What a walk tells of trees that are deep, damaged, looped or gone.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use packhorse_protocol::entry::{Mode, Refusal};
use packhorse_protocol::filter::{Filter, Patterns};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::tree::Cursor;
use packhorse_storage::disk::{Disk, Opening, Operation, Verdict};
use packhorse_storage::root::Links;
use packhorse_storage::walk::{TreeWalk, WalkItem, WalkOptions};
use rustix::io::Errno;

use crate::trees::{
    FOLLOW, KEEP, METHODS, Told, Tree, content, disk_with, lines, name, options, path, tell,
    walk_from,
};

fn cursor(directory: &str, after: &str) -> Option<Cursor> {
    Some(Cursor {
        directory: path(directory),
        after: (!after.is_empty()).then(|| name(after)),
    })
}

#[test]
fn files_come_before_directories_and_each_is_entered_before_the_next() {
    let tree = Tree::new();
    tree.file("b/c/x", "")
        .file("b/a", "")
        .file("b-", "")
        .file("b0/y", "")
        .file("z", "");
    tree.directory("a/empty")
        .link("l", "z")
        .directory(".packhorse-partial/0");
    let walk = walk_from(&tree.source(), "", KEEP, None);
    let expected = [
        "./", "b-", "l@", "z", "a/", "a/empty/", "b/", "a", "b/c/", "x", "b0/", "y",
    ];
    assert_eq!(lines(walk), expected);
}

#[test]
fn a_walk_starts_where_it_is_asked_to() {
    let tree = Tree::new();
    tree.file("a/b/file", "content")
        .link("a/link", "b")
        .link("to-a", "a");
    let source = tree.source();
    for (start, entries, expected) in [
        ("a/b", KEEP, &["./", "file"][..]),
        ("a/b/file", KEEP, &["file"]),
        ("a/link", KEEP, &["link@"]),
        ("a/link", FOLLOW, &["./", "file"]),
        ("to-a/link/file", KEEP, &["file"]),
        ("to-a", FOLLOW, &["./", "b/", "file", "link/", "file"]),
    ] {
        assert_eq!(
            lines(walk_from(&source, start, entries, None)),
            expected,
            "{start}"
        );
    }
    let open = |start: &str, cursor| {
        let walk = TreeWalk::open(Arc::clone(&source), &path(start), options(KEEP), cursor);
        walk.map(drop).map_err(|error| error.refusal)
    };
    assert_eq!(open("nothing", None), Err(Refusal::NotFound));
    assert_eq!(
        open("a/b/file", cursor("", "file")),
        Err(Refusal::NotDirectory)
    );

    let mut single = walk_from(&source, "a/b/file", KEEP, None);
    let Some(WalkItem::File { name, info }) = single.next() else {
        panic!("it is a file");
    };
    let file = single.open_file(&name).unwrap();
    assert_eq!(file.opened().version, info.version);
    assert_eq!(content(&*file).unwrap(), b"content");
    assert_eq!(single.next(), None);
}

#[test]
fn files_are_opened_where_the_walk_is() {
    let tree = Tree::new();
    for at in ["f", "a/f", "a/b/f", "c/f"] {
        tree.file(at, at);
    }
    tree.link("c/l", "../a/b/f");
    let mut walk = walk_from(&tree.source(), "", FOLLOW, None);
    let mut opened = Vec::new();
    while let Some(item) = walk.next() {
        if let WalkItem::File { name, info } = item {
            let file = walk.open_file(&name).unwrap();
            assert_eq!(file.opened().version, info.version);
            opened.push(String::from_utf8(content(&*file).unwrap()).unwrap());
        }
    }
    assert_eq!(opened, ["f", "a/f", "a/b/f", "c/f", "a/b/f"]);
}

#[test]
fn only_what_is_wanted_is_told() {
    let tree = Tree::new();
    tree.file("a/keep.txt", "")
        .file("a/drop.o", "")
        .file("target/x.txt", "")
        .file("x.txt", "");
    let with = |include: &[&str], exclude: &[&str], recursive| {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let patterns = Patterns {
            include: texts(include),
            exclude: texts(exclude),
        };
        let options = WalkOptions {
            recursive,
            filter: Filter::new(&patterns).unwrap(),
            ..options(KEEP)
        };
        let open = |cursor| {
            TreeWalk::open(tree.source(), &RelativePath::ROOT, options.clone(), cursor).unwrap()
        };
        let (whole, behind_target) = (lines(open(None)), lines(open(cursor("target", ""))));
        (whole.join(" "), behind_target.join(" "))
    };
    let told = |whole: &str, behind: &str| (whole.to_owned(), behind.to_owned());
    assert_eq!(
        with(&[], &["*.o"], true),
        told("./ x.txt a/ keep.txt target/ x.txt", "x.txt")
    );
    assert_eq!(
        with(&[], &["target/"], true),
        told("./ x.txt a/ drop.o keep.txt", "")
    );
    assert_eq!(with(&["*.o"], &[], true), told("./ a/ drop.o target/", ""));
    assert_eq!(with(&[], &["/x.txt"], false), told("./ a/ target/", ""));
}

#[test]
fn a_walk_goes_on_where_things_have_gone() {
    let plant = |tree: &Tree| {
        for at in ["f1", "f2", "f3", "a/x", "b/m/f1", "b/m/f2", "b/n/x", "c/x"] {
            tree.file(at, "");
        }
    };
    type Change = fn(&Tree);
    let cases: &[(&str, &str, Change, &str)] = &[
        ("", "f2", |_| {}, "f3 a/ x b/ b/m/ f1 f2 b/n/ x c/ x"),
        (
            "",
            "f2",
            |tree| fs::remove_file(tree.at("f2")).unwrap(),
            "f3 a/ x b/ b/m/ f1 f2 b/n/ x c/ x",
        ),
        ("", "f2x", |_| {}, "f3 a/ x b/ b/m/ f1 f2 b/n/ x c/ x"),
        ("b/m", "f1", |_| {}, "f2 b/n/ x c/ x"),
        ("b/m", "", |_| {}, "f1 f2 b/n/ x c/ x"),
        ("b/m", "f2", |_| {}, "b/n/ x c/ x"),
        (
            "b/m",
            "f1",
            |tree| fs::remove_dir_all(tree.at("b/m")).unwrap(),
            "b/n/ x c/ x",
        ),
        (
            "b/m",
            "f1",
            |tree| fs::remove_dir_all(tree.at("b")).unwrap(),
            "c/ x",
        ),
        (
            "b/m",
            "",
            |tree| fs::remove_dir_all(tree.at("b/n")).unwrap(),
            "f1 f2 c/ x",
        ),
        ("c", "x", |_| {}, ""),
        ("zz", "x", |_| {}, ""),
        ("a/gone/away", "x", |_| {}, "b/ b/m/ f1 f2 b/n/ x c/ x"),
        (
            "b/m",
            "f1",
            |tree| {
                fs::rename(tree.at("b/m"), tree.at("b/moved")).unwrap();
                tree.link("b/m", "../a");
            },
            "b/moved/ f1 f2 b/n/ x c/ x",
        ),
        (
            "b/m",
            "f1",
            |tree| {
                fs::remove_dir_all(tree.at("b")).unwrap();
                tree.file("b", "");
            },
            "c/ x",
        ),
    ];
    for (directory, after, change, expected) in cases {
        let tree = Tree::new();
        plant(&tree);
        change(&tree);
        let walk = walk_from(&tree.source(), "", KEEP, cursor(directory, after));
        assert_eq!(lines(walk).join(" "), *expected, "{directory} {after}");
    }
}

#[test]
fn what_cannot_be_read_is_skipped_and_the_rest_goes_on() {
    let tree = Tree::new();
    tree.file("a/x", "")
        .file("b/x", "")
        .file("b/y", "")
        .file("c/x", "")
        .file("f", "");
    tree.fifo("fifo")
        .link("out", "..")
        .link("dangling", "nothing");
    let at = |below: &str| tree.at(below).as_os_str().as_bytes().to_vec();
    let (a, b_x, c) = (at("a"), at("b/x"), at("c"));
    let disk = disk_with(move |call| match call.operation {
        Operation::Open(Opening::Directory) if call.path == a => Err(Errno::ACCESS.into()),
        Operation::Status if call.path == b_x => Err(Errno::IO.into()),
        Operation::List if call.path == c => Err(Errno::MFILE.into()),
        _ => Ok(Verdict::Proceed),
    });
    let source = tree.source_on(disk);
    assert_eq!(
        lines(walk_from(&source, "", FOLLOW, None)),
        [
            "./",
            "dangling NotFound",
            "f",
            "fifo Special",
            "out LeavesTree",
            "a PermissionDenied",
            "b/",
            "b/x Unreadable",
            "y",
            "c Busy"
        ]
    );
    // A directory that was told and can be read no more is missed, not passed over.
    let behind_a = lines(walk_from(&source, "", KEEP, cursor("a", "x")));
    assert_eq!(
        behind_a,
        ["a PermissionDenied", "b/", "b/x Unreadable", "y", "c Busy"]
    );
}

#[test]
fn what_changes_its_kind_during_a_walk_is_skipped() {
    let tree = Tree::new();
    tree.file("file", "")
        .file("directory/x", "")
        .file("z/x", "");
    let mut walk = walk_from(&tree.source(), "", KEEP, None);
    assert!(matches!(walk.next(), Some(WalkItem::Directory { .. })));
    fs::remove_file(tree.at("file")).unwrap();
    fs::remove_dir_all(tree.at("directory")).unwrap();
    fs::remove_dir_all(tree.at("z")).unwrap();
    tree.file("directory", "").directory("file");
    assert_eq!(
        lines(walk),
        ["file Changed", "directory Changed", "z NotFound"]
    );
}

#[test]
fn loops_of_links_are_entered_once() {
    let tree = Tree::new();
    tree.file("a/f", "")
        .link("a/up", "..")
        .link("a/self", ".")
        .link("b", "a")
        .link("a/loop", "loop");
    for method in METHODS {
        let root = tree.root(Disk::new(), method);
        let source = packhorse_storage::directory_source::DirectorySource::new(root);
        let walk = TreeWalk::open(Arc::new(source), &path(""), options(FOLLOW), None).unwrap();
        let expected = [
            "./",
            "a/",
            "f",
            "a/loop LinkLoop",
            "a/self LinkLoop",
            "a/up LinkLoop",
            "b/",
            "f",
            "b/loop LinkLoop",
            "b/self LinkLoop",
            "b/up LinkLoop",
        ];
        assert_eq!(lines(walk), expected, "{method:?}");
    }
    // Begun further down, it may come to the root once, and goes no further round.
    let walk = walk_from(&tree.source(), "a", FOLLOW, None);
    let lines = lines(walk);
    assert!(lines.contains(&"up/a LinkLoop".to_owned()), "{lines:?}");
}

/// Makes directories by name from the one before, as no single path can be so long.
fn dig(tree: &Tree, names: &[String], leaf: &str) {
    let root = tree.root(Disk::new(), METHODS[0]);
    let mut at = root
        .open_directory(&RelativePath::ROOT, Links::Refuse)
        .unwrap();
    for text in names {
        let name = name(text);
        at.create_directory(&name, Mode::from_bits(0o755)).unwrap();
        at = at.open_directory(&name).unwrap();
        at.create_file(&self::name(leaf), Mode::from_bits(0o644))
            .unwrap();
    }
}

/// A tree too deep for `remove_dir_all` by path is removed the way it was made.
fn fill_in(tree: &Tree, names: &[String], leaf: &str) {
    let root = tree.root(Disk::new(), METHODS[0]);
    let mut open = vec![
        root.open_directory(&RelativePath::ROOT, Links::Refuse)
            .unwrap(),
    ];
    for text in names {
        let deeper = open.last().unwrap().open_directory(&name(text)).unwrap();
        open.push(deeper);
    }
    for text in names.iter().rev() {
        open.pop().unwrap().remove_file(&name(leaf)).unwrap();
        open.last().unwrap().remove_directory(&name(text)).unwrap();
    }
}

#[test]
fn paths_beyond_the_limit_are_skipped() {
    let tree = Tree::new();
    let names: Vec<_> = (0..40u8)
        .map(|level| char::from(b'a' + level % 26).to_string().repeat(255))
        .collect();
    dig(&tree, &names, "f");
    let told = tell(walk_from(&tree.source(), "", KEEP, None));
    // Fifteen levels and their separators are 3,839 bytes, the sixteenth makes exactly 4,095.
    assert_eq!(told.len(), 1 + 2 * 16 + 1);
    let Told::Directory(deepest) = &told[told.len() - 3] else {
        panic!("{:?}", told[told.len() - 3]);
    };
    assert_eq!(deepest.depth(), 16);
    let file = [deepest.as_bytes(), b"f"].join(&b'/');
    let directory = [deepest.as_bytes(), names[16].as_bytes()].join(&b'/');
    assert_eq!(
        told[told.len() - 2..],
        [
            Told::Skipped(file, Refusal::UnusableName),
            Told::Skipped(directory, Refusal::UnusableName)
        ]
    );
    // Begun further down the paths are shorter, but what a client would ask for is not.
    let from_first = tell(walk_from(&tree.source(), &names[0], KEEP, None));
    assert_eq!(from_first.len(), 2 + 2 * 15 + 1);
    fill_in(&tree, &names, "f");
}

#[test]
fn a_deep_tree_needs_few_descriptors() {
    const LEVELS: usize = 300;
    let tree = Tree::new();
    let names = vec!["d".to_owned(); LEVELS];
    dig(&tree, &names, "f");
    // At every tenth level a directory for the way back.
    let mut beside = Vec::new();
    for level in (0..LEVELS).step_by(10) {
        let at = format!("{}z", "d/".repeat(level));
        tree.file(format!("{at}/last"), "");
        beside.push(format!("{at}/"));
    }
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let source = tree.source();
    let walk = walk_from(&source, "", KEEP, None);
    let (before, mut most, mut told) = (descriptors(), 0, Vec::new());
    for item in walk {
        most = most.max(descriptors());
        if let WalkItem::Directory { path, .. } = item {
            told.push(format!("{path}/"));
        }
    }
    // Other tests open descriptors beside this one.
    assert!(most < before + 150, "{most} descriptors, {before} before");
    assert_eq!(told.len(), 1 + LEVELS + beside.len());
    beside.reverse();
    assert_eq!(told[1 + LEVELS..], beside);

    let deepest = "d/".repeat(LEVELS).trim_end_matches('/').to_owned();
    let rest = lines(walk_from(&source, "", KEEP, cursor(&deepest, "f")));
    let expected: Vec<_> = beside
        .iter()
        .flat_map(|at| [at.clone(), "last".to_owned()])
        .collect();
    assert_eq!(rest, expected);
}

/// A directory that was closed on the way down and is another one on the way back.
#[test]
fn a_directory_that_is_another_on_the_way_back_is_not_mistaken() {
    let tree = Tree::new();
    let deep = "d/".repeat(80);
    tree.file(format!("top/{deep}f"), "").file("top/z/old", "");
    let mut walk = walk_from(&tree.source(), "", KEEP, None);
    let found = walk.find(|item| matches!(item, WalkItem::File { .. }));
    assert!(found.is_some());
    fs::rename(tree.at("top"), tree.at("moved")).unwrap();
    tree.file("top/z/new", "");
    assert_eq!(lines(walk), ["top/z Changed"]);
}

#[test]
fn a_failing_disk_ends_no_walk() {
    let tree = Tree::new();
    for directory in 0..5 {
        for file in 0..5 {
            tree.file(format!("{directory}/{file}"), "content");
        }
    }
    let count = |every: usize| {
        // The walk begins on a sound disk.
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let disk = disk_with(move |_| match counted.load(Ordering::Relaxed) {
            0 => Ok(Verdict::Proceed),
            _ if counted
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(every) =>
            {
                Err(Errno::IO.into())
            }
            _ => Ok(Verdict::Proceed),
        });
        let mut walk = walk_from(&tree.source_on(disk), "", KEEP, None);
        calls.store(1, Ordering::Relaxed);
        let (mut told, mut read) = (0, 0);
        while let Some(item) = walk.next() {
            told += 1;
            if let WalkItem::File { name, .. } = item {
                read += usize::from(walk.open_file(&name).is_ok());
            }
        }
        (told, read)
    };
    assert_eq!(count(usize::MAX), (31, 25));
    for every in 1..60 {
        let (told, read) = count(every);
        assert!(
            told >= 6 && read < 25,
            "every {every}: {told} told, {read} read"
        );
    }
}
