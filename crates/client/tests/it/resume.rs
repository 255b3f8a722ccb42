//! Downloads that were interrupted, and go on. (THREATS 18, 19, 23 and 25.)

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use packhorse_client::report::Totals;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::message::Request;
use packhorse_storage::destination::Existing;

use crate::scene::{Clock, Outcome, PARTIAL, Scene, within};
use crate::scripted_server::{Script, Wire, refused};
use crate::tree::{Random, ServedTree, noise};

const MIB: usize = 1 << 20;
const SIZE: usize = 9 * MIB + 5;
const GROUPS: u64 = 10;

fn tree() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("f", noise(1, SIZE)).file("g", "good");
    tree
}

/// A server that is lost behind `frames` frames and does not come back.
fn lost_behind(frames: usize) -> Script {
    Script {
        wire: Box::new(move |connection| match connection {
            0 => Ok(Wire {
                frames_max: Some(frames),
                ..Wire::default()
            }),
            _ => Err(refused()),
        }),
        ..Script::default()
    }
}

/// A scene in which a first run was interrupted when some groups of `f` had come.
async fn interrupted(tree: ServedTree) -> Scene {
    let scene = Scene::with(tree, lost_behind(14));
    let scene = scene.settings(|settings| settings.retry_for = Duration::ZERO);
    let outcome = scene.run().await;
    assert!(outcome.error.is_some(), "{}", outcome.summary());
    scene
}

/// The only half-done file.
fn half_done(scene: &Scene) -> PathBuf {
    let jobs = fs::read_dir(scene.at(PARTIAL)).unwrap();
    let files = jobs.flat_map(|job| fs::read_dir(job.unwrap().path()).unwrap());
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name != "lock"));
    assert_eq!(paths.len(), 1, "{paths:?}");
    paths.remove(0)
}

/// The groups of the half-done file that hold what `content` has there.
fn in_place(scene: &Scene, content: &[u8]) -> BTreeSet<u64> {
    let found = fs::read(half_done(scene)).unwrap();
    let groups = found.chunks(MIB).zip(content.chunks(MIB)).zip(0..);
    let right = groups.filter(|((found, content), _)| found == content);
    right.map(|(_, index)| index).collect()
}

/// Runs it again from a server with `tree`, which must bring everything; returns which groups of
/// `f` were fetched.
async fn go_on(scene: &Scene, tree: &ServedTree) -> (BTreeSet<u64>, Outcome) {
    let next = scene.beside(tree.clone(), Script::default());
    let outcome = next.run().await;
    outcome.expect_all(&next, "", tree);
    let groups = outcome.log.groups("f");
    let fetched: BTreeSet<_> = groups.iter().copied().collect();
    assert_eq!(fetched.len(), groups.len(), "none twice: {groups:?}");
    (fetched, outcome)
}

fn counts(totals: &Totals) -> [u64; 5] {
    [
        &totals.bytes_fetched,
        &totals.bytes_kept,
        &totals.bytes_resumed,
        &totals.again.differing,
        &totals.again.changed,
    ]
    .map(|count| count.load(Ordering::Relaxed))
}

fn bytes_of(groups: &BTreeSet<u64>) -> u64 {
    let length = |&group: &u64| if group == GROUPS - 1 { 5 } else { MIB as u64 };
    groups.iter().map(length).sum()
}

#[test]
fn only_what_is_missing_is_fetched() {
    within(Clock::Paused, || async {
        let mut interrupted = 0;
        for frames in 3..24 {
            let scene = Scene::with(tree(), lost_behind(frames));
            let scene = scene.settings(|settings| settings.retry_for = Duration::ZERO);
            let outcome = scene.run().await;
            if !scene.at(PARTIAL).exists() {
                continue;
            }
            assert!(outcome.error.is_some());
            interrupted += 1;
            let kept = in_place(&scene, &noise(1, SIZE));
            let missing = (0..GROUPS).filter(|group| !kept.contains(group)).collect();
            let (fetched, outcome) = go_on(&scene, &tree()).await;
            assert_eq!(fetched, missing, "behind {frames} frames");
            assert_eq!(outcome.log.hashes("f"), kept.len() as u64);
            let [fetched_bytes, kept_bytes, resumed, differing, changed] = counts(&outcome.totals);
            assert_eq!(fetched_bytes, bytes_of(&missing));
            assert_eq!(resumed, bytes_of(&kept));
            assert_eq!(kept_bytes, resumed + "good".len() as u64);
            assert_eq!((differing, changed), (0, 0));
        }
        assert!(interrupted >= 8, "{interrupted} were interrupted");
    });
}

