//! What a run says at its end, and what it leaves. (THREATS 23, 25 and 26.)

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, SystemTime};

use packhorse_client::download::DownloadError;
use packhorse_protocol::key::Pin;
use packhorse_storage::destination::Existing;
use packhorse_storage::disk::{Disk, DiskCall, DiskHook, Operation, Verdict};
use packhorse_transport::dial::DialError;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use crate::scene::{Clock, Outcome, PARTIAL, Scene, within};
use crate::scripted_server::{PIN, Script, Wire, place, refused};
use crate::tree::{MODIFIED, ServedTree, noise};

const MIB: usize = 1 << 20;
const SIZE: usize = 9 * MIB + 5;

fn count(of: &std::sync::atomic::AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}

/// What has come of half-done files, as it lies on the disk.
fn bytes_half_done(scene: &Scene) -> (u64, u64) {
    let mut found = (0, 0);
    for job in fs::read_dir(scene.at(PARTIAL)).into_iter().flatten() {
        for file in fs::read_dir(job.unwrap().path()).unwrap() {
            let file = file.unwrap();
            if file.file_name().to_str().unwrap().starts_with("part-") {
                let content = fs::read(file.path()).unwrap();
                let groups = content
                    .chunks(MIB)
                    .filter(|group| group.iter().any(|&byte| byte != 0));
                found.0 += 1;
                found.1 += groups.map(|group| group.len() as u64).sum::<u64>();
            }
        }
    }
    found
}

/// A run that loses its server for good said nothing of what it had kept, and of the files that it
/// had heard of and not fetched.
#[test]
fn a_run_that_is_cut_says_what_it_has_not_done() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.page_items = 100;
        tree.file("f", noise(1, SIZE)).file("g", "good");
        tree.file("h", noise(2, 2 * MIB))
            .file("i", noise(3, 3 * MIB));
        tree.directory("d")
            .link("d/up", "e/../../g")
            .file("d/z", "1");
        let (mut half_done, mut unfinished) = (0, 0);
        for frames in 1..30 {
            let script = Script {
                wire: Box::new(move |connection| match connection {
                    0 => Ok(Wire {
                        frames_max: Some(frames),
                        ..Wire::default()
                    }),
                    _ => Err(refused()),
                }),
                ..Script::default()
            };
            let scene = Scene::with(tree.clone(), script);
            let scene = scene.settings(|settings| settings.retry_for = Duration::ZERO);
            let outcome = scene.run().await;
            if outcome.error.is_none() {
                assert_eq!(outcome.unfinished, [""; 0]);
                continue;
            }
            let totals = &outcome.totals;
            let told = (count(&totals.half_done), count(&totals.half_done_bytes));
            assert_eq!(told, bytes_half_done(&scene), "behind {frames} frames");
            half_done += u64::from(told.1 > 0);
            assert_eq!(count(&totals.unfinished), outcome.unfinished.len() as u64);
            check_each_is_told(&outcome, &["d/up", "d/z", "f", "g", "h", "i"]);
            unfinished += usize::from(outcome.unfinished.len() > 1);
        }
        assert!(half_done > 5 && unfinished > 5, "{half_done} {unfinished}");
    });
}

