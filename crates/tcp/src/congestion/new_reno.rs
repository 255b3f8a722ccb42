//! Slow start and congestion avoidance (RFC 5681).

use super::{Acked, Congested, CongestionControl, Start};

/// The controller of RFC 5681, with byte counting (RFC 3465, L = 2, after a time-out 1).
#[derive(Debug)]
pub struct NewReno {
    mss: u64,
    initial_window: u64,
    now: Windows,
    /// What it was before the last sign of congestion.
    before: Option<Windows>,
}

#[derive(Debug, Clone, Copy)]
struct Windows {
    window: u64,
    threshold: u64,
    /// In the slow start after a time-out, the window grows by a segment at once at the most.
    after_timeout: bool,
    /// Bytes acknowledged towards the next segment of window, in avoidance.
    counted: u64,
}

impl NewReno {
    /// A controller in slow start.
    #[must_use]
    pub fn new(start: &Start) -> Self {
        Self {
            mss: start.mss,
            initial_window: start.initial_window,
            now: Windows {
                window: start.initial_window,
                threshold: u64::MAX,
                after_timeout: false,
                counted: 0,
            },
            before: None,
        }
    }

    /// RFC 5681 §3.1, equation 4, bounded by the window, which the application may not have filled.
    fn halve(&mut self, congested: &Congested) {
        let flight = congested.flight.min(self.now.window);
        self.now.threshold = (flight / 2).max(2 * self.mss);
        self.now.counted = 0;
    }
}

impl CongestionControl for NewReno {
    fn window(&self) -> u64 {
        self.now.window
    }

    fn slow_start_threshold(&self) -> u64 {
        self.now.threshold
    }

    fn on_ack(&mut self, acked: &Acked) {
        if !acked.window_limited {
            return;
        }
        let now = &mut self.now;
        let mut bytes = acked.bytes;
        if now.window < now.threshold {
            // RFC 3465 §2.3.
            let limit = if now.after_timeout { 1 } else { 2 } * self.mss;
            bytes = bytes.min(limit);
            let growth = bytes.min(now.threshold - now.window);
            now.window += growth;
            bytes -= growth;
            if now.window < now.threshold {
                return;
            }
        }
        now.after_timeout = false;
        now.counted += bytes;
        if now.counted >= now.window {
            now.counted -= now.window;
            now.window += self.mss;
        }
    }

    fn on_loss(&mut self, congested: &Congested) {
        self.before = Some(self.now);
        self.halve(congested);
        self.now.window = self.now.threshold;
        self.now.after_timeout = false;
    }

    fn on_rto(&mut self, congested: &Congested, repeated: bool) {
        if !repeated {
            self.before = Some(self.now);
            self.halve(congested);
        }
        self.now.window = self.mss;
        self.now.after_timeout = true;
    }

    fn on_spurious(&mut self) {
        if let Some(before) = self.before.take() {
            self.now.window = self.now.window.max(before.window);
            self.now.threshold = self.now.threshold.max(before.threshold);
            self.now.after_timeout = before.after_timeout;
        }
    }

