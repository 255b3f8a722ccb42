//! Clients that say nothing, or take nothing. (THREATS 6.)

use std::time::Duration;

use packhorse_server::Limits;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, frame, read, tree};
use crate::served::{Clock, Served, Setup, Tree, within};

#[test]
fn an_idle_client_is_left_after_ten_minutes() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new());
        let mut client = served.admitted().await;
        let start = Instant::now();
        client.expect_closed("idle").await;
        assert_eq!(start.elapsed().as_secs(), 600);

        // Half a request, a byte now and then.
        let mut client = served.admitted().await;
        let start = Instant::now();
        for byte in &frame(3, &[1, 2, 3, 4])[..8] {
            client.send(&[*byte]).await;
            sleep(Duration::from_secs(70)).await;
        }
        client.expect_closed("a byte now and then").await;
        assert_eq!(start.elapsed().as_secs(), 600);

        // Frames that are skipped ask for nothing.
        let mut client = served.admitted().await;
        let start = Instant::now();
        while start.elapsed().as_secs() < 599 {
            client.send(&frame(255, &[0; 10])).await;
            sleep(Duration::from_secs(7)).await;
        }
        client.expect_closed("skipped").await;
        assert_eq!(
            start.elapsed().as_secs(),
            602,
            "it is noticed behind the last one"
        );
    });
}

#[test]
fn a_client_that_asks_now_and_then_stays() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("f", "x"));
        let mut client = served.admitted().await;
        for _ in 0..10 {
            sleep(Duration::from_secs(599)).await;
            client.whole_tree("").await;
        }
        client.leave().await;
    });
}

/// Short enough for a real clock, since disks are at work.
fn impatient() -> Setup {
    Setup {
        limits: Limits {
            stall_time: Duration::from_millis(300),
            idle_time: Duration::from_millis(600),
            ..Limits::default()
        },
        ..Setup::default()
    }
}

#[test]
fn who_takes_nothing_is_left() {
    within(Clock::Real, || async {
        let served = impatient().serve(Tree::new().large("f", 4));
        let start = Instant::now();
        let mut stalled = served.admitted().await;
        stalled.ask(&read("f", 0, 4)).await;
        // It closes its side, or not; it reads nothing.
        let mut half_closed = served.admitted().await;
        half_closed.ask(&read("f", 0, 4)).await;
        tokio::io::AsyncWriteExt::shutdown(&mut half_closed.writer)
            .await
            .unwrap();
        // Others are served all the while.
        while start.elapsed() < Duration::from_millis(250) {
            let mut honest = served.admitted().await;
            honest.ask(&read("f", 0, 4)).await;
            assert_eq!(honest.read_to_end().await, Ok(4));
            honest.leave().await;
        }
        sleep(Duration::from_millis(600)).await;
        for client in [stalled, half_closed] {
            assert!(drain(client).await < 1 << 20, "the connection was kept");
        }
    });
}

/// Everything that still comes, in bytes.
async fn drain(mut client: Client) -> usize {
    let mut rest = Vec::new();
    let read = client.tap.read_to_end(&mut rest);
    timeout(Duration::from_secs(5), read)
        .await
        .unwrap()
        .unwrap();
    rest.len()
}

#[test]
fn who_takes_little_stays_and_keeps_nobody_else() {
    within(Clock::Real, || async {
        let served = impatient().serve(Tree::new().large("f", 4));
        let mut slow = served.admitted_with(1000).await;
        slow.ask(&read("f", 0, 4)).await;
        let mut byte = [0];
        for _ in 0..12 {
            slow.tap.read_exact(&mut byte).await.unwrap();
            let start = Instant::now();
            let mut honest = served.admitted().await;
            honest.ask(&read("f", 0, 4)).await;
            assert_eq!(honest.read_to_end().await, Ok(4));
            sleep(Duration::from_millis(150).saturating_sub(start.elapsed())).await;
        }
    });
}

/// A client that waits for its answer is not idle, however long that takes.
#[test]
fn waiting_for_a_slow_disk_is_not_idleness() {
    use packhorse_storage::disk::{Operation, Verdict};
    within(Clock::Real, || async {
        let setup = Setup {
            disk: crate::served::disk_with(|call| {
                if let Operation::List = call.operation {
                    std::thread::sleep(Duration::from_millis(1500));
                }
                Ok(Verdict::Proceed)
            }),
            ..impatient()
        };
        let served = setup.serve(Tree::new().file("f", "x"));
        let mut client = served.admitted().await;
        let start = Instant::now();
        client.asked(&tree(1, "")).await;
        assert!(start.elapsed() > Duration::from_millis(1400));
    });
}

#[test]
fn a_rate_is_shared_by_all() {
    within(Clock::Real, || async {
        let setup = Setup {
            rate_limit: Some(4 << 20),
            ..Setup::default()
        };
        let served = setup.serve(Tree::new().large("f", 2));
        let start = Instant::now();
        let transfer = || async {
            let mut client = served.admitted().await;
            client.ask(&read("f", 0, 2)).await;
            assert_eq!(client.read_to_end().await, Ok(2));
            start.elapsed()
        };
        let (one, other) = tokio::join!(transfer(), transfer());
        let both = one.max(other).as_millis();
        assert!(
            (900..2500).contains(&both),
            "4 MiB at 4 MiB/s took {both} ms"
        );
        assert!(
            one.min(other).as_millis() * 3 > both * 2,
            "one waited for the other"
        );
    });
}
