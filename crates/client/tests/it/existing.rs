//! What becomes of what is there already.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use packhorse_protocol::content::ContentHash;
use packhorse_protocol::message::{ReadWhat, Request};
use packhorse_storage::destination::Existing;

use crate::scene::{Clock, Outcome, Scene, describe_content, within};
use crate::scripted_server::Script;
use crate::tree::{MODIFIED, ServedTree, noise};

const MIB: usize = 1 << 20;

/// What is in the place of the file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    /// The same content and time.
    Same,
    /// The same content with another time.
    Touched,
    /// Other content of the same size.
    Different,
    Shorter,
    Longer,
    Directory,
    Link,
    Fifo,
}

use There::{Different, Directory, Fifo, Link, Longer, Same, Shorter, Touched};

const ALL: [There; 8] = [
    Same, Touched, Different, Shorter, Longer, Directory, Link, Fifo,
];

fn put(scene: Scene, there: There, content: &[u8]) -> Scene {
    let mut content = content.to_vec();
    match there {
        Same | Touched => {}
        Different => content[0] ^= 1,
        Shorter => content.truncate(content.len() - 1),
        Longer => content.push(0),
        Directory => return scene.put_directory("f"),
        Link => return scene.put_link("f", "../outside/canary"),
        Fifo => {
            let scene = scene.put_directory("");
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            rustix::fs::mkfifoat(rustix::fs::CWD, scene.at("f"), mode).unwrap();
            return scene;
        }
    }
    let scene = scene.put("f", content);
    if there == Same {
        let (seconds, nanoseconds) = MODIFIED;
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds as u64, nanoseconds);
        let file = fs::File::options().write(true).open(scene.at("f"));
        file.unwrap().set_modified(time).unwrap();
    }
    scene
}

/// What shall become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays, and counts as fetched.
    Kept,
    /// It stays, and the file fails.
    Refused,
    /// It makes room.
    Replaced,
    /// It stays, and the file is beside it.
    Beside,
}

fn fate(existing: Existing, by_content: bool, is_large: bool, there: There) -> Fate {
    match (existing, there) {
        (_, Same) => Fate::Kept,
        // Large files are compared before they are fetched, if they would be.
        (Existing::Refuse, Touched) if by_content => Fate::Kept,
        (_, Touched) if existing != Existing::Refuse && (by_content || is_large) => Fate::Kept,
        (Existing::Refuse, _) | (Existing::Overwrite, Directory) => Fate::Refused,
        (Existing::Overwrite, _) => Fate::Replaced,
        (Existing::KeepBoth, _) => Fate::Beside,
    }
}

#[test]
fn every_policy_meets_everything_that_may_be_there() {
    within(Clock::Paused, || async {
        for existing in [Existing::Refuse, Existing::Overwrite, Existing::KeepBoth] {
            for checksum in [false, true] {
                for (size, there) in [1000, 2 * MIB + 5]
                    .iter()
                    .flat_map(|size| ALL.map(|a| (*size, a)))
                {
                    for dry_run in [false, true] {
                        let content = noise(1, size);
                        let mut tree = ServedTree::new();
                        tree.file("f", content.clone());
                        let scene = put(Scene::new(tree), there, &content).existing(existing);
                        let scene = scene.settings(|settings| {
                            settings.checksum = checksum;
                            settings.dry_run = dry_run;
                        });
                        let before = state(&scene);
                        let outcome = scene.run().await;
                        let fate = fate(existing, checksum, size > MIB, there);
                        let what = format!(
                            "{existing:?}, checksum {checksum}, {there:?}, {size} bytes, dry {dry_run}: {}",
                            outcome.summary()
                        );
                        if dry_run {
                            assert_eq!(state(&scene), before, "{what}");
                            check_dry(fate, &outcome, &what);
                        } else {
                            check(fate, &scene, &before, &content, &outcome, &what);
                        }
                    }
                }
            }
        }
    });
}

fn check(
    fate: Fate,
    scene: &Scene,
    before: &[String],
    content: &[u8],
    outcome: &Outcome,
    what: &str,
) {
    let new = describe_content(content);
    let moved = moved(outcome);
    match fate {
        Fate::Kept => {
            assert_eq!(outcome.events, ["kept f"], "{what}");
            assert_eq!(outcome.tree, [format!("f: {new}")], "{what}");
            let time = fs::metadata(scene.at("f")).unwrap();
            assert_eq!((time.mtime(), time.mtime_nsec() as u32), MODIFIED, "{what}");
            assert_eq!(time.mode() & 0o777, 0o640, "{what}");
            assert_eq!(moved, 0, "{what}");
        }
        Fate::Refused => {
            assert_eq!(outcome.events, ["failed f Exists"], "{what}");
            assert_eq!(outcome.exit, ["some failed"], "{what}");
            let after = state(scene);
            assert_eq!(after[1..], before[1..], "{what}");
        }
        Fate::Replaced => {
            assert_eq!(outcome.tree, [format!("f: {new}")], "{what}");
            assert!(outcome.exit.is_empty(), "{what}");
        }
        Fate::Beside => {
            let beside = format!("f (1): {new}");
            assert!(outcome.tree.contains(&beside), "{what}");
            assert_eq!(outcome.tree.len(), 2, "{what}");
            assert_eq!(
                outcome.events,
                [format!("fetched f (1) {}", content.len())],
                "{what}"
            );
            assert!(outcome.exit.is_empty(), "{what}");
        }
    }
}

