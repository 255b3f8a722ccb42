//! Several connections that act as one transfer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use packhorse_protocol::message::{ReadWhat, Request};
use packhorse_storage::disk::{Disk, DiskCall, DiskHook, Operation, Verdict};
use packhorse_transport::dial::DialError;
use tokio::sync::Notify;

use crate::scene::{Clock, Scene, within};
use crate::scripted_server::{Log, Script, Wire, refused};
use crate::tree::{ServedTree, noise};
use crate::wire::frame;

const MIB: usize = 1 << 20;

/// 160 groups, every second of them a hole.
fn large() -> ServedTree {
    let mut content = vec![0; 160 * MIB];
    for group in (0..160).step_by(2) {
        let data = noise(group as u64, 4096);
        content[group * MIB..][..4096].copy_from_slice(&data);
    }
    let mut tree = ServedTree::new();
    tree.sparse("f", content).file("g", "small");
    tree
}

fn scene(tree: ServedTree, script: Script) -> Scene {
    Scene::with(tree, script).settings(|settings| settings.connections = Some(4))
}

/// The groups whose content each connection was asked for.
fn by_connection(log: &Log) -> BTreeMap<usize, Vec<u64>> {
    let mut groups: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for call in &log.calls {
        if let Request::Read(read) = &call.request
            && read.what == ReadWhat::Content
        {
            let asked = groups.entry(call.connection).or_default();
            asked.extend(read.range.iter().map(|group| group.get()));
        }
    }
    groups
}

#[test]
fn the_groups_of_a_file_are_spread() {
    within(Clock::Paused, || async {
        let tree = large();
        let scene = scene(tree.clone(), Script::default());
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        let groups = by_connection(&outcome.log);
        // Which connection comes first to the plan is not fixed, nor that the one with the tree has
        // time for groups.
        let busy = groups.values().filter(|groups| groups.len() >= 8).count();
        assert!(busy >= 2, "{groups:?}");
        let mut all = groups.into_values().flatten().collect::<Vec<_>>();
        all.sort_unstable();
        assert_eq!(all, (0..160).collect::<Vec<_>>(), "each exactly once");
        assert_eq!(outcome.log.completions.len(), 1);
    });
}

#[test]
fn a_server_far_away_gets_more_connections_from_the_start() {
    within(Clock::Paused, || async {
        // Of a file of 13 groups, four take two each, and no fifth is worth it for what is left.
        let mut far = ServedTree::new();
        far.file("f", noise(1, 13 * MIB));
        for (dial_time, tree, connections) in [(0, large(), 3), (100, far, 4)] {
            let script = Script::wired(move |_| Wire {
                dial_time: Duration::from_millis(dial_time),
                ..Wire::default()
            });
            let scene = Scene::with(tree.clone(), script).settings(|all| all.connections = None);
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree);
            let seen = outcome.log.connections;
            assert_eq!(seen, connections, "{dial_time} ms");
        }
    });
}

/// Where one of four connections had bad luck, the others waited for its last groups. The clock is
/// real: one that jumps while disks work makes all of them alike.
#[test]
fn others_take_over_what_a_slow_connection_owes() {
    within(Clock::Real, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 32 * MIB));
        let script = Script::wired(move |connection| Wire {
            dial_time: Duration::from_millis(100),
            // One of them has greeted, and reads its first request when the others have long been
            // done.
            pace: Some(match connection {
                2 => (64 << 10, Duration::from_secs(50)),
                _ => (256 << 10, Duration::from_millis(10)),
            }),
            ..Wire::default()
        });
        let scene = scene(tree.clone(), script);
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        let groups = by_connection(&outcome.log);
        assert!(!groups.contains_key(&2), "{groups:?}");
        assert_eq!(outcome.log.connections, 4);
    });
}

