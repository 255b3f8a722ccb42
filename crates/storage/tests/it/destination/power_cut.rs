//! What a power cut leaves, at every moment and whatever the file system has made durable of its own
//! accord by then. Threats 25 and 26.
//!
//! All calls of a download are logged, and replayed into a model of a file system that promises no
//! more than POSIX: a write may be lost until its file is synced, and what is done to a name until
//! the directory is synced, each for itself and in any order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use packhorse_protocol::content::ContentHash;
use packhorse_storage::disk::{Opening, Operation, Verdict};

use super::*;
use crate::trees::disk_with;

/// More pending calls than these that matter to one entry would be too many to try all subsets.
const PENDING_MAX: usize = 16;

/// A call that has succeeded, and what it does.
#[derive(Debug, Clone)]
enum Step {
    /// `path` comes to stand for something; a directory is something without content.
    Name {
        path: String,
        inode: usize,
    },
    /// `path` stands for nothing any more.
    Unname {
        path: String,
    },
    Write {
        inode: usize,
        at: usize,
        piece: Piece,
    },
    SetLength {
        inode: usize,
        length: usize,
    },
    SetTimes {
        inode: usize,
    },
    /// All that was done to the inode before is durable.
    SyncFile {
        inode: usize,
    },
    /// All that was done to names in it before is durable.
    SyncDirectory {
        path: String,
    },
    /// The download has said that `path` is done.
    Reported {
        path: String,
    },
}

/// What was written at once: how long it is, and its hash.
type Piece = (usize, ContentHash);

/// The content of a file: its pieces by where they begin. Nothing here writes across pieces.
type Content = BTreeMap<usize, Piece>;

fn piece(bytes: &[u8]) -> Piece {
    (bytes.len(), ContentHash::of(bytes))
}

/// `bytes` as they are written: group by group.
fn in_pieces(bytes: &[u8]) -> Content {
    let groups = bytes.chunks(GROUP_BYTES).zip(0..);
    groups
        .map(|(group, index)| (index * GROUP_BYTES, piece(group)))
        .collect()
}

/// The live file system, to know what each path stands for, and the log.
#[derive(Debug, Default)]
struct Log {
    steps: Vec<Step>,
    names: BTreeMap<String, usize>,
    /// Which inode a file that is open at a path is; it keeps that path when it is renamed.
    open: BTreeMap<String, usize>,
    inodes: usize,
}

impl Log {
    fn with(existing: &[&str]) -> Self {
        let mut log = Self::default();
        for path in existing {
            let inode = log.new_inode();
            log.names.insert((*path).to_owned(), inode);
        }
        log
    }

    fn new_inode(&mut self) -> usize {
        self.inodes += 1;
        self.inodes
    }

    fn name(&mut self, path: &str, inode: usize) {
        self.names.insert(path.to_owned(), inode);
        let path = path.to_owned();
        self.steps.push(Step::Name { path, inode });
    }

    fn unname(&mut self, path: &str) {
        if self.names.remove(path).is_some() {
            let path = path.to_owned();
            self.steps.push(Step::Unname { path });
        }
    }

    fn make(&mut self, path: &str) -> usize {
        if let Some(&inode) = self.names.get(path) {
            // It fails.
            return inode;
        }
        let inode = self.new_inode();
        self.name(path, inode);
        inode
    }

    fn note(&mut self, path: &str, operation: Operation<'_>) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let opened = self.open.get(path).copied();
        match operation {
            Operation::Open(Opening::Create) => {
                let inode = self.make(path);
                self.open.insert(path.to_owned(), inode);
            }
            Operation::Open(Opening::Update) => {
                let inode = self.names[path];
                self.open.insert(path.to_owned(), inode);
            }
            Operation::CreateDirectory | Operation::MakeSymlink { .. } => {
                self.make(path);
            }
            Operation::HardLink { to } => {
                let inode = self.names[path];
                self.name(&text(to), inode);
            }
            Operation::Rename { to, replace } => {
                let to = text(to);
                if replace || !self.names.contains_key(&to) {
                    let inode = self.names[path];
                    self.name(&to, inode);
                    self.unname(path);
                }
            }
            Operation::RemoveFile | Operation::RemoveDirectory => {
                let below = format!("{path}/");
                if !self.names.keys().any(|name| name.starts_with(&below)) {
                    self.unname(path);
                }
            }
            Operation::Write { offset, bytes } => self.steps.push(Step::Write {
                inode: opened.unwrap(),
                at: offset as usize,
                piece: piece(bytes),
            }),
            Operation::SetLength { length } => self.steps.push(Step::SetLength {
                inode: opened.unwrap(),
                length: length as usize,
            }),
            Operation::SetTimes { .. } => {
                if let Some(&inode) = opened.as_ref().or(self.names.get(path)) {
                    self.steps.push(Step::SetTimes { inode });
                }
            }
            Operation::Sync => self.steps.push(match opened {
                Some(inode) => Step::SyncFile { inode },
                None => Step::SyncDirectory {
                    path: path.to_owned(),
                },
            }),
            Operation::Punch { .. } | Operation::Allocate { .. } => panic!("{operation:?}"),
            _ => {}
        }
    }
}

