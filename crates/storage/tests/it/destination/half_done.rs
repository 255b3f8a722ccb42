//! What one run leaves of a large file, and what the next makes of it. Threats 17, 25 and 26.

use std::os::unix::fs::{MetadataExt, symlink};

use packhorse_protocol::content::GroupRange;
use packhorse_storage::disk::{Operation, Verdict};
use rustix::io::Errno;

use super::child::{child_on_mount, folder};
use super::*;
use crate::trees::disk_with;

const SIZE: usize = 6 * GROUP_BYTES + 77;

fn group(index: u64) -> GroupIndex {
    GroupIndex::new(index).unwrap()
}

fn range(start: u64, end: u64) -> GroupRange {
    GroupRange::new(start, end).unwrap()
}

fn bytes_of(content: &[u8], index: u64) -> &[u8] {
    let start = index as usize * GROUP_BYTES;
    &content[start..content.len().min(start + GROUP_BYTES)]
}

/// A destination in which an earlier run has written `groups` of the file `f`, and where that lies.
fn half_done(groups: &[u64]) -> (Place, PathBuf) {
    let place = Place::in_memory();
    let destination = place.open(DestinationOptions::default());
    let content = content(1, SIZE);
    let file = destination.begin_large(&path("f"), &info(SIZE)).unwrap();
    for &index in groups {
        file.write_group(group(index), bytes_of(&content, index))
            .unwrap();
    }
    drop(file);
    // As after a kill: nobody calls `finish`.
    drop(destination);
    let at = place.tree().into_iter().find(|at| at.contains("/part-"));
    let at = place.at(at.unwrap());
    (place, at)
}

/// Fetches all groups but those that are found and right, and gives the file its name. Returns
/// which were fetched.
fn complete(destination: &Destination, content: &[u8]) -> Vec<u64> {
    let file = destination
        .begin_large(&path("f"), &info(content.len()))
        .unwrap();
    let mut fetched = Vec::new();
    let mut buffer = Vec::new();
    for index in 0..group_count(content.len() as u64) {
        let is_found = file.found().iter().any(|run| run.contains(group(index)));
        file.read_group(group(index), &mut buffer).unwrap();
        if !is_found || buffer != bytes_of(content, index) {
            assert!(is_found || buffer.iter().all(|&byte| byte == 0), "{index}");
            fetched.push(index);
            file.write_group(group(index), bytes_of(content, index))
                .unwrap();
        }
    }
    assert_eq!(file.finish().unwrap(), Placed::New);
    fetched
}

/// The next run finishes the file and leaves nothing else. Returns which groups it fetched.
fn next_run(place: &Place, content: &[u8]) -> Vec<u64> {
    let destination = place.open(DestinationOptions::default());
    assert!(destination.was_empty());
    let fetched = complete(&destination, content);
    finish(&destination);
    assert_eq!(place.tree(), ["f"]);
    assert!(place.read("f") == content);
    place.check_outside();
    fetched
}

#[test]
fn what_was_written_is_found_by_the_next_run() {
    let content = content(1, SIZE);
    for (written, expected) in [
        (&[0, 1, 2, 3, 4, 5, 6][..], &[][..]),
        (&[0], &[1, 2, 3, 4, 5, 6]),
        (&[6], &[0, 1, 2, 3, 4, 5]),
        (&[1, 2, 5], &[0, 3, 4, 6]),
    ] {
        let (place, _) = half_done(written);
        assert_eq!(next_run(&place, &content), expected, "{written:?}");
    }
}

#[test]
fn of_what_was_never_written_nothing_is_kept() {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    drop(destination.begin_large(&path("f"), &info(SIZE)).unwrap());
    assert_eq!(place.tree().len(), 3, "{:?}", place.tree());
    drop(destination);
    assert_eq!(place.tree(), [""; 0]);
}

#[test]
fn runs_of_data_are_told_as_they_lie() {
    let (place, _) = half_done(&[1, 2, 4, 6]);
    let destination = place.open(DestinationOptions::default());
    let begin = |size| destination.begin_large(&path("f"), &info(size)).unwrap();
    assert_eq!(begin(SIZE).found(), [range(1, 3), range(4, 5), range(6, 7)]);
    // The source has become longer: the last group is not full.
    assert_eq!(begin(10 * GROUP_BYTES).found().last(), Some(&range(6, 7)));
    // Shorter: what lies behind its end is gone, also if it grows again.
    assert_eq!(begin(GROUP_BYTES + 1).found(), [range(1, 2)]);
    assert_eq!(begin(SIZE).found(), [range(1, 2)]);
    assert_eq!(begin(0).found(), []);
    assert_eq!(begin(SIZE).found(), []);
}

