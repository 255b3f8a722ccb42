//! The plain mode, with clients as simple and as hostile as they come. (THREATS 1 to 3, 6.)

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use packhorse_server::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::gate::{Seen, Shake};
use crate::served::{Clock, Served, Setup, Tree, within};

/// A client of the plain mode.
struct Plain {
    pipe: DuplexStream,
    seen: watch::Receiver<Seen>,
}

impl Plain {
    fn of(served: &Served) -> Self {
        Self::with(served, 64 << 10)
    }

    fn with(served: &Served, pipe_bytes: usize) -> Self {
        let (pipe, _, seen) = served.road.connect_watched(pipe_bytes, Shake::Clear);
        Self { pipe, seen }
    }

    async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.pipe.write_all(text.as_ref()).await.unwrap();
    }

    async fn expect(&mut self, content: impl AsRef<[u8]>) {
        let content = content.as_ref();
        let mut found = vec![0; content.len()];
        self.pipe.read_exact(&mut found).await.unwrap();
        assert!(found == content, "another content came");
    }

    /// All that still comes.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.pipe.read_to_end(&mut rest).await.unwrap();
        rest
    }

    /// Waits until the server has let go of the connection; whether it reset it.
    async fn is_reset(&mut self) -> bool {
        let seen = self.seen.wait_for(|seen| seen.is_dropped).await.unwrap();
        seen.reset_on_drop
    }

    /// Half-closes, and requires that nothing more comes and the connection ends in order.
    async fn leave(mut self) {
        self.pipe.shutdown().await.unwrap();
        assert_eq!(self.rest().await, b"");
        assert!(!self.is_reset().await);
    }
}

fn plain() -> Setup {
    Setup {
        plain: true,
        ..Setup::default()
    }
}

/// `length` bytes of which no part looks like another.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn tree() -> Tree {
    Tree::new()
        .file("a.txt", "content of a")
        .file("README", "read me")
        .file("empty", "")
        .file("dir/b c", "content of b")
        .file("large", bytes(1_000_003))
        .link("inside", "dir/b c")
}

#[test]
fn names_get_contents_however_they_are_sent() {
    within(Clock::Real, || async {
        let served = plain().serve(tree());
        let large = bytes(1_000_003);
        let cases: [(&[&str], &[u8]); 12] = [
            (&["a.txt\n"], b"content of a"),
            (&["a.txt\r\n"], b"content of a"),
            (&["a.txt"], b"content of a"),
            (&["READ", "ME\n"], b"read me"),
            (&["dir/b c\n", "\n", "a.txt\n"], b"content of b"),
            (
                &["inside\na.txt\nREADME"],
                b"content of bcontent of aread me",
            ),
            (&["a.txt\n\nREADME\n"], b"content of a"),
            (&["empty\nREADME\n"], b"read me"),
            (&["large\n\n"], &large),
            (&["\n"], b""),
            (&[""], b""),
            (&["a.txt\nnothing\nREADME\n"], b"content of a"),
        ];
        for (pieces, expected) in cases {
            let mut client = Plain::of(&served);
            for piece in pieces {
                client.say(piece).await;
                tokio::task::yield_now().await;
            }
            client.pipe.shutdown().await.unwrap();
            assert!(client.rest().await == expected, "{pieces:?}");
            assert!(!client.is_reset().await, "{pieces:?}");
        }
    });
}

#[test]
fn silence_ends_a_name_and_the_next_one_may_follow() {
    within(Clock::Paused, || async {
        let served = plain().serve(tree());
        let mut client = Plain::of(&served);
        for _ in 0..3 {
            for (name, content) in [("a.txt", "content of a"), ("README", "read me")] {
                // Half a name and a pause that is too short to end it.
                let start = Instant::now();
                client.say(&name[..3]).await;
                sleep(Duration::from_millis(150)).await;
                client.say(&name[3..]).await;
                client.expect(content).await;
                assert!(start.elapsed() >= Duration::from_millis(350));
            }
        }
        client.say("\n").await;
        assert_eq!(client.rest().await, b"");
        assert!(!client.is_reset().await);
    });
}

#[test]
fn a_small_answer_leaves_in_one_write() {
    within(Clock::Real, || async {
        let limited = Setup {
            rate_limit: Some(1 << 30),
            ..plain()
        };
        for setup in [plain(), limited] {
            let tree = tree()
                .file("1", bytes(1))
                .file("1023", bytes(1023))
                .file("1024", bytes(1024));
            let served = setup.serve(tree);
            let mut client = Plain::of(&served);
            for length in [1, 1023, 1024] {
                client.say(format!("{length}\n")).await;
                client.expect(bytes(length)).await;
            }
            assert_eq!(client.seen.borrow().writes, [1, 1023, 1024]);
            client.leave().await;
        }
    });
}

