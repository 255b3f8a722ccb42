//! Names that a server has no business to tell. (THREATS 14 and 15.)

use packhorse_storage::destination::Existing;

use crate::lies::{directory, file, link};
use crate::scene::{Clock, Scene, within};
use crate::scripted_server::Script;
use crate::tree::ServedTree;
use crate::wire::Told;

const MALFORMED: &str = "error: the server broke the protocol: its Page message is malformed";
const ORDER: &str =
    "error: the server broke the protocol: it sent the items of a tree out of order";

/// A scene whose server tells these pages, whatever it has.
fn telling(pages: Vec<Vec<Told>>) -> Scene {
    Scene::with(ServedTree::new(), Script::telling(pages))
}

/// Requires that `pages` come to `expected`: the lines of the destination, `--`, what was reported.
async fn check(what: &str, pages: Vec<Vec<Told>>, expected: &str) {
    let scene = telling(pages);
    let outcome = scene.run().await;
    assert_eq!(outcome.summary(), expected, "{what}");
    assert!(!scene.at(".packhorse-partial").exists(), "{what}");
}

#[test]
fn names_that_climb_or_cannot_be_end_the_download() {
    let long = [b'x'; 256];
    let deep = b"a/".repeat(10_000);
    let bad: &[(&str, &[u8])] = &[
        ("the parent", b".."),
        ("a path", b"../x"),
        ("an absolute path", b"/etc/passwd"),
        ("nothing", b""),
        ("the directory itself", b"."),
        ("a file in a directory", b"d/x"),
        ("with a NUL", b"a\0b"),
        ("256 bytes", &long),
        ("the folder for what is unfinished", b".packhorse-partial"),
    ];
    let bad: Vec<_> = bad
        .iter()
        .map(|(what, name)| (*what, name.to_vec()))
        .collect();
    let paths = [
        ("climbing", b"a/../../b".to_vec()),
        ("10,000 deep", [&deep[..], b"a"].concat()),
        ("with an empty part", b"a//b".to_vec()),
        ("ending in a slash", b"a/".to_vec()),
        ("below the folder", b".packhorse-partial/x".to_vec()),
    ];
    within(Clock::Paused, move || async move {
        for (what, name) in &bad {
            let good = || file("!good", "good");
            for bad in [file(name, "bad"), link(name, "x"), directory(name)] {
                if name.is_empty() && matches!(bad, Told::Directory { .. }) {
                    continue;
                }
                if name == b"d/x" && matches!(bad, Told::Directory { .. }) {
                    continue;
                }
                let at_once = vec![vec![directory(""), good(), bad.clone(), Told::End]];
                check(what, at_once, &format!("--\n{MALFORMED}")).await;
                let later = vec![vec![directory(""), good()], vec![bad, Told::End]];
                let expected = format!("!good: good\n--\n{MALFORMED}");
                check(what, later, &expected).await;
            }
        }
        for (what, path) in &paths {
            let pages = vec![vec![directory(""), directory(path), file("x", "bad")]];
            check(what, pages, &format!("--\n{MALFORMED}")).await;
        }
    });
}

#[test]
fn trees_out_of_order_end_the_download() {
    let root = || directory("");
    let cases: Vec<(&str, Vec<Told>)> = vec![
        (
            "the same file twice",
            vec![root(), file("a", "1"), file("a", "2")],
        ),
        (
            "a file and a link of one name",
            vec![root(), file("a", "1"), link("a", "x")],
        ),
        (
            "files out of order",
            vec![root(), file("b", "1"), file("a", "2")],
        ),
        (
            "a directory twice",
            vec![root(), directory("d"), directory("d")],
        ),
        (
            "a directory returned to",
            vec![root(), directory("d"), directory("e"), directory("d/x")],
        ),
        (
            "directories out of order",
            vec![root(), directory("e"), directory("d")],
        ),
        ("a directory in none", vec![root(), directory("x/y")]),
        ("the root twice", vec![root(), root()]),
        ("no root", vec![directory("d")]),
        ("two single files", vec![file("a", "1"), file("b", "2")]),
        (
            "a directory behind a single file",
            vec![file("a", "1"), directory("")],
        ),
        (
            "more behind the end",
            vec![root(), Told::End, file("a", "1")],
        ),
    ];
    within(Clock::Paused, move || async move {
        for (what, mut items) in cases {
            items.push(Told::End);
            check(what, vec![items], &format!("--\n{ORDER}")).await;
        }
        check("an empty page", vec![vec![]], &format!("--\n{MALFORMED}")).await;
        let items = (0..4098).map(|n| file(format!("{n:04}"), ""));
        let crowd = [root()].into_iter().chain(items).collect();
        check(
            "a page with too many items",
            vec![crowd],
            &format!("--\n{ORDER}"),
        )
        .await;
    });
}

