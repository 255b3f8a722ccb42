//! Links that a peer sends: those that could lead out are refused. Threat 15.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Component;

use proptest::prelude::*;

use super::*;

const TIME: fn() -> Timestamp = || at(1_234_567_890, 987_654_321);

/// What becomes of a link, at once and at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Made,
    MadeAtTheEnd,
    Refused,
    RefusedAtTheEnd,
    Unusable,
}

use Fate::{Made, MadeAtTheEnd, Refused, RefusedAtTheEnd, Unusable};

/// Makes `links` in order in a destination with `a/b/` and `file` and checks the fate of each.
fn check(links: &[(&str, &[u8], Fate)]) {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    for directory in ["a", "a/b"] {
        destination.enter_directory(&path(directory)).unwrap();
    }
    write(&destination, "file", b"here").unwrap();
    for (link, target, fate) in links {
        let made = destination.make_link(&path(link), target, TIME());
        match fate {
            Made => assert_eq!(made.unwrap(), Placed::New, "{link}"),
            MadeAtTheEnd | RefusedAtTheEnd => assert_eq!(made.unwrap(), Placed::PutOff, "{link}"),
            Refused => {
                let error = made.unwrap_err();
                assert!(
                    matches!(error, EntryError::LinkLeaves { .. }),
                    "{link}: {error:?}"
                );
            }
            Unusable => {
                let error = made.unwrap_err();
                assert!(
                    matches!(error, EntryError::UnusableTarget { .. }),
                    "{link}: {error:?}"
                );
            }
        }
    }
    for directory in ["a/b", "a", ""] {
        let info = directory_info(0o555, TIME());
        destination.seal_directory(&path(directory), &info).unwrap();
    }
    let report = destination.finish();
    assert!(
        report.root.is_ok() && report.left_behind.is_none(),
        "{report:?}"
    );
    let at_the_end: Vec<_> = links
        .iter()
        .filter(|(_, _, fate)| matches!(fate, MadeAtTheEnd | RefusedAtTheEnd))
        .collect();
    assert_eq!(report.links.len(), at_the_end.len());
    for ((link, target, fate), (reported, outcome)) in at_the_end.into_iter().zip(&report.links) {
        assert_eq!(*reported, path(link));
        match fate {
            MadeAtTheEnd => assert_eq!(outcome.as_ref().unwrap(), &Placed::New, "{links:?}"),
            _ => assert!(
                matches!(outcome, Err(EntryError::LinkLeaves { path }) if path == reported),
                "{link} to {}: {outcome:?}",
                String::from_utf8_lossy(target)
            ),
        }
    }
    check_made(&place, links);
}

fn check_made(place: &Place, links: &[(&str, &[u8], Fate)]) {
    for (link, target, fate) in links {
        let found = fs::symlink_metadata(place.at(link));
        if matches!(fate, Made | MadeAtTheEnd) {
            assert_eq!(
                fs::read_link(place.at(link))
                    .unwrap()
                    .as_os_str()
                    .as_bytes(),
                *target
            );
            let found = found.unwrap();
            assert_eq!(
                (found.mtime(), found.mtime_nsec()),
                (TIME().seconds(), 987_654_321)
            );
        } else {
            assert!(found.is_err(), "{link} was made");
        }
    }
    // Links that come late change nothing of the sealed directories around them.
    for directory in ["a/b", "a", ""] {
        let found = fs::metadata(place.at(directory)).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o555, "{directory}");
        assert_eq!(
            (found.mtime(), found.mtime_nsec()),
            (TIME().seconds(), 987_654_321),
            "{directory}"
        );
    }
    assert!(!place.at(PARTIAL).exists());
    place.check_outside();
}

