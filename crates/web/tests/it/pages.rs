//! The pages for people, and the same for programs.

use std::fs;

use crate::served::Served;

/// Of all that a README may have something, and something that it may not.
const README: &str = "\u{feff}# Read <b>me</b>

[Use](#how-to-use), [more](sub/), [web](https://example.org), [no](javascript:alert(1)).
![It](picture.png) ![not from elsewhere](https://example.org/seen.png)

## How to *use*

1. `cargo run`
   - [x] done

> | size | count |
> | --- | ---: |
> | 1 | 2 |

```sh
echo \"<&>\"
```

<script>alert(1)</script>
";

/// A directory with strange names. All times are one.
fn served() -> Served {
    let served = Served::new();
    for name in [
        &b"dir/<img src=x onerror=alert(1)>.txt"[..],
        b"dir/\" onmouseover=\"x",
        b"dir/javascript:alert(1)",
        b"dir/bytes-\xff\xfe",
        "dir/\u{202e}gnp.exe".as_bytes(),
        b"dir/line\nbreak\x1b[2J",
        "dir/\u{4e2d}\u{6587}.md".as_bytes(),
        b"dir/a?b#c%20d&e=f",
        b"dir/picture.png",
        b"dir/sub/x",
    ] {
        served.file(name, "content");
    }
    served.file("dir/README.md", README);
    fs::File::create(served.path("dir/hole"))
        .unwrap()
        .set_len(5 << 30)
        .unwrap();
    for name in ["dir/hole", "dir/sub", "dir"] {
        served.age(name);
    }
    served
}

/// A page with a line for each element, and without what every change of the style changes.
fn lines(page: &str) -> String {
    let at = page.find("?style=").unwrap() + 7;
    let version = &page[at..at + 16];
    page.replace(version, "VERSION").replace("><", ">\n<")
}

#[tokio::test]
async fn the_page_of_a_directory() {
    let served = served();
    let english = served.get("/dir/", &["Accept: text/html"]).await;
    assert_eq!(english.status, 200);
    insta::assert_snapshot!("directory", lines(english.text()));
    let found = served
        .get(
            "/dir/?q=B&sort=size&order=desc",
            &["Accept-Language: zh-CN,zh;q=0.9,en;q=0.8"],
        )
        .await;
    insta::assert_snapshot!("directory_searched_in_chinese", lines(found.text()));
    let known = format!("If-None-Match: {}", english.field("etag").unwrap());
    let again = served.get("/dir/", &["Accept: text/html", &known]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let moved = served.get("/dir?sort=time", &[]).await;
    assert_eq!(
        (moved.status, moved.field("location")),
        (303, Some("./dir/?sort=time"))
    );
}

#[tokio::test]
async fn a_directory_for_programs() {
    let served = served();
    let json = served.get("/dir", &["Accept: application/json"]).await;
    assert_eq!(json.field("content-type"), Some("application/json"));
    insta::assert_snapshot!("directory_json", json.text());
    let parsed: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    for entry in parsed["entries"].as_array().unwrap() {
        let url = format!("/dir/{}", entry["url"].as_str().unwrap());
        let status = served.ask("HEAD", &url, &[]).await.status;
        assert_eq!(status, 200, "every entry is where it is said to be: {url}");
    }
}

#[tokio::test]
async fn every_link_on_the_page_leads_somewhere() {
    let served = served();
    let page = served.get("/dir/", &[]).await;
    let mut links = 0;
    for part in page
        .text()
        .split("href=\"")
        .skip(1)
        .chain(page.text().split("src=\"").skip(1))
    {
        let link = part.split('"').next().unwrap().replace("&amp;", "&");
        if let Some(anchor) = link.strip_prefix('#') {
            assert!(page.text().contains(&format!("id=\"{anchor}\"")), "{link}");
            continue;
        }
        if link.starts_with("data:") || link == "https://example.org" {
            continue;
        }
        let path = match (link.strip_prefix("../"), link.strip_prefix("./")) {
            (Some(rest), _) => format!("/{rest}"),
            (None, Some(rest)) => format!("/dir/{rest}"),
            (None, None) => format!("/dir/{link}"),
        };
        let status = served.ask("HEAD", &path, &[]).await.status;
        assert_eq!(status, 200, "{link}");
        links += 1;
    }
    assert!(links > 30, "{links}");
}

#[tokio::test]
async fn a_text_is_previewed_as_text() {
    let served = Served::new();
    served.file("a.txt", format!("<b>&{}", "x".repeat(100_000)));
    let preview = served.get("/a.txt?preview", &[]).await;
    assert_eq!(
        preview.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(preview.text().contains("&lt;b&gt;&amp;x"));
    assert!(preview.text().contains("only its beginning"));
    assert!(preview.body.len() < 70_000);
}

#[tokio::test]
async fn any_readme_is_shown_and_none_is_obeyed() {
    let deep = format!("{}deep", "> ".repeat(100_000));
    let huge = "a **b** <c>\n\n".repeat(1 << 16);
    let cases: &[(&str, &[u8], &str, bool)] = &[
        ("README.md", b"**a**", "<strong>a</strong>", true),
        ("Readme.MD", b"**a**", "<strong>a</strong>", true),
        ("README", b"**a** <b>", "**a** &lt;b&gt;", true),
        ("readme.txt", b"**a** <b>", "**a** &lt;b&gt;", true),
        ("readme.rst", b"**a** <b>", "**a** &lt;b&gt;", true),
        (
            "README.md",
            b"\xff\xfe *a*\0",
            "\u{fffd}\u{fffd} <em>a</em>",
            true,
        ),
        (
            "README.md",
            b"</div><script>alert(1)</script>",
            "&lt;/div&gt;&lt;script&gt;",
            true,
        ),
        (
            "README.md",
            b"<style>*{display:none}</style>",
            "&lt;style&gt;",
            true,
        ),
        (
            "README.md",
            b"<!-- <b> -->",
            "<div class=\"text\" dir=\"auto\"><p></p>",
            true,
        ),
        ("README.md", b"[a](javascript:alert(1))", "<p>a</p>", true),
        ("README.md", b"![a](data:image/svg+xml,x)", "<p>a</p>", true),
        ("README.md", deep.as_bytes(), "deep", true),
        (
            "README.md",
            huge.as_bytes(),
            "a <strong>b</strong> &lt;c&gt;",
            false,
        ),
    ];
    for (name, content, expected, is_all) in cases {
        let served = Served::new();
        served.file(name, content);
        let page = served.get("/", &["Accept: text/html"]).await;
        let policy = page.field("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self';"));
        let (_, section) = page.text().split_once("<section>").unwrap();
        let (section, rest) = section.split_once("</section>").unwrap();
        let start = String::from_utf8_lossy(&content[..content.len().min(40)]);
        assert!(section.contains(expected), "{name}: {start}");
        assert_eq!(section.contains("only its beginning"), !is_all, "{start}");
        assert!(!page.text().contains("<script") && !page.text().contains("<style"));
        assert!(
            rest.contains("packhorse get ph://"),
            "the page goes on: {start}"
        );
        assert!(page.body.len() < 2 << 20, "{start}: {}", page.body.len());
    }
}

#[tokio::test]
async fn very_many_entries_come_in_pages() {
    let limits = packhorse_web::Limits {
        page_entries_max: 10,
        ..packhorse_web::Limits::default()
    };
    let served = Served::with(None, limits);
    for number in 0..25 {
        served.file(format!("{number:02}"), "");
    }
    for (page, first, last) in [(1, "00", "09"), (3, "20", "24"), (9, "20", "24")] {
        let answer = served.get(&format!("/?page={page}"), &[]).await;
        let names: Vec<_> = answer
            .text()
            .split("<bdi>")
            .skip(1)
            .map(|rest| &rest[..2])
            .collect();
        assert_eq!(
            (names[0], names[names.len() - 1]),
            (first, last),
            "page {page}"
        );
    }
    let json = served.get("/", &["Accept: application/json"]).await;
    assert_eq!(json.text().matches("\"type\":\"file\"").count(), 25);
}
