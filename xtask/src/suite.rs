//! Runs every test of the workspace.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};

use crate::python;

/// Where tests find the interpreter that has what `tests/python/requirements.txt` asks for.
const PYTHON_VARIABLE: &str = "PACKHORSE_PYTHON";

/// Builds `packhorse`, prepares Python, and runs the tests with `arguments` passed on.
pub(crate) fn run(root: &Path, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut build = cargo(root);
    // Tests run the one, and the other beside it.
    build.args(["build", "--locked", "--package", "packhorse"]);
    build.args(["--package", "packhorse-wan"]);
    let built = build.status().context("cannot run cargo")?;
    ensure!(built.success(), "packhorse and wanlink do not build");

    let runner = if nextest_is_installed(root) {
        Runner::Nextest
    } else {
        Runner::CargoTest
    };
    let mut tests = cargo(root);
    tests.args(runner.arguments(arguments));
    let mut skip_reason = None;
    // An interpreter chosen by hand is taken as it is.
    if env::var_os(PYTHON_VARIABLE).is_none() {
        match python::prepare(root) {
            Ok(interpreter) => {
                tests.env(PYTHON_VARIABLE, interpreter);
            }
            Err(error) if is_ci() => {
                return Err(error.context("the Python tests must run where CI=true"));
            }
            Err(error) => skip_reason = Some(error),
        }
    }
    let status = tests.status().context("cannot run cargo")?;
    // Last, where it is seen.
    if let Some(reason) = skip_reason {
        let line = "=".repeat(72);
        eprintln!("{line}\nSKIPPED: the tests with Python clients.\n{reason:#}\n{line}");
    }
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Debug, Clone, Copy)]
enum Runner {
    Nextest,
    CargoTest,
}

impl Runner {
    /// What cargo is given: the whole workspace, unless `passed_on` names packages.
    fn arguments(self, passed_on: &[OsString]) -> Vec<OsString> {
        let command = match self {
            Self::Nextest => &["nextest", "run"][..],
            Self::CargoTest => &["test"],
        };
        let names_packages = passed_on.iter().any(|argument| {
            let argument = argument.to_string_lossy();
            argument.starts_with("-p") || argument.starts_with("--package")
        });
        let scope = if names_packages {
            &["--locked"][..]
        } else {
            &["--workspace", "--locked"]
        };
        let fixed = command.iter().chain(scope).map(OsString::from);
        fixed.chain(passed_on.iter().cloned()).collect()
    }
}

/// Whether nobody reads along, so that an announcement is not enough.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

fn nextest_is_installed(root: &Path) -> bool {
    let mut version = cargo(root);
    version
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

pub(crate) fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

/// Where cargo puts what it builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_passed_on() {
        for (runner, passed_on, expected) in [
            (Runner::Nextest, "", "nextest run --workspace --locked"),
            (
                Runner::Nextest,
                "rto",
                "nextest run --workspace --locked rto",
            ),
            (
                Runner::Nextest,
                "-p packhorse-tcp",
                "nextest run --locked -p packhorse-tcp",
            ),
            (
                Runner::CargoTest,
                "--package=xtask",
                "test --locked --package=xtask",
            ),
            (
                Runner::CargoTest,
                "-- --ignored",
                "test --workspace --locked -- --ignored",
            ),
        ] {
            let passed_on: Vec<OsString> = passed_on.split_whitespace().map(Into::into).collect();
            let expected: Vec<OsString> = expected.split_whitespace().map(Into::into).collect();
            assert_eq!(runner.arguments(&passed_on), expected, "{runner:?}");
        }
    }
}
