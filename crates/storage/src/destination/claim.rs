//! The lock on a job's folder: how it is taken, and what is done about folders that nobody comes back
//! for.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use packhorse_protocol::entry::Mode;
use packhorse_protocol::path::{Name, PARTIAL_DIRECTORY};
use rustix::io::Errno;

use crate::directory::{Directory, Part};
use crate::file::File;
use crate::status::Kind;

use super::half_done::is_half_done;
use super::metadata::OWNER_FILE;

/// Hexadecimal digits of a job's hash in the name of its folder.
pub(super) const FOLDER_NAME_DIGITS: usize = 32;

pub(super) const LOCK: &[u8] = b"lock";
const OWNER_ONLY: u32 = 0o700;

/// How long a claim waits, in all, for whoever looks whether a folder can go: that takes a moment.
const LOOK_TRIES_MAX: usize = 20;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// A job's folder, whose lock is held.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) partial: Directory,
    pub(super) folder: Directory,
    /// Open for as long as it is locked.
    lock: Mutex<Option<File>>,
}

/// What one attempt at a claim met.
pub(super) enum Met {
    Claimed(Box<Claimed>),
    /// Another holds the lock.
    InUse,
    /// There is no such folder, or no longer.
    Missing,
    /// Something of that name is no directory, or not ours.
    Foreign,
}

/// What becomes of a folder that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

/// What becomes of a directory with something in it, where only files of ours should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InTheWay {
    Leave,
    Fail,
}

impl Claimed {
    /// Lets go of the lock.
    pub(super) fn unlock(&self) {
        let lock = &self.lock;
        if let Some(lock) = lock.lock().unwrap_or_else(PoisonError::into_inner).take() {
            lock.unlock();
        }
    }

