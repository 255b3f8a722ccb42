//! Measurements, with an honest server and with one that lies, prattles, falls silent and is old.

use std::sync::Arc;
use std::time::Duration;

use packhorse_client::bench::{
    BenchError, Course, PathFigures, SourceSample, WorkFigures, measure_path, measure_source,
    measure_work,
};
use packhorse_client::connect::{ConnectError, Connector};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_protocol::message::{MeasureWhat, Request};
use packhorse_protocol::path::RelativePath;
use packhorse_transport::processing::Work;
use tokio::time::{Instant, timeout};

use crate::scene::{Clock, within};
use crate::scripted_server::{Log, Script, ScriptedDial, ScriptedServer, Wire};
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, Body, frame};

const TIME: Duration = Duration::from_secs(5);

/// No measurement takes longer, whatever the server does: it may be silent for a minute.
const LONGEST: Duration = Duration::from_secs(90);

/// A line that takes so much at once, with such a pause behind each.
fn paced(bytes: usize, milliseconds: u64) -> Wire {
    Wire {
        pace: Some((bytes, Duration::from_millis(milliseconds))),
        ..Wire::default()
    }
}

/// A server of `tree` that does as `script` says, and the way to it.
fn server(tree: ServedTree, script: Script) -> (Arc<ScriptedServer>, Arc<Connector<ScriptedDial>>) {
    let server = ScriptedServer::new(tree, script, None);
    let connector = Connector::new(ScriptedDial(Arc::clone(&server)), None);
    (server, connector)
}

/// Measures the path over one connection, or as many as it finds worth having.
async fn path(
    script: Script,
    connections: Option<usize>,
) -> (Result<PathFigures, BenchError>, Log) {
    let (server, connector) = server(ServedTree::new(), script);
    let mut looks = Vec::new();
    let mut tell = |course: &Course| looks.push(course.bytes());
    let measuring = measure_path(&connector, connections, TIME, &mut tell);
    let measured = timeout(LONGEST, measuring).await.expect("it ends");
    assert!(looks.is_sorted());
    server.end();
    let log = server.log();
    assert_eq!(log.violations, [""; 0]);
    (measured, log)
}

async fn work(script: Script) -> (Result<WorkFigures, BenchError>, Log) {
    let (server, connector) = server(ServedTree::new(), script);
    let measuring = measure_work(&connector, Work::Hashing);
    let measured = timeout(LONGEST, measuring).await.expect("it ends");
    server.end();
    (measured, server.log())
}

/// A `Measured` frame.
fn measured(nanoseconds: u64, cores: u64) -> Answer {
    let mut body = Body::default();
    body.number(nanoseconds).number(cores);
    Answer::Raw(frame(74, &body.0))
}

/// Has `lie` change the answers to requests for filler.
fn with_other_filler(lie: fn(&mut Vec<Answer>)) -> Script {
    Script::lying(move |call, answers| {
        let is_filler = |request: &Request| match request {
            Request::Measure(measure) => measure.what == MeasureWhat::Path && measure.groups > 0,
            _ => false,
        };
        if is_filler(&call.request) {
            lie(answers);
        }
    })
}

#[test]
fn a_path_is_as_fast_as_its_line() {
    within(Clock::Paused, || async {
        for (connections, rate) in [(1, 3_276_800), (4, 4 * 3_276_800)] {
            let script = Script::wired(|_| paced(32 << 10, 10));
            let (figures, log) = path(script, Some(connections)).await;
            let figures = figures.unwrap();
            assert_eq!(figures.connections, connections);
            assert_eq!(log.connections, connections);
            let found = figures.course.steady_rate().unwrap();
            assert!(found.abs_diff(rate) < rate / 10, "{found}, not {rate}");
            assert!(figures.course.time() >= TIME);
        }
    });
}

#[test]
fn a_distant_server_gets_more_connections_as_in_a_download() {
    within(Clock::Paused, || async {
        let script = Script::wired(|_| Wire {
            dial_time: Duration::from_millis(100),
            ..paced(32 << 10, 10)
        });
        let (figures, _) = path(script, None).await;
        let connections = figures.unwrap().connections;
        assert!((5..=16).contains(&connections), "{connections}");
    });
}

#[test]
fn a_connection_that_is_not_let_in_is_done_without() {
    within(Clock::Paused, || async {
        let script = Script {
            wire: Box::new(|number| match number {
                0 => Ok(paced(32 << 10, 10)),
                _ => Err(crate::scripted_server::refused()),
            }),
            ..Script::default()
        };
        let (figures, _) = path(script, Some(3)).await;
        let figures = figures.unwrap();
        assert_eq!(figures.connections, 1);
        assert!(figures.course.bytes() > 10 << 20);
    });
}

