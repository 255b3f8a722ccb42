//! Disks that fail, fill up, or do things by halves. Threat 26.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use packhorse_storage::disk::{DiskCall, Operation, Verdict};
use rustix::io::Errno;

use super::child::{child_on_mount, folder};
use super::*;
use crate::trees::disk_with;

/// What came of the entries of a small download, by their paths.
type Outcomes = Vec<(String, Result<(), EntryError>)>;

/// The content of a file of two groups, made once: there are many downloads of it.
fn large() -> &'static [u8] {
    static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
    LARGE.get_or_init(|| content(2, GROUP_BYTES + 100))
}

/// One of everything. `Err` if the destination cannot be opened at all.
fn download(place: &Place, disk: Disk, options: DestinationOptions) -> Result<Outcomes, String> {
    let to = place.at("new");
    let destination = Destination::open(disk, &to, &job(), options).map_err(|it| it.to_string())?;
    let mut outcomes = Outcomes::new();
    let mut note = |at: &str, outcome: Result<Placed, EntryError>| {
        outcomes.push((at.to_owned(), outcome.map(drop)));
    };
    for directory in ["a", "a/b"] {
        let entered = destination.enter_directory(&path(directory));
        note(directory, entered.map(|_| Placed::New));
    }
    let (names, info) = (["one", "two"].map(name), info(50));
    let content = content(1, 50);
    let files = names.each_ref().map(|name| SmallFile {
        name,
        info: &info,
        content: &content,
    });
    for (file, outcome) in files
        .iter()
        .zip(destination.write_small(&path("a"), &files))
    {
        note(&format!("a/{}", file.name), outcome);
    }
    note("a/b/large", write_large(&destination, "a/b/large", large()));
    note(
        "link",
        destination.make_link(&path("link"), b"a/one", at(3, 4)),
    );
    let about = destination.make_link(&path("about"), b"a/b/../one", at(3, 4));
    if let Err(error) = about {
        note("about", Err(error));
    }
    note(
        "a/second",
        destination.hard_link(&path("a/one"), &path("a/second")),
    );
    for directory in ["a/b", "a", ""] {
        let sealed = destination.seal_directory(&path(directory), &directory_info(0o755, at(5, 6)));
        note(directory, sealed.map(|()| Placed::New));
    }
    let report = destination.finish();
    for (at, outcome) in report.links {
        note(&at.to_string(), outcome);
    }
    note("", report.root.map(|()| Placed::New));
    if let Some(error) = report.left_behind {
        let action = "remove";
        note(
            PARTIAL,
            Err(EntryError::Io {
                action,
                path: RelativePath::ROOT,
                source: error,
            }),
        );
    }
    Ok(outcomes)
}

const WHOLE: [&str; 8] = [
    "a/",
    "a/b/",
    "a/b/large",
    "a/one",
    "a/second",
    "a/two",
    "about",
    "link",
];

/// What has its final name is whole; whether it is there at all is up to the disk.
fn check_what_is_there(place: &Place, what: &str) {
    if !place.at("new").exists() {
        return;
    }
    for at in list(&place.at("new")) {
        if at.starts_with(PARTIAL) || at.ends_with('/') {
            continue;
        }
        assert!(WHOLE.contains(&&*at), "{what}: {at} is there");
        let target = fs::read_link(place.at("new").join(&at));
        match &*at {
            "link" => assert_eq!(target.unwrap(), Path::new("a/one"), "{what}"),
            "about" => assert_eq!(target.unwrap(), Path::new("a/b/../one"), "{what}"),
            _ => {
                let expected = match &*at {
                    "a/b/large" => large(),
                    _ => &content(1, 50),
                };
                assert!(
                    place.read(&format!("new/{at}")) == expected,
                    "{what}: {at} is wrong"
                );
            }
        }
    }
    place.check_outside();
}

/// Which calls fail, from the one that is counted to `.0`.
#[derive(Debug, Clone, Copy)]
enum Failing {
    One,
    AllFromThere,
}

