//! How an endpoint behaves: what its connections are told, and how much of everything there may be.

use crate::config::Config;

/// What an endpoint is told when it begins.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// What each connection is told; the timestamp offset is made for each anew.
    pub connection: Config,
    /// Connections of every kind; beyond it SYNs are dropped, as if lost, and `connect` fails.
    pub connections_max: usize,
    /// Handshakes that peers have begun; beyond it SYNs are answered with cookies, or dropped.
    pub half_open_max: usize,
    /// Whether SYNs are answered without a memory of them when `half_open_max` is reached
    /// (RFC 4987 §3.6).
    pub syn_cookies: bool,
    /// Pairs of ends in TIME-WAIT; beyond it the one that would end first ends now.
    pub time_wait_max: usize,
    /// By how much the receive buffers of all connections may have grown together, bytes; then
    /// none grows, and those that need far less than they have, or have been at rest, give it back.
    pub receive_growth_bytes_max: u64,
    /// Packets that belong to no connection and were not fetched; beyond it there are no more.
    pub outbox_packets_max: usize,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            connection: Config::default(),
            connections_max: 200_000,
            half_open_max: 1_024,
            syn_cookies: true,
            time_wait_max: 65_536,
            receive_growth_bytes_max: 1 << 30,
            outbox_packets_max: 1_024,
        }
    }
}

/// Counters since the endpoint began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointStats {
    /// Resets sent to segments that belong to nothing here.
    pub strangers_reset: u64,
    /// SYNs dropped because a table was full.
    pub syns_dropped: u64,
    /// SYNs answered with a cookie.
    pub cookies_sent: u64,
    /// Connections made from a cookie that came back.
    pub cookies_accepted: u64,
    /// Handshakes held up because the accept queue was full; each try counts.
    pub accept_queue_full: u64,
    /// TIME-WAITs ended before their time for want of room.
    pub time_waits_cut_short: u64,
    /// TIME-WAITs ended by a SYN that begins the next connection (RFC 6191).
    pub time_waits_reused: u64,
    /// Packets without a connection that were dropped because the outbox was full.
    pub outbox_dropped: u64,
}
