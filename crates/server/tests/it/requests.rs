//! What an admitted client may ask, and what ends its connection. (THREATS 1 to 4, 8 and 9.)

use std::time::Duration;

use packhorse_protocol::content::GroupRange;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::filter::Patterns;
use packhorse_protocol::frame::FrameType;
use packhorse_protocol::message::{EntryOptions, ReadRequest, ReadWhat, Request, TreeRequest};
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::session::{Answer, Fetched, Item};
use packhorse_protocol::tree::Cursor;
use tokio::io::AsyncWriteExt;

use crate::client::{fetch, frame, path, read, read_what, tree, tree_behind, varint};
use crate::served::{Clock, Served, Tree, within};

/// An admitted client sends `bytes` and is closed on without a word, while another is served.
async fn check_refused(served: &Served, what: &str, bytes: &[u8]) {
    let mut client = served.admitted().await;
    client.send(bytes).await;
    client.expect_closed(what).await;
}

#[test]
fn frames_that_cannot_be_end_the_connection() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("f", "x"));
        for kind in 0..=127u8 {
            // Greetings, answers, and what nobody knows.
            if !(2..=8).contains(&kind) {
                let what = format!("type {kind}");
                check_refused(&served, &what, &frame(kind, &[])).await;
            }
        }
        for kind in 2..=8u8 {
            check_refused(&served, "nothing in it", &frame(kind, &[])).await;
            check_refused(&served, "noise", &frame(kind, &[0xff; 40])).await;
            for length in [(64 << 10) + 1, u32::MAX, 1 << 31] {
                let header = [&[kind][..], &u32::to_le_bytes(length)].concat();
                check_refused(&served, "a length beyond the limit", &header).await;
            }
        }
        let header = [&[200][..], &u32::to_le_bytes((64 << 10) + 1)].concat();
        check_refused(&served, "a long frame that may be skipped", &header).await;
        // At the limit it is skipped.
        let mut client = served.admitted().await;
        client.send(&frame(200, &[0; 64 << 10])).await;
        client.send(&frame(128, &[])).await;
        assert!(!client.whole_tree("").await.is_empty());
        served.expect_good_service().await;
    });
}

#[test]
fn a_connection_may_be_cut_at_every_byte() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("f", "x"));
        let requests = [tree(1, "d"), fetch(&["f"]), read("f", 0, 1)];
        let bytes: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
        for end in 0..bytes.len() {
            let mut client = served.admitted().await;
            client.send(&bytes[..end]).await;
            match end % 2 {
                0 => drop(client),
                _ => client.writer.shutdown().await.unwrap(),
            }
        }
        served.expect_good_service().await;
    });
}

#[test]
fn requests_in_an_order_that_cannot_be_end_the_connection() {
    let complete = || frame(7, &[0, 0, 0]);
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("more of no tree", vec![Request::More { tree: 1 }.encode()]),
        (
            "no tree closed",
            vec![Request::CloseTree { tree: 1 }.encode()],
        ),
        ("a second greeting", vec![frame(1, &[1, 0, 0])]),
        (
            "a tree twice",
            vec![tree(1, "").encode(), tree(1, "").encode()],
        ),
        (
            "a tree that failed, twice",
            vec![tree(1, "nothing").encode(), tree(1, "").encode()],
        ),
        (
            "five trees",
            (0..5).map(|number| tree(number, "").encode()).collect(),
        ),
        (
            "more of a closed tree",
            vec![
                tree(1, "").encode(),
                Request::CloseTree { tree: 1 }.encode(),
                Request::More { tree: 1 }.encode(),
            ],
        ),
        (
            "a tree closed twice",
            vec![
                tree(1, "").encode(),
                Request::CloseTree { tree: 1 }.encode(),
                Request::CloseTree { tree: 1 }.encode(),
            ],
        ),
        ("all done twice", vec![complete(), complete()]),
    ];
    within(Clock::Paused, move || async move {
        let served = Served::of(Tree::new().file("f", "x"));
        for (what, requests) in cases {
            let mut client = served.admitted().await;
            client.send(&requests.concat()).await;
            // What was asked before may still be answered.
            let mut answers = 0;
            while client.next().await.is_some() {
                answers += 1;
            }
            assert!(answers < requests.len(), "{what}");
        }
        served.expect_good_service().await;
    });
}