fn failing_disk(at: usize, failing: Failing, error: Errno) -> (Disk, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let disk = disk_with(move |_| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        let fails = match failing {
            Failing::One => call == at,
            Failing::AllFromThere => call >= at,
        };
        if fails {
            Err(error.into())
        } else {
            Ok(Verdict::Proceed)
        }
    });
    (disk, calls)
}

#[test]
fn whichever_call_fails_nothing_is_wrong() {
    for durable in [false, true] {
        let options = DestinationOptions {
            durable,
            existing: Existing::Overwrite,
            ..DestinationOptions::default()
        };
        let place = Place::in_memory();
        let (disk, calls) = failing_disk(usize::MAX, Failing::One, Errno::IO);
        let outcomes = download(&place, disk, options).unwrap();
        assert!(
            outcomes.iter().all(|(_, outcome)| outcome.is_ok()),
            "{outcomes:?}"
        );
        assert_eq!(list(&place.at("new")), WHOLE);
        for failing in [Failing::One, Failing::AllFromThere] {
            for error in [Errno::IO, Errno::NOSPC] {
                for call in 0..calls.load(Ordering::Relaxed) {
                    let what = format!("call {call} fails with {error:?}, {failing:?}, {durable}");
                    check_failure(call, failing, error, options, &what);
                }
            }
        }
    }
}

fn check_failure(
    call: usize,
    failing: Failing,
    error: Errno,
    options: DestinationOptions,
    what: &str,
) {
    let place = Place::in_memory();
    let (disk, _) = failing_disk(call, failing, error);
    let outcomes = download(&place, disk, options);
    check_what_is_there(&place, what);
    if let Ok(outcomes) = &outcomes {
        let mut failed = false;
        for (at, outcome) in outcomes {
            let is_there = fs::symlink_metadata(place.at("new").join(at)).is_ok();
            match outcome {
                Ok(()) => assert!(is_there, "{what}: {at} is missing"),
                Err(error) => {
                    failed = true;
                    let told = error.to_string();
                    assert!(told.contains('`') && !told.contains("Os {"), "{told}");
                    let is_entry = !at.is_empty() && at != PARTIAL && at != "a" && at != "a/b";
                    // A disk that is gone cannot take anything back either.
                    if is_entry && matches!(failing, Failing::One) {
                        assert!(!is_there, "{what}: {at} is there in spite of {told}");
                    }
                }
            }
        }
        let tree = list(&place.at("new"));
        assert!(
            failed || tree == WHOLE,
            "{what}: nothing was said of {tree:?}"
        );
    }
    // The next run needs no help.
    let again = download(&place, Disk::new(), options).unwrap();
    assert!(
        again.iter().all(|(_, outcome)| outcome.is_ok()),
        "{what}: {again:?}"
    );
    assert_eq!(list(&place.at("new")), WHOLE, "{what}");
    check_what_is_there(&place, what);
}

#[test]
fn a_disk_that_takes_little_at_a_time_gets_all_of_it() {
    let place = Place::in_memory();
    let stingy = disk_with(|_| Ok(Verdict::Shorten(4097)));
    let outcomes = download(&place, stingy, DestinationOptions::default()).unwrap();
    assert!(
        outcomes.iter().all(|(_, outcome)| outcome.is_ok()),
        "{outcomes:?}"
    );
    assert_eq!(list(&place.at("new")), WHOLE);
    check_what_is_there(&place, "stingy");
}

