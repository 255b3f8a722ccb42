//! CUBIC (RFC 9438), with HyStart++ in its first slow start.

use alloc::boxed::Box;
use core::time::Duration;

use super::hystart::Growth;
use super::{Acked, Congested, CongestionControl, HyStart, Start};
use crate::time::Instant;

/// The most segments by which one acknowledgement opens the window of a slow start that is not
/// paced (L of RFC 9406 §4.3).
const UNPACED_GROWTH_SEGMENTS: u64 = 8;

/// RFC 9438 §4.1 and §4.6.
const C: f64 = 0.4;
const BETA: f64 = 0.7;

/// The growth that is fair to Reno with this decrease (RFC 9438 §4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// The controller of RFC 9438.
#[derive(Debug)]
pub struct Cubic {
    mss: u64,
    initial_window: u64,
    /// The most by which one acknowledgement opens the window in slow start, bytes.
    growth_max: u64,
    now: Windows,
    /// What it was before the last sign of congestion.
    before: Option<Box<Windows>>,
}

#[derive(Debug, Clone, Copy)]
struct Windows {
    window: u64,
    threshold: u64,
    /// Where the curve is to be flat, in segments (W_max): the window before the last reduction,
    /// or less; 0 where there is none.
    peak: f64,
    /// The window before the last reduction, in segments (cwnd_prior).
    prior: f64,
    /// Segments that the window is due and has not got, below one.
    owed: f64,
    epoch: Option<Epoch>,
    /// HyStart++ is for the first slow start only (RFC 9406 §4.3).
    hystart: Option<HyStart>,
}

/// A stretch of congestion avoidance between two signs of congestion.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    start: Instant,
    /// When the window was last looked at.
    seen_at: Instant,
    /// Seconds until the window is back at its peak (K).
    k: f64,
    /// Where the curve is flat, in segments.
    origin: f64,
    /// What Reno would have, in segments (W_est).
    reno: f64,
    /// Where Reno's share of the growth ends, in segments (cwnd_prior).
    prior: f64,
}

impl Cubic {
    /// A controller in slow start.
    #[must_use]
    pub fn new(start: &Start) -> Self {
        Self {
            mss: start.mss.max(1),
            initial_window: start.initial_window,
            growth_max: if start.paced {
                u64::MAX
            } else {
                UNPACED_GROWTH_SEGMENTS * start.mss.max(1)
            },
            now: Windows {
                window: start.initial_window,
                threshold: u64::MAX,
                peak: 0.0,
                prior: 0.0,
                owed: 0.0,
                epoch: None,
                hystart: Some(HyStart::new()),
            },
            before: None,
        }
    }

    /// RFC 9438 §4.6 and §4.7.
    fn reduce(&mut self, congested: &Congested) {
        let window = self.segments(congested.flight.min(self.now.window));
        // Fast convergence: below its last peak, it makes room for others.
        self.now.peak = if window < self.now.peak {
            window * (1.0 + BETA) / 2.0
        } else {
            window
        };
        self.now.prior = window;
        self.now.threshold = self.bytes(window * BETA).max(2 * self.mss);
        self.now.epoch = None;
        self.now.owed = 0.0;
        self.now.hystart = None;
    }

    fn avoid_congestion(&mut self, acked: &Acked) {
        let window = self.segments(self.now.window);
        if self.now.epoch.is_none() {
            // RFC 9438 §4.2 and §4.8: without a peak the curve begins where it is flat.
            self.now.peak = self.now.peak.max(window);
        }
        let (peak, prior) = (self.now.peak, self.now.prior);
        let epoch = self
            .now
            .epoch
            .get_or_insert_with(|| Epoch::new(acked.now, window, peak, prior));
        epoch.seen_at = acked.now;
        let acked_segments = segments(acked.bytes, self.mss);
        let alpha = if epoch.reno < epoch.prior { ALPHA } else { 1.0 };
        epoch.reno += alpha * acked_segments / window;
        let elapsed = acked.now.saturating_since(epoch.start);
        let growth = if epoch.at(elapsed) < epoch.reno {
            (epoch.reno - window).max(0.0)
        } else {
            let ahead = elapsed.saturating_add(acked.srtt.unwrap_or_default());
            let target = epoch.at(ahead).clamp(window, 1.5 * window);
            (target - window) / window * acked_segments
        };
        self.now.owed += growth;
        if self.now.owed >= 1.0 {
            let whole = self.now.owed - self.now.owed % 1.0;
            self.now.owed -= whole;
            self.now.window += self.bytes(whole);
        }
    }

