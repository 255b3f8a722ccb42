//! How what is complete gets its final name.

use std::io;

use packhorse_protocol::path::Name;
use rustix::io::Errno;

use crate::status::{Kind, Status};

use super::job::Unfinished;
use super::metadata::sync_directory;
use super::numbered_name::{NUMBERS_MAX, numbered};
use super::{EntryError, Existing, Site, Spot};

/// How often a name that is taken, then free, then taken again is tried.
const ATTEMPTS_MAX: usize = 16;

/// How an entry arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// Under its name, which was free.
    New,
    /// Under its name, in the place of something else.
    Replaced,
    /// Under another name beside its own, which was taken.
    Beside(Name),
    /// It was there already.
    Same,
    /// Not yet: [`Destination::finish`](super::Destination::finish) tells.
    PutOff,
}

impl Site {
    /// Moves `unfinished` to `spot` as the policy says, without [`sync_placed`](Self::sync_placed).
    pub(super) fn place(
        &self,
        unfinished: &Unfinished,
        spot: &Spot<'_>,
    ) -> Result<Placed, EntryError> {
        for _ in 0..ATTEMPTS_MAX {
            let moved = unfinished.directory().rename_no_replace(
                unfinished.name(),
                spot.directory,
                spot.name,
            );
            match moved {
                Ok(()) => {
                    unfinished.leave();
                    return Ok(Placed::New);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(naming_error(spot, error)),
            }
            let found = match spot.directory.status_of(spot.name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(spot.error("look at"))?,
            };
            return self.place_where_taken(unfinished, spot, &found);
        }
        Err(spot.exists(Kind::Unknown))
    }

    /// Makes the name under which an entry was placed durable, if that was asked for.
    ///
    /// Where that fails, a name that was new is taken away again: it might be gone after a power
    /// cut, and only what is written anew can be made durable.
    pub(super) fn sync_placed(
        &self,
        placed: Placed,
        spot: &Spot<'_>,
    ) -> Result<Placed, EntryError> {
        if !self.options.durable {
            return Ok(placed);
        }
        let synced = sync_directory(spot.directory, &spot.path());
        if synced.is_err() {
            take_away(&placed, spot);
        }
        synced.map(|()| placed)
    }

    /// What stands in the way of an entry at `spot`, where `found` is.
    pub(super) fn obstacle(&self, spot: &Spot<'_>, found: &Status) -> Result<(), EntryError> {
        let existing = self.options.existing;
        if existing == Existing::KeepBoth {
            return Ok(());
        }
        if !self.is_exact(spot, found)? {
            return Err(EntryError::Collides { path: spot.path() });
        }
        match found.kind {
            Kind::File | Kind::Symlink | Kind::Special | Kind::Unknown
                if existing == Existing::Overwrite =>
            {
                Ok(())
            }
            kind => Err(spot.exists(kind)),
        }
    }

    /// The name beside that of `spot` under which an earlier run has placed it, if it has, where both
    /// are kept; `is_it` tells by what is there. Numbers up to `after` are passed over.
    pub(super) fn find_beside(
        &self,
        spot: &Spot<'_>,
        after: u32,
        is_it: impl Fn(&Name, &Status) -> bool,
    ) -> Result<Option<(u32, Name, Status)>, EntryError> {
        if self.options.existing != Existing::KeepBoth {
            return Ok(None);
        }
        for number in after.saturating_add(1)..=NUMBERS_MAX {
            let name = numbered(spot.name, number);
            let found = match spot.directory.status_of(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                found => found.map_err(spot.error("look at"))?,
            };
            let beside = Spot {
                name: &name,
                ..*spot
            };
            if is_it(&name, &found) && self.is_exact(&beside, &found)? {
                return Ok(Some((number, name, found)));
            }
        }
        Ok(None)
    }

    /// Whether what was found at `spot` is called exactly that.
    pub(super) fn is_exact(&self, spot: &Spot<'_>, found: &Status) -> Result<bool, EntryError> {
        self.exact_names
            .is_exact(spot.directory, spot.name, found)
            .map_err(spot.error("look at"))
    }

    fn place_where_taken(
        &self,
        unfinished: &Unfinished,
        spot: &Spot<'_>,
        found: &Status,
    ) -> Result<Placed, EntryError> {
        if self.options.existing == Existing::KeepBoth {
            return place_beside(unfinished, spot, found);
        }
        self.obstacle(spot, found)?;
        let replaced =
            unfinished
                .directory()
                .rename_replace(unfinished.name(), spot.directory, spot.name);
        match replaced {
            Ok(()) => {
                unfinished.leave();
                Ok(Placed::Replaced)
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::ISDIR) => {
                Err(spot.exists(Kind::Directory))
            }
            Err(error) => Err(naming_error(spot, error)),
        }
    }
}

/// Removes what was placed at `spot` if nothing was replaced by it.
pub(super) fn take_away(placed: &Placed, spot: &Spot<'_>) {
    let name = match placed {
        Placed::New => spot.name,
        Placed::Beside(name) => name,
        Placed::Replaced | Placed::Same | Placed::PutOff => return,
    };
    // The entry has failed whether or not this succeeds.
    let _ = spot.directory.remove_file(name);
}

fn place_beside(
    unfinished: &Unfinished,
    spot: &Spot<'_>,
    found: &Status,
) -> Result<Placed, EntryError> {
    for number in 1..=NUMBERS_MAX {
        let name = numbered(spot.name, number);
        let moved =
            unfinished
                .directory()
                .rename_no_replace(unfinished.name(), spot.directory, &name);
        match moved {
            Ok(()) => {
                unfinished.leave();
                return Ok(Placed::Beside(name));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(naming_error(spot, error)),
        }
    }
    Err(spot.exists(found.kind))
}

/// What a rename's failure means: with the file complete, it is about the name.
fn naming_error(spot: &Spot<'_>, source: io::Error) -> EntryError {
    match Errno::from_io_error(&source) {
        Some(Errno::INVAL) => EntryError::UnusableName {
            path: spot.path(),
            source,
        },
        _ => spot.error("name")(source),
    }
}