#[test]
fn trees_are_opened_read_and_closed() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("d/f", "x").file("g", "y"));
        let mut client = served.admitted().await;
        for number in 0..4 {
            let Answer::Page(page) = client.asked(&tree(number, "")).await else {
                panic!("no page");
            };
            assert!(page.ended && page.items.len() == 4);
        }
        // Behind the end there is the end.
        for _ in 0..3 {
            let answer = client.asked(&Request::More { tree: 2 }).await;
            assert!(matches!(answer, Answer::Page(page) if page.ended && page.items.is_empty()));
        }
        client.ask(&Request::CloseTree { tree: 2 }).await;
        // One that failed stays in use until it is closed.
        let failed = client.asked(&tree(2, "nothing")).await;
        assert!(matches!(failed, Answer::Failed(Refusal::NotFound)));
        let again = client.asked(&Request::More { tree: 2 }).await;
        assert!(matches!(again, Answer::Failed(_)));
        client.ask(&Request::CloseTree { tree: 2 }).await;
        assert!(matches!(client.asked(&tree(2, "d")).await, Answer::Page(_)));
        client.leave().await;
    });
}

#[test]
fn sixty_four_requests_may_wait_and_no_more() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("f", "x"));
        for count in [64, 65] {
            // Nothing fits into the pipe, so that the first answer keeps all others waiting.
            let mut client = served.admitted_with(16).await;
            for _ in 0..count {
                client.session.request(&read("f", 0, 1));
                client.send(&read("f", 0, 1).encode()).await;
            }
            let mut answered = 0;
            for _ in 0..count {
                match client.next().await {
                    Some((FrameType::Group, _)) => {
                        assert_eq!(client.next().await.unwrap().0, FrameType::Done);
                        answered += 1;
                    }
                    None => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(answered == 64, count == 64, "{answered} of {count}");
        }
        served.expect_good_service().await;
    });
}

#[test]
fn a_fetch_has_up_to_1024_files() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("f", "x").directory("d").link("l", "f"));
        let mut client = served.admitted().await;
        let paths = ["f", "nothing", "d", "l", "f/x", "f"];
        let Answer::Contents(files, _) = client.asked(&fetch(&paths)).await else {
            panic!("no contents");
        };
        let refusals: Vec<_> = files
            .iter()
            .map(|file| match file {
                Fetched::File { .. } => None,
                Fetched::Failed { refusal } => Some(*refusal),
            })
            .collect();
        let refused = [
            Refusal::NotFound,
            Refusal::IsDirectory,
            Refusal::Changed,
            Refusal::NotDirectory,
        ];
        assert_eq!(refusals[0], None);
        assert_eq!(refusals[1..5], refused.map(Some));
        // As many as may be, and none: that one has no answer.
        client.ask(&fetch(&["f"; 1024])).await;
        client.ask(&fetch(&[])).await;
        client.ask(&read("f", 0, 1)).await;
        let mut files = 0;
        while files < 1024 {
            let Answer::Contents(some, _) = client.answer().await else {
                panic!("no contents");
            };
            files += some.len();
        }
        assert_eq!(client.read_to_end().await, Ok(1));
        client.leave().await;
        check_refused(&served, "1,025 files", &fetch(&["f"; 1025]).encode()).await;
    });
}

/// A request to read with any range.
fn raw_read(start: u64, end: u64) -> Vec<u8> {
    let mut body = vec![1, b'f', 0, 0];
    body.extend(varint(start));
    body.extend(varint(end));
    body.push(0);
    frame(6, &body)
}

