//! What someone is told who has made one of the usual mistakes: what to do about it.

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
