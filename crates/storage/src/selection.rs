//! Several files and directories of this machine as one source.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packhorse_protocol::entry::{DirectoryInfo, Mode, Refusal, Timestamp};
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::message::EntryOptions;
use packhorse_protocol::path::{Name, PathError, RelativePath};
use thiserror::Error;

use crate::directory::Directory;
use crate::directory_source::{DirectorySource, open_known};
use crate::disk::Disk;
use crate::listing::Listing;
use crate::root::{Located, locate};
use crate::source::{
    Found, Identity, Source, SourceDirectory, SourceEntry, SourceError, SourceFile, SourceNames,
    WholeFile,
};
use crate::status::Kind;

/// Files and directories that a user chose, under their own names in a root that exists nowhere.
///
/// What a link leads to that the user named is chosen with it. A link inside one of the directories
/// must stay in that directory.
#[derive(Debug)]
pub struct SelectionSource {
    chosen: Arc<BTreeMap<Name, Chosen>>,
}

/// Why a choice cannot be served.
#[derive(Debug, Error)]
pub enum SelectionError {
    /// Nothing at that path, or nothing that can be read.
    #[error("cannot serve `{}`", Escaped(path.as_os_str().as_encoded_bytes()))]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A path without a last name that could stand for it, or with one that is reserved.
    #[error("cannot serve `{}` by its name: {error}", Escaped(path.as_os_str().as_encoded_bytes()))]
    Name {
        /// The path.
        path: PathBuf,
        /// What is wrong with its name.
        error: PathError,
    },
    /// Two paths that end in the same name.
    #[error(
        "`{}` ends in the same name as a path before it: serve them apart, or a directory above both",
        Escaped(path.as_os_str().as_encoded_bytes())
    )]
    SameName {
        /// The second of them.
        path: PathBuf,
    },
}

#[derive(Debug)]
enum Chosen {
    Directory(DirectorySource),
    /// A file by its name, so that one which takes its place is served from then on.
    File(Directory, Name),
}

impl SelectionSource {
    /// The files and directories at `paths`.
    ///
    /// # Errors
    /// The first path that cannot be served.
    pub fn open(disk: &Disk, paths: &[impl AsRef<Path>]) -> Result<Self, SelectionError> {
        let mut chosen = BTreeMap::new();
        for path in paths {
            let path = path.as_ref();
            let (name, located) = locate(disk, path).map_err(|error| SelectionError::Open {
                path: path.to_owned(),
                error,
            })?;
            let parse = |bytes: &[u8]| {
                Name::parse(bytes).map_err(|error| SelectionError::Name {
                    path: path.to_owned(),
                    error,
                })
            };
            let item = match located {
                Located::Directory(root) => Chosen::Directory(DirectorySource::new(root)),
                Located::File(parent, name) => Chosen::File(parent, parse(&name)?),
            };
            if chosen.insert(parse(&name)?, item).is_some() {
                let path = path.to_owned();
                return Err(SelectionError::SameName { path });
            }
        }
        Ok(Self {
            chosen: Arc::new(chosen),
        })
    }
}

impl Source for SelectionSource {
    fn find(&self, path: &RelativePath, options: EntryOptions) -> Result<Found, SourceError> {
        let Some((first, below)) = split_first(path) else {
            return Ok(Found::Directory(Box::new(ChosenDirectory {
                chosen: Arc::clone(&self.chosen),
                options,
            })));
        };
        let chosen = self.chosen.get(&first).ok_or(Refusal::NotFound)?;
        chosen.find(&below, options)
    }

    fn at_hand(
        &self,
        path: &RelativePath,
        bytes_max: u64,
        options: EntryOptions,
    ) -> Option<WholeFile> {
        let (first, below) = split_first(path)?;
        match self.chosen.get(&first)? {
            Chosen::Directory(source) => source.at_hand(&below, bytes_max, options),
            Chosen::File(..) => None,
        }
    }
}

/// The first name of `path`, and what is below it; `None` for the root.
fn split_first(path: &RelativePath) -> Option<(Name, RelativePath)> {
    let first = path.names().next()?;
    let below = path
        .strip_prefix(&first.clone().into())
        .expect("a path lies below its first name");
    Some((first, below))
}

impl Chosen {
    fn find(&self, below: &RelativePath, options: EntryOptions) -> Result<Found, SourceError> {
        match self {
            Self::Directory(source) => source.find(below, options),
            Self::File(..) if !below.is_root() => Err(Refusal::NotDirectory.into()),
            Self::File(parent, name) => {
                let status = parent.status_of(name)?;
                open_known(parent, name, &status, options).map(Found::File)
            }
        }
    }
}

/// The root that exists nowhere.
#[derive(Debug)]
struct ChosenDirectory {
    chosen: Arc<BTreeMap<Name, Chosen>>,
    options: EntryOptions,
}

impl ChosenDirectory {
    fn find(&self, name: &Name) -> Result<Found, SourceError> {
        let chosen = self.chosen.get(name).ok_or(Refusal::NotFound)?;
        chosen.find(&RelativePath::ROOT, self.options)
    }

    fn modified(&self, name: &Name) -> Option<Timestamp> {
        Some(match self.entry(name).ok()? {
            SourceEntry::File(info) => info.modified,
            SourceEntry::Directory(info) => info.modified,
            SourceEntry::Link(link) => link.modified,
        })
    }
}

impl SourceDirectory for ChosenDirectory {
    fn info(&self) -> Result<DirectoryInfo, SourceError> {
        const MODE: u32 = 0o755;
        let newest = self
            .chosen
            .keys()
            .filter_map(|name| self.modified(name))
            .max();
        Ok(DirectoryInfo {
            modified: newest
                .or_else(|| Timestamp::new(0, 0))
                .ok_or(Refusal::Unreadable)?,
            mode: Mode::from_bits(MODE),
            xattrs: Vec::new(),
        })
    }

    fn names(&self) -> Result<SourceNames, SourceError> {
        let mut listing = Listing::default();
        for (name, chosen) in &*self.chosen {
            let kind = match chosen {
                Chosen::Directory(_) => Kind::Directory,
                Chosen::File(..) => Kind::File,
            };
            listing.add(name.as_bytes(), kind)?;
        }
        Ok(SourceNames::new(listing, |_, _| false))
    }

    fn entry(&self, name: &Name) -> Result<SourceEntry, SourceError> {
        Ok(match self.find(name)? {
            Found::Directory(directory) => SourceEntry::Directory(directory.info()?),
            Found::File(file) => SourceEntry::File(file.info()?),
            Found::Link(link) => SourceEntry::Link(link),
        })
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError> {
        self.find(name)?.into_file()
    }

    fn open_directory(&self, name: &Name) -> Result<Box<dyn SourceDirectory>, SourceError> {
        match self.find(name)? {
            Found::Directory(directory) => Ok(directory),
            Found::File(_) | Found::Link(_) => Err(Refusal::NotDirectory.into()),
        }
    }

    fn identity(&self) -> Option<Identity> {
        None
    }
}
