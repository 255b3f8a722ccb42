//! What an honest server gives, so that the lies have something to differ from.

use packhorse_protocol::content::ContentHash;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::key::Token;

use crate::scene::{Clock, Scene, within};
use crate::scripted_server::Script;
use crate::tree::{ServedTree, noise};

const MIB: usize = 1 << 20;

/// Small files, large ones, empty ones, links, directories in directories, strange names.
pub(crate) fn sample() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("a.txt", "hello")
        .file("empty", "")
        .link("link", "a.txt")
        .file("big", noise(1, 3 * MIB + 5))
        .directory("d")
        .file("d/one", "1")
        .file("d/two", noise(2, 1000))
        .directory("d/e")
        .file("d/e/<img src=x>\n", "strange")
        .file("d/e/exactly", noise(3, 256 << 10))
        .file("d/e/one more", noise(4, (256 << 10) + 1))
        .directory("void")
        .directory("z")
        .sparse("z/holes", {
            let mut content = vec![0; 5 * MIB];
            content[2 * MIB..2 * MIB + 7].copy_from_slice(b"in here");
            content
        })
        .link("z/up", "../d/one");
    tree
}

#[test]
fn a_tree_arrives_with_all_that_is_said_of_it() {
    within(Clock::Paused, || async {
        let tree = sample();
        for token in [None, Some(Token::from([3; 16]))] {
            let scene = Scene::with_token(tree.clone(), Script::default(), token);
            let outcome = scene.run().await;
            outcome.expect_all(&scene, "", &tree);
            assert_eq!(outcome.log.completions.len(), 1);
            assert_eq!(outcome.log.completions[0].files, 9);
            assert_eq!(outcome.log.completions[0].failed, 0);
            assert_eq!(outcome.log.fetched(), [""; 0], "small files came in line");
            assert_eq!(outcome.log.groups("big"), [0, 1, 2, 3]);
        }
    });
}

#[test]
fn a_second_run_moves_nothing() {
    within(Clock::Paused, || async {
        let tree = sample();
        let scene = Scene::new(tree.clone());
        scene.run().await.expect_all(&scene, "", &tree);
        scene.server.begin_again(Script::default());
        let outcome = scene.run().await;
        outcome.expect_all(&scene, "", &tree);
        assert_eq!(outcome.log.fetched(), [""; 0]);
        for file in ["big", "z/holes", "d/e/one more"] {
            assert_eq!(outcome.log.groups(file), [0; 0]);
            assert_eq!(outcome.log.hashes(file), 0);
        }
        let kept = outcome
            .events
            .iter()
            .filter(|line| line.starts_with("kept "));
        assert_eq!(kept.count(), outcome.events.len());
    });
}

#[test]
fn small_files_are_fetched_where_something_is_already() {
    within(Clock::Paused, || async {
        let tree = sample();
        let scene = Scene::new(tree.clone())
            .put("a.txt", "hello")
            .put("mine", "");
        let outcome = scene.run().await;
        assert_eq!(
            outcome.summary().split("--").last().unwrap(),
            "\nfailed a.txt Exists\nlinked link\nlinked z/up\nexit: some failed",
            "it has another time"
        );
        let mut fetched = outcome.log.fetched();
        fetched.sort_unstable();
        assert_eq!(
            fetched,
            [
                "d/e/<img src=x>\n",
                "d/e/exactly",
                "d/one",
                "d/two",
                "empty"
            ]
        );
    });
}

#[test]
fn a_single_file_or_a_part_of_the_tree_is_asked_for() {
    let cases = [
        ("a.txt", "a.txt: hello"),
        ("link", "link -> a.txt"),
        ("d/one", "one: 1"),
        ("empty", "empty: "),
        ("void", "void/"),
    ];
    within(Clock::Paused, move || async move {
        for (path, expected) in cases {
            let scene = Scene::new(sample()).ask(path);
            let outcome = scene.run().await;
            assert!(outcome.error.is_none(), "{}", outcome.summary());
            assert_eq!(outcome.tree, [expected], "{path}");
        }
        let scene = Scene::new(sample()).ask("d");
        let outcome = scene.run().await;
        assert_eq!(outcome.tree[..2], ["d/", "d/e/"]);
        assert_eq!(outcome.tree.len(), 7);
    });
}

#[test]
fn a_single_file_tells_its_hash() {
    within(Clock::Paused, || async {
        let tree = sample();
        for (path, expected) in [("a.txt", b"hello".to_vec()), ("big", noise(1, 3 * MIB + 5))] {
            let hash = ContentHash::of(&expected);
            let scene = Scene::new(tree.clone()).ask(path);
            let scene = scene.settings(|settings| settings.expect = Some(hash));
            let outcome = scene.run().await;
            assert!(outcome.error.is_none(), "{}", outcome.summary());
        }
    });
}

#[test]
fn what_is_not_there_is_refused_and_leaves_nothing() {
    within(Clock::Paused, || async {
        let mut tree = sample();
        tree.refused("secret", Refusal::PermissionDenied);
        for (path, directory_only, expected) in [
            ("nothing", false, "it does not exist on the server"),
            ("secret", false, "the server may not read it"),
            ("a.txt", true, "it is not a directory"),
        ] {
            let scene = Scene::new(tree.clone()).ask(path);
            let scene = scene.settings(|settings| settings.directory_only = directory_only);
            let outcome = scene.run().await;
            assert_eq!(outcome.error.unwrap().to_string(), expected);
            assert_eq!(outcome.tree, [""; 0]);
        }
    });
}