#[test]
fn names_at_the_limit_are_taken() {
    within(Clock::Paused, || async {
        let name = "n".repeat(255);
        let page = vec![directory(""), file(&name, "long"), Told::End];
        check("255 bytes", vec![page], &format!("{name}: long\n--")).await;

        let mut page = vec![directory("")];
        let mut path = String::from("a");
        for _ in 0..400 {
            page.push(directory(&path));
            path.push_str("/a");
        }
        page.extend([file("deep", "down"), Told::End]);
        let scene = telling(vec![page]);
        let outcome = scene.run().await;
        assert!(outcome.error.is_none() && outcome.exit.is_empty());
        assert!(outcome.tree.last().unwrap().ends_with("/a/deep: down"));
    });
}

/// Another file than the one that was asked for is none that the client wants under any name.
/// (CVE-2019-6111: `scp` took whatever name came.)
#[test]
fn a_file_that_was_not_asked_for_is_refused() {
    const UNREQUESTED: &str =
        "--\nerror: the server broke the protocol: it sent more than was asked for";
    within(Clock::Paused, || async {
        let cases = [
            ("wanted", file(".bashrc", "evil")),
            ("d/wanted", file("wanted2", "evil")),
            ("wanted", link(".bashrc", "wanted")),
            ("", file(".bashrc", "evil")),
        ];
        for (asked, told) in cases {
            for name in [None, Some(crate::scene::name("mine"))] {
                for dry_run in [false, true] {
                    let scene = telling(vec![vec![told.clone(), Told::End]]).ask(asked);
                    let scene = scene.settings(|settings| {
                        settings.name = name.clone();
                        settings.dry_run = dry_run;
                    });
                    let outcome = scene.run().await;
                    assert_eq!(outcome.summary(), UNREQUESTED, "{asked} {name:?} {dry_run}");
                }
            }
        }
    });
}

/// Files that are told in a directory which the client does not want have no place; they had landed
/// in the directory before it.
#[test]
fn a_file_in_an_excluded_directory_is_left_out() {
    within(Clock::Paused, || async {
        let page = vec![
            directory(""),
            directory("good"),
            file("a", "good"),
            directory("tmp"),
            file("a", "evil"),
            file("b", "evil"),
            directory("tmp/more"),
            file("c", "evil"),
            directory("worse"),
            file("d", "fine"),
            Told::End,
        ];
        let scene = telling(vec![page]);
        let scene = scene.settings(|settings| settings.patterns.exclude = vec!["tmp/".to_owned()]);
        let outcome = scene.run().await;
        let expected = "good/\ngood/a: good\nworse/\nworse/d: fine\n--";
        assert_eq!(outcome.summary(), expected);
    });
}

#[test]
fn nothing_is_written_through_a_link() {
    let outside = ["../outside", "/tmp", "..", "d/../../outside"];
    within(Clock::Paused, move || async move {
        for target in outside {
            for existing in [Existing::Refuse, Existing::Overwrite, Existing::KeepBoth] {
                let page = vec![
                    directory(""),
                    link("d", target),
                    directory("d"),
                    file("canary", "evil"),
                    Told::End,
                ];
                let outcome = telling(vec![page]).existing(existing).run().await;
                assert_eq!(
                    outcome.summary(),
                    "d/\nd/canary: evil\n--\nskipped d LeavesTree",
                    "{target}"
                );
            }
        }
    });
}

