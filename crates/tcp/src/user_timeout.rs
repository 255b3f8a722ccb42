//! How long unacknowledged data is kept trying (RFC 5482).

use core::time::Duration;

use crate::config::UserTimeout;
use crate::wire::UserTimeoutOption;

/// The time-out that the wishes of both sides give (RFC 5482 §3.1).
///
/// `min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT))`, if it may change.
pub(crate) fn agree(settings: &UserTimeout, peer: Option<UserTimeoutOption>) -> Duration {
    match peer.map(duration) {
        Some(peer) if settings.changeable && !peer.is_zero() => settings
            .local
            .max(peer)
            .max(settings.lower)
            .min(settings.upper.max(settings.lower)),
        _ => settings.local,
    }
}

/// What to tell the peer, if anything.
pub(crate) fn option(settings: &UserTimeout) -> Option<UserTimeoutOption> {
    if !settings.advertise {
        return None;
    }
    let seconds = settings.local.as_secs().max(1);
    let (minutes, count) = if seconds <= 0x7fff {
        (false, seconds)
    } else {
        (true, (seconds / 60).min(0x7fff))
    };
    let count = u16::try_from(count).ok()?;
    Some(UserTimeoutOption { minutes, count })
}

fn duration(option: UserTimeoutOption) -> Duration {
    let unit = if option.minutes { 60 } else { 1 };
    Duration::from_secs(u64::from(option.count) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5482 §3.1.
    #[test]
    fn both_wishes_and_two_limits() {
        let settings = UserTimeout {
            local: Duration::from_secs(200),
            advertise: true,
            changeable: true,
            lower: Duration::from_secs(100),
            upper: Duration::from_secs(1_000),
        };
        for (changeable, peer, seconds) in [
            (true, None, 200),
            (true, Some((false, 50)), 200),
            (true, Some((false, 300)), 300),
            (true, Some((true, 100)), 1_000),
            (true, Some((true, 0)), 200),
            (false, Some((false, 300)), 200),
        ] {
            let settings = UserTimeout {
                changeable,
                ..settings
            };
            let peer = peer.map(|(minutes, count)| UserTimeoutOption { minutes, count });
            assert_eq!(
                agree(&settings, peer),
                Duration::from_secs(seconds),
                "{peer:?}"
            );
        }
    }

    #[test]
    fn long_time_outs_are_told_in_minutes() {
        for (seconds, minutes, count) in
            [(0, false, 1), (32_767, false, 32_767), (32_768, true, 546)]
        {
            let settings = UserTimeout {
                local: Duration::from_secs(seconds),
                advertise: true,
                ..UserTimeout::default()
            };
            assert_eq!(
                option(&settings),
                Some(UserTimeoutOption { minutes, count })
            );
        }
        assert_eq!(option(&UserTimeout::default()), None);
    }
}