/// The first connection is dialled again: it has the conversation to end.
#[test]
fn others_take_over_what_the_first_connection_owes() {
    within(Clock::Real, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 32 * MIB));
        let script = Script::wired(move |connection| Wire {
            dial_time: Duration::from_millis(100),
            // The greeting and the page.
            frames_max: (connection == 0).then_some(2),
            falls_silent: connection == 0,
            ..Wire::default()
        });
        let scene = scene(tree.clone(), script);
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!((outcome.losses, outcome.log.connections), (0, 5));
        assert_eq!(outcome.log.completions.len(), 1);
    });
}

/// All groups had come, and the file waited a minute for a word behind those of one connection.
#[test]
fn others_do_without_the_end_of_what_a_slow_connection_has_brought() {
    within(Clock::Real, || async {
        let all_asked = Arc::new(Notify::new());
        let held = Arc::clone(&all_asked);
        let mut script = Script::wired(move |connection| Wire {
            dial_time: Duration::from_millis(100),
            // The greeting, the page and two groups, which come when nothing is left to ask for.
            frames_max: (connection == 0).then_some(4),
            falls_silent: connection == 0,
            hold: (connection == 0).then(|| (2, Arc::clone(&held))),
            ..Wire::default()
        });
        let mut asked = 0;
        script.before = Box::new(move |call, _| {
            if let Request::Read(read) = &call.request
                && read.what == ReadWhat::Content
            {
                asked += read.range.count();
                if asked == 5 {
                    all_asked.notify_one();
                }
            }
        });
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 5 * MIB));
        let scene = Scene::with(tree.clone(), script);
        let scene = scene.settings(|settings| settings.connections = Some(2));
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!((outcome.losses, outcome.log.connections), (0, 3));
        let groups = by_connection(&outcome.log);
        assert_eq!(groups[&0].len() + groups[&1].len(), 5, "none came twice");
        // Nobody has said whether they could have changed unseen.
        assert_eq!(outcome.log.hashes("f"), 2);
    });
}

/// A download that had lost nothing failed where the first connection could not be dialled again.
#[test]
fn others_bring_the_rest_where_the_first_connection_cannot_be_dialled_again() {
    within(Clock::Real, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 32 * MIB));
        let busy = frame(65, &[2]);
        for is_busy in [false, true] {
            let busy = busy.clone();
            let script = Script {
                wire: Box::new(move |connection| match connection {
                    4.. if !is_busy => Err(refused()),
                    _ => Ok(Wire {
                        dial_time: Duration::from_millis(100),
                        frames_max: (connection == 0).then_some(2),
                        falls_silent: connection == 0,
                        greeting: (connection >= 4).then(|| busy.clone()),
                        // The others are not done yet when the first is dialled again.
                        pace: Some((256 << 10, Duration::from_millis(10))),
                        ..Wire::default()
                    }),
                }),
                ..Script::default()
            };
            let scene = scene(tree.clone(), script);
            let scene = scene.settings(|settings| settings.retry_for = Duration::ZERO);
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree);
            assert_eq!(outcome.losses, 0);
            assert!(outcome.log.connections >= 5, "{}", outcome.log.connections);
        }
    });
}

/// Holds up the write of `group` for longer than it takes to see that a line is slow.
struct SlowDisk {
    group: Vec<u8>,
}

impl DiskHook for SlowDisk {
    fn before(&self, call: &DiskCall<'_>) -> io::Result<Verdict> {
        if matches!(call.operation, Operation::Write { bytes, .. } if self.group.starts_with(bytes))
        {
            thread::sleep(Duration::from_secs(4));
        }
        Ok(Verdict::Proceed)
    }
}

/// What had come behind a group that the disk was slow to take was given to others, and came again.
#[test]
fn a_slow_disk_is_not_taken_for_a_slow_connection() {
    within(Clock::Real, || async {
        let (mut tree, content) = (ServedTree::new(), noise(1, 2 * MIB));
        tree.file("f", content.clone())
            .file("g", noise(2, 30 * MIB));
        let script = Script::wired(move |_| Wire {
            dial_time: Duration::from_millis(100),
            pace: Some((256 << 10, Duration::from_millis(10))),
            ..Wire::default()
        });
        let mut scene = scene(tree.clone(), script);
        let group = content[..MIB].to_vec();
        scene.disk = Disk::with_hook(Arc::new(SlowDisk { group }));
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!(outcome.log.groups("f"), [0, 1]);
        assert_eq!(outcome.log.connections, 4);
    });
}

