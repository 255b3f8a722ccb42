//! What an honest server does not send, and how far that spreads.

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::message::Request;

use crate::lies::{directory, file};
use crate::scene::{Clock, Scene, within};
use crate::scripted_server::{Script, Wire};
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, Fetched, Told};

const ALL: [Refusal; 12] = [
    Refusal::NotFound,
    Refusal::PermissionDenied,
    Refusal::Special,
    Refusal::LeavesTree,
    Refusal::IsDirectory,
    Refusal::NotDirectory,
    Refusal::LinkLoop,
    Refusal::UnusableName,
    Refusal::Changed,
    Refusal::TooLarge,
    Refusal::Unreadable,
    Refusal::Busy,
];

/// How a refusal of `path` is reported.
fn told(path: &str, refusal: Refusal) -> String {
    match refusal {
        Refusal::Special | Refusal::LeavesTree => format!("skipped {path} {refusal:?}"),
        _ => format!("failed {path} {refusal:?}\nexit: some failed"),
    }
}

#[test]
fn one_entry_that_is_not_sent_does_not_end_the_rest() {
    within(Clock::Paused, || async {
        for refusal in ALL {
            // In the tree.
            let mut tree = ServedTree::new();
            tree.file("a", "1").refused("b", refusal).file("c", "3");
            let outcome = Scene::new(tree).run().await;
            let expected = format!("a: 1\nc: 3\n--\n{}", told("b", refusal));
            assert_eq!(outcome.summary(), expected, "{refusal:?}");

            // When it is fetched.
            let mut tree = ServedTree::new();
            tree.file("a", "1").file("b", "2").file("c", "3");
            let script = Script::lying(move |call, answers| {
                let Request::Fetch(fetch) = &call.request else {
                    return;
                };
                let at = fetch.paths.iter().position(|path| path.as_bytes() == b"b");
                let mut files = answers.iter_mut().flat_map(|answer| match answer {
                    Answer::Contents(files) => files.iter_mut(),
                    _ => [].iter_mut(),
                });
                if let Some(file) = at.and_then(|at| files.nth(at)) {
                    *file = Fetched::Failed(refusal);
                }
            });
            let outcome = Scene::with(tree, script).put("mine", "").run().await;
            let expected = format!("a: 1\nc: 3\nmine: \n--\n{}", told("b", refusal));
            assert_eq!(outcome.summary(), expected, "{refusal:?}");
        }
    });
}

/// What was told before is there, and the failure is told once, however many pages were asked for.
#[test]
fn a_tree_that_breaks_off_is_one_failure() {
    within(Clock::Paused, || async {
        for good_pages in 1..6 {
            for refusal in [Refusal::Unreadable, Refusal::NotFound, Refusal::Busy] {
                let mut pages = 0;
                let mut tree = ServedTree::new();
                for n in 0..30 {
                    tree.file(&format!("{n:02}"), "x");
                }
                let script = Script::lying(move |call, answers| {
                    if matches!(call.request, Request::Tree(_) | Request::More { .. }) {
                        pages += 1;
                        if pages > good_pages {
                            *answers = vec![Answer::Failed(refusal)];
                        }
                    }
                });
                let scene = Scene::with(tree, script);
                let outcome = scene.run().await;
                assert!(outcome.error.is_none(), "{}", outcome.summary());
                assert_eq!(outcome.tree.len(), 3 * good_pages - 1);
                let failed: Vec<_> = outcome
                    .events
                    .iter()
                    .filter(|line| line.starts_with("failed"))
                    .collect();
                assert_eq!(failed, [&format!("failed  {refusal:?}")]);
            }
        }
    });
}

#[test]
fn a_tree_that_is_gone_after_a_lost_connection_is_one_failure() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.directory("d");
        for n in 0..30 {
            tree.file(&format!("d/{n:02}"), "x");
        }
        let mut script = Script::wired(|connection| Wire {
            frames_max: (connection == 0).then_some(3),
            ..Wire::default()
        });
        script.before = Box::new(|call, tree| {
            if call.connection == 1 {
                tree.nodes.retain(|path, _| path.is_empty());
            }
        });
        let outcome = Scene::with(tree, script).ask("d").run().await;
        assert!(outcome.error.is_none(), "{}", outcome.summary());
        assert_eq!(outcome.tree.len(), 1 + 5);
        let failed = outcome
            .events
            .iter()
            .filter(|line| !line.starts_with("fetched"));
        assert_eq!(failed.collect::<Vec<_>>(), ["failed d NotFound"]);
    });
}

/// A page may be told more than once where a connection is lost at the right moment.
#[test]
fn a_single_file_may_be_told_again() {
    within(Clock::Paused, || async {
        for content in ["hello".into(), noise(1, 300 << 10)] {
            for frames in 2..8 {
                let mut tree = ServedTree::new();
                tree.file("f", content.clone());
                // The file on one page, and the end of the tree on the next.
                tree.page_items = 1;
                let script = Script::wired(move |connection| Wire {
                    frames_max: (connection == 0).then_some(frames),
                    ..Wire::default()
                });
                let scene = Scene::with(tree, script).ask("f");
                let outcome = scene.run().await;
                assert!(outcome.error.is_none(), "{}", outcome.summary());
                let expected = format!("f: {}", crate::scene::describe_content(&content));
                assert_eq!(outcome.tree, [expected], "{frames} frames");
                assert!(
                    outcome.exit.is_empty(),
                    "{frames} frames: {:?}",
                    outcome.events
                );
            }
        }
    });
}

#[test]
fn names_in_what_is_skipped_are_only_shown() {
    let paths: [&[u8]; 4] = [b"../../etc/passwd", b"/etc/passwd", b"", b"\x1b[2J"];
    within(Clock::Paused, move || async move {
        for path in paths {
            let skipped = Told::Skipped {
                path: path.to_vec(),
                refusal: Refusal::Special,
            };
            let page = vec![directory(""), skipped, file("a", "1"), Told::End];
            let outcome = Scene::with(ServedTree::new(), Script::telling(vec![page]))
                .run()
                .await;
            assert_eq!(outcome.tree, ["a: 1"]);
            assert!(
                outcome
                    .events
                    .iter()
                    .all(|line| line.is_ascii() && !line.contains('\x1b'))
            );
        }
    });
}

/// All paths that are told begin at the destination, whoever left the entry out.
#[test]
fn what_is_skipped_is_named_below_the_destination() {
    within(Clock::Paused, || async {
        for (asked, expected) in [
            ("", "skipped pipe Special"),
            ("d", "skipped d/pipe Special"),
        ] {
            for dry_run in [false, true] {
                let skipped = Told::Skipped {
                    path: b"pipe".to_vec(),
                    refusal: Refusal::Special,
                };
                let page = vec![directory(""), skipped, Told::End];
                let script = Script::telling(vec![page]);
                let scene = Scene::with(ServedTree::new(), script).ask(asked);
                let scene = scene.settings(|settings| settings.dry_run = dry_run);
                assert_eq!(scene.run().await.events, [expected], "dry run: {dry_run}");
            }
        }
    });
}