#[test]
fn links_that_stay_are_made_and_others_refused() {
    let long = [b"x/".repeat(2000), b"x".to_vec()].concat();
    check(&[
        ("to-file", b"file", Made),
        ("dangling", b"nothing/at/all", Made),
        ("a/up", b"..", Made),
        ("a/b/up-twice", b"../../file", Made),
        ("here", b".", Made),
        ("self", b"self", Made),
        ("a/bytes", b"\xff\n\x1b[31m", Made),
        ("long", &long, Made),
        ("absolute", b"/etc/passwd", Refused),
        ("root", b"/", Refused),
        ("up", b"..", Refused),
        ("a/up-too-far", b"../../outside", Refused),
        ("a/b/far", b"../../../outside/secret", Refused),
        ("about", b"a/../../outside/secret", Refused),
        ("proc", b"/proc/self/root", Refused),
        ("empty", b"", Unusable),
        ("nul", b"file\0", Unusable),
    ]);
}

#[test]
fn where_text_does_not_tell_the_file_system_is_asked() {
    check(&[
        ("about", b"a/../file", MadeAtTheEnd),
        ("a/about", b"b/../../file", MadeAtTheEnd),
        ("to-nothing", b"a/../nothing", MadeAtTheEnd),
        ("through-nothing", b"nothing/../file", RefusedAtTheEnd),
        ("through-file", b"file/../file", RefusedAtTheEnd),
        // Seems to stay: `a/b/up` leads to the destination itself, so `..` behind it leads out.
        ("a/b/up", b"../..", Made),
        ("out", b"a/b/up/../outside/secret", RefusedAtTheEnd),
        ("a/out", b"b/up/../../outside", RefusedAtTheEnd),
        // Goes round, as long as `a/b/down` is what it is: a later run may put another in its place.
        ("a/b/down", b"../b", Made),
        ("round", b"a/b/down/../../file", RefusedAtTheEnd),
    ]);
}

#[test]
fn links_that_climb_behind_links_are_refused_in_any_order() {
    check(&[
        ("fourth", b"third/../file", RefusedAtTheEnd),
        ("third", b"second/../a", RefusedAtTheEnd),
        ("second", b"first/../b", RefusedAtTheEnd),
        ("first", b"a/b/../b", MadeAtTheEnd),
        ("fifth", b"third/../../outside", Refused),
    ]);
}

/// Each alone stays inside; together they would lead out.
#[test]
fn two_links_that_combine_do_not_lead_out() {
    // `one` is verified while `a/b/deep` is missing or harmless; `two` would lead through it.
    check(&[
        ("a/b/low", b"../../a", Made),
        ("one", b"a/b/low/../file", RefusedAtTheEnd),
        ("two", b"a/b/low/../../outside", RefusedAtTheEnd),
        ("a/three", b"../one/../../outside", Refused),
    ]);
    // A link that is a step up, and one that counts on it being a step down.
    check(&[
        ("a/b/x", b"c/../..", RefusedAtTheEnd),
        ("a/b/c", b"../b", Made),
        ("y", b"a/b/x/../outside/secret", RefusedAtTheEnd),
    ]);
    check(&[
        ("y", b"a/b/x/../outside/secret", RefusedAtTheEnd),
        ("a/b/x", b"c/../..", RefusedAtTheEnd),
        ("a/b/c", b"../b", Made),
    ]);
}

/// What one run has checked, the next may change: with `--overwrite` a link takes the place of
/// another, and with it changes where a third leads.
#[test]
fn a_link_made_by_a_later_run_leads_no_other_out() {
    let place = Place::new();
    for (directory, links) in [
        ("c", [("b", "a/.."), ("a", "c")]),
        ("d", [("a", "."), ("d/up", "..")]),
    ] {
        let destination = place.open(options(Existing::Overwrite));
        destination.enter_directory(&path(directory)).unwrap();
        for (at, target) in links {
            let made = destination.make_link(&path(at), target.as_bytes(), TIME());
            assert!(made.is_ok(), "{at}: {made:?}");
        }
        let _ = destination.finish();
    }
    // `a` leads to the destination itself now, and `b` would lead to what it lies in.
    assert_eq!(fs::read_link(place.at("a")).unwrap(), Path::new("."));
    assert!(fs::symlink_metadata(place.at("b")).is_err());
    place.check_outside();
}

