//! What `packhorse ls` is told.

use packhorse_protocol::address::Address;

use crate::address;
use crate::environment::Environment;
use crate::exit::CommandError;
use crate::flags::LsFlags;
use crate::trust::TrustSettings;

/// The settings of an `ls`.
#[derive(Debug)]
pub(crate) struct LsSettings {
    /// What to list.
    pub(crate) address: Address,
    /// Who the server must be.
    pub(crate) trust: TrustSettings,
    /// How it is shown.
    pub(crate) format: LsFormat,
    /// Enter directories.
    pub(crate) recursive: bool,
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LsFormat {
    /// A name a line.
    Names,
    /// With permissions, size and time.
    Long,
    /// A JSON object a line.
    Json,
}

impl LsSettings {
    pub(super) fn resolve(flags: LsFlags, environment: &Environment) -> Result<Self, CommandError> {
        let LsFlags {
            address,
            long,
            recursive,
            json,
            trust_first_use,
        } = flags;
        let address = address::read(address.as_deref(), environment)?;
        Ok(Self {
            trust: TrustSettings::resolve([&address], trust_first_use, environment)?,
            address,
            format: match (json, long) {
                (true, _) => LsFormat::Json,
                (false, true) => LsFormat::Long,
                (false, false) => LsFormat::Names,
            },
            recursive,
        })
    }
}
