//! What a file or directory gets besides its content, before it has its name or when it is done.

use std::io;

use packhorse_protocol::entry::{FileInfo, Mode, Xattr};
use packhorse_protocol::path::RelativePath;

use crate::directory::Directory;
use crate::file::File;

use super::job::Unfinished;
use super::{DestinationOptions, EntryError};

/// The only extended attributes taken from a peer: the system gives others a meaning, such as the
/// privileges of a program.
const XATTR_PREFIX: &[u8] = b"user.";

/// What the owner of a file needs to read and write it, and to set its attributes.
pub(super) const OWNER_FILE: u32 = 0o600;

/// The mode to create a small file with, so that it need not be changed afterwards if it can be
/// avoided.
pub(super) fn mode_at_creation(options: &DestinationOptions, info: &FileInfo) -> Mode {
    // Attributes can only be set on a file that is writable.
    if options.xattrs && !info.xattrs.is_empty() {
        Mode::from_bits(OWNER_FILE)
    } else {
        info.mode
    }
}

/// Gives a complete file that has no name yet all that `info` says, and makes it durable if that
/// was asked for, or if only that shows that it was written.
pub(super) fn complete_file(
    options: &DestinationOptions,
    unfinished: &Unfinished,
    file: &File,
    path: impl Fn() -> RelativePath,
    info: &FileInfo,
) -> Result<(), EntryError> {
    let failed = |action| {
        let path = &path;
        move |error| EntryError::new(action, &path(), error)
    };
    if options.xattrs {
        set_xattrs(&info.xattrs, |name, value| file.set_xattr(name, value))
            .map_err(failed("set the extended attributes of"))?;
    }
    if file.opened().mode != info.mode.bits() {
        file.set_mode(info.mode)
            .map_err(failed("set the mode of"))?;
    }
    file.set_times(info.modified)
        .map_err(failed("set the time of"))?;
    sync_file(options, unfinished, file, path)
}

/// Makes a complete file durable if that was asked for, or if only that shows that it was written.
pub(super) fn sync_file(
    options: &DestinationOptions,
    unfinished: &Unfinished,
    file: &File,
    path: impl Fn() -> RelativePath,
) -> Result<(), EntryError> {
    match options.durable || unfinished.folder().tells_late() {
        true => file.sync().map_err(|error| sync_failed(&path(), error)),
        false => Ok(()),
    }
}

pub(super) fn set_directory_xattrs(directory: &Directory, xattrs: &[Xattr]) -> io::Result<()> {
    set_xattrs(xattrs, |name, value| directory.set_xattr(name, value))
}

/// Makes the names in `directory` durable, on behalf of the entry `path`.
pub(super) fn sync_directory(directory: &Directory, path: &RelativePath) -> Result<(), EntryError> {
    directory.sync().map_err(|error| sync_failed(path, error))
}

fn sync_failed(path: &RelativePath, source: io::Error) -> EntryError {
    match EntryError::new("write", path, source) {
        EntryError::Io { path, source, .. } => EntryError::SyncFailed { path, source },
        no_room => no_room,
    }
}

/// Gives a file that is here the attributes `wanted` and no others, of those that are taken from a
/// peer at all.
pub(super) fn mend_xattrs(file: &File, wanted: &[Xattr]) -> io::Result<()> {
    let wanted = || (wanted.iter()).filter(|xattr| xattr.name.starts_with(XATTR_PREFIX));
    let names = file.xattr_names()?;
    let surplus = names.iter().filter(|name| {
        name.starts_with(XATTR_PREFIX) && wanted().all(|xattr| xattr.name != **name)
    });
    for name in surplus {
        file.remove_xattr(name)?;
    }
    for Xattr { name, value } in wanted() {
        if file.xattr(name)?.as_ref() != Some(value) {
            file.set_xattr(name, value)?;
        }
    }
    Ok(())
}

fn set_xattrs(xattrs: &[Xattr], set: impl Fn(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
    xattrs
        .iter()
        .filter(|xattr| xattr.name.starts_with(XATTR_PREFIX))
        .try_for_each(|Xattr { name, value }| set(name, value))
}
