//! Hard links, extended attributes, dry runs, patterns, other names.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use packhorse_client::download::DownloadError;
use packhorse_storage::destination::Existing;
use packhorse_storage::disk::{Disk, DiskCall, DiskHook, Operation, Verdict};

use crate::lies::directory;
use crate::scene::{Clock, Scene, name, within};
use crate::scripted_server::Script;
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, Told};

const MIB: usize = 1 << 20;

/// Two names each of a small file and of a large one, in different directories.
fn linked() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("a", "hello")
        .directory("d")
        .file("d/b", "hello")
        .file("d/large", noise(1, 2 * MIB + 5))
        .directory("e")
        .file("e/large", noise(1, 2 * MIB + 5));
    for (path, first, group) in [
        ("a", "a", 5),
        ("d/b", "a", 5),
        ("d/large", "d/large", 6),
        ("e/large", "d/large", 6),
    ] {
        let version = tree.at(first).info.version;
        tree.at(path).info.link_group = group;
        tree.at(path).info.version = version;
    }
    tree
}

fn scene(tree: ServedTree, script: Script) -> Scene {
    Scene::with(tree, script).settings(|settings| settings.options.hard_links = true)
}

fn inode(scene: &Scene, path: &str) -> u64 {
    fs::metadata(scene.at(path)).unwrap().ino()
}

#[test]
fn hard_links_are_made_and_their_content_fetched_once() {
    within(Clock::Paused, || async {
        let tree = linked();
        let scene = scene(tree.clone(), Script::default());
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!(inode(&scene, "a"), inode(&scene, "d/b"));
        assert_eq!(inode(&scene, "d/large"), inode(&scene, "e/large"));
        assert_ne!(inode(&scene, "a"), inode(&scene, "d/large"));
        assert_eq!(outcome.log.groups("e/large"), [0; 0]);

        scene.server.begin_again(Script::default());
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!(outcome.log.groups("d/large"), [0; 0]);
        let kept = outcome
            .events
            .iter()
            .filter(|line| line.starts_with("kept"));
        assert_eq!(kept.count(), 4, "{:?}", outcome.events);
    });
}

/// A disk that has no second names for files, or none in some directories.
struct NoLinksIn(&'static [u8]);

impl DiskHook for NoLinksIn {
    fn before(&self, call: &DiskCall<'_>) -> std::io::Result<Verdict> {
        match call.operation {
            Operation::HardLink { .. } if call.path.ends_with(self.0) => {
                Err(std::io::Error::from_raw_os_error(1))
            }
            _ => Ok(Verdict::Proceed),
        }
    }
}

#[test]
fn where_there_are_no_hard_links_the_content_is_fetched() {
    within(Clock::Paused, || async {
        let tree = linked();
        for (path, connections) in [("", 1), ("a", 1), ("d/large", 2)] {
            let mut scene = scene(tree.clone(), Script::default());
            scene.settings.connections = Some(connections);
            scene.disk = Disk::with_hook(Arc::new(NoLinksIn(path.as_bytes())));
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree);
            let is_linked = |first, further| inode(&scene, first) == inode(&scene, further);
            assert_eq!(is_linked("a", "d/b"), path == "d/large");
            assert_eq!(is_linked("d/large", "e/large"), path == "a");
        }
    });
}

/// The other name of a file that did not arrive had become a name of whatever else was there.
#[test]
fn a_further_name_is_never_given_to_another_file() {
    let failed = "failed a Exists\nfailed d/b NoOtherName\nfailed d/large Exists\n\
                  failed e/large NoOtherName\nexit: some failed";
    within(Clock::Paused, move || async move {
        let scene_with_old = || {
            scene(linked(), Script::default())
                .put("a", "old")
                .put("d/large", "old too")
        };
        let outcome = scene_with_old().run().await;
        assert_eq!(
            outcome.summary(),
            format!("a: old\nd/\nd/large: old too\ne/\n--\n{failed}")
        );

        let scene_beside = scene_with_old().existing(Existing::KeepBoth);
        let outcome = scene_beside.run().await;
        assert!(outcome.exit.is_empty(), "{}", outcome.summary());
        assert_eq!(inode(&scene_beside, "a (1)"), inode(&scene_beside, "d/b"));
        let large = inode(&scene_beside, "d/large (1)");
        assert_eq!(large, inode(&scene_beside, "e/large"));

        let scene_over = scene_with_old().existing(Existing::Overwrite);
        let outcome = scene_over.run().await;
        outcome.expect_all(&scene_over, "", &linked());
        assert_eq!(inode(&scene_over, "d/large"), inode(&scene_over, "e/large"));

        // It never arrives because it is damaged.
        let script = Script::lying(|_, answers| {
            for answer in answers {
                if let Answer::Group { hash, .. } = answer {
                    hash[0] ^= 1;
                }
            }
        });
        let outcome = scene(linked(), script).run().await;
        assert_eq!(
            outcome.summary(),
            "a: hello\nd/\nd/b: hello\ne/\n--\nfailed d/large Damaged\n\
             failed e/large NoOtherName\nlinked d/b\nexit: some failed\nexit: integrity"
        );
    });
}

