//! A source that changes while it is read. (THREATS 19.)

use std::sync::Arc;
use std::time::Duration;

use packhorse_protocol::content::GroupIndex;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::message::{ReadWhat, Request};
use packhorse_storage::destination::Existing;
use tokio::time::Instant;

use crate::scene::{Clock, Scene, within};
use crate::scripted_server::{Call, Script, Wire};
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, group};

const MIB: usize = 1 << 20;
const CHANGED: &str = "failed f Changed\nexit: some failed";

fn is_read(call: &Call, what: ReadWhat) -> bool {
    matches!(&call.request, Request::Read(read) if read.what == what && !read.range.is_empty())
}

fn is_confirmation(call: &Call) -> bool {
    matches!(&call.request, Request::Read(read) if read.range.is_empty())
}

fn one(size: usize) -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("f", noise(1, size)).file("g", "good");
    tree
}

/// Changes `tree` by `change` when the `nth` request comes that `when` is true for.
fn once(
    mut nth: usize,
    when: impl Fn(&Call) -> bool + Send + 'static,
    change: impl Fn(&mut ServedTree) + Send + 'static,
) -> Script {
    Script::changing(move |call, tree| {
        if when(call) {
            if nth == 0 {
                change(tree);
            }
            nth = nth.wrapping_sub(1);
        }
    })
}

/// Each size that the file has had or gets, so that it goes from a large one to a small one and
/// back.
const SIZES: [usize; 5] = [0, 1000, 300 << 10, 2 * MIB + 5, 5 * MIB];

#[test]
fn a_file_that_changes_is_begun_anew() {
    within(Clock::Paused, || async {
        for before in SIZES {
            for after in SIZES {
                let mut tree = one(before);
                let script = once(
                    0,
                    |call| {
                        is_read(call, ReadWhat::Content)
                            || matches!(call.request, Request::Fetch(_))
                    },
                    move |tree| tree.change("f", noise(2, after)),
                );
                let scene = Scene::with(tree.clone(), script).put("mine", "");
                let outcome = scene.run().await;
                tree.change("f", noise(2, after));
                tree.file("mine", "");
                assert!(outcome.error.is_none() && outcome.exit.is_empty());
                let at = std::fs::read(scene.at("f")).unwrap();
                assert!(at == noise(2, after), "{before} to {after} bytes");
                let inline = 256 << 10;
                let described = before > inline || after > inline;
                assert_eq!(outcome.log.trees("f"), usize::from(described));
            }
        }
    });
}

/// The first groups of an answer are those of one version, and the next those of another.
#[test]
fn groups_of_two_versions_are_never_joined() {
    let sizes = [
        (3 * MIB, 3 * MIB),
        (3 * MIB, 2 * MIB + 5),
        (2 * MIB + 5, 4 * MIB),
    ];
    within(Clock::Paused, move || async move {
        for (size, other) in sizes {
            for unchanged in 0..=3 {
                let mut changed = one(size);
                changed.change("f", noise(2, other));
                let file = changed.at("f").clone();
                let mut script = once(
                    0,
                    |call| matches!(&call.request, Request::Tree(tree) if !tree.path.is_root()),
                    {
                        let changed = changed.clone();
                        move |tree| *tree = changed.clone()
                    },
                );
                script.lie = Box::new(move |call, answers| {
                    if !is_read(call, ReadWhat::Content) || file.info.version == version(answers) {
                        return;
                    }
                    for answer in answers.iter_mut().skip(unchanged) {
                        match answer {
                            Answer::Group { index, .. } if *index * (MIB as u64) < other as u64 => {
                                let at = GroupIndex::new(*index).unwrap();
                                let (size, version) = (file.info.size, file.info.version);
                                *answer = group(*index, size, version, file.group(at));
                            }
                            Answer::Done { version, .. } | Answer::Group { version, .. } => {
                                *version = file.info.version;
                            }
                            _ => {}
                        }
                    }
                });
                let scene = Scene::with(one(size), script);
                let outcome = scene.run().await;
                outcome.expect_all(&scene, "", &changed);
                assert_eq!(outcome.log.trees("f"), 1);
            }
        }
    });
}

