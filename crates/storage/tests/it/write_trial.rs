//! Trials of how fast a disk is.

use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use packhorse_storage::disk::{Disk, Opening, Operation, Verdict};
use packhorse_storage::write_trial::WriteTrial;
use rustix::io::Errno;

use crate::trees::{Tree, disk_with};

/// A disk on which no file is without a name.
fn without_unnamed_files(also: impl Fn(&Operation<'_>) + Send + Sync + 'static) -> Disk {
    disk_with(move |call| {
        also(&call.operation);
        match call.operation {
            Operation::Open(Opening::Create) if !is_of_a_trial(call.path) => {
                Err(Errno::OPNOTSUPP.into())
            }
            _ => Ok(Verdict::Proceed),
        }
    })
}

fn is_of_a_trial(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next();
    name.is_some_and(|name| name.starts_with(b".packhorse-trial-"))
}

#[test]
fn a_trial_leaves_no_name_behind() {
    for disk in [Disk::new(), without_unnamed_files(|_| {})] {
        let tree = Tree::new();
        let mut trial = WriteTrial::begin(disk, &tree.at("")).unwrap();
        for _ in 0..2 {
            // While it runs too: whatever ends the process, nothing is there to be removed.
            assert_eq!(fs::read_dir(tree.at("")).unwrap().count(), 0);
            assert!(trial.write().unwrap() > 0);
        }
    }
}

/// The second of them met the name that the first had for a moment.
#[test]
fn two_trials_may_begin_at_once() {
    let tree = Tree::new();
    let at = tree.at("");
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let disk = without_unnamed_files(move |operation| {
        if matches!(operation, Operation::RemoveFile) {
            WriteTrial::begin(without_unnamed_files(|_| {}), &at).unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    WriteTrial::begin(disk, &tree.at("")).unwrap();
    assert_eq!(begun.load(Ordering::Relaxed), 1);
    assert_eq!(fs::read_dir(tree.at("")).unwrap().count(), 0);
}

#[test]
fn what_is_written_is_on_the_disk_and_no_more_than_fits() {
    let tree = Tree::new();
    let end = Arc::new(AtomicU64::new(0));
    let (unsynced, counted_end) = (Arc::new(Mutex::new(0)), Arc::clone(&end));
    let counted = Arc::clone(&unsynced);
    let disk = without_unnamed_files(move |operation| {
        let mut unsynced = counted.lock().unwrap();
        match operation {
            Operation::Write { offset, bytes } => {
                *unsynced += bytes.len() as u64;
                counted_end.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
            }
            Operation::Sync => *unsynced = 0,
            _ => {}
        }
    });
    let mut trial = WriteTrial::begin(disk, &tree.at("")).unwrap();
    for _ in 0..20 {
        let bytes = trial.write().unwrap();
        assert_eq!((bytes, *unsynced.lock().unwrap()), (16 << 20, 0));
    }
    let end = end.load(Ordering::Relaxed);
    assert!(end <= 256 << 20, "it took {end} bytes of the disk");
}

#[test]
fn where_there_is_nothing_to_write_to_it_says_so() {
    let tree = Tree::new();
    let begin = |disk, at: &str| WriteTrial::begin(disk, &tree.at(at)).unwrap_err().kind();
    assert_eq!(begin(Disk::new(), "nowhere"), ErrorKind::NotFound);
    let read_only = disk_with(|call| match call.operation {
        Operation::Open(Opening::Create) => Err(Errno::ROFS.into()),
        _ => Ok(Verdict::Proceed),
    });
    assert_eq!(begin(read_only, ""), ErrorKind::ReadOnlyFilesystem);
}