/// What a further connection had taken of its answer and not passed on, while the rate limit held it
/// back, was neither fetched nor unfinished once the run was over.
#[test]
fn what_another_connection_was_about_to_take_is_told_too() {
    within(Clock::Paused, || async {
        let names: Vec<_> = (10..50).map(|number| format!("f{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut tree = ServedTree::new();
        tree.page_items = 100;
        for name in &names {
            tree.file(name, noise(1, MIB).repeat(2));
        }
        let mut cut = 0;
        for frames in 6..14 {
            let script = Script {
                wire: Box::new(move |connection| match connection {
                    0 => Ok(Wire {
                        frames_max: Some(frames),
                        ..Wire::default()
                    }),
                    1 => Ok(Wire::default()),
                    _ => Err(refused()),
                }),
                ..Script::default()
            };
            let scene = Scene::with(tree.clone(), script);
            let scene = scene.settings(|settings| {
                settings.retry_for = Duration::ZERO;
                settings.connections = Some(2);
                settings.rate_limit = Some(4 << 20);
            });
            let outcome = scene.run().await;
            if outcome.error.is_some() {
                check_each_is_told(&outcome, &names);
                cut += usize::from(outcome.log.connections > 1);
            }
        }
        assert!(cut > 2, "{cut}");
    });
}

/// Entries of a page that no disk job had yet, for want of memory or held back by the rate limit,
/// were counted, and nothing was said of them.
#[test]
fn what_a_page_has_named_is_told_though_the_run_ends_within_it() {
    // The disk's time is real.
    within(Clock::Real, || async {
        const PAGE: usize = 150;
        let mut tree = ServedTree::new();
        tree.page_items = PAGE;
        tree.file("a", noise(1, 8 * MIB));
        // What the first page brings passes at once, and the second waits behind its first files.
        for number in 1..PAGE {
            tree.file(&format!("b{number:03}"), "");
        }
        for number in 0..PAGE {
            tree.file(&format!("c{number:03}"), noise(number as u64, 4096));
        }
        let script = Script {
            wire: Box::new(|connection| match connection {
                0 | 1 => Ok(Wire {
                    dial_time: Duration::from_millis(50),
                    frames_max: (connection == 0).then_some(2),
                    ..Wire::default()
                }),
                _ => Err(refused()),
            }),
            ..Script::default()
        };
        let scene = Scene::with(tree.clone(), script);
        let scene = scene.settings(|settings| {
            settings.retry_for = Duration::from_secs(3);
            settings.connections = Some(2);
            settings.rate_limit = Some(4 << 10);
        });
        let outcome = scene.run().await;
        assert!(outcome.error.is_some(), "{}", outcome.summary());
        let totals = &outcome.totals;
        let seen = count(&totals.files_seen);
        assert!(seen > PAGE as u64, "the second page has come: {seen}");
        assert_eq!(
            count(&totals.files_fetched) + count(&totals.unfinished),
            seen
        );
        assert_eq!(count(&totals.unfinished), outcome.unfinished.len() as u64);
    });
}

/// It runs as a task, which must not outlive whoever waits for it.
#[test]
fn a_download_that_is_dropped_ends() {
    within(Clock::Real, || async {
        let goes_on = Arc::new(Notify::new());
        let held = Arc::clone(&goes_on);
        let script = Script::wired(move |_| Wire {
            hold: Some((4, Arc::clone(&held))),
            // It ends with its client, whatever it has to say.
            falls_silent: true,
            ..Wire::default()
        });
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 5 * MIB));
        let scene = Scene::with(tree.clone(), script);
        let has_begun = async {
            while scene.server.log().frames.get(&0).map_or(0, Vec::len) < 4 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            outcome = scene.run() => panic!("it ended: {}", outcome.summary()),
            () = has_begun => goes_on.notify_one(),
        }
        while !scene.server.is_left() {
            sleep(Duration::from_millis(1)).await;
        }
        let log = scene.server.log();
        assert!(log.completions.is_empty() && !scene.at("f").exists());
        // Nor is its place taken.
        scene.server.begin_again(Script::default());
        scene.run().await.expect_all(&scene, "", &tree);
    });
}

