//! Browsers, `curl` and everything else that speaks HTTP, at the server's one port.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

use crate::sandbox::{Sandbox, Server, wait_until};

/// Against a hang; nothing here needs it.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// An answer without TLS: its head and its body.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Sends `bytes` as they are, and reads to the end.
fn exchange(server: &Server<'_>, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(READ_TIME_MAX)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// Asks for `path` without TLS, with further header lines.
fn get(server: &Server<'_>, path: &str, lines: &[&str]) -> Answer {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for line in lines {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let answer = exchange(server, request.as_bytes());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("{}", answer.escape_ascii()));
    Answer {
        head: String::from_utf8(answer[..end].to_vec()).unwrap(),
        body: answer[end + 4..].to_vec(),
    }
}

/// Runs curl; `None`, with a notice, where there is none.
fn curl(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("curl")
        .args(["-sSk", "--max-time", "60"])
        .args(arguments)
        .output();
    if output.is_err() {
        assert!(env::var_os("CI").is_none(), "curl is missing");
        let _ = writeln!(io::stderr(), "SKIPPED: curl is missing");
    }
    output.ok()
}

#[test]
fn curl_gets_a_file_in_every_way() {
    let sandbox = Sandbox::new();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    sandbox.serve_file("dir/a b.bin", &content);
    let server = sandbox.serve(&["--http"]);
    let (token, port) = (server.token(), server.port());
    for scheme in ["http", "https"] {
        for version in ["--http1.1", "--http2"] {
            let place = format!("{scheme}://127.0.0.1:{port}/dir/a%20b.bin");
            let (url, bearer) = (
                format!("{place}?key={token}"),
                format!("Authorization: Bearer {token}"),
            );
            let ways: [&[&str]; 3] = [
                &[&url],
                &["-H", &bearer, &place],
                &["-u", &format!("anyone:{token}"), &place],
            ];
            for way in ways {
                let Some(output) = curl(&[&[version], way].concat()) else {
                    return;
                };
                assert!(output.status.success(), "{version} {way:?}: {output:?}");
                assert!(output.stdout == content, "{version} {way:?}");
            }
            let head = curl(&[version, "-I", "-H", &bearer, &place]).unwrap();
            let head = String::from_utf8(head.stdout).unwrap().to_lowercase();
            assert!(head.contains("content-length: 1200000\r\n"), "{head}");
            let none = curl(&[version, "-w", "%{http_code}", "-o", "/dev/null", &place]).unwrap();
            assert_eq!(none.stdout, b"401", "{place}");
        }
    }
    server.stop().code(0).says("GET /dir/a%20b.bin: 200");
}

#[test]
fn a_key_in_the_url_becomes_a_cookie() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a");
    let server = sandbox.serve(&["--http"]);
    let key = format!("key={}", server.token());
    let html = "Accept: text/html,*/*;q=0.8";
    for (path, lines, location) in [
        (format!("/?{key}"), &[][..], "./"),
        (format!("/?{key}&sort=size"), &[html], "./?sort=size"),
        (format!("/a.txt?{key}"), &[html], "./a.txt"),
    ] {
        let answer = get(&server, &path, lines);
        assert_eq!(answer.status(), 303, "{}", answer.head);
        assert_eq!(answer.field("location"), Some(location));
        assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
        let cookie = answer.field("set-cookie").unwrap();
        for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!answer.head.contains(server.token()), "{}", answer.head);
        let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
        assert_eq!(get(&server, "/a.txt", &[&cookie]).body, b"content of a");
        let page = get(&server, "/", &[&cookie]);
        let page = String::from_utf8(page.body).unwrap();
        assert!(page.contains("a.txt") && page.contains("packhorse get ph://"));
        assert!(!page.contains(server.token()), "{page}");
        assert!(!page.contains(server.key()), "{page}");
    }
    for (path, line) in [
        ("/a.txt", "Cookie: packhorse=x"),
        ("/a.txt?key=wrong", "X: y"),
        ("/a.txt", "Authorization: Bearer wrong"),
    ] {
        let answer = get(&server, path, &[line]);
        assert_eq!(answer.status(), 401, "{path} {line}");
        assert!(answer.field("www-authenticate").is_some());
    }
    server.stop().code(0).says(": 401, ");
}

