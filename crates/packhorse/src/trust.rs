//! Who a server must be, before anything is said to it.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use packhorse_client::connect::{ConnectError, Connector};
use packhorse_protocol::address::{Address, HostPort};
use packhorse_protocol::key::{Pin, Token};
use packhorse_transport::dial::{Dial, DialClear, DialError, Stage};
use packhorse_transport::kernel::{ClearDialer, KernelDialer};
use packhorse_transport::tls::{AnyServerTls, ClientStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::address;
use crate::environment::Environment;
use crate::exit::{CommandError, Exit};
use crate::hosts::Hosts;
use crate::output::say;
use crate::settings::TlsSettings;
use crate::state::State;
use crate::text::{Text, trust as words};

/// What decides over servers whose address has no key.
#[derive(Debug, Clone)]
pub(crate) struct TrustSettings {
    /// Where remembered servers are.
    pub(crate) state: State,
    /// The right to read from them.
    pub(crate) token: Option<Token>,
    /// Whoever answers the first time is taken for the right one.
    pub(crate) first_use: bool,
    /// Someone is there to be asked.
    pub(crate) can_ask: bool,
}

/// A server of which it is settled who it must be.
pub(crate) struct Server {
    /// Reaches it, and nobody else.
    pub(crate) connector: Arc<Connector<KernelDialer>>,
    place: HostPort,
    origin: PinOrigin,
    state: State,
}

/// Where the pin comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PinOrigin {
    Address,
    Remembered,
    /// Accepted just now; to be remembered once the server has also shown that it accepts us.
    FirstUse(Pin),
}

impl TrustSettings {
    /// Settles them for `addresses`.
    ///
    /// # Errors
    /// A key in the environment that is none, if it is needed.
    pub(crate) fn resolve<'a>(
        addresses: impl IntoIterator<Item = &'a Address>,
        first_use: bool,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let is_needed = addresses.into_iter().any(|address| address.key.is_none());
        let token = match is_needed {
            true => address::token(environment)?,
            false => None,
        };
        Ok(Self {
            state: State::new(environment.state_directory.clone()),
            token,
            first_use,
            can_ask: environment.can_ask,
        })
    }
}

/// Settles who the server at `address` must be: whoever its key says, else who is remembered there,
/// else who is there now, if a person or the settings accept that.
///
/// # Errors
/// Exit 3 if nobody is there, 4 if who is there is not accepted.
pub(crate) async fn meet(
    address: &Address,
    settings: &TrustSettings,
) -> Result<Server, CommandError> {
    let place = address.place.clone();
    let hosts = Hosts::new(&settings.state);
    let (origin, pin) = match &address.key {
        Some(key) => (PinOrigin::Address, key.pin),
        None => match hosts.find(&place)? {
            Some(pin) => (PinOrigin::Remembered, pin),
            None => {
                let pin = accept_first_use(&place, settings).await?;
                (PinOrigin::FirstUse(pin), pin)
            }
        },
    };
    let token = match &address.key {
        Some(key) => key.token.clone(),
        None => settings.token.clone(),
    };
    let dialer = KernelDialer::new(place.clone(), Some(pin));
    Ok(Server {
        connector: Connector::new(dialer, token),
        place,
        origin,
        state: settings.state.clone(),
    })
}

/// Dials with TLS someone who need not be a Packhorse server: whoever `tls` says, else who is
/// remembered there, else who is there now, if a person or the settings accept that.
///
/// # Errors
/// Exit 3 if nobody is there, 4 if who is there is not accepted.
pub(crate) async fn dial_tls(
    dialer: ClearDialer,
    tls: &TlsSettings,
    time: Duration,
) -> Result<(ClientStream<TcpStream>, SocketAddr), CommandError> {
    let place = dialer.place().clone();
    let hosts = Hosts::of_tls(&tls.trust.state);
    let expected = match tls.pin {
        Some(pin) => Some(pin),
        None => hosts.find(&place)?,
    };
    let dialling = async {
        let (raw, peer) = dialer.dial_clear().await?;
        let (stream, pin) = AnyServerTls::new(expected).handshake(raw, &place).await?;
        Ok((stream, pin, peer))
    };
    let dialled = timeout(time, dialling).await.unwrap_or_else(|_| {
        Err(DialError::TimedOut {
            place: place.clone(),
            stage: Stage::Connect,
            after: time,
        })
    });
    let (stream, pin, peer) = dialled.map_err(|error| {
        let exit = match error.is_refusal_of_trust() {
            true => Exit::Refused,
            false => Exit::NoConnection,
        };
        match error {
            DialError::NotPackhorse { place, source } => {
                CommandError::new(exit, words::no_tls(place, Text::from(source)))
            }
            error => CommandError::new(exit, error),
        }
    })?;
    if expected.is_none() {
        approve(&place, pin, &tls.trust)?;
        hosts.remember(&place, pin)?;
    }
    Ok((stream, peer))
}