/// What a disk worker was just making the directories of was counted, and told nowhere.
#[test]
fn the_end_waits_for_a_page_that_is_being_entered() {
    // The disk's time is real.
    within(Clock::Real, || async {
        let mut tree = ServedTree::new();
        // It makes a second connection worth it, which goes on with the tree.
        tree.file("a", noise(1, 8 * MIB));
        // The first page, and one with more than the job places that makes its directory.
        tree.page_items = 100;
        for number in 0..98 {
            tree.file(&format!("b{number:02}"), "1");
        }
        tree.directory("c");
        for number in 10..90 {
            tree.file(&format!("c/{number}"), "2");
        }
        let is_entering = Arc::new(AtomicBool::new(false));
        let (entering, second) = (Arc::clone(&is_entering), Arc::new(Notify::new()));
        let wire = move |connection| {
            let dial_time = Duration::from_millis(50);
            match connection {
                0 => Ok(Wire {
                    dial_time,
                    frames_max: Some(2),
                    hold: Some((2, Arc::clone(&second))),
                    ..Wire::default()
                }),
                1 => {
                    second.notify_one();
                    Ok(Wire::default())
                }
                // That ends the run.
                _ if entering.load(Ordering::Acquire) => Err(DialError::WrongIdentity {
                    place: place(),
                    expected: Pin::from(PIN),
                    found: Pin::from([1; 16]),
                }),
                _ => Err(refused()),
            }
        };
        let script = Script {
            wire: Box::new(wire),
            ..Script::default()
        };
        let mut scene = Scene::with(tree, script).settings(|settings| {
            settings.retry_for = Duration::from_secs(100);
            settings.connections = Some(2);
        });
        let server = Arc::clone(&scene.server);
        let is_making = |call: &DiskCall<'_>| {
            matches!(call.operation, Operation::CreateDirectory) && call.path.ends_with(b"/c")
        };
        scene.disk = Disk::with_hook(Arc::new(Meddler(is_making, move || {
            is_entering.store(true, Ordering::Release);
            while !server.is_left() {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        })));
        let outcome = scene.run().await;
        assert!(outcome.error.is_some(), "{}", outcome.summary());
        let totals = &outcome.totals;
        let told = count(&totals.files_fetched) + count(&totals.unfinished);
        assert_eq!((count(&totals.files_seen), told), (179, 179), "{outcome:?}");
        let is_told = |path: &str| outcome.unfinished.iter().any(|told| told == path);
        assert!(is_told("c/88") && is_told("c/89"), "{outcome:?}");
    });
}

/// A defect, which never is to leave anyone waiting.
#[test]
fn a_disk_job_that_panics_ends_the_download() {
    within(Clock::Paused, || async {
        let on_directory = |call: &DiskCall<'_>| {
            matches!(call.operation, Operation::CreateDirectory) && call.path.ends_with(b"/c")
        };
        let on_write = |call: &DiskCall<'_>| matches!(call.operation, Operation::Write { .. });
        let panics = || panic!("this panic belongs to the test");
        let hooks: [Arc<dyn DiskHook>; 2] = [
            Arc::new(Meddler(on_directory, panics)),
            Arc::new(Meddler(on_write, panics)),
        ];
        for hook in hooks {
            let mut tree = ServedTree::new();
            tree.file("a", noise(1, 2 * MIB));
            tree.directory("c").file("c/x", "2");
            let mut scene = Scene::with(tree, Script::default());
            scene.disk = Disk::with_hook(hook);
            let outcome = scene.run().await;
            assert!(
                matches!(outcome.error, Some(DownloadError::Worker)),
                "{outcome:?}"
            );
        }
    });
}

/// Whatever the listing has named has one outcome, and what it has not named has none.
#[track_caller]
fn check_each_is_told(outcome: &Outcome, names: &[&str]) {
    let mut told: Vec<_> = outcome.unfinished.clone();
    for line in &outcome.events {
        told.extend(line.split(' ').nth(1).map(str::to_owned));
    }
    told.sort();
    match outcome.totals.listing_ended.load(Ordering::Relaxed) {
        true => assert_eq!(told, names, "{outcome:?}"),
        false => assert_eq!(told, [""; 0], "{outcome:?}"),
    }
}

/// Does something whenever a call is made that `which` picks.
struct Meddler<W, D>(W, D);

