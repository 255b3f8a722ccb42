//! Files that came in one piece, many at once.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use packhorse_storage::disk::Verdict;

use super::*;
use crate::trees::disk_with;

#[test]
fn a_file_arrives_with_all_that_is_said_of_it() {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    assert!(destination.was_empty());
    assert_eq!(place.tree(), [""; 0], "nothing is made before it is needed");
    destination.enter_directory(&path("a")).unwrap();
    assert_eq!(write(&destination, "a/f", b"hello").unwrap(), Placed::New);
    finish(&destination);
    assert_eq!(place.tree(), ["a/", "a/f"]);
    let found = fs::metadata(place.at("a/f")).unwrap();
    assert_eq!(
        (found.mtime(), found.mtime_nsec()),
        (1_600_000_000, 123_456_789)
    );
    assert_eq!(found.mode() & 0o7777, 0o640);
    assert_eq!(place.read("a/f"), b"hello");
}

#[test]
fn one_that_fails_does_not_keep_the_others() {
    let place = Place::new();
    fs::write(place.at("taken"), "old").unwrap();
    let destination = place.open(options(Existing::Refuse));
    let names = ["one", "taken", "two"].map(name);
    let info = info(3);
    let files = names.each_ref().map(|name| SmallFile {
        name,
        info: &info,
        content: b"new",
    });
    let outcomes = destination.write_small(&RelativePath::ROOT, &files);
    assert_eq!(
        outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true]
    );
    // A directory that is not there fails each, with its own path.
    let outcomes = destination.write_small(&path("nowhere"), &files);
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
    finish(&destination);
    assert_eq!(place.tree(), ["one", "taken", "two"]);
    assert_eq!(place.read("taken"), b"old");
}

/// What a file costs, in calls to the system; closing it comes on top.
#[test]
fn a_small_file_takes_few_calls() {
    const FILES: usize = 100;
    let place = Place::new();
    let calls = Arc::new(Mutex::new(BTreeMap::new()));
    let counted = Arc::clone(&calls);
    let disk = disk_with(move |call| {
        *counted
            .lock()
            .unwrap()
            .entry(call.operation.kind())
            .or_insert(0) += 1;
        Ok(Verdict::Proceed)
    });
    let destination = place.open_on(disk, DestinationOptions::default());
    destination.claim().unwrap();
    // A mode that no usual umask changes.
    let info = FileInfo {
        mode: Mode::from_bits(0o600),
        ..info(3)
    };
    let names: Vec<_> = (0..FILES).map(|n| name(format!("{n}"))).collect();
    let file = |name| SmallFile {
        name,
        info: &info,
        content: b"new",
    };
    let files: Vec<_> = names.iter().map(file).collect();
    calls.lock().unwrap().clear();
    let outcomes = destination.write_small(&RelativePath::ROOT, &files);
    assert!(outcomes.iter().all(Result::is_ok));
    let calls = calls.lock().unwrap();
    let of_each = ["create file", "status", "write", "set times", "rename"];
    let expected = of_each.map(|kind| (kind, FILES)).into_iter();
    assert_eq!(*calls, expected.chain([("resolve", 1)]).collect());
}

/// Prints how long a small file takes; run it with
/// `cargo test --release -p packhorse-storage -- --ignored --nocapture microseconds`.
#[test]
#[ignore = "a measurement"]
fn microseconds_per_small_file() {
    const FILES: usize = 20_000;
    const PER_CALL: usize = 100;
    for (directory, threads) in [("/dev/shm", 1), ("/dev/shm", 2), ("/tmp", 1)] {
        let folder = tempfile::tempdir_in(directory).unwrap();
        let options = DestinationOptions::default();
        let destination = Destination::open(Disk::new(), folder.path(), &job(), options).unwrap();
        let (info, content) = (info(4096), [7; 4096]);
        let names: Vec<_> = (0..FILES)
            .map(|n| name(format!("file-{n:06}.txt")))
            .collect();
        let write_all = |names: &[Name]| {
            for names in names.chunks(PER_CALL) {
                let file = |name| SmallFile {
                    name,
                    info: &info,
                    content: &content,
                };
                let files: Vec<_> = names.iter().map(file).collect();
                let outcomes = destination.write_small(&RelativePath::ROOT, &files);
                assert!(outcomes.iter().all(Result::is_ok));
            }
        };
        let started = Instant::now();
        thread::scope(|scope| {
            for names in names.chunks(FILES / threads) {
                scope.spawn(|| write_all(names));
            }
        });
        let each = started.elapsed().as_secs_f64() * 1e6 / FILES as f64;
        println!("{directory}, {threads} threads: {each:.1} \u{b5}s per file");
        let started = Instant::now();
        for name in &names {
            destination.compare(&path(name.as_bytes()), &info).unwrap();
        }
        let each = started.elapsed().as_secs_f64() * 1e6 / FILES as f64;
        println!("{directory}: {each:.1} \u{b5}s to compare");
        finish(&destination);
    }
}
