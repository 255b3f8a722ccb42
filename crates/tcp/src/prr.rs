//! Proportional rate reduction: how much goes out in a recovery (RFC 9937).

/// The course of one recovery, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prr {
    /// What was in flight when it began (RecoverFS).
    flight: u64,
    /// Where it is to end (ssthresh).
    target: u64,
    delivered: u64,
    sent: u64,
    window: u64,
}

impl Prr {
    /// A recovery that begins with `flight` in the network and is to end with `target`.
    pub(crate) fn new(flight: u64, target: u64) -> Self {
        Self {
            flight: flight.max(1),
            target,
            delivered: 0,
            sent: 0,
            window: 0,
        }
    }

    /// The congestion window that the last acknowledgement left.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    pub(crate) fn on_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Takes an acknowledgement that reported `delivered` new bytes (RFC 9937 §6.2).
    ///
    /// `pipe` is what is in flight now. `safe` says that it moved SND.UNA and no
    /// further loss was found: then, below the target, a segment more may go out.
    /// One that reported none changes nothing.
    pub(crate) fn on_ack(&mut self, delivered: u64, pipe: u64, safe: bool, mss: u64) {
        if delivered == 0 && self.sent > 0 {
            return;
        }
        self.delivered += delivered;
        let mut allowance = if pipe > self.target {
            let due = u128::from(self.delivered) * u128::from(self.target);
            let due = due.div_ceil(u128::from(self.flight));
            u64::try_from(due)
                .unwrap_or(u64::MAX)
                .saturating_sub(self.sent)
        } else {
            let conserved = self.delivered.saturating_sub(self.sent).max(delivered);
            let grown = if safe { conserved + mss } else { conserved };
            grown.min(self.target - pipe)
        };
        // The first segment is repeated at once, whatever the numbers are.
        if self.sent == 0 {
            allowance = allowance.max(mss);
        }
        self.window = pipe + allowance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends what each acknowledgement allows, and gives how much that was.
    fn run(prr: &mut Prr, pipe: &mut u64, acks: usize, lost: u64, safe: bool) -> u64 {
        let mut sent = 0;
        *pipe -= lost;
        for _ in 0..acks {
            *pipe = pipe.saturating_sub(1_000);
            prr.on_ack(1_000, *pipe, safe, 1_000);
            while *pipe + 1_000 <= prr.window() {
                prr.on_sent(1_000);
                *pipe += 1_000;
                sent += 1_000;
            }
        }
        sent
    }

    /// RFC 9937 §6.2, step by step.
    #[test]
    fn the_window_is_as_the_rfc_reckons_it() {
        let mut prr = Prr::new(20_000, 10_000);
        for (delivered, pipe, safe, window, sent) in [
            // Of what was delivered half goes out, and the first segment at once.
            (1_000, 18_000, false, 19_000, 1_000),
            (1_000, 18_000, false, 18_000, 0),
            (1_000, 17_000, false, 17_500, 0),
            (3_000, 14_000, true, 16_000, 0),
            // At the target and below it, no more than leads there.
            (3_000, 10_000, true, 10_000, 0),
            (1_000, 8_000, false, 10_000, 0),
            (1_000, 500, false, 10_000, 9_500),
            // What was delivered just now, if more was sent than all that was.
            (1_000, 9_000, true, 10_000, 2_000),
            (500, 5_000, false, 5_500, 0),
            (500, 5_000, true, 6_500, 0),
        ] {
            prr.on_ack(delivered, pipe, safe, 1_000);
            assert_eq!(prr.window(), window, "{delivered} {pipe} {safe}");
            prr.on_sent(sent);
        }
    }

    /// RFC 9937 §6.2: in proportion, so that one round trip ends at the target.
    #[test]
    fn half_the_window_goes_out_at_half_the_rate() {
        let mut prr = Prr::new(20_000, 10_000);
        let mut pipe = 20_000;
        let sent = run(&mut prr, &mut pipe, 19, 1_000, false);
        assert!((9_000..=10_000).contains(&sent), "{sent}");
        assert!((9_000..=10_000).contains(&pipe), "{pipe}");
    }

    /// Behaviour 14: PRR never bursts, even if most of the flight is lost at once.
    #[test]
    fn prr_never_bursts() {
        let mut prr = Prr::new(100_000, 70_000);
        let mut pipe = 100_000;
        let sent = run(&mut prr, &mut pipe, 1, 90_000, false);
        assert_eq!(sent, 1_000, "one delivered, one sent");
        let sent = run(&mut prr, &mut pipe, 1, 0, true);
        assert_eq!(sent, 2_000, "one delivered, and one for safety");
    }

    /// RFC 9937 §6.2: what moves SND.UNA over data that was reported before delivers nothing.
    #[test]
    fn what_delivers_nothing_lets_nothing_go() {
        let mut prr = Prr::new(20_000, 10_000);
        prr.on_ack(1_000, 5_000, true, 1_000);
        prr.on_sent(2_000);
        prr.on_ack(0, 7_000, true, 1_000);
        assert_eq!(prr.window(), 7_000);
    }

    #[test]
    fn the_first_segment_is_repeated_whatever_the_numbers_are() {
        let mut prr = Prr::new(3_000, 2_000);
        prr.on_ack(0, 2_000, false, 1_000);
        assert_eq!(prr.window(), 3_000);
    }
}
