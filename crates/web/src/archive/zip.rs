//! The records of a ZIP file without compression (PKWARE's APPNOTE 6.3.10).

use jiff::tz::TimeZone;

use super::entry::{Entry, EntryKind};

/// What fits into 32 bits; this value itself says that the true one stands elsewhere.
const LARGE: u64 = 0xffff_ffff;
const MANY: u64 = 0xffff;

/// Bit 3: the checksum follows the content. Bit 11: the name is UTF-8.
const CHECKSUM_FOLLOWS: u16 = 1 << 3;
const NAME_IS_UTF8: u16 = 1 << 11;

/// 2.0 for directories, 4.5 for 64-bit sizes.
const NEEDS_2_0: u16 = 20;
const NEEDS_4_5: u16 = 45;

/// Made by 4.5 on Unix: so the upper half of the attributes is a mode.
const MADE_BY: u16 = (3 << 8) | NEEDS_4_5;

/// What is said of one entry.
pub(super) struct Header {
    name: Vec<u8>,
    is_file: bool,
    size: u64,
    mode: u32,
    seconds: i64,
    offset: u64,
}

impl Header {
    /// For an entry whose first byte stands at `offset`.
    pub(super) fn new(entry: &Entry, name: Vec<u8>, offset: u64) -> Self {
        let (is_file, mode) = match &entry.kind {
            EntryKind::File { mode, .. } => (true, 0o100_000 | mode.bits()),
            EntryKind::Directory { mode } => (false, 0o040_000 | mode.bits()),
            EntryKind::Link { .. } => (false, 0o120_777),
        };
        Self {
            name,
            is_file,
            size: entry.size(),
            mode,
            seconds: entry.modified.seconds(),
            offset,
        }
    }

    /// All that stands before the central directory for it; nothing for the nameless root.
    pub(super) fn length(&self) -> u64 {
        (self.local().len() + self.descriptor(0).len()) as u64 + self.size
    }

    fn is_large(&self) -> bool {
        self.size >= LARGE
    }

    fn flags(&self) -> u16 {
        let follows = if self.is_file { CHECKSUM_FOLLOWS } else { 0 };
        let utf8 = match std::str::from_utf8(&self.name) {
            Ok(_) => NAME_IS_UTF8,
            Err(_) => 0,
        };
        follows | utf8
    }

    /// What stands before the content. The size is known there, the checksum not yet.
    pub(super) fn local(&self) -> Vec<u8> {
        if self.name.is_empty() {
            return Vec::new();
        }
        let mut extra = time_extra(self.seconds);
        if self.is_large() {
            push(&mut extra, &[&1u16.to_le_bytes(), &16u16.to_le_bytes()]);
            push(
                &mut extra,
                &[&self.size.to_le_bytes(), &self.size.to_le_bytes()],
            );
        }
        let needs = if self.is_large() {
            NEEDS_4_5
        } else {
            NEEDS_2_0
        };
        let size = (self.size.min(LARGE) as u32).to_le_bytes();
        let mut bytes = b"PK\x03\x04".to_vec();
        push(
            &mut bytes,
            &[&needs.to_le_bytes(), &self.flags().to_le_bytes()],
        );
        push(&mut bytes, &[&0u16.to_le_bytes(), &dos_time(self.seconds)]);
        push(&mut bytes, &[&0u32.to_le_bytes(), &size, &size]);
        push(&mut bytes, &[&length(&self.name), &length(&extra)]);
        push(&mut bytes, &[&self.name, &extra]);
        bytes
    }

    /// What stands behind the content of a file.
    pub(super) fn descriptor(&self, checksum: u32) -> Vec<u8> {
        if !self.is_file {
            return Vec::new();
        }
        let mut bytes = b"PK\x07\x08".to_vec();
        bytes.extend_from_slice(&checksum.to_le_bytes());
        match self.is_large() {
            true => push(
                &mut bytes,
                &[&self.size.to_le_bytes(), &self.size.to_le_bytes()],
            ),
            false => {
                let size = (self.size as u32).to_le_bytes();
                push(&mut bytes, &[&size, &size]);
            }
        }
        bytes
    }

