//! `packhorse serve --plain`, with the clients that it is for.

use std::env;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::python;
use crate::sandbox::{Sandbox, Server};

/// Against a hang; nothing here needs it.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

fn serve<'a>(sandbox: &'a Sandbox, flags: &[&str]) -> Server<'a> {
    sandbox.serve_file("a.txt", "content of a\n");
    sandbox.serve_file("README", "read me");
    sandbox.serve_file("dir/b c", "content of b");
    sandbox.serve_file("large", large());
    sandbox.serve(&[&["--plain"], flags].concat())
}

fn large() -> Vec<u8> {
    (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// Runs `command` to its end in the sandbox.
fn run(sandbox: &Sandbox, command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .current_dir(sandbox.path("here"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn nc_gets_files() {
    if Command::new("nc").arg("-h").output().is_err() {
        assert!(env::var_os("CI").is_none(), "nc is missing");
        let _ = writeln!(io::stderr(), "SKIPPED: nc is missing");
        return;
    }
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &[]);
    let port = server.port().to_string();
    let large = large();
    // Without `-N` it keeps its side open at the end of its input.
    let cases: [(&[&str], &[u8], &[u8]); 7] = [
        (&[], b"a.txt\n\n", b"content of a\n"),
        (&["-N"], b"a.txt\n", b"content of a\n"),
        (&["-N"], b"README", b"read me"),
        (&["-C"], b"README\n\n", b"read me"),
        (&["-N"], b"README\ndir/b c\n", b"read mecontent of b"),
        (&["-N"], b"large\n", &large),
        (&[], b"nothing\n", b""),
    ];
    for (flags, input, expected) in cases {
        let mut nc = Command::new("nc");
        let nc = nc.args(flags).args(["127.0.0.1", &port]);
        let output = run(&sandbox, nc, input);
        let shown = input.escape_ascii();
        assert!(output.status.success(), "nc {flags:?} < {shown}");
        assert!(output.stdout == expected, "nc {flags:?} < {shown}");
    }
    let ended = server.stop().code(0);
    for text in [
        "warning: plain mode: whoever can reach this machine can read all that is served",
        "nc 127.0.0.1",
        " connected in the plain mode",
        " has /dir/b c: 12 B in ",
        " was refused nothing: it does not exist",
        " left; it took ",
    ] {
        assert!(ended.stderr.contains(text), "{text:?}: {}", ended.stderr);
    }
}

#[test]
fn bash_gets_files() {
    if Command::new("bash").arg("--version").output().is_err() {
        let _ = writeln!(io::stderr(), "SKIPPED: bash is missing");
        return;
    }
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &[]);
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; echo a.txt >&3; echo large >&3; echo >&3; cat <&3",
        server.port()
    );
    let output = run(&sandbox, Command::new("bash").args(["-c", &script]), b"");
    let expected = [&b"content of a\n"[..], &large()].concat();
    assert!(output.stdout == expected);
}

#[test]
fn thirty_lines_of_python_get_files_one_at_a_time_and_many() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &[]);
    let place = format!("127.0.0.1:{}", server.port());
    for (how, names) in [("one", ["a.txt", "large"]), ("many", ["a.txt", "README"])] {
        let Some(mut client) = python::script("plain_client.py") else {
            return;
        };
        let output = run(&sandbox, client.args([how, &place, how]).args(names), b"");
        assert!(output.status.success());
        for name in names {
            let content = std::fs::read(sandbox.path("served").join(name)).unwrap();
            assert!(
                sandbox.read(&format!("{how}{name}")) == content,
                "{how} {name}"
            );
        }
    }
}

#[test]
fn one_port_answers_everyone() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &["--http", "--open"]);
    let ask = |request: &str| {
        let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        client.set_read_timeout(Some(READ_TIME_MAX)).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    let host = format!("Host: 127.0.0.1:{}\r\nConnection: close", server.port());
    let http = ask(&format!("GET /README HTTP/1.1\r\n{host}\r\n\r\n"));
    assert!(http.starts_with("HTTP/1.1 200 OK\r\n"), "{http}");
    assert!(http.ends_with("\r\n\r\nread me"), "{http}");
    assert_eq!(ask("README\n\n"), "read me");
    assert_eq!(ask("GET /README\n\n"), "", "no file is called so");
    let ended = sandbox.run(&["get", &server.at("README"), "-o", "-"]);
    assert_eq!(ended.code(0).stdout, b"read me");
}

/// What reads along must not take what has come for the whole file.
#[test]
fn a_killed_server_leaves_a_reset_and_no_end() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &["--rate-limit", "4M"]);
    let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    client.set_read_timeout(Some(READ_TIME_MAX)).unwrap();
    client.write_all(b"large\n").unwrap();
    client.read_exact(&mut [0; 50_000]).unwrap();
    server.running.signal(Signal::KILL);
    let mut rest = Vec::new();
    let error = client.read_to_end(&mut rest).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(rest.len() + 50_000 < large().len());
}

/// A person connects first and thinks then.
#[test]
fn who_connects_may_take_their_time_to_type() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &["--greeting-timeout", "10ms"]);
    let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    // It is still there long after others would have been sent away.
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    client.set_read_timeout(Some(READ_TIME_MAX)).unwrap();
    client.write_all(b"README\n\n").unwrap();
    let mut content = String::new();
    client.read_to_string(&mut content).unwrap();
    assert_eq!(content, "read me");
}

/// A URL that is sent as a name, or a query where the path belongs: refused, and logged without the
/// key.
#[test]
fn a_key_that_is_sent_as_a_name_is_not_logged() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox, &["--http"]);
    let (key, token) = (server.key().to_owned(), server.token().to_owned());
    let host = format!("Host: 127.0.0.1:{}\r\nConnection: close", server.port());
    for sent in [
        format!("http://127.0.0.1/?key={token}\n\n"),
        format!("{}\n\n", server.address),
        format!("GET /?key={token}\n\n"),
        format!("GET /%3Fkey={token} HTTP/1.1\r\n{host}\r\n\r\n"),
    ] {
        let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        client.set_read_timeout(Some(READ_TIME_MAX)).unwrap();
        client.write_all(sent.as_bytes()).unwrap();
        // It is refused in the way of its protocol.
        let _ = client.read_to_end(&mut Vec::new());
    }
    let ended = server.stop();
    assert!(!ended.stderr.contains(&key) && !ended.stderr.contains(&token));
    let masked = ended.stderr.matches("key=KEY").count();
    assert_eq!(masked, 3, "{}", ended.stderr);
}
