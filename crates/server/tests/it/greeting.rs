//! Before a client is admitted: silence, half greetings, wrong proofs, too many of all. (THREATS 6,
//! 8 and 10.)

use std::io;
use std::time::Duration;

use packhorse_protocol::frame::FrameType;
use packhorse_protocol::key::Token;
use packhorse_protocol::proof::{ChannelBinding, Proof, Prover};
use packhorse_server::Limits;
use packhorse_transport::accept::AcceptError;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::client::{Client, frame};
use crate::gate::Shake;
use crate::served::{Clock, Served, Setup, Tree, within};

fn token() -> Token {
    Token::from([5; 16])
}

fn with_token() -> Served {
    let setup = Setup {
        token: Some(token()),
        ..Setup::default()
    };
    setup.serve(Tree::new())
}

fn hello(proof: Option<&[u8]>) -> Vec<u8> {
    let proof = proof.map_or(vec![0], |proof| [&[1], proof].concat());
    frame(1, &[&[1, 0][..], &proof].concat())
}

#[test]
fn who_does_not_greet_is_left_after_ten_seconds() {
    within(Clock::Paused, || async {
        let served = with_token();
        let whole = hello(Some(&[1; 32]));
        // Nothing, or all but the last byte.
        for sent in [0, 1, 4, 5, 20, whole.len() - 1] {
            let start = Instant::now();
            let mut client = served.arrive();
            client.send(&whole[..sent]).await;
            client.expect_closed("half a greeting").await;
            assert_eq!(start.elapsed().as_secs(), 10, "{sent} bytes");
        }
        // A byte each second.
        let start = Instant::now();
        let mut client = served.arrive();
        for byte in &whole {
            client.send(&[*byte]).await;
            sleep(Duration::from_secs(1)).await;
            if start.elapsed().as_secs() > 10 {
                break;
            }
        }
        client.expect_closed("a byte a second").await;
        assert_eq!(start.elapsed().as_secs(), 11);
        // Frames that may be skipped.
        let start = Instant::now();
        let mut client = served.arrive();
        while client
            .writer
            .write_all(&frame(200, &[0; 100]))
            .await
            .is_ok()
        {
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(start.elapsed().as_secs(), 10);
        // A handshake that never ends.
        let start = Instant::now();
        let (pipe, binding) = served.road.connect(1000, Shake::Never);
        let mut client = Client::new(pipe, binding, None);
        client.expect_closed("a handshake without end").await;
        assert_eq!(start.elapsed().as_secs(), 10);
        served.expect_good_service().await;
    });
}

#[test]
fn what_is_no_greeting_ends_the_connection_at_once() {
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("an empty greeting".into(), frame(1, &[])),
        (
            "a greeting with more behind it".into(),
            frame(1, &[1, 0, 0, 0]),
        ),
        (
            "a proof that is cut".into(),
            frame(1, &[&[1, 0, 1][..], &[7; 31]].concat()),
        ),
        ("a flag that is none".into(), frame(1, &[1, 0, 2])),
        (
            "a number without end".into(),
            frame(1, &[&[1][..], &[0xff; 11]].concat()),
        ),
        ("a greeting of 1,025 bytes".into(), frame(1, &[0; 1025])),
        ("a request".into(), frame(3, &[1])),
        ("an answer".into(), frame(64, &[1, 0, 0])),
        ("an unknown type".into(), frame(99, &[])),
        ("a length beyond all".into(), vec![1, 255, 255, 255, 255]),
        (
            "a long frame that may be skipped".into(),
            vec![200, 1, 4, 0, 0],
        ),
        ("HTTP".into(), b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for kind in 2..=127 {
        cases.push((format!("type {kind}"), frame(kind, &[])));
    }
    within(Clock::Paused, move || async move {
        let served = with_token();
        for (what, bytes) in cases {
            let start = Instant::now();
            let mut client = served.arrive();
            client.send(&bytes).await;
            client.expect_closed(&what).await;
            assert_eq!(start.elapsed(), Duration::ZERO, "{what}");
        }
        let (pipe, binding) = served.road.connect(1000, Shake::Clear);
        Client::new(pipe, binding, None)
            .expect_closed("clear text")
            .await;
        // Another version, whatever follows it.
        for body in [&[0][..], &[2], &[2, 255, 255, 255], &[255; 1024]] {
            let mut client = served.arrive();
            client.send(&frame(1, body)).await;
            assert_eq!(client.next().await, Some((FrameType::Denied, vec![0])));
            client.expect_closed("a version").await;
        }
    });
}

#[test]
fn a_wrong_proof_waits_and_keeps_nobody_else() {
    within(Clock::Paused, || async {
        let served = with_token();
        type Guess = Box<dyn Fn(&ChannelBinding) -> Option<Vec<u8>>>;
        let mut guesses: Vec<Guess> = vec![
            Box::new(|_| None),
            // Of another connection, of the other side, of another token.
            Box::new(|_| Some(proof(&token(), &ChannelBinding([77; 32]), Prover::Client))),
            Box::new(|binding| Some(proof(&token(), binding, Prover::Server))),
            Box::new(|binding| Some(proof(&Token::from([6; 16]), binding, Prover::Client))),
        ];
        for prefix in 0..32 {
            guesses.push(Box::new(move |binding| {
                let mut guess = proof(&token(), binding, Prover::Client);
                guess[prefix..].iter_mut().for_each(|byte| *byte ^= 1);
                Some(guess)
            }));
        }
        let start = Instant::now();
        let mut clients = Vec::new();
        for guess in guesses {
            let mut client = served.arrive();
            let guess = guess(&client.binding);
            client.send(&hello(guess.as_deref())).await;
            clients.push(client);
        }
        // An honest client comes in at once, while all these wait.
        let honest = served.admitted().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        for (number, mut client) in clients.into_iter().enumerate() {
            let denied = client.next().await;
            assert_eq!(denied, Some((FrameType::Denied, vec![1])), "guess {number}");
            assert_eq!(start.elapsed().as_millis(), 500, "guess {number}");
            client.expect_closed("a wrong proof").await;
        }
        honest.leave().await;
    });
}

fn proof(token: &Token, binding: &ChannelBinding, prover: Prover) -> Vec<u8> {
    Proof::new(token, binding, prover).as_bytes().to_vec()
}

#[test]
fn an_open_server_asks_for_no_proof_and_shows_none() {
    within(Clock::Paused, || async {
        let served = Served::of(Tree::new());
        for proof in [None, Some(&[9; 32][..])] {
            let mut client = served.arrive();
            client.send(&hello(proof)).await;
            assert_eq!(
                client.next().await,
                Some((FrameType::Welcome, vec![1, 0, 0]))
            );
        }
    });
}

#[test]
fn the_oldest_stranger_makes_room() {
    within(Clock::Paused, || async {
        let setup = Setup {
            token: Some(token()),
            limits: Limits {
                unproven_max: 3,
                ..Limits::default()
            },
            ..Setup::default()
        };
        let served = setup.serve(Tree::new());
        let known = served.admitted().await;
        let start = Instant::now();
        // In every state that a stranger can be in.
        let mut strangers = Vec::new();
        for number in 0..12 {
            let mut stranger = match number % 4 {
                0 => {
                    let (pipe, binding) = served.road.connect(1000, Shake::Never);
                    Client::new(pipe, binding, None)
                }
                _ => served.arrive(),
            };
            match number % 4 {
                1 => stranger.send(&[1, 9]).await,
                2 => stranger.send(&hello(Some(&[1; 32]))).await,
                _ => {}
            }
            strangers.push(stranger);
            // So that the server meets one after the other.
            sleep(Duration::from_millis(1)).await;
        }
        for (number, stranger) in strangers.iter_mut().enumerate() {
            let closed = tokio::time::timeout(Duration::from_millis(1), stranger.next()).await;
            assert_eq!(closed.is_ok(), number < 9, "stranger {number}");
            if let Ok(word) = closed {
                assert_eq!(word, None, "stranger {number}");
            }
        }
        assert!(start.elapsed() < Duration::from_millis(100));
        // Who has proven itself is not asked to go.
        let new = served.admitted().await;
        known.leave().await;
        new.leave().await;
    });
}

#[test]
fn further_clients_are_told_that_it_is_busy() {
    within(Clock::Paused, || async {
        let setup = Setup {
            limits: Limits {
                clients_max: 2,
                ..Limits::default()
            },
            ..Setup::default()
        };
        let served = setup.serve(Tree::new());
        let first = served.admitted().await;
        let _second = served.admitted().await;
        for _ in 0..3 {
            let mut third = served.arrive();
            third.send(&hello(None)).await;
            assert_eq!(third.next().await, Some((FrameType::Denied, vec![2])));
            third.expect_closed("busy").await;
        }
        first.leave().await;
        served.admitted().await;
    });
}

#[test]
fn a_server_outlives_what_goes_wrong_with_accepting() {
    let error = |kind: io::ErrorKind| io::Error::from(kind);
    within(Clock::Paused, move || async move {
        let served = Served::of(Tree::new());
        let mut stranger = served.arrive();
        for _ in 0..3 {
            let gone = error(io::ErrorKind::ConnectionAborted);
            served.road.fail(AcceptError::Gone(gone));
        }
        served.expect_good_service().await;
        // Whoever has proven nothing gives a descriptor back.
        served
            .road
            .fail(AcceptError::Exhausted(error(io::ErrorKind::OutOfMemory)));
        stranger.expect_closed("no descriptors").await;
        served.expect_good_service().await;
    });
}
