//! `packhorse demo`: the main job, told as it happens.
//!
//! The server and the clients are processes of their own, started from this program's file, as a
//! person would start them. What arrived is compared by a walk that shares no code with them.

mod compare;
mod half_done;
mod processes;
mod sample_tree;
mod scratch;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::compare::compare;
use self::processes::{Client, ClientReport, Program, ServerProcess};
use self::sample_tree::SampleTree;
use self::scratch::{Interrupted, Scratch};
use crate::byte_count::ByteCount;
use crate::exit::{CommandError, Exit, Outcome};
use crate::flags::DemoFlags;
use crate::output::print;
use crate::text::log::files;
use crate::text::wrapping::wrap;
use crate::text::{Text, demo as story};

/// How long the slowed client would need for the large file: long enough to be killed on the way.
const SLOWED_SECONDS: u64 = 6;

/// How long a client that is to be killed fetches before that.
const HEAD_START: Duration = Duration::from_millis(1500);

/// How much of the large file it has by then, at least: some whole groups.
const HALF_DONE_BYTES_MIN: u64 = 4 << 20;

/// How long any step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(180);

/// Shows everything; done only if all is right.
pub(crate) fn run(flags: &DemoFlags) -> Outcome {
    let interrupted = Interrupted::watch();
    let parent = flags.directory.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = Scratch::make(&parent);
    let scratch = scratch.map_err(|error| CommandError::new(Exit::LocalIo, error))?;
    let shown = show(scratch.path(), &interrupted);
    let removed = scratch.remove();
    match (shown, removed) {
        (Ok(()), Ok(())) => Ok(Exit::Done),
        (Ok(()), Err(error)) => Err(CommandError::new(Exit::LocalIo, error)),
        (Err(error), _) => {
            let exit = match error.is::<compare::Difference>() {
                true => Exit::Integrity,
                false => Exit::SomeFailed,
            };
            let why = Text::from(error);
            Err(CommandError::new(
                exit,
                match exit {
                    Exit::Integrity => story::differs(&why),
                    _ => story::failed(&why),
                },
            ))
        }
    }
}

/// Prints a piece of the story. Whether somebody reads it makes no difference to what is proven.
fn tell(text: &Text) {
    let _ = print(wrapped(&text.to_string()));
}

/// Breaks a piece into lines that fit on any terminal, the later ones indented like its number.
fn wrapped(piece: &str) -> String {
    const COLUMNS: usize = 78;

    let (number, text) = piece.split_at(3);
    let lines = wrap(&format!("   {text}"), COLUMNS);
    format!("{number}{}", &lines[number.len()..])
}

fn show(scratch: &Path, interrupted: &Interrupted) -> Result<()> {
    let source = scratch.join("served");
    tell(&story::making_tree());
    let tree = SampleTree::make(&source)?;
    let (bytes, large_bytes) = (ByteCount(tree.bytes), ByteCount(tree.large_bytes));
    tell(&story::tree(&files(tree.files), bytes, large_bytes));
    interrupted.check()?;

    let program = Program::new(scratch, interrupted)?;
    let server = ServerProcess::start(&program, &source)?;
    tell(&story::server_started(server.id(), &server.place()));
    refuse_wrong_key(&program, &server, scratch)?;

    let names = ["first", "second", "third"];
    let destinations = names.map(|name| scratch.join(name));
    let rate = (tree.large_bytes / SLOWED_SECONDS).to_string();
    let slowed = ["--rate-limit", rate.as_str()];
    let mut third = Client::start(&program, &server, "third", &destinations[2], &slowed)?;
    let first = Client::start(&program, &server, "first", &destinations[0], &[])?;
    let second = Client::start(&program, &server, "second", &destinations[1], &[])?;
    tell(&story::clients_started(first.id(), second.id(), third.id()));
    kill_on_the_way(&mut third, &source, &destinations[2], interrupted)?;
    half_done::damage(&destinations[2])?;
    tell(&story::byte_changed());

    let again = Client::start(&program, &server, "third-again", &destinations[2], &[])?;
    tell(&story::started_again(again.id()));
    let told = [story::first(), story::second(), story::third()];
    for (told, client) in told.iter().zip([first, second, again]) {
        let report = client.wait()?;
        if *told == story::third() {
            tell_of_resume(&report)?;
        }
        tell(&story::done(
            told,
            &files(report.files_fetched),
            ByteCount(report.bytes_fetched),
            ByteCount(report.rate()),
            &files(report.files_kept),
        ));
    }
    tell(&story::comparing());
    for (told, destination) in told.iter().zip(&destinations) {
        let compared = compare(&source, destination, interrupted)?;
        let files = files(compared.files);
        tell(&story::same(told, &files, compared.folders, compared.links));
    }
    server.stop()?;
    tell(&story::server_ended());
    tell(&story::conclusion());
    Ok(())
}

