//! `cargo xtask bench`: Packhorse and its peers in turn, in one run.
//!
//! What counts is the ratio: machines differ, and one machine differs from hour to hour. Peers take
//! turns within each repetition, every run has a fresh server and an empty destination in memory that
//! was in use just before, and the page cache is warm.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};

mod case;
mod data_set;
mod line;
mod measure;
mod peer;
mod resume;
mod scale;
mod table;

use self::case::Case;
use self::measure::{Measured, Scene};
use self::peer::{PEERS, Peer};
use self::scale::Scale;
use self::table::Row;
use crate::suite;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [CASE...] [--peers NAME,...] [--repetitions N] [--large-mib N]
                         [--small-files N] [--idle N] [--million-files N] [--holes-gib N]
                         [--destination DIR]

  CASE            large, small, small-again, tree, tree-again, tiny, http, resume; over a bad
                  line, as root: wan-small, wan-large, wan-lossy, or wan for the three; and of
                  Packhorse alone, whose goals are no ratios: idle, million, holes (default: all)
  --peers         only these, and packhorse
  --repetitions   default 3; of tiny 8 times as many
  --large-mib     size of the large file, default 4096
  --small-files   number of small files, default 100000
  --idle          connections that ask for nothing, default 10000
  --million-files default 1000000
  --holes-gib     length of a file of holes, default 1024
  --destination   where a new directory is made, and removed again; default /dev/shm
";

/// What to run.
struct Plan {
    cases: Vec<Case>,
    scales: Vec<Scale>,
    peers: Option<Vec<String>>,
    repetitions: usize,
    sizes: data_set::Sizes,
    idle: usize,
    destination: Option<PathBuf>,
}