#[test]
fn nothing_is_replaced_by_a_link_that_is_refused() {
    let place = Place::new();
    fs::create_dir(place.at("a")).unwrap();
    symlink("..", place.at("a/up")).unwrap();
    for taken in ["f", "g"] {
        fs::write(place.at(taken), "mine").unwrap();
    }
    let destination = place.open(options(Existing::Overwrite));
    let link = |at: &str, target: &[u8]| destination.make_link(&path(at), target, TIME());
    assert_eq!(link("f", b"a/up/../outside").unwrap(), Placed::PutOff);
    assert!(link("g", b"../outside").is_err());
    assert!(destination.finish().links[0].1.is_err());
    assert_eq!(
        (place.read("f"), place.read("g")),
        (b"mine".to_vec(), b"mine".to_vec())
    );
}

#[test]
fn a_link_that_is_there_already_is_the_same() {
    let place = Place::new();
    fs::create_dir(place.at("a")).unwrap();
    symlink("target", place.at("link")).unwrap();
    symlink("a/../target", place.at("about")).unwrap();
    symlink("gone/../target", place.at("own")).unwrap();
    for policy in [Existing::Refuse, Existing::Overwrite, Existing::KeepBoth] {
        let destination = place.open(options(policy));
        let link = |at: &str, target: &[u8]| destination.make_link(&path(at), target, TIME());
        assert_eq!(link("link", b"target").unwrap(), Placed::Same);
        assert_eq!(link("about", b"a/../target").unwrap(), Placed::PutOff);
        assert_eq!(link("own", b"gone/../target").unwrap(), Placed::PutOff);
        let report = destination.finish();
        assert_eq!(report.links[0].1.as_ref().unwrap(), &Placed::Same);
        assert!(report.links[1].1.is_err());
        let found = fs::symlink_metadata(place.at("link")).unwrap();
        assert_eq!(
            (found.mtime(), found.mtime_nsec()),
            (TIME().seconds(), 987_654_321)
        );
        assert_eq!(
            place.tree(),
            ["a/", "about", "link", "own"],
            "the user's own stays"
        );
    }
}

#[test]
fn links_may_leave_if_that_was_asked_for() {
    let place = Place::new();
    let unsafe_links = DestinationOptions {
        unsafe_links: true,
        ..DestinationOptions::default()
    };
    let destination = place.open(unsafe_links);
    for (at, target) in [
        ("one", "/etc/passwd"),
        ("two", "../outside"),
        ("three", "two/../x"),
    ] {
        let made = destination
            .make_link(&path(at), target.as_bytes(), TIME())
            .unwrap();
        assert_eq!(made, Placed::New);
        assert_eq!(fs::read_link(place.at(at)).unwrap(), Path::new(target));
    }
    // Even so nothing is written through them.
    let error = write(&destination, "two/new", b"new").unwrap_err();
    assert!(
        matches!(error, EntryError::NotDirectory { .. }),
        "{error:?}"
    );
    finish(&destination);
    place.check_outside();
}

#[test]
fn the_number_of_links_that_are_put_off_is_bounded() {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    let target = [b"x/".repeat(2000), b"..".to_vec()].concat();
    let refused = (0..5000)
        .map(|n| destination.make_link(&path(format!("{n}")), &target, TIME()))
        .filter(Result::is_err);
    assert!(
        refused.count() > 500,
        "16 MiB is enough for about 4000 of them"
    );
}

