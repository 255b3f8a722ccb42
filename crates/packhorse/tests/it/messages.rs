//! `listen` and `talk`, with each other and with thirty lines of Python.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use socket2::SockRef;

use crate::python::{self, Scripted};
use crate::sandbox::{Running, Sandbox};

/// Against a hang; nothing here needs it.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// Starts `listen` on a free port; says where.
fn listen<'a>(sandbox: &'a Sandbox, flags: &[&str]) -> (Running<'a>, String) {
    let mut command = sandbox.command(&["listen", "127.0.0.1:0"]);
    let running = sandbox.start(command.args(flags));
    let place = place_of(&running);
    (running, place)
}

fn place_of(running: &Running<'_>) -> String {
    running.wait_for_stderr("\n");
    let said = running.stderr_so_far();
    let place = said.strip_prefix("listening on ").unwrap();
    place.lines().next().unwrap().to_owned()
}

/// Lines without the port that a peer dialled from.
fn without_ports(text: &str) -> Vec<String> {
    let without = |line: &str| {
        let (before, behind) = line.split_once("127.0.0.1:").unwrap();
        format!(
            "{before}{}",
            behind.trim_start_matches(|c: char| c.is_ascii_digit())
        )
    };
    text.lines().map(without).collect()
}

#[test]
fn talk_and_listen_understand_each_other() {
    let sandbox = Sandbox::new();
    let (server, place) = listen(&sandbox, &["--echo", "--peers", "2"]);
    let input = b"one\ntwo\nthree";
    let ended = sandbox.run_with_input(&["talk", &place], input).code(0);
    assert_eq!(ended.stdout, input);
    let ended = ended.says("connected to 127.0.0.1:");
    ended.says("closed the connection; 13 B sent, 13 B received");
    let ended = sandbox.run_with_input(&["talk", &place, "--hex"], b"\x1b[2J\xff\n");
    assert_eq!(
        ended.code(0).text(),
        "00000000  1b 5b 32 4a ff 0a                                 |.[2J..|\n"
    );
    let ended = server.wait().code(0);
    assert_eq!(
        without_ports(ended.text()),
        [
            "@1  connected",
            "@1 : one",
            "@1 : two",
            "@1 : three",
            "@1  left: 3 messages, 13 B received, 13 B sent",
            "@2  connected",
            "@2 : \\u{1b}[2J\\xff",
            "@2  left: 1 message, 6 B received, 6 B sent",
        ]
    );
    ended.says("\n2 peers, 4 messages, 19 B received, 19 B sent\n");
}

#[test]
fn clients_in_python_are_answered_one_at_a_time_and_many() {
    let sandbox = Sandbox::new();
    for (how, peers) in [("one", 3), ("many", 1), ("crowd", 3)] {
        let peers_flag = peers.to_string();
        let flags = ["--exec", "tr a-z A-Z", "--peers", &peers_flag];
        let (server, place) = listen(&sandbox, &flags);
        let Some(mut client) = python::script("message_client.py") else {
            return;
        };
        let client = client.args([how, &place, "hello", "world", "bye"]);
        let output = client.stdin(Stdio::null()).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "HELLO\nWORLD\nBYE\n"
        );
        let ended = server.wait().code(0);
        let said = ended.text();
        for text in ["hello", "world", "bye"] {
            assert!(said.contains(&format!(": {text}\n")), "{said}");
        }
        assert_eq!(said.matches(" connected\n").count(), peers);
        assert_eq!(said.matches(" left: ").count(), peers);
    }
}

#[test]
fn servers_in_python_are_talked_to() {
    let sandbox = Sandbox::new();
    for (how, expected) in [("one", "HELLO\n"), ("many", "HELLO\ngoodbye\n")] {
        let Some(server) = Scripted::start("message_server.py", &[how]) else {
            return;
        };
        let ended = sandbox.run_with_input(&["talk", &server.place], b"hello\n");
        // Behind the end of the input, the rest is waited for.
        assert_eq!(ended.code(0).text(), expected, "{how}");
    }
}

