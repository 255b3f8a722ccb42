//! A network that loses connections, and what may be trusted after it. (THREATS 22 and 23.)

use std::time::Duration;

use packhorse_client::download::DownloadError;
use packhorse_protocol::key::{Pin, Token};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_storage::destination::Existing;
use packhorse_transport::dial::DialError;
use tokio::time::Instant;

use crate::scene::{Clock, Outcome, Scene, within};
use crate::scripted_server::{PIN, Script, Wire, place, refused};
use crate::tree::{Random, ServedTree, noise};
use crate::wire::{Body, frame};

const MIB: usize = GROUP_BYTES;

/// A bit of everything, so that every kind of answer comes at least once.
fn tree() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("a", "hello")
        .file("b", noise(1, 2 * MIB + 1))
        .file("c", noise(2, 300 << 10))
        .directory("d")
        .file("d/one", "1")
        .file("d/two", "22")
        .link("d/up", "../a")
        .directory("d/e")
        .file("d/e/three", "333")
        .sparse("z", [vec![0; 2 * MIB], noise(3, 5)].concat());
    tree.at("b").settled = false;
    tree
}

/// Where the client begins: with nothing, so that small files come in line; with something, so that
/// they are fetched; with older copies, which are compared.
fn scenes(script: impl Fn() -> Script) -> Vec<(ServedTree, Scene)> {
    let empty = Scene::with(tree(), script());
    let mut with_mine = tree();
    with_mine.file("mine", "").at("mine").info.mode = 0o644;
    let fetched = Scene::with(with_mine.clone(), script());
    let fetched = fetched.put("d/e/none", "");
    std::fs::remove_file(fetched.at("d/e/none")).unwrap();
    let mut older = noise(1, 2 * MIB + 1);
    older[MIB] ^= 1;
    let compared = Scene::with(with_mine.clone(), script()).put("b", older);
    let compared = compared.existing(Existing::Overwrite);
    vec![
        (tree(), empty),
        (with_mine.clone(), fetched),
        (with_mine, compared),
    ]
}

/// Runs the scenes over connections that are as `wire` says, and requires that everything arrives.
/// Of several checks with other `turn`s, each takes another scene.
async fn check(
    turn: Option<usize>,
    what: &str,
    wire: impl Fn(usize) -> Wire + Clone + Send + 'static,
) {
    let script = || Script::wired(wire.clone());
    for (number, (tree, scene)) in scenes(script).into_iter().enumerate() {
        if turn.is_some_and(|turn| turn % 3 != number) {
            continue;
        }
        let outcome = scene.run().await;
        assert!(
            outcome.error.is_none(),
            "{what}, scene {number}: {}",
            outcome.summary()
        );
        outcome.expect_all(&scene, "", &tree);
    }
}

/// The lengths of all frames of a whole transfer, the longest of those that there are.
async fn frames() -> Vec<usize> {
    let mut longest = Vec::new();
    for (_, scene) in scenes(Script::default) {
        let frames = scene.run().await.log.frames.remove(&0).unwrap();
        if frames.len() > longest.len() {
            longest = frames;
        }
    }
    longest
}

#[test]
fn a_cut_behind_any_frame_costs_nothing() {
    within(Clock::Paused, || async {
        let count = frames().await.len();
        assert!(count > 12, "{count}");
        for frames in 0..=count {
            check(
                None,
                &format!("the first cut behind {frames} frames"),
                move |connection| Wire {
                    frames_max: (connection == 0).then_some(frames),
                    ..Wire::default()
                },
            )
            .await;
        }
        // Behind the greeting alone nothing is won. With one more frame on each connection it is
        // slow work, but it comes to its end.
        for frames in 2..=count {
            check(
                Some(frames),
                &format!("each cut behind {frames} frames"),
                move |_| Wire {
                    frames_max: Some(frames),
                    ..Wire::default()
                },
            )
            .await;
        }
    });
}

#[test]
fn a_cut_within_any_frame_costs_nothing() {
    within(Clock::Paused, || async {
        let mut start = 0;
        let mut places = Vec::new();
        for length in frames().await {
            places.extend([1, 4, 5, 6, length / 2, length - 1].map(|within| start + within));
            start += length;
        }
        for (turn, bytes) in places.into_iter().enumerate() {
            check(
                Some(turn),
                &format!("cut behind {bytes} bytes"),
                move |connection| Wire {
                    bytes_max: (connection == 0).then_some(bytes),
                    ..Wire::default()
                },
            )
            .await;
        }
    });
}

#[test]
fn connections_that_are_cut_again_and_again_are_dialled_again() {
    within(Clock::Paused, || async {
        for seed in 0..30u64 {
            // Each brings at least one group besides the greeting, in whatever place it is cut.
            let wire = move |connection: usize| {
                let mut random = Random::new(seed * 1000 + connection as u64);
                Wire {
                    bytes_max: Some(MIB + 2000 + random.below(2 * MIB)),
                    ..Wire::default()
                }
            };
            check(Some(seed as usize), &format!("seed {seed}"), wire).await;
        }
    });
}

fn always(wire: Wire) -> Script {
    Script::wired(move |_| wire.clone())
}

async fn run_for(script: Script, retry_for: u64) -> (Outcome, Duration) {
    let scene = Scene::with(tree(), script);
    let scene = scene.settings(|settings| settings.retry_for = Duration::from_secs(retry_for));
    let start = Instant::now();
    let outcome = scene.run().await;
    (outcome, start.elapsed())
}

