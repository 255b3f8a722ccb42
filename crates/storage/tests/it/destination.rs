//! What a destination does with what a peer sends.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use packhorse_protocol::content::{GroupIndex, group_count, group_length};
use packhorse_protocol::entry::{DirectoryInfo, FileInfo, Mode, Timestamp, Version};
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_storage::destination::{
    Destination, DestinationOptions, EntryError, Existing, JobName, LargeFile, Placed, SmallFile,
};
use packhorse_storage::disk::Disk;
use tempfile::TempDir;

use crate::trees::{name, path};

mod child;
mod faults;
mod folding;
mod half_done;
mod job;
mod kill;
mod large_files;
mod links;
mod metadata;
mod policies;
mod power_cut;
mod small_files;
mod streamed_files;

const PARTIAL: &str = ".packhorse-partial";

fn job() -> JobName {
    JobName::new(b"pin", b"path")
}

/// What a peer says of a file of `size` bytes.
fn info(size: usize) -> FileInfo {
    FileInfo {
        size: size as u64,
        modified: at(1_600_000_000, 123_456_789),
        mode: Mode::from_bits(0o640),
        version: Version([7; 16]),
        sparse: false,
        link_group: 0,
        xattrs: Vec::new(),
    }
}

fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp::new(seconds, nanoseconds).unwrap()
}

fn directory_info(mode: u32, modified: Timestamp) -> DirectoryInfo {
    DirectoryInfo {
        modified,
        mode: Mode::from_bits(mode),
        xattrs: Vec::new(),
    }
}

fn options(existing: Existing) -> DestinationOptions {
    DestinationOptions {
        existing,
        ..DestinationOptions::default()
    }
}

/// A directory with something beside it that must stay as it is.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::beneath(tempfile::tempdir().unwrap())
    }

    /// In memory if this machine has room for it there, for a test that writes much.
    fn in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::beneath(folder.unwrap())
    }

    fn beneath(folder: TempDir) -> Self {
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "secret").unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        Self { folder }
    }

    fn dest(&self) -> PathBuf {
        self.folder.path().join("d")
    }

    fn at(&self, text: impl AsRef<[u8]>) -> PathBuf {
        self.dest().join(OsStr::from_bytes(text.as_ref()))
    }

    fn open(&self, options: DestinationOptions) -> Destination {
        self.open_on(Disk::new(), options)
    }

    fn open_on(&self, disk: Disk, options: DestinationOptions) -> Destination {
        Destination::open(disk, &self.dest(), &job(), options).unwrap()
    }

    fn read(&self, text: &str) -> Vec<u8> {
        fs::read(self.at(text)).unwrap()
    }

    /// All below the destination, sorted, directories with a slash; the root aside.
    fn tree(&self) -> Vec<String> {
        list(&self.dest())
    }

    /// Nothing outside was touched.
    fn check_outside(&self) {
        let outside = self.folder.path().join("outside");
        assert_eq!(list(&outside), ["secret"]);
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 2);
    }
}

/// Sealed directories can only be removed by a user with all privileges.
impl Drop for Place {
    fn drop(&mut self) {
        allow_removal(&self.dest());
    }
}

fn allow_removal(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            allow_removal(&entry.path());
        }
    }
}

fn list(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    list_into(folder, folder, &mut found);
    found.sort();
    found
}

fn list_into(base: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let at = entry.path();
        let shown = at
            .strip_prefix(base)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if entry.file_type().unwrap().is_dir() {
            found.push(shown + "/");
            list_into(base, &at, found);
        } else {
            found.push(shown);
        }
    }
}

/// Bytes that differ from place to place and from `seed` to `seed`.
fn content(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| ((at + seed * 7919) * 31 % 251) as u8 + 1)
        .collect()
}

/// Writes one small file.
fn write(destination: &Destination, to: &str, content: &[u8]) -> Result<Placed, EntryError> {
    write_with(destination, to, &info(content.len()), content)
}

fn write_with(
    destination: &Destination,
    to: &str,
    info: &FileInfo,
    content: &[u8],
) -> Result<Placed, EntryError> {
    let (directory, name) = path(to).split_last().unwrap();
    let file = SmallFile {
        name: &name,
        info,
        content,
    };
    let mut outcomes = destination.write_small(&directory, &[file]);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Writes one file in groups.
fn write_large(destination: &Destination, to: &str, content: &[u8]) -> Result<Placed, EntryError> {
    let file = destination.begin_large(&path(to), &info(content.len()))?;
    write_groups(&file, content)?;
    file.finish()
}

fn write_groups(file: &LargeFile, content: &[u8]) -> Result<(), EntryError> {
    for index in 0..group_count(content.len() as u64) {
        let group = GroupIndex::new(index).unwrap();
        let start = index as usize * GROUP_BYTES;
        let length = group_length(group, content.len() as u64);
        file.write_group(group, &content[start..start + length])?;
    }
    Ok(())
}

/// The end of a download in which nothing was left over.
fn finish(destination: &Destination) {
    let report = destination.finish();
    assert!(report.root.is_ok(), "{report:?}");
    assert!(report.left_behind.is_none(), "{report:?}");
}
