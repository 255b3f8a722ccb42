//! The Python environment for tests in which someone else's client talks to Packhorse.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Makes `target/python` hold what `tests/python/requirements.txt` asks for; quick if it does.
///
/// Returns its interpreter.
pub(crate) fn prepare(root: &Path) -> anyhow::Result<PathBuf> {
    let environment = Environment {
        requirements: root.join("tests/python/requirements.txt"),
        folder: root.join("target/python"),
    };
    environment.prepare(OsStr::new("python3"))
}

#[derive(Debug)]
struct Environment {
    requirements: PathBuf,
    folder: PathBuf,
}

impl Environment {
    /// Builds the environment with the interpreter `python` unless it is up to date.
    fn prepare(&self, python: &OsStr) -> anyhow::Result<PathBuf> {
        let wanted = fs::read_to_string(&self.requirements)
            .with_context(|| format!("cannot read {}", self.requirements.display()))?;
        let interpreter = self.folder.join("bin/python");
        // Written last, so that an interrupted installation is not taken for a whole one.
        let installed = self.folder.join("installed.txt");
        let is_current = fs::read_to_string(&installed).is_ok_and(|text| text == wanted);
        if is_current && interpreter.exists() {
            return Ok(interpreter);
        }
        eprintln!("preparing the Python tests in {}", self.folder.display());
        let mut create = Command::new(python);
        succeed(create.args(["-m", "venv", "--clear"]).arg(&self.folder))?;
        let mut install = Command::new(&interpreter);
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        succeed(install.arg("--requirement").arg(&self.requirements))?;
        fs::write(&installed, wanted)
            .with_context(|| format!("cannot write {}", installed.display()))?;
        Ok(interpreter)
    }
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {program}; install Python 3 with venv and pip"))?;
    ensure!(
        status.success(),
        "{command:?} failed; install Python 3 with venv and pip"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PYTHON: &str = "packhorse-test-no-such-python";

    fn environment(root: &Path) -> Environment {
        let requirements = root.join("requirements.txt");
        fs::write(&requirements, "blake3==1\n").unwrap();
        let folder = root.join("python");
        fs::create_dir_all(folder.join("bin")).unwrap();
        Environment {
            requirements,
            folder,
        }
    }

    #[test]
    fn without_python_the_error_says_what_to_install() {
        let dir = tempfile::tempdir().unwrap();
        let error = environment(dir.path())
            .prepare(OsStr::new(NO_PYTHON))
            .unwrap_err();
        assert!(error.to_string().contains("install Python 3"), "{error}");
    }

    #[test]
    fn a_current_environment_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let environment = environment(dir.path());
        let interpreter = environment.folder.join("bin/python");
        fs::write(&interpreter, "").unwrap();
        for (installed, current) in [("blake3==1\n", true), ("blake3==0\n", false)] {
            fs::write(environment.folder.join("installed.txt"), installed).unwrap();
            let prepared = environment.prepare(OsStr::new(NO_PYTHON)).ok();
            assert_eq!(
                prepared,
                current.then(|| interpreter.clone()),
                "{installed}"
            );
        }
    }
}
