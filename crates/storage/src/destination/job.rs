//! The folder in which one job keeps what is not finished yet, and the lock on it.
//!
//! In the destination lies `.packhorse-partial/`, in that one folder for each job, and in that a
//! file `lock`, the unfinished files `0`, `1`, and so on, which are of no use to a later run, and
//! the half-done files `part-…`, which are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_protocol::entry::Mode;
use packhorse_protocol::path::{Name, PARTIAL_DIRECTORY};

use crate::directory::{Directory, Part};
use crate::file::File;
use crate::status::Kind;

use super::DestinationError;
use super::claim::{
    Claimed, FOLDER_NAME_DIGITS, InTheWay, Met, Missing, clear_abandoned, is_in_use, try_claim,
};
use super::error::is_lack_of_room;
use super::half_done::{HalfDoneKept, data_bytes, is_half_done};

/// How often a claim starts again because another job's end removed what it stood on.
const CLAIM_ATTEMPTS_MAX: usize = 64;

/// How many numbers in a row may be taken by files that could not be removed.
const NUMBERS_TAKEN_MAX: usize = 1024;

/// What a download is, so that a second run of it is known: from which server, and which path there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobName(blake3::Hash);

impl JobName {
    /// The job of fetching `path` from the server with the pin `server`.
    #[must_use]
    pub fn new(server: &[u8], path: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        // The length keeps the end of one apart from the beginning of the other.
        hasher.update(&(server.len() as u64).to_le_bytes());
        hasher.update(server);
        hasher.update(path);
        Self(hasher.finalize())
    }

    fn folder_name(&self) -> Name {
        let digits = self.0.to_hex();
        Name::parse(&digits.as_bytes()[..FOLDER_NAME_DIGITS])
            .expect("hexadecimal digits are a name")
    }
}

impl fmt::Debug for JobName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "JobName({})", self.folder_name())
    }
}

/// The folder of a job, locked for as long as this lives.
///
/// Dropped without [`remove`](Self::remove), it goes if there is nothing unfinished in it.
#[derive(Debug)]
pub(super) struct JobFolder {
    destination: Directory,
    name: Name,
    claimed: Box<Claimed>,
    tells_late: bool,
    next_number: AtomicU64,
    half_done: Mutex<BTreeMap<Name, HalfDoneState>>,
    /// Half-done files that this run has not touched are kept too.
    keeps_untouched: AtomicBool,
    removed: AtomicBool,
}

/// What is known of a half-done file that this run has touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HalfDoneState {
    /// It is being written.
    Open,
    /// It is for a later run.
    Kept,
}

impl JobFolder {
    /// Makes the folder of `job` in `destination` where it is missing, locks and clears it. `path`
    /// is the destination's, for errors.
    pub(super) fn claim(
        destination: Directory,
        path: &Path,
        job: &JobName,
    ) -> Result<Self, DestinationError> {
        let name = job.folder_name();
        for _ in 0..CLAIM_ATTEMPTS_MAX {
            let met = match try_claim(&destination, &name, Missing::Make) {
                Err(error) if is_lack_of_room(&error) && destination.lacks_inodes() => {
                    let path = path.to_owned();
                    return Err(DestinationError::NoInodes { path });
                }
                met => met.map_err(cannot_claim(path))?,
            };
            if !matches!(met, Met::Missing) {
                return Self::of(met, destination, path, name);
            }
        }
        Err(cannot_claim(path)(io::ErrorKind::NotFound.into()))
    }

    /// As `claim` if the job's folder is there, left by an earlier run or held by another.
    pub(super) fn claim_existing(
        destination: Directory,
        path: &Path,
        job: &JobName,
    ) -> Result<Option<Self>, DestinationError> {
        let name = job.folder_name();
        match try_claim(&destination, &name, Missing::Leave).map_err(cannot_claim(path))? {
            Met::Missing => Ok(None),
            met => Self::of(met, destination, path, name).map(Some),
        }
    }

