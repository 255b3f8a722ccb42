//! Lies about how much there is. (THREATS 17.)

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use packhorse_protocol::message::Request;
use packhorse_storage::destination::Existing;

use crate::lies::{directory, file, info};
use crate::scene::{Clock, Outcome, Scene, within};
use crate::scripted_server::Script;
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, Fetched, Info, Inline, Told, group};

const MIB: usize = 1 << 20;
/// The version of the first file of a tree.
const ONE: [u8; 16] = 1u128.to_be_bytes();
const TOO_LARGE: &str = "--\nfailed f TooLarge\nexit: some failed";

fn violation(text: &str) -> String {
    format!("--\nerror: the server broke the protocol: {text}")
}

/// A file with `content`, of which the tree says that it has `size` bytes.
fn announced(size: u64, content: Option<&str>) -> Told {
    Told::File {
        name: b"f".to_vec(),
        info: info(size),
        inline: content.map(|content| Inline::of(content.as_bytes())),
    }
}

#[test]
fn content_in_line_is_as_long_as_announced() {
    let cases = [
        (4, "hello"),
        (6, "hello"),
        (0, "x"),
        (1, ""),
        (u64::MAX, "x"),
        (1 << 63, "x"),
    ];
    within(Clock::Paused, move || async move {
        let expected = violation("it sent more than was asked for");
        for (size, content) in cases {
            let page = vec![directory(""), announced(size, Some(content)), Told::End];
            let scene = Scene::with(ServedTree::new(), Script::telling(vec![page]));
            assert_eq!(scene.run().await.summary(), expected, "{size} {content}");

            // The same where it is fetched.
            let mut tree = ServedTree::new();
            tree.file("f", content);
            let script = Script::lying(move |_, answers| {
                for answer in answers {
                    if let Answer::Contents(files) = answer
                        && let [Fetched::File { info, .. }] = files.as_mut_slice()
                    {
                        info.size = size;
                    }
                }
            });
            let scene = Scene::with(tree, script).put("mine", "");
            let expected = format!("mine: \n{expected}");
            assert_eq!(scene.run().await.summary(), expected, "{size} {content}");
        }
    });
}

/// Fetches a file of 2 MiB and 5 bytes whose answers to reads go through `lie`.
async fn read_with(lie: impl FnMut(&mut Vec<Answer>) + Send + 'static) -> (ServedTree, Outcome) {
    let mut lie = lie;
    let mut tree = ServedTree::new();
    tree.file("f", noise(1, 2 * MIB + 5));
    let script = Script::lying(move |call, answers| {
        if matches!(&call.request, Request::Read(read) if !read.range.is_empty()) {
            lie(answers);
        }
    });
    let scene = Scene::with(tree.clone(), script);
    let outcome = scene.run().await;
    (tree, outcome)
}

#[test]
fn groups_of_another_length_are_not_taken() {
    let lengths = [(0, MIB - 1), (0, 1), (1, MIB - 7), (2, 4), (2, 6), (2, MIB)];
    within(Clock::Paused, move || async move {
        for (at, length) in lengths {
            let (_, outcome) = read_with(move |answers| {
                for answer in answers {
                    if let Answer::Group {
                        index,
                        content,
                        version,
                        ..
                    } = answer
                        && *index == at
                    {
                        // As if the file were that much shorter or longer, hash and all.
                        content.resize(length, 0);
                        let size = at * MIB as u64 + length as u64;
                        *answer = group(at, size, *version, content);
                    }
                }
            })
            .await;
            assert_eq!(
                outcome.summary(),
                "--\nfailed f Damaged\nexit: some failed\nexit: integrity",
                "group {at} of {length} bytes"
            );
        }
        for length in [0, MIB + 1] {
            let (_, outcome) = read_with(move |answers| {
                if let Answer::Group { content, .. } = &mut answers[0] {
                    content.resize(length, 0);
                }
            })
            .await;
            let expected = violation("its Group message is malformed");
            assert_eq!(outcome.summary(), expected, "{length}");
        }
    });
}

