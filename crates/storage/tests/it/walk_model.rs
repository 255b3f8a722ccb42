//! A walk against a simple model of it, over trees made at random.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::message::EntryOptions;
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::tree::TreeOrder;
use packhorse_storage::disk::Disk;
use packhorse_storage::root::Links;
use proptest::prelude::*;

use crate::trees::{FOLLOW, KEEP, METHODS, Told, Tree, name, path, tell, walk_from};

/// What a tree is made of: paths of single letters, and what stands there.
#[derive(Debug, Clone)]
enum Plant {
    File,
    Directory,
    Link(Vec<u8>),
}

fn plants() -> impl Strategy<Value = Vec<(Vec<u8>, Plant)>> {
    // Names on both sides of `/` in the order of bytes, one of them no text.
    let letter = prop_oneof![
        Just(b"a".to_vec()),
        Just(b"b".to_vec()),
        Just(b"a-".to_vec()),
        Just(b"a0".to_vec()),
        Just(b"\xff".to_vec())
    ];
    let path = prop::collection::vec(letter, 1..4).prop_map(|parts| parts.join(&b'/'));
    let target = (0..3usize, path.clone()).prop_map(|(ups, path)| {
        let mut target = b"../".repeat(ups);
        target.extend_from_slice(&path);
        target
    });
    let plant = prop_oneof![
        3 => Just(Plant::File),
        2 => Just(Plant::Directory),
        1 => target.prop_map(Plant::Link),
    ];
    prop::collection::vec((path, plant), 0..20)
}

/// Plants what there is room for.
fn grow(tree: &Tree, plants: &[(Vec<u8>, Plant)]) {
    for (at, plant) in plants {
        let at = tree.at(OsStr::from_bytes(at));
        let parent = at.parent().unwrap();
        // Not through a link.
        if fs::create_dir_all(parent).is_err() || parent.canonicalize().unwrap() != parent {
            continue;
        }
        let _ = match plant {
            Plant::File => fs::File::create_new(at).map(drop),
            Plant::Directory => fs::create_dir(at),
            Plant::Link(target) => std::os::unix::fs::symlink(OsStr::from_bytes(target), at),
        };
    }
}

/// The model: a recursive listing by paths.
struct Model<'a> {
    root: &'a Path,
    follow: bool,
    told: Vec<Told>,
    /// Device and inode of the directories that it is in.
    inside: Vec<(u64, u64)>,
}

impl Model<'_> {
    fn list(&mut self, at: &Path, path: &RelativePath) {
        self.told.push(Told::Directory(path.clone()));
        let metadata = fs::metadata(at).unwrap();
        self.inside.push((metadata.dev(), metadata.ino()));
        let mut names: Vec<_> = fs::read_dir(at)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
            .collect();
        names.sort();
        let mut directories = Vec::new();
        for bytes in names {
            let below = at.join(OsStr::from_bytes(&bytes));
            let here = fs::symlink_metadata(&below).unwrap();
            let path = path.join(&name(&bytes)).unwrap();
            let skipped = |refusal| Told::Skipped(path.as_bytes().to_vec(), refusal);
            if here.is_symlink() && !self.follow {
                let target = fs::read_link(&below).unwrap();
                self.told.push(match self.stays(&below, &target) {
                    true => Told::Link(name(&bytes)),
                    false => skipped(Refusal::LeavesTree),
                });
            } else if here.is_symlink() && !self.stays_to_its_end(&below) {
                self.told.push(skipped(Refusal::LeavesTree));
            } else {
                match fs::metadata(&below) {
                    Ok(metadata) if metadata.is_dir() => directories.push((below, path)),
                    Ok(_) => self.told.push(Told::File(name(&bytes))),
                    Err(error) => self.told.push(skipped(match error.raw_os_error() {
                        Some(40) => Refusal::LinkLoop,
                        Some(20) => Refusal::NotDirectory,
                        _ => Refusal::NotFound,
                    })),
                }
            }
        }
        for (below, path) in directories {
            let metadata = fs::metadata(&below).unwrap();
            match self.inside.contains(&(metadata.dev(), metadata.ino())) {
                true => {
                    let path = path.as_bytes().to_vec();
                    self.told.push(Told::Skipped(path, Refusal::LinkLoop));
                }
                false => self.list(&below, &path),
            }
        }
        self.inside.pop();
    }

    /// Whether a link at `at` stays in the tree by its text and by what it leads through.
    fn stays(&self, at: &Path, target: &Path) -> bool {
        let depth = at.strip_prefix(self.root).unwrap().components().count() as i64 - 1;
        let mut depths = target.components().scan(depth, |depth, part| {
            *depth += if part.as_os_str() == ".." { -1 } else { 1 };
            Some(*depth)
        });
        depths.all(|depth| depth >= 0) && self.stays_to_its_end(at)
    }

    /// Follows links by hand. The targets here are relative.
    fn stays_to_its_end(&self, at: &Path) -> bool {
        let below = at.strip_prefix(self.root).unwrap();
        let mut pending: Vec<PathBuf> = below.iter().rev().map(PathBuf::from).collect();
        let (mut reached, mut links) = (PathBuf::new(), 0);
        while let Some(part) = pending.pop() {
            if part.as_os_str() == ".." {
                if !reached.pop() {
                    return false;
                }
                continue;
            }
            let next = self.root.join(&reached).join(&part);
            if let Ok(target) = fs::read_link(&next) {
                links += 1;
                if links > 40 {
                    return true;
                }
                pending.extend(target.iter().rev().map(PathBuf::from));
                continue;
            }
            match fs::metadata(&next) {
                Ok(metadata) if metadata.is_dir() || pending.is_empty() => reached.push(part),
                // Nothing is there to go on through.
                _ => return true,
            }
        }
        true
    }
}

