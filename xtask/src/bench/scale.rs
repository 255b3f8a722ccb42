//! What grows: connections, files, lengths. The goals are figures and not ratios to peers, so these
//! are of Packhorse alone.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

use super::data_set::{DataSet, MIB, offsets_of_data};
use super::measure::{Measured, Scene, Setting};
use super::peer::PEERS;

/// Clients that fetch at once beside the connections that ask for nothing.
const CROWD: usize = 200;

/// What a connection that asks for nothing may cost a server, in KiB.
const IDLE_KIB_MAX: f64 = 24.0;

/// What a client may need at any time, in MiB.
const CLIENT_MIB_MAX: f64 = 64.0;

/// Where time grows as the work does, four times the work takes at most this much more than four
/// times the time: a machine that is not quiet is no reason to call it anything else.
const GROWTH_MAX: f64 = 1.25;

/// A row of the table that is no race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Connections that ask for nothing, and clients that are served beside them.
    Idle,
    /// A tree of very many files.
    Million,
    /// A file of holes.
    Holes,
}

impl Scale {
    pub(super) const ALL: [Self; 3] = [Self::Idle, Self::Million, Self::Holes];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Million => "million",
            Self::Holes => "holes",
        }
    }

    pub(super) fn data_set(self) -> DataSet {
        match self {
            Self::Idle => DataSet::Crowd,
            Self::Million => DataSet::Million,
            Self::Holes => DataSet::Holes,
        }
    }
}

