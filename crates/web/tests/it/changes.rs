//! Files that change while they are sent.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::served::{Served, request};

const SIZE: usize = 8 << 20;

/// Begins to fetch a large file, does `change` to it, and reads on: the connection ends before the
/// promised length, and no byte is another than was promised.
async fn check(change: impl FnOnce(&Served)) {
    let served = Served::new();
    served.file("a", vec![b'a'; SIZE]);
    let (mut client, serving) = served.connect(false);
    let request = request("GET", "/a", &[]);
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 100_000];
    client.read_exact(&mut answer).await.unwrap();
    change(&served);
    client.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    let body = &answer[end..];
    assert!(body.len() < SIZE, "it was broken off");
    assert!(body.iter().all(|&byte| byte == b'a'));
    assert!(serving.await.unwrap().is_err());
}

#[tokio::test]
async fn what_is_overwritten_is_broken_off() {
    check(|served| {
        let file = OpenOptions::new().write(true).open(served.path("a"));
        file.unwrap().write_all_at(&vec![b'b'; SIZE], 0).unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_cut_is_broken_off() {
    check(|served| {
        let file = OpenOptions::new().write(true).open(served.path("a"));
        file.unwrap().set_len(SIZE as u64 / 2).unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_replaced_is_broken_off() {
    check(|served| {
        served.file("b", vec![b'b'; SIZE]);
        fs::rename(served.path("b"), served.path("a")).unwrap();
    })
    .await;
}
