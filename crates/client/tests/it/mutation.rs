//! A server, or whatever is between, that gets single bits wrong.

use std::collections::BTreeSet;
use std::fs;

use packhorse_storage::destination::Existing;

use crate::scene::{Clock, Scene, within};
use crate::scripted_server::Script;
use crate::tree::{Node, Random, ServedTree, noise};
use crate::wire::Answer;

const MIB: usize = 1 << 20;
const SEEDS: std::ops::Range<u64> = 0..400;

fn tree() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("a", "hello")
        .file("b", noise(1, 2 * MIB + 1))
        .directory("d")
        .file("d/c", noise(2, 300 << 10))
        .link("d/l", "../a")
        .sparse("z", [vec![0; 2 * MIB], noise(3, 5)].concat());
    tree.at("b").settled = false;
    tree
}

/// Flips one bit in one frame of a transfer. Content lies in most bytes of it, and is not what is
/// interesting: so the bit is often one near the start or end of its frame.
fn flipping(seed: u64) -> Script {
    let mut random = Random::new(seed);
    let mut left = random.below(16);
    Script::lying(move |_, answers| {
        for answer in answers {
            if left > 0 {
                left -= 1;
                continue;
            }
            left = usize::MAX;
            let mut frame = answer.encode();
            let edge = frame.len().min(80);
            let at = match random.below(4) {
                0 => random.below(frame.len()),
                1 => frame.len() - 1 - random.below(edge),
                _ => random.below(edge),
            };
            frame[at] ^= 1 << random.below(8);
            *answer = Answer::Raw(frame);
        }
    })
}

/// Whatever comes of it, a name in the destination has the content of some file of the server, and
/// nothing but names, times and modes may be wrong.
#[test]
fn a_wrong_bit_never_becomes_a_wrong_byte() {
    within(Clock::Paused, || async {
        let honest: BTreeSet<Vec<u8>> = tree()
            .nodes
            .values()
            .filter_map(|node| match node {
                Node::File(file) => Some(file.content.to_vec()),
                _ => None,
            })
            .collect();
        let mut broken = 0;
        for seed in SEEDS {
            let scene = Scene::with(tree(), flipping(seed));
            let scene = match seed % 3 {
                0 => scene,
                1 => scene.put("d/mine", ""),
                _ => {
                    let mut older = noise(1, 2 * MIB + 1);
                    older[MIB] ^= 1;
                    scene.put("b", older).existing(Existing::Overwrite)
                }
            };
            let kept: BTreeSet<_> = files(&scene.destination()).into_iter().collect();
            let outcome = scene.run_unchecked().await;
            broken += usize::from(outcome.error.is_some());
            for content in files(&scene.destination()) {
                let is_right = honest.contains(&content) || kept.contains(&content);
                assert!(is_right, "seed {seed}: {}", outcome.summary());
            }
            if outcome.error.is_none() {
                assert!(!scene.at(".packhorse-partial").exists(), "seed {seed}");
            }
        }
        assert!(broken > 20, "{broken} of these were noticed as such");
    });
}

/// The contents of all files with a name in the directory `at`.
fn files(at: &std::path::Path) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    let Ok(entries) = fs::read_dir(at) else {
        return contents;
    };
    for entry in entries.map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && entry.file_name() != ".packhorse-partial" {
            contents.extend(files(&entry.path()));
        } else if kind.is_file() {
            contents.push(fs::read(entry.path()).unwrap());
        }
    }
    contents
}
