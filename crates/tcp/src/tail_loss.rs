//! The tail loss probe (RFC 8985 §7).

use core::time::Duration;

use crate::time::Instant;

/// The longest that we expect a peer to delay an acknowledgement (RFC 8985 §7.2).
const PEER_ACK_DELAY_MAX: Duration = Duration::from_millis(200);

/// Before anything was measured (RFC 8985 §7.2).
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// When a probe is due, and what the last one was.
#[derive(Debug, Default)]
pub(crate) struct TailLoss {
    due: Option<Instant>,
    probe: Option<Probe>,
}

/// A probe that was sent and is not accounted for.
#[derive(Debug, Clone, Copy)]
struct Probe {
    /// SND.NXT when it had been sent.
    end: u64,
    /// Whether it repeated old data.
    repeats: bool,
}

/// What an acknowledgement says about the last probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    /// Nothing, or that nothing was lost.
    Harmless,
    /// It mended a loss that nobody else saw; congestion control has to answer.
    MendedLoss,
}

impl TailLoss {
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Schedules a probe; it comes no later than the retransmission time-out.
    pub(crate) fn schedule(
        &mut self,
        now: Instant,
        srtt: Option<Duration>,
        one_in_flight: bool,
        rto_at: Option<Instant>,
    ) {
        if self.probe.is_some() {
            return;
        }
        let mut wait = srtt.map_or(FIRST_PROBE, |srtt| srtt.saturating_mul(2));
        if one_in_flight && srtt.is_some() {
            wait = wait.saturating_add(PEER_ACK_DELAY_MAX);
        }
        let at = now + wait;
        self.due = Some(rto_at.map_or(at, |rto_at| at.min(rto_at)));
    }

    /// Whether a probe is not accounted for.
    pub(crate) fn has_probe(&self) -> bool {
        self.probe.is_some()
    }

    pub(crate) fn cancel(&mut self) {
        self.due = None;
    }

    /// A probe was sent; until it is accounted for, there is no other.
    pub(crate) fn on_sent(&mut self, next: u64, repeats: bool) {
        self.due = None;
        self.probe = Some(Probe { end: next, repeats });
    }

    /// Looks what an acknowledgement of `ack` says about the probe (RFC 8985 §7.4.2).
    pub(crate) fn on_ack(&mut self, ack: u64, dsack: bool, bare_duplicate: bool) -> ProbeOutcome {
        let Some(probe) = self.probe else {
            return ProbeOutcome::Harmless;
        };
        if ack < probe.end {
            return ProbeOutcome::Harmless;
        }
        if !probe.repeats || dsack || (ack == probe.end && bare_duplicate) {
            self.probe = None;
        } else if ack > probe.end {
            self.probe = None;
            return ProbeOutcome::MendedLoss;
        }
        ProbeOutcome::Harmless
    }

    /// Forgets the probe: a recovery has taken over.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8985 §7.2.
    #[test]
    fn a_probe_comes_after_two_round_trips_and_before_the_time_out() {
        let now = Instant::from_millis(1_000);
        let rtt = |millis| Some(Duration::from_millis(millis));
        for (srtt, one, rto_at, due) in [
            (None, false, None, 2_000),
            (rtt(50), false, None, 1_100),
            (rtt(50), true, None, 1_300),
            (rtt(50), true, Some(1_250), 1_250),
        ] {
            let mut tail = TailLoss::default();
            tail.schedule(now, srtt, one, rto_at.map(Instant::from_millis));
            assert_eq!(
                tail.due(),
                Some(Instant::from_millis(due)),
                "{srtt:?} {one}"
            );
        }
    }

    #[test]
    fn there_is_one_probe_at_a_time() {
        let mut tail = TailLoss::default();
        tail.on_sent(100, true);
        tail.schedule(Instant::default(), None, false, None);
        assert_eq!(tail.due(), None);
    }

    /// RFC 8985 §7.4.2.
    #[test]
    fn an_acknowledgement_accounts_for_the_probe() {
        use ProbeOutcome::{Harmless, MendedLoss};
        for (repeats, ack, dsack, bare, outcome, settled) in [
            (true, 99, false, true, Harmless, false),
            (true, 100, false, false, Harmless, false),
            (true, 100, false, true, Harmless, true),
            (true, 100, true, false, Harmless, true),
            (true, 101, false, false, MendedLoss, true),
            (true, 101, true, false, Harmless, true),
            (false, 100, false, false, Harmless, true),
        ] {
            let mut tail = TailLoss::default();
            tail.on_sent(100, repeats);
            assert_eq!(
                tail.on_ack(ack, dsack, bare),
                outcome,
                "{repeats} {ack} {dsack}"
            );
            assert_eq!(tail.probe.is_none(), settled, "{repeats} {ack} {dsack}");
        }
    }
}
