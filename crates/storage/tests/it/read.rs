//! Reading files that change while they are read. Threat 19.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use packhorse_protocol::content::{ContentHash, GroupRange, merge_groups};
use packhorse_protocol::entry::{Refusal, Timestamp};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_storage::clock::wall_clock;
use packhorse_storage::disk::{Disk, DiskCall, Operation, Verdict};
use packhorse_storage::read::{read_group, read_small};
use packhorse_storage::source::SourceFile;

use crate::trees::{KEEP, Tree, disk_with, path};

fn open(tree: &Tree, disk: Disk) -> Box<dyn SourceFile> {
    let found = tree.source_on(disk).find(&path("file"), KEEP).unwrap();
    found.into_file().unwrap()
}

/// A disk that calls `change` before the reads that `is_due` picks by number.
fn disk_changing(
    is_due: impl Fn(usize) -> bool + Send + Sync + 'static,
    change: impl Fn(usize) + Send + Sync + 'static,
) -> Disk {
    let reads = AtomicUsize::new(0);
    disk_with(move |call: &DiskCall<'_>| {
        if matches!(call.operation, Operation::Read { .. }) {
            let number = reads.fetch_add(1, Ordering::Relaxed);
            if is_due(number) {
                change(number);
            }
        }
        Ok(Verdict::Proceed)
    })
}

/// Far enough from now that every file counts as settled.
fn far_ahead() -> Timestamp {
    Timestamp::new(wall_clock().seconds() + 60, 0).unwrap()
}

#[test]
fn groups_are_read_and_hashed() {
    let content: Vec<u8> = (0..2 * GROUP_BYTES + 77)
        .map(|n| (n * 7 % 253) as u8)
        .collect();
    let tree = Tree::new();
    tree.file("file", &content);
    let (size, short) = (
        content.len() as u64,
        disk_with(|_| Ok(Verdict::Shorten(70_001))),
    );
    for disk in [Disk::new(), short] {
        let file = open(&tree, disk);
        let mut read = b"head".to_vec();
        let hashes: Vec<_> = GroupRange::whole(size)
            .iter()
            .map(|group| read_group(&*file, group, size, &mut read).unwrap())
            .collect();
        assert_eq!(read[4..], content);
        assert_eq!(merge_groups(&hashes), ContentHash::of(&content));
    }
}

#[test]
fn a_group_that_is_cut_is_not_returned() {
    let tree = Tree::new();
    tree.file("file", vec![1; 1000]);
    let file = open(&tree, Disk::new());
    let mut buffer = b"head".to_vec();
    for (size, group) in [(1001, 0), (3 * GROUP_BYTES as u64, 1), (1000, 1)] {
        let group = GroupRange::new(group, group + 1)
            .unwrap()
            .iter()
            .next()
            .unwrap();
        let error = read_group(&*file, group, size, &mut buffer).unwrap_err();
        assert_eq!(error.refusal, Refusal::Changed, "{size} {group:?}");
        assert_eq!(buffer, b"head");
    }
}

#[test]
fn a_small_file_is_read_in_one_state() {
    for (case, due, now, expected) in [
        ("never", None, far_ahead(), Ok("old")),
        ("once, settled", Some(1), far_ahead(), Ok("new")),
        ("three times", Some(3), far_ahead(), Ok("new")),
        (
            "always",
            Some(usize::MAX),
            far_ahead(),
            Err(Refusal::Changed),
        ),
        ("once, unsettled", Some(1), wall_clock(), Ok("new")),
        (
            "always, unsettled",
            Some(usize::MAX),
            wall_clock(),
            Err(Refusal::Changed),
        ),
    ] {
        let tree = Arc::new(Tree::new());
        tree.file("file", "old");
        let changed = Arc::clone(&tree);
        let disk = disk_changing(
            move |number| due.is_some_and(|due| number < due),
            move |number| {
                let padding = " ".repeat(number);
                fs::write(changed.at("file"), format!("new{padding}")).unwrap();
            },
        );
        let mut buffer = b"head".to_vec();
        let read = read_small(&*open(&tree, disk), 4096, now, &mut buffer);
        match (read, expected) {
            (Ok(info), Ok(word)) => {
                assert_eq!(info.size + 4, buffer.len() as u64, "{case}");
                assert_eq!(&buffer[4..7], word.as_bytes(), "{case}");
            }
            (Err(error), Err(refusal)) => {
                assert_eq!(error.refusal, refusal, "{case}");
                assert_eq!(buffer, b"head", "{case}");
            }
            (read, expected) => panic!("{case}: {read:?}, not {expected:?}"),
        }
    }
}

/// A change that leaves size and times as they were, as one within the clock's tick does.
#[test]
fn a_change_that_leaves_no_trace_is_seen_while_the_file_is_unsettled() {
    let tree = Arc::new(Tree::new());
    tree.file("file", "old content");
    let writer = fs::File::options()
        .write(true)
        .open(tree.at("file"))
        .unwrap();
    let modified = writer.metadata().unwrap().modified().unwrap();
    let disk = disk_changing(
        |number| number == 1,
        move |_| {
            writer.write_all_at(b"new", 0).unwrap();
            writer.set_modified(modified).unwrap();
        },
    );
    let mut buffer = Vec::new();
    let info = read_small(&*open(&tree, disk), 4096, wall_clock(), &mut buffer).unwrap();
    assert_eq!(buffer, b"new content");
    assert_eq!(info.size, 11);
}

#[test]
fn a_file_that_outgrew_is_too_large() {
    let tree = Tree::new();
    tree.file("file", vec![1; 101]);
    let mut buffer = Vec::new();
    let error = read_small(&*open(&tree, Disk::new()), 100, far_ahead(), &mut buffer).unwrap_err();
    assert_eq!(error.refusal, Refusal::TooLarge);
    read_small(&*open(&tree, Disk::new()), 101, far_ahead(), &mut buffer).unwrap();
    assert_eq!(buffer.len(), 101);
}