/// A disk that logs.
fn logging_disk(log: &Arc<Mutex<Log>>) -> Disk {
    let log = Arc::clone(log);
    disk_with(move |call| {
        let path = std::str::from_utf8(call.path).unwrap();
        log.lock().unwrap().note(path, call.operation);
        Ok(Verdict::Proceed)
    })
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

/// What stands at one path after a power cut: nothing, or content and whether its time was set.
type Found = Option<(Content, bool)>;

/// The steps that decide over `path`: those on the names that lead to it, and on all that it ever
/// stood for.
fn relevant(steps: &[Step], path: &str) -> Vec<usize> {
    let leads = |name: &str| path == name || path.starts_with(&format!("{name}/"));
    let stood_for = |inode: usize| {
        steps.iter().any(
            |step| matches!(step, Step::Name { path: at, inode: it } if at == path && *it == inode),
        )
    };
    let is_relevant = |step: &Step| match step {
        Step::Name { path, .. } | Step::Unname { path } => leads(path),
        Step::Write { inode, .. } | Step::SetLength { inode, .. } | Step::SetTimes { inode } => {
            stood_for(*inode)
        }
        Step::SyncFile { .. } | Step::SyncDirectory { .. } | Step::Reported { .. } => false,
    };
    (0..steps.len())
        .filter(|&at| is_relevant(&steps[at]))
        .collect()
}

/// Whether the step `at` was made durable by one behind it.
fn is_durable(steps: &[Step], at: usize) -> bool {
    steps[at..].iter().any(|step| match (&steps[at], step) {
        (Step::Name { path, .. } | Step::Unname { path }, Step::SyncDirectory { path: synced }) => {
            parent(path) == synced
        }
        (
            Step::Write { inode, .. } | Step::SetLength { inode, .. } | Step::SetTimes { inode },
            Step::SyncFile { inode: synced },
        ) => inode == synced,
        _ => false,
    })
}

/// What stands at `path` if of `steps` only those in `kept` have reached the disk.
fn replay(steps: &[Step], kept: &[usize], path: &str) -> Found {
    let mut names: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    let mut contents: BTreeMap<usize, (Content, bool)> = BTreeMap::new();
    for &at in kept {
        match &steps[at] {
            Step::Name { path, inode } => drop(names.insert(path, Some(*inode))),
            Step::Unname { path } => drop(names.insert(path, None)),
            Step::Write { inode, at, piece } => {
                contents.entry(*inode).or_default().0.insert(*at, *piece);
            }
            Step::SetLength { inode, length } => {
                let (content, _) = contents.entry(*inode).or_default();
                content.retain(|at, (bytes, _)| at + *bytes <= *length);
            }
            Step::SetTimes { inode } => contents.entry(*inode).or_default().1 = true,
            Step::SyncFile { .. } | Step::SyncDirectory { .. } | Step::Reported { .. } => {}
        }
    }
    // Every directory on the way must be there: made before the log began, or by it.
    let made: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Name { path: made, .. } if path.starts_with(&format!("{made}/")) => Some(made),
            _ => None,
        })
        .collect();
    if made
        .iter()
        .any(|it| !matches!(names.get(it.as_str()), Some(Some(_))))
    {
        return None;
    }
    match names.get(path) {
        Some(Some(inode)) => Some(contents.get(inode).cloned().unwrap_or_default()),
        Some(None) | None => None,
    }
}

/// Everything that can stand at `path` after a power cut behind `steps`.
fn possible(steps: &[Step], path: &str) -> Vec<Found> {
    let relevant = relevant(steps, path);
    let pending: Vec<_> = relevant
        .iter()
        .copied()
        .filter(|&at| !is_durable(steps, at))
        .collect();
    assert!(pending.len() <= PENDING_MAX, "{} pending", pending.len());
    let mut found: Vec<Found> = (0..1u32 << pending.len())
        .map(|subset| {
            let is_kept = |at: &usize| match pending.iter().position(|it| it == at) {
                Some(bit) => subset & (1 << bit) != 0,
                None => true,
            };
            let kept: Vec<_> = relevant.iter().copied().filter(is_kept).collect();
            replay(steps, &kept, path)
        })
        .collect();
    found.sort_by_key(|found| format!("{found:?}"));
    found.dedup();
    found
}

/// An entry of the download, and what it should hold; links and directories have no content here.
type Expected = (String, Vec<u8>);

