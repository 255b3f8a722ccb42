//! SYN cookies: a handshake that needs no memory until it is complete (RFC 4987 §3.6).
//!
//! Our initial number is 5 bits of a clock of 64 s, 3 bits of the peer's MSS, and 24 bits of a
//! keyed hash over both, both ends and the peer's number. What else the peer's SYN has asked for
//! rides in the low bits of our timestamp, which comes back: 4 bits of window scale and one for
//! SACK. Without timestamps there is neither.

use core::hash::Hasher;
use core::time::Duration;

use siphasher::sip::SipHasher24;

use super::ends::Ends;
use crate::config::Config;
use crate::handshake::{self, Handshake, Role};
use crate::seq::SeqNumber;
use crate::time::Instant;
use crate::timestamps;
use crate::wire::{Ecn, Flags, Options, Packet, Segment, Timestamps};

/// One step of the clock in a cookie.
const STEP: Duration = Duration::from_secs(64);

/// How many steps a cookie is good for, that in which it was made among them.
const STEPS: u32 = 2;

/// The values of an MSS that fit into a cookie; the largest not above the peer's is taken.
const MSS: [u16; 8] = [64, 536, 1_024, 1_220, 1_360, 1_440, 1_460, 8_960];

/// The low bits of a timestamp that hold options.
const OPTION_BITS: u32 = 5;

/// Of these, what stands for no window scale.
const NO_SCALE: u8 = 15;

/// Of these, the bit for SACK.
const SACK: u32 = 1 << 4;

pub(super) struct SynCookies {
    key: [u8; 16],
    last_sent: Option<Instant>,
}

impl SynCookies {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self {
            key,
            last_sent: None,
        }
    }

    /// Answers `syn` without remembering it.
    pub(super) fn answer(
        &mut self,
        config: &Config,
        timestamp_offset: u32,
        syn: &Packet,
        now: Instant,
    ) -> Packet {
        self.last_sent = Some(now);
        let mss = MSS.partition_point(|mss| *mss <= syn.segment.options.mss.unwrap_or(536));
        let mss = mss.saturating_sub(1);
        let peer = remembered(&syn.segment.options);
        let (local, remote) = (syn.destination, syn.source);
        let mut answer = Segment::new(
            self.number(&Ends::new(local, remote), syn.segment.seq, step(now), mss),
            Some(syn.segment.seq.advanced_by(1)),
        );
        answer.flags = Flags::SYN;
        let handshake = Handshake::new(config, Role::Passive, Some(peer), now);
        answer.options = handshake.options(config, timestamp_offset, remote.ip(), now);
        if let Some(stamp) = &mut answer.options.timestamps {
            stamp.value = with_options(stamp.value, &peer);
        }
        answer.window = handshake::window(config);
        Packet {
            source: local,
            destination: remote,
            ecn: Ecn::NotCapable,
            segment: answer,
        }
    }

    /// Whether one was sent that is good still.
    pub(super) fn are_about(&self, now: Instant) -> bool {
        self.last_sent
            .is_some_and(|sent| now.saturating_since(sent) <= STEP * STEPS)
    }

    /// The SYN that `packet` completes the handshake of, as far as a cookie remembers it, if
    /// what it acknowledges is a cookie; and our initial number.
    ///
    /// None is looked for when none was sent of late: a guess then has no chance at all.
    pub(super) fn check(&self, packet: &Packet, now: Instant) -> Option<(Packet, SeqNumber)> {
        if !self.are_about(now) {
            return None;
        }
        let segment = &packet.segment;
        let cookie = segment.ack?.back_by(1);
        let peer_isn = segment.seq.back_by(1);
        let age = step(now).wrapping_sub(cookie.get() >> 27) & 31;
        let made = step(now).wrapping_sub(age);
        let mss = (cookie.get() >> 24 & 7) as usize;
        let ends = Ends::new(packet.destination, packet.source);
        if age >= STEPS || self.number(&ends, peer_isn, made, mss) != cookie {
            return None;
        }
        let mut syn = Segment::new(peer_isn, None);
        syn.flags = Flags::SYN;
        syn.window = segment.window;
        syn.options = Options {
            mss: Some(MSS[mss]),
            ..segment
                .options
                .timestamps
                .map(options_in)
                .unwrap_or_default()
        };
        let (source, destination) = (packet.source, packet.destination);
        let syn = Packet {
            source,
            destination,
            ecn: Ecn::NotCapable,
            segment: syn,
        };
        Some((syn, cookie))
    }

    fn number(&self, ends: &Ends, peer_isn: SeqNumber, step: u32, mss: usize) -> SeqNumber {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(b"s");
        hasher.write(ends.as_bytes());
        hasher.write(&peer_isn.get().to_be_bytes());
        hasher.write(&step.to_be_bytes());
        hasher.write(&mss.to_be_bytes());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "24 bits of 64, 3 bits of an index"
        )]
        let (hash, mss) = (hasher.finish() as u32, mss as u32);
        SeqNumber::new(step << 27 | mss << 24 | hash >> 8)
    }
}

/// Without the key.
impl core::fmt::Debug for SynCookies {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SynCookies(..)")
    }
}

fn step(now: Instant) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a clock wraps")]
    let steps = (now.as_millis() / (STEP.as_secs() * 1_000)) as u32;
    steps
}

