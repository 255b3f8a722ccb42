//! Client and server killed at random moments, and what they leave damaged in between, again and
//! again: nothing wrong ever gets a name, nothing that is right is fetched again, and in the end all
//! is there. (THREATS 18, 23 and 25.)
//!
//! A few points in every test run; `cargo xtask kill-loop --points N` makes more.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{SeekFrom, seek};
use rustix::process::Signal;

use crate::sandbox::{Sandbox, Server, json_lines, walk};

/// Points without a word from outside.
const POINTS: u64 = 16;
const MIB: u64 = 1 << 20;
/// The files that come in groups, and how long they are.
const LARGE: [(&str, u64); 3] = [
    ("large", 14 * MIB + 123),
    ("d/medium", 3 * MIB),
    ("d/one", MIB - 1),
];
const SMALL: usize = 60;
/// Connections, at most, and so groups that may be torn by a kill.
const CONNECTIONS_MAX: u64 = 4;

/// Numbers that look random, the same for every run with one seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    clients_killed: u64,
    servers_killed: u64,
    finished: u64,
    damages: BTreeMap<&'static str, u64>,
    groups_kept: u64,
    groups_torn: u64,
    torn_at_once: usize,
    groups_damaged: u64,
}

/// What is half done of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct HalfDone {
    path: PathBuf,
    /// Groups that hold what they should.
    right: BTreeSet<u64>,
    /// Groups that hold something else.
    wrong: BTreeSet<u64>,
}

struct Loop<'s> {
    sandbox: &'s Sandbox,
    random: Random,
    tally: Tally,
    server: Option<Server<'s>>,
    port: u16,
    destination: PathBuf,
    contents: BTreeMap<&'static str, Vec<u8>>,
}

impl<'s> Loop<'s> {
    fn new(sandbox: &'s Sandbox, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut contents = BTreeMap::new();
        for (name, size) in LARGE {
            let mut content: Vec<u8> = (0..size / 8 + 1)
                .flat_map(|_| random.next().to_le_bytes())
                .collect();
            content.truncate(size as usize);
            sandbox.serve_file(name, &content);
            contents.insert(name, content);
        }
        for number in 0..SMALL {
            let content = vec![number as u8; number * 50];
            sandbox.serve_file(format!("d{}/f{number}", number % 5), content);
        }
        Self {
            sandbox,
            random,
            tally: Tally::default(),
            server: None,
            port: 0,
            destination: sandbox.path("here").join("dest"),
            contents,
        }
    }

    fn start_server(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let path = |name: &str| self.sandbox.path(name).to_str().unwrap().to_owned();
        let (key, identity) = (path("key"), path("identity"));
        let server = self.sandbox.serve(&[
            "--listen",
            &listen,
            "--key-file",
            &key,
            "--identity",
            &identity,
        ]);
        self.port = server.port();
        self.server = Some(server);
    }

    fn kill_server(&mut self) {
        let server = self.server.take().unwrap();
        server.running.signal(Signal::KILL);
        assert_eq!(server.running.wait().code, None);
        self.tally.servers_killed += 1;
    }

    /// One client, which is killed on its way, unless it is quicker.
    fn point(&mut self) {
        let before = self.half_done();
        let connections = (1 + self.random.below(CONNECTIONS_MAX)).to_string();
        let report = self.sandbox.path("report");
        let mut command = self.sandbox.command(&["get", "--quiet", "-o", "dest"]);
        command.args(["--rate-limit", "60M", "--connections", &connections]);
        command.arg("--report").arg(&report);
        command.arg(&self.server.as_ref().unwrap().address);
        let mut client = self.sandbox.start(&mut command);
        let kills_server = self.random.below(4) == 0;
        if kills_server {
            sleep(Duration::from_micros(self.random.below(250_000)));
            self.kill_server();
            self.start_server();
        }
        // Now and then it is let go on to its end.
        let is_spared = self.random.below(8) == 0;
        if !is_spared {
            sleep(Duration::from_micros(20_000 + self.random.below(330_000)));
        }
        if !is_spared && client.is_running() {
            client.signal(Signal::KILL);
        }
        let ended = client.wait();
        // A server that goes before it was ever reached is not dialled again.
        let is_unreached = kills_server && ended.code == Some(3);
        if ended.code.is_none() || is_unreached {
            self.tally.clients_killed += u64::from(!is_unreached);
            self.check_killed(&before);
            return self.damage();
        }
        let ended = ended.code(0);
        assert!(kills_server || ended.stderr.is_empty(), "{}", ended.stderr);
        self.check_finished(&before, &report);
        self.tally.finished += 1;
        fs::remove_dir_all(&self.destination).unwrap();
    }

