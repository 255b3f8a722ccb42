//! Whether what was found under a name has exactly that name.
//!
//! A file system may take other names for the same: `A` for `a`, one Unicode form for another, `a`
//! for `a.`. Two entries of a transfer that meet there are reported, never merged.

use std::cell::Cell;
use std::cmp::Ordering;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_protocol::path::Name;

use crate::directory::Directory;
use crate::listing::Listing;
use crate::status::Status;

/// Directories of which the names are remembered.
const DIRECTORIES_MAX: usize = 4;

/// Tells exact names from others; remembers what it had to read for that.
#[derive(Debug, Default)]
pub(super) struct ExactNames {
    /// The newest last.
    read: Mutex<Vec<Arc<Read>>>,
}

/// The names of one directory, sorted, as they were at some moment.
#[derive(Debug)]
struct Read {
    of: Status,
    names: Listing,
}

impl Read {
    fn has(&self, name: &Name) -> bool {
        let (mut from, mut to) = (0, self.names.len());
        while from < to {
            let middle = from.midpoint(to);
            match self.names.bytes(middle).cmp(name.as_bytes()) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return true,
                Ordering::Greater => to = middle,
            }
        }
        false
    }
}

impl ExactNames {
    /// Whether `found`, which `directory` gave for `name`, is called exactly that.
    pub(super) fn is_exact(
        &self,
        directory: &Directory,
        name: &Name,
        found: &Status,
    ) -> io::Result<bool> {
        self.is_exact_among_many(directory, &Cell::new(false), name, found)
    }

    /// As [`is_exact`](Self::is_exact) for one of many names of a directory. `case_counts` begins
    /// as false, and becomes true once the directory is seen to tell `A` from `a`: it does so for
    /// all its names, and they need no look of their own.
    pub(super) fn is_exact_among_many(
        &self,
        directory: &Directory,
        case_counts: &Cell<bool>,
        name: &Name,
        found: &Status,
    ) -> io::Result<bool> {
        if is_unmistakable(name) {
            return Ok(true);
        }
        if let Some(other_case) = in_other_case(name) {
            if case_counts.get() {
                return Ok(true);
            }
            case_counts.set(match directory.status_of(&other_case) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                other => !other?.is_same_object(found),
            });
            if case_counts.get() {
                return Ok(true);
            }
        }
        self.is_listed(directory, name)
    }

    /// Whether the listing of `directory` has `name`, byte for byte.
    fn is_listed(&self, directory: &Directory, name: &Name) -> io::Result<bool> {
        let status = directory.status()?;
        let remembered = self
            .lock()
            .iter()
            .rev()
            .find_map(|read| read.of.is_same_object(&status).then(|| Arc::clone(read)));
        // A remembered listing lacks what came later, and has what is gone: only its yes counts,
        // since the name itself has just been found.
        if remembered.is_some_and(|read| read.has(name)) {
            return Ok(true);
        }
        let mut names = directory.names()?;
        names.sort_directories_last(|_, _| false);
        let read = Arc::new(Read { of: status, names });
        let is_listed = read.has(name);
        let mut reads = self.lock();
        reads.retain(|other| !other.of.is_same_object(&status));
        if reads.len() == DIRECTORIES_MAX {
            reads.remove(0);
        }
        reads.push(read);
        Ok(is_listed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Read>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether no file system takes another name for this one: no letters, nothing but ASCII, and none
/// of the marks that some drop or give a meaning.
fn is_unmistakable(name: &Name) -> bool {
    let bytes = name.as_bytes();
    bytes
        .iter()
        .all(|&byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.'))
        && !bytes.ends_with(b".")
}

/// `name` with one letter in the other case: found as the same thing only where case does not
/// count. `None` if it is not plain ASCII, since case is not all that may not count then.
fn in_other_case(name: &Name) -> Option<Name> {
    let mut bytes = name.as_bytes().to_vec();
    if !bytes.is_ascii() {
        return None;
    }
    let letter = bytes.iter_mut().find(|byte| byte.is_ascii_alphabetic())?;
    *letter ^= b'a' ^ b'A';
    Name::parse(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &str) -> Name {
        Name::parse(bytes.as_bytes()).unwrap()
    }

    #[test]
    fn what_needs_no_look_is_known() {
        for (text, unmistakable, other_case) in [
            ("0001", true, None),
            ("2024-01-02_3.4", true, None),
            ("1.", false, None),
            ("1~1", false, None),
            ("a", false, Some("A")),
            ("0.Tar", false, Some("0.tar")),
            ("caf\u{e9}", false, None),
            (".PACKHORSE-PARTIAL", false, Some(".pACKHORSE-PARTIAL")),
        ] {
            assert_eq!(is_unmistakable(&name(text)), unmistakable, "{text}");
            assert_eq!(in_other_case(&name(text)), other_case.map(name), "{text}");
        }
    }
}
