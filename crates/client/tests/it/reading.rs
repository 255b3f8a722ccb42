//! A file that is read along, and lists, from a server that lies.

use std::sync::Arc;
use std::time::Duration;

use packhorse_client::cat::{CatError, CatRequest, cat};
use packhorse_client::connect::Connector;
use packhorse_client::list::{ListRequest, list};
use packhorse_client::report::{Event, Observer};
use packhorse_protocol::content::ContentHash;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::message::{ReadWhat, Request};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::Item;
use tokio::time::Instant;

use crate::lies::{file, info};
use crate::scene::{Clock, within};
use crate::scripted_server::{Log, Script, ScriptedDial, ScriptedServer, Wire, refused};
use crate::tree::{ServedTree, noise};
use crate::wire::{Answer, Told};

const MIB: usize = 1 << 20;

fn tree() -> ServedTree {
    let mut tree = ServedTree::new();
    tree.file("f", noise(1, 3 * MIB + 5))
        .file("small", "hello")
        .file("empty", "")
        .sparse("holes", [vec![0; 2 * MIB], noise(3, 5)].concat())
        .directory("d")
        .file("d/x", "x")
        .refused("secret", Refusal::PermissionDenied);
    tree
}

/// Hears nothing.
struct Deaf;

impl Observer for Deaf {
    fn handle(&self, _: Event<'_>) {}
}

/// Reads `path` along. Returns how it ended, what was written, and what the server saw.
async fn read(
    tree: ServedTree,
    script: Script,
    path: &str,
    expect: Option<ContentHash>,
) -> (Result<ContentHash, CatError>, Vec<u8>, Log) {
    let server = ScriptedServer::new(tree, script, None);
    let connector = Connector::new(ScriptedDial(Arc::clone(&server)), None);
    let request = CatRequest {
        path: RelativePath::parse(path.as_bytes()).unwrap(),
        expect,
        retry_for: Duration::from_secs(120),
    };
    let mut out = Vec::new();
    let reading = cat(&connector, &request, &Deaf, &mut out);
    let limit = Duration::from_secs(3600);
    let result = tokio::time::timeout(limit, reading).await;
    let result = result.expect("it ends").map(|(_, hash)| hash);
    server.end();
    let log = server.log();
    assert_eq!(log.violations, [""; 0]);
    (result, out, log)
}

#[test]
fn files_are_read_along() {
    within(Clock::Paused, || async {
        for path in ["f", "small", "empty", "holes", "d/x"] {
            let content = tree().at(path).content.to_vec();
            let hash = ContentHash::of(&content);
            for expect in [None, Some(hash)] {
                let (result, out, _) = read(tree(), Script::default(), path, expect).await;
                assert_eq!(result.unwrap(), hash, "{path}");
                assert!(out == content, "{path}");
            }
            let wrong = Some(ContentHash::of(b"something else"));
            let (result, ..) = read(tree(), Script::default(), path, wrong).await;
            assert!(matches!(result, Err(CatError::Unexpected { .. })), "{path}");
        }
        for (path, refusal) in [
            ("secret", Refusal::PermissionDenied),
            ("nothing", Refusal::NotFound),
            ("d", Refusal::IsDirectory),
        ] {
            let (result, out, _) = read(tree(), Script::default(), path, None).await;
            assert!(matches!(result, Err(CatError::Refused(found)) if found == refusal));
            assert_eq!(out, b"");
        }
    });
}

/// Damages group 1 this often.
fn damaging(times: usize) -> Script {
    let mut left = times;
    Script::lying(move |_, answers| {
        for answer in answers {
            if let Answer::Group { index: 1, hash, .. } = answer
                && left > 0
            {
                left -= 1;
                hash[0] ^= 1;
            }
        }
    })
}

#[test]
fn nothing_wrong_is_written_out() {
    within(Clock::Paused, || async {
        let content = tree().at("f").content.to_vec();
        let (result, out, log) = read(tree(), damaging(1), "f", None).await;
        assert!(result.is_ok() && out == content);
        assert_eq!(log.groups("f"), [0, 1, 2, 1, 2, 3]);
        let (result, out, log) = read(tree(), damaging(usize::MAX), "f", None).await;
        assert!(matches!(result, Err(CatError::Damaged)));
        assert!(out == content[..MIB]);
        assert_eq!(
            log.groups("f").iter().filter(|&&group| group == 1).count(),
            6
        );
    });
}

#[test]
fn what_changes_is_not_joined() {
    within(Clock::Paused, || async {
        // Another version from the second request on, and another content that shows in nothing.
        for is_seen in [true, false] {
            let script = Script::changing(move |call, tree| {
                if is_seen && matches!(&call.request, Request::Read(_)) {
                    tree.change("f", noise(2, 3 * MIB + 5));
                }
                if let Request::Read(read) = &call.request
                    && read.what == ReadWhat::Hashes
                {
                    tree.at("f").content = Arc::new(noise(2, 3 * MIB + 5));
                }
            });
            let mut tree = tree();
            tree.at("f").settled = is_seen;
            let (result, ..) = read(tree, script, "f", None).await;
            assert!(matches!(result, Err(CatError::Refused(Refusal::Changed))));
        }
    });
}

#[test]
fn an_absurd_size_is_not_read_for_ever() {
    within(Clock::Paused, || async {
        for size in [u64::MAX, 1 << 63, i64::MAX as u64] {
            let told = Told::File {
                name: b"f".to_vec(),
                info: info(size),
                inline: None,
            };
            // The worst it could do is to agree with everything.
            let mut script = Script::lying(move |call, answers| match &call.request {
                Request::Tree(_) => *answers = vec![Answer::Page(vec![told.clone(), Told::End])],
                Request::Read(read) if read.range.is_empty() => {
                    *answers = vec![Answer::Done {
                        version: info(0).version,
                        size,
                        settled: true,
                    }];
                }
                _ => *answers = vec![Answer::Failed(Refusal::Unreadable)],
            });
            let mut calls = 0;
            script.before = Box::new(move |_, _| {
                calls += 1;
                assert!(calls < 100, "it asks for ever");
            });
            let (result, out, _) = read(tree(), script, "f", None).await;
            assert!(result.is_err(), "{size}");
            assert_eq!(out, b"");
        }
    });
}

#[test]
fn a_list_is_checked_as_a_tree_is() {
    let cases = [
        vec![file("..", "")],
        vec![file("b", ""), file("a", "")],
        vec![crate::lies::directory("a/b")],
    ];
    within(Clock::Paused, move || async move {
        for items in cases {
            let page = [&[crate::lies::directory("")][..], &items].concat();
            let server = ScriptedServer::new(tree(), Script::telling(vec![page]), None);
            let connector = Connector::new(ScriptedDial(server), None);
            let mut seen = 0;
            let listed = list(&connector, ListRequest::default(), |_: Item| {
                seen += 1;
                true
            });
            let error = listed.await.unwrap_err().to_string();
            assert!(error.contains("broke the protocol"), "{error}");
            assert_eq!(seen, 0);
        }
        let server = ScriptedServer::new(tree(), Script::default(), None);
        let connector = Connector::new(ScriptedDial(server), None);
        let mut seen = Vec::new();
        let request = ListRequest {
            recursive: true,
            ..ListRequest::default()
        };
        let listed = list(&connector, request, |item| {
            seen.push(item);
            seen.len() < 5
        });
        listed.await.unwrap();
        assert_eq!(seen.len(), 5, "no more were wanted");
    });
}

/// Behind a lost connection the next goes on; nothing that was written is read again.
#[test]
fn a_lost_connection_costs_what_was_on_its_way() {
    within(Clock::Paused, || async {
        let size = 3 * MIB + 5;
        for settled in [true, false] {
            let mut served = tree();
            served.at("f").settled = settled;
            let content = served.at("f").content.to_vec();
            for frames in 1..24 {
                let script = Script::wired(move |connection| Wire {
                    frames_max: (connection < 3).then_some(frames),
                    ..Wire::default()
                });
                let (result, out, _) = read(served.clone(), script, "f", None).await;
                assert_eq!(result.unwrap(), ContentHash::of(&content), "{frames}");
                assert!(out.len() == size && out == content, "{frames}");
            }
        }
        // Each connection brings one group, and half of the next.
        let script = Script::wired(|_| Wire {
            bytes_max: Some(MIB + MIB / 2),
            ..Wire::default()
        });
        let (result, _, log) = read(tree(), script, "f", None).await;
        assert!(result.is_ok());
        let groups = log.groups("f");
        assert_eq!(groups.iter().filter(|&&group| group == 0).count(), 1);
        assert!(log.connections >= 3);
    });
}

#[test]
fn a_server_that_stays_away_ends_it() {
    within(Clock::Paused, || async {
        let script = Script {
            wire: Box::new(|connection| match connection {
                0 => Ok(Wire {
                    frames_max: Some(3),
                    ..Wire::default()
                }),
                _ => Err(refused()),
            }),
            ..Script::default()
        };
        let start = Instant::now();
        let (result, out, log) = read(tree(), script, "f", None).await;
        assert!(matches!(result, Err(CatError::Connect(_))), "{result:?}");
        assert_eq!(out.len(), MIB);
        assert!(start.elapsed() >= Duration::from_secs(120));
        assert!(log.connections > 5);
        let never = Script {
            wire: Box::new(|_| Err(refused())),
            ..Script::default()
        };
        let (result, _, log) = read(tree(), never, "f", None).await;
        assert!(matches!(result, Err(CatError::Connect(_))));
        assert_eq!(log.connections, 1, "it was never there");
    });
}

/// The first half of one version is not joined with the second half of another.
#[test]
fn a_change_between_two_connections_is_noticed() {
    within(Clock::Paused, || async {
        for is_seen in [true, false] {
            let mut served = tree();
            served.at("f").settled = is_seen;
            let mut script = Script::changing(move |call, tree| {
                if call.connection == 1 {
                    match is_seen {
                        true => tree.change("f", noise(2, 3 * MIB + 5)),
                        false => tree.at("f").content = Arc::new(noise(2, 3 * MIB + 5)),
                    }
                }
            });
            script.wire = Box::new(|connection| {
                Ok(Wire {
                    frames_max: (connection == 0).then_some(3),
                    ..Wire::default()
                })
            });
            let (result, out, _) = read(served, script, "f", None).await;
            assert!(
                matches!(result, Err(CatError::Refused(Refusal::Changed))),
                "{result:?}"
            );
            assert!(out[..MIB] == noise(1, MIB));
        }
    });
}