#[test]
fn exactly_what_is_damaged_is_fetched_again() {
    within(Clock::Paused, || async {
        for seed in 0..8 {
            let scene = interrupted(tree()).await;
            let kept = in_place(&scene, &noise(1, SIZE));
            assert!(kept.len() >= 2, "{kept:?}");
            let mut random = Random::new(seed);
            let at = *kept.iter().nth(random.below(kept.len())).unwrap();
            let file = fs::File::options()
                .read(true)
                .write(true)
                .open(half_done(&scene))
                .unwrap();
            let (offset, mut byte) = (at * MIB as u64 + random.below(5) as u64, [0]);
            file.read_exact_at(&mut byte, offset).unwrap();
            byte[0] ^= 1 << random.below(8);
            file.write_all_at(&byte, offset).unwrap();
            drop(file);
            let missing = (0..GROUPS).filter(|group| !kept.contains(group) || *group == at);
            let missing = missing.collect::<BTreeSet<_>>();
            let (fetched, outcome) = go_on(&scene, &tree()).await;
            assert_eq!(fetched, missing);
            assert_eq!(counts(&outcome.totals)[3], bytes_of(&BTreeSet::from([at])));
        }
    });
}

#[test]
fn of_a_source_that_has_changed_what_agrees_is_kept() {
    within(Clock::Paused, || async {
        for size in [
            SIZE,
            SIZE - 1,
            2 * MIB,
            3 * MIB + 7,
            12 * MIB,
            300 << 10,
            1000,
            0,
        ] {
            let scene = interrupted(tree()).await;
            let kept = in_place(&scene, &noise(1, SIZE));
            let mut content = noise(1, SIZE);
            content.resize(size, 7);
            if size > MIB {
                content[MIB + 1] ^= 1;
            }
            let mut changed = tree();
            changed.change("f", content.clone());
            let groups = size.div_ceil(MIB) as u64;
            let agrees = |group: &u64| {
                let start = *group as usize * MIB;
                let end = size.min(start + MIB);
                kept.contains(group) && content[start..end] == noise(1, SIZE)[start..SIZE.min(end)]
            };
            let missing: BTreeSet<_> = match size > 256 << 10 {
                true => (0..groups).filter(|group| !agrees(group)).collect(),
                // It comes whole.
                false => BTreeSet::new(),
            };
            let (fetched, _) = go_on(&scene, &changed).await;
            assert_eq!(fetched, missing, "{size}");
        }
    });
}

#[test]
fn where_the_source_has_a_hole_now_nothing_old_shows() {
    within(Clock::Paused, || async {
        let scene = interrupted(tree()).await;
        let kept = in_place(&scene, &noise(1, SIZE));
        let mut content = noise(1, SIZE);
        content[..2 * MIB].fill(0);
        content[5 * MIB..7 * MIB].fill(0);
        let mut changed = tree();
        changed.sparse("f", content);
        changed.at("f").settled = false;
        assert!(kept.contains(&0));
        let next = scene.beside(changed.clone(), Script::default());
        let outcome = next.run().await;
        outcome.expect_all(&next, "", &changed);
    });
}

#[test]
fn what_is_gone_from_the_source_goes() {
    within(Clock::Paused, || async {
        let scene = interrupted(tree()).await;
        let mut other = ServedTree::new();
        other.file("g", "good");
        let (fetched, outcome) = go_on(&scene, &other).await;
        assert!(fetched.is_empty(), "{}", outcome.summary());
    });
}

/// Such a run took away what was half done, and all of it was fetched again.
#[test]
fn a_run_that_cannot_go_on_leaves_it_to_the_next() {
    let refused = |refusal| {
        let mut tree = ServedTree::new();
        tree.refused("f", refusal).file("g", "good");
        tree
    };
    let check = |what: &'static str, keeps: bool, change: fn(Scene) -> Scene, between| {
        within(Clock::Paused, move || async move {
            let scene = interrupted(tree()).await;
            let kept = in_place(&scene, &noise(1, SIZE));
            assert!(!kept.is_empty());
            let next = change(scene.beside(between, Script::default()));
            // Something may be left although nothing has failed.
            let outcome = next.run_unchecked().await;
            let left = outcome.totals.half_done.load(Ordering::Relaxed);
            assert_eq!(left, u64::from(keeps), "{what}: {}", outcome.summary());
            let _ = fs::remove_file(scene.at("f"));
            let (fetched, _) = go_on(&scene, &tree()).await;
            let is_missing = |group: &u64| !keeps || !kept.contains(group);
            assert_eq!(fetched, (0..GROUPS).filter(is_missing).collect(), "{what}");
        });
    };
    check(
        "unreadable",
        true,
        |scene| scene,
        refused(Refusal::Unreadable),
    );
    check(
        "not allowed",
        true,
        |scene| scene,
        refused(Refusal::PermissionDenied),
    );
    check("gone", false, |scene| scene, refused(Refusal::NotFound));
    check(
        "no file any more",
        false,
        |scene| scene,
        refused(Refusal::Special),
    );
    check("in the way", true, |scene| scene.put("f", "mine"), tree());
    let exclude =
        |scene: Scene| scene.settings(|settings| settings.patterns.exclude.push("f".to_owned()));
    check("left out", true, exclude, tree());
    let include =
        |scene: Scene| scene.settings(|settings| settings.patterns.include.push("g".to_owned()));
    check("not asked for", true, include, tree());
}

