//! What someone is told who has made one of the usual mistakes: what to do about it.

use std::fs;
use std::net::TcpListener;

use crate::sandbox::Sandbox;

/// In English, then in Chinese.
type Hints = [&'static str; 2];

/// Asserts that `arguments` end with `code`, and which hints are given.
#[track_caller]
fn assert_hints(sandbox: &Sandbox, arguments: &[&str], code: i32, hints: Hints) {
    let [english, chinese] = hints;
    sandbox.run(arguments).code(code).says(english);
    sandbox.run_in_chinese(arguments).code(code).says(chinese);
}

#[test]
fn what_is_pasted_in_place_of_an_address() {
    let sandbox = Sandbox::new();
    let secret = "6yttyexotgrhocc2z7oo7sf2wm";
    let url = format!("https://127.0.0.1:7413/?key={secret}");
    for url in [&*url, "http://host/", "https://[::1]:7413/a"] {
        let hints = [
            "that is a URL for browsers and curl; the address is what `packhorse serve` prints \
             above it: ph://KEY@HOST:PORT/",
            "显示在它上方的那一行：ph://KEY@HOST:PORT/",
        ];
        for command in ["get", "ls", "shell"] {
            assert_hints(&sandbox, &[command, url], 2, hints);
        }
    }
    assert!(!sandbox.run(&["get", &url]).stderr.contains(secret));
    for place in ["127.0.0.1:7413", "host:7413/a", "[::1]:7413", "::1:7413"] {
        let hints = [
            "paste all of what `packhorse serve` prints: ph://KEY@HOST:PORT/",
            "请粘贴 `packhorse serve` 显示的完整地址",
        ];
        assert_hints(&sandbox, &["get", place], 2, hints);
    }
}

#[test]
fn ipv6_without_brackets() {
    let sandbox = Sandbox::new();
    let cases: [(&[&str], Hints); 5] = [
        (
            &["get", "ph://::1/"],
            ["in brackets: [::1]\n", "方括号中：[::1]\n"],
        ),
        (
            &["ls", "ph://2001:db8::1:7413/a"],
            [
                "in brackets: [2001:db8::1]:7413\n",
                "方括号中：[2001:db8::1]:7413\n",
            ],
        ),
        (
            &["get", "plain://fe80::1%eth0/a"],
            [
                "in brackets: [fe80::1%eth0]\n",
                "方括号中：[fe80::1%eth0]\n",
            ],
        ),
        (
            &["talk", "2001:db8::1:9000"],
            [
                "in brackets: [2001:db8::1]:9000\n",
                "方括号中：[2001:db8::1]:9000\n",
            ],
        ),
        (
            &["listen", "2001:db8::1:9000"],
            [
                "in brackets: [2001:db8::1]:9000\n",
                "方括号中：[2001:db8::1]:9000\n",
            ],
        ),
    ];
    for (arguments, hints) in cases {
        assert_hints(&sandbox, arguments, 2, hints);
    }
}

#[test]
fn a_file_asked_for_as_a_directory_is_named_so() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&[]);
    let address = format!("{}a/", server.address);
    for command in ["get", "ls"] {
        let ended = sandbox.run(&[command, &address]).code(1);
        ended.says("/a/: it is not a directory");
    }
}

#[test]
fn a_destination_that_is_none() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a", "a");
    let server = sandbox.serve(&[]);
    fs::write(sandbox.path("here/afile"), "").unwrap();
    let cases: [(&str, Hints); 3] = [
        (
            "afile",
            [
                "afile is a file; -o names a directory; --as gives a single file its name\n",
                "afile 是一个文件；-o 指定目录；--as 指定单个文件的名字\n",
            ],
        ),
        (
            "afile/sub",
            [
                "no directory afile/sub: what it lies in is a file",
                "它的上级是一个文件",
            ],
        ),
        (
            "/proc/x",
            [
                "the directory /proc/x cannot be made there; choose another with -o\n",
                "无法在那里创建目录 /proc/x；请用 -o 另选目录\n",
            ],
        ),
    ];
    for (destination, hints) in cases {
        let arguments = ["get", &server.at("a"), "-o", destination];
        assert_hints(&sandbox, &arguments, 6, hints);
    }
}

#[test]
fn serving_what_is_not_there_and_where_somebody_listens() {
    let sandbox = Sandbox::new();
    let here = sandbox.path("here").canonicalize().unwrap();
    let missing = format!("{}/nothere", here.display());
    let ended = sandbox.run(&["serve", "nothere"]).code(1);
    ended.says(&format!("{missing} does not exist; check the spelling\n"));
    let ended = sandbox.run_in_chinese(&["serve", "nothere"]).code(1);
    ended.says(&format!("{missing} 不存在；请检查拼写\n"));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], Hints); 2] = [
        (
            &["serve", "--listen", &place],
            [
                "choose another one, or have one chosen: `packhorse serve --listen :0`\n",
                "或任选空闲端口：`packhorse serve --listen :0`\n",
            ],
        ),
        (
            &["listen", &place],
            [
                "choose another one, or have one chosen: `packhorse listen :0`\n",
                "或任选空闲端口：`packhorse listen :0`\n",
            ],
        ),
    ];
    for (arguments, hints) in cases {
        assert_hints(&sandbox, arguments, 6, hints);
    }
}

#[test]
fn a_server_says_that_another_one_was_expected() {
    let sandbox = Sandbox::new();
    let stranger = Sandbox::new();
    let other = stranger.serve(&[]).address;
    let (key, _) = other.split_once('@').unwrap();
    for (locale, words) in [
        ("C.UTF-8", "was turned away: it expected another identity"),
        ("zh_CN.UTF-8", "它要找的是另一个身份"),
    ] {
        let mut command = sandbox.command(&["serve", "../served", "--listen", "127.0.0.1:0"]);
        let server = sandbox.serve_by(command.env("LC_ALL", locale));
        let (_, place) = server.address.split_once('@').unwrap();
        sandbox.run(&["get", &format!("{key}@{place}")]).code(4);
        server.running.wait_for_stderr(words);
        assert!(!server.running.stderr_so_far().contains("alert"));
    }
}
