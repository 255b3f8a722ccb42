//! Tags, dates, and requests that depend on them.

use std::fs;

use crate::served::Served;

fn tag(answer: &crate::served::Answer) -> String {
    let tag = answer.field("etag").unwrap();
    assert!(tag.starts_with('"'), "it is strong: {tag}");
    tag.to_owned()
}

#[tokio::test]
async fn the_tag_changes_with_the_content_and_with_nothing_else() {
    let served = Served::new();
    served.fresh_file("a", "content");
    let first = tag(&served.get("/a", &[]).await);
    assert_eq!(tag(&served.get("/a", &[]).await), first);
    assert_eq!(tag(&served.ask("HEAD", "/a", &[]).await), first);
    // The same length, written in place or put in its place.
    served.fresh_file("a", "CONTENT");
    let second = tag(&served.get("/a", &[]).await);
    assert_ne!(second, first);
    served.fresh_file("b", "content");
    fs::rename(served.path("b"), served.path("a")).unwrap();
    let third = tag(&served.get("/a", &[]).await);
    assert!(third != first && third != second);
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let served = Served::new();
    served.file("a", "0123456789");
    let whole = served.get("/a", &[]).await;
    let (tag, date) = (
        tag(&whole),
        whole.field("last-modified").unwrap().to_owned(),
    );
    let (range, old) = ("Range: bytes=2-4", "\"00000000000000000000000000000000\"");
    let cases: &[(&[String], u16, &str)] = &[
        (&[format!("If-None-Match: {tag}")], 304, ""),
        (&[format!("If-None-Match: {old}, W/{tag}")], 304, ""),
        (&[format!("If-None-Match: {old}")], 200, "0123456789"),
        (&[format!("If-Match: {tag}")], 200, "0123456789"),
        (&[format!("If-Match: {old}")], 412, "It has changed.\n"),
        (&[format!("If-Range: {tag}"), range.into()], 206, "234"),
        (
            &[format!("If-Range: {old}"), range.into()],
            200,
            "0123456789",
        ),
        (
            &[format!("If-Range: W/{tag}"), range.into()],
            200,
            "0123456789",
        ),
        (&[format!("If-Match: {tag}"), range.into()], 206, "234"),
        (
            &[format!("If-Match: {old}"), range.into()],
            412,
            "It has changed.\n",
        ),
        (&[format!("If-None-Match: {tag}"), range.into()], 304, ""),
    ];
    for (lines, status, body) in cases {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let answer = served.get("/a", &lines).await;
        assert_eq!(
            (answer.status, answer.text()),
            (*status, *body),
            "{lines:?}"
        );
    }
    // It was written just now, whatever its time says; that time is long past.
    let lines = [format!("If-Modified-Since: {date}")];
    let answer = served.get("/a", &[&lines[0]]).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
}

/// A file that changed just now may change again without a trace in its times: so its content goes
/// into the tag, and what was learned of it then is still right later.
#[tokio::test]
async fn a_fresh_file_is_told_apart_by_its_content() {
    let served = Served::new();
    served.fresh_file("a", "first content");
    let first = served.get("/a", &[]).await;
    let first_tag = tag(&first);
    let lines = [
        format!("If-Range: {first_tag}"),
        "Range: bytes=6-".to_owned(),
    ];
    let lines = lines.each_ref().map(String::as_str);
    let same = served.get("/a", &lines).await;
    assert_eq!((same.status, same.text()), (206, "content"));
    assert_eq!(tag(&same), first_tag);
    let date = first.field("last-modified").unwrap();
    let since = format!("If-Modified-Since: {date}");
    assert_eq!(served.get("/a", &[&since]).await.status, 200);
    served.fresh_file("a", "other content");
    let other = served.get("/a", &lines).await;
    assert_eq!((other.status, other.text()), (200, "other content"));
    assert_ne!(tag(&other), first_tag);
}
