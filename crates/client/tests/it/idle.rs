//! Connections that are owed nothing, and what their end means. (THREATS 20 and 23.)

use std::io;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use packhorse_protocol::key::Pin;
use packhorse_protocol::message::Request;
use packhorse_storage::disk::{Disk, DiskCall, DiskHook, Operation, Verdict};
use packhorse_transport::dial::DialError;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::scene::{Clock, Outcome, Scene, within};
use crate::scripted_server::{Call, Script, ScriptedServer, Wire, place, refused};
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, frame};

const MIB: usize = 1 << 20;

/// A greeting, a page, a group, and the end of what was asked for: nothing more is owed then, and
/// the file's state is asked for once the group is written.
const FRAMES_OF_ONE_GROUP: usize = 4;

fn one_group() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("f", noise(1, MIB));
    tree
}

/// Holds up all writes while it is closed.
struct Gate(Arc<RwLock<()>>);

impl DiskHook for Gate {
    fn before(&self, call: &DiskCall<'_>) -> io::Result<Verdict> {
        if matches!(call.operation, Operation::Write { .. }) {
            drop(self.0.read().unwrap());
        }
        Ok(Verdict::Proceed)
    }
}

/// Fetches one group, whose write ends when `until_written` does.
async fn run_while_writing(
    script: Script,
    until_written: impl AsyncFnOnce(&ScriptedServer),
) -> Outcome {
    run_while_writing_of(one_group(), script, until_written).await
}

/// Fetches `tree`, of which nothing is written before `until_written` ends.
async fn run_while_writing_of(
    tree: ServedTree,
    script: Script,
    until_written: impl AsyncFnOnce(&ScriptedServer),
) -> Outcome {
    let scene = Scene::with(tree.clone(), script);
    let mut scene = scene.settings(|settings| settings.retry_for = Duration::ZERO);
    let gate = Arc::new(RwLock::new(()));
    scene.disk = Disk::with_hook(Arc::new(Gate(Arc::clone(&gate))));
    let closed = gate.write().unwrap();
    let (outcome, ()) = tokio::join!(scene.run(), async {
        until_written(&scene.server).await;
        drop(closed);
    });
    if outcome.error.is_none() {
        outcome.expect_all(&scene, "", &tree);
    }
    outcome
}