#[test]
fn an_answer_covers_what_was_asked_for_and_no_more() {
    type Lie = fn(&mut Vec<Answer>);
    let hole = |start, count| Answer::Hole {
        start,
        count,
        version: ONE,
    };
    let range = "it used a range of groups that cannot be";
    let unexpected = "it sent a Done message where none may come";
    let cases: [(&str, Lie, &str); 9] = [
        (
            "the first group is left out",
            |answers| drop(answers.remove(0)),
            range,
        ),
        (
            "the last group is left out",
            |answers| drop(answers.remove(2)),
            unexpected,
        ),
        ("groups swapped", |answers| answers.swap(0, 1), range),
        (
            "a group twice",
            |answers| answers.insert(1, answers[0].clone()),
            range,
        ),
        (
            "one group more",
            |answers| answers.insert(3, answers[2].clone()),
            range,
        ),
        (
            "an absurd hole",
            |answers| answers[0] = HOLES[0].clone(),
            range,
        ),
        (
            "a hole of one too many",
            |answers| answers[0] = HOLES[1].clone(),
            range,
        ),
        (
            "a hole elsewhere",
            |answers| answers[0] = HOLES[2].clone(),
            range,
        ),
        (
            "an empty hole",
            |answers| answers[0] = HOLES[3].clone(),
            range,
        ),
    ];
    assert_eq!(format!("{:?}", hole(0, 4)), format!("{:?}", HOLES[1]));
    within(Clock::Paused, move || async move {
        for (what, lie, expected) in cases {
            let (_, outcome) = read_with(lie).await;
            assert_eq!(outcome.summary(), violation(expected), "{what}");
        }
        let (_, outcome) = read_with(|answers| answers.extend(answers.clone())).await;
        // It lies with the disk whether the file's state is asked for by then.
        let told = outcome.summary();
        let idle = "it sent a Group message where none may come";
        let is_told = [range, idle].map(violation).contains(&told);
        assert!(is_told, "groups behind the end: {told}");
    });
}

static HOLES: [Answer; 4] = [
    Answer::Hole {
        start: 0,
        count: u64::MAX,
        version: ONE,
    },
    Answer::Hole {
        start: 0,
        count: 4,
        version: ONE,
    },
    Answer::Hole {
        start: 1,
        count: 1,
        version: ONE,
    },
    Answer::Hole {
        start: 0,
        count: 0,
        version: ONE,
    },
];

#[test]
fn absurd_sizes_cost_nothing() {
    let sizes = [u64::MAX, 1 << 63, i64::MAX as u64];
    within(Clock::Paused, move || async move {
        for size in sizes {
            let page = || vec![directory(""), announced(size, None), Told::End];
            let scene = Scene::with(ServedTree::new(), Script::telling(vec![page()]));
            let outcome = scene.run().await;
            assert_eq!(outcome.summary(), TOO_LARGE, "{size}");
            assert_eq!(outcome.log.groups("f"), [0; 0]);

            // Where a file is there already, the two are compared first, as far as both reach.
            let mut tree = ServedTree::new();
            tree.file("f", noise(2, MIB));
            let scene = Scene::with(tree, Script::telling(vec![page()]));
            let scene = scene.put("f", noise(1, MIB)).existing(Existing::Overwrite);
            let outcome = scene.run().await;
            assert_eq!(
                outcome.events,
                ["failed f TooLarge"],
                "{}",
                outcome.summary()
            );
            assert_eq!(outcome.log.groups("f"), [0; 0]);
            assert!(outcome.log.hashes("f") <= 1);
        }
    });
}

fn sparse_of(size: u64) -> Told {
    Told::File {
        name: b"f".to_vec(),
        info: Info {
            sparse: true,
            ..info(size)
        },
        inline: None,
    }
}

