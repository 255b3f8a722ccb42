//! THREATS.md 21: a bit flipped anywhere in the handshake never weakens anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use packhorse_transport::accept::Opened;
use packhorse_transport::identity::Identity;
use packhorse_transport::tls::{ClientTls, ServerTls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};

use crate::parties::{DialOutcome, OpenOutcome, PIPE_BYTES, dial, open};

/// Odd and below 8, so that every byte is hit and every position in a byte comes up.
const STRIDE_BITS: usize = 7;

/// Passes bytes on and counts them. The bit number `flip` arrives as its opposite.
async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    flip: Option<usize>,
    passed: Arc<AtomicUsize>,
) {
    let mut bytes = vec![0; 4096];
    loop {
        let count = from.read(&mut bytes).await.unwrap_or(0);
        let before = passed.fetch_add(count, Ordering::Relaxed);
        if let Some(bit) = flip
            && (before..before + count).contains(&(bit / 8))
        {
            bytes[bit / 8 - before] ^= 1 << (bit % 8);
        }
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

/// One handshake with a flip on the way to the server and one on the way to the client. Counts the
/// bytes that went each way.
async fn meet_through(
    client: &ClientTls,
    server: &ServerTls,
    flips: [Option<usize>; 2],
) -> (DialOutcome, OpenOutcome, [usize; 2]) {
    let (near, near_relay) = duplex(PIPE_BYTES);
    let (far_relay, far) = duplex(PIPE_BYTES);
    let (from_client, to_client) = split(near_relay);
    let (from_server, to_server) = split(far_relay);
    let passed: [Arc<AtomicUsize>; 2] = Default::default();
    let [up, down] = passed.clone();
    tokio::spawn(relay(from_client, to_server, flips[0], up));
    tokio::spawn(relay(from_server, to_client, flips[1], down));
    let (dialled, opened) = tokio::join!(dial(client, near), open(server, far));
    let passed = passed.map(|count| count.load(Ordering::Relaxed));
    (dialled, opened, passed)
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_fails_the_handshake_or_changes_nothing() {
    let identity = Identity::generate().unwrap();
    let server = ServerTls::new(&identity, None);
    for client in [ClientTls::new(Some(identity.pin())), ClientTls::new(None)] {
        let (dialled, _, passed) = meet_through(&client, &server, [None, None]).await;
        assert!(dialled.is_ok());
        for (way, bytes) in passed.into_iter().enumerate() {
            for bit in (0..bytes * 8).step_by(STRIDE_BITS) {
                let mut flips = [None, None];
                flips[way] = Some(bit);
                let (dialled, opened, _) = meet_through(&client, &server, flips).await;
                check(&identity, dialled, opened, &format!("way {way}, bit {bit}"));
            }
        }
    }
}

fn check(identity: &Identity, dialled: DialOutcome, opened: OpenOutcome, what: &str) {
    let opened = match opened {
        Ok(Opened::Native(native)) => Some(native.binding),
        // The flip made it look like something else, which then did not come to an end.
        Ok(Opened::Http { secure, .. }) => panic!("{what}: HTTP, secure: {secure}"),
        Ok(Opened::Clear { .. }) | Err(_) => None,
    };
    match (dialled, opened) {
        (Ok((native, pin)), Some(binding)) => {
            assert_eq!(native.binding.0, binding.0, "{what}");
            assert_eq!(pin, identity.pin(), "{what}");
        }
        // The client has said its last word when that word is damaged.
        (Ok((_, pin)), None) => assert_eq!(pin, identity.pin(), "{what}"),
        (Err(_), Some(_)) => panic!("{what}: only the server is content"),
        // An accident is never taken for another server: that would end a transfer for good.
        (Err(error), None) => assert!(!error.is_refusal_of_trust(), "{what}: {error}"),
    }
}