    fn segments(&self, bytes: u64) -> f64 {
        segments(bytes, self.mss)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a conversion from a float saturates"
    )]
    fn bytes(&self, segments: f64) -> u64 {
        let mss = u32::try_from(self.mss).unwrap_or(u32::MAX);
        (segments * f64::from(mss)) as u64
    }
}

#[expect(clippy::cast_precision_loss, reason = "no window needs 53 bits")]
fn segments(bytes: u64, mss: u64) -> f64 {
    bytes as f64 / mss as f64
}

impl Epoch {
    fn new(start: Instant, window: f64, peak: f64, prior: f64) -> Self {
        let below = (peak - window).max(0.0);
        Self {
            start,
            seen_at: start,
            k: cube_root(below / C),
            origin: peak.max(window),
            reno: window,
            prior: prior.max(window),
        }
    }

    /// The time since the window was last looked at does not count: the application, and not
    /// the window, was what limited us (RFC 9438 §5.8).
    fn skip_to(&mut self, now: Instant) {
        self.start = self.start + now.saturating_since(self.seen_at);
        self.seen_at = now;
    }

    /// W_cubic after `elapsed`, in segments (RFC 9438 §4.2).
    fn at(&self, elapsed: Duration) -> f64 {
        let t = elapsed.as_secs_f64() - self.k;
        C * t * t * t + self.origin
    }
}

/// By Newton's method, since `core` has none; to more digits than a window has.
fn cube_root(of: f64) -> f64 {
    if of <= 0.0 {
        return 0.0;
    }
    let mut root = if of > 1.0 { of / 2.0 } else { 1.0 };
    for _ in 0..100 {
        let next = (2.0 * root + of / (root * root)) / 3.0;
        let settled = (next - root).abs() <= 1e-12 * root;
        root = next;
        if settled {
            break;
        }
    }
    root
}

impl CongestionControl for Cubic {
    fn window(&self) -> u64 {
        self.now.window
    }

    fn slow_start_threshold(&self) -> u64 {
        self.now.threshold
    }

    fn on_ack(&mut self, acked: &Acked) {
        if !acked.window_limited {
            if let Some(epoch) = &mut self.now.epoch {
                epoch.skip_to(acked.now);
            }
            return;
        }
        if self.now.window >= self.now.threshold {
            self.avoid_congestion(acked);
            return;
        }
        let acked = Acked {
            bytes: acked.bytes.min(self.growth_max),
            ..*acked
        };
        let growth = match &mut self.now.hystart {
            Some(hystart) => hystart.on_ack(&acked),
            None => Growth::By(acked.bytes),
        };
        match growth {
            Growth::By(bytes) => {
                let room = self.now.threshold - self.now.window;
                self.now.window += bytes.min(room);
            }
            Growth::Done => {
                self.now.threshold = self.now.window;
                self.now.hystart = None;
            }
        }
    }

    fn on_loss(&mut self, congested: &Congested) {
        self.before = Some(Box::new(self.now));
        self.reduce(congested);
        self.now.window = self.now.threshold;
    }

    fn on_rto(&mut self, congested: &Congested, repeated: bool) {
        if !repeated {
            self.before = Some(Box::new(self.now));
            self.reduce(congested);
            // RFC 9438 §4.8: the avoidance that follows starts flat, from the window it finds.
            self.now.peak = 0.0;
        }
        self.now.window = self.mss;
        self.now.epoch = None;
    }

