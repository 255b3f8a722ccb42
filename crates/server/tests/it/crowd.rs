//! Many clients that ask for a lot and take nothing. (THREATS 9.)

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use packhorse_protocol::message::{MeasureWhat, Request};
use packhorse_protocol::session::{Answer, Item};
use packhorse_server::Limits;
use packhorse_storage::disk::{Disk, Operation, Verdict};
use tokio::sync::oneshot;

use crate::client::{Client, read, tree, tree_inline};
use crate::measuring::{measure, measurer};
use crate::served::{Clock, Served, Setup, Tree, disk_with, within};

const MIB: u64 = 1 << 20;

/// What the disk has been asked for.
#[derive(Debug, Default)]
struct Work {
    /// How long it takes to read something.
    read_time: Duration,
    read_bytes: AtomicU64,
    statuses: AtomicU64,
}

impl Work {
    fn disk(self: &Arc<Self>) -> Disk {
        let work = Arc::clone(self);
        disk_with(move |call| {
            match call.operation {
                Operation::Read { length, .. } => {
                    std::thread::sleep(work.read_time);
                    work.read_bytes.fetch_add(length as u64, Ordering::Relaxed)
                }
                Operation::Status => work.statuses.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            Ok(Verdict::Proceed)
        })
    }

    /// Waits until `served` has nothing to do any more, and tells what the disk has done.
    async fn settled(&self, served: &Served) -> (u64, u64) {
        let now = || {
            let bytes = self.read_bytes.load(Ordering::Relaxed);
            (bytes, self.statuses.load(Ordering::Relaxed))
        };
        let mut before = now();
        let mut quiet = 0;
        // More than one turn, for not every job of the disk's threads asks the disk for something.
        while quiet < 6 {
            served.take_turns().await;
            let after = now();
            quiet = if after == before { quiet + 1 } else { 0 };
            before = after;
        }
        before
    }
}

/// So many clients ask by `requests` and read nothing.
async fn crowd(served: &Served, count: usize, requests: &[Request]) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = served.admitted_with(4096).await;
        for request in requests {
            client.ask(request).await;
        }
        clients.push(client);
    }
    clients
}

#[test]
fn what_is_read_ahead_has_one_bound_for_all() {
    within(Clock::Real, || async {
        for (ahead_mib, groups_ahead) in [(4, 3), (0, 3), (64, 1), (64, 0)] {
            let work = Arc::<Work>::default();
            let setup = Setup {
                disk: work.disk(),
                limits: Limits {
                    ahead_bytes: ahead_mib << 20,
                    groups_ahead,
                    ..Limits::default()
                },
                ..Setup::default()
            };
            let served = setup.serve(Tree::new().large("f", 12));
            let requests: Vec<_> = (0..40).map(|_| read("f", 0, 12)).collect();
            let count = 12;
            let clients = crowd(&served, count, &requests).await;
            let (read_bytes, _) = work.settled(&served).await;
            // The group that each is taking, and what is read ahead.
            let ahead = (ahead_mib as u64).min((count * groups_ahead) as u64);
            let bound = (count as u64 + ahead) * MIB;
            assert!(
                read_bytes <= bound,
                "{} MiB for {count} clients and {ahead} MiB ahead",
                read_bytes / MIB
            );
            assert!(read_bytes >= count as u64 * MIB);
            // Somebody who takes what comes gets all of it meanwhile.
            let mut honest = served.admitted().await;
            honest.ask(&read("f", 0, 12)).await;
            assert_eq!(honest.read_to_end().await, Ok(12));
            drop(clients);
        }
    });
}

#[test]
fn pages_are_made_one_ahead_and_no_more() {
    within(Clock::Real, || async {
        let work = Arc::<Work>::default();
        let setup = Setup {
            disk: work.disk(),
            ..Setup::default()
        };
        let mut content = Tree::new();
        for n in 0..20_000 {
            let name = format!("{n:05}{}", "x".repeat(100));
            std::fs::write(content.at(&name), "").unwrap();
            content = content.directory("");
        }
        let served = setup.serve(content);
        let requests: Vec<_> = (0..4)
            .map(|number| tree(number, ""))
            .chain((0..60).map(|n| Request::More { tree: n % 4 }))
            .collect();
        let clients = crowd(&served, 10, &requests).await;
        let (_, statuses) = work.settled(&served).await;
        // A page of 128 KiB holds about 850 of these. For the first tree two are made; the others
        // wait for their turn.
        let per_client = statuses / 10;
        assert!(
            (2 * 700..2 * 1100).contains(&per_client),
            "{per_client} entries looked at for each"
        );
        // Who leaves has nothing more done for it.
        drop(clients);
        assert_eq!(work.settled(&served).await.1, statuses);
        served.expect_good_service().await;
    });
}

