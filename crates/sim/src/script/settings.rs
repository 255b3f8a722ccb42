//! What a script's `set` lines mean.

use std::time::Duration;

use packhorse_tcp::congestion::Congestion;
use packhorse_tcp::{Config, KeepAlive};

use super::{ParseError, Setting};

/// The largest window without scaling, so that a script need not reckon with a scale.
const RECEIVE_BUFFER_BYTES: u64 = 65_535;

/// An Ethernet's 1500 bytes without the headers of IPv4 and TCP.
const MSS: u32 = 1460;

/// How a script is played.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) tolerance: Option<Duration>,
    /// Whether PSH counts in expected segments.
    pub(super) compares_push: bool,
    /// Over IPv6 only, over IPv4 only, or over both.
    pub(super) is_ipv6_only: Option<bool>,
}

impl Settings {
    /// The defaults of scripts with `settings` applied in their order.
    pub(super) fn resolve(settings: &[Setting], is_ipv6: bool) -> Result<Self, ParseError> {
        let mut resolved = Self {
            config: Config {
                mtu_bytes: mtu(MSS, is_ipv6),
                receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
                timestamps: false,
                window_scale: false,
                pacing: false,
                quick_acks: 0,
                ..Config::default()
            },
            tolerance: None,
            compares_push: false,
            is_ipv6_only: None,
        };
        for setting in settings {
            let Setting { line, name, value } = setting;
            resolved
                .set(name, value, is_ipv6)
                .ok_or_else(|| ParseError {
                    line: *line,
                    text: format!("set {name} {value}"),
                    message: "no such setting, or not such a value".to_owned(),
                })?;
        }
        Ok(resolved)
    }

    fn set(&mut self, name: &str, value: &str, is_ipv6: bool) -> Option<()> {
        let config = &mut self.config;
        match name {
            "mss" => config.mtu_bytes = mtu(value.parse().ok()?, is_ipv6),
            "receive_buffer" => config.receive_buffer_bytes = value.parse().ok()?,
            "send_buffer" => config.send_buffer_bytes = value.parse().ok()?,
            "nagle" => config.nagle = switch(value)?,
            "quick_acks" => config.quick_acks = value.parse().ok()?,
            "delayed_ack" => config.delayed_ack = seconds(value)?,
            "timestamps" => config.timestamps = switch(value)?,
            "sack" => config.sack = switch(value)?,
            "window_scale" => config.window_scale = switch(value)?,
            "pacing" => config.pacing = switch(value)?,
            "congestion" => config.congestion = congestion(value)?,
            "initial_window" => config.initial_window_segments = value.parse().ok()?,
            "rto_margin" => config.rto.margin_min = seconds(value)?,
            "handshake_timeout" => config.handshake_timeout = seconds(value)?,
            "user_timeout" => config.user_timeout.local = seconds(value)?,
            "user_timeout_lower" => config.user_timeout.lower = seconds(value)?,
            "user_timeout_advertise" => config.user_timeout.advertise = switch(value)?,
            "time_wait" => config.time_wait = seconds(value)?,
            "keep_alive" => config.keep_alive = Some(keep_alive(value)?),
            "tolerance" => self.tolerance = Some(seconds(value)?),
            "compare_push" => self.compares_push = switch(value)?,
            "ip" => self.is_ipv6_only = Some(family(value)?),
            _ => return None,
        }
        Some(())
    }
}

/// The MTU under which a stack announces `mss`.
fn mtu(mss: u32, is_ipv6: bool) -> u32 {
    mss + 20 + if is_ipv6 { 40 } else { 20 }
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn family(value: &str) -> Option<bool> {
    match value {
        "4" => Some(false),
        "6" => Some(true),
        _ => None,
    }
}

fn congestion(value: &str) -> Option<Congestion> {
    match value {
        "newreno" => Some(Congestion::NewReno),
        "cubic" => Some(Congestion::Cubic),
        _ => None,
    }
}

fn seconds(value: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(value.parse().ok()?).ok()
}

/// `IDLE INTERVAL PROBES`, the first two in seconds.
fn keep_alive(value: &str) -> Option<KeepAlive> {
    let mut words = value.split_whitespace();
    Some(KeepAlive {
        idle: seconds(words.next()?)?,
        interval: seconds(words.next()?)?,
        probes_max: words.next()?.parse().ok()?,
    })
}