    /// Removes what is in the folder and not to be `kept`.
    pub(super) fn clear(
        &self,
        kept: impl Fn(&Name) -> bool,
        in_the_way: InTheWay,
    ) -> io::Result<()> {
        let folder = &self.folder;
        for (name, kind) in folder.names()?.iter() {
            if name.as_bytes() == LOCK || kept(&name) {
                continue;
            }
            let removed = match kind {
                Kind::Directory => folder.remove_directory(&name),
                _ => folder.remove_file(&name),
            };
            match removed {
                Err(error) if is_in_use(&error) && in_the_way == InTheWay::Leave => {}
                Err(error) if !is_missing(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the folder, whose name is `name`, and lets go of the lock, if only that is left in it.
    pub(super) fn remove_if_empty(&self, name: &Name) -> io::Result<()> {
        if self.folder.names()?.len() > 1 {
            return Ok(());
        }
        // From here on another may make a new lock in the folder, which then stays.
        self.folder.remove_file(&lock_name())?;
        // NFS keeps a file that is open in its directory, under another name.
        self.unlock();
        match self.partial.remove_directory(name) {
            Err(error) if !is_in_use(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Locks the folder `name` of a job in `destination`.
///
/// Whoever ends looks for a moment whether other folders can go, and holds their locks meanwhile;
/// that is waited for.
pub(super) fn try_claim(destination: &Directory, name: &Name, missing: Missing) -> io::Result<Met> {
    for _ in 1..LOOK_TRIES_MAX {
        match look(destination, name, missing)? {
            Met::InUse => sleep(LOOK_PAUSE),
            met => return Ok(met),
        }
    }
    look(destination, name, missing)
}

/// Removes the folders beside `own` that are of no use: nobody holds them, and nothing in them is
/// half done. Early kills leave such, of jobs that may never be run again.
pub(super) fn clear_abandoned(destination: &Directory, partial: &Directory, own: &Name) {
    // They are in nobody's way: what cannot be looked at stays.
    let Ok(names) = partial.names() else {
        return;
    };
    for (name, kind) in names.iter() {
        if kind != Kind::Directory || name == *own || !is_folder_name(&name) {
            continue;
        }
        if let Ok(Met::Claimed(claimed)) = look(destination, &name, Missing::Leave) {
            let cleared = claimed.clear(is_half_done, InTheWay::Leave);
            let _ = cleared.and_then(|()| claimed.remove_if_empty(&name));
            claimed.unlock();
        }
    }
}

fn is_folder_name(name: &Name) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.as_bytes().len() == FOLDER_NAME_DIGITS && name.as_bytes().iter().all(is_digit)
}

fn look(destination: &Directory, name: &Name, missing: Missing) -> io::Result<Met> {
    match open_and_lock(destination, name, missing) {
        Err(error) if is_missing(&error) => Ok(Met::Missing),
        Err(error) if is_not_directory(&error) => Ok(Met::Foreign),
        other => other,
    }
}

fn open_and_lock(destination: &Directory, name: &Name, missing: Missing) -> io::Result<Met> {
    let partial = open_or_make(destination, Part::PARTIAL, missing)?;
    if !is_ours(&partial)? || is_inexact(destination, &partial)? {
        return Ok(Met::Foreign);
    }
    let folder = open_or_make(&partial, Part::from(name), missing)?;
    if !is_ours(&folder)? {
        return Ok(Met::Foreign);
    }
    let lock = match folder.create_file(&lock_name(), Mode::from_bits(OWNER_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            folder.open_for_update(&lock_name())?
        }
        other => other?,
    };
    if !lock.try_lock()? {
        return Ok(Met::InUse);
    }
    // Whoever held it before may have removed it; then a lock on it excludes nobody. As long as it
    // is in its folder, the folder cannot be removed.
    if !folder
        .status_of(&lock_name())?
        .is_same_object(lock.opened())
    {
        return Ok(Met::Missing);
    }
    Ok(Met::Claimed(Box::new(Claimed {
        partial,
        folder,
        lock: Mutex::new(Some(lock)),
    })))
}

/// Whether nobody else could reach into `directory`: it has the owner that whatever we make has.
fn is_ours(directory: &Directory) -> io::Result<bool> {
    let owner = directory.status()?.owner;
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(true);
    }
    // Some file systems give everything one owner, whoever makes it.
    let name = probe_name();
    let made = match directory.create_file(&name, Mode::from_bits(OWNER_FILE)) {
        Ok(made) => made,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(error),
    };
    directory.remove_file(&name)?;
    Ok(made.opened().owner == owner)
}

/// Whether `partial` was found under another name that the file system takes for its own: one that a
/// peer may have chosen.
fn is_inexact(destination: &Directory, partial: &Directory) -> io::Result<bool> {
    let other_case = Name::parse(&PARTIAL_DIRECTORY.to_ascii_uppercase())
        .expect("the name is reserved in its own case only");
    match destination.status_of(&other_case) {
        Ok(other) if other.is_same_object(&partial.status()?) => {
            Ok(!destination.names()?.has_partial())
        }
        _ => Ok(false),
    }
}

fn open_or_make(directory: &Directory, name: Part<'_>, missing: Missing) -> io::Result<Directory> {
    match directory.open_directory(name) {
        Err(error) if is_missing(&error) && missing == Missing::Make => {}
        other => return other,
    }
    match directory.create_directory(name, Mode::from_bits(OWNER_ONLY)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => directory.open_directory(name),
    }
}

fn lock_name() -> Name {
    Name::parse(LOCK).expect("it is a name")
}

/// A name that no other process probes with.
fn probe_name() -> Name {
    let process = rustix::process::getpid().as_raw_nonzero();
    Name::parse(format!("owner-{process}").as_bytes()).expect("it is a name")
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn is_not_directory(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOTDIR | Errno::LOOP)
    )
}

/// Whether a directory was not removed because others use it, or have removed it already.
pub(super) fn is_in_use(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY | Errno::NOENT)
    )
}