/// All are begun before the cut, since their groups are asked for in one go.
#[test]
fn many_files_may_be_half_done() {
    within(Clock::Paused, || async {
        const FILES: u64 = 12;
        let mut tree = ServedTree::new();
        tree.page_items = 100;
        for number in 0..FILES {
            tree.file(&format!("f{number:02}"), noise(number, 2 * MIB + 1));
        }
        let scene = Scene::with(tree.clone(), Script::default());
        let mut scene = scene.settings(|settings| settings.retry_for = Duration::ZERO);
        // A few groups more in every run, so that most of them are begun in an earlier one.
        let mut fetched = 0;
        for run in 0..40 {
            scene = scene.beside(tree.clone(), lost_behind(16 + 3 * run));
            let outcome = scene.run().await;
            fetched += outcome.totals.bytes_fetched.load(Ordering::Relaxed);
            if outcome.error.is_none() {
                outcome.expect_all(&scene, "", &tree);
                assert!(run > 5);
                assert_eq!(
                    fetched,
                    FILES * (2 * MIB as u64 + 1),
                    "none was fetched twice"
                );
                return;
            }
        }
        panic!("it never came to its end");
    });
}

#[test]
fn a_run_that_goes_on_may_be_interrupted_too() {
    within(Clock::Paused, || async {
        for seed in 0..20u64 {
            let mut tree = tree();
            tree.at("f").settled = seed % 2 == 0;
            let scene = interrupted(tree.clone()).await;
            let script = Script::wired(move |connection| {
                let mut random = Random::new(seed * 1000 + connection as u64);
                Wire {
                    bytes_max: Some(MIB / 2 + random.below(2 * MIB)),
                    ..Wire::default()
                }
            });
            let next = scene.beside(tree.clone(), script);
            let next = next.settings(|settings| settings.retry_for = Duration::from_secs(300));
            let outcome = next.run().await;
            outcome.expect_all(&next, "", &tree);
        }
    });
}

#[test]
fn an_older_copy_and_what_is_half_done_go_together() {
    within(Clock::Paused, || async {
        let mut older = noise(1, SIZE);
        for group in [1, 3, 4, 8] {
            older[group * MIB] ^= 1;
        }
        let with_older = |script| {
            let scene = Scene::with(tree(), script).put("f", &older);
            scene
                .existing(Existing::Overwrite)
                .settings(|settings| settings.retry_for = Duration::ZERO)
        };
        let mut mixed = 0;
        for frames in 12..30 {
            let scene = with_older(lost_behind(frames));
            let outcome = scene.run().await;
            if !scene.at(PARTIAL).exists() {
                continue;
            }
            assert!(outcome.error.is_some());
            let kept = in_place(&scene, &noise(1, SIZE));
            let (fetched, _) = go_on(&scene, &tree()).await;
            let differing = BTreeSet::from([1, 3, 4, 8]);
            assert_eq!(fetched, differing.difference(&kept).copied().collect());
            mixed += usize::from(fetched.len() < differing.len() && !fetched.is_empty());
        }
        assert!(mixed > 0);
    });
}

/// What has come of the first version is compared with the second.
#[test]
fn a_change_in_the_middle_costs_what_has_changed() {
    within(Clock::Paused, || async {
        let mut content = noise(1, SIZE);
        content[MIB] ^= 1;
        let mut changed = tree();
        changed.change("f", content);
        let after = changed.clone();
        let mut asked = 0;
        let script = Script::changing(move |call, tree| {
            if let Request::Read(read) = &call.request
                && !read.range.is_empty()
            {
                asked += 1;
                if asked == 2 {
                    *tree = after.clone();
                }
            }
        });
        let scene = Scene::with(tree(), script);
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &changed);
        let [fetched, kept, resumed, differing, again] = counts(&outcome.totals);
        assert_eq!((kept, resumed, differing), (0, 0, 0));
        // Nothing, if the group that changed was still on its way.
        assert!(again == 0 || again == MIB as u64, "{again}");
        assert_eq!(fetched, (SIZE + "good".len()) as u64 + again);
    });
}