    /// What has a name is whole; what was right before is right still.
    fn check_killed(&mut self, before: &BTreeMap<&'static str, HalfDone>) {
        for (name, content) in &self.contents {
            if let Ok(found) = fs::read(self.destination.join(name)) {
                assert!(found == *content, "{name} is wrong");
            }
        }
        for number in 0..SMALL {
            let path = format!("d{}/f{number}", number % 5);
            if let Ok(found) = fs::read(self.destination.join(path)) {
                assert!(found == vec![number as u8; number * 50], "{number}");
            }
        }
        let now = self.half_done();
        let mut torn = 0;
        for (name, before) in before {
            if let Some(now) = now.get(name) {
                assert!(now.right.is_superset(&before.right), "{name} lost a group");
            } else {
                let has_name = self.destination.join(name).exists();
                assert!(has_name || before.right.is_empty(), "{name} is lost");
            }
        }
        for (name, now) in &now {
            let known = before.get(name).map(|before| &before.wrong);
            let is_new = |group: &&u64| known.is_none_or(|known| !known.contains(group));
            torn += now.wrong.iter().filter(is_new).count();
        }
        assert!(
            torn as u64 <= CONNECTIONS_MAX,
            "{torn} groups were being written"
        );
        self.tally.groups_torn += torn as u64;
        self.tally.torn_at_once = self.tally.torn_at_once.max(torn);
    }

    /// All is there; what was right was kept, and exactly what was wrong was fetched again.
    fn check_finished(&mut self, before: &BTreeMap<&'static str, HalfDone>, report: &Path) {
        let source = walk(&self.sandbox.path("served"));
        assert_eq!(walk(&self.destination), source);
        let summary = json_lines(&fs::read(report).unwrap()).pop().unwrap();
        let length = |name: &str, group: u64| {
            let (_, size) = LARGE.iter().find(|(it, _)| *it == name).unwrap();
            MIB.min(size - group * MIB)
        };
        let bytes = |groups: fn(&HalfDone) -> &BTreeSet<u64>| -> u64 {
            let of_file = |(name, file): (&&'static str, &HalfDone)| {
                let lengths = groups(file).iter().map(|&group| length(name, group));
                lengths.sum::<u64>()
            };
            before.iter().map(of_file).sum()
        };
        assert_eq!(summary["bytes_resumed"], bytes(|file| &file.right));
        assert_eq!(
            summary["bytes_again"]["differing"],
            bytes(|file| &file.wrong)
        );
        assert_eq!(summary["damaged"], 0);
        let all: u64 = ["bytes_fetched", "bytes_kept"]
            .iter()
            .map(|name| summary[name].as_u64().unwrap())
            .sum();
        let small: u64 = (0..SMALL as u64).map(|number| number * 50).sum();
        let size: u64 = LARGE.iter().map(|(_, size)| size).sum::<u64>() + small;
        assert_eq!(all, size, "nothing else was fetched twice: {summary}");
        self.tally.groups_kept += before
            .values()
            .map(|file| file.right.len() as u64)
            .sum::<u64>();
    }

