//! HyStart++: leaving slow start before the loss (RFC 9406).

use core::time::Duration;

use super::Acked;

/// RFC 9406 §4.3.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: u64 = 4;
const CSS_ROUNDS: u32 = 5;

/// Watches the round trips of slow start for the queue that it builds.
#[derive(Debug, Clone, Copy)]
pub struct HyStart {
    /// SND.NXT when this round began.
    round_end: u64,
    last_round_min: Option<Duration>,
    round_min: Option<Duration>,
    samples: u32,
    /// The round's least round trip when conservative slow start began, and its rounds.
    conservative: Option<(Duration, u32)>,
}

/// What slow start does with an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// The window grows by this many bytes.
    By(u64),
    /// Slow start is over.
    Done,
}

impl HyStart {
    /// Before the first round.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            round_end: 0,
            last_round_min: None,
            round_min: None,
            samples: 0,
            conservative: None,
        }
    }

    /// Takes an acknowledgement in slow start and says what the window does (RFC 9406 §4.2).
    ///
    /// Without the limit L for one acknowledgement, since data is paced (§4.3).
    pub fn on_ack(&mut self, acked: &Acked) -> Growth {
        if acked.acked_to >= self.round_end && self.begin_round(acked.sent_to) {
            return Growth::Done;
        }
        if let Some(rtt) = acked.rtt {
            self.round_min = Some(self.round_min.map_or(rtt, |min| min.min(rtt)));
            self.samples += 1;
        }
        let growth = acked.bytes;
        match (self.conservative, self.round_min) {
            (None, _) => {
                if let Some(min) = self.delay_rise() {
                    self.conservative = Some((min, 0));
                }
                Growth::By(growth)
            }
            (Some((baseline, _)), Some(min)) if self.samples >= N_RTT_SAMPLE && min < baseline => {
                self.conservative = None;
                Growth::By(growth)
            }
            (Some(_), _) => Growth::By(growth / CSS_GROWTH_DIVISOR),
        }
    }

    /// Begins a round; true if conservative slow start has lasted long enough.
    fn begin_round(&mut self, sent_to: u64) -> bool {
        self.round_end = sent_to;
        self.last_round_min = self.round_min;
        self.round_min = None;
        self.samples = 0;
        match &mut self.conservative {
            Some((_, rounds)) => {
                *rounds += 1;
                *rounds >= CSS_ROUNDS
            }
            None => false,
        }
    }

    /// This round's least round trip, if it is clearly above that of the round before.
    fn delay_rise(&self) -> Option<Duration> {
        let (last, current) = (self.last_round_min?, self.round_min?);
        let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
        (self.samples >= N_RTT_SAMPLE && current >= last.saturating_add(threshold))
            .then_some(current)
    }
}

impl Default for HyStart {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    const MSS: u64 = 1_000;

    /// A round of ten acknowledgements; gives what the last one did.
    fn round(hystart: &mut HyStart, number: u64, millis: u64) -> Growth {
        let mut growth = Growth::Done;
        for index in 0..10 {
            growth = hystart.on_ack(&Acked {
                now: Instant::default(),
                bytes: 2 * MSS,
                rtt: Some(Duration::from_millis(millis)),
                srtt: None,
                min_rtt: None,
                in_flight: 0,
                window_limited: true,
                acked_to: number * 100 + index,
                sent_to: (number + 1) * 100,
                rate: None,
            });
            if growth == Growth::Done {
                break;
            }
        }
        growth
    }

    /// RFC 9406 §4.2: a rise of an eighth makes it careful, five rounds of it end it.
    #[test]
    fn a_rising_delay_ends_slow_start() {
        let mut hystart = HyStart::new();
        assert_eq!(round(&mut hystart, 1, 40), Growth::By(2 * MSS));
        assert_eq!(
            round(&mut hystart, 2, 44),
            Growth::By(2 * MSS),
            "4 ms are not a rise"
        );
        assert_eq!(round(&mut hystart, 3, 60), Growth::By(MSS / 2));
        for number in 4..8 {
            assert_eq!(round(&mut hystart, number, 60), Growth::By(MSS / 2));
        }
        assert_eq!(round(&mut hystart, 8, 60), Growth::Done);
    }

    /// RFC 9406 §4.2: back to slow start if the rise was but a ripple.
    #[test]
    fn a_falling_delay_resumes_slow_start() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 1, 40);
        assert_eq!(round(&mut hystart, 2, 60), Growth::By(MSS / 2));
        assert_eq!(round(&mut hystart, 3, 41), Growth::By(2 * MSS));
    }
}
