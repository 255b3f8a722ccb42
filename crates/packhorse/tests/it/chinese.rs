//! Who reads Chinese is told nothing in English.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use rustix::process::Signal;

use crate::kills::half_done;
use crate::sandbox::{Ended, Sandbox, wait_until};

/// This many English words, one behind the other, are a sentence.
const SENTENCE_WORDS_MIN: usize = 3;

/// The lines of `text` that hold a sentence in English; what is quoted is a command or a name.
fn english_lines(text: &str) -> Vec<&str> {
    let is_word = |word: &str| {
        let word = word.trim_end_matches([',', '.', ':', ';']);
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let has_sentence = |piece: &str| {
        let words: Vec<_> = piece.split(' ').map(is_word).collect();
        let mut runs = words.windows(SENTENCE_WORDS_MIN);
        runs.any(|run| run.iter().all(|&is_word| is_word))
    };
    let of_ours = |line: &&str| {
        let mut unquoted = line.split('`').step_by(2);
        unquoted.any(has_sentence)
    };
    text.lines().filter(of_ours).collect()
}

#[track_caller]
fn check(ended: &Ended) {
    for text in [ended.text(), &ended.stderr] {
        assert_eq!(english_lines(text), [""; 0], "{text}");
    }
}

#[test]
fn sentences_are_told_from_names() {
    for (text, is_english) in [
        ("已获取 12 个文件，3.00 MB，用时 1.5 s", false),
        ("packhorse: 没有 `a b c d` 这个文件", false),
        ("packhorse: 失败：it does not exist", true),
        ("nothing is verified", true),
    ] {
        assert_eq!(!english_lines(text).is_empty(), is_english, "{text}");
    }
}

#[test]
fn the_golden_texts_are_chinese() {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let mut found = 0;
    for entry in fs::read_dir(snapshots).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with("-chinese.snap") {
            let text = fs::read_to_string(&path).unwrap();
            // Behind the head that the test's runner has written.
            let (_, text) = text[3..].split_once("---\n").unwrap();
            // What is typed stands in front of what it does.
            let lines = text
                .lines()
                .filter(|line| !line.starts_with("  packhorse "));
            let text: String = lines.map(|line| format!("{line}\n")).collect();
            assert_eq!(english_lines(&text), [""; 0], "{}", path.display());
            found += 1;
        }
    }
    assert!(found >= 8, "{found}");
}

/// What the commands say when all is well, and when it is not.
#[test]
fn commands_speak_chinese() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content");
    sandbox.serve_file("d/b", "b");
    fs::write(sandbox.path("here/in-the-way"), "mine").unwrap();
    let mut serve = sandbox.command(&["serve", sandbox.path("served").to_str().unwrap()]);
    serve.args(["--listen", "127.0.0.1:0", "--plain", "--http"]);
    let server = sandbox.serve_by(serve.env("LC_ALL", "zh_CN.UTF-8"));
    let at = |path: &str| server.at(path);
    let plain = format!("plain://127.0.0.1:{}", server.port());
    let plain_at = |name: &str| format!("{plain}/{name}");
    let (scheme_and_key, place) = server.address.split_once('@').unwrap();
    let (rest, last) = scheme_and_key.split_at(scheme_and_key.len() - 1);
    // The last one has a bit that must not be set, which "b" would be.
    let other = if last == "a" { "c" } else { "a" };
    let wrong_key = format!("{rest}{other}@{place}");
    let cases: [(&[&str], i32); 29] = [
        (&["get", &at("")], 0),
        (&["get", &at("a.txt"), "--dry-run"], 0),
        (&["get", &at("nothing")], 1),
        (&["get", &at("a.txt"), "-o", "in-the-way"], 6),
        (&["get", &at("a.txt"), "--as", "in-the-way"], 1),
        (&["get", &at("a.txt/")], 1),
        (&["get", &at("d"), "-o", "-"], 1),
        (&["get", &at("a.txt"), "-o", "-", "--overwrite"], 2),
        (&["get", &at("a.txt"), "--expect", &"0".repeat(64)], 5),
        (&["get", &at("a.txt"), &at("d"), "--as", "x"], 2),
        (&["get", &at("a.txt"), "--as", "x/y"], 2),
        (&["get", &at("a.txt"), "--report", "no/where"], 6),
        (&["get", &at("a.txt"), "--silence", "1s"], 2),
        (&["get", &wrong_key], 4),
        (&["get"], 2),
        (&["get", &at("a.txt"), &plain_at("a.txt")], 2),
        (&["get", "ph://127.0.0.1:1/"], 3),
        (&["get", "ph://no-such-host.invalid/"], 3),
        (&["get", &plain_at("a.txt")], 1),
        (&["get", &plain_at("a.txt"), "--overwrite"], 0),
        (&["get", &plain_at("nothing")], 1),
        (&["get", &plain_at("a.txt"), "--checksum"], 2),
        (&["get", &plain], 2),
        (&["ls", &plain], 2),
        (&["ls", &at("a.txt/")], 1),
        (&["shell", &plain_at("a.txt")], 2),
        (&["serve", "nowhere"], 1),
        (&["talk", "127.0.0.1:1"], 3),
        (&["listen", "--peers", "0"], 2),
    ];
    for (arguments, code) in cases {
        check(&sandbox.run_in_chinese(arguments).code(code));
    }
    for (address, lines) in [
        (at(""), "help\na.txt\nnothing\nd\ncd a.txt\ncd d\nget\n"),
        (plain.clone(), "help\na.txt\nnothing\nls\nget x x\n"),
    ] {
        let mut shell = sandbox.command(&["shell", &address, "-o", "elsewhere"]);
        let shell = shell.env("LC_ALL", "zh_CN.UTF-8").stdin(Stdio::piped());
        let mut running = sandbox.start(shell);
        running.take_stdin().write_all(lines.as_bytes()).unwrap();
        check(&running.wait().code(0));
    }
    let ended = server.stop().code(0);
    check(&ended);
    assert!(
        ended.stderr.contains("未接纳 127.0.0.1:"),
        "{}",
        ended.stderr
    );
}