fn tell_of_resume(report: &ClientReport) -> Result<()> {
    ensure!(
        report.bytes_resumed > 0 && report.bytes_differing > 0,
        "what was half done was not gone on with, or the changed byte was not noticed"
    );
    let (resumed, differing) = (report.bytes_resumed, report.bytes_differing);
    tell(&story::resumed(ByteCount(resumed), ByteCount(differing)));
    Ok(())
}

/// A key with one wrong character opens nothing.
fn refuse_wrong_key(program: &Program<'_>, server: &ServerProcess, scratch: &Path) -> Result<()> {
    let destination = scratch.join("refused");
    let code = program.try_wrong_key(server, &destination)?;
    ensure!(
        code == Some(4),
        "a wrong key ended with {code:?} and not with 4"
    );
    let is_empty = fs::read_dir(&destination).map_or(true, |mut names| names.next().is_none());
    ensure!(is_empty, "a client with a wrong key has fetched something");
    tell(&story::wrong_key_refused());
    Ok(())
}

fn kill_on_the_way(
    client: &mut Client,
    source: &Path,
    destination: &Path,
    interrupted: &Interrupted,
) -> Result<()> {
    wait_for_first_file(client, destination, interrupted)?;
    let (until, at_last) = (Instant::now() + HEAD_START, Instant::now() + STEP_TIME_MAX);
    while Instant::now() < until || half_done::bytes(destination) < HALF_DONE_BYTES_MIN {
        ensure!(
            Instant::now() < at_last,
            "nothing of the large file has arrived in {STEP_TIME_MAX:?}"
        );
        sleep(Duration::from_millis(20));
        interrupted.check()?;
    }
    client.kill()?;
    let left = compare::check_partial(source, destination)?;
    ensure!(
        !left.has_large,
        "the client was done with the large file before it could be killed"
    );
    let arrived = ByteCount(half_done::bytes(destination));
    tell(&story::killed(left.files, arrived));
    Ok(())
}

/// Until something has arrived, a kill would show little.
fn wait_for_first_file(
    client: &mut Client,
    destination: &Path,
    interrupted: &Interrupted,
) -> Result<()> {
    let until = Instant::now() + STEP_TIME_MAX;
    loop {
        interrupted.check()?;
        if let Some(status) = client.has_ended()? {
            bail!("the client that was to be killed ended by itself ({status})");
        }
        let names = fs::read_dir(destination).into_iter().flatten();
        let mut names = names.filter_map(|entry| Some(entry.ok()?.file_name()));
        if names.any(|name| name != ".packhorse-partial") {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "no file has arrived in {STEP_TIME_MAX:?}"
        );
        sleep(Duration::from_millis(20));
    }
}

/// Reads what a step left behind.
fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_on_a_terminal() {
        let text = format!("1. {}", "word ".repeat(40).trim_end());
        let wrapped = wrapped(&text);
        assert!(wrapped.lines().all(|line| line.len() <= 78), "{wrapped}");
        assert!(
            wrapped.lines().skip(1).all(|line| line.starts_with("   w")),
            "{wrapped}"
        );
        assert_eq!(wrapped.split_whitespace().count(), 41);
        assert_eq!(super::wrapped("   short"), "   short");
    }
}
