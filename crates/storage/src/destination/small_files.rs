//! Files that came in one piece: many of one directory at once, with few system calls for each.

use std::io;

use packhorse_protocol::entry::FileInfo;
use packhorse_protocol::path::{Name, RelativePath};

use crate::directory::Directory;
use crate::file::File;

use super::job::Unfinished;
use super::large_file::write_with_holes;
use super::metadata::{complete_file, mode_at_creation};
use super::placement::{Placed, take_away};
use super::{Destination, EntryError, Site, Spot};

/// A file whose content is at hand and verified.
#[derive(Debug, Clone, Copy)]
pub struct SmallFile<'a> {
    /// Its name in its directory.
    pub name: &'a Name,
    /// What is said of it.
    pub info: &'a FileInfo,
    /// All of its content.
    pub content: &'a [u8],
}

impl Destination {
    /// Writes `files`, all of one `directory`; returns for each, in order, how it arrived or why
    /// not.
    pub fn write_small(
        &self,
        directory: &RelativePath,
        files: &[SmallFile<'_>],
    ) -> Vec<Result<Placed, EntryError>> {
        let mut opened = None;
        let mut outcomes: Vec<_> = files
            .iter()
            .map(|file| {
                let placed = self.site.write_one(directory, &mut opened, file);
                placed.map_err(|error| self.site.lack(error))
            })
            .collect();
        let is_any_placed = outcomes.iter().any(Result::is_ok);
        if let (true, Some(opened)) = (self.site.options.durable && is_any_placed, &opened) {
            self.site
                .sync_all_placed(opened, directory, files, &mut outcomes);
        }
        outcomes
    }
}

impl Site {
    /// Writes one file; opens its directory unless that is in `opened` already.
    fn write_one(
        &self,
        parent: &RelativePath,
        opened: &mut Option<Directory>,
        file: &SmallFile<'_>,
    ) -> Result<Placed, EntryError> {
        let directory = match opened {
            Some(directory) => &*directory,
            None => opened.insert(self.open_directory(parent)?),
        };
        let spot = Spot {
            directory,
            parent,
            name: file.name,
        };
        let unfinished = self.write_unfinished(&spot, file)?;
        self.place(&unfinished, &spot)
    }

    fn write_unfinished(
        &self,
        spot: &Spot<'_>,
        small: &SmallFile<'_>,
    ) -> Result<Unfinished, EntryError> {
        let SmallFile { info, content, .. } = small;
        if content.len() as u64 != info.size {
            return Err(EntryError::WrongLength {
                path: spot.path(),
                size: info.size,
            });
        }
        let folder = match self.folder.get() {
            Some(folder) => folder,
            None => self.folder_for(&spot.path())?,
        };
        let mode = mode_at_creation(&self.options, info);
        let (unfinished, file) = folder.create_file(mode).map_err(spot.error("write"))?;
        write_content(&file, info, content).map_err(spot.error("write"))?;
        complete_file(&self.options, &unfinished, &file, || spot.path(), info)?;
        Ok(unfinished)
    }

    /// Makes the names durable that were given in `directory`, with one call for all.
    fn sync_all_placed(
        &self,
        directory: &Directory,
        parent: &RelativePath,
        files: &[SmallFile<'_>],
        outcomes: &mut [Result<Placed, EntryError>],
    ) {
        let Err(error) = directory.sync() else {
            return;
        };
        for (file, outcome) in files.iter().zip(outcomes) {
            let Ok(placed) = outcome else {
                continue;
            };
            let spot = Spot {
                directory,
                parent,
                name: file.name,
            };
            take_away(placed, &spot);
            let source = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::from(error.kind()),
            };
            let path = spot.path();
            *outcome = Err(EntryError::SyncFailed { path, source });
        }
    }
}

fn write_content(file: &File, info: &FileInfo, content: &[u8]) -> io::Result<()> {
    if info.sparse {
        file.set_length(info.size)?;
        write_with_holes(file, 0, content)
    } else {
        file.write_all_at(0, content)
    }
}
