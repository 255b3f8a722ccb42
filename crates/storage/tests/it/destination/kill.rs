//! `kill -9` at any moment. Threat 25.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use std::{process, thread};

use super::child::{child, folder};
use super::*;

const ROUNDS: u64 = 25;

/// What file `number` holds: its number again and again, so that a mixture shows.
fn content_of(number: u64) -> Vec<u8> {
    let length = match number % 4 {
        0 => 300_000 + number % 7 * GROUP_BYTES as u64,
        other => 8 * other + number % 5000,
    };
    let bytes = number.to_le_bytes();
    bytes.into_iter().cycle().take(length as usize).collect()
}

fn check_whole(place: &Place, at: &str) {
    let found = place.read(at);
    let number = found.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let number = number.unwrap_or_else(|| panic!("{at} has {} bytes", found.len()));
    assert!(found == content_of(number), "{at} is not whole");
    let meta = fs::metadata(place.at(at)).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o640, "{at}");
}

#[test]
fn a_killed_run_leaves_whole_files_and_nothing_to_clean_up() {
    let place = Place::in_memory();
    let mut survived = 0;
    for round in 0..ROUNDS {
        let mut writer = child("kill::write_until_killed", &place.dest())
            .spawn()
            .unwrap();
        // Until its folder is there, and the lock in it.
        while !place.at(PARTIAL).exists() || list(&place.at(PARTIAL)).len() < 2 {
            assert!(writer.try_wait().unwrap().is_none(), "the child has ended");
            thread::sleep(Duration::from_millis(1));
        }
        // Another moment in every round, some microseconds to some tens of milliseconds later.
        thread::sleep(Duration::from_micros(round * round * 60));
        writer.kill().unwrap();
        assert_eq!(writer.wait().unwrap().signal(), Some(9));
        let files = place.tree().into_iter();
        let files = files.filter(|at| !at.starts_with(PARTIAL) && !at.ends_with('/'));
        survived = files.inspect(|at| check_whole(&place, at)).count();
        if round % 3 == 0 {
            // A run of another job does not disturb what was left, and does not miss it.
            let other = JobName::new(b"pin", b"other");
            let options = DestinationOptions::default();
            let other = Destination::open(Disk::new(), &place.dest(), &other, options).unwrap();
            write(&other, &format!("other-{round}"), &content_of(round)).unwrap();
            finish(&other);
        }
        if round % 2 == 0 {
            let again = place.open(DestinationOptions::default());
            let mut left = place.tree();
            left.retain(|at| at.starts_with(PARTIAL) && !at.contains("/part-"));
            // The other run has removed it all if nothing was half done.
            let is_gone = round % 3 == 0 && left.is_empty();
            assert!(
                left.len() == 3 || is_gone,
                "partial, folder, lock: {left:?}"
            );
            finish(&again);
            assert!(!place.at(PARTIAL).exists());
        } else {
            // The next child clears up. It is awaited by a directory that is there already.
            let removed = fs::remove_dir_all(place.at(PARTIAL));
            assert!(removed.is_ok() || round % 3 == 0);
        }
    }
    assert!(survived as u64 > ROUNDS, "{survived} files were written");
}

#[test]
#[ignore = "the child of another test"]
fn write_until_killed() {
    let Some(folder) = folder() else {
        return;
    };
    let options = options(Existing::Overwrite);
    let destination = Destination::open(Disk::new(), &folder, &job(), options).unwrap();
    destination.enter_directory(&path("a")).unwrap();
    thread::scope(|scope| {
        for thread in 0..3 {
            let destination = &destination;
            scope.spawn(move || {
                for number in (0..).map(|number| number * 3 + thread) {
                    let to = match number % 5 {
                        0 => "replaced".to_owned(),
                        _ => format!("a/{}-{}", process::id(), number % 400),
                    };
                    let content = content_of(number);
                    let placed = match content.len() > 100_000 {
                        true => write_large(destination, &to, &content),
                        false => write(destination, &to, &content),
                    };
                    placed.unwrap();
                }
            });
        }
    });
}
