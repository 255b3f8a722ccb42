//! A server that says nothing, next to nothing, or nothing of what was asked for. (THREATS 20.)

use std::sync::Arc;
use std::time::Duration;

use packhorse_client::connect::Connector;
use packhorse_client::download::DownloadError;
use packhorse_client::list::{ListRequest, list};
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::limits::GROUP_BYTES;
use tokio::time::Instant;

use crate::scene::{Clock, Scene, within};
use crate::scripted_server::{Script, ScriptedDial, ScriptedServer, Wire};
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, Told, frame};

const MIB: usize = GROUP_BYTES;

fn tree() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("a", "hello")
        .file("b", noise(1, 2 * MIB + 1))
        .directory("d")
        .file("d/one", "1");
    tree
}

/// As `wire` on the first connection, honest on those behind it. Returns how long it took and how
/// many connections.
async fn first_is(wire: Wire) -> (Duration, usize) {
    let script = Script::wired(move |connection| match connection {
        0 => wire.clone(),
        _ => Wire::default(),
    });
    let scene = Scene::with(tree(), script);
    let start = Instant::now();
    let outcome = scene.run().await;
    outcome.expect_all(&scene, "", &tree());
    (start.elapsed(), outcome.log.connections)
}

#[test]
fn a_server_that_falls_silent_is_left_after_a_minute() {
    within(Clock::Paused, || async {
        for frames in 2..12 {
            let (took, connections) = first_is(Wire {
                frames_max: Some(frames),
                falls_silent: true,
                ..Wire::default()
            })
            .await;
            let expected = match connections {
                1 => 0..=0,
                _ => 60..=61,
            };
            assert!(
                expected.contains(&took.as_secs()),
                "{took:?} behind {frames} frames"
            );
            assert!(connections == 2 || frames > 6, "{frames} frames");
        }
        // In the middle of a frame, too.
        for bytes in [300, 400, MIB] {
            let (took, connections) = first_is(Wire {
                bytes_max: Some(bytes),
                falls_silent: true,
                ..Wire::default()
            })
            .await;
            assert_eq!(connections, 2);
            assert!(
                (60..=121).contains(&took.as_secs()),
                "{took:?} behind {bytes} bytes"
            );
        }
    });
}

#[test]
fn a_server_that_is_always_silent_is_given_up() {
    within(Clock::Paused, || async {
        for frames in [0, 1, 2] {
            let script = Script::wired(move |connection| Wire {
                frames_max: Some(if connection == 0 { frames } else { 1 }),
                falls_silent: true,
                ..Wire::default()
            });
            let scene = Scene::with(tree(), script);
            let start = Instant::now();
            let outcome = scene.run().await;
            let Some(DownloadError::Connect(error)) = &outcome.error else {
                panic!("{}", outcome.summary());
            };
            assert!(error.to_string().contains("has said nothing"), "{error}");
            // The disk is real and the clock is not, so what the last page brought may be written
            // after the first connection is lost: that is progress, and patience begins anew.
            let limit = Duration::from_secs(if frames < 2 { 200 } else { 200 * 3 });
            assert!(start.elapsed() < limit, "{:?}", start.elapsed());
        }
    });
}

/// Frames that nobody knows may be skipped, and say nothing about what is owed.
#[test]
fn frames_that_are_skipped_are_no_sign_of_life() {
    within(Clock::Paused, || async {
        for (length, milliseconds) in [(0, 30_000), (0, 10), (1000, 1000), (100_000, 5000)] {
            for (frames, limit) in [(0, 10), (1, 60), (2, 60)] {
                let wire = Wire {
                    frames_max: Some(frames),
                    prattle: Some((
                        frame(200, &vec![0; length]),
                        Duration::from_millis(milliseconds),
                    )),
                    ..Wire::default()
                };
                // A list waits for nothing but the server, so that the clock is exact.
                let connector = connector(tree(), Script::wired(move |_| wire.clone()));
                let start = Instant::now();
                let error = list(&connector, everything(), |_| true).await.unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!("the server has said nothing for {limit} s"),
                );
                assert_eq!(
                    start.elapsed().as_secs(),
                    limit,
                    "{length} bytes, {frames} frames"
                );
                let wire = Wire {
                    frames_max: Some(frames.max(2)),
                    prattle: Some((frame(200, &[]), Duration::from_millis(milliseconds))),
                    ..Wire::default()
                };
                assert_eq!(first_is(wire).await.1, 2);
            }
        }
    });
}

fn connector(tree: ServedTree, script: Script) -> Arc<Connector<ScriptedDial>> {
    Connector::new(ScriptedDial(ScriptedServer::new(tree, script, None)), None)
}

fn everything() -> ListRequest {
    ListRequest {
        recursive: true,
        ..ListRequest::default()
    }
}

