//! What `packhorse bench` is told.

use std::path::PathBuf;
use std::time::Duration;

use packhorse_protocol::address::Address;

use crate::address::{Target, read_target};
use crate::environment::Environment;
use crate::exit::CommandError;
use crate::flags::BenchFlags;
use crate::text::bench;
use crate::trust::TrustSettings;

/// The settings of a `bench`.
#[derive(Debug)]
pub(crate) struct BenchSettings {
    /// The server, and what it is to read.
    pub(crate) address: Address,
    /// Who the server must be.
    pub(crate) trust: TrustSettings,
    /// A directory on the disk that is written to.
    pub(crate) destination: PathBuf,
    /// How long the path is measured, and each of the disks.
    pub(crate) time: Duration,
    /// Connections at once; as many as a download would have if not told.
    pub(crate) connections: Option<usize>,
    /// Print lines of JSON.
    pub(crate) json: bool,
    /// Colours are wanted.
    pub(crate) has_colours: bool,
    /// More than ASCII can be drawn.
    pub(crate) shows_unicode: bool,
}

impl BenchSettings {
    pub(super) fn resolve(
        flags: BenchFlags,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let BenchFlags {
            address,
            destination,
            time,
            connections,
            json,
            trust_first_use,
        } = flags;
        let Target::Keyed(address) = read_target(address.as_deref(), environment)? else {
            return Err(CommandError::usage(bench::no_plain_mode()));
        };
        Ok(Self {
            trust: TrustSettings::resolve([&address], trust_first_use, environment)?,
            address,
            destination,
            time: time.duration(),
            connections,
            json,
            has_colours: environment.has_colours,
            shows_unicode: environment.shows_unicode,
        })
    }
}