impl<W, D> DiskHook for Meddler<W, D>
where
    W: Fn(&DiskCall<'_>) -> bool + Send + Sync,
    D: Fn() -> io::Result<()> + Send + Sync,
{
    fn before(&self, call: &DiskCall<'_>) -> io::Result<Verdict> {
        if (self.0)(call) {
            (self.1)()?;
        }
        Ok(Verdict::Proceed)
    }
}

/// Up to 8 MiB had come, and were lost with the process.
#[test]
fn no_more_is_taken_than_the_disk_has_turns_for() {
    within(Clock::Paused, || async {
        for (connections, expected) in [(1, 2), (2, 1)] {
            let mut tree = ServedTree::new();
            tree.file("f", noise(1, SIZE));
            let script = Script::wired(|_| Wire {
                pipe_bytes: Some(4096),
                ..Wire::default()
            });
            let mut scene = Scene::with(tree.clone(), script);
            scene.settings.connections = Some(connections);
            let (begun, goes_on) = (Arc::new(Semaphore::new(0)), Arc::new(RwLock::new(())));
            let (tell, gate) = (Arc::clone(&begun), Arc::clone(&goes_on));
            let is_write = |call: &DiskCall<'_>| matches!(call.operation, Operation::Write { .. });
            scene.disk = Disk::with_hook(Arc::new(Meddler(is_write, move || {
                tell.add_permits(1);
                drop(gate.read().unwrap());
                Ok(())
            })));
            let closed = goes_on.write().unwrap();
            let (outcome, groups) = tokio::join!(scene.run(), async {
                begun.acquire().await.unwrap().forget();
                // The clock goes on once everyone waits.
                sleep(Duration::from_secs(5)).await;
                drop(closed);
                let frames = &scene.server.log().frames[&0];
                frames.iter().filter(|&&length| length > MIB).count()
            });
            assert_eq!(groups, expected);
            outcome.expect_all(&scene, "", &tree);
        }
    });
}

/// What had been fetched was thrown away.
#[test]
fn what_has_come_is_of_use_though_its_name_was_taken_meanwhile() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, SIZE));
        for existing in [Existing::Overwrite, Existing::KeepBoth] {
            let mut scene = Scene::new(tree.clone());
            let at: PathBuf = scene.at("f");
            let is_naming = |call: &DiskCall<'_>| matches!(call.operation, Operation::Rename { to, .. } if to.ends_with(b"/f"));
            scene.disk =
                Disk::with_hook(Arc::new(Meddler(is_naming, move || fs::write(&at, "mine"))));
            let outcome = scene.run().await;
            assert_eq!(
                outcome.summary(),
                "f: mine\n--\nfailed f Taken\nexit: some failed"
            );
            assert_eq!(count(&outcome.totals.half_done_bytes), SIZE as u64);
            let mut next = scene
                .beside(tree.clone(), Script::default())
                .existing(existing);
            next.disk = Disk::new();
            let outcome = next.run().await;
            assert!(
                outcome.error.is_none() && outcome.exit.is_empty(),
                "{}",
                outcome.summary()
            );
            assert_eq!(outcome.log.groups("f"), [0; 0], "all of it was here");
            assert_eq!(count(&outcome.totals.bytes_resumed), SIZE as u64);
            let (came, mine) = match existing {
                Existing::KeepBoth => ("f (1)", Some("f")),
                _ => ("f", None),
            };
            assert!(fs::read(next.at(came)).unwrap() == noise(1, SIZE));
            let mine = mine.map(|mine| fs::read(next.at(mine)).unwrap());
            assert!(mine.is_none_or(|mine| mine == b"mine"));
        }
    });
}

