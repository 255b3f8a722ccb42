//! What `packhorse talk` is told.

use std::time::Duration;

use packhorse_protocol::address::{Address, AddressError, HostPort};
use packhorse_protocol::key::Pin;
use packhorse_transport::kernel::DIAL_TIMEOUT;

use crate::address;
use crate::environment::Environment;
use crate::exit::CommandError;
use crate::flags::TalkFlags;
use crate::listen_place::ListenPlace;
use crate::text;
use crate::time_span::TimeSpan;
use crate::trust::TrustSettings;

/// The settings of a conversation.
#[derive(Debug)]
pub(crate) struct TalkSettings {
    /// Whom to dial.
    pub(crate) place: HostPort,
    /// From where.
    pub(crate) bind: Option<ListenPlace>,
    /// Who it must be, if TLS is to show it.
    pub(crate) tls: Option<TlsSettings>,
    /// How long a dial may take.
    pub(crate) dial_time: Duration,
    /// How long nothing may come or go.
    pub(crate) idle_time: Option<Duration>,
    /// Print what comes as hexadecimal numbers.
    pub(crate) hex: bool,
}

/// Who is to be at the other end.
#[derive(Debug)]
pub(crate) struct TlsSettings {
    /// Who it must be.
    pub(crate) pin: Option<Pin>,
    /// What decides where that is not known.
    pub(crate) trust: TrustSettings,
}

impl TalkSettings {
    pub(super) fn resolve(
        flags: TalkFlags,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let TalkFlags {
            place,
            bind,
            tls,
            timeout,
            hex,
            trust_first_use,
        } = flags;
        let (place, pin) = match place.strip_prefix("ph://") {
            Some(_) if !tls => {
                return Err(CommandError::usage(text::talk::key_means_tls()));
            }
            Some(_) => {
                let Address { key, place, .. } = address::read(Some(&place), environment)?;
                (place, key.map(|key| key.pin))
            }
            None => {
                let place = HostPort::parse(&place, None).map_err(|error| match error {
                    AddressError::Brackets(_) => CommandError::usage(error),
                    _ => CommandError::usage(text::address::not_someone()),
                });
                (place?, None)
            }
        };
        let timeout = timeout.map(TimeSpan::duration);
        Ok(Self {
            place,
            bind,
            tls: match tls {
                true => Some(TlsSettings {
                    pin,
                    trust: TrustSettings::resolve([], trust_first_use, environment)?,
                }),
                false => None,
            },
            dial_time: timeout.unwrap_or(DIAL_TIMEOUT),
            idle_time: timeout,
            hex,
        })
    }
}
