//! Which of a host's addresses answers first: Happy Eyeballs, RFC 8305.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an attempt has the field to itself: RFC 8305 §5, Connection Attempt Delay.
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses beyond these are not tried; no honest name has as many.
pub(super) const ADDRESSES_MAX: usize = 32;

/// Tries `addresses` one after the other, the next as soon as one fails or [`ATTEMPT_DELAY`] has
/// passed. The first to succeed wins, and all others are dropped.
///
/// # Errors
/// What each address said, if none will have it; nothing is returned while one is still silent.
pub(super) async fn connect_first<S, Attempt>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> Attempt,
) -> Result<(S, SocketAddr), Vec<io::Error>>
where
    S: Send + 'static,
    Attempt: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut waiting = alternate_families(addresses);
    let mut attempts = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.pop_front() {
            let attempt = connect(address);
            attempts.spawn(async move { (attempt.await, address) });
        }
        let finished = if waiting.is_empty() {
            attempts.join_next().await
        } else {
            match timeout(ATTEMPT_DELAY, attempts.join_next()).await {
                Ok(finished) => finished,
                Err(_) => continue,
            }
        };
        match finished {
            Some(Ok((Ok(stream), address))) => return Ok((stream, address)),
            Some(Ok((Err(error), address))) => {
                tracing::debug!(%address, %error, "could not connect");
                failures.push(error);
            }
            Some(Err(panicked)) => failures.push(io::Error::other(panicked)),
            None => return Err(failures),
        }
    }
}

/// The resolver's order, but changing between IPv6 and IPv4: RFC 8305 §4.
fn alternate_families(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut alternating = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            alternating.truncate(ADDRESSES_MAX);
            return alternating;
        }
        alternating.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// What an address does: after so many milliseconds, accept or refuse.
    #[derive(Clone, Copy)]
    enum Behaviour {
        Accepts(u64),
        Refuses(u64),
    }

    use Behaviour::{Accepts, Refuses};

    fn address(index: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], u16::try_from(index).unwrap()))
    }

    /// Which address wins (or how many failed), and after how many milliseconds.
    async fn race(behaviours: &[Behaviour]) -> (Result<usize, usize>, u64) {
        let behaviours = behaviours.to_vec();
        let start = Instant::now();
        let addresses = (0..behaviours.len()).map(address).collect();
        let outcome = connect_first(addresses, move |address| {
            let behaviour = behaviours[usize::from(address.port())];
            async move {
                match behaviour {
                    Accepts(after) => sleep(Duration::from_millis(after)).await,
                    Refuses(after) => {
                        sleep(Duration::from_millis(after)).await;
                        return Err(io::ErrorKind::ConnectionRefused.into());
                    }
                }
                Ok(())
            }
        })
        .await;
        let outcome = match outcome {
            Ok(((), address)) => Ok(usize::from(address.port())),
            Err(failures) => Err(failures.len()),
        };
        let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap();
        (outcome, elapsed)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_to_succeed_wins() {
        let cases: [(&[Behaviour], Result<usize, usize>, u64); 8] = [
            (&[], Err(0), 0),
            (&[Accepts(10)], Ok(0), 10),
            (&[Accepts(200), Accepts(1)], Ok(0), 200),
            (&[Accepts(9000), Accepts(10)], Ok(1), 260),
            (&[Accepts(300), Accepts(100)], Ok(0), 300),
            (&[Refuses(5), Accepts(10)], Ok(1), 15),
            (&[Refuses(5), Refuses(5), Refuses(5)], Err(3), 15),
            (&[Refuses(400), Refuses(5), Accepts(1)], Ok(2), 256),
        ];
        for (behaviours, winner, after) in cases {
            assert_eq!(race(behaviours).await, (winner, after));
        }
    }

    #[test]
    fn families_alternate() {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"].map(of);
        let order = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"].map(of);
        assert_eq!(alternate_families(given.to_vec()), order);
        let many = vec![of("10.0.0.1:1"); 100];
        assert_eq!(alternate_families(many).len(), ADDRESSES_MAX);
    }
}
