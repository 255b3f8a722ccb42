//! How many connections are worth having.

use std::time::Duration;

use tokio::time::Instant;

use crate::pace::rate;

/// Connections with a server nearby: there the processors are the limit, and two of them are kept
/// busy by that. With one connection less, they rest while both of its groups are being written.
pub(crate) const CONNECTIONS_NEAR: usize = 3;

/// Connections with a server far away, to begin with and at most.
///
/// There a single one is often held back by its congestion control, which takes each loss for a
/// full line. More than these would help little, and take too much from others on the line.
const CONNECTIONS_FAR: usize = 4;
pub(crate) const CONNECTIONS_MAX: usize = 16;

/// A server that takes this long to dial is far away. Dialling takes two round trips, and some
/// milliseconds of a busy processor.
pub(crate) const FAR: Duration = Duration::from_millis(20);

/// Dialling times between two looks at the rate.
///
/// Connections may still be in slow start then, and what grows by itself is taken for a reward. A
/// rule that waits until it has settled costs a tenth and more where losses soon cut down the first
/// connections (docs/speed.md, "Over a bad line").
const LOOK_DIALS: u32 = 4;
const LOOK_TIME_MIN: Duration = Duration::from_millis(500);

/// Groups that have to wait for each connection before there is another: one nearby has to be worth
/// its handshake.
const GROUPS_EACH_NEAR: u64 = 32;
const GROUPS_EACH_FAR: u64 = 2;

/// How many connections a download should have: what it was told, or what the line rewards.
#[derive(Debug)]
pub(crate) struct ConnectionCount {
    wanted: usize,
    groups_each: u64,
    /// Bytes a second that the download may have.
    rate_limit: Option<u64>,
    look: Option<Look>,
}

/// When to see whether more connections have brought more.
#[derive(Debug)]
struct Look {
    pause: Duration,
    at: Instant,
    received: u64,
    rate: u64,
}

impl ConnectionCount {
    /// For a server that took `dial_time` to dial and has sent `received` bytes by `now`; always
    /// `told`, if that is said.
    pub(crate) fn new(
        told: Option<usize>,
        rate_limit: Option<u64>,
        dial_time: Duration,
        now: Instant,
        received: u64,
    ) -> Self {
        let is_far = dial_time >= FAR;
        let pause = (dial_time * LOOK_DIALS).max(LOOK_TIME_MIN);
        let look = (is_far && told.is_none()).then_some(Look {
            pause,
            at: now + pause,
            received,
            rate: 0,
        });
        let (own, groups_each) = match is_far {
            true => (CONNECTIONS_FAR, GROUPS_EACH_FAR),
            false => (CONNECTIONS_NEAR, GROUPS_EACH_NEAR),
        };
        Self {
            wanted: told.unwrap_or(own).max(1),
            groups_each,
            rate_limit,
            look,
        }
    }

    /// Whether one more beside `open` others is worth it while `groups_waiting` are to be asked for.
    pub(crate) fn wants_more(&self, open: usize, groups_waiting: u64) -> bool {
        open < self.wanted && groups_waiting > self.groups_each * open as u64
    }

    /// When to call [`ConnectionCount::handle_look`], as long as nothing is settled.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        Some(self.look.as_ref()?.at)
    }

    /// By `now`, `received` bytes have come: twice as many connections if the last ones have brought
    /// a fifth more and the line is what holds them back, or else it stays as it is.
    pub(crate) fn handle_look(&mut self, now: Instant, received: u64) {
        let Some(look) = &mut self.look else {
            return;
        };
        let rate = rate(received - look.received, now - (look.at - look.pause));
        let is_better = rate > look.rate.saturating_add(look.rate / 5);
        let is_limited = self
            .rate_limit
            .is_some_and(|limit| rate >= limit - limit / 5);
        let wants_more = is_better && !is_limited;
        if wants_more {
            self.wanted = (self.wanted * 2).min(CONNECTIONS_MAX);
        }
        if !wants_more || self.wanted == CONNECTIONS_MAX {
            self.look = None;
            return;
        }
        *look = Look {
            pause: look.pause,
            at: now + look.pause,
            received,
            rate,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// How many it ends with when `rates[n]` bytes come between one look and the next.
    fn settled(dial_time: Duration, rates: &[u64]) -> usize {
        settled_below(None, dial_time, rates)
    }

    fn settled_below(rate_limit: Option<u64>, dial_time: Duration, rates: &[u64]) -> usize {
        let mut now = Instant::now();
        let mut received = 1000;
        let mut count = ConnectionCount::new(None, rate_limit, dial_time, now, received);
        for rate in rates {
            let Some(next) = count.next_look() else {
                break;
            };
            (now, received) = (next, received + rate);
            count.handle_look(now, received);
        }
        count.wanted
    }

    #[test]
    fn a_line_that_rewards_it_gets_more_and_another_does_not() {
        let far = Duration::from_millis(150);
        assert_eq!(settled(far, &[MIB, 2 * MIB, 4 * MIB, 8 * MIB]), 16);
        assert_eq!(settled(far, &[MIB, MIB, 8 * MIB]), 8);
        assert_eq!(settled(far, &[0, 8 * MIB]), 4);
        assert_eq!(settled(Duration::from_millis(2), &[MIB, 2 * MIB]), 3);
    }

    /// The first look found a rate above none, and doubled them.
    #[test]
    fn a_rate_limit_that_is_reached_is_no_reason_for_more() {
        // A look every 600 ms.
        let far = Duration::from_millis(150);
        let limited = |limit| settled_below(Some(limit), far, &[6 * MIB, 7 * MIB]);
        assert_eq!((limited(10 * MIB), limited(12 * MIB)), (4, 4));
        assert_eq!(limited(20 * MIB), 8);
    }

    #[test]
    fn what_is_told_holds() {
        let now = Instant::now();
        for dial_time in [Duration::ZERO, Duration::from_secs(1)] {
            let count = ConnectionCount::new(Some(7), None, dial_time, now, 0);
            assert_eq!((count.wanted, count.next_look()), (7, None));
        }
    }

    #[test]
    fn a_further_one_needs_work() {
        let now = Instant::now();
        let near = ConnectionCount::new(None, None, Duration::ZERO, now, 0);
        let wants = |open, waiting| near.wants_more(open, waiting);
        assert_eq!(
            (wants(1, 32), wants(1, 33), wants(3, 1000)),
            (false, true, false)
        );
        let far = ConnectionCount::new(None, None, Duration::from_secs(1), now, 0);
        assert!(far.wants_more(3, 7) && !far.wants_more(3, 6));
    }
}
