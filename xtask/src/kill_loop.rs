//! Kills clients and servers at as many moments as wanted.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::suite;

const TEST: &str = "kill_loop::whatever_is_killed_and_damaged_the_end_is_right";

/// Runs the test of that name in `packhorse`, which reads its numbers from the environment.
pub(crate) fn run(root: &Path, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let settings = settings(arguments)?;
    let mut test = suite::cargo(root);
    let settings = settings
        .into_iter()
        .map(|(name, value)| (name, value.to_string()));
    test.envs(settings);
    test.args(["test", "--locked", "--package", "packhorse", "--test", "it"]);
    test.args(["--", "--exact", TEST, "--nocapture"]);
    let status = test.status().context("cannot run cargo")?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What the test is told, from `--points N` and `--seed N`.
fn settings(arguments: &[OsString]) -> anyhow::Result<Vec<(&'static str, u64)>> {
    let mut settings = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(flag) = arguments.next() {
        let name = match flag.to_str() {
            Some("--points") => "PACKHORSE_KILL_POINTS",
            Some("--seed") => "PACKHORSE_KILL_SEED",
            _ => bail!("unknown flag {flag:?}; there are --points N and --seed N"),
        };
        let number = arguments.next().and_then(|number| number.to_str());
        let number = number.and_then(|number| number.parse().ok());
        settings.push((
            name,
            number.with_context(|| format!("{flag:?} needs a number"))?,
        ));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_settings() {
        let read = |text: &str| {
            let arguments: Vec<_> = text.split_whitespace().map(OsString::from).collect();
            settings(&arguments).ok()
        };
        assert_eq!(
            read("--points 10000 --seed 7"),
            Some(vec![
                ("PACKHORSE_KILL_POINTS", 10_000),
                ("PACKHORSE_KILL_SEED", 7)
            ])
        );
        for wrong in ["--points", "--points x", "--other 1", "5"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