/// A server that ends behind a page that holds all, and then is as `later` says; the disk goes on
/// once it is dialled again.
async fn run_while_server_has_gone(
    later: impl Fn() -> Result<Wire, DialError> + Send + 'static,
) -> Outcome {
    let script = Script {
        wire: Box::new(move |connection| match connection {
            0 => Ok(Wire {
                frames_max: Some(2),
                ..Wire::default()
            }),
            _ => later(),
        }),
        ..Script::default()
    };
    let mut tree = ServedTree::new();
    tree.file("f", "small");
    run_while_writing_of(tree, script, async |server| {
        while server.log().connections == 1 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

fn another_identity() -> DialError {
    DialError::WrongIdentity {
        place: place(),
        expected: Pin::from([7; 16]),
        found: Pin::from([8; 16]),
    }
}

/// All that was asked for had come, and the download failed.
#[test]
fn nobody_minds_who_has_the_address_when_all_has_come() {
    within(Clock::Real, || async {
        for later in [refused, another_identity] {
            let outcome = run_while_server_has_gone(move || Err(later())).await;
            assert!(outcome.error.is_none(), "{}", outcome.summary());
            assert_eq!(outcome.losses, 0);
        }
    });
}

/// The end came once it was given up.
#[test]
fn a_dial_without_an_answer_does_not_hold_up_the_end() {
    within(Clock::Real, || async {
        let outcome = run_while_server_has_gone(|| {
            Ok(Wire {
                dial_time: Duration::from_secs(3600),
                ..Wire::default()
            })
        })
        .await;
        assert!(outcome.error.is_none(), "{}", outcome.summary());
        assert_eq!((outcome.losses, outcome.log.connections), (0, 2));
    });
}

/// It was noticed with the next request, which then was lost.
#[test]
fn the_end_of_an_idle_connection_is_noticed_and_loses_nothing() {
    within(Clock::Paused, || async {
        let script = Script::wired(|connection| Wire {
            frames_max: (connection == 0).then_some(FRAMES_OF_ONE_GROUP),
            ..Wire::default()
        });
        let outcome = run_while_writing(script, async |server| {
            let start = Instant::now();
            while server.log().connections == 1 && start.elapsed() < Duration::from_secs(3600) {
                sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(server.log().connections, 2, "while the disk was at work");
        })
        .await;
        assert!(outcome.error.is_none(), "{}", outcome.summary());
        assert_eq!((outcome.losses, outcome.log.connections), (0, 2));
        assert_eq!(outcome.log.groups("f"), [0]);
    });
}

#[test]
fn an_idle_connection_may_be_silent_for_as_long_as_it_likes() {
    within(Clock::Paused, || async {
        let outcome = run_while_writing(Script::default(), async |_| {
            sleep(Duration::from_secs(3600)).await;
        })
        .await;
        assert!(outcome.error.is_none(), "{}", outcome.summary());
        assert_eq!((outcome.losses, outcome.log.connections), (0, 1));
    });
}

/// Nothing of it was read before the next request.
#[test]
fn what_nobody_asked_for_ends_an_idle_connection() {
    within(Clock::Paused, || async {
        let wire = Wire {
            frames_max: Some(FRAMES_OF_ONE_GROUP),
            prattle: Some((frame(66, &[4]), Duration::from_secs(1))),
            ..Wire::default()
        };
        let script = Script::wired(move |_| wire.clone());
        let outcome = run_while_writing(script, async |server| {
            while !server.is_left() {
                sleep(Duration::from_secs(1)).await;
            }
        })
        .await;
        let told = outcome.summary();
        let violation = "it sent a Page message where none may come";
        assert!(told.contains(violation), "{told}");
        assert_eq!(outcome.log.connections, 1);
    });
}

/// The rest of what may be skipped, begun while nothing was owed, comes in front of an answer.
#[test]
fn what_an_idle_connection_has_read_of_a_frame_is_kept() {
    within(Clock::Paused, || async {
        let mut script = Script::wired(|_| Wire {
            pace: Some((16 << 10, Duration::from_secs(1))),
            ..Wire::default()
        });
        script.lie = Box::new(|call, answers| {
            if call.number == 1 {
                answers.push(Answer::Raw(frame(200, &[7; 100 << 10])));
            }
        });
        let outcome = run_while_writing(script, async |server| {
            let frames = || server.log().frames.get(&0).map_or(0, Vec::len);
            while frames() < FRAMES_OF_ONE_GROUP {
                sleep(Duration::from_millis(100)).await;
            }
            sleep(Duration::from_millis(2500)).await;
            assert_eq!(
                frames(),
                FRAMES_OF_ONE_GROUP,
                "it is in the middle of the next"
            );
        })
        .await;
        assert!(outcome.error.is_none(), "{}", outcome.summary());
        assert_eq!((outcome.losses, outcome.log.connections), (0, 1));
    });
}

/// Two connections to a server far away, of which each brings some of five groups: the first is
/// closed when nothing is owed over it, while the other still owes some. It goes on once
/// `dials` more were made, of which each finds what `later` says.
fn closed_beside_another(
    dials: usize,
    later: impl Fn() -> Result<Wire, DialError> + Send + 'static,
) -> (Scene, Arc<Mutex<Vec<Instant>>>) {
    let dial_time = Duration::from_millis(100);
    let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (held, at) = (Arc::clone(&first), Arc::<Mutex<Vec<Instant>>>::default());
    let dialled = Arc::clone(&at);
    let wire = move |connection| match connection {
        0 => Ok(Wire {
            dial_time,
            // A greeting, a page, two groups and the end of what was asked for.
            frames_max: Some(5),
            hold: Some((2, Arc::clone(&held))),
            ..Wire::default()
        }),
        1 => Ok(Wire {
            dial_time,
            // The server looks at the request for the last group when this is in front of it.
            hold: Some((4, Arc::clone(&second))),
            ..Wire::default()
        }),
        _ => {
            dialled.lock().unwrap().push(Instant::now());
            if connection == dials + 1 {
                second.notify_one();
            }
            later()
        }
    };
    let mut asked = 0;
    let before = move |call: &Call, _: &mut ServedTree| {
        if let Request::Read(read) = &call.request {
            asked += read.range.count();
            if asked == 5 {
                first.notify_one();
            }
        }
    };
    let script = Script {
        before: Box::new(before),
        wire: Box::new(wire),
        ..Script::default()
    };
    let mut tree = ServedTree::new();
    tree.file("f", noise(1, 5 * MIB));
    let scene = Scene::with(tree, script).settings(|settings| {
        settings.connections = Some(2);
        settings.retry_for = Duration::ZERO;
    });
    (scene, at)
}

/// A server that is told to end closes idle connections, takes no new ones, and goes on with what it
/// owes.
#[test]
fn others_go_on_where_an_idle_connection_was_closed() {
    within(Clock::Real, || async {
        for later in [refused, another_identity] {
            let (scene, _) = closed_beside_another(1, move || Err(later()));
            let outcome = scene.run().await;
            assert!(outcome.error.is_none(), "{}", outcome.summary());
            assert_eq!(outcome.losses, 0);
            assert_eq!(outcome.log.groups("f").len(), 5, "each once");
        }
    });
}

/// It would be dialled as often as the processor can.
#[test]
fn a_server_that_closes_idle_connections_at_once_is_dialled_ever_more_seldom() {
    within(Clock::Real, || async {
        let (scene, at) = closed_beside_another(4, || Ok(greeting_only()));
        let outcome = scene.run().await;
        assert!(outcome.error.is_none(), "{}", outcome.summary());
        assert_eq!(outcome.losses, 0);
        check_pauses(&at.lock().unwrap()[..4]);
    });
}

/// Whatever another connection had brought meanwhile, the next dial came a quarter of a second later.
#[test]
fn a_server_that_greets_and_takes_no_requests_is_dialled_ever_more_seldom() {
    within(Clock::Real, || async {
        let at = Arc::<Mutex<Vec<Instant>>>::default();
        let (dialled, goes_on) = (Arc::clone(&at), Arc::new(Notify::new()));
        let script = Script::wired(move |connection| match connection {
            0 => Wire {
                dial_time: Duration::from_millis(100),
                frames_max: Some(2),
                ..Wire::default()
            },
            1 => Wire {
                dial_time: Duration::from_millis(100),
                pace: Some((256 << 10, Duration::from_millis(10))),
                hold: Some((24, Arc::clone(&goes_on))),
                ..Wire::default()
            },
            _ => {
                let mut at = dialled.lock().unwrap();
                at.push(Instant::now());
                if at.len() == 4 {
                    goes_on.notify_one();
                }
                greeting_only()
            }
        });
        // However far ahead the second one asks, something is left for the first, which else would
        // not be dialled.
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 96 * MIB));
        let scene = Scene::with(tree.clone(), script);
        let scene = scene.settings(|settings| settings.connections = Some(2));
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        check_pauses(&at.lock().unwrap()[..4]);
    });
}

fn greeting_only() -> Wire {
    Wire {
        frames_max: Some(1),
        ..Wire::default()
    }
}

/// The pause behind each dial but the last is at least twice that of the one before, half of which
/// may be left out.
#[track_caller]
fn check_pauses(dials: &[Instant]) {
    let pauses = dials.windows(2).map(|pair| pair[1] - pair[0]);
    let pauses: Vec<_> = pauses.collect();
    for (number, pause) in pauses.iter().enumerate() {
        assert!(*pause >= Duration::from_millis(125 << number), "{pauses:?}");
    }
}
