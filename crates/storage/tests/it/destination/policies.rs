//! What is there already, under every policy. Threats 14, 15 and 27.

use std::os::unix::fs::symlink;
use std::sync::Barrier;
use std::thread;

use packhorse_storage::destination::{EnterOutcome, Presence};
use packhorse_storage::status::Kind;

use super::*;

const POLICIES: [Existing; 3] = [Existing::Refuse, Existing::Overwrite, Existing::KeepBoth];

/// What may be there under the name `x`.
const THERE: [&str; 4] = ["file", "directory", "link", "dangling"];

fn put(place: &Place, there: &str) {
    match there {
        "file" => fs::write(place.at("x"), "old").unwrap(),
        "directory" => {
            fs::create_dir(place.at("x")).unwrap();
            fs::write(place.at("x/inner"), "old").unwrap();
        }
        "link" => symlink("../outside/secret", place.at("x")).unwrap(),
        _ => symlink("../outside/new", place.at("x")).unwrap(),
    }
}

fn is_as_put(place: &Place, there: &str) -> bool {
    match there {
        "file" => place.read("x") == b"old",
        "directory" => place.read("x/inner") == b"old",
        "link" => fs::read_link(place.at("x")).unwrap() == Path::new("../outside/secret"),
        _ => fs::read_link(place.at("x")).unwrap() == Path::new("../outside/new"),
    }
}

