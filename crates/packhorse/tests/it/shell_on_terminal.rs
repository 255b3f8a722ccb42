//! `packhorse shell` as a person types in it: `tmux` is the terminal.

use crate::sandbox::Sandbox;
use crate::terminal::Terminal;

/// Starts a shell, whose end will show as `code=`.
fn start_shell(terminal: &Terminal, arguments: &str) {
    let command = env!("CARGO_BIN_EXE_packhorse");
    let line = format!("clear; {command} shell {arguments}; echo code=$?");
    terminal.send(&line, "Enter");
    terminal.wait_for("packhorse:/>");
}

#[test]
fn the_shell_completes_names_and_remembers_lines() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("a file with spaces.txt", "content");
    sandbox.serve_file("dir/inner.txt", "inner\n");
    let server = sandbox.serve(&["--open"]);
    let Some(terminal) = Terminal::open(&sandbox) else {
        return;
    };
    start_shell(&terminal, &format!("{} --prefix new", server.address));
    terminal.send("a", "Tab");
    terminal.wait_for("a\\ file\\ with\\ spaces.txt");
    terminal.send("", "Enter");
    terminal.wait_for("wrote newa file with spaces.txt, 7 bytes");
    terminal.send("cat d", "Tab");
    terminal.wait_for("cat dir/");
    terminal.send("i", "Tab");
    terminal.wait_for("cat dir/inner.txt");
    terminal.send("", "Enter");
    terminal.wait_for("\ninner\n");
    terminal.send("cd dir", "Enter");
    terminal.wait_for("packhorse:/dir>");
    terminal.send("", "Up");
    terminal.send("", "Up");
    terminal.wait_for("packhorse:/dir> cat dir/inner.txt");
    terminal.send("", "C-c");
    // What comes along with a Ctrl-C is given up with the line.
    terminal.wait_for("cat dir/inner.txt\npackhorse:/dir>");
    terminal.send("", "Enter");
    terminal.wait_for("code=0");
}

#[test]
fn names_of_every_kind_are_completed() {
    let sandbox = Sandbox::new();
    for (name, content) in [
        ("a b.txt", "spaces"),
        ("it's.txt", "apostrophe\n"),
        ("say \"hi\".txt", "quotes\n"),
        ("照片/海边 一.txt", "characters\n"),
        ("照片/海边 二.txt", "others\n"),
        ("back\\slash", "backslash\n"),
    ] {
        sandbox.serve_file(name, content);
    }
    sandbox.serve_file(b"bytes-\xff\x1b", "bytes\n");
    let server = sandbox.serve(&["--open"]);
    let Some(terminal) = Terminal::open(&sandbox) else {
        return;
    };
    start_shell(&terminal, &server.address);
    for (typed, completed, content) in [
        ("cat a", "cat a\\ b.txt", "spaces"),
        ("cat \"a", "cat a\\ b.txt", "spaces"),
        ("cat 'a b", "cat a\\ b.txt", "spaces"),
        ("cat it", "cat it\\'s.txt", "apostrophe"),
        ("cat sa", "cat say\\ \\\"hi\\\".txt", "quotes"),
        ("cat bac", "cat back\\\\slash", "backslash"),
        ("cat by", "cat bytes-\\xff\\u{1b}", "bytes"),
    ] {
        terminal.send(typed, "Tab");
        terminal.wait_for(&format!("> {completed}"));
        terminal.send("", "Enter");
        // What has no line end of its own gets one, so that the prompt does not hide it.
        terminal.wait_for(&format!("> {completed}\n{content}\npackhorse:/>"));
        terminal.send("", "C-l");
        terminal.wait_until(|screen| screen.trim_end() == "packhorse:/>");
    }
    terminal.send("cat 照", "Tab");
    terminal.wait_for("cat 照片/");
    terminal.send("海", "Tab");
    terminal.wait_for("cat 照片/海边\\");
    terminal.send("", "Tab");
    // Both are shown, and the line stays.
    terminal.wait_until(|screen| screen.contains("一.txt") && screen.contains("二.txt"));
    terminal.send("二", "Tab");
    terminal.wait_for("cat 照片/海边\\ 二.txt");
    terminal.send("", "Enter");
    terminal.wait_for("\nothers\n");
    terminal.send("", "C-d");
    terminal.wait_for("code=0");
}

