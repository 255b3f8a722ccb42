//! Bytes that are not what their hash says. (THREATS 18.)

use packhorse_protocol::content::ContentHash;
use packhorse_protocol::message::{ReadWhat, Request};

use crate::scene::{Clock, Scene, within};
use crate::scripted_server::Script;
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, Fetched, Inline, Told};

const MIB: usize = 1 << 20;
const DAMAGED: &str = "failed f Damaged\nexit: some failed\nexit: integrity";

/// Where a frame is damaged.
#[derive(Debug, Clone, Copy)]
enum Where {
    First,
    Last,
    Hash,
}

fn damage(at: Where, content: &mut [u8], hash: &mut [u8; 32]) {
    match at {
        Where::First => content[0] ^= 1,
        Where::Last => *content.last_mut().unwrap() ^= 0x80,
        Where::Hash => hash[31] ^= 1,
    }
}

/// Damages group `k` of whatever is read, the first `times` times.
fn damaging(k: u64, times: usize, at: Where) -> Script {
    let mut left = times;
    Script::lying(move |_, answers| {
        for answer in answers {
            if let Answer::Group {
                index,
                content,
                hash,
                ..
            } = answer
                && *index == k
                && left > 0
            {
                left -= 1;
                damage(at, content, hash);
            }
        }
    })
}

#[test]
fn exactly_the_damaged_group_is_asked_for_again() {
    within(Clock::Paused, || async {
        for size in [MIB / 2, MIB, 2 * MIB + 1, 5 * MIB + 5] {
            let groups = size.div_ceil(MIB) as u64;
            let mut tree = ServedTree::new();
            tree.file("f", noise(1, size)).file("g", "good");
            for k in 0..groups {
                for (times, at) in [(1, Where::First), (3, Where::Last), (1, Where::Hash)] {
                    let what = format!("group {k} of {size} bytes, {times} times {at:?}");
                    let scene = Scene::with(tree.clone(), damaging(k, times, at));
                    let outcome = scene.run().await;
                    outcome.expect_all(&scene, "", &tree);
                    let mut expected: Vec<_> = (0..groups).collect();
                    expected.extend(std::iter::repeat_n(k, times));
                    assert_eq!(outcome.log.groups("f"), expected, "{what}");
                    assert_eq!(outcome.damaged(), times as u64, "{what}");
                }
            }
        }
    });
}

#[test]
fn a_group_that_stays_damaged_never_gets_a_name() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 3 * MIB)).file("g", "good");
        for at in [Where::First, Where::Hash] {
            let scene = Scene::with(tree.clone(), damaging(1, usize::MAX, at));
            let outcome = scene.run().await;
            assert_eq!(outcome.summary(), format!("g: good\n--\n{DAMAGED}"));
            let asked = outcome.log.groups("f");
            assert_eq!(asked.iter().filter(|&&group| group == 1).count(), 65);
            assert_eq!(asked.len(), 67, "and no other twice");
        }
    });
}

#[test]
fn content_of_another_group_is_not_taken_for_it() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 3 * MIB));
        let mut left = 1;
        let script = Script::lying(move |_, answers| {
            let [
                Answer::Group { content, hash, .. },
                Answer::Group {
                    content: other,
                    hash: other_hash,
                    ..
                },
                ..,
            ] = answers.as_mut_slice()
            else {
                return;
            };
            if left > 0 {
                left -= 1;
                std::mem::swap(content, other);
                std::mem::swap(hash, other_hash);
            }
        });
        let scene = Scene::with(tree.clone(), script);
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!(outcome.damaged(), 2);
    });
}

/// Damages what comes in line of the file `f`, in a page or fetched, the first `times` times.
fn damaging_in_line(times: usize, at: Where) -> Script {
    let mut left = times;
    let mut damage = move |inline: &mut Inline| {
        if left > 0 && inline.content.starts_with(b"hello") {
            left -= 1;
            self::damage(at, &mut inline.content, &mut inline.hash);
        }
    };
    Script::lying(move |_, answers| {
        for answer in answers {
            match answer {
                Answer::Page(items) => {
                    for item in items {
                        if let Told::File {
                            inline: Some(inline),
                            ..
                        } = item
                        {
                            damage(inline);
                        }
                    }
                }
                Answer::Contents(files) => {
                    for file in files {
                        if let Fetched::File { inline, .. } = file {
                            damage(inline);
                        }
                    }
                }
                _ => {}
            }
        }
    })
}

