//! `TCP_INFO` in Linux's layout, as far as its fields mean something here.

use packhorse_tcp::{State, Stats};

/// What Linux gives by now; a caller with less room gets the beginning.
const LENGTH: usize = 232;

/// Where each field begins, in bytes; the others stay zero.
const STATE: usize = 0;
const RTO: usize = 8;
const SND_MSS: usize = 16;
const UNACKED: usize = 24;
const LOST: usize = 32;
const RTT: usize = 68;
const SND_SSTHRESH: usize = 76;
const SND_CWND: usize = 80;
const ADVMSS: usize = 84;
const RCV_SPACE: usize = 96;
const TOTAL_RETRANS: usize = 100;
const PACING_RATE: usize = 104;
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;
const SEGS_OUT: usize = 136;
const SEGS_IN: usize = 140;
const MIN_RTT: usize = 148;

/// Linux's number of a state (`enum` in `linux/tcp_states.h`).
pub(crate) fn state_number(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

/// The structure as bytes.
pub(crate) fn encode(state: State, stats: &Stats) -> Vec<u8> {
    let counters = &stats.counters;
    let mut info = vec![0; LENGTH];
    info[STATE] = state_number(state);
    let mss = u64::from(stats.mss.max(1));
    let mut put = |at: usize, value: u64| {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        info[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    };
    let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    put(RTO, micros(stats.rto));
    put(SND_MSS, mss);
    put(UNACKED, stats.in_flight.div_ceil(mss));
    put(LOST, counters.segments_lost);
    put(RTT, micros(stats.srtt));
    // Linux counts both in segments, and has a threshold of 2^31 - 1 before the first loss.
    put(
        SND_SSTHRESH,
        (stats.ssthresh / mss).min(i32::MAX.unsigned_abs().into()),
    );
    put(SND_CWND, stats.cwnd / mss);
    put(ADVMSS, stats.receive_mss.into());
    put(RCV_SPACE, stats.receive_buffer);
    put(TOTAL_RETRANS, counters.retransmits);
    put(SEGS_OUT, counters.segments_sent);
    put(SEGS_IN, counters.segments_received);
    put(MIN_RTT, micros(stats.min_rtt));
    for (at, value) in [
        (PACING_RATE, stats.pacing_rate),
        (BYTES_ACKED, counters.bytes_acked),
        (BYTES_RECEIVED, counters.bytes_received),
    ] {
        info[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux's takes nothing of the peer's MSS into its own.
    #[test]
    fn each_way_has_its_own_mss() {
        let stats = Stats {
            mss: 524,
            receive_mss: 1_448,
            ..Stats::default()
        };
        let info = encode(State::Established, &stats);
        let field = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().unwrap());
        assert_eq!((field(SND_MSS), field(ADVMSS)), (524, 1_448));
    }
}
