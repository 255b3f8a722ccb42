//! A walk through a tree of a source, in the order in which trees are told.

use std::sync::Arc;

use packhorse_protocol::entry::{DirectoryInfo, FileInfo, Refusal};
use packhorse_protocol::filter::{Filter, Subject};
use packhorse_protocol::limits::PATH_BYTES_MAX;
use packhorse_protocol::message::EntryOptions;
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::tree::Cursor;

use crate::source::{
    Found, Identity, Source, SourceDirectory, SourceEntry, SourceError, SourceFile, SourceLink,
    SourceNames,
};

/// Directories that a walk holds open: the deepest of those it is in. Besides these it holds the
/// root of the tree; the others it opens again when it comes back to them.
const DIRECTORIES_OPEN_MAX: usize = 64;

/// What a walk tells, and of what.
#[derive(Debug, Clone)]
pub struct WalkOptions {
    /// What is said of entries, and whether links are followed.
    pub entries: EntryOptions,
    /// Enter directories below the first; otherwise they are only told.
    pub recursive: bool,
    /// Which entries are wanted, by their paths below the root of the tree.
    pub filter: Filter,
}

/// A walk through a tree: an iterator over what it finds.
///
/// A directory comes before what lies in it: first its files and links, sorted by the bytes of their
/// names, then each directory in it, likewise sorted, with all that it holds. So what follows a
/// directory lies in it until the next directory comes. The first item is the root of the tree or,
/// if the tree is a single file or link, only that.
///
/// Something that cannot be read is told as skipped, and the rest goes on. For each directory that
/// it is in, the walk holds its names (see [`SourceNames`]); it holds at most 65 of them open.
pub struct TreeWalk {
    source: Arc<dyn Source>,
    /// Where the root of the tree is in the source.
    start: RelativePath,
    options: WalkOptions,
    /// The directories that the walk is in, from the root of the tree down; empty for a single file.
    frames: Vec<Frame>,
    /// The deepest of them, below the root of the tree.
    path: RelativePath,
    /// What is told before the frames go on.
    first: Option<WalkItem>,
    /// The file told last.
    told: Option<Name>,
}

/// Something that a walk finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalkItem {
    /// A directory; the items behind it lie in it.
    Directory {
        /// Its path below the root of the tree.
        path: RelativePath,
        /// What is said of it.
        info: DirectoryInfo,
    },
    /// A regular file in the current directory.
    File {
        /// Its name.
        name: Name,
        /// What is said of it.
        info: FileInfo,
    },
    /// A symbolic link in the current directory.
    Link {
        /// Its name.
        name: Name,
        /// What is said of it.
        link: SourceLink,
    },
    /// Something that cannot be told.
    Skipped {
        /// Its path below the root of the tree, in bytes: it may be none that Packhorse can use.
        path: Vec<u8>,
        /// Why.
        refusal: Refusal,
    },
}

impl TreeWalk {
    /// Begins a walk through what is at `start`: at its root or, if there is a cursor, behind the
    /// item that the cursor names, or where that would be if it has gone since.
    ///
    /// # Errors
    /// Why `start` cannot be read; `NotDirectory` if there is a cursor and `start` is a file.
    pub fn open(
        source: Arc<dyn Source>,
        start: &RelativePath,
        options: WalkOptions,
        cursor: Option<Cursor>,
    ) -> Result<Self, SourceError> {
        let found = source.find(start, options.entries)?;
        let mut walk = Self {
            source,
            start: start.clone(),
            options,
            frames: Vec::new(),
            path: RelativePath::ROOT,
            first: None,
            told: None,
        };
        match (found, cursor) {
            (Found::Directory(directory), None) => {
                let path = RelativePath::ROOT;
                let info = directory.info()?;
                walk.first = Some(WalkItem::Directory { path, info });
                walk.frames.push(Frame::new(directory)?);
            }
            (Found::Directory(directory), Some(cursor)) => {
                walk.frames.push(Frame::new(directory)?);
                walk.go_behind(&cursor);
            }
            (Found::File(_) | Found::Link(_), Some(_)) => return Err(Refusal::NotDirectory.into()),
            (single, None) => walk.first = Some(walk.single(single)?),
        }
        Ok(walk)
    }

    /// The directory that files and links lie in now, below the root of the tree.
    #[must_use]
    pub fn directory(&self) -> &RelativePath {
        &self.path
    }