/// The version that an answer to a read carries.
fn version(answers: &[Answer]) -> [u8; 16] {
    match &answers[0] {
        Answer::Group { version, .. } => *version,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_always_changes_is_given_up() {
    within(Clock::Paused, || async {
        for size in [3 * MIB, 300 << 10] {
            let mut content = 1;
            let script = Script::changing(move |call, tree| {
                if is_read(call, ReadWhat::Content) {
                    content += 1;
                    tree.change("f", noise(content, size));
                }
            });
            let start = Instant::now();
            let outcome = Scene::with(one(size), script).run().await;
            assert_eq!(outcome.summary(), format!("g: good\n--\n{CHANGED}"));
            assert_eq!(outcome.log.trees("f"), 4, "described anew");
            let pauses = Duration::from_millis(100 + 200 + 400);
            assert!(start.elapsed() >= pauses, "it gets time to come to rest");
        }
        // In the confirmation, when everything is there.
        let mut content = 1;
        let script = Script::changing(move |call, tree| {
            if is_confirmation(call) {
                content += 1;
                tree.change("f", noise(content, 2 * MIB));
            }
        });
        let outcome = Scene::with(one(2 * MIB), script).run().await;
        assert_eq!(outcome.summary(), format!("g: good\n--\n{CHANGED}"));
        // One that grows and shrinks.
        let mut content = 1;
        let script = Script::changing(move |call, tree| {
            if is_read(call, ReadWhat::Content) || matches!(call.request, Request::Fetch(_)) {
                content += 1;
                let size = [5, MIB][usize::try_from(content % 2).unwrap()];
                tree.change("f", noise(content, size));
            }
        });
        let outcome = Scene::with(one(5), script).put("mine", "").run().await;
        assert!(outcome.error.is_none());
        assert!(outcome.log.calls.len() < 30);
    });
}

#[test]
fn what_a_file_has_become_meanwhile_is_told() {
    type Become = fn(&mut ServedTree) -> &mut ServedTree;
    let failed = |refusal| format!("failed f {refusal}\nexit: some failed");
    let cases: [(&str, Become, String); 5] = [
        ("gone", gone, failed("NotFound")),
        (
            "a directory",
            |tree| tree.directory("f"),
            failed("NotFound"),
        ),
        (
            "a FIFO",
            |tree| tree.refused("f", Refusal::Special),
            "skipped f Special".to_owned(),
        ),
        (
            "secret",
            |tree| tree.refused("f", Refusal::PermissionDenied),
            failed("PermissionDenied"),
        ),
        ("a link", |tree| tree.link("f", "g"), failed("NotFound")),
    ];
    within(Clock::Paused, move || async move {
        for (what, become_other, expected) in cases {
            // The change shows in the groups first, and only then in the description.
            let mut script = once(
                0,
                |call| is_read(call, ReadWhat::Content),
                |tree| {
                    tree.change("f", noise(2, 3 * MIB));
                },
            );
            script.lie = Box::new(move |call, answers| {
                if let Request::Tree(tree) = &call.request
                    && !tree.path.is_root()
                {
                    let mut other = ServedTree::new();
                    become_other(other.file("f", ""));
                    *answers = vec![match other.items(tree) {
                        Ok(items) => Answer::Page(items),
                        Err(refusal) => Answer::Failed(refusal),
                    }];
                }
            });
            let scene = Scene::with(one(3 * MIB), script);
            let outcome = scene.run().await;
            assert_eq!(
                outcome.summary(),
                format!("g: good\n--\n{expected}"),
                "{what}"
            );
        }
    });
}

fn gone(tree: &mut ServedTree) -> &mut ServedTree {
    tree.nodes.remove("f");
    tree
}

/// Each description of a changed file is a tree of its own; the server takes four at once and no
/// two of one number.
#[test]
fn many_files_may_change_at_once() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        for n in 0..30 {
            tree.file(&format!("f{n:02}"), noise(n, 300 << 10));
        }
        let mut changed = tree.clone();
        for n in 0..30 {
            changed.change(&format!("f{n:02}"), noise(100 + n, 300 << 10));
        }
        for connections in [1, 4] {
            let after = changed.clone();
            let script = once(
                0,
                |call| is_read(call, ReadWhat::Content),
                move |tree| {
                    *tree = after.clone();
                },
            );
            let scene = Scene::with(tree.clone(), script);
            let scene = scene.settings(|settings| settings.connections = Some(connections));
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &changed);
            assert_eq!(outcome.log.connections, 1, "none was lost");
        }
    });
}