#[test]
fn copies_that_are_there_already_are_left_as_they_are() {
    within(Clock::Paused, || async {
        let tree = linked();
        let scene = Scene::new(tree.clone());
        scene.run().await.expect_all(&scene, "", &tree);
        assert_ne!(inode(&scene, "a"), inode(&scene, "d/b"), "not asked for");
        scene.server.begin_again(Script::default());
        let scene = scene.settings(|settings| settings.options.hard_links = true);
        scene.run().await.expect_all(&scene, "", &tree);
    });
}

/// Only some of the names may be wanted, and their directories may be empty but for them.
#[test]
fn patterns_choose_among_the_names_of_a_file() {
    within(Clock::Paused, || async {
        for (include, expected) in [
            (
                "large",
                "d/\nd/large: L\ne/\ne/large: L\n--\nlinked e/large",
            ),
            ("e/**", "e/\ne/large: L\n--"),
            ("b", "d/\nd/b: hello\n--"),
        ] {
            let scene = scene(linked(), Script::default());
            let scene = scene.settings(|settings| {
                settings.patterns.include = vec![include.to_owned()];
            });
            let outcome = scene.run().await;
            let large = crate::scene::describe_content(&noise(1, 2 * MIB + 5));
            assert_eq!(
                outcome.summary().replace(&large, "L"),
                expected,
                "{include}"
            );
        }
    });
}

/// A link group that was not asked for means nothing.
#[test]
fn names_are_not_linked_unasked() {
    within(Clock::Paused, || async {
        let mut tree = ServedTree::new();
        tree.file("a", "one").file("b", "two");
        tree.at("a").info.link_group = 1;
        tree.at("b").info.link_group = 1;
        let scene = Scene::new(tree.clone());
        scene.run().await.expect_all(&scene, "", &tree);
    });
}

#[test]
fn extended_attributes_are_set_if_asked_for() {
    within(Clock::Paused, || async {
        let probe = tempfile::NamedTempFile::new().unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(probe.path(), "user.probe", b"x", flags).is_err() {
            eprintln!("SKIPPED: this file system has no extended attributes for users");
            return;
        }
        let attributes = vec![
            (b"user.origin".to_vec(), b"here".to_vec()),
            (b"user.empty".to_vec(), Vec::new()),
        ];
        let mut tree = ServedTree::new();
        tree.file("small", "hello")
            .file("large", noise(1, MIB + 1))
            .directory("d");
        tree.at("small").info.mode = 0o400;
        for path in ["small", "large"] {
            tree.at(path).info.xattrs = attributes.clone();
        }
        if let Some(crate::tree::Node::Directory(info)) = tree.nodes.get_mut("d") {
            info.xattrs = attributes.clone();
            info.mode = 0o500;
        }
        for asked in [true, false] {
            let mut scene = Scene::new(tree.clone());
            scene.options.xattrs = asked;
            scene.settings.options.xattrs = asked;
            scene.run().await.expect_all(&scene, "", &tree);
            for path in ["small", "large", "d"] {
                let mut value = [0; 100];
                let got = rustix::fs::getxattr(scene.at(path), "user.origin", &mut value[..]);
                assert_eq!(got.ok(), asked.then_some(4), "{path}");
            }
            // What changes them leaves no trace in size and time, and is mended where they count.
            for (name, value) in [("user.origin", "elsewhere"), ("user.surplus", "x")] {
                let path = scene.at("small");
                rustix::fs::setxattr(path, name, value.as_bytes(), flags).unwrap();
            }
            let outcome = scene.run().await;
            let kept = outcome
                .totals
                .files_kept
                .load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(kept, 2, "{}", outcome.summary());
            let mut value = [0; 100];
            let length = rustix::fs::getxattr(scene.at("small"), "user.origin", &mut value[..]);
            let expected = if asked { "here" } else { "elsewhere" };
            assert_eq!(&value[..length.unwrap()], expected.as_bytes());
            let surplus = rustix::fs::getxattr(scene.at("small"), "user.surplus", &mut value[..]);
            assert_eq!(surplus.is_err(), asked);
            let mode = fs::metadata(scene.at("small")).unwrap().permissions();
            assert_eq!(
                std::os::unix::fs::PermissionsExt::mode(&mode) & 0o7777,
                0o400
            );
        }
    });
}