#[test]
fn without_the_flag_clear_text_learns_where_to_go() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a");
    let server = sandbox.serve(&[]);
    let path = format!("/a.txt?key={}", server.token());
    let answer = get(&server, &path, &[]);
    assert_eq!(answer.status(), 400);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("https://localhost:80/a.txt"), "{text}");
    assert!(!text.contains(server.token()), "{text}");
    server.stop().code(0);
}

#[test]
fn an_open_server_answers_to_this_machine_s_names_only() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a");
    let server = sandbox.serve(&["--open", "--http"]);
    assert!(!server.web_url.contains('?'), "{}", server.web_url);
    for (host, status) in [
        ("localhost", "200"),
        ("127.0.0.1", "200"),
        ("[::1]:80", "200"),
        ("evil.example", "421"),
        ("127.0.0.1.evil.example", "421"),
        ("localhost:x", "400"),
        ("a\r\nHost: b", "400"),
    ] {
        let request = format!("GET /a.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = exchange(&server, request.as_bytes());
        let found = std::str::from_utf8(&answer[9..12]).unwrap();
        assert_eq!(found, status, "{host}");
    }
    server.stop().code(0);
}

/// Strangers who never finish what they begin, many times over.
#[test]
fn half_handshakes_and_half_headers_disturb_nobody() {
    /// A record that announces a ClientHello of 512 bytes, and its first two bytes.
    const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00";
    const HALF_HEADER: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ";
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a");
    let server = sandbox.serve(&["--http", "--max-unproven", "300"]);
    let strangers: Vec<_> = (0..700)
        .map(|number| {
            let mut stranger = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
            let half = if number < 500 {
                HALF_HELLO
            } else {
                HALF_HEADER
            };
            // It may be sent away already.
            let _ = stranger.write_all(half);
            stranger
        })
        .collect();
    let key = format!("Authorization: Bearer {}", server.token());
    for _ in 0..20 {
        assert_eq!(get(&server, "/a.txt", &[&key]).body, b"content of a");
    }
    sandbox.run(&["get", &server.at("a.txt")]).code(0);
    drop(strangers);
    server.stop().code(0);
}

#[test]
fn once_ends_after_a_whole_file() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a");
    let mut server = sandbox.serve(&["--http", "--once"]);
    let key = format!("Authorization: Bearer {}", server.token());
    for (path, line) in [
        ("/", "X: y"),
        ("/a.txt", "Range: bytes=0-1"),
        ("/b", "X: y"),
    ] {
        get(&server, path, &[&key, line]);
        assert!(server.running.is_running(), "{path}");
    }
    assert_eq!(get(&server, "/a.txt", &[&key]).body, b"content of a");
    server.running.wait().code(0);
}

/// Behind the file comes an end in TLS and in HTTP/2, which curl does not wait for.
#[test]
fn once_ends_after_a_whole_file_through_tls() {
    for version in ["--http1.1", "--http2"] {
        let sandbox = Sandbox::new();
        sandbox.serve_file("a.txt", "content of a");
        let server = sandbox.serve(&["--open", "--once"]);
        let url = format!("https://127.0.0.1:{}/a.txt", server.port());
        let Some(output) = curl(&[version, &url]) else {
            return;
        };
        assert_eq!(output.stdout, b"content of a", "{version}");
        server.running.wait().code(0);
    }
}

