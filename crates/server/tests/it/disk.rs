//! A disk that fails under a server. (THREATS 13 and 26.)

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::message::{ReadWhat, Request};
use packhorse_protocol::session::{Answer, Fetched, Item};
use packhorse_storage::disk::{DiskCall, Opening, Operation, Verdict};
use rustix::io::Errno;

use crate::client::{fetch, read, read_what, tree, tree_inline};
use crate::served::{Clock, Served, Setup, Tree, disk_with, within};

/// A server whose disk fails with `errno` where `fails` says so, while the switch is on.
fn failing(
    errno: Errno,
    fails: impl Fn(&DiskCall<'_>) -> bool + Send + Sync + 'static,
) -> (Served, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(true));
    let on = Arc::clone(&switch);
    let setup = Setup {
        disk: disk_with(
            move |call| match on.load(Ordering::Relaxed) && fails(call) {
                true => Err(io::Error::from_raw_os_error(errno.raw_os_error())),
                false => Ok(Verdict::Proceed),
            },
        ),
        ..Setup::default()
    };
    let tree = Tree::new().file("a", "1").large("bad", 3).file("c", "3");
    let served = setup.serve(tree.file("bad-small", "2").file("d/bad-inside", "x"));
    (served, switch)
}

fn is_bad(call: &DiskCall<'_>) -> bool {
    let name = call.path.rsplit(|&byte| byte == b'/').next();
    name.is_some_and(|name| name.starts_with(b"bad"))
}

const ERRORS: [(Errno, Refusal); 6] = [
    (Errno::MFILE, Refusal::Busy),
    (Errno::NFILE, Refusal::Busy),
    (Errno::NOMEM, Refusal::Busy),
    (Errno::IO, Refusal::Unreadable),
    (Errno::ACCESS, Refusal::PermissionDenied),
    (Errno::STALE, Refusal::Unreadable),
];

#[test]
fn a_file_that_cannot_be_opened_is_its_own_misfortune() {
    within(Clock::Paused, || async {
        for (errno, refusal) in ERRORS {
            let (served, switch) = failing(errno, |call| {
                is_bad(call) && matches!(call.operation, Operation::Open(Opening::File))
            });
            let mut client = served.admitted().await;
            client.ask(&read("bad", 0, 3)).await;
            assert_eq!(client.read_to_end().await, Err(refusal));
            client.ask(&read_what("bad", ReadWhat::Hashes, 0, 3)).await;
            assert_eq!(client.read_to_end().await, Err(refusal));
            let Answer::Contents(files, _) = client.asked(&fetch(&["a", "bad-small", "c"])).await
            else {
                panic!("no contents");
            };
            assert!(matches!(files[0], Fetched::File { .. }));
            assert!(matches!(files[1], Fetched::Failed { refusal: found } if found == refusal));
            assert!(matches!(files[2], Fetched::File { .. }));
            let Answer::Page(page) = client.asked(&tree_inline("")).await else {
                panic!("no page");
            };
            let told: Vec<_> = page.items.iter().map(told).collect();
            let expected = format!("/ a+ bad bad-small:{refusal:?} c+ d/ d/bad-inside:{refusal:?}");
            assert_eq!(told.join(" "), expected, "{errno}");
            // It recovers by itself.
            switch.store(false, Ordering::Relaxed);
            client.ask(&read("bad", 0, 3)).await;
            assert_eq!(client.read_to_end().await, Ok(3));
            client.leave().await;
        }
    });
}

/// What an item is; content in line shows as `+`.
fn told(item: &Item) -> String {
    match item {
        Item::Directory { path, .. } if path.is_root() => "/".to_owned(),
        Item::Directory { path, .. } => format!("{path}/"),
        Item::File {
            directory,
            name,
            content,
            ..
        } => {
            let path = directory.join(name).unwrap();
            format!("{path}{}", if content.is_some() { "+" } else { "" })
        }
        Item::Link { name, .. } => format!("{name}@"),
        Item::Skipped { path, refusal } => {
            format!("{}:{refusal:?}", String::from_utf8_lossy(path))
        }
    }
}

#[test]
fn a_file_that_breaks_off_is_told_as_such() {
    within(Clock::Paused, || async {
        for broken in 0..3u64 {
            let (served, _) = failing(Errno::IO, move |call| {
                let at = broken << 20;
                is_bad(call)
                    && matches!(call.operation, Operation::Read { offset, .. } if offset == at)
            });
            let mut client = served.admitted().await;
            client.ask(&read("bad", 0, 3)).await;
            for _ in 0..broken {
                assert!(matches!(client.answer().await, Answer::Group(_)));
            }
            assert_eq!(client.read_to_end().await, Err(Refusal::Unreadable));
            client.ask(&read_what("bad", ReadWhat::Hashes, 0, 3)).await;
            assert_eq!(client.read_to_end().await, Err(Refusal::Unreadable));
            for group in 0..3 {
                client.ask(&read("bad", group, group + 1)).await;
                let expected = match group == broken {
                    true => Err(Refusal::Unreadable),
                    false => Ok(1),
                };
                assert_eq!(client.read_to_end().await, expected);
            }
            client.leave().await;
        }
    });
}

