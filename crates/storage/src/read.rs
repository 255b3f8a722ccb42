//! Reading a file of a source, group by group or, if it is small, whole.

use packhorse_protocol::content::{GroupHash, GroupIndex, group_length};
use packhorse_protocol::entry::{FileInfo, Refusal, Timestamp};

use crate::source::{SourceError, SourceFile};

/// How often a small file is read again because it changed meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// Appends to `buffer` the content of `group`, in a file that has `size` bytes, and returns its hash.
///
/// # Errors
/// `Changed` if the file has become too short for the group; otherwise why it cannot be read. The
/// buffer is left as it was.
pub fn read_group(
    file: &dyn SourceFile,
    group: GroupIndex,
    size: u64,
    buffer: &mut Vec<u8>,
) -> Result<GroupHash, SourceError> {
    let start = buffer.len();
    let length = group_length(group, size);
    match file.append_at(group.offset(), length, buffer) {
        Ok(count) if count == length && length > 0 => {
            Ok(GroupHash::of(group, size, &buffer[start..]))
        }
        unusable => {
            buffer.truncate(start);
            Err(match unusable {
                Ok(_) => Refusal::Changed.into(),
                Err(error) => error,
            })
        }
    }
}

/// Appends to `buffer` the whole content of a file of at most `bytes_max` bytes, and returns what is
/// said of the file in that state.
///
/// The state before and after the reading is the same. Where that proves little because the file is
/// not settled at `now`, it was read twice to the same result.
///
/// # Errors
/// `TooLarge`; `Changed` if it changes as fast as it is read; otherwise why it cannot be read. The
/// buffer is left as it was.
pub fn read_small(
    file: &dyn SourceFile,
    bytes_max: u64,
    now: Timestamp,
    buffer: &mut Vec<u8>,
) -> Result<FileInfo, SourceError> {
    let start = buffer.len();
    let read = read_unchanged(file, bytes_max, now, buffer);
    if read.is_err() {
        buffer.truncate(start);
    }
    read
}

fn read_unchanged(
    file: &dyn SourceFile,
    bytes_max: u64,
    now: Timestamp,
    buffer: &mut Vec<u8>,
) -> Result<FileInfo, SourceError> {
    let start = buffer.len();
    let mut before = file.opened();
    for _ in 0..ATTEMPTS_MAX {
        buffer.truncate(start);
        let is_whole = append(file, before.size, bytes_max, buffer)?;
        let is_same = before.is_settled(now) || {
            let mut again = Vec::new();
            append(file, before.size, bytes_max, &mut again)? == is_whole
                && again == buffer[start..]
        };
        let info = file.info()?;
        if is_whole && is_same && info.version == before.version {
            return Ok(info);
        }
        before = file.state()?;
    }
    Err(Refusal::Changed.into())
}

/// Appends the first `size` bytes; whether the file has that many.
fn append(
    file: &dyn SourceFile,
    size: u64,
    bytes_max: u64,
    buffer: &mut Vec<u8>,
) -> Result<bool, SourceError> {
    let start = buffer.len();
    let length = match usize::try_from(size) {
        Ok(length) if size <= bytes_max => length,
        _ => return Err(Refusal::TooLarge.into()),
    };
    buffer.resize(start + length, 0);
    Ok(file.read_at(0, &mut buffer[start..])? == length)
}