#[test]
fn ranges_are_answered_refused_or_end_the_connection() {
    let absurd = [
        (1, 0),
        (u64::MAX, 0),
        (u64::MAX - 1, u64::MAX),
        (0, u64::MAX),
        (0, 1 << 63),
        (0, 1025),
        (1 << 43, (1 << 43) + 1),
        ((1 << 43) + 1, (1 << 43) + 1),
    ];
    let of_three = [
        ((0, 3), Ok(3)),
        ((2, 3), Ok(1)),
        ((0, 0), Ok(0)),
        ((3, 3), Ok(0)),
        ((0, 4), Err(Refusal::Changed)),
        ((3, 4), Err(Refusal::Changed)),
        ((4, 4), Err(Refusal::Changed)),
        ((1000, 2024), Err(Refusal::Changed)),
        ((1 << 42, 1 << 42), Err(Refusal::Changed)),
    ];
    within(Clock::Paused, move || async move {
        let tree = Tree::new().large("f", 2).file("empty", "").directory("d");
        let served = Served::of(tree.link("l", "f").link("out", "../x"));
        std::fs::File::options()
            .append(true)
            .open(served.tree().at("f"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"tail"))
            .unwrap();
        for (start, end) in absurd {
            let what = format!("{start}..{end}");
            check_refused(&served, &what, &raw_read(start, end)).await;
        }
        let mut client = served.admitted().await;
        for ((start, end), expected) in of_three {
            for what in [ReadWhat::Content, ReadWhat::Hashes] {
                client.ask(&read_what("f", what, start, end)).await;
                let got = client.read_to_end().await;
                assert_eq!(got, expected, "{start}..{end}");
            }
        }
        for (at, end, expected) in [
            ("empty", 0, Ok(0)),
            ("empty", 1, Err(Refusal::Changed)),
            ("d", 1, Err(Refusal::IsDirectory)),
            ("l", 1, Err(Refusal::Changed)),
            ("out", 1, Err(Refusal::LeavesTree)),
            ("nothing", 1, Err(Refusal::NotFound)),
            ("", 1, Err(Refusal::IsDirectory)),
        ] {
            client.ask(&read(at, 0, end)).await;
            assert_eq!(client.read_to_end().await, expected, "{at}");
        }
        client.leave().await;
    });
}

#[test]
fn a_version_that_is_not_the_files_is_told() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("f", "x"));
        let mut client = served.admitted().await;
        let request = Request::Read(ReadRequest {
            path: path("f"),
            follow_links: false,
            what: ReadWhat::Content,
            range: GroupRange::new(0, 1).unwrap(),
            version: Some(packhorse_protocol::entry::Version([9; 16])),
        });
        client.ask(&request).await;
        assert_eq!(client.read_to_end().await, Err(Refusal::Changed));
    });
}

#[test]
fn a_tree_goes_on_from_any_place() {
    let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
    let cursor = move |directory: &str, after: Option<&str>| Cursor {
        directory: path(directory),
        after: after.map(name),
    };
    within(Clock::Paused, move || async move {
        let tree = Tree::new()
            .file("a", "")
            .file("c", "")
            .file("d/e", "")
            .file("d/g", "");
        let served = Served::of(tree.file("h/i", "").directory("k"));
        let mut client = served.admitted().await;
        let all = "/ a c d/ d/e d/g h/ h/i k/";
        for (at, expected) in [
            (None, all),
            (Some(cursor("", None)), "a c d/ d/e d/g h/ h/i k/"),
            (Some(cursor("", Some("a"))), "c d/ d/e d/g h/ h/i k/"),
            (Some(cursor("", Some("b"))), "c d/ d/e d/g h/ h/i k/"),
            (Some(cursor("", Some("zzz"))), "d/ d/e d/g h/ h/i k/"),
            (Some(cursor("", Some("d"))), "d/ d/e d/g h/ h/i k/"),
            (Some(cursor("d", Some("f"))), "d/g h/ h/i k/"),
            (Some(cursor("d", Some("g"))), "h/ h/i k/"),
            (Some(cursor("d/x/y/z", Some("g"))), "h/ h/i k/"),
            // A directory that is not there lies between two that are.
            (Some(cursor("e", None)), "h/ h/i k/"),
            // A file where the place names a directory.
            (Some(cursor("a", None)), "d/ d/e d/g h/ h/i k/"),
            (Some(cursor("a/b", Some("x"))), "d/ d/e d/g h/ h/i k/"),
            (Some(cursor("h/i", None)), "k/"),
            (Some(cursor("k", Some("a"))), ""),
            (Some(cursor("zzz", None)), ""),
        ] {
            let request = tree_behind(1, "", at.clone());
            let Answer::Page(page) = client.asked(&request).await else {
                panic!("no page for {at:?}");
            };
            let told: Vec<_> = page.items.iter().map(told).collect();
            assert_eq!(told.join(" "), expected, "{at:?}");
            assert!(page.ended);
            client.ask(&Request::CloseTree { tree: 1 }).await;
        }
        let single = client
            .asked(&tree_behind(1, "a", Some(cursor("", None))))
            .await;
        assert!(matches!(single, Answer::Failed(Refusal::NotDirectory)));
        client.leave().await;
    });
}

