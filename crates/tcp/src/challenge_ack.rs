//! How often a segment that is not acceptable gets an answer (RFC 5961 §7).

use core::time::Duration;

use crate::time::Instant;

/// At most this many answers...
const ANSWERS_MAX: u32 = 10;

/// ... in such a span, to begin with...
const SPAN: Duration = Duration::from_secs(5);

/// ... and in such a one if the two never agree in between.
const SPAN_MAX: Duration = Duration::from_secs(160);

/// Doublings after which a span is at its bound anyway.
const DOUBLINGS_MAX: u32 = 5;

/// Limits the answers to segments that carry no data.
///
/// Without a limit two stacks that disagree would answer each other for ever. It
/// belongs to one connection, so that nobody learns of a connection by using up the
/// answers of another (the flaw of a limit for a whole host).
///
/// On a path of a second, two such stacks never reach ten in five seconds: while nothing
/// that is acceptable comes, each span is twice as long as the one before it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChallengeAcks {
    since: Option<Instant>,
    sent: u32,
    doublings: u32,
}

impl ChallengeAcks {
    /// Whether one more may go out now; if so, it counts.
    pub(crate) fn permit(&mut self, now: Instant) -> bool {
        let span = SPAN.saturating_mul(1 << self.doublings).min(SPAN_MAX);
        let passed = self.since.map(|since| now.saturating_since(since));
        if passed.is_none_or(|passed| passed >= span) {
            // After a pause as long again there is no exchange to be ended.
            let goes_on = passed.is_some_and(|passed| passed < 2 * span);
            self.doublings = if goes_on {
                (self.doublings + 1).min(DOUBLINGS_MAX)
            } else {
                0
            };
            self.since = Some(now);
            self.sent = 0;
        }
        self.sent = self.sent.saturating_add(1);
        self.sent <= ANSWERS_MAX
    }

    /// An acceptable segment came: the two agree.
    pub(crate) fn on_agreement(&mut self) {
        self.doublings = 0;
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
