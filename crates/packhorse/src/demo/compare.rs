//! Compares two trees, and knows nothing of how one came from the other.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::sample_tree::LARGE_NAME;
use super::scratch::Interrupted;

/// Where unfinished downloads live.
const PARTIAL_NAME: &str = ".packhorse-partial";

const CHUNK_BYTES: usize = 1 << 20;

/// How much is the same.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) files: u64,
    pub(super) folders: u64,
    pub(super) links: u64,
}

/// What a killed client has left.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) files: u64,
    pub(super) has_large: bool,
}

/// The trees are not the same.
#[derive(Debug)]
pub(super) struct Difference {
    path: PathBuf,
    what: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:?} differs from the original: {}",
            self.path, self.what
        )
    }
}

impl Error for Difference {}

/// Compares everything at and below two directories.
///
/// # Errors
/// The first [`Difference`], or something that cannot be read.
pub(super) fn compare(original: &Path, copy: &Path, interrupted: &Interrupted) -> Result<Compared> {
    let mut compared = Compared::default();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        interrupted.check()?;
        let originals = names(&original.join(&directory))?;
        let copies = names(&copy.join(&directory))?;
        check(
            originals.keys().eq(copies.keys()),
            &directory,
            "other names are in it",
        )?;
        for (name, is) in &originals {
            let path = directory.join(name);
            let found = &copies[name];
            compare_metadata(&path, is, found)?;
            let (from, to) = (original.join(&path), copy.join(&path));
            if is.is_dir() {
                compared.folders += 1;
                directories.push(path);
            } else if is.is_symlink() {
                compared.links += 1;
                let same = fs::read_link(&from)? == fs::read_link(&to)?;
                check(same, &path, "it points elsewhere")?;
            } else {
                compared.files += 1;
                check(same_content(&from, &to)?, &path, "its content")?;
            }
        }
    }
    Ok(compared)
}

/// Checks that whatever a killed client gave a name is right.
///
/// # Errors
/// The first [`Difference`], or something that cannot be read.
pub(super) fn check_partial(original: &Path, copy: &Path) -> Result<Left> {
    let mut left = Left::default();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for (name, found) in names(&copy.join(&directory))? {
            let path = directory.join(&name);
            if path == Path::new(PARTIAL_NAME) {
                continue;
            }
            if found.is_dir() {
                directories.push(path);
            } else if found.is_file() {
                left.files += 1;
                left.has_large |= path == Path::new(LARGE_NAME);
                let same = same_content(&original.join(&path), &copy.join(&path))?;
                check(same, &path, "its content")?;
            }
        }
    }
    Ok(left)
}

fn compare_metadata(path: &Path, is: &Metadata, found: &Metadata) -> Result<()> {
    check(is.file_type() == found.file_type(), path, "its kind")?;
    let time = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec());
    check(time(is) == time(found), path, "its time")?;
    let is_same_mode = is.is_symlink() || is.mode() == found.mode();
    check(is_same_mode, path, "its permissions")
}

fn names(directory: &Path) -> Result<BTreeMap<OsString, Metadata>> {
    let read = || {
        let entries = fs::read_dir(directory)?;
        entries
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name(), entry.metadata()?))
            })
            .collect()
    };
    let names: std::io::Result<_> = read();
    names.with_context(|| format!("cannot list {}", directory.display()))
}

fn same_content(one: &Path, other: &Path) -> Result<bool> {
    let compare = || {
        let (mut one, mut other) = (File::open(one)?, File::open(other)?);
        let (mut from_one, mut from_other) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        loop {
            let length = read_full(&mut one, &mut from_one)?;
            let other_length = read_full(&mut other, &mut from_other)?;
            if from_one[..length] != from_other[..other_length] {
                return Ok(false);
            }
            if length == 0 {
                return Ok(true);
            }
        }
    };
    let same: std::io::Result<bool> = compare();
    same.with_context(|| format!("cannot compare {}", other.display()))
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

fn check(holds: bool, path: &Path, what: &'static str) -> Result<()> {
    if holds {
        return Ok(());
    }
    let path = path.to_owned();
    Err(Difference { path, what }.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn tree(change: impl FnOnce(&Path)) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/a"), "content").unwrap();
        fs::write(at("b"), "").unwrap();
        symlink("b", at("l")).unwrap();
        change(root.path());
        let epoch = UNIX_EPOCH + Duration::from_secs(1);
        for name in ["d/a", "b", "d"] {
            if let Ok(file) = File::open(at(name)) {
                file.set_modified(epoch).unwrap();
            }
        }
        let time = rustix::fs::Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, at("l"), &times, flags).unwrap();
        root
    }

    #[test]
    fn every_difference_is_seen() {
        let original = tree(|_| ());
        let interrupted = Interrupted::watch();
        type Change = fn(&Path);
        let changes: [(&str, Change); 6] = [
            ("its content", |root| {
                fs::write(root.join("d/a"), "Content").unwrap()
            }),
            ("other names", |root| {
                fs::remove_file(root.join("d/a")).unwrap()
            }),
            ("other names", |root| {
                fs::write(root.join("d/c"), "").unwrap()
            }),
            ("its permissions", |root| {
                fs::set_permissions(root.join("b"), PermissionsExt::from_mode(0o600)).unwrap();
            }),
            ("its kind", |root| {
                fs::remove_file(root.join("b")).unwrap();
                fs::create_dir(root.join("b")).unwrap();
            }),
            ("it points elsewhere", |root| {
                fs::remove_file(root.join("l")).unwrap();
                symlink("d", root.join("l")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let copy = tree(change);
            let error = compare(original.path(), copy.path(), &interrupted).unwrap_err();
            assert!(error.is::<Difference>(), "{error:#}");
            assert!(error.to_string().contains(what), "{error:#}");
        }
        let compared = compare(original.path(), original.path(), &interrupted).unwrap();
        assert_eq!(
            (compared.files, compared.folders, compared.links),
            (2, 1, 1)
        );
    }
}