#[test]
fn a_dry_run_tells_everything_and_writes_nothing() {
    within(Clock::Paused, || async {
        let tree = crate::honest::sample();
        let dry = |scene: Scene| scene.settings(|settings| settings.dry_run = true);
        let scene = dry(Scene::new(tree.clone()));
        let outcome = scene.run().await;
        assert!(!scene.destination().exists(), "{:?}", outcome.tree);
        assert_eq!(outcome.events.len(), 11, "{:?}", outcome.events);
        assert!(
            outcome
                .events
                .iter()
                .all(|line| line.starts_with("wanted "))
        );

        let with_links = dry(Scene::new(linked()));
        let with_links = with_links.settings(|settings| settings.options.hard_links = true);
        let outcome = with_links.run().await;
        assert_eq!(outcome.events.len(), 4);

        // Into a place where something is.
        let scene = dry(Scene::new(tree).put("d/one", "other").put("d/e/none", ""));
        fs::set_permissions(
            scene.at("d/e"),
            std::os::unix::fs::PermissionsExt::from_mode(0o500),
        )
        .unwrap();
        let state = |path: &str| {
            let status = fs::metadata(scene.at(path)).unwrap();
            (
                status.mode(),
                status.mtime(),
                status.mtime_nsec(),
                status.ctime_nsec(),
            )
        };
        let before = ["", "d", "d/e", "d/one"].map(state);
        let outcome = scene.run().await;
        assert_eq!(["", "d", "d/e", "d/one"].map(state), before);
        assert_eq!(outcome.tree.len(), 4);
        assert_eq!(outcome.events.len(), 11, "{:?}", outcome.events);
        assert_eq!(outcome.events[0], "failed d/one Exists");
    });
}

#[test]
fn patterns_hold_on_this_side_too() {
    within(Clock::Paused, || async {
        // The server tells everything, whatever it was asked for.
        let page = vec![
            directory(""),
            crate::lies::file("a.c", "1"),
            crate::lies::file("a.o", "2"),
            directory("d"),
            crate::lies::file("b.c", "3"),
            crate::lies::file("b.o", "4"),
            directory("empty"),
            crate::lies::file("x.o", "5"),
            Told::End,
        ];
        for (include, exclude, expected) in [
            (&["*.c"][..], &[][..], "a.c: 1\nd/\nd/b.c: 3\n--"),
            (&[], &["*.o"], "a.c: 1\nd/\nd/b.c: 3\nempty/\n--"),
            (&["*.c"], &["d/"], "a.c: 1\n--"),
            (&["nothing"], &[], "--"),
        ] {
            let scene = Scene::with(ServedTree::new(), Script::telling(vec![page.clone()]));
            let scene = scene.settings(|settings| {
                settings.patterns.include = include.iter().map(|&text| text.to_owned()).collect();
                settings.patterns.exclude = exclude.iter().map(|&text| text.to_owned()).collect();
            });
            assert_eq!(scene.run().await.summary(), expected);
        }
        let scene = Scene::new(linked());
        let scene = scene.settings(|settings| settings.patterns.include = vec!["[".to_owned()]);
        let outcome = scene.run().await;
        assert!(matches!(outcome.error, Some(DownloadError::Filter(_))));
        assert_eq!(outcome.log.connections, 0);
    });
}

#[test]
fn a_single_file_gets_another_name() {
    within(Clock::Paused, || async {
        for (path, content) in [("a", b"hello".to_vec()), ("d/large", noise(1, 2 * MIB + 5))] {
            let scene = Scene::new(linked()).ask(path);
            let scene = scene.settings(|settings| settings.name = Some(name("mine.bin")));
            let outcome = scene.run().await;
            let expected = format!("mine.bin: {}", crate::scene::describe_content(&content));
            assert_eq!(outcome.tree, [expected]);
        }
        for (set_name, path) in [(true, "d"), (false, "d"), (true, "")] {
            let scene = Scene::new(linked())
                .ask(path)
                .settings(|settings| match set_name {
                    true => settings.name = Some(name("mine")),
                    false => {
                        settings.expect = Some(packhorse_protocol::content::ContentHash::of(b""));
                    }
                });
            let outcome = scene.run().await;
            assert!(matches!(outcome.error, Some(DownloadError::NotFile)));
            assert_eq!(outcome.tree, [""; 0]);
        }
    });
}