fn check(plants: &[(Vec<u8>, Plant)], options: EntryOptions) {
    let tree = Tree::in_memory();
    grow(&tree, plants);
    let root = tree.at("").canonicalize().unwrap();
    let mut model = Model {
        root: &root,
        follow: options.follows_links(),
        told: Vec::new(),
        inside: Vec::new(),
    };
    model.list(&root, &RelativePath::ROOT);
    let source = tree.source();
    let whole = tell(walk_from(&source, "", options, None));
    assert_eq!(whole, model.told);

    // From the place behind every item on, as a client that was cut off there asks.
    let (mut order, mut behind) = (TreeOrder::new(None), 0);
    for (index, told) in whole.iter().enumerate() {
        match told {
            Told::Directory(path) => order.handle_directory(path).unwrap(),
            Told::File(name) | Told::Link(name) => order.handle_name(name).unwrap(),
            // What is skipped moves no cursor, and is told again.
            Told::Skipped(..) => continue,
        }
        behind += 1;
        let rest = tell(walk_from(&source, "", options, order.cursor().cloned()));
        assert_eq!(rest, whole[index + 1..], "behind {told:?}");
    }
    assert!(behind > 0);
}

/// Both ways to resolve a path come to the same object or the same error.
fn check_methods(plants: &[(Vec<u8>, Plant)], asked: &[Vec<u8>]) {
    let tree = Tree::in_memory();
    grow(&tree, plants);
    let [at_once, in_steps] = METHODS.map(|method| tree.root(Disk::new(), method));
    for asked in plants.iter().map(|(at, _)| at).chain(asked) {
        for links in [Links::Follow, Links::Refuse] {
            let [at_once, in_steps] = [&at_once, &in_steps].map(|root| {
                let path = path(asked);
                let number = |error: std::io::Error| error.raw_os_error();
                let status = root.status(&path, links).map(|status| status.inode);
                let directory = root.open_directory(&path, links).and_then(|it| it.status());
                let file = root.open_file(&path, links).map(|file| file.opened().inode);
                (
                    status.map_err(number),
                    directory.map(|status| status.inode).map_err(number),
                    file.map_err(number),
                )
            });
            assert_eq!(at_once, in_steps, "{} {links:?}", asked.escape_ascii());
        }
    }
}

proptest! {
    #[test]
    fn both_resolvers_agree(plants in plants(), asked in plants()) {
        let asked: Vec<_> = asked.into_iter().map(|(at, _)| at).collect();
        check_methods(&plants, &asked);
    }

    #[test]
    fn a_walk_tells_what_a_listing_tells(plants in plants()) {
        check(&plants, KEEP);
        check(&plants, FOLLOW);
    }
}
