//! Requests that are wrong, on purpose or not.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::served::{Answer, Served};

const HOST: &str = "Host: a\r\nConnection: close\r\n";

/// The status of the answer to `request`; 0 if the connection is closed without one.
async fn status(served: &Served, request: &[u8]) -> u16 {
    let answer = served.exchange(request).await;
    match answer.is_empty() {
        true => 0,
        false => Answer::parse(&answer).status,
    }
}

#[tokio::test]
async fn broken_requests_are_refused() {
    let served = Served::new();
    served.file("a", "content");
    let lines = |lines: &str| format!("GET /a HTTP/1.1\r\n{HOST}{lines}\r\n");
    let many: String = (0..100_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(1 << 20));
    let long_path = format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "y".repeat(100_000));
    let cases: &[(&str, String, &[u16])] = &[
        ("nothing strange", lines(""), &[200]),
        (
            "two lengths",
            lines("Content-Length: 0\r\nContent-Length: 5\r\n"),
            &[400],
        ),
        (
            "a length and chunks",
            lines("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            &[400, 200],
        ),
        ("a negative length", lines("Content-Length: -1\r\n"), &[400]),
        (
            "a huge length",
            lines("Content-Length: 99999999999999999999\r\n"),
            &[400],
        ),
        ("a space before the colon", lines("X : y\r\n"), &[400]),
        ("a folded line", lines("X: y\r\n z\r\n"), &[400]),
        ("a NUL", lines("X: \0\r\n"), &[400]),
        ("a bare CR", lines("X: a\rb\r\n"), &[400]),
        ("a line without a colon", lines("nonsense\r\n"), &[400]),
        ("100,000 fields", lines(&many), &[431]),
        ("a long field", lines(&long), &[431]),
        ("a long path", long_path, &[400, 414, 431]),
        ("no host", "GET /a HTTP/1.1\r\n\r\n".into(), &[400]),
        ("two hosts", lines("Host: b\r\n"), &[400]),
        (
            "an old version without a host",
            "GET /a HTTP/1.0\r\n\r\n".into(),
            &[200],
        ),
        ("bare line feeds", "GET /a HTTP/1.0\n\n".into(), &[200, 400]),
        (
            "a version to come",
            format!("GET /a HTTP/9.9\r\n{HOST}\r\n"),
            &[400, 505],
        ),
        ("no version", "GET /a\r\n\r\n".into(), &[400]),
        (
            "a space in the path",
            format!("GET /a b HTTP/1.1\r\n{HOST}\r\n"),
            &[400],
        ),
        ("no path", format!("GET  HTTP/1.1\r\n{HOST}\r\n"), &[400]),
        ("an answer", "HTTP/1.1 200 OK\r\n\r\n".into(), &[400]),
        ("binary", "\u{1}\u{2}\u{3}\r\n\r\n".into(), &[400]),
        (
            "a write",
            format!("PUT /a HTTP/1.1\r\n{HOST}Content-Length: 1\r\n\r\nx"),
            &[405],
        ),
        (
            "chunk extensions",
            format!(
                "POST /a HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n"
            ),
            &[405],
        ),
        (
            "a trace",
            format!("TRACE /a HTTP/1.1\r\n{HOST}\r\n"),
            &[405],
        ),
        (
            "a tunnel",
            format!("CONNECT a:1 HTTP/1.1\r\n{HOST}\r\n"),
            &[405],
        ),
        (
            "all of it",
            format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n"),
            &[405],
        ),
    ];
    for (name, request, expected) in cases {
        let found = status(&served, request.as_bytes()).await;
        assert!(expected.contains(&found), "{name}: {found}");
    }
    assert_eq!(served.get("/a", &[]).await.text(), "content");
    assert_eq!(fs::read(served.path("a")).unwrap(), b"content");
}

#[tokio::test]
async fn paths_stay_in_the_tree() {
    let served = Served::new();
    served.file("root/a", "content");
    served.file("secret", "secret");
    // What is served is one directory above; its `root` plays the part of a tree with hard edges.
    symlink("/etc/passwd", served.path("root/outside")).unwrap();
    symlink("/etc", served.path("root/outside directory")).unwrap();
    symlink("a", served.path("root/inside")).unwrap();
    symlink("loop", served.path("root/loop")).unwrap();
    mknodat(CWD, served.path("root/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let long = format!("/root/{}", "x".repeat(256));
    let deep = "/a".repeat(3000);
    let cases: &[(&str, u16)] = &[
        ("/root/a", 200),
        ("/root/inside", 200),
        ("/root/a/", 404),
        ("/root/a/b", 404),
        ("/root/nothing", 404),
        ("/root/A", 404),
        ("/root/../secret", 400),
        ("/root/%2e%2e/secret", 400),
        ("/root/%2E./secret", 400),
        ("/root/%252e%252e/secret", 404),
        ("/root/..%2fsecret", 400),
        ("/root/%c0%ae%c0%ae/secret", 404),
        ("/root/..\\secret", 404),
        ("/root/C:\\secret", 404),
        ("/root/./a", 400),
        ("//root/a", 400),
        ("/root//a", 400),
        ("/root/a%00", 400),
        ("/root/a%0d%0aX:%20y", 404),
        ("/root/.packhorse-partial/x", 400),
        ("/root/outside", 403),
        ("/root/outside%20directory/passwd", 403),
        ("/root/outside%20directory/", 403),
        ("/root/loop", 403),
        ("/root/fifo", 403),
        (&long, 400),
        (&deep, 400),
        ("/../../../../etc/passwd", 400),
        ("/etc/passwd", 404),
        ("http://elsewhere.example/root/a", 200),
    ];
    for (path, expected) in cases {
        let answer = served.get(path, &[]).await;
        assert_eq!(answer.status, *expected, "{path}");
        let leaks = |needle: &[u8]| answer.body.windows(needle.len()).any(|some| some == needle);
        assert!(!leaks(b"root:x:") && (*expected == 200 || !leaks(b"secret")));
    }
}

/// What is served cannot act in the reader's name.
#[tokio::test]
async fn every_answer_says_how_it_may_be_used() {
    let served = Served::new();
    for name in ["a.html", "a.svg", "a.xhtml", "a.txt", "a.bin"] {
        served.file(name, "<script>alert(1)</script>");
    }
    for path in [
        "/",
        "/a.txt",
        "/a.bin",
        "/a.html",
        "/nothing",
        "/?style=x",
        "/a.txt?preview",
    ] {
        let answer = served.get(path, &["Accept: text/html"]).await;
        assert_eq!(
            answer.field("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            answer.field("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
        let policy = answer.field("content-security-policy").unwrap_or("");
        assert!(
            !policy.contains("script") && !policy.contains("unsafe-eval"),
            "{policy}"
        );
        if answer
            .field("content-type")
            .unwrap()
            .starts_with("text/html")
        {
            assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
            assert!(
                path == "/a.html" || !answer.text().contains("<script"),
                "{path}"
            );
        }
    }
    for path in ["/a.html", "/a.svg", "/a.xhtml"] {
        let answer = served.get(path, &[]).await;
        let policy = answer.field("content-security-policy").unwrap();
        assert!(policy.starts_with("sandbox;"), "{path}: {policy}");
    }
}