#[test]
fn what_is_not_settled_is_compared_once_more() {
    within(Clock::Paused, || async {
        for is_sparse in [false, true] {
            let mut tree = one(3 * MIB + 7);
            if is_sparse {
                let mut content = noise(1, 4 * MIB);
                content[MIB..3 * MIB].fill(0);
                tree.sparse("f", content);
            }
            tree.at("f").settled = false;
            let scene = Scene::new(tree.clone());
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree);
            let (hashed, read) = match is_sparse {
                true => (2, vec![0, 1, 2, 3, 1, 2]),
                false => (4, vec![0, 1, 2, 3]),
            };
            assert_eq!(outcome.log.hashes("f"), hashed);
            assert_eq!(
                outcome.log.groups("f"),
                read,
                "holes are only looked at again"
            );
            assert_eq!(outcome.log.trees("f"), 0);

            // It changed, and nothing tells but the hashes.
            for at in [0, 2 * MIB, 3 * MIB + 6] {
                let script = once(
                    0,
                    |call| is_read(call, ReadWhat::Hashes),
                    move |tree| {
                        let file = tree.at("f");
                        let mut content = file.content.to_vec();
                        content[at] ^= 1;
                        file.content = Arc::new(content);
                    },
                );
                let scene = Scene::with(tree.clone(), script);
                let outcome = scene.run().await;
                let mut changed = tree.clone();
                let mut content = changed.at("f").content.to_vec();
                content[at] ^= 1;
                changed.at("f").content = Arc::new(content);
                outcome.expect_all(&scene, "", &changed);
                assert_eq!(outcome.log.trees("f"), 1, "begun anew");
            }

            // For ever.
            let mut seen = 0;
            let script = Script::changing(move |call, tree| {
                if is_read(call, ReadWhat::Hashes) {
                    seen += 1;
                    tree.at("f").content = Arc::new(noise(1000 + seen, 3 * MIB + 7));
                    tree.at("f").info.size = 3 * MIB as u64 + 7;
                }
            });
            let mut tree = one(3 * MIB + 7);
            tree.at("f").settled = false;
            let outcome = Scene::with(tree, script).run().await;
            assert_eq!(outcome.summary(), format!("g: good\n--\n{CHANGED}"));
        }
    });
}

/// What arrived over a connection that was lost before it could say whether the file was settled is
/// not joined unseen with what comes two seconds later.
#[test]
fn a_lost_connection_does_not_hide_an_unseen_change() {
    within(Clock::Paused, || async {
        for frames in 3..18 {
            let mut tree = one(4 * MIB);
            tree.at("f").settled = false;
            let mut changed = tree.clone();
            let content = noise(2, 4 * MIB);
            changed.at("f").content = Arc::new(content);
            changed.at("f").settled = true;
            let after = changed.clone();
            let mut script = Script::wired(move |connection| Wire {
                frames_max: (connection == 0).then_some(frames),
                ..Wire::default()
            });
            script.before = Box::new(move |call, tree| {
                if call.connection > 0 {
                    *tree = after.clone();
                }
            });
            let scene = Scene::with(tree, script);
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &changed);
        }
    });
}

/// The same for groups that are kept from an existing file because their hashes were equal.
#[test]
fn an_unseen_change_after_a_comparison_is_noticed() {
    within(Clock::Paused, || async {
        let mut tree = one(4 * MIB);
        tree.at("f").settled = false;
        let mut changed = tree.clone();
        changed.at("f").content = Arc::new(noise(2, 4 * MIB));
        changed.at("f").settled = true;
        let after = changed.clone();
        let script = once(
            0,
            |call| is_read(call, ReadWhat::Content),
            move |tree| {
                *tree = after.clone();
            },
        );
        let mut existing = noise(1, 4 * MIB);
        existing[2 * MIB] ^= 1;
        let scene = Scene::with(tree, script).put("f", existing);
        let scene = scene.existing(Existing::Overwrite);
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &changed);
    });
}

#[test]
fn a_file_that_is_compared_may_change_too() {
    within(Clock::Paused, || async {
        for existing in [Existing::Overwrite, Existing::KeepBoth] {
            let script = once(
                0,
                |call| is_read(call, ReadWhat::Hashes),
                |tree| {
                    tree.change("f", noise(2, 2 * MIB + 1));
                },
            );
            let scene = Scene::with(one(3 * MIB), script).put("f", noise(3, 3 * MIB));
            let outcome = scene.existing(existing).run().await;
            let new = format!(
                "f: {}",
                crate::scene::describe_content(&noise(2, 2 * MIB + 1))
            );
            let new = match existing {
                Existing::KeepBoth => new.replace("f:", "f (1):"),
                _ => new,
            };
            assert!(outcome.tree.contains(&new), "{}", outcome.summary());
            assert!(outcome.exit.is_empty());
        }
    });
}

#[test]
fn a_refusal_in_the_middle_of_a_file_is_its_own() {
    let refusals = [
        Refusal::Unreadable,
        Refusal::Busy,
        Refusal::PermissionDenied,
    ];
    within(Clock::Paused, move || async move {
        for refusal in refusals {
            for behind in 0..3 {
                let script = Script::lying(move |call, answers| {
                    if is_read(call, ReadWhat::Content) {
                        answers.truncate(behind);
                        answers.push(Answer::Failed(refusal));
                    }
                });
                let outcome = Scene::with(one(3 * MIB), script).run().await;
                let expected = format!("g: good\n--\nfailed f {refusal:?}\nexit: some failed");
                assert_eq!(outcome.summary(), expected, "behind {behind} groups");
            }
        }
    });
}