/// The ways in which an entry gets the name `x`.
type Bring = (&'static str, fn(&Destination) -> Result<Placed, EntryError>);

const BRING: [Bring; 4] = [
    ("small", |it| write(it, "x", b"new")),
    ("large", |it| write_large(it, "x", b"new")),
    ("symlink", |it| it.make_link(&path("x"), b"new", at(5, 6))),
    ("hard link", |it| {
        write(it, "first", b"new")?;
        it.hard_link(&path("first"), &path("x"))
    }),
];

fn has_come(place: &Place, how: &str, as_name: &str) -> bool {
    match how {
        "symlink" => {
            fs::read_link(place.at(as_name)).is_ok_and(|target| target == Path::new("new"))
        }
        _ => {
            let is_file = fs::symlink_metadata(place.at(as_name)).is_ok_and(|it| it.is_file());
            is_file && place.read(as_name) == b"new"
        }
    }
}

#[test]
fn what_is_there_stays_or_goes_as_asked() {
    for policy in POLICIES {
        for there in THERE {
            for (how, bring) in BRING {
                let what = format!("{how} where a {there} is, {policy:?}");
                let place = Place::new();
                put(&place, there);
                let destination = place.open(options(policy));
                let placed = bring(&destination);
                finish(&destination);
                match (policy, there) {
                    (Existing::Refuse, _) | (Existing::Overwrite, "directory") => {
                        let error = placed.unwrap_err();
                        assert!(error.is_refusal_to_overwrite(), "{what}: {error}");
                        assert!(error.to_string().contains("`x` exists already"), "{error}");
                        assert!(is_as_put(&place, there), "{what}");
                    }
                    (Existing::Overwrite, _) => {
                        assert_eq!(placed.unwrap(), Placed::Replaced, "{what}");
                        assert!(has_come(&place, how, "x"), "{what}");
                    }
                    (Existing::KeepBoth, _) => {
                        assert_eq!(placed.unwrap(), Placed::Beside(name("x (1)")), "{what}");
                        assert!(is_as_put(&place, there), "{what}");
                        assert!(has_come(&place, how, "x (1)"), "{what}");
                    }
                }
                assert!(!place.at(PARTIAL).exists(), "{what}");
                place.check_outside();
            }
        }
    }
}

#[test]
fn directories_are_shared_and_other_things_stay_or_go_as_asked() {
    for policy in POLICIES {
        for there in THERE {
            let what = format!("a directory where a {there} is, {policy:?}");
            let place = Place::new();
            put(&place, there);
            let destination = place.open(options(policy));
            let entered = destination.enter_directory(&path("x"));
            match (policy, there) {
                (_, "directory") => assert_eq!(entered.unwrap(), EnterOutcome::Existing, "{what}"),
                (Existing::Overwrite, _) => {
                    assert_eq!(entered.unwrap(), EnterOutcome::Replaced, "{what}");
                    assert!(
                        fs::symlink_metadata(place.at("x")).unwrap().is_dir(),
                        "{what}"
                    );
                }
                _ => {
                    assert!(entered.unwrap_err().is_refusal_to_overwrite(), "{what}");
                    assert!(is_as_put(&place, there), "{what}");
                }
            }
            place.check_outside();
        }
    }
}

/// A link that the peer sent, or that was there, is never gone through: not to write, not to
/// compare, not to read.
#[test]
fn nothing_goes_through_a_link() {
    for target in ["../outside", "/tmp", "inner", "."] {
        for policy in POLICIES {
            let place = Place::new();
            fs::create_dir(place.at("inner")).unwrap();
            symlink(target, place.at("link")).unwrap();
            let destination = place.open(options(policy));
            let below = path("link/x");
            let new = info(3);
            let link = |path: &str| destination.make_link(&super::path(path), b"t", at(1, 1));
            let results = [
                write(&destination, "link/x", b"new").map(drop),
                write_large(&destination, "link/x", b"new").map(drop),
                destination.compare(&below, &new).map(drop),
                destination.open_existing(&below).map(drop),
                destination.set_mode(&below, new.mode),
                destination.set_attributes(&below, &new),
                destination.enter_directory(&below).map(drop),
                destination.seal_directory(&path("link"), &directory_info(0o700, at(1, 1))),
                destination.seal_directory(&below, &directory_info(0o700, at(1, 1))),
                link("link/x").map(drop),
                destination.hard_link(&below, &path("y")).map(drop),
                write(&destination, "f", b"new")
                    .and_then(|_| destination.hard_link(&path("f"), &below))
                    .map(drop),
            ];
            for (index, result) in results.into_iter().enumerate() {
                let error = result.unwrap_err();
                assert!(
                    matches!(error, EntryError::NotDirectory { .. }),
                    "{index} through {target}: {error:?}"
                );
            }
            finish(&destination);
            assert_eq!(place.tree(), ["f", "inner/", "link"]);
            place.check_outside();
        }
    }
}

#[test]
fn a_link_is_not_a_file_to_read_or_to_link_to() {
    let place = Place::new();
    symlink("../outside/secret", place.at("link")).unwrap();
    fs::create_dir(place.at("directory")).unwrap();
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, place.at("fifo"), fifo).unwrap();
    let destination = place.open(options(Existing::Overwrite));
    for (what, kind) in [
        ("link", Kind::Symlink),
        ("directory", Kind::Directory),
        ("fifo", Kind::Special),
    ] {
        let presence = destination.compare(&path(what), &info(3)).unwrap();
        assert_eq!(presence, Presence::OtherKind(kind));
        let opened = destination.open_existing(&path(what)).map(drop);
        let linked = destination.hard_link(&path(what), &path("new")).map(drop);
        for error in [opened.unwrap_err(), linked.unwrap_err()] {
            assert!(matches!(error, EntryError::NotFile { .. }), "{error:?}");
        }
    }
    for error in [
        destination
            .begin_large(&RelativePath::ROOT, &info(1))
            .map(drop)
            .unwrap_err(),
        destination
            .open_existing(&RelativePath::ROOT)
            .map(drop)
            .unwrap_err(),
        destination
            .hard_link(&RelativePath::ROOT, &path("new"))
            .unwrap_err(),
    ] {
        assert!(matches!(error, EntryError::NotFile { .. }), "{error:?}");
    }
    finish(&destination);
    assert_eq!(place.tree(), ["directory/", "fifo", "link"]);
}

#[test]
fn the_number_beside_a_name_is_the_first_that_is_free() {
    let place = Place::new();
    for taken in ["a.txt", "a (1).txt", "a (3).txt"] {
        fs::write(place.at(taken), "old").unwrap();
    }
    let destination = place.open(options(Existing::KeepBoth));
    for (number, expected) in [(0, "a (2).txt"), (1, "a (4).txt"), (2, "a (5).txt")] {
        let content = content(number, 100);
        let placed = write(&destination, "a.txt", &content).unwrap();
        assert_eq!(placed, Placed::Beside(name(expected)));
        assert_eq!(place.read(expected), content);
    }
    let long = "\u{6587}".repeat(85);
    for expected in [
        Placed::New,
        Placed::Beside(name("\u{6587}".repeat(83) + " (1)")),
    ] {
        assert_eq!(write(&destination, &long, b"new").unwrap(), expected);
    }
}

