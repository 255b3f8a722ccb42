//! Conversations in plain bytes, over a pipe and on a paused clock.

use std::time::Duration;

use packhorse_client::talk::{TalkEnd, TalkError, Talked, talk};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// What `other` hears and says meanwhile, and what the conversation comes to.
async fn converse<T>(
    input: mpsc::Receiver<Vec<u8>>,
    idle_time: Option<Duration>,
    other: impl AsyncFnOnce(DuplexStream) -> T,
) -> (Result<Talked, TalkError>, String, T) {
    let (near, far) = duplex(16);
    let mut output = Vec::new();
    let talking = talk(near, input, &mut output, idle_time);
    let (talked, other) = tokio::join!(talking, other(far));
    (talked, String::from_utf8(output).unwrap(), other)
}

fn said(parts: &[&str]) -> mpsc::Receiver<Vec<u8>> {
    let (sender, input) = mpsc::channel(8);
    for part in parts {
        sender.try_send(part.as_bytes().to_vec()).unwrap();
    }
    input
}

#[tokio::test(start_paused = true)]
async fn behind_the_end_of_the_input_the_rest_is_waited_for() {
    let input = said(&["one ", "and something longer than the pipe holds"]);
    let (talked, heard, there) = converse(input, None, async |mut far| {
        let mut all = String::new();
        // It ends only because this side is closed.
        far.read_to_string(&mut all).await.unwrap();
        sleep(Duration::from_secs(3600)).await;
        far.write_all(b"an answer that is longer, too")
            .await
            .unwrap();
        all
    })
    .await;
    assert_eq!(there, "one and something longer than the pipe holds");
    assert_eq!(heard, "an answer that is longer, too");
    let expected = Talked {
        sent_bytes: 44,
        received_bytes: 29,
        end: TalkEnd::Closed,
    };
    assert_eq!(talked.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_other_side_does_though_the_input_goes_on() {
    let (sender, input) = mpsc::channel(8);
    sender.try_send(b"hello".to_vec()).unwrap();
    let (talked, heard, ()) = converse(input, None, async |mut far| {
        far.write_all(b"no").await.unwrap();
        far.read_exact(&mut [0; 5]).await.unwrap();
    })
    .await;
    assert_eq!(heard, "no");
    assert_eq!(talked.unwrap().end, TalkEnd::Closed);
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_moves_it_ends_in_time() {
    let (sender, input) = mpsc::channel(8);
    let start = Instant::now();
    let idle_time = Some(Duration::from_secs(2));
    let (talked, heard, ()) = converse(input, idle_time, async |mut far| {
        for _ in 0..3 {
            sleep(Duration::from_millis(1900)).await;
            far.write_all(b"x").await.unwrap();
            sleep(Duration::from_millis(1900)).await;
            sender.send(b"y".to_vec()).await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
        }
        // Neither side ends.
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    assert_eq!(heard, "xxx");
    let expected = Talked {
        sent_bytes: 3,
        received_bytes: 3,
        end: TalkEnd::Idle,
    };
    assert_eq!(talked.unwrap(), expected);
    assert_eq!(start.elapsed().as_millis(), 6 * 1900 + 60_000);
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_what_comes_is_told_apart() {
    let (near, mut far) = duplex(16);
    let (output, reader) = duplex(16);
    drop(reader);
    far.write_all(b"hello").await.unwrap();
    let talked = talk(near, said(&[]), output, None).await;
    assert!(matches!(talked, Err(TalkError::Output(_))), "{talked:?}");
}
