//! What is said of the files and directories of this machine.

use std::io;

use packhorse_protocol::entry::{DirectoryInfo, FileInfo, Mode, Version, Xattr};
use packhorse_protocol::limits::XATTR_BYTES_MAX;
use packhorse_protocol::message::EntryOptions;

use crate::directory::Directory;
use crate::file::File;
use crate::source::{FileState, SourceError};
use crate::status::Status;

pub(crate) fn state_of(status: &Status) -> FileState {
    FileState {
        size: status.size,
        version: version_of(status),
        touched: status.modified.max(status.changed),
    }
}

pub(crate) fn file_info(
    file: &File,
    status: Status,
    options: EntryOptions,
) -> Result<FileInfo, SourceError> {
    let mut info = plain_info(&status, options);
    if options.xattrs {
        info.xattrs = xattrs(file.xattr_names()?, |name| file.xattr(name))?;
    }
    Ok(info)
}

pub(crate) fn directory_info(
    directory: &Directory,
    options: EntryOptions,
) -> Result<DirectoryInfo, SourceError> {
    let mut info = plain_directory_info(&directory.status()?);
    if options.xattrs {
        info.xattrs = xattrs(directory.xattr_names()?, |name| directory.xattr(name))?;
    }
    Ok(info)
}

/// All that is said of a file besides its extended attributes.
pub(crate) fn plain_info(status: &Status, options: EntryOptions) -> FileInfo {
    /// File systems keep the content of very small files where it does not count as occupied.
    const HOLE_BYTES_MIN: u64 = 4096;
    let occupied = status.blocks.saturating_mul(512);
    FileInfo {
        size: status.size,
        modified: status.modified,
        mode: Mode::from_bits(status.mode),
        version: version_of(status),
        sparse: occupied.saturating_add(HOLE_BYTES_MIN) <= status.size,
        link_group: match options.hard_links {
            true => link_group(status),
            false => 0,
        },
        xattrs: Vec::new(),
    }
}

pub(crate) fn plain_directory_info(status: &Status) -> DirectoryInfo {
    DirectoryInfo {
        modified: status.modified,
        mode: Mode::from_bits(status.mode),
        xattrs: Vec::new(),
    }
}

/// The first 16 bytes of BLAKE3 over device, inode, size and both times, each in little-endian bytes
/// of fixed width.
fn version_of(status: &Status) -> Version {
    let mut bytes = [0; 48];
    let times = [status.modified, status.changed];
    let seconds = times.map(|time| time.seconds().to_le_bytes());
    let nanoseconds = times.map(|time| time.nanoseconds().to_le_bytes());
    let fields: [&[u8]; 7] = [
        &status.device.to_le_bytes(),
        &status.inode.to_le_bytes(),
        &status.size.to_le_bytes(),
        &seconds[0],
        &nanoseconds[0],
        &seconds[1],
        &nanoseconds[1],
    ];
    let mut rest = bytes.as_mut_slice();
    for field in fields {
        let (here, behind) = rest.split_at_mut(field.len());
        here.copy_from_slice(field);
        rest = behind;
    }
    let hash = blake3::hash(&bytes);
    Version(
        *hash
            .as_bytes()
            .first_chunk()
            .expect("32 bytes are more than 16"),
    )
}

/// One number for all names of one file; 0 for a file with one name.
fn link_group(status: &Status) -> u64 {
    if status.links < 2 {
        return 0;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&status.device.to_le_bytes());
    hasher.update(&status.inode.to_le_bytes());
    let hash = hasher.finalize();
    let first = hash
        .as_bytes()
        .first_chunk()
        .expect("32 bytes are more than 8");
    u64::from_le_bytes(*first).max(1)
}

/// The attributes that belong to the user. Those of the system (capabilities, labels, access lists)
/// mean something on this machine only, and could grant rights on another.
fn xattrs(
    names: Vec<Vec<u8>>,
    value_of: impl Fn(&[u8]) -> io::Result<Option<Vec<u8>>>,
) -> Result<Vec<Xattr>, SourceError> {
    let mut names: Vec<_> = names
        .into_iter()
        .filter(|name| name.starts_with(b"user."))
        .collect();
    names.sort_unstable();
    let (mut xattrs, mut total) = (Vec::new(), 0);
    for name in names {
        // One that has gone since the names were read is not there.
        if let Some(value) = value_of(&name)? {
            total += name.len() + value.len();
            xattrs.push(Xattr { name, value });
        }
        if total > XATTR_BYTES_MAX {
            let detail = format!("its extended attributes have more than {XATTR_BYTES_MAX} bytes");
            return Err(io::Error::other(detail).into());
        }
    }
    Ok(xattrs)
}