    fn of(
        met: Met,
        destination: Directory,
        path: &Path,
        name: Name,
    ) -> Result<Self, DestinationError> {
        let claimed = match met {
            Met::Claimed(claimed) => claimed,
            Met::Foreign => {
                let path = path.join(OsStr::from_bytes(PARTIAL_DIRECTORY));
                return Err(DestinationError::ForeignPartial { path });
            }
            Met::InUse | Met::Missing => {
                let path = path.to_owned();
                return Err(DestinationError::InUse { path });
            }
        };
        let tells_late = claimed.folder.tells_late().map_err(cannot_claim(path))?;
        let folder = Self {
            destination,
            name,
            claimed,
            tells_late,
            next_number: AtomicU64::new(0),
            half_done: Mutex::default(),
            keeps_untouched: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        };
        folder
            .claimed
            .clear(is_half_done, InTheWay::Leave)
            .map_err(cannot_claim(path))?;
        Ok(folder)
    }

    /// Whether a file must be durable before it is known to have been written.
    pub(super) fn tells_late(&self) -> bool {
        self.tells_late
    }

    /// Makes the next unfinished file, open for reading and writing. The umask applies to `mode`.
    pub(super) fn create_file(self: &Arc<Self>, mode: Mode) -> io::Result<(Unfinished, File)> {
        self.create(|folder, name| folder.create_file(name, mode))
    }

    /// Makes the next unfinished link.
    pub(super) fn make_symlink(self: &Arc<Self>, target: &[u8]) -> io::Result<Unfinished> {
        let (link, ()) = self.create(|folder, name| folder.make_symlink(target, name))?;
        Ok(link)
    }

    /// Makes the next unfinished thing a second name of the file `name` in `directory`.
    pub(super) fn hard_link(
        self: &Arc<Self>,
        directory: &Directory,
        name: &Name,
    ) -> io::Result<Unfinished> {
        let (link, ()) = self.create(|folder, to| directory.hard_link(name, folder, to))?;
        Ok(link)
    }

    /// Takes the half-done file `name` in hand, be it there or not; `None` if someone has it.
    pub(super) fn adopt(self: &Arc<Self>, name: Name) -> Option<Unfinished> {
        let before = self.half_done().insert(name.clone(), HalfDoneState::Open);
        (before != Some(HalfDoneState::Open)).then(|| Unfinished {
            folder: Arc::clone(self),
            name,
            ending: AtomicEnding::default(),
        })
    }

    /// Keeps the half-done file `name` for a later run if it is there and nobody has it in hand.
    pub(super) fn keep(&self, name: Name) {
        let found = self.claimed.folder.status_of(&name);
        if found.is_ok_and(|found| found.kind == Kind::File) {
            self.half_done().entry(name).or_insert(HalfDoneState::Kept);
        }
    }

    /// Keeps also the half-done files that are never begun again in this run.
    pub(super) fn keep_untouched(&self) {
        self.keeps_untouched.store(true, Ordering::Relaxed);
    }

    /// Keeps nothing of what was to be kept so far.
    pub(super) fn forget_kept(&self) {
        self.half_done()
            .retain(|_, state| *state != HalfDoneState::Kept);
    }

    /// Removes everything in the folder but what is kept for a later run, and the folder if that is
    /// nothing; also if unfinished files are still open. Returns what is kept.
    pub(super) fn remove(&self) -> io::Result<HalfDoneKept> {
        self.removed.store(true, Ordering::Relaxed);
        if self.keeps_untouched.load(Ordering::Relaxed) {
            for (name, _) in self.claimed.folder.names()?.iter() {
                if is_half_done(&name) {
                    self.keep(name);
                }
            }
        }
        let half_done = self.half_done().clone();
        let is_kept = |name: &Name| half_done.get(name) == Some(&HalfDoneState::Kept);
        self.claimed.clear(is_kept, InTheWay::Fail)?;
        self.remove_if_empty()?;
        Ok(self.measure(half_done.keys().filter(|name| is_kept(name))))
    }

    /// What a later run of the job can go on with, if this one ends now.
    pub(super) fn half_done_so_far(&self) -> io::Result<HalfDoneKept> {
        let names = self.claimed.folder.names()?;
        let names: Vec<_> = names.iter().map(|(name, _)| name).collect();
        Ok(self.measure(names.iter().filter(|name| is_half_done(name))))
    }