    /// Opens the file `name` of the current directory: cheapest for the one told last. The state in
    /// which it is opened may be another than was told.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open_file(&mut self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError> {
        if self.frames.is_empty() {
            let found = self.source.find(&self.start, self.options.entries)?;
            return found.into_file();
        }
        let is_told = self.told.as_ref() == Some(name);
        let directory = self.open_current()?;
        match is_told {
            true => directory.open_file_seen(name),
            false => directory.open_file(name),
        }
    }

    /// The item of a tree that is no directory.
    fn single(&mut self, found: Found) -> Result<WalkItem, SourceError> {
        let (_, name) = self.start.split_last().ok_or(Refusal::NotDirectory)?;
        Ok(match found {
            Found::Directory(_) => return Err(Refusal::IsDirectory.into()),
            Found::File(file) => WalkItem::File {
                name,
                info: file.info()?,
            },
            Found::Link(link) => WalkItem::Link { name, link },
        })
    }

    /// Goes to the place behind what `cursor` names, as far as the way there still exists.
    fn go_behind(&mut self, cursor: &Cursor) {
        for name in cursor.directory.names() {
            self.deepest().pass_directory(&name);
            if !self.options.recursive || !self.wants(&name, Subject::Directory) {
                return;
            }
            match self.enter(&name) {
                Ok(_) => {}
                // It has gone, and nothing in it is left to tell.
                Err(error) if is_gone(&error) => return,
                Err(error) => {
                    self.first = Some(self.skipped(name.as_bytes(), error.refusal));
                    return;
                }
            }
        }
        if let Some(after) = &cursor.after {
            self.deepest().pass_other(after);
        }
    }

    fn deepest(&mut self) -> &mut Frame {
        self.frames
            .last_mut()
            .expect("a walk through a directory is in it until its end")
    }

    /// The item for what is called `name` and is not listed as a directory, if it is wanted.
    fn tell_other(&mut self, name: Name) -> Option<WalkItem> {
        if !self.wants(&name, Subject::Other) {
            return None;
        }
        if self.length_with(&name) > PATH_BYTES_MAX {
            return Some(self.skipped(name.as_bytes(), Refusal::UnusableName));
        }
        let entry = self
            .open_current()
            .and_then(|directory| directory.entry(&name));
        Some(match entry {
            Ok(SourceEntry::File(info)) => {
                self.told = Some(name.clone());
                WalkItem::File { name, info }
            }
            Ok(SourceEntry::Link(link)) => WalkItem::Link { name, link },
            // It was none when the names were read, and the time of directories is yet to come.
            Ok(SourceEntry::Directory(_)) => self.skipped(name.as_bytes(), Refusal::Changed),
            Err(error) => self.skipped(name.as_bytes(), error.refusal),
        })
    }

    /// The item for the directory `name`, if it is wanted; enters it if it shall.
    fn tell_directory(&mut self, name: &Name) -> Option<WalkItem> {
        if !self.wants(name, Subject::Directory) {
            return None;
        }
        let skipped_path = below(&self.path, name.as_bytes());
        let told = match self.options.recursive {
            true => self.enter(name),
            false => self.look_at(name),
        };
        Some(told.unwrap_or_else(|error| WalkItem::Skipped {
            path: skipped_path,
            refusal: match error.refusal {
                // It was one when the names were read.
                Refusal::NotDirectory => Refusal::Changed,
                other => other,
            },
        }))
    }

    /// Enters the directory `name` of the current one.
    fn enter(&mut self, name: &Name) -> Result<WalkItem, SourceError> {
        let path = self.path.join(name)?;
        let directory = self.open_current()?.open_directory(name)?;
        let identity = directory.identity();
        let is_above = |frame: &Frame| identity.is_some() && frame.identity == identity;
        if self.options.entries.follows_links() && self.frames.iter().any(is_above) {
            return Err(Refusal::LinkLoop.into());
        }
        let info = directory.info()?;
        self.frames.push(Frame::new(directory)?);
        self.path = path.clone();
        let above = self.frames.len().checked_sub(DIRECTORIES_OPEN_MAX + 1);
        if let Some(above) = above.filter(|&above| above > 0) {
            self.frames[above].directory = None;
        }
        Ok(WalkItem::Directory { path, info })
    }

    /// The directory `name` of the current one, without entering it.
    fn look_at(&mut self, name: &Name) -> Result<WalkItem, SourceError> {
        let path = self.path.join(name)?;
        match self.open_current()?.entry(name)? {
            SourceEntry::Directory(info) => Ok(WalkItem::Directory { path, info }),
            SourceEntry::File(_) | SourceEntry::Link(_) => Err(Refusal::NotDirectory.into()),
        }
    }

    /// The current directory, opened again if it was closed meanwhile.
    fn open_current(&mut self) -> Result<&dyn SourceDirectory, SourceError> {
        let (root, frame) = match self.frames.as_mut_slice() {
            [] => return Err(Refusal::NotDirectory.into()),
            [root] => (None, root),
            [root, .., frame] => (root.directory.as_deref(), frame),
        };
        if frame.directory.is_none() {
            let mut reached: Option<Box<dyn SourceDirectory>> = None;
            for name in self.path.names() {
                let parent = reached.as_deref().or(root).ok_or(Refusal::NotFound)?;
                reached = Some(parent.open_directory(&name)?);
            }
            let reached = reached.ok_or(Refusal::NotFound)?;
            if reached.identity() != frame.identity {
                return Err(Refusal::Changed.into());
            }
            frame.directory = Some(reached);
        }
        Ok(frame.directory.as_deref().ok_or(Refusal::NotFound)?)
    }

    fn leave(&mut self) {
        self.frames.pop();
        if let Some((parent, _)) = self.path.split_last() {
            self.path = parent;
        }
    }

    fn wants(&self, name: &Name, subject: Subject) -> bool {
        // What has too long a path is told as such.
        let path = self.path.join(name);
        path.map_or(true, |path| self.options.filter.wants(&path, subject))
    }

    /// The length of the path by which `name` of the current directory is asked for.
    fn length_with(&self, name: &Name) -> usize {
        let parts = [self.start.as_bytes(), self.path.as_bytes(), name.as_bytes()];
        let lengths = parts
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| part.len() + 1);
        lengths.sum::<usize>() - 1
    }

    fn skipped(&self, name: &[u8], refusal: Refusal) -> WalkItem {
        let path = below(&self.path, name);
        WalkItem::Skipped { path, refusal }
    }
}