    /// The same again, in the directory at the end.
    pub(super) fn central(&self, checksum: u32) -> Vec<u8> {
        if self.name.is_empty() {
            return Vec::new();
        }
        let mut large = Vec::new();
        if self.is_large() {
            push(
                &mut large,
                &[&self.size.to_le_bytes(), &self.size.to_le_bytes()],
            );
        }
        if self.offset >= LARGE {
            push(&mut large, &[&self.offset.to_le_bytes()]);
        }
        let mut extra = time_extra(self.seconds);
        if !large.is_empty() {
            push(&mut extra, &[&1u16.to_le_bytes(), &length(&large), &large]);
        }
        let needs = match large.is_empty() {
            true => NEEDS_2_0,
            false => NEEDS_4_5,
        };
        let size = (self.size.min(LARGE) as u32).to_le_bytes();
        let offset = (self.offset.min(LARGE) as u32).to_le_bytes();
        // In the lower half, the bit by which MS-DOS marks directories.
        let marks = if self.is_file { 0 } else { 0x10 };
        let attributes = (self.mode << 16 | marks).to_le_bytes();
        let mut bytes = b"PK\x01\x02".to_vec();
        push(&mut bytes, &[&MADE_BY.to_le_bytes(), &needs.to_le_bytes()]);
        push(
            &mut bytes,
            &[&self.flags().to_le_bytes(), &0u16.to_le_bytes()],
        );
        push(
            &mut bytes,
            &[&dos_time(self.seconds), &checksum.to_le_bytes()],
        );
        push(
            &mut bytes,
            &[&size, &size, &length(&self.name), &length(&extra)],
        );
        push(&mut bytes, &[&[0; 6], &attributes, &offset]);
        push(&mut bytes, &[&self.name, &extra]);
        bytes
    }
}

/// The end of a ZIP file with `count` entries, whose directory begins at `offset`.
pub(super) fn end(count: u64, offset: u64, directory_bytes: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if count >= MANY || offset >= LARGE || directory_bytes >= LARGE {
        let at = offset + directory_bytes;
        bytes.extend_from_slice(b"PK\x06\x06");
        push(&mut bytes, &[&44u64.to_le_bytes(), &MADE_BY.to_le_bytes()]);
        push(&mut bytes, &[&NEEDS_4_5.to_le_bytes(), &[0; 8]]);
        push(&mut bytes, &[&count.to_le_bytes(), &count.to_le_bytes()]);
        push(
            &mut bytes,
            &[&directory_bytes.to_le_bytes(), &offset.to_le_bytes()],
        );
        bytes.extend_from_slice(b"PK\x06\x07");
        push(
            &mut bytes,
            &[&[0; 4], &at.to_le_bytes(), &1u32.to_le_bytes()],
        );
    }
    let count = (count.min(MANY) as u16).to_le_bytes();
    bytes.extend_from_slice(b"PK\x05\x06");
    push(&mut bytes, &[&[0; 4], &count, &count]);
    push(
        &mut bytes,
        &[&(directory_bytes.min(LARGE) as u32).to_le_bytes()],
    );
    push(
        &mut bytes,
        &[&(offset.min(LARGE) as u32).to_le_bytes(), &[0; 2]],
    );
    bytes
}

fn push(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        bytes.extend_from_slice(part);
    }
}

/// A length in 16 bits: names have at most 4,095 bytes and a folder's before them, extras 64.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes()
}

/// The exact second, which MS-DOS cannot say: the field `UT`, in 32 bits.
fn time_extra(seconds: i64) -> Vec<u8> {
    let Ok(seconds) = i32::try_from(seconds) else {
        return Vec::new();
    };
    let mut extra = b"UT".to_vec();
    push(
        &mut extra,
        &[&5u16.to_le_bytes(), &[1], &seconds.to_le_bytes()],
    );
    extra
}

/// Time and date as MS-DOS has them, in UTC, from 1980 to 2107.
fn dos_time(seconds: i64) -> [u8; 4] {
    let moment = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let local = moment.to_zoned(TimeZone::UTC).datetime();
    let year = i32::from(local.year()) - 1980;
    let (time, date) = match year {
        0..=127 => (
            (local.hour() as u16) << 11
                | (local.minute() as u16) << 5
                | (local.second() as u16 / 2),
            (year as u16) << 9 | (local.month() as u16) << 5 | local.day() as u16,
        ),
        ..0 => (0, 1 << 5 | 1),
        _ => (0, 127 << 9 | 12 << 5 | 31),
    };
    let ([a, b], [c, d]) = (time.to_le_bytes(), date.to_le_bytes());
    [a, b, c, d]
}
