//! What happened on a connection, in numbers.

use core::time::Duration;

/// Counters since the connection began, and where its estimates are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// What happened so far.
    pub counters: Counters,
    /// Whether reordering has been seen on the way to the peer.
    pub reordering_seen: bool,
    /// Records looked at one by one, of segments sent and of pieces received: what a connection
    /// costs grows with its segments, and never with their square, whatever a peer does.
    pub steps: u64,
    /// The congestion window, bytes.
    pub cwnd: u64,
    /// The slow-start threshold, bytes; `u64::MAX` before the first loss.
    pub ssthresh: u64,
    /// What the receiver holds at most for a reader who is behind, as it has grown; bytes.
    pub receive_buffer: u64,
    /// The peer's window, bytes.
    pub send_window: u64,
    /// Bytes thought to be on the way to the peer.
    pub in_flight: u64,
    /// The smoothed round trip, zero before the first measurement.
    pub srtt: Duration,
    /// The least round trip measured, zero before the first.
    pub min_rtt: Duration,
    /// The retransmission time-out as it would be set now, back-off included.
    pub rto: Duration,
    /// The latest measured rate of delivery, bytes per second.
    pub delivery_rate: u64,
    /// The rate at which data is let go, bytes per second; zero while unpaced.
    pub pacing_rate: u64,
    /// The payload of a full segment to this peer, bytes; zero before its SYN.
    pub mss: u32,
    /// The payload of a full segment from this peer, bytes: what our SYN says that we take, less
    /// what timestamps take of it once they are agreed upon.
    pub receive_mss: u32,
}

/// What a connection counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Segments received, whatever became of them.
    pub segments_received: u64,
    /// Segments sent, retransmissions and probes too.
    pub segments_sent: u64,
    /// Bytes of data sent for the first time.
    pub bytes_sent: u64,
    /// Bytes of data sent again.
    pub bytes_retransmitted: u64,
    /// Bytes of data put in order for the reader.
    pub bytes_received: u64,
    /// Bytes of ours that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Segments sent again, probes with old data among them.
    pub retransmits: u64,
    /// Retransmission time-outs.
    pub rtos: u64,
    /// Entries into fast recovery.
    pub fast_recoveries: u64,
    /// Tail loss probes sent.
    pub loss_probes: u64,
    /// Probes of a closed window sent.
    pub window_probes: u64,
    /// Keep-alive probes sent.
    pub keep_alive_probes: u64,
    /// Recoveries that were undone because nothing had been lost.
    pub spurious_undone: u64,
    /// Segments that the loss detection gave up.
    pub segments_lost: u64,
    /// Bytes that the peer acknowledged selectively.
    pub bytes_sacked: u64,
    /// Duplicates that the peer reported (RFC 2883).
    pub dsacks_received: u64,
    /// Times the peer forgot what it had acknowledged selectively.
    pub reneges: u64,
    /// Duplicate acknowledgements received.
    pub duplicate_acks: u64,
    /// Segments received of which nothing was new.
    pub duplicate_segments: u64,
    /// Segments received out of order.
    pub out_of_order_segments: u64,
    /// Pieces dropped because too many were held out of order, or because the room for them was
    /// given back while the peer did not use it.
    pub reassembly_dropped: u64,
    /// Segments dropped because their timestamp was old (RFC 7323 §5).
    pub paws_dropped: u64,
    /// Acknowledgements sent without data.
    pub pure_acks_sent: u64,
    /// Challenge acknowledgements sent (RFC 5961).
    pub challenge_acks: u64,
    /// Answers withheld because there had been too many.
    pub acks_withheld: u64,
    /// Resets sent.
    pub resets_sent: u64,
}