/// Has `count` connections ask for nothing, has 200 clients fetch beside them, and then has each of
/// the connections ask once more.
pub(super) fn idle(scene: &Scene, count: usize) -> anyhow::Result<()> {
    let setting = scene.setting_of(DataSet::Crowd, None, None)?;
    let mut commands = (PEERS[0].commands)(scene, &setting)?;
    let clients_max = (count + 4 * CROWD).to_string();
    commands
        .server
        .extend(["--max-clients".into(), clients_max]);
    let server = scene.start_server(&setting, &commands)?;
    let address = server.told("ph://")?.context("the server told nothing")?;
    let process = server.process()?;
    let empty = resident_kib(process)?;
    let mut idler = Command::new(&scene.idler)
        .args([&address, &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", scene.idler.display()))?;
    let mut said = BufReader::new(idler.stdout.take().context("it is piped")?).lines();
    let mut expect = |words: &str| {
        let line = said.next().context("the idle connections have ended")??;
        ensure!(line == format!("{count} {words}"), "of {count}, {line}");
        anyhow::Ok(())
    };
    expect("stand")?;
    let full = resident_kib(process)?;
    let start = Instant::now();
    fetch_at_once(scene, &setting, &address)?;
    let crowd = start.elapsed().as_secs_f64();
    let after = resident_kib(process)?;
    drop(idler.stdin.take());
    expect("answer still")?;
    ensure!(idler.wait()?.success(), "the idle connections failed");
    server.end()?;

    let each = (full - empty) / count as f64;
    println!("\n## idle\n");
    println!(
        "| idle connections | server MiB before / with them | KiB each | {CROWD} clients, s | server MiB after those |"
    );
    println!("| --- | --- | --- | --- | --- |");
    let (empty, full, after) = (empty / 1024.0, full / 1024.0, after / 1024.0);
    println!("| {count} | {empty:.1} / {full:.1} | {each:.1} | {crowd:.1} | {after:.1} |");
    print_goal("KiB for each idle connection", each, IDLE_KIB_MAX);
    println!(
        "\n{CROWD} clients fetched a file of 8 MiB and 100 of 4 KiB each, at once, all of it right; \
         then each of the {count} connections had one more request answered."
    );
    Ok(())
}

/// Runs many clients at the same time, and compares what each has fetched.
fn fetch_at_once(scene: &Scene, setting: &Setting, address: &str) -> anyhow::Result<()> {
    let folder = |number: usize| setting.destination.join(number.to_string());
    let fetch = |number| {
        let mut client = Command::new(&scene.packhorse);
        client
            .args(["get", "--quiet", address, "-o"])
            .arg(folder(number));
        client.env("PACKHORSE_STATE", scene.configuration("client-state"));
        client.spawn().context("cannot start a client")
    };
    let clients: Vec<Child> = (0..CROWD).map(fetch).collect::<Result<_, _>>()?;
    for mut client in clients {
        let status = client.wait()?;
        ensure!(status.success(), "one of {CROWD} clients failed ({status})");
    }
    for number in 0..CROWD {
        scene.compare(&setting.root, &folder(number))?;
        fs::remove_dir_all(folder(number))?;
    }
    Ok(())
}

/// Fetches a quarter of very many files, a half of them, and all.
pub(super) fn million(scene: &Scene, files: usize) -> anyhow::Result<()> {
    let mut steps = Vec::new();
    for (part, below) in [(4, Some("half/quarter")), (2, Some("half")), (1, None)] {
        let setting = scene.setting_of(DataSet::Million, below, None)?;
        let measured = scene.run(&setting, &PEERS[0])?;
        if below.is_none() {
            scene.check(&setting)?;
        }
        steps.push((format!("{} files", files / part), measured));
    }
    print_growth(Scale::Million, &steps);
    Ok(())
}

/// Fetches three files of holes, each twice as long as the one before.
pub(super) fn holes(scene: &Scene, gib: usize) -> anyhow::Result<()> {
    let mut steps = Vec::new();
    for (part, name) in [(4, "part-4.bin"), (2, "part-2.bin"), (1, "part-1.bin")] {
        let setting = scene.setting_of(DataSet::Holes, Some(name), None)?;
        let measured = scene.run(&setting, &PEERS[0])?;
        compare_hollow(&setting.root.join(name), &setting.destination.join(name))?;
        steps.push((format!("{} GiB", gib / part), measured));
    }
    print_growth(Scale::Holes, &steps);
    Ok(())
}

/// Compares length, space and the three groups of data of two files; all else of the second is
/// holes if it takes no more space than the first.
fn compare_hollow(source: &Path, fetched: &Path) -> anyhow::Result<()> {
    let (source, fetched) = (File::open(source)?, File::open(fetched)?);
    let (wanted, found) = (source.metadata()?, fetched.metadata()?);
    ensure!(wanted.len() == found.len(), "WRONG: it has another length");
    // File systems count what they need themselves: a few blocks, and not a group.
    ensure!(
        found.blocks() < wanted.blocks() + 1024,
        "WRONG: holes were written"
    );
    let length = wanted.len();
    for offset in offsets_of_data(length) {
        let mut groups = [vec![0; MIB], vec![0; MIB]];
        source.read_exact_at(&mut groups[0], offset)?;
        fetched.read_exact_at(&mut groups[1], offset)?;
        ensure!(
            groups[0] == groups[1],
            "WRONG: the data at {offset} differs"
        );
    }
    Ok(())
}

/// Prints a table of the same work, each time twice as much.
fn print_growth(scale: Scale, steps: &[(String, Measured)]) {
    println!("\n## {}\n", scale.name());
    println!("| work | wall s | CPU s client / server | client MiB | server MiB |");
    println!("| --- | --- | --- | --- | --- |");
    for (work, run) in steps {
        println!(
            "| {work} | {:.2} | {:.2} / {:.2} | {:.0} | {:.0} |",
            run.wall, run.client_cpu, run.server_cpu, run.client_mib, run.server_mib
        );
    }
    let mib = steps
        .iter()
        .map(|(_, run)| run.client_mib)
        .fold(0.0, f64::max);
    print_goal("MiB of the client", mib, CLIENT_MIB_MAX);
    if let [(_, first), .., (_, last)] = steps {
        let cpu = |run: &Measured| run.client_cpu + run.server_cpu;
        print_goal(
            "times the wall time, of four times the first",
            last.wall / first.wall / 4.0,
            GROWTH_MAX,
        );
        print_goal(
            "times the CPU time, of four times the first",
            cpu(last) / cpu(first) / 4.0,
            GROWTH_MAX,
        );
    }
}

fn print_goal(what: &str, value: f64, goal: f64) {
    let word = if value <= goal { "reached" } else { "missed" };
    println!("\ngoal at most {goal} {what}: {value:.2}, {word}");
}

/// What a process holds in memory, in KiB.
fn resident_kib(process: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("no VmRSS in its status")?.parse()?)
}
