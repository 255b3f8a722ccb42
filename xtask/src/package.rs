//! `cargo xtask package`: the Debian package, and that it installs, works and leaves.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};

use crate::suite::{cargo, is_ci, target};

/// Where everything is made, below the root of the repository. The manifest of `packhorse` names it
/// too.
const DIRECTORY: &str = "target/package";

/// What must be there once the package is installed, among the rest.
const INSTALLED: [&str; 8] = [
    "/usr/bin/packhorse",
    "/usr/lib/systemd/system/packhorse.service",
    "/usr/share/bash-completion/completions/packhorse",
    "/usr/share/doc/packhorse/copyright",
    "/usr/share/fish/vendor_completions.d/packhorse.fish",
    "/usr/share/man/man1/packhorse-get.1.gz",
    "/usr/share/man/zh_CN/man1/packhorse-get.1.gz",
    "/usr/share/zsh/vendor-completions/_packhorse",
];

/// The largest page that a kernel for aarch64 may have, as a power of two: where pages are larger
/// than what jemalloc was built for, it ends the program at its start.
const PAGE_LOG_AARCH64: &str = "16";

/// The worst that `systemd-analyze security` may find, of 100.
const EXPOSURE_MAX: u32 = 20;

/// Makes the package; with `--check` from a build for development, to install it and remove it.
pub(crate) fn run(root: &Path, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let is_check = match arguments {
        [] => false,
        [argument] if argument == "--check" => true,
        _ => bail!("usage: cargo xtask package [--check]"),
    };
    if is_check && !is_root()? {
        ensure!(!is_ci(), "to install a package takes root");
        let line = "=".repeat(72);
        eprintln!("{line}\nSKIPPED: to install the package takes root.\n{line}");
        return Ok(ExitCode::SUCCESS);
    }
    let package = make(root, is_check)?;
    println!("{}", package.display());
    if is_check {
        check(&package)?;
        println!("the package installs, works, and is removed without a trace");
    }
    Ok(ExitCode::SUCCESS)
}

fn make(root: &Path, is_check: bool) -> anyhow::Result<PathBuf> {
    let directory = root.join(DIRECTORY);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("cannot empty {}: {error}", directory.display())
        }
        _ => {}
    }
    let mut build = cargo(root);
    build.args(["build", "--locked", "--package", "packhorse"]);
    if !is_check {
        build.arg("--release");
    }
    if cfg!(target_arch = "aarch64") {
        build.env("JEMALLOC_SYS_WITH_LG_PAGE", PAGE_LOG_AARCH64);
    }
    succeed(&mut build)?;
    let target = target(root);
    let profile = if is_check { "debug" } else { "release" };
    let binary = target.join(profile).join("packhorse");
    succeed(Command::new(&binary).arg("generate").arg(&directory))?;

    let mut deb = cargo(root);
    deb.args([
        "deb",
        "--quiet",
        "--locked",
        "--package",
        "packhorse",
        "--no-build",
    ]);
    deb.arg("--output").arg(&directory);
    if is_check {
        // It packs releases alone, so the build for development stands where one would.
        let staged = directory.join("staged");
        fs::create_dir_all(staged.join("release"))?;
        fs::copy(&binary, staged.join("release/packhorse"))?;
        deb.env("CARGO_TARGET_DIR", &staged)
            .args(["--fast", "--no-strip"]);
    }
    succeed(&mut deb).context("`cargo install --locked cargo-deb` brings `cargo deb`")?;
    let mut made = fs::read_dir(&directory)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = made.find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    package.with_context(|| format!("no package is in {}", directory.display()))
}

fn check(package: &Path) -> anyhow::Result<()> {
    let status = Command::new("dpkg-query")
        .args(["--status", "packhorse"])
        .output()?;
    ensure!(
        !status.status.success(),
        "packhorse is installed here; its package is left alone"
    );
    let mut install = Command::new("dpkg");
    // Images for containers leave these out.
    for kept in ["/usr/share/man/*", "/usr/share/doc/*"] {
        install.arg(format!("--path-include={kept}"));
    }
    succeed(install.arg("--install").arg(package))?;
    let checked = check_installed();
    // Also of what is not as it should be nothing stays.
    let files = checked.as_ref().map(Clone::clone).unwrap_or_default();
    succeed(Command::new("dpkg").args(["--remove", "packhorse"]))?;
    let conf = Path::new("/etc/default/packhorse");
    ensure!(
        conf.exists(),
        "{} went though it is the user's",
        conf.display()
    );
    succeed(Command::new("dpkg").args(["--purge", "packhorse"]))?;
    checked?;
    for file in files {
        ensure!(!Path::new(&file).exists(), "{file} stays behind");
    }
    Ok(())
}

/// Checks what is installed. Returns the files.
fn check_installed() -> anyhow::Result<BTreeSet<String>> {
    let listed = answer(Command::new("dpkg").args(["--listfiles", "packhorse"]))?;
    let files = listed.lines().filter(|path| Path::new(path).is_file());
    let files: BTreeSet<_> = files.map(str::to_owned).collect();
    for path in INSTALLED {
        ensure!(files.contains(path), "{path} is not installed");
    }
    let version = answer(Command::new("/usr/bin/packhorse").arg("--version"))?;
    ensure!(
        version.starts_with("packhorse "),
        "it calls itself {version:?}"
    );
    let unit = "packhorse.service";
    let mut verify = Command::new("systemd-analyze");
    // Whether there are readers of man pages is not the unit's affair.
    let findings = verify.args(["verify", "--man=no", unit]).output()?;
    let findings = String::from_utf8_lossy(&findings.stderr).into_owned();
    // Those of other units are others' affair.
    let mut ours = findings.lines().filter(|line| line.contains("packhorse"));
    if let Some(finding) = ours.next() {
        bail!("{finding}");
    }
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let mut security = Command::new("systemd-analyze");
    let security = answer(security.args(["security", "--offline=true", &threshold, unit]))?;
    println!("{}", security.lines().last().unwrap_or_default());
    Ok(files)
}

fn is_root() -> anyhow::Result<bool> {
    Ok(answer(Command::new("id").arg("-u"))?.trim() == "0")
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status();
    let status = status.with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// What a command that must succeed prints.
fn answer(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{printed}{told}",
        output.status
    );
    Ok(printed)
}