    /// What is half done, by the names that it will get.
    fn half_done(&self) -> BTreeMap<&'static str, HalfDone> {
        let mut found = BTreeMap::new();
        for path in partial_files(&self.destination) {
            let Some((name, content)) = self.contents.iter().find(|(name, _)| {
                let digits = packhorse_protocol::content::ContentHash::of(name.as_bytes());
                path.ends_with(format!("part-{}", &digits.to_string()[..32]))
            }) else {
                continue;
            };
            let Ok(file) = File::open(&path) else {
                continue;
            };
            if !fs::symlink_metadata(&path).unwrap().is_file() {
                continue;
            }
            let mut half_done = HalfDone {
                path: path.clone(),
                ..HalfDone::default()
            };
            for group in groups_with_data(&file, content.len() as u64) {
                let start = (group * MIB) as usize;
                let expected = &content[start..content.len().min(start + MIB as usize)];
                let mut bytes = vec![0; expected.len()];
                let is_right =
                    file.read_exact_at(&mut bytes, group * MIB).is_ok() && bytes == expected;
                match is_right {
                    true => half_done.right.insert(group),
                    false => half_done.wrong.insert(group),
                };
            }
            found.insert(*name, half_done);
        }
        found
    }

    /// Does something to what was left.
    fn damage(&mut self) {
        let half_done = self.half_done();
        let choice = self.random.below(half_done.len().max(1) as u64);
        let Some(file) = half_done.values().nth(choice as usize) else {
            return;
        };
        let path = &file.path;
        let open = || File::options().read(true).write(true).open(path).unwrap();
        let kind = match self.random.below(12) {
            0..4 => {
                let groups: Vec<_> = file.right.iter().collect();
                if groups.is_empty() {
                    return;
                }
                let group = *groups[self.random.below(groups.len() as u64) as usize];
                let file = open();
                let end = file.metadata().unwrap().len();
                let within = self.random.below(MIB.min(end - group * MIB));
                let (at, mut byte) = (group * MIB + within, [0]);
                file.read_exact_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << self.random.below(8);
                file.write_all_at(&byte, at).unwrap();
                "a bit flipped"
            }
            4 => {
                let file = open();
                let length = file.metadata().unwrap().len();
                file.set_len(self.random.below(length)).unwrap();
                "cut"
            }
            5 => {
                let file = open();
                let length = file.metadata().unwrap().len();
                file.set_len(length + 1 + self.random.below(5 * MIB))
                    .unwrap();
                file.write_all_at(b"more", length).unwrap();
                "grown"
            }
            6 => {
                fs::remove_file(path).unwrap();
                symlink("/dev/null", path).unwrap();
                "replaced by a link"
            }
            7 => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
                "replaced by a directory"
            }
            8 => {
                fs::remove_file(path).unwrap();
                "removed"
            }
            _ => return,
        };
        let now = self.half_done();
        let right = |all: &BTreeMap<_, HalfDone>| -> u64 {
            all.values().map(|file| file.right.len() as u64).sum()
        };
        self.tally.groups_damaged += right(&half_done) - right(&now);
        *self.tally.damages.entry(kind).or_default() += 1;
    }
}

fn partial_files(destination: &Path) -> Vec<PathBuf> {
    let Ok(jobs) = fs::read_dir(destination.join(".packhorse-partial")) else {
        return Vec::new();
    };
    let files = jobs.flat_map(|job| fs::read_dir(job.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// The groups of a file of `size` bytes in which anything was written.
fn groups_with_data(file: &File, size: u64) -> BTreeSet<u64> {
    let mut groups = BTreeSet::new();
    let mut at = 0;
    while at < size
        && let Ok(start) = seek(file, SeekFrom::Data(at))
        && start < size
    {
        let end = seek(file, SeekFrom::Hole(start)).unwrap().min(size);
        groups.extend(start / MIB..end.div_ceil(MIB));
        at = end;
    }
    groups
}

#[test]
fn whatever_is_killed_and_damaged_the_end_is_right() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let points = number("PACKHORSE_KILL_POINTS");
    let seed = number("PACKHORSE_KILL_SEED").unwrap_or(1);
    let sandbox = Sandbox::in_memory();
    let mut kill_loop = Loop::new(&sandbox, seed);
    kill_loop.start_server();
    for point in 0..points.unwrap_or(POINTS) {
        kill_loop.point();
        if points.is_some() && (point + 1) % 100 == 0 {
            println!("{} points: {:?}", point + 1, kill_loop.tally);
        }
    }
    // What is left is finished too.
    let before = kill_loop.half_done();
    let report = sandbox.path("report");
    let mut command = sandbox.command(&["get", "--quiet", "-o", "dest", "--report"]);
    let address = &kill_loop.server.as_ref().unwrap().address;
    sandbox
        .start(command.arg(&report).arg(address))
        .wait()
        .code(0);
    kill_loop.check_finished(&before, &report);
    println!("seed {seed}: {:?}", kill_loop.tally);
    assert!(kill_loop.tally.clients_killed > 0);
}