#[test]
fn a_directory_that_cannot_be_read_is_left_out() {
    within(Clock::Paused, || async {
        for (errno, refusal) in ERRORS {
            let (served, switch) = failing(errno, |call| {
                call.path.ends_with(b"/d") && matches!(call.operation, Operation::List)
            });
            let mut client = served.admitted().await;
            let told: Vec<_> = client.whole_tree("").await.iter().map(told).collect();
            assert_eq!(told.join(" "), format!("/ a bad bad-small c d:{refusal:?}"));
            let answer = client.asked(&tree(2, "d")).await;
            assert!(
                matches!(answer, Answer::Failed(found) if found == refusal),
                "{answer:?}"
            );
            client.ask(&Request::CloseTree { tree: 2 }).await;
            switch.store(false, Ordering::Relaxed);
            assert!(matches!(client.asked(&tree(2, "d")).await, Answer::Page(_)));
            client.leave().await;
        }
    });
}

/// A read may bring less than was asked for, and still all of the file arrives.
#[test]
fn short_reads_are_no_errors() {
    within(Clock::Paused, || async {
        let setup = Setup {
            disk: disk_with(|_| Ok(Verdict::Shorten(70_000))),
            ..Setup::default()
        };
        let served = setup.serve(Tree::new().large("f", 2).file("g", vec![7; 200_000]));
        let mut client = served.admitted().await;
        client.ask(&read("f", 0, 2)).await;
        assert_eq!(client.read_to_end().await, Ok(2));
        let answer = client.asked(&fetch(&["g"])).await;
        assert!(
            matches!(answer, Answer::Contents(files, _) if matches!(files[0], Fetched::File { .. }))
        );
    });
}

/// A client takes a server for dead that says nothing for a minute. One that shares a slow disk
/// with a hundred others must hear something before.
#[test]
fn a_slow_disk_makes_short_frames() {
    within(Clock::Real, || async {
        let setup = Setup {
            disk: disk_with(|call| {
                let slow = match call.operation {
                    Operation::Read { .. } => 60,
                    Operation::Status => 15,
                    _ => 0,
                };
                std::thread::sleep(Duration::from_millis(slow));
                Ok(Verdict::Proceed)
            }),
            ..Setup::default()
        };
        let mut content = Tree::new().large("big", 24);
        for n in 0..200 {
            content = content.file(&format!("{n:03}"), "x");
        }
        let served = setup.serve(content);
        let mut client = served.admitted().await;
        let names: Vec<_> = (0..60).map(|n| format!("{n:03}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for request in [
            tree(1, ""),
            fetch(&names),
            read_what("big", ReadWhat::Hashes, 0, 24),
        ] {
            client.ask(&request).await;
            let mut frames = 0;
            loop {
                let answer = client.answer().await;
                frames += 1;
                match answer {
                    Answer::Page(page) if page.ended => break,
                    Answer::Page(_) => client.ask(&Request::More { tree: 1 }).await,
                    Answer::Contents(..) if client.session.unanswered() == 0 => break,
                    Answer::Contents(..) | Answer::Hashes(..) => {}
                    Answer::Done(_) => break,
                    other => panic!("{other:?}"),
                }
            }
            assert!(frames > 2, "{frames} frames");
        }
    });
}

/// A page is never without items, even if every file of it has gone since it was listed.
#[test]
fn files_that_vanish_leave_no_empty_page() {
    within(Clock::Real, || async {
        let setup = Setup {
            disk: disk_with(|call| match call.operation {
                Operation::Open(Opening::File) => Err(Errno::NOENT.into()),
                _ => Ok(Verdict::Proceed),
            }),
            ..Setup::default()
        };
        let content = Tree::new().directory("d");
        for n in 0..9000 {
            std::fs::write(content.at(format!("{n:04}")), "x").unwrap();
        }
        let served = setup.serve(content);
        let mut client = served.admitted().await;
        let mut answer = client.asked(&tree_inline("")).await;
        let mut items = 0;
        loop {
            let Answer::Page(page) = answer else {
                panic!("no page");
            };
            items += page.items.len();
            if page.ended {
                break;
            }
            answer = client.asked(&Request::More { tree: 1 }).await;
        }
        assert_eq!(items, 2, "the two directories");
    });
}

/// Whether anybody waits for the page by then, or asks for it only afterwards.
#[test]
fn a_page_whose_job_panics_ends_its_connection_alone() {
    within(Clock::Real, || async {
        let panics_at = Arc::new(AtomicU64::new(0));
        let at = Arc::clone(&panics_at);
        let setup = Setup {
            disk: disk_with(move |call| {
                let name = format!("{:04}", at.load(Ordering::Relaxed));
                let is_bad = matches!(call.operation, Operation::Status)
                    && call.path.ends_with(name.as_bytes());
                assert!(!is_bad, "this panic belongs to the test");
                Ok(Verdict::Proceed)
            }),
            ..Setup::default()
        };
        let content = Tree::new().directory("d");
        for n in 1..9000 {
            std::fs::write(content.at(format!("{n:04}")), "x").unwrap();
        }
        let served = setup.serve(content);
        // In the first page, and in the second, which nobody, or somebody, has asked for by then.
        for (bad, pages, is_asked_before) in [(7, 0, false), (6000, 1, false), (6000, 1, true)] {
            panics_at.store(bad, Ordering::Relaxed);
            let mut client = served.admitted().await;
            client.ask(&tree(1, "")).await;
            if is_asked_before {
                client.ask(&Request::More { tree: 1 }).await;
            }
            for _ in 0..pages {
                assert!(matches!(client.answer().await, Answer::Page(page) if !page.ended));
            }
            if pages > 0 && !is_asked_before {
                served.take_turns().await;
                client.ask(&Request::More { tree: 1 }).await;
            }
            client.expect_closed("a job has panicked").await;
            panics_at.store(0, Ordering::Relaxed);
            served.expect_good_service().await;
        }
    });
}