/// Downloads one of everything; returns what was logged and what is expected of each entry.
fn logged(place: &Place, durable: bool) -> (Vec<Step>, Vec<Expected>) {
    let options = DestinationOptions {
        durable,
        existing: Existing::Overwrite,
        ..DestinationOptions::default()
    };
    let root = place.dest().to_str().unwrap().to_owned();
    let at = |path: &str| format!("{root}/new/{path}");
    let log = Arc::new(Mutex::new(Log::with(&[&root])));
    let to = place.at("new");
    let open = || Destination::open(logging_disk(&log), &to, &job(), options).unwrap();
    let reported = |path: &str| {
        let path = at(path);
        log.lock().unwrap().steps.push(Step::Reported { path });
    };
    let mut expected: Vec<Expected> = Vec::new();
    let mut expect = |path: &str, content: &[u8]| {
        reported(path);
        expected.push((at(path), content.to_vec()));
    };
    // An earlier run has begun the large file.
    let (large, small) = (content(1, 2 * GROUP_BYTES + 9), content(2, 700));
    let first_run = open();
    first_run.enter_directory(&path("d")).unwrap();
    let file = first_run
        .begin_large(&path("d/large"), &info(large.len()))
        .unwrap();
    let second = GroupIndex::new(1).unwrap();
    file.write_group(second, &large[GROUP_BYTES..2 * GROUP_BYTES])
        .unwrap();
    drop((file, first_run));

    let destination = open();
    destination.enter_directory(&path("d")).unwrap();
    destination.enter_directory(&path("d/e")).unwrap();
    expect("d/e", b"");
    let names = ["one", "two"].map(name);
    let small_info = info(small.len());
    let files = names.each_ref().map(|name| SmallFile {
        name,
        info: &small_info,
        content: &small,
    });
    for outcome in destination.write_small(&path("d/e"), &files) {
        outcome.unwrap();
    }
    expect("d/e/one", &small);
    expect("d/e/two", &small);
    let file = destination
        .begin_large(&path("d/large"), &info(large.len()))
        .unwrap();
    assert_eq!(file.found().len(), 1);
    for index in [0, 2] {
        let start = index as usize * GROUP_BYTES;
        let end = large.len().min(start + GROUP_BYTES);
        let group = GroupIndex::new(index).unwrap();
        file.write_group(group, &large[start..end]).unwrap();
    }
    file.finish().unwrap();
    expect("d/large", &large);
    destination
        .make_link(&path("link"), b"d/large", at_time())
        .unwrap();
    expect("link", b"");
    destination
        .hard_link(&path("d/e/one"), &path("d/second"))
        .unwrap();
    expect("d/second", &small);
    // The same name again, in the place of what was just made.
    write(&destination, "d/e/two", &content(3, 900)).unwrap();
    reported("d/e/two");
    for directory in ["d/e", "d", ""] {
        destination
            .seal_directory(&path(directory), &directory_info(0o755, at_time()))
            .unwrap();
    }
    assert!(destination.finish().root.is_ok());
    let steps = std::mem::take(&mut log.lock().unwrap().steps);
    (steps, expected)
}

fn at_time() -> Timestamp {
    at(5, 6)
}

/// What is wrong after a power cut at some moment: an entry that was reported and is missing or
/// incomplete, or one that has its name and not its content.
fn losses(steps: &[Step], expected: &[Expected]) -> Vec<(usize, String, &'static str)> {
    let replaced = in_pieces(&content(3, 900));
    let mut losses = Vec::new();
    for (path, content) in expected {
        let (content, is_two) = (in_pieces(content), path.ends_with("/two"));
        let relevant = relevant(steps, path);
        // Other steps change nothing here.
        let cuts = (1..=steps.len()).filter(|cut| {
            let is_sync = matches!(
                steps[cut - 1],
                Step::SyncFile { .. } | Step::SyncDirectory { .. } | Step::Reported { .. }
            );
            is_sync || relevant.contains(&(cut - 1))
        });
        for cut in cuts {
            let done = &steps[..cut];
            let is_reported = done
                .iter()
                .any(|step| matches!(step, Step::Reported { path: it } if it == path));
            for found in possible(done, path) {
                match found {
                    None if is_reported => losses.push((cut, path.clone(), "missing")),
                    None => {}
                    Some((found, time_is_set)) => {
                        let is_whole = found == content || (is_two && found == replaced);
                        if !is_whole || (!content.is_empty() && !time_is_set) {
                            losses.push((cut, path.clone(), "not whole"));
                        }
                    }
                }
            }
        }
    }
    losses
}

#[test]
fn what_was_reported_survives_if_that_was_asked_for() {
    let place = Place::in_memory();
    let (steps, expected) = logged(&place, true);
    assert!(steps.len() > 60, "{}", steps.len());
    let losses = losses(&steps, &expected);
    assert!(losses.is_empty(), "{losses:?}");
}

/// As the module's documentation says: names may be gone, and be there without their content. It
/// also shows that the model can lose something.
#[test]
fn what_may_be_lost_otherwise_is_what_was_said() {
    let place = Place::in_memory();
    let (steps, expected) = logged(&place, false);
    let losses = losses(&steps, &expected);
    for (path, _) in &expected {
        assert!(
            losses
                .iter()
                .any(|(_, at, what)| at == path && *what == "missing"),
            "{path}"
        );
    }
    let is_half =
        |(_, at, what): &(usize, String, &str)| at.ends_with("/one") && *what == "not whole";
    assert!(losses.iter().any(is_half));
}
