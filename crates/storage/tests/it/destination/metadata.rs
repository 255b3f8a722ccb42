//! Times, modes and attributes, and names that file systems find hard. Threats 14, 15 and 16.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use packhorse_protocol::entry::Xattr;
use packhorse_storage::destination::EnterOutcome;

use super::*;

fn time_of(place: &Place, at: &str) -> (i64, i64) {
    let found = fs::symlink_metadata(place.at(at)).unwrap();
    (found.mtime(), found.mtime_nsec())
}

fn mode_of(place: &Place, at: &str) -> u32 {
    fs::symlink_metadata(place.at(at)).unwrap().mode() & 0o7777
}

#[test]
fn every_mode_arrives_and_never_a_privilege() {
    let place = Place::in_memory();
    let destination = place.open(DestinationOptions::default());
    for bits in (0..0o1000).chain([0o1000, 0o1777]) {
        let (file, directory) = (format!("f{bits:o}"), format!("d{bits:o}"));
        let with_mode = FileInfo {
            mode: Mode::from_bits(bits),
            ..info(3)
        };
        write_with(&destination, &file, &with_mode, b"abc").unwrap();
        assert_eq!(mode_of(&place, &file), bits, "{file}");
        destination.enter_directory(&path(&directory)).unwrap();
        assert_eq!(mode_of(&place, &directory), 0o700);
        let inner = format!("{directory}/x");
        let large = destination.begin_large(&path(&inner), &with_mode).unwrap();
        write_groups(&large, b"abc").unwrap();
        large.finish().unwrap();
        assert_eq!(mode_of(&place, &inner), bits, "{inner}");
        let sealed = directory_info(bits, at(9, 8));
        destination
            .seal_directory(&path(&directory), &sealed)
            .unwrap();
        assert_eq!(mode_of(&place, &directory), bits, "{directory}");
        assert_eq!(time_of(&place, &directory), (9, 8));
        // A second run finds it sealed, fills it, and seals it again.
        assert_eq!(
            destination.enter_directory(&path(&directory)).unwrap(),
            EnterOutcome::Existing
        );
        assert_eq!(mode_of(&place, &directory), bits | 0o700, "{directory}");
        destination
            .seal_directory(&path(&directory), &sealed)
            .unwrap();
        assert_eq!(mode_of(&place, &directory), bits, "{directory}");
    }
    let privileged = FileInfo {
        mode: Mode::from_bits(0o106_755),
        ..info(3)
    };
    write_with(&destination, "privileged", &privileged, b"abc").unwrap();
    assert_eq!(mode_of(&place, "privileged"), 0o755);
    finish(&destination);
}

#[test]
fn times_arrive_to_the_nanosecond() {
    let place = Place::in_memory();
    let destination = place.open(DestinationOptions::default());
    for (index, time) in [
        at(0, 0),
        at(0, 1),
        at(-1, 999_999_999),
        at(-86_400 * 365, 5),
        at(1_700_000_000, 999_999_999),
        at(1 << 33, 7),
    ]
    .into_iter()
    .enumerate()
    {
        let expected = (time.seconds(), i64::from(time.nanoseconds()));
        let with_time = FileInfo {
            modified: time,
            ..info(1)
        };
        let names = ["small", "large", "link", "directory"].map(|kind| format!("{kind}-{index}"));
        let [small, large, link, directory] = &names;
        write_with(&destination, small, &with_time, b"a").unwrap();
        let file = destination.begin_large(&path(large), &with_time).unwrap();
        write_groups(&file, b"a").unwrap();
        file.finish().unwrap();
        destination
            .make_link(&path(link), b"small-0", time)
            .unwrap();
        destination.enter_directory(&path(directory)).unwrap();
        destination
            .seal_directory(&path(directory), &directory_info(0o755, time))
            .unwrap();
        for name in &names {
            assert_eq!(time_of(&place, name), expected, "{name}");
        }
    }
    // A time that no file system holds is brought as near as it goes, and is no error.
    for (index, seconds) in [i64::MAX, i64::MIN].into_iter().enumerate() {
        let absurd = FileInfo {
            modified: at(seconds, 999_999_999),
            ..info(1)
        };
        write_with(&destination, &format!("absurd-{index}"), &absurd, b"a").unwrap();
    }
    destination
        .seal_directory(&RelativePath::ROOT, &directory_info(0o750, at(77, 88)))
        .unwrap();
    finish(&destination);
    assert_eq!(
        (time_of(&place, ""), mode_of(&place, "")),
        ((77, 88), 0o750)
    );
    // After the end it is sealed at once.
    destination
        .seal_directory(&RelativePath::ROOT, &directory_info(0o755, at(78, 89)))
        .unwrap();
    assert_eq!(
        (time_of(&place, ""), mode_of(&place, "")),
        ((78, 89), 0o755)
    );
}

#[test]
fn a_directory_that_hands_its_group_on_goes_on_to() {
    let place = Place::new();
    fs::set_permissions(place.dest(), fs::Permissions::from_mode(0o2775)).unwrap();
    let destination = place.open(DestinationOptions::default());
    destination.enter_directory(&path("a")).unwrap();
    destination
        .seal_directory(&path("a"), &directory_info(0o750, at(1, 1)))
        .unwrap();
    assert_eq!(mode_of(&place, "a"), 0o2750);
    write(&destination, "a/f", b"abc").unwrap();
    assert_eq!(mode_of(&place, "a/f"), 0o640);
}