#[test]
fn damaged_content_in_line_is_fetched_again_a_few_times() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", "hello").file("g", "good").file("h", "good");
        for (times, at) in [
            (1, Where::First),
            (4, Where::Hash),
            (5, Where::First),
            (usize::MAX, Where::Hash),
        ] {
            for is_empty in [true, false] {
                let scene = Scene::with(tree.clone(), damaging_in_line(times, at));
                let (scene, mine) = match is_empty {
                    true => (scene, ""),
                    false => (scene.put("mine", ""), "mine: \n"),
                };
                let outcome = scene.run().await;
                let fetched = outcome.log.fetched();
                let fetches = fetched.iter().filter(|&&path| path == "f").count();
                let first = usize::from(!is_empty);
                if times < 5 {
                    let all = format!("f: hello\ng: good\nh: good\n{mine}--");
                    assert_eq!(outcome.summary(), all, "{times} {at:?}");
                    assert_eq!(fetches, times + first);
                } else {
                    let others = format!("g: good\nh: good\n{mine}--\n{DAMAGED}");
                    assert_eq!(outcome.summary(), others, "{times} {at:?}");
                    assert_eq!(fetches, 4 + first);
                }
            }
        }
    });
}

#[test]
fn only_the_expected_content_gets_a_name() {
    within(Clock::Paused, || async {
        for (content, is_sparse) in [
            (b"hello".to_vec(), false),
            (Vec::new(), false),
            (noise(1, MIB / 2), false),
            (noise(1, 2 * MIB + 1), false),
            (vec![0; 3 * MIB], true),
        ] {
            let mut tree = ServedTree::new();
            match is_sparse {
                true => tree.sparse("f", content.clone()),
                false => tree.file("f", content.clone()),
            };
            let right = ContentHash::of(&content);
            let wrong = ContentHash::of(b"something else");
            for (expected, may) in [(right, true), (wrong, false)] {
                let scene = Scene::new(tree.clone()).ask("f");
                let scene = scene.settings(|settings| settings.expect = Some(expected));
                let outcome = scene.run().await;
                if may {
                    assert_eq!(outcome.tree.len(), 1, "{}", outcome.summary());
                    assert!(outcome.exit.is_empty());
                } else {
                    assert_eq!(
                        outcome.summary(),
                        "--\nfailed f Unexpected\nexit: some failed\nexit: integrity"
                    );
                }
            }
        }
    });
}

/// A file that is there already, and looks like the one that is meant, may not be it.
#[test]
fn a_file_that_is_there_must_be_the_expected_one_too() {
    within(Clock::Paused, || async {
        for content in [b"hello".to_vec(), Vec::new(), noise(1, 2 * MIB + 1)] {
            let mut tree = ServedTree::new();
            tree.file("f", content.clone());
            let mut scene = Scene::new(tree.clone()).ask("f");
            assert!(scene.run().await.error.is_none());
            for (expected, may) in [(&content[..], true), (b"something else", false)] {
                scene.server.begin_again(Script::default());
                scene.settings.expect = Some(ContentHash::of(expected));
                let outcome = scene.run().await;
                let expected = match may {
                    true => "\nkept f",
                    false => "\nfailed f Unexpected\nexit: some failed\nexit: integrity",
                };
                assert_eq!(outcome.summary().split("--").last(), Some(expected));
                let moved = outcome.log.calls.iter().filter(|call| match &call.request {
                    Request::Fetch(_) => true,
                    Request::Read(read) => read.what == ReadWhat::Content,
                    _ => false,
                });
                assert_eq!(moved.count(), 0);
            }
        }
    });
}
