//! HTTP/2 clients that send frames without end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::served::Served;

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What an HTTP/2 client says first: its preface and empty settings.
pub(crate) fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes
}

/// RFC 9113 §4.1.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A GET in HPACK without compression (RFC 7541 §6): method and scheme by their index, the path and
/// the authority spelled out.
pub(crate) fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(0x04, path), (0x01, "files.example")] {
        block.extend([name, value.len() as u8]);
        block.extend(value.as_bytes());
    }
    block
}

/// Sends `start` and then what `more` makes of 0, 1, 2 … as long as the server takes it; returns how
/// many of these it took, and what it said.
async fn flood(start: Vec<u8>, more: impl Fn(u32) -> Vec<u8>) -> (u32, Vec<u8>) {
    const ENOUGH: u32 = 200_000;
    let served = Served::new();
    served.file("a", "content");
    let (client, serving) = served.connect(true);
    let (mut reader, mut writer) = tokio::io::split(client);
    let reading = tokio::spawn(async move {
        let mut said = Vec::new();
        reader.read_to_end(&mut said).await.unwrap();
        said
    });
    writer
        .write_all(&[preface(), start].concat())
        .await
        .unwrap();
    let mut taken = 0;
    while taken < ENOUGH && writer.write_all(&more(taken)).await.is_ok() {
        taken += 1;
    }
    assert!(taken < ENOUGH, "it takes all of it");
    let _ = serving.await.unwrap();
    assert_eq!(
        served.get("/a", &[]).await.text(),
        "content",
        "others are served"
    );
    (taken, reading.await.unwrap())
}

fn last_frame_kinds(mut said: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while said.len() >= 9 {
        let length = u32::from_be_bytes([0, said[0], said[1], said[2]]) as usize;
        kinds.push(said[3]);
        said = said.get(9 + length..).unwrap_or(&[]);
    }
    kinds
}

/// CVE-2023-44487.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let (taken, said) = flood(Vec::new(), |number| {
        let stream = 2 * number + 1;
        let request = frame(HEADERS, END_STREAM | END_HEADERS, stream, &headers("/a"));
        [request, frame(RESET, 0, stream, &8u32.to_be_bytes())].concat()
    })
    .await;
    assert!(taken < 5000, "{taken}");
    assert!(last_frame_kinds(&said).contains(&GO_AWAY));
}

/// CVE-2024-27316 and its like.
#[tokio::test]
async fn continuations_without_end_end_the_connection() {
    let block = headers("/a");
    let start = frame(HEADERS, END_STREAM, 1, &block);
    // A field of which nothing is kept, and an empty frame.
    for more in [b"\x00\x01x\x01y".repeat(100), Vec::new()] {
        let (taken, _) = flood(start.clone(), |_| frame(CONTINUATION, 0, 1, &more)).await;
        assert!(taken < 5000, "{taken}");
    }
}

/// What a request carries is of no use, but some clients take it badly to be stopped.
#[tokio::test]
async fn a_large_request_is_answered_and_not_stopped() {
    const DATA: u8 = 0;
    const PING: u8 = 6;
    let served = Served::new();
    let (client, _serving) = served.connect(true);
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut post = headers("/a");
    post[0] = 0x83;
    let part = |flags| frame(DATA, flags, 1, &[b'x'; 16 << 10]);
    let beginning = [preface(), frame(HEADERS, END_HEADERS, 1, &post), part(0)].concat();
    writer.write_all(&beginning).await.unwrap();
    let mut answer = Vec::new();
    while answer != b"Only GET and HEAD are served.\n" {
        let (kind, flags, payload) = next_frame(&mut reader).await;
        if kind == DATA {
            assert_eq!(flags & END_STREAM, 0, "it ends before the request does");
            answer.extend(payload);
        }
    }
    let end = [part(0), part(END_STREAM), frame(PING, 0, 0, &[0; 8])].concat();
    writer.write_all(&end).await.unwrap();
    let (mut has_ended, mut is_alive) = (false, false);
    while !(has_ended && is_alive) {
        let (kind, flags, _) = next_frame(&mut reader).await;
        assert_ne!(kind, RESET);
        has_ended |= kind == DATA && flags & END_STREAM != 0;
        is_alive |= kind == PING;
    }
}

async fn next_frame(reader: &mut (impl AsyncReadExt + Unpin)) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    reader.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await.unwrap();
    (head[3], head[4], payload)
}

/// Streams beyond those that may be open at once are refused, one by one.
#[tokio::test]
async fn only_so_many_streams_are_open_at_once() {
    let served = Served::new();
    served.file("a", vec![7; 1 << 20]);
    let (client, _serving) = served.connect(true);
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut bytes = preface();
    for number in 0..40 {
        let stream = 2 * number + 1;
        bytes.extend(frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream,
            &headers("/a"),
        ));
    }
    let writing = tokio::spawn(async move {
        writer.write_all(&bytes).await.unwrap();
        writer
    });
    let mut refused = 0;
    while refused < 8 {
        let (kind, _, payload) = next_frame(&mut reader).await;
        if kind == RESET {
            assert_eq!(payload, 7u32.to_be_bytes(), "REFUSED_STREAM");
            refused += 1;
        }
    }
    drop(writing.await.unwrap());
}
