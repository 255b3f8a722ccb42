//! Every line that is for programs is as `docs/events.schema.json` has it, and `docs/events.md`
//! tells of the same events and fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;

use crate::kills::half_done;
use crate::python;
use crate::sandbox::{Sandbox, Server, wait_until};

/// Against a hang; nothing here needs it.
const TIME_MAX: Duration = Duration::from_secs(60);

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

/// Checks that `lines` are events of `command`, and that nothing of it is missing there.
#[track_caller]
fn check(command: &str, lines: &[u8]) {
    let Some(mut checker) = python::script("check_events.py") else {
        return;
    };
    checker.arg(docs("events.schema.json")).arg(command);
    let mut child = checker
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading all of it.
    let _ = child.stdin.take().unwrap().write_all(lines);
    let output = child.wait_with_output().unwrap();
    let (said, text) = (
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(lines),
    );
    assert!(output.status.success(), "{said}\nof {text}");
}

/// Serves a file, a link to it, what cannot be served, and a name that is not text.
fn make_tree(sandbox: &Sandbox) {
    sandbox.serve_file("a", "content");
    sandbox.serve_file(b"directory/\xff", "");
    let at = |name: &str| sandbox.path("served").join(name);
    std::os::unix::fs::symlink("a", at("link")).unwrap();
    mkfifoat(CWD, at("fifo"), Mode::from_raw_mode(0o600)).unwrap();
}

#[test]
fn a_get_writes_the_events_of_the_schema() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let text = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let (key, identity, report) = (text("key"), text("identity"), text("report"));
    let keys = ["--key-file", &key, "--identity", &identity];
    let server = sandbox.serve(&keys);
    let mut lines = sandbox
        .run(&["get", &server.address, "--json"])
        .code(0)
        .stdout;
    // What is there is kept, or in the way, or would be replaced.
    fs::write(sandbox.path("here/a"), "mine").unwrap();
    for (flags, code) in [(&["--json"][..], 1), (&["--json", "--dry-run"], 1)] {
        let ended = sandbox.run(&[&["get", &server.address][..], flags].concat());
        lines.extend(ended.code(code).stdout);
    }
    let dry = ["get", &server.at("a"), "-o", "dry", "--dry-run", "--json"];
    lines.extend(sandbox.run(&dry).code(0).stdout);
    let nothing = ["get", &server.at("nothing"), "--json"];
    lines.extend(sandbox.run(&nothing).code(1).stdout);
    server.stop().code(0);

    // A server that is lost on the way.
    let large: Vec<u8> = (0..10_000_000_u32).flat_map(u32::to_le_bytes).collect();
    sandbox.serve_file("large", &large);
    let server = sandbox.serve(&[&keys[..], &["--rate-limit", "1M"]].concat());
    let listen = format!("127.0.0.1:{}", server.port());
    let address = server.at("large");
    let get = ["get", &address, "--retry-for", "1s", "--report", &report];
    let client = sandbox.start(&mut sandbox.command(&get));
    wait_until(|| fs::read_to_string(&report).is_ok_and(|told| told.contains("seconds_left")));
    wait_until(|| half_done(&sandbox.path("here")) >= 3 << 20);
    server.running.signal(Signal::KILL);
    client.wait().code(3);
    lines.extend(fs::read(&report).unwrap());
    drop(server);

    // The next run finishes it, but for the folder, in which someone else has put something.
    let partial = sandbox.path("here/.packhorse-partial");
    let job = fs::read_dir(partial).unwrap().next().unwrap().unwrap();
    fs::create_dir(job.path().join("mine")).unwrap();
    fs::write(job.path().join("mine/file"), "mine").unwrap();
    let server = sandbox.serve(&[&keys[..], &["--listen", &listen]].concat());
    let ended = sandbox.run(&["get", &server.at("large"), "--json"]).code(0);
    lines.extend(ended.stdout);
    assert!(sandbox.read("large") == large);
    check("get", &lines);
}