/// Runs what `arguments` ask for, and prints a table for each case.
pub(crate) fn run(root: &Path, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let Some(plan) = parse(arguments)? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let programs = ["--package", "packhorse", "--package", "packhorse-wan"];
    build(root, &programs)?;
    if plan.scales.contains(&Scale::Idle) {
        let idler = ["--example", "idle_sessions"];
        build(
            root,
            &[&["--package", "packhorse-transport"][..], &idler].concat(),
        )?;
    }
    let target = suite::target(root);
    let work = target.join("bench");
    // A directory of its own, whoever names its parent: it is removed with all that is in it.
    let parent = plan.destination.as_deref().unwrap_or(Path::new("/dev/shm"));
    let memory = parent.join(format!("packhorse-bench-{}", std::process::id()));
    fs::create_dir_all(&memory).with_context(|| format!("cannot make {}", memory.display()))?;
    let scene = Scene::new(&target, &work, memory.join("fetched"))?;
    let done = run_cases(&plan, &scene).and_then(|()| run_scales(&plan, &scene));
    let removed = fs::remove_dir_all(&memory);
    done?;
    removed.with_context(|| format!("cannot remove {}", memory.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn build(root: &Path, what: &[&str]) -> anyhow::Result<()> {
    let mut cargo = suite::cargo(root);
    let built = cargo.args(["build", "--release", "--locked"]).args(what);
    let built = built.status().context("cannot run cargo")?;
    ensure!(built.success(), "packhorse does not build");
    Ok(())
}

fn run_scales(plan: &Plan, scene: &Scene) -> anyhow::Result<()> {
    for &scale in &plan.scales {
        scale.data_set().make(&scene.data(), &plan.sizes)?;
        match scale {
            Scale::Idle => scale::idle(scene, plan.idle)?,
            Scale::Million => scale::million(scene, plan.sizes.million_files)?,
            Scale::Holes => scale::holes(scene, plan.sizes.holes_gib)?,
        }
    }
    Ok(())
}

fn run_cases(plan: &Plan, scene: &Scene) -> anyhow::Result<()> {
    let mut summary = Vec::new();
    for case in &plan.cases {
        case.data_set().make(&scene.data(), &plan.sizes)?;
        let peers = able(plan, scene, *case);
        let mut rows: Vec<_> = peers.iter().map(|peer| Row::new(peer)).collect();
        for repetition in 0..plan.repetitions * case.repetition_factor() {
            for row in &mut rows {
                // The source comes last: what a virtual machine has read may leave it within seconds.
                if plan.destination.is_none() {
                    scene.use_memory(case.data_set().read(&scene.data())?)?;
                }
                case.data_set().read(&scene.data())?;
                let measured = run_one(scene, *case, row.peer, repetition == 0);
                eprintln!(
                    "{case} {repetition} {}: {}",
                    row.peer.name,
                    match &measured {
                        Ok(measured) => format!("{:.3} s", measured.wall),
                        Err(error) => format!("{error:#}"),
                    }
                );
                row.add(measured);
            }
        }
        table::print(*case, &rows, scene);
        summary.push(table::summary(*case, &rows));
    }
    if summary.len() > 1 {
        println!("\n## all\n\n| work | packhorse | others, and which part of their time that is |");
        println!("| --- | --- | --- |\n{}", summary.join("\n"));
    }
    Ok(())
}

/// The peers of `case` that are wanted and installed; names those that are not.
fn able(plan: &Plan, scene: &Scene, case: Case) -> Vec<&'static Peer> {
    let peers = PEERS.iter().filter(|peer| peer.cases.contains(&case));
    let wanted = peers.filter(|peer| {
        let names = plan.peers.as_ref();
        peer.is_ours() || names.is_none_or(|names| names.iter().any(|name| name == peer.name))
    });
    let able = wanted.filter(|peer| {
        let missing = peer.programs.iter().find(|program| !scene.has(program));
        if let Some(program) = missing {
            println!(
                "left out of {case}: {}, as there is no {program}",
                peer.name
            );
        }
        missing.is_none()
    });
    able.collect()
}

fn run_one(scene: &Scene, case: Case, peer: &Peer, check: bool) -> anyhow::Result<Measured> {
    let setting = scene.setting(case)?;
    let measured = match case {
        Case::Resume => resume::run(scene, &setting, peer)?,
        Case::SmallAgain | Case::TreeAgain => {
            scene.run(&setting, peer)?;
            scene.run(&setting, peer)?
        }
        Case::Large
        | Case::Small
        | Case::Tree
        | Case::Tiny
        | Case::Http
        | Case::WanSmall
        | Case::WanLarge
        | Case::WanLossy => scene.run(&setting, peer)?,
    };
    // A client that only makes load keeps nothing.
    if check && case != Case::Http {
        scene.check(&setting)?;
    }
    Ok(measured)
}

fn parse(arguments: &[OsString]) -> anyhow::Result<Option<Plan>> {
    let mut plan = Plan {
        cases: Vec::new(),
        scales: Vec::new(),
        peers: None,
        repetitions: 3,
        sizes: data_set::Sizes::default(),
        idle: 10_000,
        destination: None,
    };
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{argument} needs a value\n{USAGE}"))
        };
        match &*argument {
            "--help" | "-h" => return Ok(None),
            "--peers" => plan.peers = Some(value()?.split(',').map(str::to_owned).collect()),
            "--repetitions" => plan.repetitions = value()?.parse()?,
            "--large-mib" => plan.sizes.large_mib = value()?.parse()?,
            "--small-files" => plan.sizes.small_files = value()?.parse()?,
            "--idle" => plan.idle = value()?.parse()?,
            "--million-files" => plan.sizes.million_files = value()?.parse()?,
            "--holes-gib" => plan.sizes.holes_gib = value()?.parse()?,
            "--destination" => plan.destination = Some(value()?.into_owned().into()),
            "wan" => {
                let far = Case::ALL.iter().filter(|case| case.line().is_some());
                plan.cases.extend(far);
            }
            name => {
                let case = Case::ALL.into_iter().find(|case| case.to_string() == name);
                let scale = Scale::ALL.into_iter().find(|scale| scale.name() == name);
                if case.is_none() && scale.is_none() {
                    bail!("there is no case {name}\n{USAGE}");
                }
                plan.cases.extend(case);
                plan.scales.extend(scale);
            }
        }
    }
    if plan.cases.is_empty() && plan.scales.is_empty() {
        plan.cases = Case::ALL.to_vec();
        plan.scales = Scale::ALL.to_vec();
    }
    Ok(Some(plan))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let parse = |text: &str| {
            let words: Vec<_> = text.split_whitespace().map(OsString::from).collect();
            super::parse(&words)
        };
        let plan = parse("tiny large idle --peers scp,rsyncd --repetitions 5 --large-mib 16");
        let plan = plan.unwrap().unwrap();
        assert_eq!(plan.cases, [Case::Tiny, Case::Large]);
        assert_eq!(plan.scales, [Scale::Idle]);
        assert_eq!(plan.peers.unwrap(), ["scp", "rsyncd"]);
        assert_eq!((plan.repetitions, plan.sizes.large_mib), (5, 16));
        assert_eq!(parse("").unwrap().unwrap().cases.len(), Case::ALL.len());
        let far = [Case::WanSmall, Case::WanLarge, Case::WanLossy];
        assert_eq!(parse("wan").unwrap().unwrap().cases, far);
        assert!(parse("--help").unwrap().is_none());
        for wrong in ["huge", "--peers", "--repetitions x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
