//! Ranges of files, against slices of their content.

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use crate::served::{Served, runtime};

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

/// The parts of a multipart answer: what each says it is, and its bytes.
fn parts(kind: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let boundary = format!("--{boundary}");
    let find = |haystack: &[u8], needle: &[u8]| {
        haystack
            .windows(needle.len())
            .position(|some| some == needle)
    };
    let mut parts = Vec::new();
    let mut rest = body.strip_prefix(boundary.as_bytes()).unwrap();
    while rest != b"--\r\n" {
        let head_end = find(rest, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..head_end]).unwrap();
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Range: "))
            .unwrap()
            .to_owned();
        let behind = &rest[head_end + 4..];
        let end = find(behind, format!("\r\n{boundary}").as_bytes()).unwrap();
        parts.push((range, behind[..end].to_vec()));
        rest = &behind[end + 2 + boundary.len()..];
    }
    parts
}

#[tokio::test]
async fn one_range_several_and_none() {
    let served = Served::new();
    let content = content(300_000);
    served.fresh_file("a.bin", &content);
    served.file("empty", "");
    let whole = served.get("/a.bin", &[]).await;
    assert_eq!(
        (whole.status, whole.field("accept-ranges")),
        (200, Some("bytes"))
    );
    assert!(whole.body == content);

    let one = served.get("/a.bin", &["Range: bytes=100000-299999"]).await;
    assert_eq!(one.status, 206);
    assert_eq!(
        one.field("content-range"),
        Some("bytes 100000-299999/300000")
    );
    assert_eq!(one.field("etag"), whole.field("etag"));
    assert!(one.body == content[100_000..]);

    let several = served
        .get("/a.bin", &["Range: bytes=-3,0-1,70000-250000"])
        .await;
    assert_eq!(several.status, 206);
    assert_eq!(several.field("content-range"), None);
    let found = parts(several.field("content-type").unwrap(), &several.body);
    let expected: Vec<_> = [0..2, 70_000..250_001, 299_997..300_000]
        .map(|range: std::ops::Range<usize>| {
            let name = format!("bytes {}-{}/300000", range.start, range.end - 1);
            (name, content[range].to_vec())
        })
        .into();
    assert!(found == expected);

    let beyond = served.get("/a.bin", &["Range: bytes=300000-"]).await;
    assert_eq!(
        (beyond.status, beyond.field("content-range")),
        (416, Some("bytes */300000"))
    );
    let head = served.ask("HEAD", "/a.bin", &["Range: bytes=0-1"]).await;
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("300000"))
    );
    assert!(head.body.is_empty());
    for (range, status) in [("bytes=0-0", 416), ("bytes=-1", 200), ("nonsense", 200)] {
        let answer = served.get("/empty", &[&format!("Range: {range}")]).await;
        assert_eq!(answer.status, status, "{range}");
    }
    let many: Vec<_> = (0..10_000)
        .map(|at| format!("{}-{}", 9 * at, 9 * at))
        .collect();
    let many = format!("Range: bytes={}", many[..2500].join(","));
    let answer = served.get("/a.bin", &[&many]).await;
    assert_eq!((answer.status, answer.body.len()), (200, 300_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every part is the slice that it says it is, and all that is asked for is there.
    #[test]
    fn parts_are_slices(
        length in prop_oneof![1usize..400, 60_000usize..200_000],
        asked in proptest::collection::vec((any::<u32>(), any::<u32>(), 0..3), 1..6),
    ) {
        let content = content(length);
        let mut specs = Vec::new();
        let mut wanted = vec![false; length];
        for (a, b, kind) in asked {
            let (a, b) = (a as usize % (length + 10), b as usize % (length + 10));
            let (first, last) = (a.min(b), a.max(b));
            let (spec, range) = match kind {
                0 => (format!("{first}-{last}"), first.min(length)..(last + 1).min(length)),
                1 => (format!("{first}-"), first.min(length)..length),
                _ => (format!("-{a}"), length.saturating_sub(a)..length),
            };
            specs.push(spec);
            wanted[range].fill(true);
        }
        let field = format!("Range: bytes={}", specs.join(","));
        let answer = runtime().block_on(async {
            let served = Served::new();
            served.file("a", &content);
            served.get("/a", &[&field]).await
        });
        let found = match (answer.status, answer.field("content-range")) {
            (416, _) => vec![],
            (206, Some(range)) => vec![(range.to_owned(), answer.body.clone())],
            (206, None) => parts(answer.field("content-type").unwrap(), &answer.body),
            other => panic!("{other:?}: {field}"),
        };
        let mut sent = vec![false; length];
        for (range, bytes) in found {
            let text = range.strip_prefix("bytes ").unwrap();
            let (bounds, total) = text.split_once('/').unwrap();
            let (first, last) = bounds.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            prop_assert_eq!(total.parse::<usize>().unwrap(), length);
            prop_assert!(bytes == content[first..=last]);
            prop_assert!(!sent[first..=last].contains(&true), "nothing twice");
            sent[first..=last].fill(true);
        }
        prop_assert_eq!(sent, wanted);
    }
}

/// For a server that ends with the first whole file: also who had its beginning before has it all.
#[test]
fn who_gets_the_rest_has_the_whole() {
    runtime().block_on(async {
        let served = Served::new();
        served.file("dir/a", "0123456789");
        let tar = served.get("/dir/?archive=tar", &[]).await.body.len() as u64;
        for (path, range, is_whole) in [
            ("/dir/a", "bytes=0-".to_owned(), true),
            ("/dir/a", "bytes=7-".to_owned(), true),
            ("/dir/a", "bytes=7-9".to_owned(), true),
            ("/dir/a", "bytes=7-8".to_owned(), false),
            ("/dir/a", "bytes=-3".to_owned(), false),
            ("/dir/a", "bytes=0-1,8-".to_owned(), false),
            ("/dir/a", "bytes=10-".to_owned(), false),
            ("/dir/?archive=tar", format!("bytes={}-", tar - 1), true),
            ("/dir/?archive=tar", "bytes=0-7".to_owned(), false),
        ] {
            let before = served.door.completed.load(Ordering::Relaxed);
            served.get(path, &[&format!("Range: {range}")]).await;
            let completed = served.door.completed.load(Ordering::Relaxed) - before;
            assert_eq!(completed, usize::from(is_whole), "{path} {range}");
        }
    });
}