fn told(item: &Item) -> String {
    match item {
        Item::Directory { path, .. } if path.is_root() => "/".to_owned(),
        Item::Directory { path, .. } => format!("{path}/"),
        Item::File {
            directory, name, ..
        }
        | Item::Link {
            directory, name, ..
        } => directory.join(name).unwrap().to_string(),
        Item::Skipped { path, refusal } => {
            format!("{}:{refusal:?}", String::from_utf8_lossy(path))
        }
    }
}

fn tree_with(patterns: Patterns) -> Request {
    Request::Tree(TreeRequest {
        tree: 1,
        path: RelativePath::ROOT,
        options: EntryOptions::default(),
        recursive: true,
        inline_bytes_max: u64::MAX,
        patterns,
        cursor: None,
    })
}

fn exclude(patterns: impl IntoIterator<Item = String>) -> Patterns {
    Patterns {
        include: Vec::new(),
        exclude: patterns.into_iter().collect(),
    }
}

#[test]
fn patterns_that_cannot_be_end_the_connection() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("f", "x"));
        for (what, patterns) in [
            ("257 patterns", exclude(vec!["x".to_owned(); 257])),
            ("too long", exclude(["x".repeat((16 << 10) + 1)])),
            ("an open set", exclude(["[a".to_owned()])),
            ("an open brace", exclude(["{a,b".to_owned()])),
            ("a backslash at the end", exclude(["a\\".to_owned()])),
        ] {
            check_refused(&served, what, &tree_with(patterns).encode()).await;
        }
        let mut client = served.admitted().await;
        let odd = [
            "".to_owned(),
            "/".to_owned(),
            "**".repeat(10),
            "..".to_owned(),
        ];
        for pattern in odd {
            assert!(matches!(
                client.asked(&tree_with(exclude([pattern]))).await,
                Answer::Page(_)
            ));
            client.ask(&Request::CloseTree { tree: 1 }).await;
        }
        client.leave().await;
    });
}

/// The patterns of one client are compiled in no time that another would notice.
#[test]
fn the_worst_patterns_keep_nobody_waiting() {
    let most = 16 << 10;
    let braces = "{a,b}".repeat(most / 5);
    let nested = format!("{}{}", "{a,".repeat(1000), "}".repeat(1000));
    let worst = [
        ("question marks", exclude(["?".repeat(most)])),
        ("stars", exclude(["*a".repeat(most / 2)])),
        ("double stars", exclude(["**/".repeat(most / 3)])),
        ("sets", exclude(["[a-z]".repeat(most / 5)])),
        ("alternatives", exclude([braces])),
        ("nested alternatives", exclude([nested])),
        (
            "256 of them",
            exclude((0..256).map(|n| format!("{n:03}{}", "*?".repeat(30)))),
        ),
        ("characters", exclude(["[é-ü]".repeat(most / 7)])),
    ];
    within(Clock::Real, move || async move {
        let served = Served::of(Tree::new().file("f", "x").file("d/g", "y"));
        for (what, patterns) in worst {
            let mut client = served.admitted().await;
            let start = std::time::Instant::now();
            client.send(&tree_with(patterns).encode()).await;
            let _ = client.next().await;
            let took = start.elapsed();
            println!("{what}: {took:?}");
            assert!(took < Duration::from_secs(2), "{what} took {took:?}");
        }
    });
}

#[test]
fn paths_that_climb_end_the_connection() {
    let paths: [&[u8]; 10] = [
        b"..",
        b"../x",
        b"d/../../x",
        b"/etc/passwd",
        b"d//f",
        b"d/",
        b"./f",
        b"d/./f",
        b"f\0",
        b".packhorse-partial/0",
    ];
    within(Clock::Paused, move || async move {
        let served = Served::of(Tree::new().file("d/f", "x"));
        for at in paths {
            let what = String::from_utf8_lossy(at);
            let at = [&varint(at.len() as u64), at].concat();
            let in_tree = [&[1][..], &at, &[0, 0, 0, 1, 0, 0, 0, 0]].concat();
            check_refused(&served, &what, &frame(2, &in_tree)).await;
            let in_fetch = [&[0, 0, 0, 1][..], &at].concat();
            check_refused(&served, &what, &frame(5, &in_fetch)).await;
            let in_read = [&at[..], &[0, 0, 0, 1, 0]].concat();
            check_refused(&served, &what, &frame(6, &in_read)).await;
        }
        // Names like any other, that happen not to be there.
        let mut client = served.admitted().await;
        for at in [
            "%2e%2e",
            "..\\..\\x",
            "C:",
            "\\\\host\\share",
            "...",
            "d\\f",
            "\u{202e}",
        ] {
            client.ask(&read(at, 0, 1)).await;
            assert_eq!(client.read_to_end().await, Err(Refusal::NotFound), "{at}");
        }
        client.leave().await;
    });
}