#[test]
fn only_the_attributes_of_users_are_taken() {
    let place = Place::new();
    let xattr = |name: &str| Xattr {
        name: name.into(),
        value: b"value".to_vec(),
    };
    let xattrs = vec![
        xattr("user.kept"),
        xattr("security.capability"),
        xattr("trusted.x"),
    ];
    // Read-only: attributes must be set before the mode.
    let with_xattrs = FileInfo {
        xattrs,
        mode: Mode::from_bits(0o444),
        ..info(3)
    };
    for asked in [true, false] {
        let options = DestinationOptions {
            xattrs: asked,
            ..DestinationOptions::default()
        };
        let destination = place.open(options);
        let (small, large) = (format!("small-{asked}"), format!("large-{asked}"));
        match write_with(&destination, &small, &with_xattrs, b"abc") {
            Ok(_) => {}
            Err(error) if error.to_string().contains("not supported") => {
                eprintln!("SKIPPED: {error}");
                return;
            }
            Err(error) => panic!("{error}"),
        }
        let file = destination
            .begin_large(&path(&large), &with_xattrs)
            .unwrap();
        write_groups(&file, b"abc").unwrap();
        file.finish().unwrap();
        destination.enter_directory(&path("d")).unwrap();
        let mut sealed = directory_info(0o555, at(5, 5));
        sealed.xattrs.clone_from(&with_xattrs.xattrs);
        destination.seal_directory(&path("d"), &sealed).unwrap();
        for at in [&*small, &large] {
            assert_eq!(
                user_xattrs(&place, at),
                if asked { "user.kept\0" } else { "" },
                "{at}"
            );
            assert_eq!(mode_of(&place, at), 0o444);
        }
        assert_eq!(user_xattrs(&place, "d"), "user.kept\0");
        assert_eq!(time_of(&place, "d"), (5, 5));
        finish(&destination);
    }
}

fn user_xattrs(place: &Place, at: &str) -> String {
    let mut names = vec![0; 1024];
    let length = rustix::fs::listxattr(place.at(at), &mut *names).unwrap();
    names.truncate(length);
    let names = String::from_utf8(names).unwrap();
    let others = ["security.selinux\0"];
    others
        .iter()
        .fold(names, |names, other| names.replace(other, ""))
}

#[test]
fn names_are_bytes() {
    let place = Place::in_memory();
    let destination = place.open(DestinationOptions::default());
    let long = [b'x'; 255];
    let names: [&[u8]; 12] = [
        b" ",
        b"...",
        b"-rf",
        b"\xff\xfe",
        b"a\nb",
        b"\x1b[2J",
        b"C:\\x",
        b"CON",
        b"trailing.",
        b"lock",
        b".packhorse-partial ",
        &long,
    ];
    for bytes in names {
        destination.enter_directory(&path(bytes)).unwrap();
        let inner = [bytes, b"/", bytes].concat();
        let inner = path(&inner);
        let (parent, last) = inner.split_last().unwrap();
        let file = SmallFile {
            name: &last,
            info: &info(1),
            content: b"a",
        };
        let outcomes = destination.write_small(&parent, &[file]);
        assert!(outcomes[0].is_ok(), "{inner}: {outcomes:?}");
    }
    // `A` and `a` are two names here; where they are one, see `folding`.
    for (text, bytes) in [("A", b"upper"), ("a", b"lower")] {
        write(&destination, text, bytes).unwrap();
    }
    finish(&destination);
    assert_eq!(place.tree().len(), 2 * names.len() + 2);
    assert_eq!(
        (place.read("A"), place.read("a")),
        (b"upper".to_vec(), b"lower".to_vec())
    );
}

#[test]
fn what_is_printed_can_do_nothing_to_a_terminal() {
    let place = Place::new();
    let name = "\x1b[2J\u{202e}\u{9b}x\n";
    fs::write(place.at(name), "old").unwrap();
    let destination = place.open(DestinationOptions::default());
    let error = write(&destination, name, b"new").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`\\u{1b}[2J\\u{202e}\\u{9b}x\\n` exists already (a file) and was left as it is"
    );
}

#[test]
fn deep_trees_have_a_bound_and_no_worse() {
    let place = Place::in_memory();
    let destination = place.open(DestinationOptions::default());
    let mut deepest = RelativePath::ROOT;
    while let Ok(deeper) = deepest.join(&name("d")) {
        destination.enter_directory(&deeper).unwrap();
        deepest = deeper;
    }
    assert_eq!(deepest.depth(), 2048);
    // The path of this file is longer than any path may be; the file itself is no trouble.
    let file = name("x".repeat(255));
    let file = SmallFile {
        name: &file,
        info: &info(1),
        content: b"a",
    };
    assert!(destination.write_small(&deepest, &[file])[0].is_ok());
    let wrong = FileInfo { size: 2, ..info(1) };
    let file = SmallFile {
        info: &wrong,
        ..file
    };
    let error = destination
        .write_small(&deepest, &[file])
        .remove(0)
        .unwrap_err();
    assert!(matches!(error, EntryError::WrongLength { .. }), "{error:?}");
    for path in std::iter::successors(Some(deepest), |path| Some(path.split_last()?.0)) {
        destination
            .seal_directory(&path, &directory_info(0o755, at(1, 2)))
            .unwrap();
    }
    finish(&destination);
    // The standard library needs a descriptor for each level to remove this.
    let removed = Command::new("rm").arg("-rf").arg(place.at("d")).status();
    assert!(removed.unwrap().success());
}
