//! How often a segment that is not acceptable gets an answer (RFC 5961 §7).

use core::time::Duration;

use crate::time::Instant;

/// At most this many answers...
const ANSWERS_MAX: u32 = 10;

/// ... in such a span.
const SPAN: Duration = Duration::from_secs(5);

/// Limits the answers to segments that carry no data.
///
/// Without a limit two stacks that disagree would answer each other for ever. It
/// belongs to one connection, so that nobody learns of a connection by using up the
/// answers of another (the flaw of a limit for a whole host).
#[derive(Debug, Default)]
pub(crate) struct ChallengeAcks {
    since: Option<Instant>,
    sent: u32,
}

impl ChallengeAcks {
    /// Whether one more may go out now; if so, it counts.
    pub(crate) fn permit(&mut self, now: Instant) -> bool {
        if self
            .since
            .is_none_or(|since| now.saturating_since(since) >= SPAN)
        {
            self.since = Some(now);
            self.sent = 0;
        }
        self.sent += 1;
        self.sent <= ANSWERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_answers_in_five_seconds() {
        let mut limit = ChallengeAcks::default();
        let permitted = |limit: &mut ChallengeAcks, millis| {
            let now = Instant::from_millis(millis);
            (0..30).filter(|_| limit.permit(now)).count()
        };
        assert_eq!(permitted(&mut limit, 1_000), 10);
        assert_eq!(permitted(&mut limit, 5_999), 0);
        assert_eq!(permitted(&mut limit, 6_000), 10);
    }
}
