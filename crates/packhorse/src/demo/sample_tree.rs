//! The tree that the demo serves.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};

const SMALL_FILES: u64 = 400;
const LARGE_BYTES: u64 = 200 << 20;
const LARGE_BYTES_MIN: u64 = 32 << 20;

/// The tree lies four times on the disk in the end, and some of it once more on the way.
const COPIES: u64 = 6;

/// The name of the large file.
pub(super) const LARGE_NAME: &str = "large.bin";

/// What was made.
pub(super) struct SampleTree {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) large_bytes: u64,
}

impl SampleTree {
    /// Makes the tree at `root`.
    pub(super) fn make(root: &Path) -> Result<Self> {
        fs::create_dir(root).with_context(|| format!("cannot make {}", root.display()))?;
        let mut maker = Maker {
            root,
            random: Random(0x9e37_79b9_7f4a_7c15),
            files: 0,
            bytes: 0,
        };
        for number in 0..SMALL_FILES {
            let path = format!("small/{:02}/file {number:03}.dat", number % 20);
            let length = maker.random.next() % 24_000;
            maker.file(path.as_bytes(), if number == 0 { 0 } else { length })?;
        }
        maker.file(b"a/directory/in/a/directory/in/a/directory/note.txt", 700)?;
        maker.strange_names()?;
        maker.special_entries()?;
        let large_bytes = large_bytes(root);
        maker.file(LARGE_NAME.as_bytes(), large_bytes)?;
        Ok(Self {
            files: maker.files,
            bytes: maker.bytes,
            large_bytes,
        })
    }
}

/// As much as there is room for.
fn large_bytes(root: &Path) -> u64 {
    let free = rustix::fs::statvfs(root).map_or(0, |space| space.f_bavail * space.f_frsize);
    (free / COPIES).clamp(LARGE_BYTES_MIN, LARGE_BYTES) >> 20 << 20
}

struct Maker<'a> {
    root: &'a Path,
    random: Random,
    files: u64,
    bytes: u64,
}

impl Maker<'_> {
    fn file(&mut self, path: &[u8], length: u64) -> Result<()> {
        const CHUNK_BYTES: usize = 1 << 20;

        let path = self.root.join(OsStr::from_bytes(path));
        let parent = path.parent().expect("it lies in the root");
        let mut make = || {
            fs::create_dir_all(parent)?;
            let mut file = File::create(&path)?;
            let mut left = length;
            while left > 0 {
                let chunk = self.random.bytes(left.min(CHUNK_BYTES as u64) as usize);
                file.write_all(&chunk)?;
                left -= chunk.len() as u64;
            }
            Ok::<_, std::io::Error>(())
        };
        make().with_context(|| format!("cannot make {}", path.display()))?;
        self.files += 1;
        self.bytes += length;
        Ok(())
    }

    fn strange_names(&mut self) -> Result<()> {
        let longest = [b'x'; 255];
        let names: [&[u8]; 9] = [
            b"two  words.txt",
            b"line\nbreak.txt",
            b"-rf",
            b"$HOME `*`?.txt",
            b"quotes'\".txt",
            b"back\\slash",
            "na\u{ef}ve \u{6587}\u{4ef6} \u{1f40e}".as_bytes(),
            b"...",
            &longest,
        ];
        for name in names {
            self.file(&[b"strange names/", name].concat(), 100)?;
        }
        // Some file systems take text only.
        let _ = self.file(b"strange names/no text \xff\xfe", 100);
        Ok(())
    }

    /// A link, an empty directory, and files with modes and times of their own.
    fn special_entries(&self) -> Result<()> {
        let at = |path: &str| self.root.join(path);
        let make = || {
            symlink("small/00/file 000.dat", at("a link"))?;
            fs::create_dir(at("empty"))?;
            fs::set_permissions(
                at("small/01/file 001.dat"),
                PermissionsExt::from_mode(0o700),
            )?;
            fs::set_permissions(
                at("small/02/file 002.dat"),
                PermissionsExt::from_mode(0o400),
            )?;
            fs::set_permissions(at("empty"), PermissionsExt::from_mode(0o750))?;
            let long_ago = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
            File::open(at("small/03/file 003.dat"))?.set_modified(long_ago)?;
            File::open(at("empty"))?.set_modified(long_ago)
        };
        make().context("cannot make links and modes")
    }
}

/// Bytes that do not compress, the same each time (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
