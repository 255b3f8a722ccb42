//! How a connection behaves, with a named default for everything.

use core::ops::RangeInclusive;
use core::time::Duration;

use crate::congestion::Congestion;
use crate::receiver::shift_for;

/// What a connection is told when it begins; it does not change afterwards.
///
/// What a stream needs some of, buffers and segments in flight, is 1 where it is set to 0.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest IP packet sent, and what the announced MSS is derived from; bytes.
    pub mtu_bytes: u32,
    /// The most that the receiver holds for a reader who is behind, and so the largest window
    /// it opens; bytes, 1 GiB at most.
    pub receive_buffer_bytes: u64,
    /// What it holds at first, if that is less; it grows with what the user reads in a round
    /// trip. Bytes.
    pub receive_buffer_initial_bytes: u64,
    /// What `write` accepts before the peer has acknowledged it; bytes.
    pub send_buffer_bytes: u64,
    /// Whether small segments wait for an acknowledgement (RFC 9293 §3.7.4).
    pub nagle: bool,
    /// How long an acknowledgement may wait, 500 ms at most (RFC 9293 §3.8.6.3).
    pub delayed_ack: Duration,
    /// Segments with data that are acknowledged at once when a connection begins, so that
    /// the peer's slow start is not held up.
    pub quick_acks: u32,
    /// Whether to ask for timestamps (RFC 7323).
    pub timestamps: bool,
    /// What is added to the clock in timestamps, so that they say nothing of it
    /// (RFC 7323 §7.1); from [`IsnGenerator::timestamp_offset`](crate::IsnGenerator).
    pub timestamp_offset: u32,
    /// Whether to ask for selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Whether to ask for scaled windows (RFC 7323).
    pub window_scale: bool,
    /// Which controller sets the congestion window.
    pub congestion: Congestion,
    /// The first congestion window, in segments (RFC 6928: 10).
    pub initial_window_segments: u32,
    /// Whether data is spread over the round trip.
    pub pacing: bool,
    /// Retransmission time-outs.
    pub rto: RtoBounds,
    /// How long the handshake may take: R2 of RFC 9293 §3.8.3 for a SYN, 3 minutes or more.
    pub handshake_timeout: Duration,
    /// How long data may stay unacknowledged (RFC 9293 §3.8.3, RFC 5482).
    pub user_timeout: UserTimeout,
    /// Probes of a silent peer; none unless asked for (RFC 9293 §3.8.4).
    pub keep_alive: Option<KeepAlive>,
    /// How long a closed connection is remembered: twice the lifetime of a segment.
    pub time_wait: Duration,
    /// How long to wait for the peer's FIN once nobody reads any more.
    pub fin_wait_2_timeout: Duration,
    /// Pieces held out of order; beyond it a piece is dropped as if it had been lost.
    pub reassembly_pieces_max: usize,
    /// Segments in flight; beyond it new data waits for acknowledgements.
    pub segments_in_flight_max: usize,
}

/// Bounds of the retransmission time-out (RFC 6298).
#[derive(Debug, Clone, Copy)]
pub struct RtoBounds {
    /// Before the first measurement (RFC 6298 §2.1: 1 s).
    pub initial: Duration,
    /// The least margin over the smoothed round trip.
    ///
    /// DEVIATION: RFC 6298 §2.4 rounds the whole time-out up to 1 s. Like other stacks
    /// we take 200 ms above the round trip, more than any delayed acknowledgement that
    /// is common; spurious time-outs are undone.
    pub margin_min: Duration,
    /// The longest, also after doubling (RFC 6298 §2.5: 60 s or more).
    pub max: Duration,
}

/// How long unacknowledged data is kept trying, and whether the peer has a say.
#[derive(Debug, Clone, Copy)]
pub struct UserTimeout {
    /// Our own wish (RFC 9293 §3.8.3: 100 s or more).
    pub local: Duration,
    /// Whether to tell the peer (RFC 5482 §3).
    pub advertise: bool,
    /// Whether the peer's wish may change ours, within the two limits.
    pub changeable: bool,
    /// The least that a peer can bring it to (L_LIMIT).
    pub lower: Duration,
    /// The most that a peer can bring it to (U_LIMIT).
    pub upper: Duration,
}

/// Probes of a connection on which nothing moves.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    /// Silence before the first probe (RFC 9293 §3.8.4: 2 hours or more by default).
    pub idle: Duration,
    /// Between probes that are not answered.
    pub interval: Duration,
    /// Unanswered probes after which the peer is given up.
    pub probes_max: u32,
}

impl Config {
    /// What a receiver holds for a reader who is behind, at first and at most, bytes.
    ///
    /// At first it is no less than a scaled window can tell of: a closed window would stay so,
    /// since it grows with what is read.
    pub(crate) fn receive_bytes(&self) -> RangeInclusive<u64> {
        let most = self.receive_buffer_bytes.max(1);
        let unit = 1 << shift_for(most);
        self.receive_buffer_initial_bytes.clamp(unit, most)..=most
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mtu_bytes: 1_500,
            receive_buffer_bytes: 16 << 20,
            receive_buffer_initial_bytes: 256 << 10,
            send_buffer_bytes: 4 << 20,
            nagle: true,
            delayed_ack: Duration::from_millis(40),
            quick_acks: 16,
            timestamps: true,
            timestamp_offset: 0,
            sack: true,
            window_scale: true,
            congestion: Congestion::Cubic,
            initial_window_segments: 10,
            pacing: true,
            rto: RtoBounds::default(),
            handshake_timeout: Duration::from_secs(180),
            user_timeout: UserTimeout::default(),
            keep_alive: None,
            time_wait: Duration::from_secs(60),
            fin_wait_2_timeout: Duration::from_secs(60),
            reassembly_pieces_max: 16_384,
            segments_in_flight_max: 65_536,
        }
    }
}

impl Default for RtoBounds {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            margin_min: Duration::from_millis(200),
            max: Duration::from_secs(60),
        }
    }
}

impl Default for UserTimeout {
    fn default() -> Self {
        Self {
            local: Duration::from_secs(300),
            advertise: false,
            changeable: true,
            lower: Duration::from_secs(100),
            upper: Duration::from_secs(3_600),
        }
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(7_200),
            interval: Duration::from_secs(75),
            probes_max: 9,
        }
    }
}
