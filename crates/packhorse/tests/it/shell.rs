//! `packhorse shell` with lines from a pipe.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::sandbox::Sandbox;

fn make_tree(sandbox: &Sandbox) {
    sandbox.serve_file("a.txt", "hello\n");
    sandbox.serve_file("b c.txt", "spaces");
    sandbox.serve_file("d/e.txt", "deep");
    sandbox.serve_file("ls", "not a list");
    sandbox.serve_file(b"strange\x1b\xff", "strange");
}

#[test]
fn a_name_is_fetched_and_the_next_one_asked_for() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let input = b"a.txt\nnothing.txt\nb c.txt\n\na.txt\n";
    let ended = sandbox.run_with_input(&["shell", &server.address, "--prefix", "new"], input);
    let ended = ended
        .code(0)
        .says("nothing.txt: it does not exist on the server");
    assert_eq!(
        ended.text(),
        "wrote newa.txt, 6 bytes\nwrote newb c.txt, 6 bytes\n"
    );
    assert_eq!(sandbox.read("newa.txt"), b"hello\n");
    assert_eq!(sandbox.read("newb c.txt"), b"spaces");
    assert!(!sandbox.path("here/a.txt").exists());
}

#[test]
fn commands_go_about() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let cases: [(&[u8], &str, &str); 12] = [
        (b"ls\n", "a.txt\nb c.txt\nls\nstrange\\u{1b}\\xff\nd/\n", ""),
        (b"pwd\ncd d\npwd\nls\ncd ..\npwd\n", "/\n/d\ne.txt\n/\n", ""),
        (b"cd d\ncat e.txt", "deep", ""),
        (b"cat a.txt\r\n", "hello\n", ""),
        (b"get ls\n", "wrote ls, 10 bytes\n", ""),
        (
            b"get 'b c.txt' d/e.txt\n",
            "wrote b c.txt, 6 bytes\nwrote e.txt, 4 bytes\n",
            "",
        ),
        (
            b"strange\\u{1b}\\xff\n",
            "wrote strange\\u{1b}\\xff, 7 bytes\n",
            "",
        ),
        (b"cd a.txt\n", "", "a.txt: it is not a directory"),
        (b"cd nowhere\n", "", "nowhere: it does not exist"),
        (b"d\n", "", "d: it is a directory; `cd d` enters it"),
        (b"cat\n", "", "cat what?"),
        (b"get 'x\n", "", "a quote is not closed"),
    ];
    for (index, (input, stdout, stderr)) in cases.into_iter().enumerate() {
        let destination = format!("to{index}");
        let arguments = ["shell", &server.address, "-o", &destination];
        let ended = sandbox
            .run_with_input(&arguments, input)
            .code(0)
            .says(stderr);
        assert_eq!(ended.text(), stdout, "{}", input.escape_ascii());
        assert_eq!(
            ended.stderr.is_empty(),
            stderr.is_empty(),
            "{}",
            ended.stderr
        );
    }
    let help = sandbox
        .run_with_input(&["shell", &server.address], b"help\n")
        .code(0);
    assert!(help.text().contains("an empty line"));
}

#[test]
fn a_directory_can_be_fetched_whole_and_the_prefix_is_for_files() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let arguments = ["shell", &server.address, "--prefix", "new"];
    let ended = sandbox.run_with_input(&arguments, b"get d a.txt\n").code(0);
    assert_eq!(
        ended.text(),
        "wrote d/e.txt, 4 bytes\nwrote newa.txt, 6 bytes\n"
    );
}

#[test]
fn what_is_here_already_is_left_as_it_is() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    fs::write(sandbox.path("here/a.txt"), "mine").unwrap();
    let ended = sandbox.run_with_input(&["shell", &server.at("")], b"a.txt\nls\nget ls\nget ls\n");
    let ended = ended.code(0).says("a.txt: it is here already and differs");
    assert!(
        ended
            .text()
            .ends_with("wrote ls, 10 bytes\nkept ls: it is here already, the same\n")
    );
    assert_eq!(sandbox.read("a.txt"), b"mine");
}

#[test]
fn the_address_can_come_first_on_standard_input() {
    let sandbox = Sandbox::new();
    make_tree(&sandbox);
    let server = sandbox.serve(&[]);
    let input = format!("{}\ne.txt\n", server.at("d"));
    let ended = sandbox
        .run_with_input(&["shell", "-"], input.as_bytes())
        .code(0);
    assert_eq!(ended.text(), "wrote e.txt, 4 bytes\n");
}

#[test]
fn the_shell_answers_in_the_persons_language() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a.txt", "content");
    sandbox.serve_file("dir/b", "b");
    let server = sandbox.serve(&[]);
    let lines = b"help\na.txt\na.txt\ndir\ncd a.txt\nget\ncd a b\nls a b\nls 'a\n\n";
    let mut answers = String::new();
    for locale in ["C.UTF-8", "zh_CN.UTF-8"] {
        let mut command = sandbox.command(&["shell", &server.address]);
        let command = command.env("LC_ALL", locale).stdin(Stdio::piped());
        let mut running = sandbox.start(command);
        running.take_stdin().write_all(lines).unwrap();
        let ended = running.wait().code(0);
        answers += &format!("{}---\n{}---\n", ended.text(), ended.stderr);
        fs::remove_file(sandbox.path("here").join("a.txt")).unwrap();
    }
    insta::assert_snapshot!(answers);
}
