//! The folder for what is unfinished, and the lock on it. Threats 25 and 27.

use std::os::unix::fs::{chown, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use packhorse_storage::destination::DestinationError;
use packhorse_storage::disk::{Operation, Verdict};

use super::child::{child, folder};
use super::*;
use crate::trees::disk_with;

fn open_job(place: &Place, path: &str) -> Result<Destination, DestinationError> {
    let name = JobName::new(b"pin", path.as_bytes());
    let options = options(Existing::KeepBoth);
    Destination::open(Disk::new(), &place.dest(), &name, options)
}

fn is_in_use<T>(result: Result<T, DestinationError>) -> bool {
    match result {
        Ok(_) => false,
        Err(DestinationError::InUse { .. }) => true,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn one_job_is_done_by_one_at_a_time() {
    let place = Place::new();
    let first = open_job(&place, "a").unwrap();
    // Nothing is made, and so nothing locked, until something is written.
    let second = open_job(&place, "a").unwrap();
    assert_eq!(place.tree(), [""; 0]);
    write(&first, "f", b"first").unwrap();
    assert!(is_in_use(second.claim()));
    let error = write(&second, "f", b"second").unwrap_err();
    assert!(error.is_in_use() && !error.is_local_io(), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("another `get` of the same address"),
        "{error}"
    );
    assert!(is_in_use(open_job(&place, "a")));
    // Another job goes on beside it.
    let other = open_job(&place, "b").unwrap();
    write(&other, "g", b"other").unwrap();
    finish(&other);
    assert!(place.at(PARTIAL).exists());
    finish(&first);
    assert_eq!(place.tree(), ["f", "g"]);
    // Now the second may.
    second.claim().unwrap();
    assert!(is_in_use(open_job(&place, "a")));
    drop(first);
    assert!(is_in_use(open_job(&place, "a")));
    drop(second);
    assert_eq!(place.tree(), ["f", "g"]);
    assert!(open_job(&place, "a").is_ok());
}

#[test]
fn the_lock_outlives_the_destination_by_its_open_files() {
    let place = Place::new();
    let destination = open_job(&place, "a").unwrap();
    let file = destination.begin_large(&path("f"), &info(3)).unwrap();
    drop(destination);
    assert!(is_in_use(open_job(&place, "a")));
    file.write_group(GroupIndex::FIRST, b"abc").unwrap();
    file.finish().unwrap();
    assert_eq!(place.tree(), ["f"]);
}

#[test]
fn a_lock_ends_with_its_process() {
    let place = Place::new();
    let mut holder = child("job::hold", &place.dest()).spawn().unwrap();
    while !place.at("held").exists() {
        assert!(holder.try_wait().unwrap().is_none(), "the child has ended");
        thread::sleep(Duration::from_millis(1));
    }
    let open = || {
        Destination::open(
            Disk::new(),
            &place.dest(),
            &job(),
            options(Existing::Refuse),
        )
    };
    assert!(is_in_use(open()));
    holder.kill().unwrap();
    holder.wait().unwrap();
    finish(&open().unwrap());
    assert_eq!(place.tree(), ["held"]);
}

#[test]
#[ignore = "the child of another test"]
fn hold() {
    let Some(folder) = folder() else {
        return;
    };
    let options = DestinationOptions::default();
    let destination = Destination::open(Disk::new(), &folder, &job(), options).unwrap();
    let _unfinished = destination.begin_large(&path("f"), &info(3)).unwrap();
    write(&destination, "held", b"").unwrap();
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn what_a_killed_run_left_is_cleared() {
    let place = Place::new();
    let destination = open_job(&place, "a").unwrap();
    destination.claim().unwrap();
    let [_, folder, lock] = &place.tree()[..] else {
        panic!("{:?}", place.tree());
    };
    assert!(lock.ends_with("/lock"));
    drop(destination);
    assert_eq!(place.tree(), [""; 0]);
    fs::create_dir_all(place.at(folder)).unwrap();
    for left in ["lock", "0", "1", "17", "something else"] {
        fs::write(place.at(folder).join(left), "left").unwrap();
    }
    symlink("/nowhere", place.at(folder).join("2")).unwrap();
    fs::create_dir_all(place.at(PARTIAL).join("of nobody")).unwrap();
    let destination = open_job(&place, "a").unwrap();
    assert!(destination.was_empty());
    assert_eq!(place.tree().len(), 4, "{:?}", place.tree());
    write(&destination, "f", b"new").unwrap();
    finish(&destination);
    assert_eq!(place.tree().len(), 3, "{:?}", place.tree());
}

/// What an early kill left of a job stayed for ever if that was never run again.
#[test]
fn what_killed_runs_of_other_jobs_left_goes_if_it_is_of_no_use() {
    let place = Place::new();
    let folder_of = |job: &str| {
        let destination = open_job(&place, job).unwrap();
        let before = place.tree();
        destination.claim().unwrap();
        let tree = place.tree();
        let lock = tree
            .iter()
            .find(|at| at.ends_with("/lock") && !before.contains(at));
        let folder = place.at(lock.unwrap().strip_suffix("/lock").unwrap());
        drop(destination);
        folder
    };
    let part = format!("part-{:032x}", 7);
    let leave = |job: &str, names: &[&str]| {
        let folder = folder_of(job);
        fs::create_dir_all(&folder).unwrap();
        for name in names {
            fs::write(folder.join(name), "left").unwrap();
        }
        folder
    };
    let useless = [
        leave("killed before its lock", &[]),
        leave("killed behind its lock", &["lock"]),
        leave("killed with a small file", &["lock", "0", "17"]),
    ];
    let half_done = leave("half done", &["lock", "3", &part]);
    let not_ours = place.at(PARTIAL).join("something else");
    fs::create_dir(&not_ours).unwrap();
    let held = open_job(&place, "held").unwrap();
    held.claim().unwrap();
    let destination = open_job(&place, "a").unwrap();
    write(&destination, "f", b"new").unwrap();
    finish(&destination);
    for folder in useless {
        assert!(!folder.exists(), "{:?}", place.tree());
    }
    assert_eq!(list(&half_done), ["lock".to_owned(), part]);
    assert!(not_ours.exists());
    assert!(is_in_use(open_job(&place, "held")));
    write(&held, "g", b"new").unwrap();
    fs::remove_dir_all(half_done).unwrap();
    fs::remove_dir(not_ours).unwrap();
    finish(&held);
    assert_eq!(place.tree(), ["f", "g"]);
}

/// Whoever ends holds the locks of the folders that it looks into, for a moment.
#[test]
fn a_look_into_a_folder_keeps_nobody_from_claiming_it() {
    const ROUNDS: usize = 300;
    let place = Place::in_memory();
    let stays = open_job(&place, "stays").unwrap();
    stays.claim().unwrap();
    thread::scope(|scope| {
        for job in ["a", "b", "c"] {
            let place = &place;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let destination = open_job(place, job).unwrap();
                    destination.claim().unwrap();
                    finish(&destination);
                }
            });
        }
    });
    finish(&stays);
    assert_eq!(place.tree(), [""; 0]);
}

/// What is put where a directory of ours should be.
type Obstacle = (&'static str, fn(&Path));

#[test]
fn nothing_is_led_elsewhere_by_what_is_in_the_way() {
    let in_the_way: [Obstacle; 4] = [
        ("link", |at| symlink("../outside", at).unwrap()),
        ("dangling", |at| symlink("../outside/new", at).unwrap()),
        ("file", |at| fs::write(at, "mine").unwrap()),
        ("foreign", |at| {
            fs::create_dir(at).unwrap();
            if chown(at, Some(54_321), None).is_err() {
                eprintln!("SKIPPED: only a privileged user can give a directory away");
                fs::remove_dir(at).unwrap();
                fs::write(at, "mine").unwrap();
            }
        }),
    ];
    let place = Place::new();
    let destination = open_job(&place, "a").unwrap();
    destination.claim().unwrap();
    let folder = place.tree()[1].clone();
    drop(destination);
    for (what, put) in in_the_way {
        for (at, within) in [(PARTIAL, false), (folder.trim_end_matches('/'), true)] {
            let place = Place::new();
            let before = open_job(&place, "a").unwrap();
            if within {
                fs::create_dir(place.at(PARTIAL)).unwrap();
            }
            put(&place.at(at));
            let was = place.tree();
            let results = [
                open_job(&place, "a").map(drop).unwrap_err(),
                before.claim().unwrap_err(),
            ];
            for error in results {
                assert!(
                    matches!(error, DestinationError::ForeignPartial { .. }),
                    "{what} at {at}: {error:?}"
                );
            }
            assert!(!write(&before, "f", b"new").unwrap_err().is_in_use());
            assert_eq!(place.tree(), was, "{what} at {at}");
            place.check_outside();
        }
    }
}

#[test]
fn a_lock_that_is_no_file_is_an_error() {
    let place = Place::new();
    let destination = open_job(&place, "a").unwrap();
    destination.claim().unwrap();
    let folder = place.at(&place.tree()[1]);
    drop(destination);
    fs::create_dir_all(&folder).unwrap();
    let lock = folder.join("lock");
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &lock, fifo).unwrap();
    assert!(open_job(&place, "a").is_err());
    fs::remove_file(&lock).unwrap();
    symlink("../../../outside/secret", &lock).unwrap();
    assert!(open_job(&place, "a").is_err());
    place.check_outside();
}

#[test]
fn a_destination_is_made_where_it_is_missing() {
    let place = Place::new();
    fs::write(place.at("file"), "mine").unwrap();
    fs::create_dir(place.at("real")).unwrap();
    symlink("real", place.at("link")).unwrap();
    symlink("missing", place.at("dangling")).unwrap();
    for durable in [false, true] {
        let options = DestinationOptions {
            durable,
            ..DestinationOptions::default()
        };
        let open = |at: &str| Destination::open(Disk::new(), &place.at(at), &job(), options);
        let made = format!("{durable}/b/c");
        assert!(open(&made).unwrap().was_empty());
        assert!(place.at(&made).is_dir());
        for cannot in ["file", "file/x", "dangling"] {
            let error = open(cannot).unwrap_err();
            assert!(matches!(error, DestinationError::Io { .. }), "{error:?}");
            assert!(error.to_string().contains(cannot), "{error}");
        }
        // The user's own choice of a link is followed.
        let linked = open("link").unwrap();
        write(&linked, &format!("{durable}"), b"new").unwrap();
        finish(&linked);
    }
    assert_eq!(list(&place.at("real")), ["false", "true"]);
    assert!(!place.open(DestinationOptions::default()).was_empty());
}

/// Another run of the job ends just before any call of a claim, up to that for the lock, and takes
/// away what the claim stands on; or a third has already put a new lock in its place.
#[test]
fn a_claim_stands_on_nothing_that_is_gone() {
    const CALLS_MAX: usize = 20;
    for has_third in [false, true] {
        let ends = (0..CALLS_MAX).filter(|&call| claim_while_another_ends(call, has_third));
        assert!((8..CALLS_MAX).contains(&ends.count()));
    }
}

/// Whether the other did end, before the claim had its lock.
fn claim_while_another_ends(ends_at: usize, has_third: bool) -> bool {
    let place = Place::in_memory();
    let destination = open_job(&place, "a").unwrap();
    destination.claim().unwrap();
    let folder = place.at(&place.tree()[1]);
    drop(destination);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("lock"), "").unwrap();
    let (partial, calls) = (place.at(PARTIAL), AtomicUsize::new(0));
    let (locked, ended) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let noted = Arc::clone(&ended);
    let disk = disk_with(move |call| {
        let is_now = calls.fetch_add(1, Ordering::Relaxed) == ends_at;
        if is_now && !locked.load(Ordering::Relaxed) {
            fs::remove_file(folder.join("lock")).unwrap();
            match has_third {
                true => fs::write(folder.join("lock"), "").unwrap(),
                false => fs::remove_dir_all(&partial).unwrap(),
            }
            noted.store(true, Ordering::Relaxed);
        }
        if let Operation::Lock = call.operation {
            locked.store(true, Ordering::Relaxed);
        }
        Ok(Verdict::Proceed)
    });
    let name = JobName::new(b"pin", b"a");
    let options = options(Existing::Refuse);
    let destination = Destination::open(disk, &place.dest(), &name, options).unwrap();
    destination.claim().unwrap();
    assert!(
        is_in_use(open_job(&place, "a")),
        "the other ended at call {ends_at}"
    );
    write(&destination, "f", b"new").unwrap();
    finish(&destination);
    assert_eq!(place.tree(), ["f"]);
    ended.load(Ordering::Relaxed)
}

/// Jobs begin and end at once, as many threads; none sees anything but a lock that is held.
#[test]
fn beginnings_and_ends_do_not_meet_badly() {
    const THREADS: usize = 6;
    const ROUNDS: usize = 150;
    let place = Place::in_memory();
    let written: usize = thread::scope(|scope| {
        let run = |thread: usize| {
            let mut written = 0;
            for round in 0..ROUNDS {
                let Ok(destination) = open_job(&place, ["a", "b"][(thread + round) % 2])
                    .map_err(|error| assert!(is_in_use::<()>(Err(error))))
                else {
                    continue;
                };
                let to = format!("{thread}-{round}");
                match write(&destination, &to, to.as_bytes()) {
                    Ok(placed) => assert_eq!(placed, Placed::New),
                    Err(error) => {
                        assert!(error.is_in_use(), "{error:?}");
                        continue;
                    }
                }
                written += 1;
                if round % 3 > 0 {
                    finish(&destination);
                }
            }
            written
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|it| scope.spawn(move || run(it)))
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert!(written >= ROUNDS, "{written} files were written");
    let tree = place.tree();
    assert_eq!(tree.len(), written, "only whole files are left");
    assert!(tree.iter().all(|at| place.read(at) == at.as_bytes()));
}
