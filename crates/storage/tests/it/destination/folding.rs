//! A file system for which some names are the same: they are reported, never merged. Threat 14.

use std::io;
use std::sync::{Arc, Mutex};

use packhorse_storage::destination::{DestinationError, EnterOutcome, Presence};
use packhorse_storage::disk::{DiskCall, DiskHook, Operation, Verdict};

use super::*;

/// Names that it takes for the same: by case, by Unicode form, by a dot at the end.
const TWINS: [(&str, &str); 4] = [
    ("Name.txt", "nAME.txt"),
    ("caf\u{e9}", "cafe\u{301}"),
    ("n", "n."),
    ("10", "10."),
];

fn fold(name: &OsStr) -> String {
    let name = name.to_string_lossy().to_lowercase();
    name.replace('\u{e9}', "e\u{301}")
        .trim_end_matches('.')
        .to_owned()
}

/// Makes the file system of the test fold names, as some do: before each call, what is meant by a
/// name gets exactly that name, and gets its own back before the next. For one thread only.
struct Folding {
    base: PathBuf,
    renamed: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Folding {
    fn on(place: &Place) -> (Disk, Arc<Self>) {
        let folding = Arc::new(Self {
            base: place.dest(),
            renamed: Mutex::default(),
        });
        (Disk::with_hook(Arc::clone(&folding) as _), folding)
    }

    fn restore(&self) {
        for (own, meant) in self.renamed.lock().unwrap().drain(..).rev() {
            // It may have been removed or moved by the call.
            let _ = fs::rename(meant, own);
        }
    }

    fn give_names(&self, path: &[u8]) {
        let path = Path::new(OsStr::from_bytes(path));
        let Ok(below) = path.strip_prefix(&self.base) else {
            return;
        };
        let mut at = self.base.clone();
        for name in below {
            let meant = at.join(name);
            if fs::symlink_metadata(&meant).is_err() {
                let mut entries = fs::read_dir(&at).into_iter().flatten().flatten();
                let twin = entries.find(|entry| fold(&entry.file_name()) == fold(name));
                let Some(twin) = twin else {
                    return;
                };
                fs::rename(twin.path(), &meant).unwrap();
                self.renamed
                    .lock()
                    .unwrap()
                    .push((twin.path(), meant.clone()));
            }
            at = meant;
        }
    }
}

impl DiskHook for Folding {
    fn before(&self, call: &DiskCall<'_>) -> io::Result<Verdict> {
        self.restore();
        if !matches!(call.operation, Operation::List) {
            self.give_names(call.path);
        }
        if let Operation::Rename { to, .. } | Operation::HardLink { to } = call.operation {
            self.give_names(to);
        }
        Ok(Verdict::Proceed)
    }
}

fn is_collision<T: std::fmt::Debug>(result: Result<T, EntryError>) -> bool {
    matches!(result, Err(EntryError::Collides { .. }))
}

#[test]
fn names_that_meet_are_reported() {
    for policy in [Existing::Refuse, Existing::Overwrite] {
        for (first, second) in TWINS {
            let what = format!("{second} after {first}, {policy:?}");
            let place = Place::new();
            let (disk, folding) = Folding::on(&place);
            let destination = place.open_on(disk, options(policy));
            assert_eq!(
                write(&destination, first, b"first").unwrap(),
                Placed::New,
                "{what}"
            );
            let second_path = path(second);
            assert!(
                is_collision(destination.compare(&second_path, &info(5))),
                "{what}"
            );
            assert!(
                is_collision(write(&destination, second, b"other")),
                "{what}"
            );
            assert!(
                is_collision(write_large(&destination, second, b"other")),
                "{what}"
            );
            assert!(
                is_collision(destination.enter_directory(&second_path)),
                "{what}"
            );
            let linked = destination.make_link(&second_path, b"x", at(1, 1));
            assert!(is_collision(linked), "{what}");
            write(&destination, "third", b"third").unwrap();
            let linked = destination.hard_link(&path("third"), &second_path);
            assert!(is_collision(linked), "{what}");
            finish(&destination);
            folding.restore();
            let mut expected = [first, "third"];
            expected.sort_unstable();
            assert_eq!(place.tree(), expected, "{what}");
            assert_eq!(place.read(first), b"first", "{what}");
        }
    }
}

#[test]
fn directories_and_links_that_meet_are_reported() {
    for (first, second) in TWINS {
        let place = Place::new();
        let (disk, folding) = Folding::on(&place);
        let destination = place.open_on(disk, options(Existing::Overwrite));
        let entered = destination.enter_directory(&path(first)).unwrap();
        assert_eq!(entered, EnterOutcome::Created);
        assert!(
            is_collision(destination.enter_directory(&path(second))),
            "{second}"
        );
        let entered = destination.enter_directory(&path(first)).unwrap();
        assert_eq!(entered, EnterOutcome::Existing);
        let (link, other) = (format!("{first}/{first}"), format!("{first}/{second}"));
        let make = |to: &str| destination.make_link(&path(to), b"target", at(0, 0));
        assert_eq!(make(&link).unwrap(), Placed::New);
        assert_eq!(make(&link).unwrap(), Placed::Same);
        assert!(is_collision(make(&other)), "{second}");
        finish(&destination);
        folding.restore();
        assert_eq!(place.tree(), [format!("{first}/"), link]);
    }
}

#[test]
fn what_has_exactly_the_name_is_no_collision() {
    for (first, second) in TWINS {
        for name in [first, second] {
            let place = Place::new();
            let (disk, _) = Folding::on(&place);
            let destination = place.open_on(disk.clone(), options(Existing::Overwrite));
            write(&destination, name, b"first").unwrap();
            let presence = destination.compare(&path(name), &info(5)).unwrap();
            assert_eq!(presence, Presence::Same { mode: info(5).mode });
            assert_eq!(
                write(&destination, name, b"again").unwrap(),
                Placed::Replaced
            );
            finish(&destination);
            let refusing = place.open_on(disk, options(Existing::Refuse));
            let error = write(&refusing, name, b"third").unwrap_err();
            assert!(error.is_refusal_to_overwrite(), "{error:?}");
            assert_eq!(place.read(name), b"again");
        }
    }
}

#[test]
fn both_are_kept_if_that_was_asked_for() {
    let place = Place::new();
    let (disk, folding) = Folding::on(&place);
    let destination = place.open_on(disk, options(Existing::KeepBoth));
    write(&destination, "A", b"first").unwrap();
    let placed = write(&destination, "a", b"second").unwrap();
    assert_eq!(placed, Placed::Beside(name("a (1)")));
    finish(&destination);
    folding.restore();
    assert_eq!(
        (place.read("A"), place.read("a (1)")),
        (b"first".to_vec(), b"second".to_vec())
    );
}

/// The directory for unfinished downloads has one name, also where it could be reached by others.
#[test]
fn nobody_reaches_the_unfinished_by_another_name() {
    let twin = ".Packhorse-Partial";
    let place = Place::new();
    let (disk, _) = Folding::on(&place);
    let destination = place.open_on(disk, options(Existing::Overwrite));
    destination.claim().unwrap();
    assert!(is_collision(destination.enter_directory(&path(twin))));
    assert!(is_collision(write(&destination, twin, b"new")));
    finish(&destination);
    assert_eq!(place.tree(), [""; 0]);

    let destination = place.open_on(Folding::on(&place).0, options(Existing::Overwrite));
    destination.enter_directory(&path(twin)).unwrap();
    let error = destination.claim().unwrap_err();
    assert!(
        matches!(error, DestinationError::ForeignPartial { .. }),
        "{error:?}"
    );
    assert!(write(&destination, &format!("{twin}/x"), b"new").is_err());
}
