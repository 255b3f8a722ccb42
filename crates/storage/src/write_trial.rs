//! Writes to a disk to see how fast it is, and leaves nothing there.

use std::io;
use std::path::Path;

use packhorse_protocol::path::RelativePath;

use crate::disk::Disk;
use crate::file::File;
use crate::root::{Links, Root};

/// What is written before the disk must have it, in bytes: enough that waiting for it costs little.
const PART_BYTES: u64 = 16 << 20;

/// What one trial takes of the disk at most, in bytes; behind that it begins again.
const TRIAL_BYTES_MAX: u64 = 256 << 20;

/// Of what is free, a trial takes no more than this part.
const FREE_SHARE: u64 = 8;

/// What must be free, in bytes: with less a trial does not begin.
pub const FREE_BYTES_MIN: u64 = PART_BYTES * FREE_SHARE;

/// What is written at once, in bytes, as a download does.
const WRITE_BYTES: usize = 1 << 20;

/// A file without a name, which is gone once it is closed, however the process ends.
#[derive(Debug)]
pub struct WriteTrial {
    file: File,
    noise: Vec<u8>,
    /// Where to go on.
    offset: u64,
    stamp: u64,
    bytes_max: u64,
}

impl WriteTrial {
    /// One on the disk that holds `directory`.
    ///
    /// # Errors
    /// `StorageFull`, which does not come from the system, if less than [`FREE_BYTES_MIN`] is free;
    /// otherwise the system's own.
    pub fn begin(disk: Disk, directory: &Path) -> io::Result<Self> {
        let root = Root::open(disk, directory)?;
        let directory = root.open_directory(&RelativePath::ROOT, Links::Refuse)?;
        let free = directory.free_bytes()?.unwrap_or(u64::MAX);
        if free < FREE_BYTES_MIN {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Self {
            file: directory.create_unnamed()?,
            noise: noise(),
            offset: 0,
            stamp: 0,
            bytes_max: (free / FREE_SHARE).min(TRIAL_BYTES_MAX),
        })
    }

    /// Writes some more and waits until the disk has it, so that memory does not pass for a disk.
    /// Returns how many bytes.
    ///
    /// # Errors
    /// The system's own.
    pub fn write(&mut self) -> io::Result<u64> {
        if self.offset + PART_BYTES > self.bytes_max {
            self.file.set_length(0)?;
            self.offset = 0;
        }
        for _ in 0..PART_BYTES / WRITE_BYTES as u64 {
            self.stamp();
            self.file.write_all_at(self.offset, &self.noise)?;
            self.offset += WRITE_BYTES as u64;
        }
        self.file.sync()?;
        Ok(PART_BYTES)
    }

    /// Makes every page one that was never there, so that no file system can do with one of them.
    fn stamp(&mut self) {
        const PAGE_BYTES: usize = 4096;

        for page in self.noise.chunks_exact_mut(PAGE_BYTES) {
            page[..8].copy_from_slice(&self.stamp.to_le_bytes());
            self.stamp += 1;
        }
    }
}

/// Bytes that cannot be compressed.
fn noise() -> Vec<u8> {
    // splitmix64 (Steele, Lea, Flood 2014).
    let mut state = 0_u64;
    let words = (0..WRITE_BYTES / 8).flat_map(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    });
    words.collect()
}
