//! What the help says, in full: a change of it is a change that users see.

use crate::sandbox::Sandbox;

#[test]
fn help_is_what_it_was() {
    let sandbox = Sandbox::new();
    for command in ["", "serve", "get", "ls", "shell", "listen", "talk", "demo"] {
        let arguments: Vec<_> = [command, "--help"]
            .into_iter()
            .filter(|a| !a.is_empty())
            .collect();
        let ended = sandbox.run(&arguments).code(0);
        assert_eq!(ended.stderr, "");
        let name = if command.is_empty() {
            "packhorse"
        } else {
            command
        };
        insta::assert_snapshot!(name, ended.text());
    }
}

#[test]
fn without_a_command_there_is_help_and_an_error() {
    let ended = Sandbox::new().run(&[]).code(2).says("Usage: packhorse");
    assert!(ended.stdout.is_empty());
}

#[test]
fn the_version_is_the_packages() {
    let ended = Sandbox::new().run(&["--version"]).code(0);
    assert_eq!(
        ended.text(),
        concat!("packhorse ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
