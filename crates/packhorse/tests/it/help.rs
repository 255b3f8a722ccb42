//! What the help says, in full: a change of it is a change that users see.

use crate::sandbox::Sandbox;

const COMMANDS: [&str; 8] = [
    "serve", "get", "ls", "shell", "listen", "talk", "bench", "demo",
];

#[test]
fn help_is_what_it_was() {
    let sandbox = Sandbox::new();
    let own = sandbox.run(&["--help"]).code(0);
    insta::assert_snapshot!("packhorse", own.text());
    let own = sandbox.run_in_chinese(&["--help"]).code(0);
    insta::assert_snapshot!("packhorse-chinese", own.text());
    for command in COMMANDS {
        let ended = sandbox.run(&[command, "--help"]).code(0);
        assert_eq!(ended.stderr, "");
        insta::assert_snapshot!(command, ended.text());
    }
}

#[test]
fn help_is_in_chinese_for_those_who_read_it() {
    let sandbox = Sandbox::new();
    for command in COMMANDS {
        let ended = sandbox.run_in_chinese(&[command, "--help"]).code(0);
        assert_eq!(ended.stderr, "");
        insta::assert_snapshot!(format!("{command}-chinese"), ended.text());
    }
}

#[test]
fn mistakes_are_told_in_the_persons_language() {
    let sandbox = Sandbox::new();
    let cases: [&[&str]; 12] = [
        &["srve"],
        &["get", "--conections"],
        &["get", "--connections", "0", "x"],
        &["get", "--rate-limit", "10X", "x"],
        &["get", "--retry-for", "soon", "x"],
        &["get", "--expect", "abc", "x"],
        &["get", "--overwrite", "--keep-both", "x"],
        &["serve", "--log-format", "xml"],
        &["serve", "--listen", "a b"],
        &["talk"],
        &["get", "http://host/"],
        &["get", "ph://wrong@host:1/"],
    ];
    let mut told = String::new();
    for arguments in cases {
        let english = sandbox.run(arguments);
        let chinese = sandbox.run_in_chinese(arguments);
        assert_eq!(english.code, chinese.code, "{arguments:?}");
        for ended in [english, chinese] {
            told += &format!("$ packhorse {}\n{}\n", arguments.join(" "), ended.stderr);
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn without_a_command_the_first_steps_are_shown() {
    let sandbox = Sandbox::new();
    for (name, ended) in [
        ("alone", sandbox.run(&[])),
        ("alone-chinese", sandbox.run_in_chinese(&[])),
    ] {
        let ended = ended.code(2);
        assert!(ended.stdout.is_empty());
        insta::assert_snapshot!(name, ended.stderr);
    }
}

/// A terminal breaks a longer line, and an example is hard to read then.
#[test]
fn examples_fit_on_a_terminal() {
    let sandbox = Sandbox::new();
    let mut shown = sandbox.run(&[]).code(2).stderr;
    shown += sandbox.run(&["--help"]).code(0).text();
    for command in COMMANDS {
        shown += sandbox.run(&[command, "--help"]).code(0).text();
    }
    let examples: Vec<_> = shown
        .lines()
        .filter(|line| line.contains("packhorse "))
        .collect();
    assert!(examples.len() > 40, "{}", examples.len());
    for line in examples {
        assert!(line.len() <= 80, "{} columns: {line}", line.len());
    }
}

#[test]
fn the_version_is_the_packages() {
    let ended = Sandbox::new().run(&["--version"]).code(0);
    assert_eq!(
        ended.text(),
        concat!("packhorse ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