/// The next page's turn comes when its tree has been closed.
#[test]
fn no_page_of_a_closed_tree_is_made() {
    within(Clock::Real, || async {
        let (finish_first, first) = mpsc::channel::<()>();
        let (begun, first_begun) = oneshot::channel::<()>();
        let gate = Mutex::new(Some((begun, first)));
        let statuses = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&statuses);
        let disk = disk_with(move |call| {
            if matches!(call.operation, Operation::Status) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            if call.path.ends_with(b"0100")
                && let Some((begun, first)) = gate.lock().unwrap().take()
            {
                begun.send(()).unwrap();
                first.recv().unwrap();
            }
            Ok(Verdict::Proceed)
        });
        let content = Tree::new().directory("d");
        for n in 0..9000 {
            std::fs::write(content.at(format!("{n:04}")), "").unwrap();
        }
        let setup = Setup {
            disk,
            threads: 1,
            ..Setup::default()
        };
        let served = setup.serve(content);
        let mut client = measurer(&served).await;
        client.ask(&tree(1, "")).await;
        // What is to keep the thread busy afterwards stands in the queue before the second page.
        first_begun.await.unwrap();
        let (free, busy) = mpsc::channel::<()>();
        let blocking = served.workers.begin(move || busy.recv().unwrap());
        finish_first.send(()).unwrap();
        assert!(matches!(client.answer().await, Answer::Page(page) if !page.ended));
        client.ask(&Request::CloseTree { tree: 1 }).await;
        // It is closed once what comes behind it is answered, which takes no disk.
        let answer = client.asked(&measure(MeasureWhat::Path, 0)).await;
        assert!(matches!(answer, Answer::Measured(_)), "{answer:?}");
        let before = statuses.load(Ordering::Relaxed);
        assert!(before > 100, "the first page");
        free.send(()).unwrap();
        blocking.await.unwrap();
        served.take_turns().await;
        assert_eq!(statuses.load(Ordering::Relaxed), before);
        served.expect_good_service().await;
    });
}

/// Bytes of content in each page of the tree.
async fn page_bytes(client: &mut Client) -> Vec<usize> {
    let mut request = tree_inline("");
    let mut pages = Vec::new();
    loop {
        let Answer::Page(page) = client.asked(&request).await else {
            panic!("no page");
        };
        let contents = page.items.iter().map(|item| match item {
            Item::File { content, .. } => content.as_ref().map_or(0, |(bytes, _)| bytes.len()),
            _ => 0,
        });
        pages.push(contents.sum());
        if page.ended {
            return pages;
        }
        request = Request::More { tree: 1 };
    }
}

#[test]
fn content_comes_in_large_pages_where_memory_allows() {
    within(Clock::Real, || async {
        for (ahead_mib, largest) in [(0, 144), (1, 512), (64, 512)] {
            let setup = Setup {
                limits: Limits {
                    ahead_bytes: ahead_mib << 20,
                    ..Limits::default()
                },
                ..Setup::default()
            };
            let names = (0..80).map(|n| format!("{n:02}"));
            let content = names.fold(Tree::new(), |tree, name| tree.file(&name, [7; 16 << 10]));
            let served = setup.serve(content);
            let mut clients = Vec::new();
            // Who has its tree still open takes no room from the next one.
            for _ in 0..3 {
                let mut client = served.admitted_with(1 << 20).await;
                let pages = page_bytes(&mut client).await;
                assert_eq!(pages.iter().sum::<usize>(), 80 * (16 << 10));
                // Whoever is cut off again and again gets on by it.
                assert!(pages[0] <= 144 << 10, "{pages:?}");
                let found = pages.iter().max().copied().unwrap_or_default();
                // A few bytes of each entry beside its content end a page one file earlier.
                let expected = (largest - 16) << 10..=largest << 10;
                assert!(expected.contains(&found), "{ahead_mib} MiB: {pages:?}");
                clients.push(client);
            }
        }
    });
}

/// A few idle clients had all the memory there is, and nobody's groups were read ahead any more.
#[test]
fn pages_that_nobody_asks_for_leave_memory_for_groups() {
    within(Clock::Real, || async {
        let work = Arc::<Work>::default();
        let setup = Setup {
            disk: work.disk(),
            limits: Limits {
                ahead_bytes: 4 << 20,
                ..Limits::default()
            },
            ..Setup::default()
        };
        let names = (0..80).map(|n| format!("d/{n:02}"));
        let content = Tree::new().large("f", 12);
        let content = names.fold(content, |tree, name| tree.file(&name, [7; 16 << 10]));
        let served = setup.serve(content);
        let mut idle = Vec::new();
        for _ in 0..6 {
            let mut client = served.admitted_with(1 << 20).await;
            let answer = client.asked(&tree_inline("d")).await;
            assert!(matches!(answer, Answer::Page(page) if !page.ended));
            idle.push(client);
        }
        let (before, _) = work.settled(&served).await;
        let clients = crowd(&served, 1, &[read("f", 0, 12)]).await;
        let (after, _) = work.settled(&served).await;
        let read = (after - before) / MIB;
        assert!(read >= 3, "{read} MiB, of which one is on its way");
        drop((idle, clients));
    });
}

/// Clients that come, ask and go, again and again.
#[test]
fn clients_that_vanish_leave_no_work_behind() {
    within(Clock::Real, || async {
        let work = Arc::new(Work {
            read_time: Duration::from_millis(10),
            ..Work::default()
        });
        let setup = Setup {
            disk: work.disk(),
            threads: 1,
            ..Setup::default()
        };
        let served = setup.serve(Tree::new().large("f", 30).file("g", "x"));
        let mut clients = Vec::new();
        for _ in 0..100 {
            let mut client = served.admitted_with(4096).await;
            for _ in 0..60 {
                client.ask(&read("f", 0, 30)).await;
            }
            clients.push(client);
        }
        drop(clients);
        let (read_bytes, _) = work.settled(&served).await;
        // The group that each was to take, and what was read ahead for all of them.
        let promised = 100 + (Limits::default().ahead_bytes as u64 >> 20);
        let read = read_bytes / MIB;
        assert!(read <= promised, "{read} MiB were read for nobody");
        served.expect_good_service().await;
    });
}