/// Of the options in a SYN, those that a cookie brings back.
fn remembered(options: &Options) -> Options {
    let is_stamped = options.timestamps.is_some();
    Options {
        mss: options.mss,
        timestamps: options.timestamps,
        window_scale: options.window_scale.filter(|_| is_stamped),
        sack_permitted: options.sack_permitted && is_stamped,
        ..Options::default()
    }
}

/// The latest timestamp not after `value` whose low bits say what the peer has asked for.
fn with_options(value: u32, options: &Options) -> u32 {
    let scale = options.window_scale.map_or(NO_SCALE, |scale| scale.min(14));
    let bits = u32::from(scale) | if options.sack_permitted { SACK } else { 0 };
    let stamp = value >> OPTION_BITS << OPTION_BITS | bits;
    if timestamps::is_before(value, stamp) {
        stamp.wrapping_sub(1 << OPTION_BITS)
    } else {
        stamp
    }
}

/// What the echo of such a timestamp says.
fn options_in(stamp: Timestamps) -> Options {
    #[expect(clippy::cast_possible_truncation, reason = "four bits")]
    let scale = (stamp.echo & u32::from(NO_SCALE)) as u8;
    Options {
        window_scale: (scale != NO_SCALE).then_some(scale),
        sack_permitted: stamp.echo & SACK != 0,
        timestamps: Some(stamp),
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(options: Options) -> Packet {
        let mut segment = Segment::new(SeqNumber::new(u32::MAX), None);
        segment.flags = Flags::SYN;
        segment.options = options;
        Packet {
            source: "192.0.2.1:4000".parse().unwrap(),
            destination: "192.0.2.2:80".parse().unwrap(),
            ecn: Ecn::NotCapable,
            segment,
        }
    }

    /// The peer's answer to `answer`.
    fn ack(answer: &Packet) -> Packet {
        let isn = answer.segment.seq;
        let mut segment = Segment::new(answer.segment.ack.unwrap(), Some(isn.advanced_by(1)));
        segment.options.timestamps = answer.segment.options.timestamps.map(|stamp| Timestamps {
            value: stamp.echo + 1,
            echo: stamp.value,
        });
        Packet {
            source: answer.destination,
            destination: answer.source,
            ecn: Ecn::NotCapable,
            segment,
        }
    }

    /// RFC 4987 §3.6, and what comes back of the options.
    #[test]
    fn a_cookie_brings_back_what_the_syn_asked_for() {
        let stamp = Some(Timestamps { value: 7, echo: 0 });
        let now = Instant::from_millis(1_000_003);
        for (mss, scale, sack_permitted, timestamps, expected) in [
            (Some(1_460), Some(7), true, stamp, (1_460, Some(7), true)),
            (Some(1_459), None, true, stamp, (1_440, None, true)),
            (
                Some(9_000),
                Some(14),
                false,
                stamp,
                (8_960, Some(14), false),
            ),
            (Some(0), Some(0), false, stamp, (64, Some(0), false)),
            (None, None, false, None, (536, None, false)),
            (Some(1_460), Some(7), true, None, (1_460, None, false)),
        ] {
            let syn = syn(Options {
                mss,
                window_scale: scale,
                sack_permitted,
                timestamps,
                ..Options::default()
            });
            let mut cookies = SynCookies::new([9; 16]);
            let answer = cookies.answer(&Config::default(), 5, &syn, now);
            let has_scale = answer.segment.options.window_scale.is_some();
            assert_eq!(has_scale, expected.1.is_some(), "what is announced is kept");
            let (again, isn) = cookies.check(&ack(&answer), now).unwrap();
            assert_eq!(isn, answer.segment.seq);
            assert_eq!(again.segment.seq, syn.segment.seq);
            let options = again.segment.options;
            let got = (
                options.mss.unwrap(),
                options.window_scale,
                options.sack_permitted,
            );
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_timestamp_with_options_is_never_ahead() {
        for value in [0, 1, 31, 32, u32::MAX] {
            for scale in [None, Some(0), Some(14)] {
                let options = Options {
                    window_scale: scale,
                    sack_permitted: true,
                    ..Options::default()
                };
                let late = value.wrapping_sub(with_options(value, &options));
                assert!(late < 32, "{value} {late}");
            }
        }
    }

    #[test]
    fn no_other_number_end_key_or_time_is_taken() {
        let now = Instant::from_millis(64_000 * 31 + 5);
        let mut cookies = SynCookies::new([9; 16]);
        let config = Config::default();
        let good = ack(&cookies.answer(&config, 5, &syn(Options::default()), now));
        assert!(cookies.check(&good, now).is_some());
        assert!(cookies.check(&good, now + STEP).is_some());
        assert!(cookies.check(&good, now + STEP * 2).is_none(), "too old");
        let mut other = SynCookies::new([8; 16]);
        other.last_sent = Some(now);
        assert!(other.check(&good, now).is_none(), "another key");
        assert!(
            SynCookies::new([9; 16]).check(&good, now).is_none(),
            "none was sent"
        );
        for change in 1..2_000 {
            let mut wrong = good.clone();
            wrong.segment.ack = good.segment.ack.map(|ack| ack.advanced_by(change));
            assert!(cookies.check(&wrong, now).is_none(), "{change}");
            let mut wrong = good.clone();
            wrong.segment.seq = good.segment.seq.advanced_by(change);
            assert!(cookies.check(&wrong, now).is_none(), "{change}");
        }
        let mut wrong = good.clone();
        wrong.source.set_port(4_001);
        assert!(cookies.check(&wrong, now).is_none(), "another end");
    }
}
