//! The picture of a terminal for the README, taken from the real command.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::suite;

const PICTURE: &str = "docs/terminal.svg";

const COLUMNS: usize = 80;
const ROWS: usize = 8;

/// Pixels that a character takes, and the margin.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 16.0;

/// Against a hang.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Takes the picture anew; with `--check` sees that the one that is kept still shows the same words.
pub(crate) fn run(root: &Path, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let is_check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: cargo xtask picture [--check]"),
    };
    let mut build = suite::cargo(root);
    build.args(["build", "--quiet", "--locked", "--package", "packhorse"]);
    let built = build.status().context("cannot run cargo")?;
    ensure!(built.success(), "packhorse does not build");
    let binaries = suite::target(root).join("debug");
    let picture = svg(&take(&binaries)?);
    let kept = root.join(PICTURE);
    if !is_check {
        fs::write(&kept, picture).with_context(|| format!("cannot write {}", kept.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(&kept).unwrap_or_default();
    ensure!(
        words(&text) == words(&picture),
        "{PICTURE} shows something else than the command does now: `cargo xtask picture` takes it \
         anew"
    );
    println!("picture: {PICTURE} is true");
    Ok(ExitCode::SUCCESS)
}

/// What stays the same from one run to the next: everything but amounts and their units.
fn words(picture: &str) -> Vec<String> {
    let changes = |word: &&str| {
        let is_unit = matches!(
            *word,
            "B" | "kB" | "MB" | "GB" | "B/s" | "kB/s" | "MB/s" | "GB/s"
        );
        // How many there are depends on the machine.
        !is_unit
            && !word.starts_with("connection")
            && !word.starts_with(|c: char| c.is_ascii_digit())
    };
    let texts = picture.split(['<', '>']).skip(2).step_by(2);
    let words = texts.flat_map(str::split_whitespace).filter(changes);
    words.map(str::to_owned).collect()
}

/// The lines of a terminal in which something is listed and then fetched.
fn take(binaries: &Path) -> anyhow::Result<Vec<String>> {
    let place = std::env::temp_dir().join(format!("packhorse-picture-{}", std::process::id()));
    let taken = make_tree(&place).and_then(|()| {
        let terminal = Terminal::open(&place, binaries)?;
        terminal.lines()
    });
    let removed = fs::remove_dir_all(&place);
    let lines = taken?;
    removed.with_context(|| format!("cannot remove {}", place.display()))?;
    Ok(lines)
}

fn make_tree(place: &Path) -> anyhow::Result<()> {
    let photos = place.join("photos");
    fs::create_dir_all(&photos)?;
    fs::create_dir_all(place.join("here"))?;
    fs::write(photos.join("notes.txt"), "summer\n")?;
    fs::write(photos.join("film.mp4"), vec![9; 400_000_000])?;
    Ok(())
}

/// A `tmux` of its own, which ends with this.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn open(place: &Path, binaries: &Path) -> anyhow::Result<Self> {
        let terminal = Self {
            socket: place.join("tmux"),
        };
        let (columns, rows) = (COLUMNS.to_string(), ROWS.to_string());
        let here = place.join("here");
        let here = here
            .to_str()
            .context("the temporary directory is not text")?;
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "-c",
            here,
            "sh",
        ])?;
        let setup = format!(
            "PS1='$ '; PATH={}:$PATH; PACKHORSE_STATE={}; LC_ALL=C.UTF-8; export PATH \
             PACKHORSE_STATE LC_ALL",
            binaries.display(),
            place.join("state").display(),
        );
        terminal.type_line(&setup)?;
        let serve = "packhorse serve ../photos --listen 127.0.0.1:0 --rate-limit 40M \
                     > ../address 2> ../log & SERVER=$!";
        terminal.type_line(serve)?;
        let read = "while ! grep -q https ../address; do sleep 0.1; done; \
                    ADDRESS=$(head -1 ../address); clear";
        terminal.type_line(read)?;
        terminal.wait_for(|screen| screen.trim_end() == "$")?;
        Ok(terminal)
    }

    /// Lists, fetches, and looks while the large file is on its way.
    fn lines(&self) -> anyhow::Result<Vec<String>> {
        self.type_line("packhorse ls -lR $ADDRESS")?;
        self.wait_for(|screen| screen.contains("notes.txt\n$"))?;
        self.type_line("packhorse get $ADDRESS")?;
        let screen = self.wait_for(|screen| {
            screen.contains(" left ") && screen.trim_end().ends_with("of 2 files  film.mp4")
        })?;
        Ok(screen.trim_end().lines().map(str::to_owned).collect())
    }

    fn type_line(&self, line: &str) -> anyhow::Result<()> {
        self.tmux(&["send-keys", "-l", line])?;
        self.tmux(&["send-keys", "Enter"])?;
        Ok(())
    }

    fn wait_for(&self, is_right: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let start = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"])?;
            if is_right(&screen) {
                return Ok(screen);
            }
            ensure!(start.elapsed() < TIME_MAX, "it stays like this:\n{screen}");
            sleep(Duration::from_millis(20));
        }
    }

    fn tmux(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("tmux");
        let output = command.arg("-S").arg(&self.socket).args(arguments).output();
        let output = output.context("cannot run tmux; install it")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The server first, which would outlive its terminal.
        let _ = self.tmux(&["send-keys", "C-c"]);
        let start = Instant::now();
        while self.type_line("kill $SERVER; wait; exit").is_ok() && start.elapsed() < TIME_MAX {
            sleep(Duration::from_millis(100));
        }
        let _ = self.tmux(&["kill-server"]);
    }
}

/// `lines` as light text on a dark ground.
fn svg(lines: &[String]) -> String {
    let (wide, high) = CELL;
    let width = 2.0 * MARGIN + COLUMNS as f64 * wide;
    let height = 2.0 * MARGIN + lines.len() as f64 * high;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1c1f26\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"14\" fill=\"#e4e6eb\">\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let y = MARGIN + (row as f64 + 0.75) * high;
        let length = line.chars().count() as f64 * wide;
        let line = line.replace('&', "&amp;").replace('<', "&lt;");
        // Spaces of any other kind run together.
        let line = line.replace(' ', "\u{a0}");
        // Whatever font there is, each line is as long as on a terminal.
        let _ = writeln!(
            text,
            "<text x=\"{MARGIN}\" y=\"{y}\" textLength=\"{length:.1}\">{line}</text>"
        );
    }
    text + "</g>\n</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_may_change_and_words_may_not() {
        let same = |one: &str, other: &str| {
            let picture = |line: &str| svg(&[line.to_owned()]);
            words(&picture(one)) == words(&picture(other))
        };
        assert!(same(" 48%  3.2 MB of 9 MB", " 7%  991 kB of 9 MB"));
        assert!(!same("0:04 left", "0:04 remaining"));
    }

    #[test]
    fn what_svg_reserves_is_escaped() {
        let picture = svg(&["a < b & c".to_owned()]);
        assert!(
            picture.contains(">a\u{a0}&lt;\u{a0}b\u{a0}&amp;\u{a0}c</text>"),
            "{picture}"
        );
    }
}
