//! Symbolic and hard links at the destination.

use std::io;

use packhorse_protocol::entry::{Mode, Timestamp};
use packhorse_protocol::path::{Name, RelativePath};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::root::Links;
use crate::status::{Kind, Status};

use super::directories::allow_owner;
use super::link_target::{Reach, reach};
use super::placement::Placed;
use super::{Destination, EntryError, Site, Spot};

/// Memory for links that are put off: their paths and targets together.
const PUT_OFF_BYTES_MAX: usize = 16 << 20;

impl Destination {
    /// Makes the symbolic link `path`, which points to `target`.
    ///
    /// A target with a `..` behind a name is [`Placed::PutOff`] to [`finish`](Self::finish), when
    /// what it leads through is there: it is made if those are directories, and no links.
    ///
    /// # Errors
    /// `LinkLeaves` unless such links were allowed; `Exists`, `Collides`; `UnusableTarget`;
    /// otherwise the system's own.
    pub fn make_link(
        &self,
        path: &RelativePath,
        target: &[u8],
        modified: Timestamp,
    ) -> Result<Placed, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(EntryError::Exists {
                path: path.clone(),
                found: Kind::Directory,
            });
        };
        if target.is_empty() || target.contains(&0) {
            return Err(EntryError::UnusableTarget { path: path.clone() });
        }
        let link = Link {
            parent,
            name,
            target: target.to_vec(),
            modified,
        };
        if self.site.options.unsafe_links {
            return self.site.place_link(&link);
        }
        match reach(link.parent.depth(), target) {
            Reach::Inside => self.site.place_link(&link),
            Reach::Undecided { checked } => {
                let mut put_off = self.site.put_off();
                if put_off.is_settled {
                    return Err(link.leaves());
                }
                put_off.links.add(link, checked)
            }
            Reach::Leaves => Err(link.leaves()),
        }
    }

    /// Gives the regular file `existing` the second name `new`.
    ///
    /// # Errors
    /// `NoHardLink` where that cannot be, and the content must be fetched for `new` too; `NotFile`;
    /// `Exists`, `Collides`; otherwise the system's own.
    pub fn hard_link(
        &self,
        existing: &RelativePath,
        new: &RelativePath,
    ) -> Result<Placed, EntryError> {
        let split = |path: &RelativePath| {
            path.split_last()
                .ok_or_else(|| EntryError::NotFile { path: path.clone() })
        };
        let ((from_parent, from_name), (parent, name)) = (split(existing)?, split(new)?);
        let from = self.site.open_directory(&from_parent)?;
        let file = from
            .status_of(&from_name)
            .map_err(|error| EntryError::new("look at", existing, error))?;
        if file.kind != Kind::File {
            return Err(EntryError::NotFile {
                path: existing.clone(),
            });
        }
        let directory = self.site.open_directory(&parent)?;
        let spot = Spot {
            directory: &directory,
            parent: &parent,
            name: &name,
        };
        match directory.status_of(&name) {
            Ok(found) if found.is_same_object(&file) && self.site.is_exact(&spot, &found)? => {
                return Ok(Placed::Same);
            }
            Ok(found) => {
                let is_it = |_: &Name, found: &Status| found.is_same_object(&file);
                if self.site.find_beside(&spot, 0, is_it)?.is_some() {
                    return Ok(Placed::Same);
                }
                self.site.obstacle(&spot, &found)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(spot.error("look at")(error)),
        }
        let folder = self.site.folder_for(new)?;
        let unfinished = folder
            .hard_link(&from, &from_name)
            .map_err(|error| hard_link_error(new, error))?;
        // The name may have come to stand for something else since it was looked at.
        let linked = unfinished.directory().status_of(unfinished.name());
        if !linked.map_err(spot.error("look at"))?.is_same_object(&file) {
            return Err(EntryError::ChangedHere {
                path: existing.clone(),
            });
        }
        let placed = self.site.place(&unfinished, &spot)?;
        self.site.sync_placed(placed, &spot)
    }
}

/// A symbolic link to be made.
#[derive(Debug)]
struct Link {
    parent: RelativePath,
    name: Name,
    target: Vec<u8>,
    modified: Timestamp,
}

impl Link {
    fn spot<'a>(&'a self, directory: &'a Directory) -> Spot<'a> {
        Spot {
            directory,
            parent: &self.parent,
            name: &self.name,
        }
    }

    fn path(&self) -> RelativePath {
        self.parent
            .join(&self.name)
            .expect("both are parts of one path")
    }

    fn leaves(&self) -> EntryError {
        EntryError::LinkLeaves { path: self.path() }
    }
}

