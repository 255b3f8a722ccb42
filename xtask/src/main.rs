//! The project's own checks: `cargo xtask tidy`, `cargo xtask test`, and longer ones.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

mod bench;
mod count;
mod kill_loop;
mod mutate;
mod package;
mod picture;
mod python;
mod rust_code;
mod suite;
mod tidy;
mod tree;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  tidy          check what the compiler and clippy cannot: arrows, lengths, names, links
  test [ARG...] build packhorse and wanlink, prepare the Python tests, and run every test;
                ARGs go to `cargo nextest run`, or to `cargo test` where nextest is missing
  kill-loop [--points N] [--seed N]
                kill clients and servers at N random moments and damage what they leave
  bench [CASE...]
                Packhorse and its peers in turn; `bench --help` says more
  count [--keep] [NAME...]
                count the instructions of the hot paths under valgrind, and compare them with
                crates/sim/hot_paths.txt; with --keep write that anew
  mutate [WORD...]
                break the rules of the TCP crate one by one, those whose name or script holds
                a WORD or all, and see that each is noticed by its script; takes a while
  package [--check]
                make the Debian package; with --check from a build for development, which is
                then installed, looked at, and removed (as root)
  picture [--check]
                take the README's picture of a terminal, or see that it is still true; needs tmux
";

fn main() -> ExitCode {
    dispatch().unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn dispatch() -> anyhow::Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next();
    match command.as_ref().and_then(|name| name.to_str()) {
        Some("tidy") => tidy::run(&workspace_root()?),
        Some("test") => suite::run(&workspace_root()?, &arguments.collect::<Vec<_>>()),
        Some("kill-loop") => kill_loop::run(&workspace_root()?, &arguments.collect::<Vec<_>>()),
        Some("mutate") => mutate::run(&workspace_root()?, &arguments.collect::<Vec<_>>()),
        Some("package") => package::run(&workspace_root()?, &arguments.collect::<Vec<_>>()),
        Some("picture") => picture::run(&workspace_root()?, &arguments.collect::<Vec<_>>()),
        Some("bench") => bench::run(&workspace_root()?, &arguments.collect::<Vec<_>>()),
        Some("count") => count::run(&workspace_root()?, &arguments.collect::<Vec<_>>()),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

/// The folder above this crate, as cargo names it at run time: a path compiled in would
/// be wrong once two clones share a target directory.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let mut root = PathBuf::from(manifest_dir);
    root.pop();
    Ok(root)
}
