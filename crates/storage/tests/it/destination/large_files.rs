//! Files that arrive in groups. Threats 17 and 26.

use std::os::unix::fs::MetadataExt;
use std::thread;

use packhorse_protocol::content::{ContentHash, GroupHash, GroupRange, merge_groups};
use packhorse_protocol::limits::FILE_BYTES_MAX;
use proptest::prelude::*;

use super::*;

fn group(index: u64) -> GroupIndex {
    GroupIndex::new(index).unwrap()
}

#[test]
fn groups_come_in_any_order_from_many_threads() {
    const THREADS: usize = 4;
    let place = Place::in_memory();
    let destination = place.open(DestinationOptions::default());
    for (index, size) in [
        0,
        1,
        GROUP_BYTES - 1,
        GROUP_BYTES,
        GROUP_BYTES + 1,
        9 * GROUP_BYTES + 12_345,
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{size}");
        let bytes = content(index, size);
        let file = destination.begin_large(&path(&name), &info(size)).unwrap();
        let groups = group_count(size as u64);
        thread::scope(|scope| {
            for thread in 0..THREADS as u64 {
                let (file, bytes) = (&file, &bytes);
                scope.spawn(move || {
                    // Backwards, each thread every fourth.
                    for index in (0..groups).rev().filter(|index| index % 4 == thread) {
                        let start = index as usize * GROUP_BYTES;
                        let end = (start + GROUP_BYTES).min(size);
                        file.write_group(group(index), &bytes[start..end]).unwrap();
                    }
                });
            }
        });
        let mut buffer = Vec::new();
        let hashes: Vec<_> = (0..groups)
            .map(|index| {
                file.read_group(group(index), &mut buffer).unwrap();
                GroupHash::of(group(index), size as u64, &buffer)
            })
            .collect();
        assert_eq!(merge_groups(&hashes), ContentHash::of(&bytes));
        assert!(!place.at(&name).exists(), "no name before it is complete");
        assert_eq!(file.finish().unwrap(), Placed::New);
        assert!(place.read(&name) == bytes, "{name}");
    }
    finish(&destination);
}

#[test]
fn a_group_has_the_length_that_was_announced() {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    let file = destination
        .begin_large(&path("f"), &info(GROUP_BYTES + 5))
        .unwrap();
    let full = vec![1; GROUP_BYTES];
    for (index, bytes) in [
        (0, &full[1..]),
        (0, &full[..0]),
        (1, &full[..4]),
        (1, &full[..6]),
        (2, &full[..1]),
        (2, &full[..0]),
        (1 << 43, &full[..5]),
    ] {
        let Some(group) = GroupIndex::new(index) else {
            continue;
        };
        let error = file.write_group(group, bytes).unwrap_err();
        assert!(
            matches!(error, EntryError::WrongLength { .. }),
            "{index}: {error:?}"
        );
    }
    for size in [2, 4] {
        let error = write_with(&destination, "g", &info(size), b"abc").unwrap_err();
        assert!(matches!(error, EntryError::WrongLength { .. }), "{error:?}");
    }
    drop(file);
    finish(&destination);
    assert_eq!(place.tree(), [""; 0]);
}

/// A lie about the size costs no space, and is an error at once where no file can be so large.
#[test]
fn a_lie_about_the_size_costs_nothing() {
    for place in [Place::new(), Place::in_memory()] {
        let destination = place.open(DestinationOptions::default());
        for size in [
            1 << 40,
            FILE_BYTES_MAX - 1,
            FILE_BYTES_MAX,
            FILE_BYTES_MAX + 1,
            u64::MAX,
        ] {
            let lie = FileInfo {
                size,
                sparse: true,
                ..info(0)
            };
            let honest = FileInfo { size, ..info(0) };
            let error = destination.begin_large(&path("g"), &honest).unwrap_err();
            let is_told = matches!(
                error,
                EntryError::NoRoom { .. } | EntryError::TooLarge { .. }
            );
            assert!(is_told, "{error}");
            match destination.begin_large(&path("f"), &lie) {
                Ok(file) => {
                    assert!(size <= FILE_BYTES_MAX);
                    let folder = place.at(PARTIAL);
                    assert!(blocks_below(&folder) < 1000, "{size}");
                    let last = group(group_count(size) - 1);
                    let mut buffer = Vec::new();
                    file.read_group(last, &mut buffer).unwrap();
                    assert!(buffer.iter().all(|&byte| byte == 0));
                    file.write_group(last, &vec![1; buffer.len()]).unwrap();
                    file.discard();
                }
                Err(EntryError::TooLarge { size: told, .. }) => assert_eq!(told, size),
                Err(other) => panic!("{size}: {other:?}"),
            }
        }
        finish(&destination);
        assert_eq!(place.tree(), [""; 0]);
    }
}

fn blocks_below(folder: &Path) -> u64 {
    let below = list(folder).into_iter();
    below
        .map(|at| fs::metadata(folder.join(at)).unwrap().blocks())
        .sum()
}