impl Iterator for TreeWalk {
    type Item = WalkItem;

    fn next(&mut self) -> Option<WalkItem> {
        self.told = None;
        if let Some(item) = self.first.take() {
            return Some(item);
        }
        loop {
            let item = match self.frames.last_mut()?.step() {
                Step::Unusable(name) => Some(self.skipped(&name, Refusal::UnusableName)),
                Step::Other(name) => self.tell_other(name),
                Step::Directory(name) => self.tell_directory(&name),
                Step::End => {
                    self.leave();
                    None
                }
            };
            if item.is_some() {
                return item;
            }
        }
    }
}

/// A directory that the walk is in.
struct Frame {
    directory: Option<Box<dyn SourceDirectory>>,
    identity: Option<Identity>,
    names: SourceNames,
    next_unusable: usize,
    next_name: usize,
}

/// What comes next in a directory.
enum Step {
    Unusable(Vec<u8>),
    Other(Name),
    Directory(Name),
    End,
}

impl Frame {
    fn new(directory: Box<dyn SourceDirectory>) -> Result<Self, SourceError> {
        Ok(Self {
            names: directory.names()?,
            identity: directory.identity(),
            directory: Some(directory),
            next_unusable: 0,
            next_name: 0,
        })
    }

    fn step(&mut self) -> Step {
        if let Some(name) = self.names.unusable().get(self.next_unusable) {
            self.next_unusable += 1;
            return Step::Unusable(name.clone());
        }
        let index = self.next_name;
        if index >= self.names.len() {
            return Step::End;
        }
        self.next_name += 1;
        let name = self.names.name(index);
        match index < self.names.others() {
            true => Step::Other(name),
            false => Step::Directory(name),
        }
    }

    /// Goes behind the directory `name` and all that it holds.
    fn pass_directory(&mut self, name: &Name) {
        self.next_unusable = self.names.unusable().len();
        self.next_name = self.names.directory_after(name);
    }

    /// Goes behind `name`, which is not a directory.
    fn pass_other(&mut self, name: &Name) {
        self.next_unusable = self.names.unusable().len();
        self.next_name = self.names.other_after(name);
    }
}

fn is_gone(error: &SourceError) -> bool {
    matches!(error.refusal, Refusal::NotFound | Refusal::NotDirectory)
}

fn below(path: &RelativePath, name: &[u8]) -> Vec<u8> {
    let mut joined = path.as_bytes().to_vec();
    if !joined.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}