impl Server {
    /// A conversation with the server went well: from now on it is remembered, if it was accepted
    /// on first use.
    ///
    /// # Errors
    /// It cannot be remembered.
    pub(crate) fn handle_success(&mut self) -> Result<(), CommandError> {
        if let PinOrigin::FirstUse(pin) = self.origin {
            Hosts::new(&self.state).remember(&self.place, pin)?;
            self.origin = PinOrigin::Remembered;
        }
        Ok(())
    }

    /// What a failed conversation means for the command, with advice.
    pub(crate) fn explain(&self, error: &ConnectError) -> CommandError {
        if !error.is_refusal_of_trust() {
            return CommandError::new(Exit::NoConnection, error);
        }
        let is_other = matches!(error, ConnectError::Dial(DialError::WrongIdentity { .. }));
        let error = Text::from(error);
        let error = match self.origin {
            PinOrigin::Remembered if is_other => {
                let hosts = Hosts::new(&self.state).file_name();
                words::not_the_remembered(&error, &hosts)
            }
            PinOrigin::Address if is_other => words::not_the_addressed(&error),
            _ => error,
        };
        CommandError::new(Exit::Refused, error)
    }
}

/// Learns who is at `place`, and has that accepted or not.
async fn accept_first_use(place: &HostPort, settings: &TrustSettings) -> Result<Pin, CommandError> {
    let dialled = KernelDialer::new(place.clone(), None).dial().await;
    let pin = match dialled {
        Ok(dialled) => dialled.pin,
        Err(error) if error.is_refusal_of_trust() => {
            return Err(CommandError::new(Exit::Refused, error));
        }
        Err(error) => return Err(CommandError::new(Exit::NoConnection, error)),
    };
    approve(place, pin, settings).map(|()| pin)
}

/// Has `pin`, of which nothing is known, accepted or not.
fn approve(place: &HostPort, pin: Pin, settings: &TrustSettings) -> Result<(), CommandError> {
    if settings.first_use {
        say(words::accepted_on_first_use(place, pin));
        return Ok(());
    }
    if !settings.can_ask {
        let message = words::not_known(place, pin);
        return Err(CommandError::new(Exit::Refused, message));
    }
    say(words::stranger(place, pin));
    match ask(&mut io::stdin().lock(), &mut io::stderr()) {
        true => Ok(()),
        false => Err(CommandError::new(Exit::Refused, words::not_accepted())),
    }
}

/// Asks until the answer is yes or no; the end of input is a no.
fn ask(input: &mut impl BufRead, output: &mut impl Write) -> bool {
    let question = words::is_it_the_one().to_string();
    loop {
        if output
            .write_all(question.as_bytes())
            .and_then(|()| output.flush())
            .is_err()
        {
            return false;
        }
        let mut answer = String::new();
        if !matches!(input.read_line(&mut answer), Ok(1..)) {
            return false;
        }
        match answer.trim().to_ascii_lowercase().as_str() {
            "yes" | "y" | "是" => return true,
            "no" | "n" | "否" => return false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        let cases = [
            ("yes\n", true),
            (" Y \n", true),
            ("no\n", false),
            ("\n\nmaybe\nyes\n", true),
            ("\nn\n", false),
            ("是\n", true),
            ("否\nyes\n", false),
            ("ye", false),
            ("", false),
        ];
        for (answers, expected) in cases {
            let mut asked = Vec::new();
            assert_eq!(
                ask(&mut answers.as_bytes(), &mut asked),
                expected,
                "{answers:?}"
            );
            assert!(!asked.is_empty());
        }
    }
}