/// Links out of the root, as leaves and on the way, and what is no file.
#[test]
fn nothing_outside_is_read() {
    within(Clock::Paused, || async {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let out = outside.path().to_str().unwrap();
        let tree = Tree::new()
            .link("absolute", &format!("{out}/secret"))
            .link("way", out);
        let tree = tree
            .link("up", "../..")
            .link("passwd", "../../../../../etc/passwd");
        let served = Served::of(tree.directory("d"));
        let fifo = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mkfifoat(rustix::fs::CWD, served.tree().at("fifo"), fifo).unwrap();
        let mut client = served.admitted().await;
        for at in [
            "absolute",
            "way/secret",
            "up/secret",
            "passwd",
            "fifo",
            "up",
            "way",
        ] {
            for follow_links in [false, true] {
                let request = Request::Read(ReadRequest {
                    path: path(at),
                    follow_links,
                    what: ReadWhat::Content,
                    range: GroupRange::EMPTY,
                    version: None,
                });
                client.ask(&request).await;
                let refused = client.read_to_end().await;
                assert!(refused.is_err(), "{at}: {refused:?}");
            }
            assert!(!matches!(
                client.asked(&fetch(&[at])).await,
                Answer::Contents(files, _) if matches!(files[0], Fetched::File { .. })
            ));
        }
        let told: Vec<_> = client.whole_tree("").await.iter().map(told).collect();
        assert_eq!(
            told.join(" "),
            "/ absolute:LeavesTree fifo:Special passwd:LeavesTree up:LeavesTree way:LeavesTree d/"
        );
        client.leave().await;
    });
}

/// As large as it may be asked for, content in line is never larger than the protocol says.
#[test]
fn content_in_line_has_its_limit() {
    within(Clock::Paused, || async {
        let limit = 256 << 10;
        let tree = Tree::new()
            .file("a", vec![1; limit])
            .file("b", vec![2; limit + 1]);
        let served = Served::of(tree.file("c", "x"));
        let mut client = served.admitted().await;
        let mut inline = Vec::new();
        let mut answer = client.asked(&tree_with(Patterns::default())).await;
        loop {
            let Answer::Page(page) = answer else {
                panic!("no page");
            };
            inline.extend(page.items.iter().filter_map(|item| match item {
                Item::File { content, .. } => Some(content.is_some()),
                _ => None,
            }));
            if page.ended {
                break;
            }
            answer = client.asked(&Request::More { tree: 1 }).await;
        }
        assert_eq!(inline, [true, false, true]);
        let answer = client.asked(&fetch(&["b"])).await;
        assert!(matches!(
            answer,
            Answer::Contents(files, _)
                if matches!(files[0], Fetched::Failed { refusal: Refusal::TooLarge })
        ));
        client.leave().await;
    });
}

/// Bytes of every kind, to a server that goes on as if nothing had been.
#[test]
fn noise_is_survived() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new().file("f", "x").file("d/g", "y"));
        let good = [
            tree(1, "").encode(),
            tree_with(exclude(["*.o".to_owned()])).encode(),
            fetch(&["f", "d/g", "nothing"]).encode(),
            read("f", 0, 1).encode(),
            read_what("f", ReadWhat::Hashes, 0, 1).encode(),
            fetch(&[]).encode(),
        ];
        for seed in 0..500u64 {
            let mut state = seed;
            let mut random = move |below: usize| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 33) as usize % below
            };
            let mut bytes: Vec<u8> = (0..4)
                .flat_map(|_| good[random(good.len())].clone())
                .collect();
            for _ in 0..1 + random(3) {
                let at = random(bytes.len());
                bytes[at] ^= 1 << random(8);
            }
            let mut client = served.admitted().await;
            client.send(&bytes).await;
            client.writer.shutdown().await.unwrap();
            let mut answered = 0;
            while client.next().await.is_some() {
                answered += 1;
            }
            assert!(answered < 100, "seed {seed}");
        }
        served.expect_good_service().await;
    });
}