fn check_dry(fate: Fate, outcome: &Outcome, what: &str) {
    let told = outcome.events.join("\n");
    match fate {
        Fate::Kept => assert_eq!(told, "kept f", "{what}"),
        // Whether a directory would be in the way shows only at the end of a real run.
        Fate::Refused => assert!(
            told == "failed f Exists" || told.starts_with("wanted f"),
            "{what}"
        ),
        Fate::Replaced | Fate::Beside => assert!(told.starts_with("wanted f "), "{what}"),
    }
    assert_eq!(moved(outcome), 0, "{what}");
}

/// How many requests for content there were.
fn moved(outcome: &Outcome) -> usize {
    let calls = outcome.log.calls.iter();
    let moves = calls.filter(|call| match &call.request {
        Request::Fetch(_) => true,
        Request::Read(read) => read.what == ReadWhat::Content && !read.range.is_empty(),
        _ => false,
    });
    moves.count()
}

/// Everything about the destination and what is in it; the destination itself first.
fn state(scene: &Scene) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |at: std::path::PathBuf| {
        let status = fs::symlink_metadata(&at).unwrap();
        let content = status.is_file().then(|| fs::read(&at).unwrap());
        let content = content.map(|content| describe_content(&content));
        let times = (status.mtime(), status.mtime_nsec());
        let state = (status.mode(), status.ino(), times);
        lines.push(format!("{} {state:?} {content:?}", at.display()));
    };
    add(scene.destination());
    let mut entries: Vec<_> = fs::read_dir(scene.destination()).unwrap().collect();
    entries.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    entries
        .into_iter()
        .for_each(|entry| add(entry.unwrap().path()));
    lines
}

/// Only the groups that differ travel, whatever is shorter or longer.
#[test]
fn an_overwritten_file_costs_only_what_differs() {
    within(Clock::Paused, || async {
        let content = noise(1, 5 * MIB + 5);
        let groups = |list: &[u64]| list.to_vec();
        let differing = |at: &[usize]| {
            let mut content = content.clone();
            at.iter().for_each(|&at| content[at] ^= 1);
            content
        };
        let cases = [
            ("one byte", differing(&[3 * MIB + 7]), groups(&[3])),
            ("the last byte", differing(&[5 * MIB + 4]), groups(&[5])),
            ("two groups", differing(&[0, 4 * MIB]), groups(&[0, 4])),
            (
                "shorter by a byte",
                content[..5 * MIB + 4].to_vec(),
                groups(&[5]),
            ),
            (
                "shorter by groups",
                content[..3 * MIB].to_vec(),
                groups(&[3, 4, 5]),
            ),
            (
                "shorter than a group",
                content[..9].to_vec(),
                groups(&[0, 1, 2, 3, 4, 5]),
            ),
            ("empty", Vec::new(), groups(&[0, 1, 2, 3, 4, 5])),
            (
                "longer",
                [&content[..], &[0; 2 * MIB]].concat(),
                groups(&[5]),
            ),
            ("only the time", content.clone(), groups(&[])),
        ];
        for (what, there, expected) in cases {
            let mut tree = ServedTree::new();
            tree.file("f", content.clone());
            let scene = Scene::new(tree.clone()).put("f", &there);
            let scene = scene.existing(Existing::Overwrite);
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree);
            assert_eq!(outcome.log.groups("f"), expected, "{what}");
            let common = there.len().min(content.len());
            let hashes = match there.len() == content.len() {
                true => 6,
                false => (common / MIB) as u64,
            };
            assert_eq!(outcome.log.hashes("f"), hashes, "{what}");
        }
    });
}