/// Where it cannot be told before how much space a file takes, it takes it for what has come, not
/// for what was announced.
#[test]
fn an_announced_size_takes_no_space() {
    within(Clock::Paused, || async {
        let size = 1 << 42;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let partial = Arc::new(Mutex::new(None));
        let mut script = Script::telling(vec![vec![directory(""), sparse_of(size), Told::End]]);
        let mut tell = script.lie;
        let (note, at) = (Arc::clone(&seen), Arc::clone(&partial));
        script.lie = Box::new(move |call, answers| {
            tell(call, answers);
            if let Request::Read(_) = call.request {
                let partial: std::path::PathBuf = at.lock().unwrap().clone().unwrap();
                let job = fs::read_dir(partial).unwrap().next().unwrap().unwrap();
                let mut files = fs::read_dir(job.path()).unwrap().map(Result::unwrap);
                let file = files.find(|file| file.file_name() != "lock").unwrap();
                let status = file.metadata().unwrap();
                note.lock().unwrap().push((status.len(), status.blocks()));
            }
        });
        let scene = Scene::with(ServedTree::new(), script);
        *partial.lock().unwrap() = Some(scene.at(".packhorse-partial"));
        let outcome = scene.run().await;
        assert_eq!(outcome.events, ["failed f NotFound"]);
        assert_eq!(seen.lock().unwrap()[0], (size, 0));
    });
}

/// The hash that was expected would have been computed over whatever size the server names.
#[test]
fn zeros_without_end_are_not_hashed() {
    within(Clock::Paused, || async {
        let size = (1 << 40) + (1 << 30);
        let mut script = Script::telling(vec![vec![sparse_of(size), Told::End]]);
        let mut tell = script.lie;
        script.lie = Box::new(move |call, answers| {
            tell(call, answers);
            if let Request::Read(read) = &call.request {
                *answers = vec![Answer::Done {
                    version: ONE,
                    size,
                    settled: true,
                }];
                if !read.range.is_empty() {
                    let hole = Answer::Hole {
                        start: read.range.start(),
                        count: read.range.count(),
                        version: ONE,
                    };
                    answers.insert(0, hole);
                }
            }
        });
        let scene = Scene::with(ServedTree::new(), script).ask("f");
        let scene = scene.settings(|settings| {
            settings.expect = Some(packhorse_protocol::content::ContentHash::of(b""));
        });
        let outcome = scene.run().await;
        assert_eq!(
            outcome.summary(),
            "--\nfailed f Hollow\nexit: some failed\nexit: integrity"
        );
    });
}

/// The page says one size and the groups are those of another, under one and the same version.
#[test]
fn a_size_that_does_not_fit_the_version_comes_to_nothing() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 2 * MIB + 5)).file("g", "good");
        let script = Script::changing(|call, tree| {
            if let Request::Read(_) = call.request {
                let file = tree.at("f");
                file.content = Arc::new(noise(2, 2 * MIB + 500));
                file.info.size = file.content.len() as u64;
            }
        });
        let outcome = Scene::with(tree, script).run().await;
        assert_eq!(
            outcome.summary(),
            "g: good\n--\nfailed f Damaged\nexit: some failed\nexit: integrity"
        );
    });
}

/// A hole is believed without a hash, so it must at least not hide what is no zeros here.
#[test]
fn a_hole_is_zeros_also_where_something_was() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.sparse("f", vec![0; 3 * MIB]);
        let scene = Scene::new(tree.clone()).put("f", noise(1, 3 * MIB));
        let scene = scene.existing(Existing::Overwrite);
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!(fs::metadata(scene.at("f")).unwrap().blocks(), 0);
    });
}

#[test]
fn a_file_in_line_may_be_larger_than_asked_for() {
    within(Clock::Paused, || async {
        let content = "x".repeat(256 << 10);
        let page = vec![directory(""), file("f", &content), Told::End];
        let scene = Scene::with(ServedTree::new(), Script::telling(vec![page]));
        assert!(scene.run().await.error.is_none());
        let content = format!("{content}x");
        let page = vec![directory(""), file("f", &content), Told::End];
        let scene = Scene::with(ServedTree::new(), Script::telling(vec![page]));
        let expected = violation("it sent more than was asked for");
        assert_eq!(scene.run().await.summary(), expected);
    });
}
