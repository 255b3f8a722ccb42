//! Finding out that nothing had been lost after all.

use crate::timestamps::is_before;

/// What is kept of a recovery in order to undo it (RFC 3522, RFC 5682, RFC 3708).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Episode {
    /// Our timestamp in the first retransmission, and where that segment began.
    first: Option<FirstRetransmission>,
    /// Behind the last byte sent again, and the first one.
    again_to: u64,
    again_from: u64,
    /// Segments sent again.
    sent_again: u32,
    /// Of those, how many the peer has called duplicates, and where the last of them begin.
    duplicates: u32,
    last_duplicates: [Option<u64>; DUPLICATES_KNOWN_MAX],
    forward: Forward,
    /// The number of the last transmission before it began.
    began_after: u64,
}

/// Recoveries that are undone in one flight; a further one there runs its course.
const UNDONE_PER_FLIGHT_MAX: u32 = 8;

/// Reports of duplicates that are known when they come again.
const DUPLICATES_KNOWN_MAX: usize = 4;

/// How often recoveries were undone of late.
///
/// To undo one costs a look at all that is in flight. A peer can ask for it with two
/// acknowledgements, by calling a duplicate whatever was sent again, and without a limit
/// what it costs us would grow with the square of the window.
#[derive(Debug, Default)]
pub(crate) struct UndoLimit {
    /// SND.NXT when the first of them was undone.
    flight_end: u64,
    undone: u32,
}

impl UndoLimit {
    /// Whether one more may be undone now; if so, it counts.
    pub(crate) fn permit(&mut self, unacked: u64, next: u64) -> bool {
        if unacked >= self.flight_end {
            self.flight_end = next;
            self.undone = 0;
        }
        self.undone = self.undone.saturating_add(1);
        self.undone <= UNDONE_PER_FLIGHT_MAX
    }
}

/// How far F-RTO has come (RFC 5682 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Forward {
    /// It does not apply, or the loss was real.
    #[default]
    Off,
    /// The timer ran out; nothing was acknowledged since.
    Waiting,
    /// The first acknowledgement came, and new data goes out in place of old.
    SendingNew,
}

#[derive(Debug, Clone, Copy)]
struct FirstRetransmission {
    start: u64,
    timestamp: Option<u32>,
}

/// How a recovery was found to be needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The acknowledgement echoes a timestamp from before the retransmission (RFC 3522).
    Timestamp,
    /// Data that was not sent again was acknowledged after the time-out (RFC 5682).
    ForwardAck,
    /// The peer had everything that was sent again (RFC 3708).
    AllDuplicates,
}

impl Episode {
    pub(crate) fn fast(began_after: u64) -> Self {
        Self {
            began_after,
            ..Self::default()
        }
    }

    /// F-RTO is tried.
    pub(crate) fn timeout(began_after: u64) -> Self {
        Self {
            forward: Forward::Waiting,
            began_after,
            ..Self::default()
        }
    }

    /// The bytes from `start` to `end` were sent again with `timestamp`.
    pub(crate) fn on_retransmit(&mut self, start: u64, end: u64, timestamp: Option<u32>) {
        self.again_from = if self.sent_again == 0 {
            start
        } else {
            self.again_from.min(start)
        };
        self.again_to = self.again_to.max(end);
        self.first
            .get_or_insert(FirstRetransmission { start, timestamp });
        self.sent_again = self.sent_again.saturating_add(1);
        // RFC 5682 §2.1, step 2b: without new data to try with, it is not tried.
        if self.forward == Forward::SendingNew {
            self.forward = Forward::Off;
        }
    }

    /// The peer called the bytes from `start` to `end` a duplicate.
    ///
    /// It counts only among what was sent again, and once: the network duplicates too, and an
    /// acknowledgement may be what it has doubled.
    pub(crate) fn on_dsack(&mut self, start: u64, end: u64) {
        let is_known = self.last_duplicates.contains(&Some(start));
        if !is_known && self.again_from <= start && end <= self.again_to {
            self.duplicates = self.duplicates.saturating_add(1);
            self.last_duplicates.rotate_right(1);
            self.last_duplicates[0] = Some(start);
        }
    }