/// What a client has not read when it leaves was sent to its end, and never came to anyone.
#[test]
fn once_does_not_end_with_what_was_sent_and_not_taken() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a");
    let mut server = sandbox.serve(&["--http", "--plain", "--open", "--once"]);
    for (request, answered, left) in [
        (
            "GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /a.txt: 200",
            "was lost",
        ),
        ("a.txt\n\n", "has /a.txt:", "was lost"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let peer = stream.local_addr().unwrap();
        server
            .running
            .wait_for_stderr(&format!("{peer} {answered}"));
        drop(stream);
        server.running.wait_for_stderr(&format!("{peer} {left}"));
        assert!(server.running.is_running(), "{request:?}");
    }
    assert_eq!(get(&server, "/a.txt", &[]).body, b"content of a");
    server.running.wait().code(0);
}

/// The same where more than the end of the stream comes behind it. Who gets the rest has it all.
#[test]
fn once_through_tls_ends_with_what_was_taken() {
    let content: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    for version in ["--http1.1", "--http2"] {
        let sandbox = Sandbox::new();
        sandbox.serve_file("a.bin", &content);
        let mut server = sandbox.serve(&["--open", "--once"]);
        let url = format!("https://127.0.0.1:{}/a.bin", server.port());
        let part = sandbox.path("here/a.bin");
        let name = part.to_str().unwrap();
        let slow = Command::new("curl")
            .args(["-sk", "--limit-rate", "1k", "-o", name, version, &url])
            .spawn();
        let Ok(mut slow) = slow else {
            assert!(env::var_os("CI").is_none(), "curl is missing");
            return;
        };
        server.running.wait_for_stderr("GET /a.bin: 200");
        // From its first bytes on it reads far less than there is.
        wait_until(|| fs::metadata(&part).is_ok_and(|part| part.len() > 0));
        slow.kill().unwrap();
        slow.wait().unwrap();
        server.running.wait_for_stderr("was lost");
        assert!(server.running.is_running(), "{version}");
        fs::write(&part, &content[..123_456]).unwrap();
        assert!(curl(&[version, "-C", "-", "-o", name, &url]).is_some());
        assert!(fs::read(&part).unwrap() == content, "{version}");
        server.running.wait().code(0);
    }
}

/// Whatever speaks HTTP gets an answer in it, also where names are served to anyone.
#[test]
fn odd_requests_are_no_names() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a");
    for flags in [&["--open", "--plain", "--http"][..], &["--open", "--plain"]] {
        let server = sandbox.serve(flags);
        let odd = "get /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = exchange(&server, odd.as_bytes());
        let status = if flags.contains(&"--http") { 405 } else { 400 };
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
        let url = format!("http://127.0.0.1:{}/a.txt", server.port());
        let Some(output) = curl(&["--http2-prior-knowledge", "-w", "%{http_code}", &url]) else {
            return;
        };
        let expected = match flags.contains(&"--http") {
            true => "content of a200".to_owned(),
            false => {
                format!("This server speaks TLS here: use {url}\n400").replace("http:", "https:")
            }
        };
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert_eq!(exchange(&server, b"a.txt\n\n"), b"content of a");
        server.stop().code(0);
    }
}

/// A path is three times as long when its bytes are escaped, and takes more than one read.
#[test]
fn a_long_path_is_found_and_a_longer_one_is_answered() {
    let sandbox = Sandbox::new();
    let directories = ["\u{9a6c}".repeat(80).as_str(); 14].join("/");
    sandbox.serve_file(format!("{directories}/a.txt"), "content of a");
    let server = sandbox.serve(&["--open", "--http"]);
    let escaped = directories.replace('\u{9a6c}', "%E9%A9%AC");
    assert!(escaped.len() > 10_000);
    let found = get(&server, &format!("/{escaped}/a.txt"), &[]);
    assert_eq!((found.status(), &*found.body), (200, &b"content of a"[..]));
    let unknown = get(&server, &format!("/{}", "a/".repeat(6000)), &[]);
    assert_eq!(unknown.status(), 400);
    server.stop().code(0);
}