#[test]
fn frames_that_are_skipped_between_answers_do_no_harm() {
    within(Clock::Paused, || async {
        let script = Script::lying(|_, answers| {
            let skipped = [128, 200, 255].map(|kind| Answer::Raw(frame(kind, &[1; 9])));
            for at in (0..=answers.len()).rev() {
                answers.splice(at..at, skipped.clone());
            }
        });
        let scene = Scene::with(tree(), script);
        scene.run().await.expect_all(&scene, "", &tree());
    });
}

/// A rate that is shared by many clients, or a bad line: a group takes more than a minute, and
/// arrives.
#[test]
fn a_slow_server_is_not_a_silent_one() {
    within(Clock::Paused, || async {
        for (bytes, seconds) in [(16 << 10, 2), (1000, 10)] {
            let (took, connections) = first_is(Wire {
                pace: Some((bytes, Duration::from_secs(seconds))),
                ..Wire::default()
            })
            .await;
            assert_eq!(connections, 1, "{bytes} bytes in {seconds} s: {took:?}");
            assert!(took > Duration::from_secs(128));
        }
    });
}

/// A byte a minute would keep a download for two years.
#[test]
fn a_trickle_is_silence() {
    within(Clock::Paused, || async {
        for frames in [1, 2] {
            let script = Script::wired(move |connection| Wire {
                frames_max: Some(frames),
                pace: Some((1, Duration::from_secs(50))),
                pipe_bytes: (connection == 0).then_some(4096),
                ..Wire::default()
            });
            let scene = Scene::with(tree(), script);
            let start = Instant::now();
            let outcome = scene.run().await;
            assert!(outcome.error.is_some());
            assert!(
                start.elapsed() < Duration::from_secs(600),
                "{:?}",
                start.elapsed()
            );
        }
    });
}

/// It answers what it has read and reads no more: the requests fill the pipe.
#[test]
fn a_deaf_server_is_a_silent_one() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        for n in 0..900 {
            tree.file(&format!("{n:03}{}", "x".repeat(240)), "x");
        }
        tree.page_items = 2000;
        let script = Script::wired(|connection| Wire {
            requests_max: (connection == 0).then_some(1),
            pipe_bytes: Some(4096),
            ..Wire::default()
        });
        let scene = Scene::with(tree.clone(), script).put("mine", "");
        let start = Instant::now();
        let outcome = scene.run().await;
        tree.file("mine", "").at("mine").info.mode = 0o644;
        assert!(outcome.error.is_none(), "{}", outcome.summary());
        assert_eq!(outcome.tree.len(), 901);
        assert_eq!(outcome.log.connections, 2);
        assert!(
            start.elapsed() < Duration::from_secs(125),
            "{:?}",
            start.elapsed()
        );
    });
}

/// Nothing is asked for any more, so it makes no difference whether the server listens.
#[test]
fn a_farewell_that_nobody_reads_does_not_keep_a_download() {
    within(Clock::Paused, || async {
        let requests = Scene::new(tree()).run().await.log.calls.len() - 1;
        let script = Script::wired(move |_| Wire {
            requests_max: Some(requests),
            pipe_bytes: Some(4),
            ..Wire::default()
        });
        let scene = Scene::with(tree(), script);
        let start = Instant::now();
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree());
        assert!(
            start.elapsed() < Duration::from_secs(70),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(outcome.log.completions.len(), 0);
    });
}

#[test]
fn answers_that_nobody_asked_for_end_the_connection() {
    let done = Answer::Done {
        version: [1; 16],
        size: 0,
        settled: true,
    };
    let cases = [
        ("a page", Answer::Page(vec![Told::End]), 0),
        ("a refusal", Answer::Failed(Refusal::NotFound), 0),
        ("an end", done, 0),
        ("a greeting", Answer::Raw(frame(64, &[1, 0, 0])), 0),
        ("a request", Answer::Raw(frame(7, &[0, 0, 0])), 0),
        ("an unknown type", Answer::Raw(frame(73, &[])), 0),
        (
            "a body beyond the limit",
            Answer::Raw(vec![66, 0, 0, 0x12, 0]),
            0,
        ),
        (
            "nothing but a length",
            Answer::Raw(vec![68, 255, 255, 255, 255]),
            0,
        ),
    ];
    within(Clock::Paused, move || async move {
        for (what, extra, _) in cases {
            for at_end in [true, false] {
                let extra = extra.clone();
                let script = Script::lying(move |call, answers| {
                    if call.number == 1 && at_end {
                        answers.push(extra.clone());
                    } else if call.number == 1 {
                        answers.insert(0, extra.clone());
                    }
                });
                let outcome = Scene::with(tree(), script).run().await;
                // A page or a refusal in the place of another is an answer like any other; what
                // comes behind it then is one too many, or does not fit.
                let is_fine = outcome.error.is_none();
                let broke = "the server broke the protocol";
                let told = outcome.summary();
                assert!(!is_fine && told.contains(broke), "{what}: {told}");
                assert_eq!(outcome.log.connections, 1);
            }
        }
    });
}