/// It failed, though what has the name is what was wanted.
#[test]
fn a_name_that_was_taken_by_the_same_file_is_as_good() {
    within(Clock::Paused, || async {
        for (size, is_same_time) in [(SIZE, false), (SIZE, true), (5, false), (5, true)] {
            let mut tree = ServedTree::new();
            tree.file("f", noise(1, size));
            let mut scene = Scene::new(tree.clone());
            let at: PathBuf = scene.at("f");
            scene.disk = Disk::with_hook(Arc::new(Meddler(is_naming_f, move || {
                fs::write(&at, noise(1, size))?;
                let time = Duration::new(MODIFIED.0 as u64, MODIFIED.1);
                let time = SystemTime::UNIX_EPOCH + time;
                match is_same_time {
                    true => fs::File::open(&at)?.set_modified(time),
                    false => Ok(()),
                }
            })));
            let outcome = scene.run().await;
            assert!(outcome.exit.is_empty(), "{size}: {}", outcome.summary());
            assert_eq!(outcome.events, ["kept f"], "{size}, {is_same_time}");
            assert_eq!(count(&outcome.totals.files_kept), 1);
            crate::scene::expect_tree(&scene.destination(), &tree);
        }
    });
}

/// Of a small file nothing is kept half done.
#[test]
fn a_small_file_whose_name_was_taken_is_told_as_one_that_exists() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", "12345");
        let mut scene = Scene::new(tree);
        let at: PathBuf = scene.at("f");
        scene.disk = Disk::with_hook(Arc::new(Meddler(is_naming_f, move || {
            fs::write(&at, "mine!")
        })));
        let outcome = scene.run().await;
        assert_eq!(
            outcome.summary(),
            "f: mine!\n--\nfailed f Exists\nexit: some failed"
        );
        assert_eq!(count(&outcome.totals.taken), 0);
        assert!(!scene.at(PARTIAL).exists());
    });
}

fn is_naming_f(call: &DiskCall<'_>) -> bool {
    matches!(call.operation, Operation::Rename { to, .. } if to.ends_with(b"/f"))
}

/// Only large ones were: a small one failed.
#[test]
fn what_the_disk_does_not_confirm_is_fetched_again() {
    within(Clock::Paused, || async {
        // First its content is confirmed, then its name.
        for (size, fails_at) in [(5, 1), (5, 2), (SIZE, 1), (SIZE, 2)] {
            let mut tree = ServedTree::new();
            tree.file("f", noise(1, size));
            let mut scene = Scene::new(tree.clone());
            scene.options.durable = true;
            let calls = AtomicUsize::new(0);
            let is_it = move |call: &DiskCall<'_>| {
                matches!(call.operation, Operation::Sync)
                    && call.path.windows(5).any(|part| part == b"/dest")
                    && calls.fetch_add(1, Ordering::Relaxed) + 1 == fails_at
            };
            let fail = || Err(io::Error::from_raw_os_error(5));
            scene.disk = Disk::with_hook(Arc::new(Meddler(is_it, fail)));
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree);
            let unconfirmed = count(&outcome.totals.again.unconfirmed);
            assert_eq!(unconfirmed, size as u64, "call {fails_at}");
        }
    });
}

/// Nobody heard of it.
#[test]
fn a_folder_that_cannot_be_removed_is_told() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, MIB + 5)).file("g", "good");
        let mut scene = Scene::new(tree.clone());
        let is_removal = |call: &DiskCall<'_>| matches!(call.operation, Operation::RemoveDirectory);
        let refuse = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        scene.disk = Disk::with_hook(Arc::new(Meddler(is_removal, refuse)));
        let outcome = scene.run_unchecked().await;
        assert!(
            outcome.error.is_none() && outcome.exit.is_empty(),
            "{}",
            outcome.summary()
        );
        let told = outcome
            .events
            .iter()
            .filter(|line| line.starts_with("left behind "));
        assert_eq!(told.collect::<Vec<_>>(), ["left behind permission denied"]);
        assert!(scene.at(PARTIAL).exists());
        let mut next = scene.beside(tree.clone(), Script::default());
        next.disk = Disk::new();
        next.run().await.expect_all(&next, "", &tree);
    });
}
