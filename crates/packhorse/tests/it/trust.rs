//! Servers whose address has no key.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use crate::sandbox::{Ended, Sandbox, Server};

fn get_bare(sandbox: &Sandbox, server: &Server<'_>, flags: &[&str], key: Option<&str>) -> Ended {
    let address = server.bare("a");
    let arguments = [&["get", &address, "-o", "-"], flags].concat();
    let mut command = sandbox.command(&arguments);
    if let Some(key) = key {
        command.env("PACKHORSE_KEY", key);
    }
    sandbox.start(&mut command).wait()
}

/// The fingerprint that a server logs.
fn fingerprint(server: &Server<'_>) -> String {
    server.running.wait_for_stderr("fingerprint ");
    let log = server.running.stderr_so_far();
    let (_, behind) = log.split_once("fingerprint ").unwrap();
    behind.split(',').next().unwrap().to_owned()
}

#[test]
fn an_unknown_server_is_refused_until_it_is_accepted() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&["--open"]);
    let fingerprint = fingerprint(&server);
    get_bare(&sandbox, &server, &[], None)
        .code(4)
        .says(&fingerprint)
        .says("--trust-first-use");
    assert!(!sandbox.path("state/hosts").exists());
    let first = get_bare(&sandbox, &server, &["--trust-first-use"], None).code(0);
    assert!(first.stderr.contains(&fingerprint), "{}", first.stderr);
    assert_eq!(
        fs::metadata(sandbox.path("state/hosts")).unwrap().mode() & 0o777,
        0o600
    );
    let second = get_bare(&sandbox, &server, &[], None).code(0);
    assert_eq!((second.stdout, second.stderr.as_str()), (b"a".to_vec(), ""));
    sandbox.run(&["ls", &server.bare("")]).code(0);
    sandbox.run(&["get", &server.bare("a")]).code(0);
}

#[test]
fn the_right_to_read_comes_from_the_environment() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&["--key-file", sandbox.path("token").to_str().unwrap()]);
    let key = server.key().to_owned();
    let token = fs::read_to_string(sandbox.path("token")).unwrap();
    let first_use = ["--trust-first-use"];
    // What did not succeed is not remembered.
    get_bare(&sandbox, &server, &first_use, None)
        .code(4)
        .says("the key is wrong or missing");
    let first = if token.starts_with('a') { "b" } else { "a" };
    let wrong = format!("{first}{}", &token.trim()[1..]);
    get_bare(&sandbox, &server, &first_use, Some(&wrong)).code(4);
    get_bare(&sandbox, &server, &first_use, Some("nonsense"))
        .code(4)
        .says("PACKHORSE_KEY");
    get_bare(&sandbox, &server, &[], Some(&key))
        .code(4)
        .says("not known here");
    get_bare(&sandbox, &server, &first_use, Some(&key)).code(0);
    get_bare(&sandbox, &server, &[], Some(&key)).code(0);
    get_bare(&sandbox, &server, &[], Some(token.trim())).code(0);
    get_bare(&sandbox, &server, &[], None).code(4);
}

#[test]
fn another_server_at_a_known_place_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&["--open"]);
    let (port, first) = (server.port(), fingerprint(&server));
    let old_address = server.at("a");
    get_bare(&sandbox, &server, &["--trust-first-use"], None).code(0);
    server.stop().code(0);
    let identity = sandbox.path("other.pem");
    let listen = format!("127.0.0.1:{port}");
    let flags = [
        "--open",
        "--identity",
        identity.to_str().unwrap(),
        "--listen",
        &listen,
    ];
    let other = sandbox.serve(&flags);
    let second = fingerprint(&other);
    assert_ne!(first, second);
    for flags in [&[][..], &["--trust-first-use"]] {
        let ended = get_bare(&sandbox, &other, flags, None)
            .code(4)
            .says(&first)
            .says(&second);
        assert!(ended.stdout.is_empty());
        assert!(ended.stderr.contains("state/hosts"), "{}", ended.stderr);
    }
    sandbox
        .run(&["get", &old_address])
        .code(4)
        .says(&first)
        .says(&second);
    sandbox.run(&["shell", &other.bare("")]).code(4);
    // An address that says who it must be needs no memory.
    sandbox.run(&["get", &other.at("a")]).code(0);
}

#[test]
fn a_key_of_another_server_or_with_a_wrong_character_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&[]);
    for at in [2, 20, 27, 30, 40, 52] {
        let mut key = server.key().to_owned().into_bytes();
        key[at] = if key[at] == b'q' { b'y' } else { b'q' };
        let address = server
            .at("a")
            .replace(server.key(), std::str::from_utf8(&key).unwrap());
        let ended = sandbox.run(&["get", &address]).code(4);
        assert!(!sandbox.path("here/a").exists(), "{at}: {}", ended.stderr);
    }
}

#[test]
fn who_a_server_is_is_told_in_the_persons_language() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let hosts = sandbox.path("state/hosts");
    let mut told = String::new();
    let mut tell = |server: &Server<'_>, arguments: &[&str], code| {
        let pin = fingerprint(server);
        let place = format!("127.0.0.1:{}", server.port());
        for locale in ["C.UTF-8", "zh_CN.UTF-8"] {
            let mut command = sandbox.command(arguments);
            let ended = sandbox
                .start(command.env("LC_ALL", locale))
                .wait()
                .code(code);
            let said = ended.stderr.replace(&pin, "PIN").replace(&place, "PLACE");
            told += &said.replace(hosts.to_str().unwrap(), "HOSTS");
            if arguments.contains(&"--trust-first-use") {
                fs::remove_file(&hosts).unwrap();
            }
        }
    };
    let server = sandbox.serve(&["--open"]);
    let (port, addressed, bare) = (server.port(), server.at("a"), server.bare("a"));
    tell(&server, &["get", &bare], 4);
    tell(&server, &["get", "--trust-first-use", "--quiet", &bare], 0);
    let remember = ["get", "--trust-first-use", "--quiet", &bare];
    sandbox.run(&remember).code(0);
    let before = fingerprint(&server);
    server.stop().code(0);
    let identity = sandbox.path("another.pem");
    let listen = format!("127.0.0.1:{port}");
    let flags = [
        "--open",
        "--listen",
        &listen,
        "--identity",
        identity.to_str().unwrap(),
    ];
    let server = sandbox.serve(&flags);
    tell(&server, &["get", &bare], 4);
    tell(&server, &["get", &addressed], 4);
    insta::assert_snapshot!(told.replace(&before, "EARLIER PIN"));
}

#[test]
fn what_is_left_out_and_what_was_done_is_told_in_the_persons_language() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let _socket = UnixListener::bind(sandbox.path("served").join("socket")).unwrap();
    let server = sandbox.serve(&[]);
    let ended = sandbox.run_in_chinese(&["get", &server.address]).code(0);
    let said = ended.stderr.split_once("用时").unwrap().0;
    assert_eq!(
        said,
        "已跳过 socket：是 FIFO、套接字或设备\n已获取 1 个文件，1 B，"
    );
    let ended = sandbox.run(&["get", &server.address]).code(0);
    let said = ended.stderr.split_once(" in ").unwrap().0;
    let why = "it is a FIFO, a socket or a device";
    assert_eq!(said, format!("skipped socket: {why}\nfetched 0 files"));
}
