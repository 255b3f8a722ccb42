//! What a person sees on a terminal of 80 columns: `tmux` is the terminal.

use std::env;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

const TIME_MAX: Duration = Duration::from_secs(60);

/// A terminal with a shell of its own tmux server, which ends with it.
pub(crate) struct Terminal {
    socket: String,
}

impl Terminal {
    /// `None` where there is no tmux; an error there if everything has to be checked.
    pub(crate) fn open(sandbox: &Sandbox) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(env::var_os("CI").is_none(), "tmux is missing");
            eprintln!("SKIPPED: tmux is missing");
            return None;
        }
        let socket = sandbox.path("tmux").to_str().unwrap().to_owned();
        let terminal = Self { socket };
        let state = format!("PACKHORSE_STATE={}", sandbox.path("state").display());
        let here = sandbox.path("here");
        terminal.tmux(
            &[
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                "80",
                "-y",
                "24",
                "-c",
            ]
            .into_iter()
            .chain([here.to_str().unwrap(), "-e", &state, "sh"])
            .collect::<Vec<_>>(),
        );
        // What the prompt looks like is the shell's affair.
        terminal.send("PS1='$ '; clear", "Enter");
        terminal.wait_for("$");
        Some(terminal)
    }

    pub(crate) fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        let output = command
            .arg("-S")
            .arg(&self.socket)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types `text` and then presses `key`.
    pub(crate) fn send(&self, text: &str, key: &str) {
        if !text.is_empty() {
            self.tmux(&["send-keys", "-l", text]);
        }
        self.tmux(&["send-keys", key]);
    }

    /// Waits until the screen shows `text`. Returns the screen.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(|screen| screen.contains(text))
    }

    /// Waits until the screen is as it should be. Returns the screen.
    #[track_caller]
    pub(crate) fn wait_until(&self, is_right: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if is_right(&screen) {
                return screen;
            }
            assert!(start.elapsed() < TIME_MAX, "it stays like this:\n{screen}");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .output();
    }
}

#[test]
fn a_person_is_asked_and_sees_how_far_it_is() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![5; 12 << 20]);
    let server = sandbox.serve(&["--open", "--rate-limit", "4M"]);
    let Some(terminal) = Terminal::open(&sandbox) else {
        return;
    };
    let get = format!(
        "{} get {}",
        env!("CARGO_BIN_EXE_packhorse"),
        server.bare("large")
    );
    terminal.send(&get, "Enter");
    terminal.wait_for("[yes/no]");
    terminal.send("no", "Enter");
    terminal.wait_for("the server was not accepted");
    terminal.send("clear", "Enter");
    terminal.send(&format!("{get}; echo code=$?"), "Enter");
    terminal.wait_for("[yes/no]");
    terminal.send("yes", "Enter");
    let screen = terminal.wait_for(" left ");
    assert!(
        screen.contains("of 12.6 MB") && screen.contains("0 of 1 files"),
        "{screen}"
    );
    let screen = terminal.wait_for("code=0");
    assert!(screen.contains("fetched 1 file, 12.6 MB in"), "{screen}");
    assert!(
        !screen.contains(" left "),
        "the progress line is still there:\n{screen}"
    );
}

#[test]
fn the_lines_fit_whatever_the_terminal_becomes() {
    let sandbox = Sandbox::new();
    let name = "照片二零二四年夏天海边很长的名字的归档文件备份第一卷.tar.gz";
    sandbox.serve_file(name, vec![5; 40 << 20]);
    let server = sandbox.serve(&["--rate-limit", "1M"]);
    let Some(terminal) = Terminal::open(&sandbox) else {
        return;
    };
    let get = format!("{} get {}", env!("CARGO_BIN_EXE_packhorse"), server.address);
    terminal.send(&format!("clear; echo above; {get}; echo code=$?"), "Enter");
    for (columns, rows, named) in [
        ("30", "24", Some("…")),
        ("200", "24", Some(name)),
        ("40", "4", None),
        ("80", "24", Some(name)),
    ] {
        terminal.tmux(&["resize-window", "-x", columns, "-y", rows]);
        terminal.wait_until(|screen| {
            let count = |text: &str| screen.matches(text).count();
            let lines = screen.trim_end().lines().rev();
            let pace = lines.clone().nth(usize::from(named.is_some()));
            pace.is_some_and(|line| line.contains('%') || line.contains(" MB"))
                && named.is_none_or(|named| count(named) == 1 && count("of 1 files") == 1)
                && (named.is_some() || count("of 1 files") == 0)
        });
    }
    terminal.send("", "C-c");
    let screen = terminal.wait_for("code=130");
    assert!(screen.contains("interrupted; the same"), "{screen}");
    assert!(!screen.contains("of 1 files"), "{screen}");
}

#[test]
fn a_qr_code_is_black_on_white_where_it_has_room() {
    let sandbox = Sandbox::new();
    let Some(terminal) = Terminal::open(&sandbox) else {
        return;
    };
    let serve = format!(
        "{} serve --qr --listen 127.0.0.1:0; echo code=$?",
        env!("CARGO_BIN_EXE_packhorse")
    );
    for (variable, is_coloured) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        terminal.tmux(&["resize-window", "-x", "80", "-y", "60"]);
        terminal.send(&format!("clear; {variable} {serve}"), "Enter");
        // Where there is no colour, the white is drawn.
        let corner = if is_coloured {
            "\n    █▀▀▀▀▀█ "
        } else {
            "\n████ ▄▄▄▄▄ █"
        };
        terminal.wait_until(|screen| screen.contains(corner) && screen.contains("0 B sent"));
        let escapes = terminal.tmux(&["capture-pane", "-p", "-e"]);
        assert_eq!(
            escapes.contains("\x1b[38;5;16m"),
            is_coloured,
            "{escapes:?}"
        );
        assert_eq!(
            escapes.contains("\x1b[48;5;231m"),
            is_coloured,
            "{escapes:?}"
        );
        terminal.send("", "C-c");
        terminal.wait_for("code=0");
    }
    for (locale, sentence) in [
        ("C.UTF-8", "theQRcodeneeds41columns,andthisterminalhas40;"),
        ("zh_CN.UTF-8", "二维码需要41列，而这个终端只有40列；"),
    ] {
        terminal.tmux(&["resize-window", "-x", "40", "-y", "60"]);
        terminal.send(&format!("clear; LC_ALL={locale} {serve}"), "Enter");
        let screen = terminal.wait_until(|screen| {
            let words: String = screen.split_whitespace().collect();
            words.contains(sentence)
        });
        assert!(!screen.contains('█'), "{screen}");
        terminal.send("", "C-c");
        terminal.wait_for("code=0");
    }
}