#[test]
fn patience_ends_where_nothing_is_won() {
    within(Clock::Paused, || async {
        let greeting_only = || {
            Script::wired(|connection| Wire {
                frames_max: Some(if connection == 0 { 2 } else { 1 }),
                ..Wire::default()
            })
        };
        let nobody = || Script {
            wire: Box::new(|connection| match connection {
                0 => Ok(Wire {
                    frames_max: Some(2),
                    ..Wire::default()
                }),
                _ => Err(refused()),
            }),
            ..Script::default()
        };
        let from_the_start = || {
            always(Wire {
                frames_max: Some(1),
                ..Wire::default()
            })
        };
        for script in [
            &greeting_only as &dyn Fn() -> Script,
            &nobody,
            &from_the_start,
        ] {
            for retry_for in [0, 30, 120] {
                let (outcome, took) = run_for(script(), retry_for).await;
                let error = outcome.error.as_ref().unwrap();
                assert!(
                    matches!(error, DownloadError::Connect(error) if error.is_worth_retrying())
                );
                let took = took.as_secs();
                // What came with the first page may be on the disk some jumps of the clock later:
                // that is progress, from which the time begins anew.
                let most = 2 * (retry_for + 11);
                assert!((retry_for..=most).contains(&took), "{took} s");
                let dials = outcome.log.connections as u64;
                assert!(dials <= 26 + most / 5, "{dials} dials in {took} s");
                assert!(dials > 1 || retry_for == 0);
            }
        }
        let (outcome, took) = run_for(
            Script {
                wire: Box::new(|_| Err(refused())),
                ..Script::default()
            },
            120,
        )
        .await;
        assert!(matches!(outcome.error, Some(DownloadError::Connect(_))));
        assert_eq!(
            (took.as_secs(), outcome.log.connections),
            (0, 1),
            "it was never there"
        );
    });
}

/// Hashes are progress too, though they add nothing to what was fetched.
#[test]
fn a_long_comparison_is_not_taken_for_standing_still() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 40 * MIB));
        tree.frame_hashes = 1;
        let script = Script::wired(|_| Wire {
            frames_max: Some(8),
            pace: Some((4096, Duration::from_secs(9))),
            ..Wire::default()
        });
        let scene = Scene::with(tree.clone(), script);
        let scene = scene
            .put("f", noise(1, 40 * MIB))
            .existing(Existing::Overwrite);
        let scene = scene.settings(|settings| settings.retry_for = Duration::from_secs(20));
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!(outcome.log.groups("f"), [0; 0]);
        assert!(outcome.log.connections > 4);
    });
}

#[test]
fn trust_is_asked_for_again_on_each_connection() {
    let token = Token::from([9; 16]);
    let welcome = |proof: Option<[u8; 32]>| {
        let mut body = Body::default();
        body.raw(&[1, 0]).flag(proof.is_some());
        body.raw(proof.as_ref().map_or(&[], |proof| proof));
        frame(64, &body.0)
    };
    let denied = |why| frame(65, &[why]);
    let cases = [
        (
            "a wrong proof",
            welcome(Some([1; 32])),
            "the server could not prove that it knows the key",
            true,
        ),
        (
            "version",
            denied(0),
            "the server does not admit this client: it speaks another version of the protocol",
            false,
        ),
        (
            "access",
            denied(1),
            "the server does not admit this client: the key is wrong or missing",
            true,
        ),
        (
            "a greeting that is none",
            frame(72, &[0]),
            "the server broke the protocol: it sent a Failed message where none may come",
            false,
        ),
        (
            "another version",
            frame(64, &[2, 0, 0]),
            "the server broke the protocol: its Welcome message is malformed",
            false,
        ),
    ];
    within(Clock::Paused, move || async move {
        for (what, greeting, expected, is_trust) in cases {
            for from in [0, 1] {
                let greeting = greeting.clone();
                let script = Script::wired(move |connection| Wire {
                    frames_max: (connection == 0).then_some(2),
                    greeting: (connection >= from).then(|| greeting.clone()),
                    ..Wire::default()
                });
                let scene = Scene::with_token(tree(), script, Some(token.clone()));
                let outcome = scene.run().await;
                let Some(DownloadError::Connect(error)) = &outcome.error else {
                    panic!("{what}: {}", outcome.summary());
                };
                let said = error.to_string();
                assert!(said.starts_with(expected), "{what}: {said}");
                let is_estranged = said.contains("restarted without --key-file");
                assert_eq!(is_estranged, is_trust && from == 1, "{what}: {said}");
                assert_eq!(error.is_refusal_of_trust(), is_trust, "{what}");
                assert_eq!(
                    outcome.log.connections,
                    from + 1,
                    "{what}: it stops at once"
                );
            }
        }
        // An open server has nothing to prove, and one that is busy or leaving may have a successor.
        for greeting in [denied(2), denied(3)] {
            let script = Script::wired(move |connection| Wire {
                frames_max: (connection == 0).then_some(2),
                greeting: (connection == 1).then(|| greeting.clone()),
                ..Wire::default()
            });
            let scene = Scene::with_token(tree(), script, Some(token.clone()));
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree());
        }
        let script = Script {
            wire: Box::new(|connection| match connection {
                0 => Ok(Wire {
                    frames_max: Some(2),
                    ..Wire::default()
                }),
                _ => Err(DialError::WrongIdentity {
                    place: place(),
                    expected: Pin::from(PIN),
                    found: Pin::from([1; 16]),
                }),
            }),
            ..Script::default()
        };
        let outcome = Scene::with(tree(), script).run().await;
        assert_eq!(outcome.log.connections, 2);
        let Some(DownloadError::Connect(error)) = &outcome.error else {
            panic!("{}", outcome.summary());
        };
        assert!(error.is_refusal_of_trust());
    });
}