#[test]
fn ctrl_c_stops_the_transfer_and_not_the_shell() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![5; 400 << 20]);
    sandbox.serve_file("small", "small\n");
    let server = sandbox.serve(&["--open", "--rate-limit", "2M"]);
    let Some(terminal) = Terminal::open(&sandbox) else {
        return;
    };
    start_shell(&terminal, &server.address);
    for command in ["large", "get large"] {
        terminal.send(command, "Enter");
        terminal.wait_for("of 1 files");
        terminal.send("", "C-c");
        let screen = terminal.wait_for("ask for it again to fetch the rest\npackhorse:/>");
        assert!(!screen.contains("of 1 files"), "{screen}");
        terminal.send("", "C-l");
        terminal.wait_until(|screen| screen.trim_end() == "packhorse:/>");
    }
    // At the prompt it gives the line up.
    terminal.send("half a line", "C-c");
    terminal.wait_for("> half a line\npackhorse:/>");
    terminal.send("cat small", "Enter");
    terminal.wait_for("> half a line\npackhorse:/> cat small\nsmall\npackhorse:/>");
    terminal.send("", "Enter");
    terminal.wait_for("code=0");
}

#[test]
fn what_is_typed_too_early_waits_for_its_prompt() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![5; 12 << 20]);
    let server = sandbox.serve(&["--open", "--rate-limit", "4M"]);
    let Some(terminal) = Terminal::open(&sandbox) else {
        return;
    };
    start_shell(&terminal, &server.address);
    terminal.send("large", "Enter");
    terminal.wait_for("of 1 files");
    // All at once, as when it is pasted; the end of the input as well.
    let lines = sandbox.path("lines");
    std::fs::write(&lines, "pwd\rls\rpwd\r\x04").unwrap();
    terminal.tmux(&["load-buffer", lines.to_str().unwrap()]);
    terminal.tmux(&["paste-buffer", "-r"]);
    let screen = terminal.wait_for("code=0");
    let expected = "packhorse:/> large\nwrote large, 12582912 bytes\npackhorse:/> pwd\n/\n\
                    packhorse:/> ls\nlarge\npackhorse:/> pwd\n/\npackhorse:/>\ncode=0\n$";
    let (_, behind_welcome) = screen.split_once("to end.\n").unwrap();
    assert_eq!(behind_welcome.trim_end(), expected, "{screen}");
    // And the terminal is as it was.
    terminal.send("echo still | tr a-z A-Z", "Enter");
    terminal.wait_for("$ echo still | tr a-z A-Z\nSTILL\n");
}

#[test]
fn a_line_survives_resizing_and_is_remembered() {
    let sandbox = Sandbox::new();
    let name = "a rather long name of a file, with spaces in it, longer than a narrow line.txt";
    sandbox.serve_file(name, "content\n");
    let server = sandbox.serve(&["--open"]);
    let Some(terminal) = Terminal::open(&sandbox) else {
        return;
    };
    start_shell(&terminal, &server.address);
    terminal.send("cat a", "Tab");
    let shown = |screen: &str| screen.replace([' ', '\n'], "").contains("narrow\\line.txt");
    terminal.wait_until(shown);
    for columns in ["40", "200", "80"] {
        terminal.tmux(&["resize-window", "-x", columns, "-y", "24"]);
        terminal.wait_until(shown);
    }
    terminal.send("", "Enter");
    terminal.wait_for("\ncontent\n");
    terminal.send("", "Enter");
    terminal.wait_for("code=0");
    // Another shell remembers it.
    start_shell(&terminal, &server.address);
    terminal.send("", "Up");
    terminal.wait_until(shown);
    terminal.send("", "Enter");
    terminal.wait_for("\ncontent\n");
    terminal.send("", "C-d");
    terminal.wait_for("code=0");
}
