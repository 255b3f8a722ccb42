//! Clients that are slow, or say nothing. The clock is a test's: none of this takes real time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use packhorse_web::{Pace, WebError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::flood::{frame, headers, preface};
use crate::served::{Served, request};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than any patience.
const HOURS: Duration = Duration::from_secs(10_000);

/// How long the server waits for a client that has sent `sent` and then says nothing.
async fn patience(is_http2: bool, sent: &[u8]) -> Duration {
    let served = Served::new();
    let (mut client, serving) = served.connect(is_http2);
    client.write_all(sent).await.unwrap();
    let start = Instant::now();
    let mut rest = Vec::new();
    timeout(HOURS, client.read_to_end(&mut rest))
        .await
        .expect("it is left at some time")
        .unwrap();
    serving.await.unwrap().unwrap_err();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_does_not_finish_a_header_is_left_after_thirty_seconds() {
    let half_block = [preface(), frame(1, 0x1, 1, &headers("/")[..3])].concat();
    let cases: [(bool, Vec<u8>); 6] = [
        (false, b"".to_vec()),
        (false, b"GET / HT".to_vec()),
        (false, b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec()),
        (true, b"".to_vec()),
        (true, preface()),
        (true, half_block),
    ];
    for (is_http2, sent) in cases {
        let waited = patience(is_http2, &sent).await;
        let shown = sent.escape_ascii();
        assert!(
            (29 * SECOND..32 * SECOND).contains(&waited),
            "{shown}: {waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_is_not_enough() {
    let served = Served::new();
    let (mut client, serving) = served.connect(false);
    let start = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nHost: files.example\r\n\r\n" {
        sleep(10 * SECOND).await;
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    assert!(serving.await.unwrap().is_err());
    assert!(start.elapsed() < 60 * SECOND);
}

/// Frames that ask for nothing do not keep a connection.
#[tokio::test(start_paused = true)]
async fn pings_are_no_requests() {
    let served = Served::new();
    let (client, serving) = served.connect(true);
    let (mut reader, mut writer) = tokio::io::split(client);
    writer.write_all(&preface()).await.unwrap();
    let pings = tokio::spawn(async move {
        loop {
            sleep(SECOND).await;
            if writer.write_all(&frame(6, 0, 0, &[0; 8])).await.is_err() {
                return;
            }
        }
    });
    let start = Instant::now();
    reader.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(matches!(serving.await.unwrap(), Err(WebError::Silent)));
    assert!((29 * SECOND..32 * SECOND).contains(&start.elapsed()));
    pings.await.unwrap();
}

/// A connection on which a file of 8 MiB was asked for.
async fn fetching(served: &Served) -> (DuplexStream, JoinHandle<Result<(), WebError>>) {
    served.file("a", vec![7; 8 << 20]);
    let (mut client, serving) = served.connect(false);
    let request = request("GET", "/a", &[]);
    client.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 1000];
    client.read_exact(&mut first).await.unwrap();
    (client, serving)
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_left_after_a_minute() {
    let served = Served::new();
    let (_client, serving) = fetching(&served).await;
    let start = Instant::now();
    let error = serving.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("takes nothing"), "{error}");
    assert!((59 * SECOND..62 * SECOND).contains(&start.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_little_now_and_then_is_served() {
    let served = Served::new();
    let (mut client, serving) = fetching(&served).await;
    let mut some = [0; 100_000];
    for _ in 0..50 {
        sleep(50 * SECOND).await;
        client.read_exact(&mut some).await.unwrap();
    }
    client.read_to_end(&mut Vec::new()).await.unwrap();
    serving.await.unwrap().unwrap();
}

/// Where many share a rate, a client's turn may come after longer than any client may take.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_share_of_the_rate_is_served() {
    struct Slow;
    impl Pace for Slow {
        fn pass(&self, _bytes: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(sleep(400 * SECOND))
        }
    }
    let mut served = Served::new();
    served.pace = Some(Arc::new(Slow));
    served.file("a", vec![7; 60_000]);
    let start = Instant::now();
    assert_eq!(served.get("/a", &[]).await.body, vec![7; 60_000]);
    assert!(start.elapsed() >= 1600 * SECOND, "it waits for its turns");
}

/// An HTTP/2 client can take every frame and still let no answer go on.
#[tokio::test(start_paused = true)]
async fn who_gives_no_window_is_left_after_five_minutes() {
    let served = Served::new();
    served.file("a", vec![7; 8 << 20]);
    let (client, serving) = served.connect(true);
    let (mut reader, mut writer) = tokio::io::split(client);
    let asked = [preface(), frame(1, 0x5, 1, &headers("/a"))].concat();
    writer.write_all(&asked).await.unwrap();
    let pings = tokio::spawn(async move {
        loop {
            sleep(10 * SECOND).await;
            if writer.write_all(&frame(6, 0, 0, &[0; 8])).await.is_err() {
                return;
            }
        }
    });
    let start = Instant::now();
    let mut taken = Vec::new();
    reader.read_to_end(&mut taken).await.unwrap();
    assert!(matches!(serving.await.unwrap(), Err(WebError::Silent)));
    // The pings let the clock run on while the disk works, so it may be more.
    assert!(start.elapsed() >= 299 * SECOND);
    assert!(
        taken.len() < 200_000,
        "no more than the window: {}",
        taken.len()
    );
    pings.await.unwrap();
}
