//! `get` and `shell` in the plain mode, from our own server and from thirty lines of Python.

use std::fs;
use std::net::TcpListener;

use packhorse_protocol::content::ContentHash;

use crate::python::Scripted;
use crate::sandbox::Sandbox;

/// A server of what the sandbox serves.
fn start(sandbox: &Sandbox, how: &str) -> Option<Scripted> {
    let served = sandbox.path("served");
    Scripted::start("plain_server.py", &[how, served.to_str().unwrap()])
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content of a\n");
    sandbox.serve_file("dir/b c", "content of b");
    sandbox.serve_file("large", large());
    sandbox
}

fn large() -> Vec<u8> {
    (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// The names in a directory of the sandbox.
fn names(sandbox: &Sandbox, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path(directory)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Fetches some files, one of which is missing, from the server at `place`.
fn check_get(sandbox: &Sandbox, place: &str) {
    let address = |name| format!("plain://{place}/{name}");
    let [a, b, missing, large_file] = ["a.txt", "dir/b%20c", "missing", "large"].map(address);
    let ended = sandbox.run(&["get", &a, &missing, &b, &large_file]).code(1);
    for text in [
        "missing: it does not exist on the server",
        "fetched 3 files",
        "1 failed",
        "nothing is verified",
    ] {
        assert!(ended.stderr.contains(text), "{text:?}: {}", ended.stderr);
    }
    assert_eq!(ended.text(), "");
    assert_eq!(names(sandbox, "here"), ["a.txt", "b c", "large"]);
    assert_eq!(sandbox.read("a.txt"), b"content of a\n");
    assert_eq!(sandbox.read("b c"), b"content of b");
    assert!(sandbox.read("large") == large());
}

#[test]
fn files_come_from_our_own_server() {
    let sandbox = sandbox();
    let server = sandbox.serve(&["--plain"]);
    check_get(&sandbox, &format!("127.0.0.1:{}", server.port()));
}

/// The plain mode has no hashes, but its user may have one.
#[test]
fn a_file_gets_its_name_only_with_the_hash_that_is_expected() {
    let sandbox = sandbox();
    let server = sandbox.serve(&["--plain"]);
    let address = format!("plain://127.0.0.1:{}/large", server.port());
    let hash = ContentHash::of(&large()).to_string();
    let wrong = ContentHash::of(b"another").to_string();
    let ended = sandbox.run(&["get", &address, "--expect", &wrong]).code(5);
    let why = format!("its hash is {hash}, not {wrong}");
    assert!(ended.stderr.contains(&why), "{}", ended.stderr);
    assert_eq!(names(&sandbox, "here"), [""; 0]);
    let ended = sandbox.run(&["get", &address, "--expect", &hash]).code(0);
    assert!(!ended.stderr.contains("nothing is verified"));
    assert!(sandbox.read("large") == large());
    sandbox
        .run(&["get", &address, "-o", "-", "--expect", &hash])
        .code(2);
    sandbox
        .run(&["get", &address, &address, "--expect", &hash])
        .code(2);
}

#[test]
fn files_come_from_a_server_that_closes_after_each() {
    let sandbox = sandbox();
    if let Some(server) = start(&sandbox, "one") {
        check_get(&sandbox, &server.place);
    }
}

#[test]
fn files_come_from_a_server_that_stays_open() {
    let sandbox = sandbox();
    if let Some(server) = start(&sandbox, "many") {
        check_get(&sandbox, &server.place);
    }
}

#[test]
fn half_a_file_never_has_its_name() {
    let sandbox = sandbox();
    let Some(server) = start(&sandbox, "cut") else {
        return;
    };
    let address = format!("plain://{}/large", server.place);
    sandbox
        .run(&["get", &address])
        .code(3)
        .says("large: the connection was lost after");
    assert_eq!(names(&sandbox, "here"), [""; 0]);
    sandbox.run(&["get", &address, "-o", "-"]).code(3);
    let ended =
        sandbox.run_with_input(&["shell", &format!("plain://{}", server.place)], b"large\n");
    ended.code(0).says("large: the connection was lost after");
    assert_eq!(names(&sandbox, "here"), [""; 0]);
}

#[test]
fn a_shell_asks_for_one_name_after_the_other() {
    let sandbox = sandbox();
    let server = sandbox.serve(&["--plain"]);
    let own = format!("127.0.0.1:{}", server.port());
    let scripted = ["one", "many"].map(|how| start(&sandbox, how));
    let places = scripted.iter().flatten().map(|server| &server.place);
    for (index, place) in places.chain([&own]).enumerate() {
        let address = format!("plain://{place}");
        let folder = index.to_string();
        let arguments = ["shell", &address, "--prefix", "new", "-o", &folder];
        let input = b"a.txt\nmissing\nls\na.txt\ncat dir/b c\ncat 'dir/b c'\n\nlarge\n";
        let ended = sandbox.run_with_input(&arguments, input).code(0);
        assert_eq!(
            ended.text(),
            "wrote newa.txt, 13 bytes, not verified\ncontent of b"
        );
        for text in [
            "nothing is verified",
            "missing: it does not exist on the server",
            "the plain mode has no lists",
            "a.txt: it exists here already; move it away first",
            "names with spaces need quotes",
        ] {
            assert!(ended.stderr.contains(text), "{text:?}: {}", ended.stderr);
        }
        assert_eq!(names(&sandbox, &format!("here/{folder}")), ["newa.txt"]);
    }
}

#[test]
fn a_file_goes_where_it_is_told_to() {
    let sandbox = sandbox();
    let Some(server) = start(&sandbox, "one") else {
        return;
    };
    let address = format!("plain://{}/a.txt", server.place);
    let get = |flags: &[&str]| sandbox.run(&[&["get", &address], flags].concat());
    let content = b"content of a\n";
    let ended = get(&["-o", "-"]).code(0).says("nothing is verified");
    assert_eq!(ended.stdout, content);
    assert_eq!(get(&["-o", "-", "-q"]).code(0).stderr, "");
    get(&["--as", "b", "-o", "new/folder"]).code(0);
    assert_eq!(sandbox.read("new/folder/b"), content);
    fs::write(sandbox.path("here/a.txt"), "old").unwrap();
    get(&[])
        .code(1)
        .says("a.txt: it exists here already; --overwrite");
    assert_eq!(sandbox.read("a.txt"), b"old");
    get(&["--keep-both"]).code(0);
    assert_eq!(sandbox.read("a.txt"), b"old");
    assert_eq!(sandbox.read("a (1).txt"), content);
    get(&["--overwrite", "--durable"]).code(0);
    assert_eq!(sandbox.read("a.txt"), content);
    let ended = get(&["--as", "c", "--json", "--report", "report"]).code(0);
    let lines = ended.json();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str()).collect();
    assert_eq!(
        events,
        [Some("begin"), Some("fetched"), Some("end"), Some("summary")]
    );
    assert_eq!(lines[1]["path"], "c");
    assert_eq!(lines[1]["bytes"], 13);
    assert!(lines[1].get("blake3").is_none(), "nothing was hashed");
    assert_eq!(sandbox.read("report"), ended.stdout);
    // Where the name is a directory, nothing is replaced.
    fs::create_dir(sandbox.path("here").join("d")).unwrap();
    get(&["--as", "d", "--overwrite"]).code(1);
    assert!(!sandbox.path("here").join(".packhorse-partial").exists());
}

#[test]
fn a_port_where_nobody_listens_is_no_connection() {
    let sandbox = Sandbox::new();
    // Taken and given back, so that it is free for a moment.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (command, path) in [("get", "/a"), ("shell", "")] {
        sandbox
            .run(&[command, &format!("plain://{free}{path}")])
            .code(3)
            .says("refused the connection");
    }
    assert_eq!(names(&sandbox, "here"), [""; 0]);
}

#[test]
fn what_makes_no_sense_in_the_plain_mode_is_usage() {
    let sandbox = Sandbox::new();
    let file = "plain://127.0.0.1:1/a";
    let cases: [(&[&str], &str); 28] = [
        (&["get", file, "--checksum"], "--checksum makes no sense"),
        (&["get", file, "--connections", "3"], "--connections makes"),
        (&["get", file, "--follow-links"], "--follow-links makes"),
        (&["get", file, "--unsafe-links"], "--unsafe-links makes"),
        (&["get", file, "--xattrs"], "--xattrs makes no sense"),
        (&["get", file, "--hard-links"], "--hard-links makes"),
        (&["get", file, "--include", "*"], "--include makes no sense"),
        (&["get", file, "--exclude", "*"], "--exclude makes no sense"),
        (
            &["get", file, "--exclude-from", "f"],
            "--exclude-from makes",
        ),
        (&["get", file, "--retry-for", "1s"], "--retry-for makes"),
        (&["get", file, "--trust-first-use"], "--trust-first-use"),
        (&["get", file, "--dry-run"], "--dry-run makes no sense"),
        (
            &["get", file, "-o", "-", "--as", "b"],
            "--as makes no sense",
        ),
        (&["get", file, "-o", "-", "--durable"], "--durable makes"),
        (&["get", file, "-o", "-", "--json"], "--json makes no sense"),
        (&["get", file, file, "-o", "-"], "one file"),
        (&["get", file, file, "--as", "b"], "a single ADDRESS"),
        (&["get", file, "--as", "a/b"], "no name for a file"),
        (&["get", file, "ph://127.0.0.1:1/"], "need a `get` each"),
        (&["get", "plain://127.0.0.1:1/"], "single files only"),
        (&["get", "plain://127.0.0.1:1/a/"], "--as gives a name"),
        (&["get", "plain://127.0.0.1:1/%zz"], "%25"),
        (&["get", "plain://127.0.0.1:0/a"], "port"),
        (&["get", file, "--silence", "soon"], "a number with a unit"),
        (&["get", "ph://127.0.0.1:1/", "--silence", "1s"], "plain://"),
        (&["shell", file], "packhorse get plain://127.0.0.1:1/a"),
        (
            &["shell", "plain://h", "--trust-first-use"],
            "makes no sense",
        ),
        (&["ls", "plain://127.0.0.1:1/"], "no lists"),
    ];
    for (arguments, message) in cases {
        let ended = sandbox.run(arguments).code(2).says(message);
        assert!(ended.stdout.is_empty(), "{arguments:?}");
    }
}
