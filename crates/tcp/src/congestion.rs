//! How much may be in flight: the controllers, and what they are told.

mod cubic;
mod hystart;
mod new_reno;

use alloc::boxed::Box;
use core::fmt::Debug;
use core::time::Duration;

pub use cubic::Cubic;
pub use hystart::HyStart;
pub use new_reno::NewReno;

use crate::time::Instant;

pub use crate::delivery_rate::RateSample;

/// Which controller sets the congestion window.
#[derive(Debug, Clone, Copy, Default)]
pub enum Congestion {
    /// Slow start and congestion avoidance (RFC 5681, RFC 6582).
    NewReno,
    /// CUBIC with HyStart++ (RFC 9438, RFC 9406).
    #[default]
    Cubic,
    /// A controller from outside this crate.
    Custom(fn(&Start) -> Box<dyn CongestionControl>),
}

/// What a controller begins with.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The largest payload of a segment, bytes.
    pub mss: u64,
    /// The first congestion window, bytes.
    pub initial_window: u64,
    /// Whether data is spread over the round trip, so that a window that grows by much at once
    /// is no burst.
    pub paced: bool,
}

/// An acknowledgement of new data outside of a fast recovery.
#[derive(Debug, Clone, Copy)]
pub struct Acked {
    /// When it arrived.
    pub now: Instant,
    /// Bytes that are known to have arrived by it and were not before.
    pub bytes: u64,
    /// The round trip that it measured.
    pub rtt: Option<Duration>,
    /// The smoothed round trip.
    pub srtt: Option<Duration>,
    /// The least round trip.
    pub min_rtt: Option<Duration>,
    /// What was in flight before it, bytes.
    pub in_flight: u64,
    /// Whether the window was what kept us from sending more (RFC 7661).
    pub window_limited: bool,
    /// The position up to which everything is acknowledged.
    pub acked_to: u64,
    /// The position up to which everything has been sent.
    pub sent_to: u64,
    /// The rate of delivery, if it measured one.
    pub rate: Option<RateSample>,
}

/// A sign of congestion.
#[derive(Debug, Clone, Copy)]
pub struct Congested {
    /// When it was noticed.
    pub now: Instant,
    /// FlightSize of RFC 5681: bytes sent and not acknowledged cumulatively.
    pub flight: u64,
}

/// A congestion controller: it sees events, each by its own name, and owns the window.
///
/// The window in a fast recovery is set by proportional rate reduction, not here: it
/// ends at `slow_start_threshold`.
pub trait CongestionControl: Debug + Send + Sync {
    /// The congestion window, bytes.
    fn window(&self) -> u64;

    /// The slow-start threshold, bytes; `u64::MAX` before the first loss.
    fn slow_start_threshold(&self) -> u64;

    /// New data was acknowledged outside of a fast recovery.
    fn on_ack(&mut self, acked: &Acked);

    /// An acknowledgement repeated the one before it.
    fn on_duplicate_ack(&mut self, _now: Instant) {}

    /// A loss was found by acknowledgements: a fast recovery begins.
    fn on_loss(&mut self, congested: &Congested);

    /// The retransmission timer ran out; `repeated` if for the same segment as the last time.
    fn on_rto(&mut self, congested: &Congested, repeated: bool);

    /// The network marked a segment (RFC 3168); once per round trip.
    fn on_ecn(&mut self, congested: &Congested) {
        self.on_loss(congested);
    }

    /// The last `on_loss` or first `on_rto` was a mistake: nothing had been lost.
    fn on_spurious(&mut self);

    /// Nothing was sent for longer than a retransmission time-out (RFC 5681 §4.1).
    fn on_idle(&mut self);

    /// Whether the window grows by what is acknowledged.
    fn in_slow_start(&self) -> bool {
        self.window() < self.slow_start_threshold()
    }

    /// The rate to send at, bytes per second, if it is not derived from the window.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
}

impl Congestion {
    pub(crate) fn start(self, start: &Start) -> Box<dyn CongestionControl> {
        match self {
            Self::NewReno => Box::new(NewReno::new(start)),
            Self::Cubic => Box::new(Cubic::new(start)),
            Self::Custom(make) => make(start),
        }
    }
}

/// The first congestion window for segments of `mss` (RFC 6928 §2).
pub(crate) fn initial_window(mss: u64, segments: u32) -> u64 {
    let segments = u64::from(segments);
    (segments * mss).min((2 * mss).max(segments * 1_460))
}