#[test]
fn a_folder_is_resumed_by_curl() {
    let sandbox = Sandbox::new();
    for number in 0..50 {
        sandbox.serve_file(format!("dir/{number}"), vec![number; 10_000]);
    }
    let server = sandbox.serve(&[]);
    let (port, user) = (server.port(), format!(":{}", server.token()));
    let url = format!("https://127.0.0.1:{port}/dir/?archive=tar");
    let Some(whole) = curl(&["-u", &user, &url]) else {
        return;
    };
    let head = curl(&["-u", &user, "-I", &url]).unwrap();
    let head = String::from_utf8(head.stdout).unwrap();
    let version = head.split("etag: \"").nth(1).unwrap();
    let version = version.split('"').next().unwrap();
    let part = sandbox.path("here/dir.tar");
    fs::write(&part, &whole.stdout[..123_456]).unwrap();
    let pinned = format!("{url}&at={version}");
    let name = part.to_str().unwrap();
    let resume = ["--fail", "-u", &user, "-C", "-", "-o", name, &pinned];
    assert!(curl(&resume).unwrap().status.success());
    assert!(fs::read(&part).unwrap() == whole.stdout);
    sandbox.serve_file("dir/7", "another");
    fs::write(&part, &whole.stdout[..123_456]).unwrap();
    let refused = curl(&resume).unwrap();
    assert_eq!(refused.status.code(), Some(22), "{refused:?}");
    assert_eq!(fs::read(&part).unwrap().len(), 123_456, "nothing was mixed");
    server.stop().code(0);
}

#[test]
fn wget_goes_on_where_it_stopped() {
    let sandbox = Sandbox::new();
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    sandbox.serve_file("a.bin", &content);
    let server = sandbox.serve(&[]);
    let url = format!("https://127.0.0.1:{}/a.bin", server.port());
    let url = format!("{url}?key={}", server.token());
    let target = sandbox.path("here/a.bin");
    for there in [0, 123_456] {
        fs::write(&target, &content[..there]).unwrap();
        let output = Command::new("wget")
            .args(["-q", "--tries=1", "--timeout=60", "--no-check-certificate"])
            .args(["-c", "-O", target.to_str().unwrap(), &url])
            .output();
        let Ok(output) = output else {
            assert!(env::var_os("CI").is_none(), "wget is missing");
            let _ = writeln!(io::stderr(), "SKIPPED: wget is missing");
            return;
        };
        assert!(output.status.success(), "{output:?}");
        assert!(fs::read(&target).unwrap() == content);
    }
    server.stop().code(0).says(": 206, ");
}

#[test]
fn browsers_see_the_certificate_that_was_given() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-days", "2", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(sandbox.path("here"))
        .output();
    if made.is_err() {
        assert!(env::var_os("CI").is_none(), "openssl is missing");
        let _ = writeln!(io::stderr(), "SKIPPED: openssl is missing");
        return;
    }
    let server = sandbox.serve(&["--open", "--cert", "cert.pem", "--cert-key", "key.pem"]);
    let certificate = sandbox.path("here/cert.pem");
    let url = format!("https://localhost:{}/a.txt", server.port());
    let output = Command::new("curl")
        .args([
            "-sS",
            "--max-time",
            "60",
            "--cacert",
            certificate.to_str().unwrap(),
            &url,
        ])
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"content of a", "{output:?}");
    // A native client knows this server by its own identity all the same.
    sandbox.run(&["get", &server.at("a.txt")]).code(0);
    server.stop().code(0);
    for (flags, says) in [
        (&["--cert", "cert.pem"][..], "--cert-key"),
        (
            &["--cert", "key.pem", "--cert-key", "key.pem"],
            "no certificate",
        ),
        (&["--cert", "none.pem", "--cert-key", "key.pem"], "none.pem"),
    ] {
        sandbox
            .run(&[&["serve", "--listen", "127.0.0.1:0"], flags].concat())
            .code(2)
            .says(says);
    }
}