#[test]
fn what_is_the_same_is_known() {
    let place = Place::new();
    let destination = place.open(options(Existing::Refuse));
    destination.enter_directory(&path("a")).unwrap();
    write(&destination, "a/f", b"hello").unwrap();
    let same = info(5);
    let compare = |at: &str, info: &FileInfo| destination.compare(&path(at), info).unwrap();
    assert_eq!(compare("a/f", &same), Presence::Same { mode: same.mode });
    let later = FileInfo {
        modified: at(1_600_000_000, 123_456_790),
        ..info(5)
    };
    assert_eq!(compare("a/f", &later), Presence::Different { size: 5 });
    assert_eq!(compare("a/f", &info(6)), Presence::Different { size: 5 });
    assert_eq!(compare("a/g", &same), Presence::Absent);
    assert_eq!(compare("b/c/d", &same), Presence::Absent);
    let other_mode = Mode::from_bits(0o400);
    destination.set_mode(&path("a/f"), other_mode).unwrap();
    assert_eq!(compare("a/f", &same), Presence::Same { mode: other_mode });
    destination.set_attributes(&path("a/f"), &later).unwrap();
    assert_eq!(compare("a/f", &later), Presence::Same { mode: later.mode });
    let existing = destination.open_existing(&path("a/f")).unwrap();
    let mut buffer = Vec::new();
    for (index, expected) in [(0, &b"hello"[..]), (1, b""), (1 << 40, b"")] {
        existing
            .read_group(GroupIndex::new(index).unwrap(), &mut buffer)
            .unwrap();
        assert_eq!((existing.size(), &buffer[..]), (5, expected));
    }
    fs::write(place.at("a/f"), "cut").unwrap();
    let error = existing
        .read_group(GroupIndex::FIRST, &mut buffer)
        .unwrap_err();
    assert!(matches!(error, EntryError::ChangedHere { .. }), "{error:?}");
}

/// Many threads, one name: whole contents only, and as many winners as the policy allows.
#[test]
fn a_race_for_a_name_has_no_mixture() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 60;
    let place = Place::in_memory();
    for policy in POLICIES {
        let destination = place.open(options(policy));
        for round in 0..ROUNDS {
            let name = format!("{policy:?}-{round}");
            let start = Barrier::new(THREADS);
            let race = |thread: usize| {
                let bytes = content(thread, 20_000);
                start.wait();
                match thread % 2 {
                    0 => write(&destination, &name, &bytes),
                    _ => write_large(&destination, &name, &bytes),
                }
            };
            let outcomes: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|it| scope.spawn(move || race(it)))
                    .collect();
                threads.into_iter().map(|it| it.join().unwrap()).collect()
            });
            let winners: Vec<_> = (0..THREADS)
                .filter(|&thread| matches!(outcomes[thread], Ok(Placed::New)))
                .collect();
            let found = place.read(&name);
            let expected = |thread: usize| found == content(thread, 20_000);
            assert_eq!(winners.len(), 1, "{name}: {outcomes:?}");
            match policy {
                Existing::Refuse => {
                    assert!(expected(winners[0]), "{name}");
                    let refused = outcomes.iter().flat_map(|it| it.as_ref().err());
                    assert!(refused.clone().all(EntryError::is_refusal_to_overwrite));
                    assert_eq!(refused.count(), THREADS - 1);
                }
                Existing::Overwrite => {
                    assert!((0..THREADS).any(expected), "{name}");
                    assert!(outcomes.iter().all(Result::is_ok), "{name}: {outcomes:?}");
                }
                Existing::KeepBoth => {
                    for (thread, outcome) in outcomes.iter().enumerate() {
                        let placed = match outcome.as_ref().unwrap() {
                            Placed::Beside(name) => name.to_string(),
                            _ => name.clone(),
                        };
                        assert_eq!(place.read(&placed), content(thread, 20_000));
                    }
                }
            }
        }
        finish(&destination);
    }
    assert!(!place.at(PARTIAL).exists());
}
