//! `cargo xtask count`: how many instructions the hot paths take, which no busy machine changes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};

use crate::suite;

/// The counts that are kept, below the workspace's root.
const KEPT: &str = "crates/sim/hot_paths.txt";

/// A count may be so much higher than the one that is kept, in percent: threads that wake each
/// other do not do so alike each time.
const RISE_PERCENT_MAX: u64 = 5;

const HEADER: &str = "\
# Instructions of the hot paths, for each turn: `cargo xtask count` compares, `--keep` writes anew.
# x86-64, release build, under valgrind (which has no AVX-512, so that hashing and encryption take
# more here than they do).
";

/// Counts the paths that `arguments` name, or all, and compares or keeps the counts.
pub(crate) fn run(root: &Path, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let words: Vec<_> = arguments
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    let (flags, names): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with("--"));
    let keeps = match *flags {
        [] => false,
        [flag] if flag == "--keep" => true,
        _ => bail!("usage: cargo xtask count [--keep] [NAME...]"),
    };
    let built = suite::cargo(root)
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "packhorse-sim",
        ])
        .args(["--example", "hot_paths"])
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "the hot paths do not build");
    let program = suite::target(root).join("release/examples/hot_paths");
    let kept_at = root.join(KEPT);
    let mut kept = parse(&fs::read_to_string(&kept_at).unwrap_or_default())?;
    let mut are_all_good = true;
    let mut are_any = false;
    println!("| hot path | instructions | kept | |\n| --- | --- | --- | --- |");
    for (name, turns) in parse(&said(&mut Command::new(&program))?)? {
        if !names.is_empty() && !names.iter().any(|wanted| **wanted == *name) {
            continue;
        }
        are_any = true;
        let (once, twice) = (
            counted(&program, &name, turns)?,
            counted(&program, &name, 2 * turns)?,
        );
        let each = twice.saturating_sub(once) / turns;
        let verdict = Verdict::of(each, kept.get(&name).copied());
        are_all_good &= verdict != Verdict::More;
        let before = kept.get(&name).map_or_else(|| "-".into(), u64::to_string);
        println!("| {name} | {each} | {before} | {} |", verdict.word());
        kept.insert(name, each);
    }
    ensure!(are_any, "there is no such hot path");
    if keeps {
        fs::write(&kept_at, write(&kept))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !are_all_good {
        println!("\nIf that is worth it: `cargo xtask count --keep`, and say why in the commit.");
    }
    Ok(if are_all_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How a count compares with the one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Alike,
    Fewer,
    More,
}

impl Verdict {
    fn of(count: u64, kept: Option<u64>) -> Self {
        let Some(kept) = kept else {
            return Self::Unknown;
        };
        let tolerated = kept.saturating_mul(RISE_PERCENT_MAX) / 100;
        if count > kept.saturating_add(tolerated) {
            Self::More
        } else if count < kept - tolerated {
            Self::Fewer
        } else {
            Self::Alike
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Unknown => "new",
            Self::Alike => "",
            Self::Fewer => "fewer",
            Self::More => "MORE",
        }
    }
}

/// All instructions of the program while it walks the path so often.
fn counted(program: &Path, name: &str, turns: u64) -> anyhow::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &turns.to_string()]);
    let said = said(&mut valgrind)?;
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = count.with_context(|| format!("valgrind does not say its count: {said}"))?;
    Ok(count.trim().parse()?)
}

/// All that a command says, which must succeed.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output();
    let output = output.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(said)
}

/// Names, each with its number.
fn parse(text: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, number) = line.split_once(' ').context("a name without a number")?;
            Ok((name.to_owned(), number.trim().parse()?))
        })
        .collect()
}

fn write(counts: &BTreeMap<String, u64>) -> String {
    let mut text = HEADER.to_owned();
    for (name, count) in counts {
        let _ = writeln!(text, "{name} {count}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_beyond_the_tolerance_is_one() {
        for (count, kept, verdict) in [
            (1000, None, Verdict::Unknown),
            (1000, Some(1000), Verdict::Alike),
            (1050, Some(1000), Verdict::Alike),
            (1051, Some(1000), Verdict::More),
            (949, Some(1000), Verdict::Fewer),
        ] {
            assert_eq!(Verdict::of(count, kept), verdict, "{count} of {kept:?}");
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let counts = BTreeMap::from([("a".to_owned(), 1), ("b-c".to_owned(), 20)]);
        assert_eq!(parse(&write(&counts)).unwrap(), counts);
        assert!(parse("a").is_err());
    }
}