/// A disk on which the calls that `which` picks fail with `error`.
fn disk_failing(error: Errno, which: fn(&DiskCall<'_>) -> bool) -> Disk {
    disk_with(move |call| match which(call) {
        true => Err(error.into()),
        false => Ok(Verdict::Proceed),
    })
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let is_write: fn(&DiskCall<'_>) -> bool =
        |call| matches!(call.operation, Operation::Write { .. });
    let is_rename: fn(&DiskCall<'_>) -> bool =
        |call| matches!(call.operation, Operation::Rename { .. });
    let is_sync: fn(&DiskCall<'_>) -> bool = |call| matches!(call.operation, Operation::Sync);
    let is_length: fn(&DiskCall<'_>) -> bool =
        |call| matches!(call.operation, Operation::SetLength { .. });
    for (error, which, local, told) in [
        (
            Errno::NOSPC,
            is_write,
            true,
            "the disk is full: cannot write `f`",
        ),
        (
            Errno::DQUOT,
            is_write,
            true,
            "your disk quota is used up: cannot write `f`",
        ),
        (
            Errno::IO,
            is_write,
            true,
            "cannot write `f`: Input/output error (os error 5)",
        ),
        (
            Errno::ROFS,
            is_rename,
            true,
            "cannot name `f`: Read-only file system (os error 30)",
        ),
        (
            Errno::ACCESS,
            is_rename,
            true,
            "cannot name `f`: Permission denied (os error 13)",
        ),
        (
            Errno::XDEV,
            is_rename,
            false,
            "`f` lies on another file system than the destination; name that as destination",
        ),
        (
            Errno::FBIG,
            is_length,
            false,
            "`f` of 3 bytes is larger than this file system or `ulimit -f` allows",
        ),
        (
            Errno::IO,
            is_sync,
            true,
            "the disk did not confirm `f`, which must be fetched again: Input/output error (os error 5)",
        ),
        (
            Errno::NOSPC,
            is_sync,
            true,
            "the disk is full: cannot write `f`",
        ),
    ] {
        let place = Place::new();
        let options = DestinationOptions {
            durable: true,
            ..DestinationOptions::default()
        };
        let destination = place.open_on(disk_failing(error, which), options);
        let error = write_large(&destination, "f", b"new").unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.is_local_io()),
            (told, local)
        );
        assert_eq!(error.path(), &path("f"));
        assert!(!place.at("f").exists());
        // All of it is there and only its name is missing: the next run will find it.
        let is_kept = error.to_string().starts_with("cannot name");
        assert_eq!(
            destination.finish().kept.files,
            u64::from(is_kept),
            "{error}"
        );
        drop(destination);
        assert_eq!(place.tree().is_empty(), !is_kept, "{error}");
    }
}

/// A failed fsync is never tried again: the second call could wrongly succeed.
#[test]
fn what_the_disk_did_not_confirm_is_fetched_again() {
    // The first call makes the file durable, the second its name.
    for fails in 0..2 {
        let place = Place::new();
        let synced = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&synced);
        let disk = disk_with(move |call| {
            let Operation::Sync = call.operation else {
                return Ok(Verdict::Proceed);
            };
            let mut synced = noted.lock().unwrap();
            synced.push(call.path.to_vec());
            match synced.len() == fails + 1 {
                true => Err(Errno::IO.into()),
                false => Ok(Verdict::Proceed),
            }
        });
        let options = DestinationOptions {
            durable: true,
            ..DestinationOptions::default()
        };
        let destination = place.open_on(disk, options);
        for attempt in [write, write_large] {
            synced.lock().unwrap().clear();
            let error = attempt(&destination, "f", b"new").unwrap_err();
            assert!(matches!(error, EntryError::SyncFailed { .. }), "{error:?}");
            assert!(error.needs_fetching_again() && error.is_local_io());
            assert!(!place.at("f").exists(), "it must be written anew");
            assert_eq!(synced.lock().unwrap().len(), fails + 1, "never again");
        }
        assert_eq!(write(&destination, "f", b"new").unwrap(), Placed::New);
        let synced = synced.lock().unwrap();
        let [.., file, directory] = &synced[..] else {
            panic!("{synced:?}");
        };
        assert!(file.starts_with(place.at(PARTIAL).as_os_str().as_bytes()));
        assert_eq!(directory, place.dest().as_os_str().as_bytes());
    }
}

/// A durable file is of no use in a directory that is not.
#[test]
fn directories_are_durable_before_what_is_in_them() {
    let place = Place::new();
    let synced = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&synced);
    let disk = disk_with(move |call| {
        if let Operation::Sync = call.operation {
            noted.lock().unwrap().push(call.path.to_vec());
        }
        Ok(Verdict::Proceed)
    });
    let options = DestinationOptions {
        durable: true,
        ..DestinationOptions::default()
    };
    let destination = place.open_on(disk, options);
    for (directory, parent) in [("a", ""), ("a/b", "a")] {
        synced.lock().unwrap().clear();
        destination.enter_directory(&path(directory)).unwrap();
        let expected = place.at(parent).into_os_string().into_encoded_bytes();
        let expected = expected.strip_suffix(b"/").unwrap_or(&expected);
        assert_eq!(*synced.lock().unwrap(), [expected]);
        destination.enter_directory(&path(directory)).unwrap();
        assert_eq!(synced.lock().unwrap().len(), 1, "nothing new");
    }
}

#[test]
fn nothing_is_made_durable_unless_asked_for() {
    let place = Place::new();
    let disk = disk_failing(Errno::IO, |call| matches!(call.operation, Operation::Sync));
    let outcomes = download(&place, disk, DestinationOptions::default()).unwrap();
    assert!(
        outcomes.iter().all(|(_, outcome)| outcome.is_ok()),
        "{outcomes:?}"
    );
}

#[test]
fn a_file_system_without_hard_links_says_so() {
    let place = Place::new();
    let disk = disk_failing(Errno::PERM, |call| {
        matches!(call.operation, Operation::HardLink { .. })
    });
    let destination = place.open_on(disk, DestinationOptions::default());
    write(&destination, "f", b"new").unwrap();
    let error = destination.hard_link(&path("f"), &path("g")).unwrap_err();
    assert!(matches!(error, EntryError::NoHardLink { .. }), "{error:?}");
    assert!(error.needs_fetching_again() && !error.is_local_io());
}

#[test]
fn a_file_system_without_safe_renames_is_no_hindrance() {
    for lacks_links in [false, true] {
        let place = Place::new();
        let disk = disk_with(move |call| match call.operation {
            Operation::Rename { replace: false, .. } => Err(Errno::INVAL.into()),
            Operation::HardLink { .. } if lacks_links => Err(Errno::PERM.into()),
            _ => Ok(Verdict::Proceed),
        });
        let destination = place.open_on(disk, options(Existing::Refuse));
        assert_eq!(write(&destination, "f", b"new").unwrap(), Placed::New);
        assert_eq!(write_large(&destination, "g", b"new").unwrap(), Placed::New);
        assert!(
            write(&destination, "f", b"other")
                .unwrap_err()
                .is_refusal_to_overwrite()
        );
        finish(&destination);
        assert_eq!(place.tree(), ["f", "g"]);
        assert_eq!(place.read("f"), b"new");
    }
}

#[test]
fn a_name_that_no_file_can_have_here_is_an_error_about_the_name() {
    let place = Place::new();
    let disk = disk_with(|call| match call.operation {
        Operation::Rename { .. } => Err(Errno::INVAL.into()),
        Operation::HardLink { .. } => Err(Errno::PERM.into()),
        _ => Ok(Verdict::Proceed),
    });
    let destination = place.open_on(disk, options(Existing::Refuse));
    let error = write(&destination, "a:b?", b"new").unwrap_err();
    assert!(
        matches!(error, EntryError::UnusableName { .. }),
        "{error:?}"
    );
}

#[test]
fn a_disk_that_is_really_full_is_an_error_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    for (options, test) in [
        ("size=2m", "faults::fill_the_disk"),
        ("nr_inodes=40", "faults::use_up_the_inodes"),
    ] {
        if let Some(mut child) = child_on_mount(test, folder.path(), options) {
            assert!(child.status().unwrap().success(), "{options}");
        }
    }
}

