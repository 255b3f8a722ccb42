//! Connections of HTTP/1 between two requests. The clock is a test's: none of this takes real time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use packhorse_web::WebError;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::served::{Answer, STREAM_BYTES, Served, request};

const SECOND: Duration = Duration::from_secs(1);

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n";

const CONTENT: &[u8] = b"the end";

fn served() -> Served {
    let served = Served::new();
    served.file("a", CONTENT);
    served
}

/// Reads one answer, which has `CONTENT`.
async fn take(client: &mut DuplexStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(CONTENT) {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert_eq!(Answer::parse(&answer).body, CONTENT, "one answer");
}

/// Notes how much whoever reads it would take.
struct Noted {
    inner: DuplexStream,
    room: Arc<AtomicUsize>,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.room.store(out.remaining(), Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn who_rests_is_answered_again_and_costs_no_buffer_meanwhile() {
    let served = served();
    let (mut client, inner) = duplex(STREAM_BYTES);
    let room = Arc::new(AtomicUsize::new(0));
    let stream = Noted {
        inner,
        room: Arc::clone(&room),
    };
    let serving = served.serve(stream, false, std::future::pending());
    for _ in 0..3 {
        client.write_all(REQUEST).await.unwrap();
        take(&mut client).await;
        assert!(room.load(Ordering::Relaxed) > 1000, "it has a buffer");
        sleep(10 * SECOND).await;
        assert_eq!(room.load(Ordering::Relaxed), 1, "it waits without one");
    }
    drop(client);
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_byte_is_lost_across_a_rest() {
    let served = served();
    for cut in 1..REQUEST.len() {
        let (mut client, _serving) = served.connect(false);
        // Of a second request a part comes with the first, and the rest after a rest, in two parts.
        let (with_first, later) = REQUEST.split_at(cut);
        let (early, late) = later.split_at(later.len() / 2);
        client
            .write_all(&[REQUEST, with_first].concat())
            .await
            .unwrap();
        take(&mut client).await;
        for part in [early, late] {
            sleep(5 * SECOND).await;
            client.write_all(part).await.unwrap();
        }
        take(&mut client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn several_requests_at_once_wake_a_connection() {
    let served = served();
    let (mut client, _serving) = served.connect(false);
    client.write_all(REQUEST).await.unwrap();
    take(&mut client).await;
    sleep(5 * SECOND).await;
    let last = request("GET", "/a", &[]);
    let requests = [&REQUEST.repeat(20), last.as_bytes()].concat();
    client.write_all(&requests).await.unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_rest_ends_after_thirty_seconds() {
    for begun in [&b""[..], b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"] {
        let served = served();
        let (mut client, serving) = served.connect(false);
        client.write_all(REQUEST).await.unwrap();
        take(&mut client).await;
        let start = Instant::now();
        sleep(20 * SECOND).await;
        client.write_all(begun).await.unwrap();
        assert!(matches!(serving.await.unwrap(), Err(WebError::Silent)));
        let waited = start.elapsed();
        let shown = begun.escape_ascii();
        assert!(
            (29 * SECOND..31 * SECOND).contains(&waited),
            "{shown}: {waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_rests_is_told_when_the_server_leaves() {
    let served = served();
    let (mut client, stream) = duplex(STREAM_BYTES);
    let (leave, leaving) = oneshot::channel::<()>();
    let serving = served.serve(stream, false, async move {
        let _ = leaving.await;
    });
    client.write_all(REQUEST).await.unwrap();
    take(&mut client).await;
    sleep(10 * SECOND).await;
    leave.send(()).unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    serving.await.unwrap().unwrap();
}

/// All of a small answer is on its way for hyper long before the client has taken it.
#[tokio::test(start_paused = true)]
async fn who_takes_its_answer_slowly_does_not_rest() {
    let served = served();
    let (mut client, stream) = duplex(16);
    let _serving = served.serve(stream, false, std::future::pending());
    client.write_all(REQUEST).await.unwrap();
    for _ in 0..2 {
        let mut answer = Vec::new();
        while !answer.ends_with(CONTENT) {
            sleep(10 * SECOND).await;
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert_eq!(Answer::parse(&answer).body, CONTENT);
        client.write_all(REQUEST).await.unwrap();
    }
}
