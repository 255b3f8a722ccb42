//! Runs worlds and scripts: `cargo run --release -p packhorse-sim -- --help`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use packhorse_sim::link::{LinkConfig, Loss};
use packhorse_sim::random::Random;
use packhorse_sim::report::{Report, explain};
use packhorse_sim::scenario::Scenario;
use packhorse_sim::script::{Library, Variant};
use packhorse_sim::world::Side;
use packhorse_sim::{Instant, fuzz, goodput, pcapng, time_sequence};
use packhorse_tcp::congestion::Congestion;

/// A deterministic world for the tests of Packhorse's TCP.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many worlds and prints what came of them.
    Worlds {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// The first seed; the others follow it.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// On how many threads; as many as there are processors if not given.
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Runs one world and prints its segments.
    World {
        /// Which.
        seed: u64,
        /// Writes the packets, as the left side sees them, for Wireshark.
        #[arg(long)]
        pcapng: Option<PathBuf>,
    },
    /// Looks for inputs that make a connection do something new, and keeps them.
    Fuzz {
        /// How many inputs to try.
        #[arg(long, default_value_t = 100_000)]
        count: u64,
        /// The seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Prints how fast one stream is, by loss, delay and controller.
    Goodput,
    /// Sends one long stream over a good path and checks every byte.
    Stream {
        /// How long, in bytes: 4 GiB and a little, so that the numbers wrap.
        #[arg(long, default_value_t = (4 << 30) + 10_000_000)]
        bytes: u64,
    },
    /// Plays scripts.
    Script {
        /// Which; all that are not wanted if none is given.
        paths: Vec<PathBuf>,
        /// Plays those that WANTED.md lists, and says which of them hold now.
        #[arg(long)]
        wanted: bool,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Worlds {
            count,
            seed,
            threads,
        } => worlds(count, seed, threads),
        Command::World { seed, pcapng } => world(seed, pcapng.as_deref()),
        Command::Fuzz { count, seed } => match fuzz(count, seed) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        Command::Goodput => goodput(),
        Command::Stream { bytes } => stream(bytes),
        Command::Script { paths, wanted } => scripts(&paths, wanted),
    }
}

fn worlds(count: u64, seed: u64, threads: Option<usize>) -> ExitCode {
    let threads = threads.or_else(|| {
        let processors = std::thread::available_parallelism().ok()?;
        Some(processors.get())
    });
    let report = Report::of(seed, count, threads.unwrap_or(1));
    print!("{report}");
    let Some((first, _)) = report.wrong.first() else {
        return ExitCode::SUCCESS;
    };
    if let Some(explanation) = explain(*first) {
        println!("\n{explanation}");
    }
    println!("\nReplay: cargo run --release -p packhorse-sim -- world {first}");
    ExitCode::FAILURE
}

fn world(seed: u64, file: Option<&Path>) -> ExitCode {
    let scenario = Scenario::draw(seed);
    println!("{scenario:#?}");
    let (trace, code) = match scenario.run(true) {
        Ok(outcome) => {
            println!("{:#?}", outcome.progress);
            println!("{:#?}", outcome.links);
            (outcome.trace, ExitCode::SUCCESS)
        }
        Err((wrong, trace)) => {
            println!("WRONG: {wrong}");
            (trace, ExitCode::FAILURE)
        }
    };
    let Some(trace) = trace else {
        return code;
    };
    print!("{}", time_sequence::write(trace.records()));
    if let Some(path) = file {
        let left = trace.records().iter().filter(|r| r.side == Side::Left);
        if let Err(error) = fs::write(path, pcapng::write(left)) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    code
}

fn goodput() -> ExitCode {
    let goodputs: Result<Vec<_>, _> = goodput::Cell::all().map(|cell| cell.measure()).collect();
    match goodputs {
        Ok(goodputs) => {
            print!("{}", goodput::table(&goodputs));
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn stream(bytes: u64) -> ExitCode {
    let link = LinkConfig {
        packet_bytes_max: 9000,
        loss: Loss::Independent(200),
        ..LinkConfig::default()
    };
    let mut path = goodput::Path::new(Congestion::Cubic, link, bytes, 1);
    match path.read_until(Instant::default() + Duration::from_secs(24 * 3_600)) {
        Ok(read) if read == bytes => {
            let time = path.now().saturating_since(Instant::default());
            println!("{bytes} bytes came as they were sent, in {time:?} of virtual time");
            ExitCode::SUCCESS
        }
        Ok(read) => {
            eprintln!("only {read} bytes came in a day");
            ExitCode::FAILURE
        }
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// Where inputs are kept.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/connection");

fn fuzz(count: u64, seed: u64) -> std::io::Result<ExitCode> {
    fs::create_dir_all(CORPUS)?;
    let mut random = Random::new(seed);
    let mut reached = fuzz::Features::new();
    let mut inputs: Vec<Vec<u8>> = vec![Vec::new()];
    for (name, input) in fuzz::corpus(Path::new(CORPUS))? {
        match fuzz::play(&input) {
            Ok(features) => reached.extend(features),
            Err(finding) => println!("{name}: {finding}"),
        }
        inputs.push(input);
    }
    let (known, mut wrong) = (inputs.len(), 0);
    for _ in 0..count {
        let [first, second] = [(); 2].map(|()| random.below(inputs.len() as u64) as usize);
        let input = fuzz::mutate(&inputs[first], &inputs[second], &mut random);
        let played = std::panic::catch_unwind(|| fuzz::play(&input));
        let is_kept = match played {
            Ok(Ok(features)) => {
                let before = reached.len();
                reached.extend(features);
                reached.len() > before
            }
            Ok(Err(finding)) => {
                println!("{finding}");
                wrong += 1;
                true
            }
            Err(_) => {
                wrong += 1;
                true
            }
        };
        if is_kept {
            let number = random.next_u64();
            fs::write(format!("{CORPUS}/{number:016x}.input"), &input)?;
            inputs.push(input);
        }
        if wrong > 10 {
            break;
        }
    }
    println!(
        "{count} inputs: {} were kept, {} things are reached, {wrong} went wrong",
        inputs.len() - known,
        reached.len()
    );
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn scripts(paths: &[PathBuf], wanted: bool) -> ExitCode {
    let library = match Library::open() {
        Ok(library) => library,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let names: Vec<String> = if paths.is_empty() {
        let is_chosen = |name: &&String| library.is_wanted(name) == wanted;
        library.names().iter().filter(is_chosen).cloned().collect()
    } else {
        let names = paths.iter().map(|path| library.name_of(path));
        names.collect()
    };
    let mut failures = 0;
    for name in &names {
        match library.play(name, &Variant::ALL) {
            Ok(()) if wanted => println!("{name}: holds"),
            Ok(()) => {}
            Err(failure) => {
                failures += 1;
                println!("{name}: {failure}");
            }
        }
    }
    println!("{} scripts, {failures} do not hold", names.len());
    if failures == 0 || wanted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