/// A link that stays inside, and then a directory of its name: told on one page or on two, and
/// whatever of it comes first on the disk, the files end up in a directory or nowhere.
#[test]
fn a_link_is_not_taken_for_a_directory_of_its_name() {
    within(Clock::Paused, || async {
        for existing in [Existing::Refuse, Existing::Overwrite] {
            let first = vec![directory(""), link("d", "real")];
            let second = vec![
                directory("d"),
                file("f", "in d"),
                directory("real"),
                file("g", "in real"),
                Told::End,
            ];
            let one = vec![[first.clone(), second.clone()].concat()];
            for pages in [one, vec![first, second]] {
                let outcome = telling(pages).existing(existing).run().await;
                assert!(outcome.error.is_none(), "{}", outcome.summary());
                let through = "real/f: in d".to_owned();
                assert!(!outcome.tree.contains(&through), "{}", outcome.summary());
                assert!(outcome.tree.contains(&"real/g: in real".to_owned()));
                let is_told = !outcome
                    .events
                    .iter()
                    .all(|line| line.starts_with("fetched"));
                assert!(is_told || existing == Existing::Overwrite);
            }
        }
    });
}

#[test]
fn links_that_leave_are_left_out_and_links_that_stay_are_made() {
    let cases = [
        ("/etc/passwd", false),
        ("../outside/canary", false),
        ("..", false),
        ("d/../../outside", false),
        ("up/../outside/canary", false),
        ("a", true),
        ("d/../a", true),
        ("nothing/here", true),
        (".", true),
    ];
    within(Clock::Paused, move || async move {
        for (target, stays) in cases {
            let page = vec![
                directory(""),
                file("a", "1"),
                link("l", target),
                // With this one, `up/..` would be the directory around the destination.
                link("up", "d/.."),
                directory("d"),
                link("back", "../l"),
                Told::End,
            ];
            let outcome = telling(vec![page]).run().await;
            assert!(outcome.error.is_none(), "{}", outcome.summary());
            let made = outcome.tree.contains(&format!("l -> {target}"));
            let skipped = outcome.events.contains(&"skipped l LeavesTree".to_owned());
            assert_eq!((made, skipped), (stays, !stays), "{}", outcome.summary());
        }
        for target in [&b""[..], b"a\0b", &[b'x'; 4096]] {
            let page = vec![directory(""), link("l", target), Told::End];
            check(
                "a target that cannot be",
                vec![page],
                &format!("--\n{MALFORMED}"),
            )
            .await;
        }
    });
}

#[test]
fn privileges_are_not_taken_from_a_server() {
    use std::os::unix::fs::PermissionsExt;
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("program", "#!/bin/sh").directory("d");
        tree.at("program").info.mode = 0o6755;
        tree.at("program").info.xattrs = vec![
            (b"security.capability".to_vec(), vec![1, 0, 0, 2]),
            (b"trusted.x".to_vec(), b"y".to_vec()),
            (b"system.posix_acl_access".to_vec(), vec![2, 0, 0, 0]),
        ];
        if let Some(crate::tree::Node::Directory(info)) = tree.nodes.get_mut("d") {
            info.mode = 0o7777;
        }
        let mut scene = Scene::new(tree);
        scene.options.xattrs = true;
        scene.settings.options.xattrs = true;
        let outcome = scene.run().await;
        assert!(outcome.error.is_none() && outcome.exit.is_empty());
        let mode = |path| scene.at(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("program"), mode("d")), (0o755, 0o1777));
        let mut names = vec![0; 1000];
        let length = rustix::fs::listxattr(scene.at("program"), &mut names[..]).unwrap();
        assert_eq!(String::from_utf8_lossy(&names[..length]), "");
    });
}
