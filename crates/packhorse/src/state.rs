//! The state directory: this machine's identity, and what is remembered of others.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::exit::{CommandError, Exit, OrExit};
use crate::text::machine;

/// Where state lives; nothing is made before it is needed.
#[derive(Debug, Clone)]
pub(crate) struct State {
    directory: Option<PathBuf>,
}

impl State {
    /// State in `directory`; `None` if nobody said where.
    #[must_use]
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// The file `name` in the state directory, which may not exist yet.
    ///
    /// # Errors
    /// Nobody said where state lives.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf, CommandError> {
        Ok(self.directory()?.join(name))
    }

    /// The file `name` in the state directory, which is made if it is missing, for its owner only.
    ///
    /// # Errors
    /// Nobody said where state lives, or it cannot be made there.
    pub(crate) fn file_in_place(&self, name: &str) -> Result<PathBuf, CommandError> {
        let directory = self.directory()?;
        make_private(directory).or_exit(Exit::LocalIo, || {
            machine::no_state_directory(directory.display())
        })?;
        Ok(directory.join(name))
    }

    fn directory(&self) -> Result<&Path, CommandError> {
        self.directory
            .as_deref()
            .ok_or_else(|| CommandError::new(Exit::LocalIo, machine::no_place_for_state()))
    }
}

/// One that is there already may be someone's own directory, whose mode is not ours to change; each
/// file in it has a mode of its own.
fn make_private(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn the_directory_is_made_for_its_owner_when_it_is_needed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        let mode = || fs::metadata(&directory).unwrap().mode() & 0o777;
        let state = State::new(Some(directory.clone()));
        assert_eq!(state.file("x").unwrap(), directory.join("x"));
        assert!(!directory.exists());
        state.file_in_place("x").unwrap();
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        state.file_in_place("x").unwrap();
        assert_eq!(mode(), 0o755);
        fs::remove_dir(&directory).unwrap();
        fs::write(&directory, "").unwrap();
        assert!(state.file_in_place("x").is_err());
        assert!(State::new(None).file("x").is_err());
    }
}
