//! Two downloads into one destination at once. (THREATS 27.)

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use packhorse_client::download::DownloadError;
use packhorse_storage::destination::{DestinationError, Existing};
use tokio::sync::Notify;

use crate::scene::{Clock, Outcome, Scene, describe_content, within};
use crate::scripted_server::{Script, Wire};
use crate::tree::{ServedTree, noise};

const MIB: usize = 1 << 20;

fn tree(seed: u64) -> ServedTree {
    let mut tree = ServedTree::new();
    for directory in ["d", "e"] {
        tree.directory(directory)
            .file(&format!("{directory}/big"), noise(seed, 3 * MIB + 1))
            .file(&format!("{directory}/small"), noise(seed + 1, 1000));
    }
    tree
}

/// A server that waits behind some frames until it is told to go on.
fn held(frames: usize) -> (Script, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let held = Arc::clone(&go_on);
    let script = Script::wired(move |_| Wire {
        hold: Some((frames, Arc::clone(&held))),
        ..Wire::default()
    });
    (script, go_on)
}

/// Waits until the job's lock is held, as the kernel sees it.
async fn until_begun(scene: &Scene) {
    while !lock_is_held(scene).unwrap_or(false) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

fn lock_is_held(scene: &Scene) -> Option<bool> {
    let job = fs::read_dir(scene.at(".packhorse-partial"))
        .ok()?
        .next()?
        .ok()?;
    let inode = job.path().join("lock").metadata().ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let is_it = |line: &str| line.contains("FLOCK") && line.contains(&format!(":{inode} "));
    Some(locks.lines().any(is_it))
}

fn is_in_use(outcome: &Outcome) -> bool {
    matches!(
        outcome.error,
        Some(DownloadError::Destination(DestinationError::InUse { .. }))
    )
}

#[test]
fn the_same_download_twice_at_once_is_refused() {
    within(Clock::Real, || async {
        let mut held_at_all = 0;
        for frames in 2..14 {
            let (script, go_on) = held(frames);
            let first = Scene::with(tree(1), script).ask("d");
            let second = first.beside(tree(2), Script::default());
            let (first_outcome, second_outcome) = tokio::join!(first.run_unchecked(), async {
                until_begun(&first).await;
                let outcome = second.run_unchecked().await;
                go_on.notify_one();
                outcome
            });
            // Whether the first has come so far depends on what it waits for.
            if first_outcome.log.frames[&0].len() <= frames {
                continue;
            }
            held_at_all += 1;
            assert!(is_in_use(&second_outcome), "{}", second_outcome.summary());
            assert_eq!(second_outcome.events, [""; 0]);
            let alone = only(&tree(1), "d");
            first_outcome.expect_all(&first, "d", &alone);
            assert!(!first.at(".packhorse-partial").exists());
            // And afterwards it is free.
            first.server.begin_again(Script::default());
            first.run().await.expect_all(&first, "d", &alone);
        }
        assert!(held_at_all > 5, "{held_at_all}");
    });
}

/// The part of `tree` below the directory `at`.
fn only(tree: &ServedTree, at: &str) -> ServedTree {
    let mut part = tree.clone();
    part.nodes = tree
        .nodes
        .iter()
        .filter_map(|(path, node)| {
            let below = path.strip_prefix(at)?;
            Some((below.trim_start_matches('/').to_owned(), node.clone()))
        })
        .collect();
    part
}

/// Begun in the very same moment, one of the two may meet the other only after its own beginning.
#[test]
fn a_race_of_the_same_download_never_mixes_contents() {
    within(Clock::Real, || async {
        for round in 0..40 {
            for existing in [Existing::Refuse, Existing::Overwrite] {
                let first = Scene::new(tree(10)).ask("d").existing(existing);
                let second = first.beside(tree(20), Script::default());
                let (one, other) = tokio::join!(first.run_unchecked(), second.run_unchecked());
                let lines = &crate::scene::lines_of(&first.destination());
                let choices = |name: &str, contents: [Vec<u8>; 2]| {
                    contents.map(|content| format!("d/{name}: {}", describe_content(&content)))
                };
                let big = choices("big", [noise(10, 3 * MIB + 1), noise(20, 3 * MIB + 1)]);
                let small = choices("small", [noise(11, 1000), noise(21, 1000)]);
                assert!(lines.iter().any(|line| big.contains(line)), "{lines:?}");
                assert!(lines.iter().any(|line| small.contains(line)), "{lines:?}");
                let told = format!("round {round}: {}\n\n{}", one.summary(), other.summary());
                assert_eq!(lines.len(), 3, "{told}");
                // Who could not do its part says so.
                for outcome in [&one, &other] {
                    let fetched = outcome
                        .events
                        .iter()
                        .filter(|line| line.starts_with("fetched"));
                    let all = fetched.count() == 2;
                    assert!(
                        all || is_in_use(outcome) || !outcome.exit.is_empty(),
                        "{told}"
                    );
                }
            }
        }
    });
}

#[test]
fn different_downloads_do_not_disturb_each_other() {
    within(Clock::Real, || async {
        for frames in 2..12 {
            let (script, go_on) = held(frames);
            let first = Scene::with(tree(1), script).ask("d");
            let second = first.beside(tree(1), Script::default()).ask("e");
            let (one, other) = tokio::join!(first.run_unchecked(), async {
                until_begun(&first).await;
                let outcome = second.run_unchecked().await;
                go_on.notify_one();
                outcome
            });
            other.expect_all(&second, "e", &only(&tree(1), "e"));
            one.expect_all(&first, "d", &only(&tree(1), "d"));
            assert!(!first.at(".packhorse-partial").exists());
        }
    });
}

/// Two files of one name from two directories, both large: one of them has the name.
#[test]
fn two_downloads_of_one_name_are_not_merged() {
    within(Clock::Real, || async {
        let mut tree = tree(1);
        tree.change("e/big", noise(5, 3 * MIB + 1));
        for existing in [Existing::Refuse, Existing::KeepBoth] {
            let first = Scene::new(tree.clone()).ask("d/big").existing(existing);
            let second = first.beside(tree.clone(), Script::default()).ask("e/big");
            let (one, other) = tokio::join!(first.run_unchecked(), second.run_unchecked());
            let contents = [noise(1, 3 * MIB + 1), noise(5, 3 * MIB + 1)];
            let [a, b] = contents.map(|content| describe_content(&content));
            let mut lines = crate::scene::lines_of(&first.destination());
            // Who has no name for it keeps what it has fetched.
            lines.retain(|line| !line.starts_with(".packhorse-partial"));
            match existing {
                Existing::KeepBoth => {
                    let both = |x: &str, y: &str| [format!("big: {x}"), format!("big (1): {y}")];
                    let mut sorted = lines.clone();
                    sorted.sort_by_key(String::len);
                    assert!(
                        sorted == both(&a, &b) || sorted == both(&b, &a),
                        "{lines:?}"
                    );
                }
                _ => {
                    assert!(lines == [format!("big: {a}")] || lines == [format!("big: {b}")]);
                    let failed = [&one, &other]
                        .map(|outcome| outcome.events.clone())
                        .concat();
                    // It depends on when the second one looks.
                    let told = ["failed big Exists", "failed big Taken"];
                    assert!(
                        failed.iter().any(|line| told.contains(&line.as_str())),
                        "{failed:?}"
                    );
                }
            }
        }
    });
}