#[test]
fn what_is_damaged_is_no_hindrance() {
    let content = content(1, SIZE);
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &[u64]); 4] = [
        (
            "a byte",
            |at| {
                let mut bytes = fs::read(at).unwrap();
                bytes[2 * GROUP_BYTES + 9] ^= 1;
                fs::write(at, bytes).unwrap();
            },
            &[2, 4, 5, 6],
        ),
        (
            "cut",
            |at| {
                let file = fs::File::options().write(true).open(at).unwrap();
                file.set_len(GROUP_BYTES as u64 + 5).unwrap();
            },
            &[1, 2, 3, 4, 5, 6],
        ),
        (
            "grown",
            |at| {
                let file = fs::File::options().write(true).open(at).unwrap();
                file.set_len(1 << 40).unwrap();
            },
            &[4, 5, 6],
        ),
        (
            "emptied",
            |at| fs::write(at, "").unwrap(),
            &[0, 1, 2, 3, 4, 5, 6],
        ),
    ];
    for (what, damage, expected) in damages {
        let (place, at) = half_done(&[0, 1, 2, 3]);
        damage(&at);
        assert_eq!(next_run(&place, &content), expected, "{what}");
    }
}

#[test]
fn what_was_put_in_its_place_is_not_written_to() {
    type Put = fn(&Path, &Path);
    let puts: [(&str, Put); 7] = [
        ("nothing", |_, _| {}),
        ("link", |at, outside| {
            symlink(outside.join("secret"), at).unwrap()
        }),
        ("dangling", |at, outside| {
            symlink(outside.join("new"), at).unwrap()
        }),
        ("hard link", |at, outside| {
            fs::hard_link(outside.join("secret"), at).unwrap()
        }),
        ("directory", |at, _| fs::create_dir(at).unwrap()),
        ("link to a directory", |at, outside| {
            symlink(outside, at).unwrap()
        }),
        ("fifo", |at, _| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mkfifoat(rustix::fs::CWD, at, mode).unwrap();
        }),
    ];
    let content = content(1, SIZE);
    for (what, put) in puts {
        let (place, at) = half_done(&[0, 1, 2, 3]);
        fs::remove_file(&at).unwrap();
        put(&at, &place.folder.path().join("outside"));
        assert_eq!(next_run(&place, &content), [0, 1, 2, 3, 4, 5, 6], "{what}");
    }
    // A directory with something in it is left to whoever made it, and said to be there.
    let (place, at) = half_done(&[0]);
    fs::remove_file(&at).unwrap();
    fs::create_dir(&at).unwrap();
    fs::write(at.join("mine"), "mine").unwrap();
    let destination = place.open(DestinationOptions::default());
    assert_eq!(complete(&destination, &content).len(), 7);
    assert!(destination.finish().left_behind.is_some());
    assert_eq!(fs::read(at.join("mine")).unwrap(), b"mine");
    assert!(place.read("f") == content);
}