#[test]
fn what_may_not_be_had_closes_the_connection_and_sends_nothing() {
    within(Clock::Real, || async {
        let tree = tree().directory("sub/.packhorse-partial");
        fs::write(tree.at("sub/.packhorse-partial/0"), "x").unwrap();
        symlink("/etc/passwd", tree.at("out")).unwrap();
        symlink("..", tree.at("up")).unwrap();
        symlink("gone", tree.at("dangling")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, tree.at("fifo"), rustix::fs::Mode::RWXU).unwrap();
        let served = plain().serve(tree);
        let long = "x".repeat(256);
        let deep = "a/".repeat(2047) + "a";
        let longest = "x/".repeat(2048);
        let longer = "x".repeat(4097);
        let endless = "x".repeat(1 << 20);
        let cases: [&str; 33] = [
            "nothing",
            "..",
            ".",
            "../a.txt",
            "dir/../a.txt",
            "dir/../../etc/passwd",
            "/etc/passwd",
            "//a.txt",
            "./a.txt",
            "dir//b c",
            "dir/./b c",
            "a.txt/",
            "a.txt/x",
            "a.txt\0",
            "a.txt\0.png",
            "dir\\b c",
            "C:\\a.txt",
            "\\\\host\\a.txt",
            "%2e%2e/a.txt",
            "..%2fa.txt",
            " a.txt",
            "a.txt ",
            "dir",
            "fifo",
            "out",
            "up/served",
            "dangling",
            "sub/.packhorse-partial/0",
            &long,
            &deep,
            &longest,
            &longer,
            &endless,
        ];
        for name in cases {
            // As far as it is read.
            let mut client = Plain::with(&served, 2 << 20);
            client.say(format!("{name}\na.txt\n")).await;
            let shown = &name[..name.len().min(40)];
            assert_eq!(client.rest().await, b"", "{shown}");
            drop(client.pipe);
            let seen = client.seen.wait_for(|seen| seen.is_dropped).await.unwrap();
            assert!(seen.writes.is_empty() && !seen.reset_on_drop, "{shown}");
        }
        for name in [
            &b"\xc0\xae\xc0\xae/a.txt\n"[..],
            b"\xff\xfe\n",
            b"\x1b[2J\n",
        ] {
            let mut client = Plain::of(&served);
            client.say(name).await;
            assert_eq!(client.rest().await, b"");
        }
        let mut client = Plain::of(&served);
        client.say("a.txt\n").await;
        client.expect("content of a").await;
        client.leave().await;
    });
}

/// Otherwise whoever reads along would take a part of the file for all of it.
#[test]
fn a_file_that_changes_while_it_is_sent_ends_in_a_reset() {
    within(Clock::Real, || async {
        type Change = fn(&fs::File);
        let cases: [(&str, Option<Change>); 4] = [
            ("unchanged", None),
            ("shorter", Some(|file| file.set_len(700_000).unwrap())),
            ("longer", Some(|file| file.set_len(1_100_000).unwrap())),
            (
                "another time",
                Some(|file| file.set_modified(SystemTime::now()).unwrap()),
            ),
        ];
        for (what, change) in cases {
            let tree = tree();
            let file = fs::File::options()
                .write(true)
                .open(tree.at("large"))
                .unwrap();
            let hour_ago = SystemTime::now() - Duration::from_secs(3600);
            file.set_modified(hour_ago).unwrap();
            let served = plain().serve(tree);
            let mut client = Plain::with(&served, 1000);
            client.say("large\nREADME\n").await;
            let content = bytes(1_000_003);
            client.expect(&content[..5000]).await;
            if let Some(change) = change {
                change(&file);
                let rest = client.rest().await;
                assert!(rest.len() + 5000 < content.len(), "{what}");
                assert!(content[5000..].starts_with(&rest), "{what}");
                assert!(client.is_reset().await, "{what}");
            } else {
                client.expect(&content[5000..]).await;
                client.expect("read me").await;
                client.leave().await;
            }
        }
    });
}

#[test]
fn a_server_that_ends_at_once_does_not_make_half_a_file_look_whole() {
    within(Clock::Real, || async {
        let served = plain().serve(tree());
        let mut client = Plain::with(&served, 1000);
        client.say("large\n").await;
        client.expect(&bytes(5000)).await;
        served.stop.leave();
        served.stop.end();
        assert!(client.is_reset().await);
    });
}