/// A reader of lines, and what to write to.
fn dial(place: &str) -> (BufReader<TcpStream>, TcpStream) {
    let stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(READ_TIME_MAX)).unwrap();
    (BufReader::new(stream.try_clone().unwrap()), stream)
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line
}

#[test]
fn what_is_typed_goes_to_whom_it_is_for() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["listen", "127.0.0.1:0", "--peers", "3"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let place = line(&mut talk)
        .trim_start_matches("listening on ")
        .trim_end()
        .to_owned();
    // It waits for the first peer.
    writeln!(input, "early").unwrap();
    let mut peers = Vec::new();
    for number in 1..=3 {
        peers.push(dial(&place));
        assert!(line(&mut output).starts_with(&format!("@{number} 127.0.0.1:")));
        if number == 1 {
            assert_eq!(line(&mut peers[0].0), "early\n");
        }
    }
    // Each line is there before the next one is typed.
    input
        .write_all(b"newest\n@1 first\n@all everyone\n@7 nobody\n")
        .unwrap();
    assert_eq!(line(&mut peers[2].0), "newest\n");
    assert_eq!(line(&mut peers[0].0), "first\n");
    for peer in &mut peers {
        assert_eq!(line(&mut peer.0), "everyone\n");
    }
    assert_eq!(line(&mut talk), "peer @7 is not connected\n");
    // Nobody is left because the input ends.
    drop(input);
    writeln!(peers[1].1, "still here").unwrap();
    assert!(line(&mut output).ends_with(": still here\n"));
    drop(peers);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.matches(" left: ").count(), 3, "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_ends_it_with_the_counts() {
    let sandbox = Sandbox::new();
    let (server, place) = listen(&sandbox, &["--reply", "ok"]);
    let (mut reader, mut writer) = dial(&place);
    writeln!(writer, "hello").unwrap();
    assert_eq!(line(&mut reader), "ok\n");
    server.signal(Signal::INT);
    let ended = server.wait().code(0);
    ended.says("\n1 peer, 1 message, 6 B received, 3 B sent\n");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let sandbox = Sandbox::new();
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let mut command = sandbox.command(&["listen", "127.0.0.1:0", "--echo"]);
    let server = sandbox.start(command.stdout(closed()));
    let place = place_of(&server);
    let peer = dial(&place);
    let ended = server.wait().code(0);
    drop(peer);
    assert!(!ended.stderr.contains("packhorse:"), "{}", ended.stderr);

    let (server, place) = listen(&sandbox, &["--reply", "ok", "--peers", "1"]);
    let mut command = sandbox.command(&["talk", &place]);
    let mut running = sandbox.start(command.stdin(Stdio::piped()).stdout(closed()));
    let mut input = running.take_stdin();
    input.write_all(b"hello\n").unwrap();
    let ended = running.wait().code(0);
    assert!(!ended.stderr.contains("packhorse:"), "{}", ended.stderr);
    server.wait().code(0);
}

/// Nobody reads what it prints, and the pipe is full.
#[test]
fn a_signal_ends_it_also_where_its_output_is_stuck() {
    let sandbox = Sandbox::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = sandbox.command(&["listen", "127.0.0.1:0"]);
    let server = sandbox.start(command.stdout(writer));
    drop(command);
    let place = place_of(&server);
    let mut peer = TcpStream::connect(&place).unwrap();
    let mut output = BufReader::new(reader);
    assert!(line(&mut output).ends_with(" connected\n"));
    // More than fits into the pipe and all queues; what does not fit waits at the peer.
    let text = [&[b'x'; 9999][..], b"\n"].concat();
    peer.set_nonblocking(true).unwrap();
    while peer.write(&text).is_ok() {}
    server.signal(Signal::TERM);
    server.wait().code(0).says("1 peer, ");
    drop(output);
}

