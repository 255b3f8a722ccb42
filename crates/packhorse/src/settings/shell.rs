//! What `packhorse shell` is told.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use packhorse_protocol::address::Address;

use super::get::parse_name;
use crate::address;
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
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let ShellFlags {
            address,
            prefix,
            destination,
            trust_first_use,
        } = flags;
        let prefix = prefix.into_vec();
        // Whether it is a name in the end shows with each file; that it never can be shows now.
        parse_name(&[prefix.as_slice(), b"x"].concat())?;
        let address = address::read(address.as_deref(), environment)?;
        Ok(Self {
            trust: TrustSettings::resolve(
                std::slice::from_ref(&address),
                trust_first_use,
                environment,
            )?,
            address,
            prefix,
            destination,
        })
    }
}
