//! Data of a large file that outlives the run which fetched it.
//!
//! In the job's folder it lies under a name that is made from the path where the file will appear:
//! `part-` and 32 hexadecimal digits. So the next run finds it without a list, which would have to
//! be written, made durable and believed. What is in it is only ever taken for a guess: see
//! [`LargeFile::found`](super::LargeFile::found). Why no journal: decision 7.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use packhorse_protocol::content::GroupRange;
use packhorse_protocol::entry::Mode;
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_protocol::path::{Name, RelativePath};

use crate::directory::Directory;
use crate::file::File;
use crate::status::{Kind, NotRegular};

use super::job::{JobFolder, Unfinished};
use super::metadata::OWNER_FILE;

const PREFIX: &[u8] = b"part-";
const DIGITS: usize = 32;

/// What of a job is half done, for its next run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HalfDoneKept {
    /// Files.
    pub files: u64,
    /// What has been written of them, in bytes, as far as the file system can tell it from holes.
    pub bytes: u64,
}

/// A file that is being written, and what there was of it.
pub(super) struct HalfDone {
    pub(super) unfinished: Unfinished,
    pub(super) file: File,
    /// An earlier run of the job, or an earlier attempt of this one, has left something.
    pub(super) is_found: bool,
}

impl JobFolder {
    /// Opens what there is of the file that will appear at `path`; something empty if there is
    /// nothing, or nothing that can be used.
    pub(super) fn open_half_done(self: &Arc<Self>, path: &RelativePath) -> io::Result<HalfDone> {
        if let Some(unfinished) = self.adopt(half_done_name(path)) {
            let (folder, name) = (unfinished.directory(), unfinished.name());
            let opened = match open_found(folder, name) {
                Ok(Some(file)) => Ok((file, true)),
                Ok(None) => folder
                    .create_file(name, Mode::from_bits(OWNER_FILE))
                    .map(|file| (file, false)),
                Err(error) => Err(error),
            };
            match opened {
                Ok((file, is_found)) => {
                    return Ok(HalfDone {
                        unfinished,
                        file,
                        is_found,
                    });
                }
                // What is there is left to whoever put it there.
                Err(_) => unfinished.leave(),
            }
        }
        // A file that no later run will look for.
        let (unfinished, file) = self.create_file(Mode::from_bits(OWNER_FILE))?;
        Ok(HalfDone {
            unfinished,
            file,
            is_found: false,
        })
    }
}

/// Whether `name` is one under which data outlives a run.
pub(super) fn is_half_done(name: &Name) -> bool {
    let digits = name.as_bytes().strip_prefix(PREFIX);
    digits.is_some_and(|digits| {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.len() == DIGITS && digits.iter().all(is_digit)
    })
}

/// The groups of a `file` of `size` bytes in which anything was ever written, in runs. Where the
/// file system knows nothing of holes: all of them.
pub(super) fn groups_with_data(file: &File, size: u64) -> io::Result<Vec<GroupRange>> {
    let mut runs: Vec<GroupRange> = Vec::new();
    let mut at = 0;
    while at < size
        && let Some(data) = file.next_data(at)?
        && data.start < size
    {
        let run = groups_around(&data, size);
        // The next run of data may begin in the group in which this one ended.
        at = run.end().saturating_mul(GROUP_BYTES as u64);
        match runs.last_mut() {
            Some(last) if last.end() == run.start() => {
                *last = GroupRange::new(last.start(), run.end()).unwrap_or(*last);
            }
            _ => runs.push(run),
        }
    }
    Ok(runs)
}

/// How much of `file` is data, in bytes.
pub(super) fn data_bytes(file: &File) -> io::Result<u64> {
    let (size, mut at, mut bytes) = (file.opened().size, 0, 0);
    while at < size
        && let Some(data) = file.next_data(at)?
        && data.start < size
    {
        at = data.end.clamp(data.start + 1, size);
        bytes += at - data.start;
    }
    Ok(bytes)
}

fn groups_around(data: &Range<u64>, size: u64) -> GroupRange {
    let group = GROUP_BYTES as u64;
    let end = data.end.clamp(data.start + 1, size).div_ceil(group);
    GroupRange::new(data.start / group, end).unwrap_or(GroupRange::EMPTY)
}

/// The name under which what is there of the file that will appear at `path` outlives a run.
pub(super) fn half_done_name(path: &RelativePath) -> Name {
    let digits = blake3::hash(path.as_bytes()).to_hex();
    Name::parse(&[PREFIX, &digits.as_bytes()[..DIGITS]].concat())
        .expect("a word and hexadecimal digits are a name")
}

/// Opens what is called `name`; `None` if there is nothing, or was nothing of ours.
fn open_found(folder: &Directory, name: &Name) -> io::Result<Option<File>> {
    let found = match folder.status_of(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    // A file with another name beside this one would change with it: the run may have ended
    // between giving the file its final name and taking this one away.
    if found.kind != Kind::File || found.links > 1 {
        match found.kind {
            Kind::Directory => folder.remove_directory(name)?,
            _ => folder.remove_file(name)?,
        }
        return Ok(None);
    }
    if found.mode & OWNER_FILE != OWNER_FILE {
        // It has its final mode already, which may allow no writing.
        folder.set_mode_of(name, Mode::from_bits(OWNER_FILE))?;
    }
    match folder.open_for_update(name) {
        Ok(file) => Ok(Some(file)),
        Err(error) if NotRegular::of(&error).is_some() => Ok(None),
        Err(error) => Err(error),
    }
}
