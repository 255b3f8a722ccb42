//! The handshake: our SYN, the peer's, and what the two agree on.

use core::net::IpAddr;
use core::time::Duration;

use crate::config::Config;
use crate::deadline::{Deadline, Reason};
use crate::receiver::{SHIFT_MAX, shift_for};
use crate::rto::RetransmitTimer;
use crate::rtt::RttEstimator;
use crate::time::Instant;
use crate::wire::{Options, Packet, Timestamps};
use crate::{timestamps, user_timeout};

/// What a peer takes that names no MSS (RFC 9293 §3.7.1, MUST-15).
const MSS_DEFAULT_V4: u16 = 536;
const MSS_DEFAULT_V6: u16 = 1_220;

/// The least MSS that a peer can ask for: below, headers would be most of what we send.
const MSS_MIN: u64 = 64;

/// What timestamps take in each segment, padding included.
pub(crate) const TIMESTAMPS_BYTES: u64 = 12;

/// Who spoke first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// We did: the SYN was ours.
    Active,
    /// The peer did.
    Passive,
    /// Both did (RFC 9293 §3.5, figure 7).
    Simultaneous,
}

/// A handshake that is not complete.
#[derive(Debug)]
pub(crate) struct Handshake {
    role: Role,
    timer: RetransmitTimer,
    rtt: RttEstimator,
    give_up_at: Instant,
    /// Whether our SYN goes out now.
    due: bool,
    sent_at: Option<Instant>,
    transmissions: u32,
    /// Whether one of our SYNs, or the peer's answer to it, seems to have been lost.
    lost: bool,
    /// The options of the peer's SYN.
    peer: Option<Options>,
}

/// What both sides' SYNs agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The largest payload of a segment without options, both ways of counting agreed.
    pub(crate) mss: u64,
    pub(crate) sack: bool,
    pub(crate) timestamps: bool,
    /// By how much our windows are shifted, and the peer's.
    pub(crate) our_shift: u8,
    pub(crate) peer_shift: u8,
}

impl Agreement {
    /// The payload of a full segment beside the options that every segment has.
    pub(crate) fn payload_max(&self) -> u64 {
        let options = if self.timestamps { TIMESTAMPS_BYTES } else { 0 };
        self.mss - options
    }
}

impl Handshake {
    pub(crate) fn new(config: &Config, role: Role, peer: Option<Options>, now: Instant) -> Self {
        Self {
            role,
            timer: RetransmitTimer::new(config.rto),
            rtt: RttEstimator::new(),
            give_up_at: now + config.handshake_timeout,
            due: true,
            sent_at: None,
            transmissions: 0,
            lost: false,
            peer,
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The options of the peer's SYN.
    pub(crate) fn peer(&self) -> Option<&Options> {
        self.peer.as_ref()
    }

    /// The peer's SYN answers ours.
    pub(crate) fn on_answered(&mut self, peer: Options) {
        self.peer = Some(peer);
    }

    /// The peer's SYN crossed ours.
    pub(crate) fn on_simultaneous(&mut self, peer: Options) {
        self.role = Role::Simultaneous;
        self.peer = Some(peer);
        self.due = true;
    }

    /// The peer's SYN came again, and so ours goes out again.
    ///
    /// One that the network has doubled comes soon. One that the peer sent again because our
    /// answer was lost comes after its time-out, which is about as long as ours.
    pub(crate) fn repeat(&mut self, now: Instant) {
        self.due = true;
        let waited = self.sent_at.map(|at| now.saturating_since(at));
        self.lost |= waited.is_some_and(|waited| 2 * waited >= self.timer.rto(&self.rtt));
        self.timer.restart(now);
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due
    }

    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.due = false;
        self.sent_at = Some(now);
        self.transmissions = self.transmissions.saturating_add(1);
        self.timer.ensure_started(now);
    }

    /// Our SYN went out before there was a handshake, at a time that nobody knows.
    pub(crate) fn assume_sent(&mut self) {
        self.due = false;
        self.transmissions = 1;
    }

    /// Whether a SYN of ours seems to have been lost (RFC 5681 §3.1, RFC 6298 §5.7).
    ///
    /// That it was sent more than once says nothing: the peer's may have come twice.
    pub(crate) fn was_lost(&self) -> bool {
        self.lost
    }

    /// The round trip, if it is known which of our SYNs is answered (Karn).
    pub(crate) fn measured(&self, now: Instant) -> Option<Duration> {
        let sent_at = self.sent_at?;
        (self.transmissions == 1).then(|| now.saturating_since(sent_at))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let give_up = Deadline::new(self.give_up_at, Reason::UserTimeout);
        let again = self.timer.expires_at(&self.rtt);
        let again = again.map(|at| Deadline::new(at, Reason::HandshakeRetransmit));
        Deadline::first([again, Some(give_up)])
    }

    /// True if the peer is to be given up.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.timer.expires_at(&self.rtt).is_some_and(|at| at <= now) {
            self.timer.back_off(now);
            self.due = true;
            self.lost = true;
        }
        self.give_up_at <= now
    }

    /// The options of our SYN: all that we want, or of that what the peer wants too.
    pub(crate) fn options(
        &self,
        config: &Config,
        timestamp_offset: u32,
        remote: IpAddr,
        now: Instant,
    ) -> Options {
        let offered = |ours: bool, peers: fn(&Options) -> bool| {
            ours && self.peer.is_none_or(|peer| peers(&peer))
        };
        let stamp = offered(config.timestamps, |peer| peer.timestamps.is_some());
        let echo = self.peer.and_then(|peer| peer.timestamps);
        Options {
            mss: Some(u16::try_from(own_mss(config, remote)).unwrap_or(u16::MAX)),
            window_scale: offered(config.window_scale, |peer| peer.window_scale.is_some())
                .then(|| shift_for(config.receive_buffer_bytes)),
            sack_permitted: offered(config.sack, |peer| peer.sack_permitted),
            timestamps: stamp.then(|| Timestamps {
                value: timestamps::ticks(now, timestamp_offset),
                echo: echo.map_or(0, |echo| echo.value),
            }),
            user_timeout: user_timeout::option(&config.user_timeout),
            ..Options::default()
        }
    }
}

