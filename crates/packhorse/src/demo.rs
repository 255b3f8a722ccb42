//! `packhorse demo`: the main job, told as it happens.
//!
//! The server and the clients are processes of their own, started from this program's file, as a
//! person would start them. What arrived is compared by a walk that shares no code with them.

mod compare;
mod half_done;
mod processes;
mod sample_tree;
mod scratch;

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::compare::compare;
use self::processes::{Client, ClientReport, Program, ServerProcess};
use self::sample_tree::SampleTree;
use self::scratch::{Interrupted, Scratch};
use crate::byte_count::{ByteCount, Counted};
use crate::exit::{CommandError, Exit, Outcome};
use crate::flags::DemoFlags;
use crate::output::print;

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
            Err(CommandError::new(exit, error))
        }
    }
}

/// Prints a piece of the story. Whether somebody reads it makes no difference to what is proven.
fn tell(text: impl Display) {
    let _ = print(wrap(&text.to_string()));
}

/// Breaks `text` into lines that fit on any terminal, the later ones indented like its numbers.
fn wrap(text: &str) -> String {
    const COLUMNS: usize = 78;

    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_inclusive(' ') {
        let width = word.trim_end().chars().count();
        if column + width > COLUMNS {
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push_str("\n   ");
            column = 3;
        }
        wrapped.push_str(word);
        column += word.chars().count();
    }
    wrapped
}

fn show(scratch: &Path, interrupted: &Interrupted) -> Result<()> {
    let source = scratch.join("served");
    tell("1. Making a tree of files to serve.");
    let tree = SampleTree::make(&source)?;
    tell(format_args!(
        "   {} files, {}: small ones, nested ones, one of {}, names with line breaks, spaces and \
         bytes that are no text, a link, an empty directory.",
        tree.files,
        ByteCount(tree.bytes),
        ByteCount(tree.large_bytes),
    ));
    interrupted.check()?;

    let program = Program::new(scratch, interrupted)?;
    let server = ServerProcess::start(&program, &source)?;
    tell(format_args!(
        "2. Started a server, process {}, on {}, with a fresh identity and a fresh key.",
        server.id(),
        server.place(),
    ));
    refuse_wrong_key(&program, &server, scratch)?;

    let names = ["first", "second", "third"];
    let destinations = names.map(|name| scratch.join(name));
    let rate = (tree.large_bytes / SLOWED_SECONDS).to_string();
    let slowed = ["--rate-limit", rate.as_str()];
    let mut third = Client::start(&program, &server, "third", &destinations[2], &slowed)?;
    let first = Client::start(&program, &server, "first", &destinations[0], &[])?;
    let second = Client::start(&program, &server, "second", &destinations[1], &[])?;
    tell(format_args!(
        "4. Three clients fetch everything at once: processes {}, {} and {} (the third slowed down, \
         so that there is time to kill it).",
        first.id(),
        second.id(),
        third.id(),
    ));
    kill_on_the_way(&mut third, &source, &destinations[2], interrupted)?;
    half_done::damage(&destinations[2])?;
    tell("   Changed one byte of what has arrived of it.");

    let again = Client::start(&program, &server, "third-again", &destinations[2], &[])?;
    tell(format_args!(
        "6. Started the same command again, process {}.",
        again.id()
    ));
    for (name, client) in [("first", first), ("second", second), ("third", again)] {
        let report = client.wait()?;
        if name == "third" {
            tell_of_resume(&report)?;
        }
        tell(format_args!(
            "   The {name} client is done: fetched {}, {}, at {}/s; had {} already.",
            Counted(report.files_fetched, "file"),
            ByteCount(report.bytes_fetched),
            ByteCount(report.rate()),
            Counted(report.files_kept, "file"),
        ));
    }
    tell("7. Comparing every file, byte for byte, with names, times, modes and links.");
    for (name, destination) in names.iter().zip(&destinations) {
        let compared = compare(&source, destination, interrupted)?;
        tell(format_args!(
            "   {name}: {}, {} and {} are the same, and nothing else is there.",
            Counted(compared.files, "file"),
            Counted(compared.folders, "folder"),
            Counted(compared.links, "link"),
        ));
    }
    server.stop()?;
    tell("8. Told the server to end; it did.");
    conclude();
    Ok(())
}

fn tell_of_resume(report: &ClientReport) -> Result<()> {
    ensure!(
        report.bytes_resumed > 0 && report.bytes_differing > 0,
        "what was half done was not gone on with, or the changed byte was not noticed"
    );
    tell(format_args!(
        "   The third client went on with {} that had arrived before it was killed. {} of that, \
         around the changed byte, did not match the server's hash and were fetched again.",
        ByteCount(report.bytes_resumed),
        ByteCount(report.bytes_differing),
    ));
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
    tell("3. A client with one wrong character in its key was refused (exit code 4).");
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
    tell(format_args!(
        "5. Killed the third client (SIGKILL) on the way. {} of its files had their names by then; \
         each of them is complete and right. The large one has no name yet; {} of it have arrived.",
        left.files,
        ByteCount(half_done::bytes(destination)),
    ));
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

fn conclude() {
    tell(
        "9. What this has shown: one server gives a whole tree to several clients at once; a name \
         appears only when its content is complete; a client that is killed leaves nothing wrong \
         behind, and the same command finishes its work with what is there and right; a wrong key opens nothing; every byte, \
         name, time, mode and link arrived.",
    );
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
        let wrapped = wrap(&text);
        assert!(wrapped.lines().all(|line| line.len() <= 78), "{wrapped}");
        assert!(
            wrapped.lines().skip(1).all(|line| line.starts_with("   w")),
            "{wrapped}"
        );
        assert_eq!(wrapped.split_whitespace().count(), 41);
        assert_eq!(wrap("short"), "short");
    }
}
