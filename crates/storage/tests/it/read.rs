//! Reading files that change while they are read. Threat 19.

use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use packhorse_protocol::content::{ContentHash, GroupRange, merge_groups};
use packhorse_protocol::entry::{FileInfo, Mode, Refusal, Timestamp, Version};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_storage::clock::wall_clock;
use packhorse_storage::disk::{Disk, DiskCall, Operation, Verdict};
use packhorse_storage::read::{read_group, read_small};
use packhorse_storage::source::{FileState, SourceError, SourceFile};

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

/// A file whose content is another at each reading while its state stays the same, as within one
/// tick of a file system's clock.
struct Traceless {
    state: FileState,
    contents: Mutex<Vec<&'static str>>,
}

impl SourceFile for Traceless {
    fn opened(&self) -> FileState {
        self.state
    }

    fn state(&self) -> Result<FileState, SourceError> {
        Ok(self.state)
    }

    fn info(&self) -> Result<FileInfo, SourceError> {
        Ok(FileInfo {
            size: self.state.size,
            modified: self.state.touched,
            mode: Mode::from_bits(0o644),
            version: self.state.version,
            sparse: false,
            link_group: 0,
            xattrs: Vec::new(),
        })
    }

    fn read_at(&self, _: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let content = self.contents.lock().unwrap().remove(0);
        buffer.copy_from_slice(content.as_bytes());
        Ok(content.len())
    }

    fn next_data(&self, _: u64) -> Result<Option<Range<u64>>, SourceError> {
        Ok(None)
    }
}

#[test]
fn a_change_that_leaves_no_trace_is_seen_while_the_file_is_unsettled() {
    let touched = Timestamp::new(1000, 5).unwrap();
    let at = |seconds, nanoseconds| Timestamp::new(seconds, nanoseconds).unwrap();
    for (now, contents, expected) in [
        (at(1002, 5), vec!["one"], Ok("one")),
        (at(1002, 4), vec!["one", "one"], Ok("one")),
        (at(1002, 4), vec!["one", "two", "two", "two"], Ok("two")),
        (
            at(900, 0),
            vec!["a a", "b b", "c c", "d d", "e e", "f f", "g g", "h h"],
            Err(()),
        ),
    ] {
        let file = Traceless {
            state: FileState {
                size: 3,
                version: Version([7; 16]),
                touched,
            },
            contents: Mutex::new(contents.clone()),
        };
        let mut buffer = Vec::new();
        let read = read_small(&file, 100, now, &mut buffer);
        match expected {
            Ok(content) => {
                read.unwrap();
                assert_eq!(buffer, content.as_bytes(), "{contents:?}");
            }
            Err(()) => assert_eq!(read.unwrap_err().refusal, Refusal::Changed, "{contents:?}"),
        }
        assert!(file.contents.lock().unwrap().is_empty(), "{contents:?}");
    }
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