#[test]
fn what_cannot_be_is_told_with_its_code() {
    let sandbox = Sandbox::new();
    // Taken and given back, so that it is free for a moment.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], i32, &str); 11] = [
        (&["listen", &place], 6, "cannot listen on"),
        (&["listen", "a b"], 2, "HOST:PORT"),
        (
            &["listen", "--echo", "--reply", "x"],
            2,
            "cannot be used with",
        ),
        (
            &["listen", "--exec", "x", "--echo"],
            2,
            "cannot be used with",
        ),
        (&["listen", "--peers", "0"], 2, "--peers"),
        (&["listen", "--backlog", "0"], 2, "--backlog"),
        (&["talk"], 2, "HOST:PORT"),
        (&["talk", "127.0.0.1"], 2, "HOST:PORT"),
        (&["talk", "ph://127.0.0.1:1/"], 2, "add --tls"),
        (&["talk", "127.0.0.1:1", "--trust-first-use"], 2, "--tls"),
        (
            &["talk", "127.0.0.1:1", "--bind", "192.0.2.1:0"],
            3,
            "127.0.0.1:1",
        ),
    ];
    for (arguments, code, message) in cases {
        let ended = sandbox.run(arguments).code(code).says(message);
        assert!(ended.stdout.is_empty(), "{arguments:?}");
    }
    drop(taken);
    sandbox.run(&["talk", &place]).code(3).says("refused");
}

#[test]
fn talk_gives_up_where_nothing_moves_and_where_the_connection_breaks() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    sandbox
        .run_with_input(&["talk", &place, "--timeout", "100ms"], b"hello")
        .code(0)
        .says("nothing came or went for 100ms");
    let server = std::thread::spawn(move || {
        // The one before it, which is gone.
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"half of it").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        let linger = Some(Duration::ZERO);
        SockRef::from(&stream).set_linger(linger).unwrap();
    });
    let ended = sandbox.run_with_input(&["talk", &place], b"hello");
    ended.code(3).says("the connection was lost");
    server.join().unwrap();
}

#[test]
fn with_tls_the_key_in_the_address_decides() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let place = format!("127.0.0.1:{}", server.port());
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let talk =
        |flags: &[&str]| sandbox.run_with_input(&[&["talk", "--tls"], flags].concat(), request);
    let is_answered = |text: &str| text.starts_with("HTTP/1.1 401");
    assert!(is_answered(talk(&[&server.address]).code(0).text()));
    talk(&[&place]).code(4).says("is not known here");
    let ended = talk(&[&place, "--trust-first-use"]).code(0);
    assert!(is_answered(ended.text()));
    assert!(is_answered(talk(&[&place]).code(0).text()));
    // Another server at the same place is not the one that was accepted.
    let port = server.port();
    server.stop().code(0);
    let other = Sandbox::new();
    let listen = format!("127.0.0.1:{port}");
    let _other = other.serve(&["--listen", &listen]);
    talk(&[&place])
        .code(4)
        .says("is not the one that was expected");
    let (clear, place) = self::listen(&sandbox, &["--reply", "hello", "--peers", "1"]);
    talk(&[&place, "--trust-first-use"])
        .code(3)
        .says("does not speak TLS 1.3");
    clear.wait().code(0);
}

#[test]
fn nc_is_a_peer_as_any() {
    if Command::new("nc").arg("-h").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "nc is missing");
        eprintln!("SKIPPED: nc is missing");
        return;
    }
    let sandbox = Sandbox::new();
    let (server, place) = listen(&sandbox, &["--reply", "ok", "--once", "--peers", "1"]);
    let (host, port) = place.rsplit_once(':').unwrap();
    let mut nc = Command::new("nc")
        .args([host, port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    nc.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(nc.wait_with_output().unwrap().stdout, b"ok\n");
    server
        .wait()
        .code(0)
        .says("1 peer, 1 message, 6 B received, 3 B sent");
}