    /// The loss was real, as far as F-RTO can tell: a duplicate acknowledgement came,
    /// the timer ran out again, or there is no new data to try with.
    pub(crate) fn give_up_forward(&mut self) {
        self.forward = Forward::Off;
    }

    /// An acknowledgement moved SND.UNA, but not over everything (RFC 5682 §3.1, step 2b).
    pub(crate) fn on_advance(&mut self) {
        if self.forward == Forward::Waiting && self.first.is_some() {
            self.forward = Forward::SendingNew;
        }
    }

    /// Whether new data goes before old.
    pub(crate) fn prefers_new(&self) -> bool {
        self.forward == Forward::SendingNew
    }

    /// The number of the last transmission before it began.
    pub(crate) fn began_after(&self) -> u64 {
        self.began_after
    }

    /// Whether an acknowledgement up to `ack` shows that nothing had been lost.
    ///
    /// `echo` is its timestamp echo; `original` says that it reports data that was
    /// sent before the episode and not again.
    pub(crate) fn judge(&self, ack: u64, echo: Option<u32>, original: bool) -> Option<Evidence> {
        if let (Some(first), Some(echo)) = (self.first, echo)
            && let Some(timestamp) = first.timestamp
            && ack > first.start
            && is_before(echo, timestamp)
        {
            return Some(Evidence::Timestamp);
        }
        if self.forward == Forward::SendingNew && original {
            return Some(Evidence::ForwardAck);
        }
        (self.sent_again > 0 && self.duplicates >= self.sent_again)
            .then_some(Evidence::AllDuplicates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_are_undone_in_one_flight() {
        let mut limit = UndoLimit::default();
        for (unacked, next, permitted) in [(100, 200, 8), (199, 300, 0), (200, 400, 8)] {
            let permits = (0..10).filter(|_| limit.permit(unacked, next)).count();
            assert_eq!(permits, permitted, "{unacked}");
        }
    }

    /// RFC 3522 §3.2: the echo is older than the retransmission.
    #[test]
    fn an_old_echo_is_evidence() {
        let mut episode = Episode::fast(0);
        assert_eq!(
            episode.judge(150, Some(1), false),
            None,
            "nothing was sent again"
        );
        episode.on_retransmit(100, 101, Some(500));
        for (ack, echo, evidence) in [
            (101, Some(499), Some(Evidence::Timestamp)),
            (101, Some(500), None),
            (100, Some(499), None),
            (101, None, None),
        ] {
            assert_eq!(episode.judge(ack, echo, false), evidence, "{ack} {echo:?}");
        }
    }

    /// RFC 5682 §3.1: the second acknowledgement after a time-out, if both move on.
    #[test]
    fn an_acknowledgement_of_what_was_not_sent_again_is_evidence() {
        let mut episode = Episode::timeout(0);
        episode.on_retransmit(100, 101, None);
        assert_eq!(
            episode.judge(102, None, true),
            None,
            "it may answer the retransmission"
        );
        episode.on_advance();
        assert!(episode.prefers_new());
        assert_eq!(episode.judge(103, None, false), None);
        assert_eq!(episode.judge(103, None, true), Some(Evidence::ForwardAck));
        episode.give_up_forward();
        episode.on_advance();
        assert_eq!(episode.judge(104, None, true), None);
        // Old data went out in place of new: what is acknowledged then proves nothing.
        let mut episode = Episode::timeout(0);
        episode.on_retransmit(100, 101, None);
        episode.on_advance();
        episode.on_retransmit(102, 103, None);
        assert_eq!(episode.judge(104, None, true), None);
    }

    /// RFC 3708 §3.
    #[test]
    fn a_duplicate_report_for_each_retransmission_is_evidence() {
        let mut episode = Episode::fast(0);
        episode.on_retransmit(100, 101, None);
        episode.on_retransmit(101, 102, None);
        episode.on_dsack(50, 51);
        episode.on_dsack(100, 101);
        episode.on_dsack(100, 101);
        assert_eq!(
            episode.judge(102, None, false),
            None,
            "one of them, told twice"
        );
        episode.on_dsack(101, 102);
        assert_eq!(
            episode.judge(102, None, false),
            Some(Evidence::AllDuplicates)
        );
    }
}