    fn measure<'n>(&self, names: impl Iterator<Item = &'n Name>) -> HalfDoneKept {
        let mut kept = HalfDoneKept::default();
        for name in names {
            // Of what was begun and never written to, nothing is kept.
            let file = self.claimed.folder.open_file(name);
            let bytes = file.and_then(|file| data_bytes(&file)).unwrap_or(0);
            kept.files += u64::from(bytes > 0);
            kept.bytes += bytes;
        }
        kept
    }

    fn create<T>(
        self: &Arc<Self>,
        create: impl Fn(&Directory, &Name) -> io::Result<T>,
    ) -> io::Result<(Unfinished, T)> {
        for _ in 0..NUMBERS_TAKEN_MAX {
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            let name = Name::parse(number.to_string().as_bytes()).expect("digits are a name");
            match create(&self.claimed.folder, &name) {
                Ok(created) => {
                    let folder = Arc::clone(self);
                    let ending = AtomicEnding::default();
                    return Ok((
                        Unfinished {
                            folder,
                            name,
                            ending,
                        },
                        created,
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn half_done(&self) -> MutexGuard<'_, BTreeMap<Name, HalfDoneState>> {
        self.half_done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the folder if only the lock is left in it, and the directory that holds all such
    /// folders if this was the last of use. That others are at work in there is no error.
    fn remove_if_empty(&self) -> io::Result<()> {
        self.claimed.remove_if_empty(&self.name)?;
        clear_abandoned(&self.destination, &self.claimed.partial, &self.name);
        match self.destination.remove_directory(Part::PARTIAL) {
            Err(error) if !is_in_use(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        if !self.removed.load(Ordering::Relaxed) {
            // What stays is cleared by the next run of the job.
            let _ = self.remove_if_empty();
        }
        self.claimed.unlock();
    }
}

/// Something in a job's folder that has no final name yet; removed when dropped, unless it is to be
/// kept.
#[derive(Debug)]
pub(super) struct Unfinished {
    folder: Arc<JobFolder>,
    name: Name,
    ending: AtomicEnding,
}

/// An [`Ending`] that many may set at once.
#[derive(Debug, Default)]
struct AtomicEnding(AtomicU8);

/// What becomes of something unfinished when it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It goes.
    Remove,
    /// A later run may go on with it.
    Keep,
    /// It is not there any more, or not ours.
    Nothing,
}

impl AtomicEnding {
    fn set(&self, ending: Ending) {
        self.0.store(ending as u8, Ordering::Relaxed);
    }

    fn get(&self) -> Ending {
        [Ending::Remove, Ending::Keep, Ending::Nothing]
            .into_iter()
            .find(|ending| *ending as u8 == self.0.load(Ordering::Relaxed))
            .unwrap_or(Ending::Remove)
    }
}

impl Unfinished {
    /// The folder it lies in, with all that is known of that.
    pub(super) fn folder(&self) -> &JobFolder {
        &self.folder
    }

    /// The folder it lies in.
    pub(super) fn directory(&self) -> &Directory {
        &self.folder.claimed.folder
    }

    /// Its name in that folder.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// It is not there any more under this name, or was never ours: it is neither removed nor kept.
    pub(super) fn leave(&self) {
        self.ending.set(Ending::Nothing);
    }

    /// Whether a later run, or a later attempt of this one, may go on with it; then it must be a
    /// half-done file.
    pub(super) fn keep_if(&self, keep: bool) {
        self.ending.set(match keep && is_half_done(&self.name) {
            true => Ending::Keep,
            false => Ending::Remove,
        });
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let ending = self.ending.get();
        if ending == Ending::Remove {
            // What stays is cleared by the next run of the job.
            let _ = self.directory().remove_file(&self.name);
        }
        if is_half_done(&self.name) {
            let mut half_done = self.folder.half_done();
            match ending {
                Ending::Keep => half_done.insert(self.name.clone(), HalfDoneState::Kept),
                Ending::Remove | Ending::Nothing => half_done.remove(&self.name),
            };
        }
    }
}

fn cannot_claim(path: &Path) -> impl Fn(io::Error) -> DestinationError {
    |source| DestinationError::Io {
        action: "use `.packhorse-partial` in",
        path: path.to_owned(),
        source,
    }
}