#[test]
fn a_server_that_sends_what_it_should_not_is_left() {
    within(Clock::Paused, || async {
        let lies: [fn(&mut Vec<Answer>); 4] = [
            // One more, none at all, less of one, and another end.
            |answers| answers.insert(0, answers[0].clone()),
            |answers| drop(answers.remove(0)),
            |answers| answers[0] = Answer::Raw(frame(73, &[0; GROUP_BYTES - 1])),
            |answers| answers[1] = Answer::Raw(frame(71, &[0; 18])),
        ];
        for (number, lie) in lies.into_iter().enumerate() {
            let (figures, _) = path(with_other_filler(lie), Some(1)).await;
            let error = figures.expect_err("it broke the protocol");
            let is_violation = matches!(error, BenchError::Connect(ConnectError::Violation(_)));
            assert!(is_violation, "{number}: {error}");
        }
        // Behind the answer to the first request, filler without end.
        let script = Script::wired(|_| Wire {
            frames_max: Some(4),
            prattle: Some((frame(73, &[0; GROUP_BYTES]), Duration::from_millis(1))),
            ..Wire::default()
        });
        let error = path(script, Some(1))
            .await
            .0
            .expect_err("nothing was asked for");
        let is_violation = matches!(error, BenchError::Connect(ConnectError::Violation(_)));
        assert!(is_violation, "{error}");
    });
}

#[test]
fn a_server_that_falls_silent_keeps_nobody_for_long() {
    within(Clock::Paused, || async {
        // Before the greeting, before the round trips are done, and in the middle of filler.
        for frames in [0, 2, 5] {
            let script = Script::wired(move |_| Wire {
                frames_max: Some(frames),
                falls_silent: true,
                ..Wire::default()
            });
            let start = Instant::now();
            let (figures, _) = path(script, Some(1)).await;
            let seconds = start.elapsed().as_secs();
            match frames {
                5 => {
                    // What has come is what there is to say.
                    assert_eq!(figures.unwrap().course.steady_rate(), Some(0));
                    assert!(seconds < 10, "{seconds} s");
                }
                _ => {
                    let error = figures.expect_err("it said nothing");
                    let is_silent = matches!(error, BenchError::Connect(ConnectError::Silent(_)));
                    assert!(is_silent, "{error}");
                }
            }
        }
    });
}

#[test]
fn what_a_server_says_of_itself_must_be_possible() {
    within(Clock::Paused, || async {
        let told = |nanoseconds, cores| {
            let mut script = Script::wired(|_| paced(1 << 20, 5));
            script.lie = Box::new(move |_, answers| *answers = vec![measured(nanoseconds, cores)]);
            script
        };
        let (figures, _) = work(told(1_000_000, 2)).await;
        let rate = 64 * GROUP_BYTES as u64 * 1000;
        assert_eq!(figures.unwrap(), WorkFigures { rate, cores: 2 });
        // No time, hardly any, more than went by, more than fits, on no core.
        let incredible = [
            (0, 2),
            (1, 2),
            (6_000_000, 2),
            (u64::MAX, 2),
            (1_000_000, 0),
        ];
        for (nanoseconds, cores) in incredible {
            let (figures, _) = work(told(nanoseconds, cores)).await;
            let error = figures.expect_err("it cannot be");
            assert!(
                matches!(error, BenchError::Incredible),
                "{nanoseconds} {error}"
            );
        }
    });
}

#[test]
fn an_older_server_is_not_asked_to_measure() {
    within(Clock::Paused, || async {
        let old = || {
            Script::wired(|_| Wire {
                greeting: Some(frame(64, &[1, 0, 0])),
                ..Wire::default()
            })
        };
        let (figures, log) = path(old(), None).await;
        assert!(matches!(figures, Err(BenchError::NoFeature)));
        assert_eq!(log.calls.len(), 0);
        let (figures, log) = work(old()).await;
        assert!(matches!(figures, Err(BenchError::NoFeature)));
        assert_eq!(log.calls.len(), 0);
    });
}

#[test]
fn a_source_is_read_once_and_what_cannot_be_read_left_out() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, (40 << 20) + 5)).file("g", "hello");
        let (server, connector) = server(tree, Script::wired(|_| paced(64, 3)));
        let sample = |at: &str, size| SourceSample {
            path: RelativePath::parse(at.as_bytes()).unwrap(),
            size,
        };
        let samples = vec![
            sample("missing", 3 << 20),
            sample("f", (40 << 20) + 5),
            sample("g", 5),
        ];
        let mut tell = |_: &Course| {};
        let measuring = measure_source(&connector, samples, TIME, &mut tell);
        let course = timeout(LONGEST, measuring).await.expect("it ends").unwrap();
        assert_eq!(course.bytes(), (40 << 20) + 10);
        assert_eq!(server.log().hashes("f"), 41);

        // As many groups as there can be, of a file that is not there.
        let samples = vec![sample("missing", u64::MAX); 1000];
        let measuring = measure_source(&connector, samples, TIME, &mut tell);
        let course = timeout(LONGEST, measuring).await.expect("it ends").unwrap();
        assert_eq!((course.bytes(), course.steady_rate()), (0, Some(0)));
        server.end();
        assert_eq!(server.log().violations, [""; 0]);
    });
}