#[test]
fn directories_and_links_meet_what_is_there() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.directory("d").file("d/f", "1").link("l", "d/f");
        let failed = "failed d Exists\nfailed d/f NotDirectory\nfailed l Exists\nexit: some failed";
        for (existing, expected) in [
            (Existing::Refuse, format!("d: file\nl: file\n--\n{failed}")),
            (
                Existing::Overwrite,
                "d/\nd/f: 1\nl -> d/f\n--\nlinked l".to_owned(),
            ),
            (
                Existing::KeepBoth,
                "d: file\nl: file\nl (1) -> d/f\n--\nfailed d Exists\nfailed d/f NotDirectory\n\
                 linked l\nexit: some failed"
                    .to_owned(),
            ),
        ] {
            let scene = Scene::new(tree.clone()).put("d", "file").put("l", "file");
            let outcome = scene.existing(existing).run().await;
            assert_eq!(outcome.summary(), expected, "{existing:?}");
        }
        // A link to a directory is none, whoever made it.
        for existing in [Existing::Refuse, Existing::KeepBoth, Existing::Overwrite] {
            let scene = Scene::new(tree.clone()).put_link("d", "../outside");
            let outcome = scene.existing(existing).run().await;
            let expected = match existing {
                Existing::Overwrite => "d/\nd/f: 1\nl -> d/f\n--\nlinked l",
                _ => {
                    "d -> ../outside\nl -> d/f\n--\nfailed d Exists\nfailed d/f NotDirectory\n\
                     linked l\nexit: some failed"
                }
            };
            assert_eq!(outcome.summary(), expected, "{existing:?}");
        }
        // A directory where a link goes, and a link where the same link goes.
        let scene = Scene::new(tree.clone()).put_directory("l");
        let outcome = scene.existing(Existing::Overwrite).run().await;
        assert_eq!(
            outcome.summary(),
            "d/\nd/f: 1\nl/\n--\nfailed l Exists\nexit: some failed"
        );
        let scene = Scene::new(tree.clone()).put_link("l", "d/f");
        let outcome = scene.run().await;
        assert_eq!(outcome.summary(), "d/\nd/f: 1\nl -> d/f\n--\nkept l");
        let scene = Scene::new(tree.clone()).put_link("l", "elsewhere");
        let outcome = scene.existing(Existing::Overwrite).run().await;
        assert_eq!(outcome.summary(), "d/\nd/f: 1\nl -> d/f\n--\nlinked l");
    });
}

/// Where content decides, a second run took what the first had placed beside for something else, and
/// placed it once more.
#[test]
fn what_was_placed_beside_is_known_by_its_content() {
    within(Clock::Paused, || async {
        for size in [1000, 2 * MIB + 5] {
            let content = noise(1, size);
            for there in [Different, Shorter, Longer, Directory, Link, Fifo] {
                for expects in [false, true] {
                    let mut tree = ServedTree::new();
                    tree.file("f", content.clone());
                    let scene = put(Scene::new(tree.clone()), there, &content);
                    let mut other = content.clone();
                    other[size - 1] ^= 1;
                    let scene = scene.put("f (1)", &other);
                    let scene = scene.existing(Existing::KeepBoth).ask("f");
                    let mut scene = scene.settings(|settings| match expects {
                        true => settings.expect = Some(ContentHash::of(&content)),
                        false => settings.checksum = true,
                    });
                    let what = format!("{there:?}, {size} bytes, expects {expects}");
                    let outcome = scene.run().await;
                    assert_eq!(outcome.events, [format!("fetched f (2) {size}")], "{what}");
                    let mut before = state(&scene);
                    for dry_run in [false, true] {
                        scene = scene.beside(tree.clone(), Script::default());
                        scene.settings.dry_run = dry_run;
                        let outcome = scene.run().await;
                        assert_eq!(outcome.events, ["kept f (2)"], "{what}");
                        assert_eq!(outcome.log.groups("f"), [0; 0], "{what}");
                        // The time of the destination itself is that of the last run.
                        let unchanged = usize::from(!dry_run);
                        assert_eq!(state(&scene)[unchanged..], before[unchanged..], "{what}");
                        before = state(&scene);
                    }
                }
            }
        }
    });
}

/// The destination itself may be reached through a link: that is its owner's own choice.
#[test]
fn what_is_outside_stays_when_the_destination_holds_links_to_it() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("f", noise(1, 2 * MIB)).file("g", "small");
        for existing in [Existing::Refuse, Existing::Overwrite, Existing::KeepBoth] {
            for checksum in [false, true] {
                let scene = Scene::new(tree.clone())
                    .put_link("f", "../outside/canary")
                    .put_link("g", "../outside/new")
                    .existing(existing)
                    .settings(|settings| settings.checksum = checksum);
                scene.run().await;
            }
        }
    });
}

/// With a root that its owner may not write to, the second run could not make its folder.
#[test]
fn a_destination_that_was_sealed_can_be_filled_again() {
    within(Clock::Paused, || async {
        give_up_privileges();
        let mode = |scene: &Scene| {
            let found = fs::metadata(scene.destination()).unwrap();
            found.permissions().mode() & 0o777
        };
        let mut tree = ServedTree::new();
        tree.file("a", "1");
        let scene = Scene::new(tree.clone());
        scene.run().await.expect_all(&scene, "", &tree);
        let sealed = Permissions::from_mode(0o555);
        fs::set_permissions(scene.destination(), sealed).unwrap();
        tree.file("b", "2");
        let next = scene.beside(tree.clone(), Script::default());
        next.run().await.expect_all(&next, "", &tree);
        assert_ne!(mode(&next), 0o555, "it was sealed as the server says");
    });
}

/// Modes mean nothing to a user with all privileges. Gives them up for this thread and those that it
/// starts from here on.
fn give_up_privileges() {
    use rustix::process::geteuid;
    use rustix::thread::set_thread_uid;
    const NOBODY: u32 = 65534;

    if geteuid().is_root() {
        set_thread_uid(rustix::fs::Uid::from_raw(NOBODY)).unwrap();
    }
    assert!(!geteuid().is_root());
}