#[test]
#[ignore = "the child of another test"]
fn fill_the_disk() {
    fill(
        |error| matches!(error, EntryError::DiskFull { .. }),
        "the disk is full: cannot write",
    );
}

#[test]
#[ignore = "the child of another test"]
fn use_up_the_inodes() {
    fill(
        |error| matches!(error, EntryError::NoInodes { .. }),
        "the disk has no inodes left: cannot make",
    );
}

fn fill(is_full: fn(&EntryError) -> bool, says: &str) {
    let Some(folder) = folder() else {
        return;
    };
    let options = DestinationOptions::default();
    let destination = Destination::open(Disk::new(), &folder, &job(), options).unwrap();
    let content = content(1, 9000);
    let mut written = 0;
    let error = loop {
        match write(&destination, &format!("{written}"), &content) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(is_full(&error) && error.is_local_io(), "{error:?}");
    assert_eq!(error.to_string(), format!("{says} `{written}`"));
    assert!(written > 20);
    // Of inodes there are none, of bytes too few: either shows before anything is fetched. How much
    // a sparse file takes does not.
    let content_of_large = super::content(2, 3 * GROUP_BYTES);
    let mut outcome = write_large(&destination, "large", &content_of_large);
    let has_room =
        |error: &EntryError| !is_full(error) && !matches!(error, EntryError::NoRoom { .. });
    assert!(!outcome.as_ref().is_err_and(has_room) && outcome.is_err());
    let sparse = FileInfo {
        sparse: true,
        ..info(content_of_large.len())
    };
    outcome = destination
        .begin_large(&path("large"), &sparse)
        .and_then(|file| {
            write_groups(&file, &content_of_large)?;
            file.finish()
        });
    assert!(outcome.as_ref().is_err_and(is_full), "{outcome:?}");
    // Here they take an inode and nothing else.
    let takes_inode = matches!(error, EntryError::NoInodes { .. });
    let directory = destination.enter_directory(&path("directory"));
    assert_eq!(directory.is_err_and(|error| is_full(&error)), takes_inode);
    let link = destination.make_link(&path("link"), b"0", at(1, 1));
    assert_eq!(link.is_err_and(|error| is_full(&error)), takes_inode);
    let whole = |at: usize| fs::read(folder.join(at.to_string())).unwrap() == content;
    assert!((0..written).all(whole));
    // With room again it goes on.
    (0..10).for_each(|at| fs::remove_file(folder.join(at.to_string())).unwrap());
    outcome = write(&destination, "0", &content);
    assert_eq!(outcome.unwrap(), Placed::New);
    finish(&destination);
    let others = if takes_inode { 0 } else { 2 };
    assert_eq!(list(&folder).len(), written - 9 + others);
}

#[test]
fn a_mount_below_the_destination_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("d/mounted");
    fs::create_dir_all(&mounted).unwrap();
    if let Some(mut child) = child_on_mount("faults::write_into_a_mount", &mounted, "size=1m") {
        assert!(child.status().unwrap().success());
    }
}

#[test]
#[ignore = "the child of another test"]
fn write_into_a_mount() {
    let Some(folder) = folder() else {
        return;
    };
    let options = DestinationOptions::default();
    let above = folder.parent().unwrap();
    let destination = Destination::open(Disk::new(), above, &job(), options).unwrap();
    destination.enter_directory(&path("mounted")).unwrap();
    let error = write(&destination, "mounted/f", b"new").unwrap_err();
    assert!(
        matches!(error, EntryError::OtherFileSystem { .. }),
        "{error:?}"
    );
    assert_eq!(list(&folder), [""; 0]);
    write(&destination, "f", b"new").unwrap();
    finish(&destination);
}

#[test]
fn errors_are_of_io() {
    // A hook's own error has no number.
    let place = Place::new();
    let disk = disk_with(|call| match call.operation {
        Operation::Write { .. } => Err(io::Error::other("broken")),
        _ => Ok(Verdict::Proceed),
    });
    let destination = place.open_on(disk, DestinationOptions::default());
    let error = write(&destination, "f", b"new").unwrap_err();
    assert_eq!(error.to_string(), "cannot write `f`: broken");
}