impl Site {
    fn place_link(&self, link: &Link) -> Result<Placed, EntryError> {
        let directory = self.open_directory(&link.parent)?;
        let spot = link.spot(&directory);
        match directory.status_of(&link.name) {
            Ok(found) => {
                if found.kind == Kind::Symlink
                    && self.is_exact(&spot, &found)?
                    && directory
                        .read_link(&link.name)
                        .is_ok_and(|target| target == link.target)
                {
                    if found.modified != link.modified {
                        directory
                            .set_times_of(&link.name, link.modified)
                            .map_err(spot.error("set the time of"))?;
                    }
                    return Ok(Placed::Same);
                }
                let is_it = |name: &Name, found: &Status| {
                    found.kind == Kind::Symlink
                        && found.modified == link.modified
                        && directory
                            .read_link(name)
                            .is_ok_and(|target| target == link.target)
                };
                if self.find_beside(&spot, 0, is_it)?.is_some() {
                    return Ok(Placed::Same);
                }
                self.obstacle(&spot, &found)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(spot.error("look at")(error)),
        }
        let unfinished = self
            .folder_for(&spot.path())?
            .make_symlink(&link.target)
            .map_err(|error| self.lack(symlink_error(&spot, error)))?;
        unfinished
            .directory()
            .set_times_of(unfinished.name(), link.modified)
            .map_err(spot.error("set the time of"))?;
        let placed = self.place(&unfinished, &spot)?;
        self.sync_placed(placed, &spot)
    }

    /// Calls `change`, which changes what is in the sealed directory `path`, and seals that again
    /// as it was.
    fn unsealed<T>(
        &self,
        path: &RelativePath,
        change: impl FnOnce() -> Result<T, EntryError>,
    ) -> Result<T, EntryError> {
        let Some((parent, name)) = path.split_last() else {
            return change();
        };
        let above = self.open_directory(&parent)?;
        let spot = Spot {
            directory: &above,
            parent: &parent,
            name: &name,
        };
        let sealed = above.status_of(&name).map_err(spot.error("look at"))?;
        allow_owner(&spot, &sealed);
        let changed = change();
        let now = above.status_of(&name).map_err(spot.error("look at"))?;
        if now.mode != sealed.mode {
            above
                .set_mode_of(&name, Mode::from_bits(sealed.mode))
                .map_err(spot.error("set the mode of"))?;
        }
        above
            .set_times_of(&name, sealed.modified)
            .map_err(spot.error("set the time of"))?;
        changed
    }
}

/// Links that climb behind a name, kept until it is known whether that is a directory.
#[derive(Debug, Default)]
pub(super) struct PutOffLinks {
    links: Vec<PutOffLink>,
    bytes: usize,
}

#[derive(Debug)]
struct PutOffLink {
    link: Link,
    /// The part of the target that decides, in bytes.
    checked: usize,
}

impl PutOffLinks {
    fn add(&mut self, link: Link, checked: usize) -> Result<Placed, EntryError> {
        let bytes = link.parent.as_bytes().len() + link.name.as_bytes().len() + link.target.len();
        if self.bytes + bytes > PUT_OFF_BYTES_MAX {
            return Err(EntryError::TooManyLinks { path: link.path() });
        }
        self.bytes += bytes;
        self.links.push(PutOffLink { link, checked });
        Ok(Placed::PutOff)
    }

    /// Where they will be.
    pub(super) fn paths(&self) -> Vec<RelativePath> {
        let links = self.links.iter();
        links.map(|put_off| put_off.link.path()).collect()
    }

    /// Makes the links that stay inside, and tells what became of each.
    pub(super) fn settle(self, site: &Site) -> Vec<(RelativePath, Result<Placed, EntryError>)> {
        let settled = self.links.into_iter().map(|PutOffLink { link, checked }| {
            let placed = match stays_inside(site, &link, checked) {
                true => site.unsealed(&link.parent, || site.place_link(&link)),
                false => Err(link.leaves()),
            };
            (link.path(), placed)
        });
        settled.collect()
    }
}

/// Whether each `..` in the first `checked` bytes of the link's target stands behind real
/// directories only, so that its text tells where it leads.
///
/// A link on the way may lead inside now and elsewhere after another run has replaced it, and this
/// link would change its meaning with it. A directory is never replaced.
fn stays_inside(site: &Site, link: &Link, checked: usize) -> bool {
    let mut at = link.parent.clone();
    for part in link.target[..checked].split(|&byte| byte == b'/') {
        let next = match part {
            b"" | b"." => continue,
            b".." => match site.root.enter(&at, Links::Refuse) {
                Ok(_) => at.split_last().map(|(above, _)| above),
                Err(_) => None,
            },
            name => Name::parse(name).and_then(|name| at.join(&name)).ok(),
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    true
}

fn symlink_error(spot: &Spot<'_>, error: io::Error) -> EntryError {
    match Errno::from_io_error(&error) {
        Some(Errno::NAMETOOLONG) => EntryError::UnusableTarget { path: spot.path() },
        _ => spot.error("make the link")(error),
    }
}

/// Hard links fail for reasons of the file system, its limits or its policy, where a copy of the
/// content does not.
fn hard_link_error(path: &RelativePath, source: io::Error) -> EntryError {
    match Errno::from_io_error(&source) {
        Some(
            Errno::PERM
            | Errno::OPNOTSUPP
            | Errno::NOSYS
            | Errno::MLINK
            | Errno::XDEV
            | Errno::INVAL,
        ) => EntryError::NoHardLink {
            path: path.clone(),
            source,
        },
        _ => EntryError::new("make the hard link", path, source),
    }
}