#[test]
fn a_second_name_is_of_the_same_file() {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    destination.enter_directory(&path("a")).unwrap();
    write(&destination, "a/first", b"hello").unwrap();
    let link = |from: &str, to: &str| destination.hard_link(&path(from), &path(to));
    assert_eq!(link("a/first", "second").unwrap(), Placed::New);
    assert_eq!(link("second", "a/third").unwrap(), Placed::New);
    assert_eq!(link("a/first", "second").unwrap(), Placed::Same);
    assert_eq!(link("a/first", "a/first").unwrap(), Placed::Same);
    assert!(link("nothing", "fourth").is_err());
    let error = link("nowhere/first", "fourth").unwrap_err();
    assert!(error.is_local_io(), "{error:?}");
    finish(&destination);
    assert_eq!(place.tree(), ["a/", "a/first", "a/third", "second"]);
    let inode = |at: &str| fs::metadata(place.at(at)).unwrap().ino();
    assert_eq!(inode("a/first"), inode("second"));
    assert_eq!(inode("a/first"), inode("a/third"));

    // Renaming one name of a file to another of the same file does nothing: it must not be tried.
    let destination = place.open(options(Existing::Overwrite));
    let same = destination
        .hard_link(&path("second"), &path("a/third"))
        .unwrap();
    assert_eq!(same, Placed::Same);
    finish(&destination);
    assert_eq!(place.tree(), ["a/", "a/first", "a/third", "second"]);
}

/// Where `target` leads from `directory`, link by link as the kernel follows them; `None` if that is
/// out of `base`. `links` counts them.
fn follow(base: &Path, directory: &Path, target: &Path, links: &mut u32) -> Option<PathBuf> {
    *links += 1;
    let mut at = directory.to_owned();
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if at == base => return None,
            Component::ParentDir => assert!(at.pop()),
            Component::Normal(name) => {
                let next = at.join(name);
                at = match fs::read_link(&next) {
                    // Nothing that does not exist, or goes in circles, leads anywhere.
                    Ok(_) if *links > 40 => return Some(base.to_owned()),
                    Ok(target) => follow(base, &at, &target, links)?,
                    Err(_) => next,
                };
            }
            Component::Prefix(_) | Component::RootDir => return None,
        }
        if !at.is_dir() {
            break;
        }
    }
    Some(at)
}

#[derive(Debug, Clone)]
enum Sent {
    Directory(String),
    File(String),
    Link(String, String),
}

fn sent() -> impl Strategy<Value = Sent> {
    let parts = |pattern: &'static str, count| {
        proptest::collection::vec(pattern, 1..count).prop_map(|parts| parts.join("/"))
    };
    prop_oneof![
        2 => parts("[abc]", 4).prop_map(Sent::Directory),
        1 => parts("[abc]", 4).prop_map(Sent::File),
        5 => (parts("[abc]", 4), parts("[abc]|\\.\\.|\\.\\.|\\.", 7))
            .prop_map(|(at, target)| Sent::Link(at, target)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever is sent in whatever order, and twice: no link leads out, nothing outside is touched.
    #[test]
    fn no_link_leads_out(
        policy in prop_oneof![
            Just(Existing::Refuse),
            Just(Existing::Overwrite),
            Just(Existing::KeepBoth),
        ],
        runs in proptest::collection::vec(proptest::collection::vec(sent(), 1..25), 1..3),
    ) {
        let place = Place::in_memory();
        for sent in &runs {
            let destination = place.open(options(policy));
            for sent in sent {
                // Many of them fail, as they should.
                match sent {
                    Sent::Directory(at) => drop(destination.enter_directory(&path(at))),
                    Sent::File(at) => drop(write(&destination, at, b"new")),
                    Sent::Link(at, target) => {
                        drop(destination.make_link(&path(at), target.as_bytes(), TIME()));
                    }
                }
            }
            prop_assert!(destination.finish().root.is_ok());
            place.check_outside();
            for at in place.tree() {
                let Ok(target) = fs::read_link(place.at(&at)) else {
                    continue;
                };
                let link = place.at(&at);
                let led = follow(&place.dest(), link.parent().unwrap(), &target, &mut 0);
                prop_assert!(led.is_some(), "{at} to {}", target.display());
            }
        }
    }
}