    fn on_spurious(&mut self) {
        if let Some(before) = self.before.take() {
            // RFC 9438 §4.9.
            let window = self.now.window.max(before.window);
            self.now = Windows { window, ..*before };
        }
    }

    fn on_idle(&mut self) {
        self.now.window = self.now.window.min(self.initial_window);
        self.now.epoch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1_000;
    const RTT: Duration = Duration::from_millis(100);

    fn cubic() -> Cubic {
        Cubic::new(&Start {
            mss: MSS,
            paced: true,
            initial_window: 10 * MSS,
        })
    }

    /// One round trip: the window is sent and acknowledged segment by segment.
    fn round(cubic: &mut Cubic, now: Instant) {
        round_by(cubic, now, 1);
    }

    /// One with so many segments in each acknowledgement.
    fn round_by(cubic: &mut Cubic, now: Instant, segments: u64) {
        let bytes = segments * MSS;
        for _ in 0..cubic.window() / bytes {
            cubic.on_ack(&Acked {
                bytes,
                ..acked(cubic, now)
            });
        }
    }

    /// A segment, acknowledged while the window was full.
    fn acked(cubic: &Cubic, now: Instant) -> Acked {
        Acked {
            now,
            bytes: MSS,
            rtt: Some(RTT),
            srtt: Some(RTT),
            min_rtt: Some(RTT),
            in_flight: cubic.window(),
            window_limited: true,
            acked_to: 0,
            sent_to: 0,
            rate: None,
        }
    }

    fn congested(cubic: &Cubic) -> Congested {
        Congested {
            now: Instant::default(),
            flight: cubic.window(),
        }
    }

    #[test]
    fn roots() {
        for (of, root) in [
            (0.0, 0.0),
            (1.0, 1.0),
            (27.0, 3.0),
            (0.008, 0.2),
            (1e9, 1_000.0),
        ] {
            assert!((cube_root(of) - root).abs() < 1e-6, "{of}");
        }
    }

    /// RFC 9438 §4.2: down to 0.7, and back at the peak after K seconds, flat there.
    #[test]
    fn the_window_is_back_at_its_peak_after_k() {
        for segments in [1, 10] {
            let mut cubic = cubic();
            cubic.now.window = 1_000 * MSS;
            cubic.on_loss(&congested(&cubic));
            assert_eq!(cubic.window(), 700 * MSS);
            // K = cbrt(300 / 0.4) = 9.086 s.
            let mut at_k = 0;
            for tenth in 0..=120_u64 {
                round_by(&mut cubic, Instant::from_millis(tenth * 100), segments);
                if tenth == 91 {
                    at_k = cubic.window();
                }
            }
            assert!(at_k.abs_diff(1_000 * MSS) < 5 * MSS, "{at_k}");
            assert!(cubic.window() > 1_005 * MSS, "it probes beyond");
            assert!(
                cubic.window() < 1_030 * MSS,
                "slowly at first: {}",
                cubic.window()
            );
        }
    }

    /// RFC 9438 §4.3: where Reno would be quicker, it is Reno.
    #[test]
    fn over_a_short_path_the_window_grows_as_reno_would() {
        for segments in [1, 7] {
            let mut cubic = cubic();
            cubic.now.window = 100 * MSS;
            cubic.on_loss(&congested(&cubic));
            for millis in 0..10 {
                round_by(&mut cubic, Instant::from_millis(millis), segments);
            }
            // Ten round trips of 0.53 segments each.
            assert!(
                (74 * MSS..=76 * MSS).contains(&cubic.window()),
                "{segments}: {}",
                cubic.window()
            );
        }
    }

    /// RFC 9438 §4.7.
    #[test]
    fn a_second_loss_below_the_peak_gives_room_to_others() {
        let mut cubic = cubic();
        cubic.now.window = 100 * MSS;
        cubic.on_loss(&congested(&cubic));
        assert!((cubic.now.peak - 100.0).abs() < 1e-9);
        cubic.on_loss(&congested(&cubic));
        assert!((cubic.now.peak - 70.0 * 0.85).abs() < 1e-9);
    }

    #[test]
    fn a_second_loss_at_the_peak_gives_none() {
        let mut cubic = cubic();
        for _ in 0..2 {
            cubic.now.window = 100 * MSS;
            cubic.on_loss(&congested(&cubic));
            assert!((cubic.now.peak - 100.0).abs() < 1e-9);
        }
    }

    /// RFC 9438 §4.6: of what was in flight, which the window bounds.
    #[test]
    fn a_loss_leaves_a_share_of_the_flight() {
        for (flight, window) in [(50, 35), (200, 70), (1, 2)] {
            let mut cubic = cubic();
            cubic.now.window = 100 * MSS;
            cubic.on_loss(&Congested {
                flight: flight * MSS,
                ..congested(&cubic)
            });
            assert_eq!(cubic.window(), window * MSS, "{flight}");
        }
    }

    /// RFC 9438 §4.8: K is zero, and the window is flat where avoidance begins.
    #[test]
    fn after_a_time_out_the_curve_begins_flat() {
        let mut cubic = cubic();
        cubic.now.window = 1_000 * MSS;
        cubic.on_rto(&congested(&cubic), false);
        cubic.now.window = cubic.now.threshold;
        round(&mut cubic, Instant::from_millis(1_000));
        let epoch = cubic.now.epoch.unwrap();
        assert!(epoch.k < 1e-9, "{}", epoch.k);
        assert!((epoch.origin - 700.0).abs() < 1e-9, "{}", epoch.origin);
    }

    /// RFC 9438 §4.3: Reno's share ends at the window before the reduction, also where fast
    /// convergence has put the peak below it.
    #[test]
    fn fast_convergence_leaves_the_prior_window() {
        let mut cubic = cubic();
        cubic.now.window = 100 * MSS;
        cubic.on_loss(&congested(&cubic));
        cubic.on_loss(&congested(&cubic));
        round(&mut cubic, Instant::default());
        let epoch = cubic.now.epoch.unwrap();
        assert!((epoch.prior - 70.0).abs() < 1e-9, "{}", epoch.prior);
        assert!((epoch.origin - 59.5).abs() < 1e-9, "{}", epoch.origin);
    }

    /// RFC 9438 §5.8: an hour with little to send is no hour of growth.
    #[test]
    fn time_without_use_of_the_window_does_not_count() {
        let mut cubic = cubic();
        cubic.now.window = 100 * MSS;
        cubic.on_loss(&congested(&cubic));
        round(&mut cubic, Instant::from_millis(100));
        let before = cubic.window();
        for second in 1..3_600 {
            let now = Instant::from_millis(100 + second * 1_000);
            cubic.on_ack(&Acked {
                window_limited: false,
                ..acked(&cubic, now)
            });
        }
        round(&mut cubic, Instant::from_millis(100 + 3_599_000 + 10));
        assert!(cubic.window() <= before + 2 * MSS, "{}", cubic.window());
    }

    /// RFC 9406 §4.3: L = 8 for who does not pace.
    #[test]
    fn unpaced_slow_start_grows_by_eight_segments_at_once() {
        for (paced, grown) in [(true, 50), (false, 8)] {
            let mut cubic = Cubic::new(&Start {
                mss: MSS,
                initial_window: 100 * MSS,
                paced,
            });
            let bytes = 50 * MSS;
            cubic.on_ack(&Acked {
                bytes,
                ..acked(&cubic, Instant::default())
            });
            assert_eq!(cubic.window(), (100 + grown) * MSS);
        }
    }

    /// RFC 9438 §4.9.
    #[test]
    fn a_spurious_time_out_is_undone() {
        let mut cubic = cubic();
        cubic.on_rto(&congested(&cubic), false);
        cubic.on_rto(&congested(&cubic), true);
        assert_eq!(cubic.window(), MSS);
        cubic.on_spurious();
        assert_eq!(cubic.window(), 10 * MSS);
        assert_eq!(cubic.slow_start_threshold(), u64::MAX);
    }
}