    fn on_idle(&mut self) {
        self.now.window = self.now.window.min(self.initial_window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    const MSS: u64 = 1_000;

    fn acked(bytes: u64, window_limited: bool) -> Acked {
        Acked {
            now: Instant::default(),
            bytes,
            rtt: None,
            srtt: None,
            min_rtt: None,
            in_flight: 0,
            window_limited,
            acked_to: 0,
            sent_to: 0,
            rate: None,
        }
    }

    fn controller() -> NewReno {
        NewReno::new(&Start {
            mss: MSS,
            initial_window: 10 * MSS,
            paced: false,
        })
    }

    fn congested(flight: u64) -> Congested {
        Congested {
            now: Instant::default(),
            flight,
        }
    }

    /// RFC 5681 §3.1, equation 2.
    #[test]
    fn slow_start_doubles_in_a_round_trip() {
        let mut reno = controller();
        for _ in 0..5 {
            reno.on_ack(&acked(2 * MSS, true));
        }
        assert_eq!(reno.window(), 20 * MSS);
        reno.on_ack(&acked(9 * MSS, true));
        assert_eq!(
            reno.window(),
            22 * MSS,
            "not by more than two segments at once"
        );
        reno.on_ack(&acked(2 * MSS, false));
        assert_eq!(
            reno.window(),
            22 * MSS,
            "not while the application is the limit"
        );
    }

    /// RFC 3465 §2.3: L = 1 until slow start is over.
    #[test]
    fn after_a_time_out_the_window_grows_by_a_segment_at_once() {
        let mut reno = controller();
        reno.on_rto(&congested(8 * MSS), false);
        for segments in 2..=4 {
            reno.on_ack(&acked(9 * MSS, true));
            assert_eq!(reno.window(), segments * MSS);
        }
    }

    /// RFC 5681 §3.1: one segment in a round trip.
    #[test]
    fn avoidance_adds_a_segment_in_a_round_trip() {
        let mut reno = controller();
        reno.on_loss(&congested(10 * MSS));
        assert_eq!(
            (reno.window(), reno.slow_start_threshold()),
            (5 * MSS, 5 * MSS)
        );
        for segments in [5, 6, 7] {
            for _ in 0..segments {
                assert_eq!(reno.window(), segments * MSS);
                reno.on_ack(&acked(MSS, true));
            }
        }
        assert_eq!(reno.window(), 8 * MSS);
        reno.on_ack(&acked(8 * MSS, true));
        assert_eq!(reno.window(), 9 * MSS, "all at once");
    }

    /// What is over when slow start ends counts in avoidance.
    #[test]
    fn slow_start_ends_at_the_threshold() {
        let mut reno = controller();
        reno.on_rto(&congested(9 * MSS), false);
        for _ in 0..4 {
            reno.on_ack(&acked(MSS, true));
        }
        assert_eq!(reno.window(), 4_500);
        for _ in 0..4 {
            assert_eq!(reno.window(), 4_500);
            reno.on_ack(&acked(MSS, true));
        }
        assert_eq!(reno.window(), 5_500, "500 of the first, 4,000 of the rest");
    }

    /// RFC 3465 §2.3: L = 2 again once slow start after a time-out is over, or after a loss.
    #[test]
    fn after_a_pause_the_window_grows_by_two_segments_at_once() {
        type Event = fn(&mut NewReno);
        let events: [Event; 2] = [
            |reno| {
                reno.on_rto(&congested(60 * MSS), false);
                while reno.window() < reno.slow_start_threshold() {
                    reno.on_ack(&acked(MSS, true));
                }
            },
            |reno| {
                reno.on_rto(&congested(60 * MSS), false);
                reno.on_loss(&congested(60 * MSS));
            },
        ];
        for event in events {
            let mut reno = controller();
            while reno.window() < 60 * MSS {
                reno.on_ack(&acked(2 * MSS, true));
            }
            event(&mut reno);
            reno.now.threshold = 30 * MSS;
            reno.on_idle();
            let before = reno.window();
            assert!(before <= 10 * MSS, "RFC 5681 §4.1");
            reno.on_ack(&acked(9 * MSS, true));
            assert_eq!(reno.window(), before + 2 * MSS);
        }
    }

    /// RFC 5681 §3.1: one segment after a time-out, and the threshold is set once.
    #[test]
    fn a_time_out_begins_again_with_one_segment() {
        let mut reno = controller();
        reno.on_rto(&congested(8 * MSS), false);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (MSS, 4 * MSS));
        reno.on_rto(&congested(MSS), true);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (MSS, 4 * MSS));
        reno.on_spurious();
        assert_eq!(
            (reno.window(), reno.slow_start_threshold()),
            (10 * MSS, u64::MAX)
        );
    }

    #[test]
    fn the_threshold_is_two_segments_at_least() {
        let mut reno = controller();
        reno.on_loss(&congested(MSS));
        assert_eq!(reno.slow_start_threshold(), 2 * MSS);
    }
}
