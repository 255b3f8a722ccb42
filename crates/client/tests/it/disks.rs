//! Disks that fail in the middle of a download. (THREATS 26.)

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use packhorse_storage::disk::{Disk, DiskCall, DiskHook, Operation, Verdict};

use crate::scene::{Clock, PARTIAL, Scene, within};
use crate::scripted_server::{Script, Wire, refused};
use crate::tree::{Node, ServedTree, noise};

const MIB: usize = 1 << 20;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Made once: there are hundreds of downloads of it.
fn tree() -> ServedTree {
    static TREE: OnceLock<ServedTree> = OnceLock::new();
    TREE.get_or_init(make_tree).clone()
}

fn make_tree() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("a", "hello")
        .file("b", noise(1, 3 * MIB + 1))
        .directory("d")
        .file("d/c", noise(2, 300 << 10))
        .link("d/up", "../a")
        .sparse("z", [vec![0; MIB], noise(3, 5)].concat());
    tree
}

/// Counts calls by kind, and fails one of them.
#[derive(Default)]
struct FailingDisk {
    fails: Option<(&'static str, u64, i32)>,
    seen: Mutex<BTreeMap<&'static str, u64>>,
}

impl DiskHook for FailingDisk {
    fn before(&self, call: &DiskCall<'_>) -> io::Result<Verdict> {
        let mut seen = self.seen.lock().unwrap();
        let kind = call.operation.kind();
        let number = seen.entry(kind).or_default();
        *number += 1;
        match self.fails {
            Some((fails, at, error)) if (fails, at) == (kind, *number) => {
                Err(io::Error::from_raw_os_error(error))
            }
            // Short reads and writes are the rule here.
            _ if matches!(
                call.operation,
                Operation::Read { .. } | Operation::Write { .. }
            ) =>
            {
                Ok(Verdict::Shorten(700_000))
            }
            _ => Ok(Verdict::Proceed),
        }
    }
}

/// A scene; if `half_done`, an earlier run was interrupted.
async fn begin(durable: bool, half_done: bool) -> Scene {
    let script = Script {
        wire: Box::new(|connection| match connection {
            0 => Ok(Wire {
                frames_max: Some(14),
                ..Wire::default()
            }),
            _ => Err(refused()),
        }),
        ..Script::default()
    };
    let mut first = Scene::with(tree(), script);
    first.options.durable = durable;
    if half_done {
        first.settings.retry_for = Duration::ZERO;
        assert!(first.run().await.error.is_some());
    }
    first
}

/// How often each kind of call is made.
async fn calls(durable: bool, half_done: bool) -> BTreeMap<&'static str, u64> {
    let disk = Arc::new(FailingDisk::default());
    let mut scene = begin(durable, half_done)
        .await
        .beside(tree(), Script::default());
    scene.disk = Disk::with_hook(Arc::clone(&disk) as _);
    scene.run().await.expect_all(&scene, "", &tree());
    let seen = disk.seen.lock().unwrap();
    seen.clone()
}

/// What has a name has all of its content.
fn check_what_is_there(scene: &Scene, what: &str) {
    for (path, node) in tree().nodes {
        if let Node::File(file) = node
            && let Ok(found) = fs::read(scene.at(&path))
        {
            assert!(found == *file.content, "{what}: {path} is wrong");
        }
    }
}

async fn check(durable: bool, half_done: bool, fails: (&'static str, u64, i32)) {
    let what = format!("durable: {durable}, half done: {half_done}, {fails:?}");
    let mut scene = begin(durable, half_done)
        .await
        .beside(tree(), Script::default());
    scene.disk = Disk::with_hook(Arc::new(FailingDisk {
        fails: Some(fails),
        ..FailingDisk::default()
    }));
    let outcome = scene.run_unchecked().await;
    assert_eq!(outcome.log.violations, [""; 0], "{what}");
    check_what_is_there(&scene, &what);
    let is_all_well = outcome.error.is_none() && outcome.exit.is_empty();
    if is_all_well {
        crate::scene::expect_tree(&without_partial(&scene), &tree());
    }
    // The next run needs no help.
    let mut next = scene.beside(tree(), Script::default());
    next.disk = Disk::new();
    let outcome = next.run().await;
    assert!(outcome.error.is_none(), "{what}: {}", outcome.summary());
    outcome.expect_all(&next, "", &tree());
}

/// The destination, in which a folder that could not be removed is no fault of the entries.
fn without_partial(scene: &Scene) -> std::path::PathBuf {
    let partial = scene.at(PARTIAL);
    if partial.exists() {
        let root = scene.destination();
        let times = fs::metadata(&root).unwrap().modified().unwrap();
        fs::remove_dir_all(&partial).unwrap();
        fs::File::open(&root).unwrap().set_modified(times).unwrap();
    }
    scene.destination()
}

/// Every call of every kind, each by itself, with one error or the other.
#[test]
fn whichever_call_fails_nothing_is_wrong_and_the_next_run_completes() {
    within(Clock::Paused, || async {
        let mut tried = 0;
        for (durable, half_done) in [(true, false), (false, true)] {
            for (kind, count) in calls(durable, half_done).await {
                for number in 1..=count {
                    let error = [EIO, ENOSPC][(number % 2) as usize];
                    check(durable, half_done, (kind, number, error)).await;
                    tried += 1;
                }
            }
        }
        assert!(tried > 150, "{tried} calls");
    });
}
