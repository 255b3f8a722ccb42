//! Clients that measure: what they may have the server do, and how much of it. (THREATS 8 and 9.)

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use packhorse_protocol::limits::{GROUP_BYTES, MEASURED_GROUPS_MAX};
use packhorse_protocol::message::{FEATURE_MEASURE, MeasureRequest, MeasureWhat, Request};
use packhorse_protocol::session::{Answer, ClientSession};
use tokio::time::Instant;

use crate::client::Client;
use crate::served::{Clock, Served, Setup, Tree, within};

pub(crate) fn measure(what: MeasureWhat, groups: u64) -> Request {
    Request::Measure(MeasureRequest { what, groups })
}

/// A client that has said that it measures.
pub(crate) async fn measurer(served: &Served) -> Client {
    let mut client = served.arrive();
    client.session = ClientSession::new(None, client.binding).with_features(FEATURE_MEASURE);
    client.greet().await;
    client
}

/// Takes the answer to a measure to its end; how many groups of filler came, and how long the
/// server worked.
async fn measured(client: &mut Client) -> (u64, u64) {
    let mut groups = 0;
    loop {
        match client.answer().await {
            Answer::Filler(bytes) => {
                assert_eq!(bytes, [0; GROUP_BYTES]);
                groups += 1;
            }
            Answer::Measured(measured) => {
                assert!(measured.cores > 0);
                return (groups, measured.nanoseconds);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_measures_gets_what_was_asked_for() {
    within(Clock::Real, || async {
        let served = Served::of(Tree::new());
        let mut client = measurer(&served).await;
        for groups in [0, 1, 3] {
            client.ask(&measure(MeasureWhat::Path, groups)).await;
            assert_eq!(measured(&mut client).await, (groups, 0));
        }
        for what in [MeasureWhat::Hashing, MeasureWhat::Encryption] {
            client.ask(&measure(what, 9)).await;
            let (groups, nanoseconds) = measured(&mut client).await;
            assert!(groups == 0 && nanoseconds > 0, "{what:?}");
        }
        client.leave().await;
    });
}

#[test]
fn more_than_may_be_measured_ends_the_connection() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new());
        for what in [
            MeasureWhat::Path,
            MeasureWhat::Hashing,
            MeasureWhat::Encryption,
        ] {
            for groups in [MEASURED_GROUPS_MAX + 1, u64::MAX] {
                let mut client = measurer(&served).await;
                client.ask(&measure(what, groups)).await;
                client.expect_closed("too much").await;
            }
            let mut client = served.admitted().await;
            client.ask(&measure(what, 1)).await;
            client.expect_closed("nothing was said of measuring").await;
        }
        served.expect_good_service().await;
    });
}

#[test]
fn a_rate_holds_for_what_is_on_no_disk() {
    within(Clock::Paused, || async {
        let setup = Setup {
            rate_limit: Some(GROUP_BYTES as u64),
            ..Setup::default()
        };
        let served = setup.serve(Tree::new());
        let mut client = measurer(&served).await;
        let start = Instant::now();
        client.ask(&measure(MeasureWhat::Path, 10)).await;
        assert_eq!(measured(&mut client).await, (10, 0));
        let seconds = start.elapsed().as_secs_f64();
        assert!((9.0..11.0).contains(&seconds), "{seconds} s");
    });
}

#[test]
fn who_takes_nothing_of_it_is_left() {
    within(Clock::Paused, || async {
        let setup = Setup::default();
        let stall_time = setup.limits.stall_time;
        let served = setup.serve(Tree::new());
        let mut client = measurer(&served).await;
        for _ in 0..60 {
            client.ask(&measure(MeasureWhat::Path, 64)).await;
        }
        tokio::time::sleep(stall_time + Duration::from_secs(1)).await;
        // What fits into the pipe, and not even one group.
        assert!(client.next().await.is_none());
        served.expect_good_service().await;
    });
}

#[test]
fn work_for_many_keeps_nobody_from_the_disk() {
    within(Clock::Real, || async {
        const MEASURERS: usize = 6;
        let setup = Setup {
            threads: 1,
            ..Setup::default()
        };
        let served = setup.serve(Tree::new().file("f", "x"));
        let done = AtomicUsize::new(0);
        let mut measurers = Vec::new();
        for _ in 0..MEASURERS {
            let mut client = measurer(&served).await;
            client.ask(&measure(MeasureWhat::Encryption, 64)).await;
            measurers.push(client);
        }
        let all_measured = async {
            let each = measurers.iter_mut().map(|client| async {
                measured(client).await;
                done.fetch_add(1, Ordering::Relaxed);
            });
            for one in each {
                one.await;
            }
        };
        let honest = async {
            served.expect_good_service().await;
            done.load(Ordering::Relaxed)
        };
        let ((), done_before) = tokio::join!(all_measured, honest);
        assert!(done_before < MEASURERS, "it had to wait for all of them");
    });
}