/// Killed between what gives a file its mode and what gives it its name.
#[test]
fn a_mode_that_allows_no_writing_is_no_hindrance() {
    let content = content(1, SIZE);
    let (place, at) = half_done(&[0, 1, 2, 3, 4, 5, 6]);
    fs::set_permissions(&at, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(next_run(&place, &content), [0; 0]);
    assert_eq!(fs::metadata(place.at("f")).unwrap().mode() & 0o7777, 0o640);
}

/// On a file system without safe renames a file has both names for a moment.
#[test]
fn a_file_that_has_its_final_name_already_is_not_written_to() {
    let (place, at) = half_done(&[0, 1, 2, 3, 4, 5, 6]);
    fs::hard_link(&at, place.at("f")).unwrap();
    let destination = place.open(options(Existing::Overwrite));
    let file = destination.begin_large(&path("f"), &info(SIZE)).unwrap();
    assert_eq!(file.found(), []);
    file.write_group(group(0), &vec![9; GROUP_BYTES]).unwrap();
    assert!(place.read("f") == content(1, SIZE));
    file.discard();
    finish(&destination);
    assert_eq!(place.tree(), ["f"]);
}

#[test]
fn what_nobody_begins_again_goes_at_the_end() {
    let (place, _) = half_done(&[0, 1]);
    let destination = place.open(DestinationOptions::default());
    write(&destination, "other", b"new").unwrap();
    assert_eq!(place.tree().len(), 5, "{:?}", place.tree());
    finish(&destination);
    assert_eq!(place.tree(), ["other"]);
}

#[test]
fn what_was_begun_and_not_finished_outlives_the_end() {
    let (place, _) = half_done(&[0, 1]);
    for _ in 0..2 {
        let destination = place.open(DestinationOptions::default());
        let file = destination.begin_large(&path("f"), &info(SIZE)).unwrap();
        assert_eq!(file.found(), [range(0, 2)]);
        drop(file);
        let report = destination.finish();
        assert_eq!((report.kept.files, report.kept.bytes), (1, 2 << 20));
        assert!(report.left_behind.is_none(), "{report:?}");
    }
    let destination = place.open(DestinationOptions::default());
    let file = destination.begin_large(&path("f"), &info(SIZE)).unwrap();
    file.discard();
    finish(&destination);
    assert_eq!(place.tree(), [""; 0]);
}

#[test]
fn a_file_that_outlives_the_end_can_only_fail() {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    let late = destination.begin_large(&path("f"), &info(SIZE)).unwrap();
    finish(&destination);
    assert_eq!(place.tree(), [""; 0]);
    assert!(late.finish().is_err());
    assert_eq!(place.tree(), [""; 0]);
}

#[test]
fn two_of_one_path_do_not_mix() {
    let place = Place::in_memory();
    let destination = place.open(options(Existing::KeepBoth));
    let contents = [content(1, SIZE), content(2, SIZE)];
    let files = [0, 1].map(|_| destination.begin_large(&path("f"), &info(SIZE)).unwrap());
    for (file, content) in files.iter().zip(&contents) {
        write_groups(file, content).unwrap();
    }
    for file in files {
        file.finish().unwrap();
    }
    finish(&destination);
    assert!(place.read("f") == contents[0] && place.read("f (1)") == contents[1]);
}

#[test]
fn groups_that_are_cleared_are_zeros() {
    for can_punch in [true, false] {
        let (place, _) = half_done(&[0, 1, 2, 4, 6]);
        let disk = disk_with(move |call| match call.operation {
            Operation::Punch { .. } if !can_punch => Err(Errno::OPNOTSUPP.into()),
            _ => Ok(Verdict::Proceed),
        });
        let destination = place.open_on(disk, DestinationOptions::default());
        let file = destination.begin_large(&path("f"), &info(SIZE)).unwrap();
        file.clear_found(range(1, 5)).unwrap();
        file.clear_found(range(6, 7)).unwrap();
        file.finish().unwrap();
        finish(&destination);
        let mut expected = vec![0; SIZE];
        expected[..GROUP_BYTES].copy_from_slice(bytes_of(&content(1, SIZE), 0));
        assert!(place.read("f") == expected);
        let blocks = fs::metadata(place.at("f")).unwrap().blocks() * 512;
        assert!(
            !can_punch || blocks <= GROUP_BYTES as u64 + 4096,
            "{blocks}"
        );
    }
}

#[test]
fn a_disk_without_room_is_an_error_before_anything_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let test = "half_done::look_for_room";
    if let Some(mut child) = child_on_mount(test, folder.path(), "size=16m") {
        assert!(child.status().unwrap().success());
    }
}

#[test]
#[ignore = "the child of another test"]
fn look_for_room() {
    let Some(folder) = folder() else {
        return;
    };
    let mib = GROUP_BYTES;
    let options = DestinationOptions::default();
    let open = || Destination::open(Disk::new(), &folder, &job(), options).unwrap();
    let destination = open();
    let begin = |at: &str, size| destination.begin_large(&path(at), &info(size));
    let first = begin("first", 10 * mib).unwrap();
    // What is promised to the first is not there for the second, before it was written and after.
    for written in 0..2 {
        let error = begin("second", 7 * mib).unwrap_err();
        let EntryError::NoRoom { needed, free, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(needed, 7 * mib as u64);
        assert!(free <= 6 * mib as u64 && free > 5 * mib as u64, "{free}");
        assert!(error.is_local_io());
        let told = error.to_string();
        assert!(
            told.contains("`second`") && told.contains("7340032 bytes"),
            "{told}"
        );
        first.write_group(group(written), &vec![1; mib]).unwrap();
    }
    let third = begin("third", 5 * mib).unwrap();
    drop(third);
    begin("fourth", 5 * mib).unwrap().discard();
    // Of what is half done only the rest is needed.
    drop(first);
    drop(destination);
    fs::write(folder.join("mine"), vec![1; 5 * mib]).unwrap();
    let destination = open();
    let first = destination.begin_large(&path("first"), &info(10 * mib));
    assert_eq!(first.unwrap().found(), [range(0, 2)]);
    let error = destination.begin_large(&path("first"), &info(12 * mib));
    let error = error.unwrap_err();
    assert!(
        matches!(error, EntryError::NoRoom { needed, .. } if needed == 10 * mib as u64),
        "{error:?}"
    );
}