#[test]
fn who_is_sent_a_file_while_the_server_leaves_gets_all_of_it() {
    within(Clock::Real, || async {
        let limits = Limits {
            linger_time: Duration::from_millis(1),
            ..Limits::default()
        };
        let setup = Setup {
            limits,
            leave_idle_time: Duration::from_millis(1),
            ..plain()
        };
        let served = setup.serve(tree());
        let mut client = Plain::with(&served, 1000);
        let mut idle = Plain::of(&served);
        idle.say("README\n").await;
        idle.expect("read me").await;
        client.say("large\n").await;
        client.expect(&bytes(5000)).await;
        served.stop.leave();
        assert_eq!(idle.rest().await, b"");
        let mut late = Plain::of(&served);
        assert_eq!(late.rest().await, b"");
        assert!(client.rest().await == bytes(1_000_003)[5000..]);
        assert!(!client.is_reset().await);
        served.running.await.unwrap();
    });
}

#[test]
fn once_is_one_conversation_in_which_nothing_failed() {
    within(Clock::Real, || async {
        let setup = Setup {
            once: true,
            ..plain()
        };
        let served = setup.serve(tree());
        let too_long = format!("README\n{}\n", "x".repeat(5000));
        for names in ["\n", "nothing\n", "README\nnothing\n", &too_long] {
            let mut client = Plain::of(&served);
            client.say(names).await;
            client.rest().await;
            drop(client.pipe);
            client.seen.wait_for(|seen| seen.is_dropped).await.unwrap();
        }
        assert!(!served.running.is_finished());
        let mut client = Plain::of(&served);
        client.say("README\n\n").await;
        assert_eq!(client.rest().await, b"read me");
        drop(client);
        served.running.await.unwrap();
    });
}

#[test]
fn without_the_flag_there_is_no_plain_mode() {
    within(Clock::Real, || async {
        let served = Served::of(tree());
        let mut client = Plain::of(&served);
        client.say("a.txt\n").await;
        assert_eq!(client.rest().await, b"");
    });
}

#[test]
fn who_asks_for_nothing_is_left_after_ten_minutes() {
    within(Clock::Paused, || async {
        let served = plain().serve(tree());
        let start = Instant::now();
        let mut client = Plain::of(&served);
        assert_eq!(client.rest().await, b"");
        assert_eq!(start.elapsed().as_secs(), 600);

        // A byte so often that the name never comes to an end.
        let start = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(Plain::of(&served).pipe);
        let drip = async {
            while writer.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(170)).await;
            }
        };
        let mut rest = Vec::new();
        let (read, ()) = tokio::join!(reader.read_to_end(&mut rest), drip);
        read.unwrap();
        assert_eq!(rest, b"");
        assert_eq!(start.elapsed().as_secs(), 600);
    });
}

#[test]
fn who_takes_nothing_is_left_and_keeps_nobody_else() {
    within(Clock::Paused, || async {
        let served = plain().serve(tree().file("small", bytes(10_000)));
        for name in ["large\n", "small\n"] {
            let mut stalled = Plain::with(&served, 1000);
            stalled.say(name).await;
            let mut honest = Plain::of(&served);
            honest.say("large\n").await;
            honest.expect(bytes(1_000_003)).await;
            assert!(stalled.is_reset().await);
            honest.leave().await;
        }
    });
}

#[test]
fn clients_of_both_kinds_are_counted_together() {
    within(Clock::Real, || async {
        let limits = Limits {
            clients_max: 2,
            ..Limits::default()
        };
        let served = Setup { limits, ..plain() }.serve(tree());
        let native = served.admitted().await;
        let mut client = Plain::of(&served);
        client.say("README\n").await;
        client.expect("read me").await;
        let mut third = Plain::of(&served);
        third.say("README\n").await;
        assert_eq!(third.rest().await, b"");
        native.leave().await;
        // Its place is given back a moment after it has left.
        let mut again = Plain::of(&served);
        again.say("README\n\n").await;
        while again.rest().await != b"read me" {
            again = Plain::of(&served);
            again.say("README\n\n").await;
        }
        client.leave().await;
    });
}

#[test]
fn a_rate_holds_here_too() {
    within(Clock::Real, || async {
        let setup = Setup {
            rate_limit: Some(8 << 20),
            ..plain()
        };
        let served = setup.serve(tree());
        let start = Instant::now();
        let mut client = Plain::of(&served);
        client.say("large\n\n").await;
        assert!(client.rest().await == bytes(1_000_003));
        // The last part of 16 KiB may leave once those before it have had their time.
        let least = (1_000_003.0 - f64::from(16 << 10)) / f64::from(8 << 20);
        assert!(start.elapsed().as_secs_f64() >= least);
    });
}
