//! Files of which nothing is known before they have come.

use packhorse_storage::disk::{DiskCall, DiskHook, Operation, Verdict};
use rustix::io::Errno;
use std::sync::Arc;

use super::*;

#[test]
fn a_file_has_its_name_once_it_is_finished() {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    let mut file = destination.begin_streamed(&path("f")).unwrap();
    for part in [&b"one "[..], b"", b"two"] {
        file.append(part).unwrap();
        assert!(!place.at("f").exists());
    }
    assert_eq!(file.finish().unwrap(), Placed::New);
    assert_eq!(place.read("f"), b"one two");
    let empty = destination.begin_streamed(&path("empty")).unwrap();
    empty.finish().unwrap();
    assert_eq!(place.read("empty"), b"");
    let mode = fs::metadata(place.at("f")).unwrap().permissions().mode();
    let usual = place.at("usual");
    fs::write(&usual, "").unwrap();
    assert_eq!(mode, fs::metadata(&usual).unwrap().permissions().mode());
    finish(&destination);
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    let place = Place::new();
    let destination = place.open(DestinationOptions::default());
    let mut file = destination.begin_streamed(&path("f")).unwrap();
    file.append(b"half").unwrap();
    drop(file);
    finish(&destination);
    assert_eq!(place.tree(), [""; 0]);
}

#[test]
fn a_name_that_is_taken_is_treated_as_the_policy_says() {
    let cases = [
        (Existing::Refuse, None, "old"),
        (Existing::Overwrite, Some(Placed::Replaced), "new"),
        (
            Existing::KeepBoth,
            Some(Placed::Beside(name("f (1)"))),
            "old",
        ),
    ];
    for (existing, expected, content) in cases {
        let place = Place::new();
        fs::write(place.at("f"), "old").unwrap();
        let destination = place.open(options(existing));
        let begun = destination.begin_streamed(&path("f"));
        let placed = begun.and_then(|mut file| {
            file.append(b"new")?;
            file.finish()
        });
        assert_eq!(placed.as_ref().ok(), expected.as_ref(), "{placed:?}");
        if let Err(error) = &placed {
            assert!(error.is_refusal_to_overwrite());
        }
        assert_eq!(place.read("f"), content.as_bytes());
        finish(&destination);
    }
    // It may also be taken while the file comes.
    let place = Place::new();
    let destination = place.open(options(Existing::Refuse));
    let file = destination.begin_streamed(&path("f")).unwrap();
    fs::write(place.at("f"), "old").unwrap();
    assert!(file.finish().unwrap_err().is_refusal_to_overwrite());
    assert_eq!(place.read("f"), b"old");
    finish(&destination);
}

#[test]
fn a_full_disk_leaves_nothing() {
    struct Full;
    impl DiskHook for Full {
        fn before(&self, call: &DiskCall<'_>) -> std::io::Result<Verdict> {
            match call.operation {
                Operation::Write { offset: 3, .. } => Err(Errno::NOSPC.into()),
                _ => Ok(Verdict::Proceed),
            }
        }
    }
    let place = Place::new();
    let disk = Disk::with_hook(Arc::new(Full));
    let options = DestinationOptions::default();
    let destination = Destination::open(disk, &place.at(""), &job(), options).unwrap();
    let mut file = destination.begin_streamed(&path("f")).unwrap();
    file.append(b"abc").unwrap();
    let error = file.append(b"def").unwrap_err();
    assert!(matches!(error, EntryError::DiskFull { .. }), "{error}");
    drop(file);
    finish(&destination);
    assert_eq!(place.tree(), [""; 0]);
}