#[test]
fn a_lost_connection_loses_only_its_part() {
    within(Clock::Paused, || async {
        let tree = large();
        for lost in 0..4 {
            for frames in [1, 6] {
                let script = Script::wired(move |connection| Wire {
                    // The first has a page to bring before it.
                    frames_max: (connection == lost).then_some(frames + usize::from(lost == 0)),
                    ..Wire::default()
                });
                let scene = scene(tree.clone(), script);
                let outcome = scene.run().await;
                outcome.expect_all(&scene, "", &tree);
                let groups = by_connection(&outcome.log);
                let mut seen = BTreeSet::new();
                let mut again: Vec<_> = groups.values().flatten().collect();
                again.retain(|&&group| !seen.insert(group) && group % 2 == 0);
                let its_own = groups.get(&lost).map_or(0, Vec::len);
                assert!(again.len() <= its_own, "{lost}: {again:?} of {its_own}");
                assert_eq!(seen.len(), 160);
                // It may be asked whether those that came are still what they were.
                assert!(outcome.log.hashes("f") <= frames as u64);
            }
        }
    });
}

#[test]
fn one_connection_does_where_others_are_refused() {
    within(Clock::Real, || async {
        let tree = large();
        type Refuse = fn() -> DialError;
        let wrong: Refuse = || DialError::WrongIdentity {
            place: crate::scripted_server::place(),
            expected: packhorse_protocol::key::Pin::from([7; 16]),
            found: packhorse_protocol::key::Pin::from([8; 16]),
        };
        for (refuse, dials_max) in [(refused as Refuse, 40), (wrong, 4)] {
            let script = Script {
                wire: Box::new(move |connection| match connection {
                    0 => Ok(Wire::default()),
                    _ => Err(refuse()),
                }),
                ..Script::default()
            };
            let scene = scene(tree.clone(), script);
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree);
            let dials = outcome.log.connections;
            assert!((2..=dials_max).contains(&dials), "{dials}");
        }
    });
}

/// Losing a connection now and then over a long time must not leave the download with one.
#[test]
fn further_connections_are_dialled_again() {
    within(Clock::Paused, || async {
        let tree = large();
        // The first has enough to do for minutes, and all that is left comes over the others.
        let script = Script::wired(|connection| match connection {
            0 => Wire {
                pace: Some((64 << 10, Duration::from_secs(1))),
                ..Wire::default()
            },
            _ => Wire {
                frames_max: Some(6),
                ..Wire::default()
            },
        });
        let scene = scene(tree.clone(), script);
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert!(outcome.log.connections > 10, "{}", outcome.log.connections);
    });
}

/// Many files of middling size, small files and a tree of several pages over all connections, some
/// of which are always about to be lost.
#[test]
fn everything_at_once_over_bad_connections() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        for n in 0..12u64 {
            tree.directory(&format!("d{n:02}"))
                .file(&format!("d{n:02}/large"), noise(n, 5 * MIB + 3))
                .file(&format!("d{n:02}/middling"), noise(n, 300 << 10))
                .file(&format!("d{n:02}/small"), noise(n, 100));
        }
        for seed in 0..6 {
            let script = Script::wired(move |connection| {
                let mut random = crate::tree::Random::new(seed * 100 + connection as u64);
                Wire {
                    frames_max: Some(3 + random.below(20)),
                    ..Wire::default()
                }
            });
            let scene = scene(tree.clone(), script).put("mine", "");
            let outcome = scene.run().await;
            assert!(
                outcome.error.is_none() && outcome.exit.is_empty(),
                "seed {seed}"
            );
            std::fs::remove_file(scene.at("mine")).unwrap();
            let mut tree = tree.clone();
            // Removing a file has changed it.
            tree.nodes.remove("");
            crate::scene::expect_tree(&scene.destination(), &tree);
        }
    });
}