#[test]
fn messages_are_told_of_in_chinese() {
    let sandbox = Sandbox::new();
    let mut listen = sandbox.command(&["listen", "127.0.0.1:0", "--exec", "nonsense-command"]);
    let listen = listen.args(["--peers", "1"]).env("LC_ALL", "zh_CN.UTF-8");
    let listener = sandbox.start(listen);
    listener.wait_for_stderr("\n");
    let said = listener.stderr_so_far();
    let place = said.trim_start_matches("监听 ").trim_end().to_owned();
    let mut talk = sandbox.command(&["talk", &place]);
    let talk = talk.env("LC_ALL", "zh_CN.UTF-8").stdin(Stdio::piped());
    let mut talker = sandbox.start(talk);
    talker.take_stdin().write_all(b"hello\n").unwrap();
    check(&talker.wait().code(0));
    let ended = listener.wait().code(0);
    check(&ended);
    assert!(ended.text().contains(": hello\n"), "{}", ended.text());
}

#[test]
fn a_lost_connection_is_told_of_in_chinese() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![7; 64 << 20]);
    let server = sandbox.serve(&["--rate-limit", "4M"]);
    let mut get = sandbox.command(&["get", &server.address, "--retry-for", "1s"]);
    let client = sandbox.start(get.env("LC_ALL", "zh_CN.UTF-8"));
    wait_until(|| half_done(&sandbox.path("here")) > 0);
    server.running.signal(Signal::KILL);
    let ended = client.wait().code(3).says("；正在重新连接");
    check(&ended);
}

/// An HTTP server without TLS, and one that has no protocol in common.
#[test]
fn what_is_no_packhorse_is_told_of_in_chinese() {
    let sandbox = Sandbox::new();
    let no_tls: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let alert = b"\x15\x03\x03\0\x02\x02\x78";
    for (answer, said) in [
        (no_tls, "（它发来的不是 TLS）"),
        (alert, "（它中止了 TLS 握手：NoApplicationProtocol）"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("ph://{}/", listener.local_addr().unwrap());
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            // Until the client has left: a close with its words unread would be a reset.
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        check(
            &sandbox
                .run_in_chinese(&["get", &address])
                .code(3)
                .says(said),
        );
        answering.join().unwrap();
    }
}

#[test]
fn the_demo_tells_its_story_in_chinese() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run_in_chinese(&["demo"]).code(0);
    check(&ended);
    assert!(ended.text().contains("\n9. 以上表明："), "{}", ended.text());
}
