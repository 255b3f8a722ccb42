//! What `packhorse shell` is told.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use packhorse_protocol::address::Address;

use super::get::{parse_name, refuse_silence};
use crate::environment::Environment;
use crate::exit::CommandError;
use crate::flags::ShellFlags;
use crate::trust::TrustSettings;

/// The settings of a shell.
#[derive(Debug)]
pub(crate) struct ShellSettings {
    /// Where it begins.
    pub(crate) address: Address,
    /// Who the server must be.
    pub(crate) trust: TrustSettings,
    /// What stands before the name of each file that is fetched.
    pub(crate) prefix: Vec<u8>,
    /// The directory to fetch into.
    pub(crate) destination: PathBuf,
}

impl ShellSettings {
    pub(super) fn resolve(
        flags: ShellFlags,
        address: Address,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let ShellFlags {
            address: _,
            prefix,
            destination,
            silence,
            trust_first_use,
        } = flags;
        refuse_silence(silence)?;
        let prefix = parse_prefix(prefix)?;
        Ok(Self {
            trust: TrustSettings::resolve([&address], trust_first_use, environment)?,
            address,
            prefix,
            destination,
        })
    }
}

/// What `--prefix` puts before names. Whether it is a name in the end shows with each file; that it
/// never can be shows now.
pub(super) fn parse_prefix(prefix: OsString) -> Result<Vec<u8>, CommandError> {
    let prefix = prefix.into_vec();
    parse_name(&[prefix.as_slice(), b"x"].concat())?;
    Ok(prefix)
}