#[test]
fn holes_stay_holes() {
    let place = Place::in_memory();
    let destination = place.open(DestinationOptions::default());
    let size = 8 * GROUP_BYTES + 5000;
    let mut bytes = vec![0; size];
    bytes[3 * GROUP_BYTES + 4096 * 7 + 1] = 1;
    bytes[3 * GROUP_BYTES + 4096 * 9..][..8192].fill(2);
    bytes[size - 1] = 3;
    let blocks = |at: &str| fs::metadata(place.at(at)).unwrap().blocks() * 512;
    for (name, sparse) in [("sparse", true), ("dense", false)] {
        let info = FileInfo {
            sparse,
            ..info(size)
        };
        let file = destination.begin_large(&path(name), &info).unwrap();
        write_groups(&file, &bytes).unwrap();
        file.finish().unwrap();
        assert!(place.read(name) == bytes, "{name}");
    }
    assert_eq!(blocks("sparse"), 4 * 4096, "a page, two, and the last");
    assert!(blocks("dense") >= size as u64);
    let small = FileInfo {
        sparse: true,
        ..info(256 << 10)
    };
    let mut bytes = vec![0; 256 << 10];
    bytes[100_000] = 1;
    write_with(&destination, "small", &small, &bytes).unwrap();
    assert!(place.read("small") == bytes);
    assert_eq!(blocks("small"), 4096);
    finish(&destination);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A sparse file has the bytes that were written last, also where zeros follow on data.
    #[test]
    fn groups_written_again_are_those_written_last(
        writes in proptest::collection::vec((0u64..3, proptest::collection::vec(0u8..2, 257)), 1..8),
    ) {
        let place = Place::in_memory();
        let destination = place.open(DestinationOptions::default());
        let size = 2 * GROUP_BYTES + 10_000;
        let sparse = FileInfo { sparse: true, ..info(size) };
        let file = destination.begin_large(&path("f"), &sparse).unwrap();
        let mut model = vec![0; size];
        for (index, pattern) in writes {
            let start = index as usize * GROUP_BYTES;
            let end = (start + GROUP_BYTES).min(size);
            // Runs of zeros and of others, with ends on and off the boundaries of pages.
            for (at, byte) in model[start..end].iter_mut().enumerate() {
                *byte = pattern[at / 4080 % pattern.len()];
            }
            file.write_group(group(index), &model[start..end]).unwrap();
        }
        file.finish().unwrap();
        prop_assert!(place.read("f") == model);
    }
}

#[test]
fn groups_that_are_here_are_copied_and_hashed() {
    let place = Place::in_memory();
    let destination = place.open(options(Existing::Overwrite));
    let old = content(1, 2 * GROUP_BYTES + 100);
    let mut new = old.clone();
    new[GROUP_BYTES + 5] ^= 1;
    write_large(&destination, "f", &old).unwrap();
    let existing = destination.open_existing(&path("f")).unwrap();
    let file = destination
        .begin_large(&path("f"), &info(new.len()))
        .unwrap();
    let mut buffer = Vec::new();
    for index in [0, 2] {
        let copied = file
            .copy_group_from(&existing, group(index), &mut buffer)
            .unwrap();
        let start = index as usize * GROUP_BYTES;
        let end = (start + GROUP_BYTES).min(new.len());
        let expected = GroupHash::of(group(index), new.len() as u64, &new[start..end]);
        assert_eq!(copied, expected);
    }
    file.write_group(group(1), &new[GROUP_BYTES..2 * GROUP_BYTES])
        .unwrap();
    assert_eq!(file.finish().unwrap(), Placed::Replaced);
    assert!(place.read("f") == new);
    // Of a shorter file the last group has another length.
    write_large(&destination, "short", &old[..100]).unwrap();
    let existing = destination.open_existing(&path("short")).unwrap();
    let file = destination.begin_large(&path("g"), &info(200)).unwrap();
    let error = file
        .copy_group_from(&existing, group(0), &mut buffer)
        .unwrap_err();
    assert!(matches!(error, EntryError::WrongLength { .. }), "{error:?}");
}

#[test]
fn a_name_that_is_taken_is_refused_before_the_data_is_fetched() {
    let place = Place::new();
    fs::write(place.at("f"), "old").unwrap();
    fs::create_dir(place.at("d")).unwrap();
    let refuse = place.open(options(Existing::Refuse));
    let error = refuse.begin_large(&path("f"), &info(5)).unwrap_err();
    assert!(error.is_refusal_to_overwrite(), "{error:?}");
    drop(refuse);
    let overwrite = place.open(options(Existing::Overwrite));
    let error = overwrite.begin_large(&path("d"), &info(5)).unwrap_err();
    assert!(error.is_refusal_to_overwrite(), "{error:?}");
    assert!(overwrite.begin_large(&path("f"), &info(5)).is_ok());
}

/// All that was fetched was thrown away.
#[test]
fn what_was_fetched_outlives_a_name_that_was_taken_meanwhile() {
    let place = Place::new();
    let content = content(1, GROUP_BYTES + 5);
    let refuse = place.open(options(Existing::Refuse));
    let file = refuse
        .begin_large(&path("f"), &info(content.len()))
        .unwrap();
    write_groups(&file, &content).unwrap();
    fs::write(place.at("f"), "of another").unwrap();
    let error = file.finish().unwrap_err();
    assert!(error.is_refusal_to_overwrite(), "{error:?}");
    let kept = refuse.finish().kept;
    assert_eq!(kept.files, 1);
    assert!(kept.bytes >= content.len() as u64, "{kept:?}");
    assert_eq!(place.read("f"), b"of another");
    drop(refuse);
    let both = place.open(options(Existing::KeepBoth));
    let file = both.begin_large(&path("f"), &info(content.len())).unwrap();
    assert_eq!(file.found(), [GroupRange::new(0, 2).unwrap()]);
    let placed = file.finish().unwrap();
    assert_eq!(placed, Placed::Beside(name("f (1)")));
    finish(&both);
    assert_eq!(place.tree(), ["f", "f (1)"]);
    assert!(place.read("f (1)") == content && place.read("f") == b"of another");
}