#[test]
fn an_ls_writes_the_events_of_the_schema() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let ended = sandbox.run(&["ls", "-R", "--json", &server.address]);
    check("ls", &ended.code(0).stdout);
}

#[test]
fn a_bench_writes_the_events_of_the_schema() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![b'x'; 2 << 20]);
    sandbox.serve_file("empty/small", "");
    let server = sandbox.serve(&[]);
    let mut lines = Vec::new();
    for (path, code) in [("", 0), ("empty", 0), ("nothing", 1)] {
        let bench = ["bench", "--json", "--time", "1s", &server.at(path)];
        lines.extend(sandbox.run(&bench).code(code).stdout);
    }
    check("bench", &lines);
}

/// Says `text` to the server as one who knows nothing of Packhorse.
fn dial(server: &Server<'_>, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(TIME_MAX)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// A request for `path` by HTTP, with the key if `token` is one.
fn request(path: &str, token: Option<&str>) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let key = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    format!("{head}{}\r\n", key.unwrap_or_default())
}

#[test]
fn a_server_logs_the_events_of_the_schema() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "content");
    sandbox.serve_file("large", vec![b'x'; 64 << 20]);
    let server = sandbox.serve(&["--log-format", "json", "--http", "--plain"]);
    let log = |event: &str| {
        let event = format!("\"event\":\"{event}\"");
        server.running.wait_for_stderr(&event);
    };
    let read = |mut stream: TcpStream| drop(stream.read_to_end(&mut Vec::new()));
    sandbox.run(&["get", &server.at("a")]).code(0);
    let bench = ["bench", "--time", "1s", &server.at("a")];
    sandbox.run(&bench).code(0);
    // By HTTP, without a key and with one, to the end and not.
    read(dial(&server, &request("/a", None)));
    log("turned_away");
    read(dial(&server, &request("/a", Some(server.token()))));
    log("answered");
    let mut stream = dial(&server, &request("/large", Some(server.token())));
    stream.read_exact(&mut [0; 100]).unwrap();
    drop(stream);
    log("broken_off");
    // In the plain mode.
    let plain = |text: &str| {
        let stream = dial(&server, text);
        stream.shutdown(Shutdown::Write).unwrap();
        stream
    };
    read(plain("a\nnothing\n"));
    log("sent");
    read(plain("../a\n"));
    let mut stream = plain("large\n");
    stream.read_exact(&mut [0; 100]).unwrap();
    drop(stream);
    log("lost");
    // Neither.
    read(plain("\x16\x03\x01\x00\x02xx"));
    let ended = server.stop().code(0);
    check("serve", ended.stderr.as_bytes());
}

/// What stands between backticks.
fn code_words(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The fields of each event of a command, as `docs/events.md` names them in its tables.
fn told(text: &str, command: &str) -> BTreeMap<String, BTreeSet<String>> {
    let heading = format!("\n## `{command}`\n");
    let (_, section) = text.split_once(&heading).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        let event = code_words(cells[1]).pop_first().unwrap();
        (event, code_words(cells[2]))
    })
    .collect()
}

#[test]
fn the_document_names_what_the_schema_has() {
    let text = fs::read_to_string(docs("events.md")).unwrap();
    let schema = fs::read_to_string(docs("events.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    for command in ["get", "ls", "bench", "serve"] {
        let events = schema["definitions"][command]["oneOf"].as_array().unwrap();
        let mut fields = BTreeMap::new();
        for event in events {
            let properties = event["properties"].as_object().unwrap();
            let name = properties["event"]["const"].as_str().unwrap().to_owned();
            // These are told of once for all.
            let of_all = ["event", "path_hex", "time"];
            let own = properties.keys().filter(|key| !of_all.contains(&&***key));
            fields.insert(name, own.cloned().collect::<BTreeSet<_>>());
        }
        assert_eq!(told(&text, command), fields, "{command}");
    }
}