/// What our SYN and the peer's agree on.
pub(crate) fn agree(config: &Config, remote: IpAddr, peer: &Options) -> Agreement {
    let default = if remote.is_ipv4() {
        MSS_DEFAULT_V4
    } else {
        MSS_DEFAULT_V6
    };
    let peer_mss = u64::from(peer.mss.unwrap_or(default)).max(MSS_MIN);
    let shifts = match peer.window_scale {
        Some(shift) if config.window_scale => {
            (shift_for(config.receive_buffer_bytes), shift.min(SHIFT_MAX))
        }
        _ => (0, 0),
    };
    Agreement {
        mss: peer_mss.min(own_mss(config, remote)),
        sack: config.sack && peer.sack_permitted,
        timestamps: config.timestamps && peer.timestamps.is_some(),
        our_shift: shifts.0,
        peer_shift: shifts.1,
    }
}

/// The window of our SYN, which is not scaled (RFC 7323 §2.2).
pub(crate) fn window(config: &Config) -> u16 {
    u16::try_from(*config.receive_bytes().start()).unwrap_or(u16::MAX)
}

/// What we can take and send in one packet, without regard to options (RFC 6691).
pub(crate) fn own_mss(config: &Config, remote: IpAddr) -> u64 {
    let headers = Packet::header_bytes(remote) as u64;
    u64::from(config.mtu_bytes.min(u32::from(u16::MAX)))
        .saturating_sub(headers)
        .max(MSS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(core::net::Ipv6Addr::LOCALHOST);

    /// RFC 9293 §3.7.1 and RFC 6691: options do not count, and there are defaults.
    #[test]
    fn the_mss_is_the_smaller_one() {
        for (remote, mtu_bytes, peer, mss) in [
            (V4, 1_500, Some(1_460), 1_460),
            (V4, 1_500, Some(9_000), 1_460),
            (V4, 1_500, None, 536),
            (V6, 1_500, Some(9_000), 1_440),
            (V6, 1_500, None, 1_220),
            (V4, 1_500, Some(0), 64),
            (V4, 0, Some(1_460), 64),
            (V4, u32::MAX, Some(u16::MAX), 65_495),
        ] {
            let config = Config {
                mtu_bytes,
                ..Config::default()
            };
            let options = Options {
                mss: peer,
                ..Options::default()
            };
            assert_eq!(
                agree(&config, remote, &options).mss,
                mss,
                "{mtu_bytes} {peer:?}"
            );
        }
    }

    /// Behaviour 16, second half: a shift above 14 counts as 14 (RFC 7323 §2.3).
    #[test]
    fn window_scale_above_14_is_clamped() {
        for (shift, agreed) in [
            (Some(3), 3),
            (Some(14), 14),
            (Some(15), 14),
            (Some(255), 14),
            (None, 0),
        ] {
            let options = Options {
                window_scale: shift,
                ..Options::default()
            };
            assert_eq!(
                agree(&Config::default(), V4, &options).peer_shift,
                agreed,
                "{shift:?}"
            );
        }
    }

    /// RFC 7323 §1.3, RFC 2018 §2: an option is used if both SYNs have it.
    #[test]
    fn an_answer_offers_only_what_was_offered() {
        let config = Config::default();
        let peer = Options {
            sack_permitted: true,
            ..Options::default()
        };
        let now = Instant::default();
        let answer = Handshake::new(&config, Role::Passive, Some(peer), now);
        let options = answer.options(&config, 0, V4, now);
        assert!(options.sack_permitted);
        assert_eq!((options.window_scale, options.timestamps), (None, None));
        let first = Handshake::new(&config, Role::Active, None, now);
        let options = first.options(&config, 0, V4, now);
        assert!(options.sack_permitted && options.window_scale == Some(9));
        assert_eq!(options.timestamps.map(|stamp| stamp.echo), Some(0));
    }
}
