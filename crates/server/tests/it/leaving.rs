//! How a server comes to its end.

use std::io;
use std::time::Duration;

use packhorse_protocol::frame::FrameType;
use packhorse_protocol::message::{Completion, Request};
use packhorse_transport::accept::AcceptError;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{frame, read};
use crate::served::{Clock, Served, Setup, Tree, within};

/// A server of a file of some groups, and a client in the middle of reading it.
async fn in_the_middle(setup: Setup) -> (Served, crate::client::Client) {
    let served = setup.serve(Tree::new().large("f", 8));
    let mut client = served.admitted_with(4096).await;
    client.ask(&read("f", 0, 8)).await;
    let first = client.next().await.unwrap();
    assert_eq!(first.0, FrameType::Group);
    (served, client)
}

/// How many more groups come, and whether the answer came to its end.
async fn rest(client: &mut crate::client::Client) -> (usize, bool) {
    let mut groups = 0;
    loop {
        match client.next().await {
            Some((FrameType::Group, _)) => groups += 1,
            Some((FrameType::Done, _)) => return (groups, true),
            None => return (groups, false),
            other => panic!("{other:?}"),
        }
    }
}

async fn expect_leaving(served: &Served) {
    let mut newcomer = served.arrive();
    newcomer.send(&frame(1, &[1, 0, 0])).await;
    assert_eq!(newcomer.next().await, Some((FrameType::Denied, vec![3])));
    newcomer.expect_closed("a newcomer").await;
}

#[test]
fn who_is_here_finishes_and_nobody_else_comes_in() {
    within(Clock::Real, || async {
        let (served, mut client) = in_the_middle(Setup::default()).await;
        let waiting = served.arrive();
        sleep(Duration::from_millis(20)).await;
        served.stop.leave();
        expect_leaving(&served).await;
        // Who had arrived before and says hello now is late, too.
        let mut waiting = waiting;
        waiting.send(&frame(1, &[1, 0, 0])).await;
        assert_eq!(waiting.next().await, Some((FrameType::Denied, vec![3])));
        for error in [
            AcceptError::Gone(io::ErrorKind::ConnectionAborted.into()),
            AcceptError::Exhausted(io::ErrorKind::OutOfMemory.into()),
        ] {
            served.road.fail(error);
            expect_leaving(&served).await;
        }
        assert_eq!(rest(&mut client).await, (7, true));
        // As long as it has more to ask, it may.
        client.ask(&read("f", 0, 1)).await;
        assert_eq!(rest(&mut client).await, (1, true));
        client.leave().await;
        timeout(Duration::from_secs(2), served.running)
            .await
            .unwrap()
            .unwrap();
    });
}

#[test]
fn where_nobody_can_arrive_any_more_who_is_here_finishes() {
    within(Clock::Real, || async {
        let (served, mut client) = in_the_middle(Setup::default()).await;
        let broken = io::ErrorKind::InvalidInput.into();
        served.road.fail(AcceptError::Broken(broken));
        sleep(Duration::from_millis(100)).await;
        assert_eq!(rest(&mut client).await, (7, true));
        client.leave().await;
        timeout(Duration::from_secs(2), served.running)
            .await
            .unwrap()
            .unwrap();
    });
}

#[test]
fn strangers_do_not_keep_a_server_that_leaves() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new());
        let start = Instant::now();
        let early = served.arrive();
        sleep(Duration::from_secs(1)).await;
        let client = served.admitted().await;
        served.stop.leave();
        let mut strangers = vec![early];
        for _ in 0..4 {
            strangers.push(served.arrive());
            sleep(Duration::from_secs(1)).await;
        }
        client.leave().await;
        served.running.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 5);
        for mut stranger in strangers {
            stranger.expect_closed("a stranger").await;
        }
    });
}

#[test]
fn an_idle_client_does_not_keep_a_server_that_leaves() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new());
        let mut idle = served.admitted().await;
        sleep(Duration::from_secs(100)).await;
        let start = Instant::now();
        served.stop.leave();
        idle.expect_closed("idle").await;
        served.running.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 5);
    });
}

#[test]
fn grace_has_an_end_and_so_has_patience() {
    within(Clock::Real, || async {
        for is_told_twice in [false, true] {
            let setup = Setup {
                grace: Duration::from_millis(if is_told_twice { 60_000 } else { 300 }),
                ..Setup::default()
            };
            let (served, mut client) = in_the_middle(setup).await;
            served.stop.leave();
            sleep(Duration::from_millis(100)).await;
            if is_told_twice {
                served.stop.end();
            }
            timeout(Duration::from_secs(2), served.running)
                .await
                .unwrap()
                .unwrap();
            let (groups, is_whole) = rest(&mut client).await;
            assert!(!is_whole && groups < 7, "{groups} groups");
        }
    });
}

#[test]
fn the_end_is_at_once() {
    within(Clock::Real, || async {
        let (served, mut client) = in_the_middle(Setup::default()).await;
        let mut stranger = served.arrive();
        served.stop.end();
        timeout(Duration::from_secs(2), served.running)
            .await
            .unwrap()
            .unwrap();
        assert!(!rest(&mut client).await.1);
        stranger.expect_closed("the end").await;
    });
}

fn complete(failed: u64) -> Request {
    Request::Complete(Completion {
        files: 1,
        bytes: 1,
        failed,
    })
}

#[test]
fn once_means_one_whole_transfer() {
    within(Clock::Real, || async {
        let setup = Setup {
            once: true,
            ..Setup::default()
        };
        let (served, mut other) = in_the_middle(setup).await;
        // One that only looks, one that has failed, one that is lost.
        served.expect_good_service().await;
        let mut failed = served.admitted().await;
        failed.ask(&complete(1)).await;
        failed.leave().await;
        drop(served.admitted().await);
        served.expect_good_service().await;
        // And one that has all.
        let mut done = served.admitted().await;
        done.ask(&complete(0)).await;
        done.leave().await;
        expect_leaving(&served).await;
        // Who is not done yet may finish.
        assert_eq!(rest(&mut other).await, (7, true));
        other.leave().await;
        timeout(Duration::from_secs(2), served.running)
            .await
            .unwrap()
            .unwrap();
    });
}
