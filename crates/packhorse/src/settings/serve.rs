//! What `packhorse serve` is told.

use std::path::PathBuf;
use std::time::Duration;

use packhorse_server::Limits;

use crate::environment::Environment;
use crate::flags::{LogFormat, ServeFlags};
use crate::listen_place::ListenPlace;
use crate::rate::Rate;
use crate::state::State;
use crate::time_span::TimeSpan;

/// The settings of a server.
#[derive(Debug)]
pub(crate) struct ServeSettings {
    /// What is served; at least one path.
    pub(crate) paths: Vec<PathBuf>,
    /// Where it listens.
    pub(crate) listen: ListenPlace,
    /// Who may read.
    pub(crate) access: AccessSettings,
    /// Where the identity is kept; in the state directory if nowhere else.
    pub(crate) identity: Option<PathBuf>,
    /// Where state lives.
    pub(crate) state: State,
    /// End after one complete transfer.
    pub(crate) once: bool,
    /// The limits.
    pub(crate) limits: Limits,
    /// For all clients together.
    pub(crate) rate_limit: Option<Rate>,
    /// How the kernel is to control congestion.
    pub(crate) congestion: Option<String>,
    /// For running transfers at the end.
    pub(crate) grace: Duration,
    /// How the log is written.
    pub(crate) log_format: LogFormat,
    /// The files of a certificate for browsers, and of its key.
    pub(crate) web_certificate: Option<(PathBuf, PathBuf)>,
    /// Answer HTTP without TLS too.
    pub(crate) http: bool,
    /// Serve clear text that is not HTTP, to anyone.
    pub(crate) plain: bool,
    /// Print a QR code.
    pub(crate) qr: bool,
    /// In colours, where there are some.
    pub(crate) has_colours: bool,
}

/// Who may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccessSettings {
    /// Anyone.
    Open,
    /// Who has a token made at this start.
    FreshToken,
    /// Who has the token in this file.
    TokenIn(PathBuf),
}

impl ServeSettings {
    pub(super) fn resolve(flags: ServeFlags, environment: &Environment) -> Self {
        let ServeFlags {
            mut paths,
            listen,
            open,
            key_file,
            identity,
            once,
            rate_limit,
            congestion,
            grace,
            log_format,
            cert,
            cert_key,
            http,
            plain,
            qr,
            max_clients,
            max_unproven,
            greeting_timeout,
            idle_timeout,
            stall_timeout,
        } = flags;
        if paths.is_empty() {
            paths.push(".".into());
        }
        Self {
            paths,
            listen: listen.unwrap_or_default(),
            access: match key_file {
                _ if open => AccessSettings::Open,
                Some(path) => AccessSettings::TokenIn(path),
                None => AccessSettings::FreshToken,
            },
            identity,
            state: State::new(environment.state_directory.clone()),
            once,
            limits: Limits {
                clients_max: max_clients,
                unproven_max: max_unproven,
                greeting_time: at_least_a_moment(greeting_timeout),
                idle_time: at_least_a_moment(idle_timeout),
                stall_time: at_least_a_moment(stall_timeout),
                ..Limits::default()
            },
            rate_limit,
            congestion,
            grace: grace.duration(),
            log_format,
            web_certificate: cert.zip(cert_key),
            http,
            plain,
            qr,
            has_colours: environment.has_colours,
        }
    }
}

/// A limit of nothing would turn everyone away.
fn at_least_a_moment(span: TimeSpan) -> Duration {
    span.duration().max(Duration::from_millis(1))
}
