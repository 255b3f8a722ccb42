//! Trees for tests, and a disk whose calls a test hears.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::filter::{Filter, Patterns};
use packhorse_protocol::message::{EntryOptions, LinkMode};
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::tree::Cursor;
use packhorse_storage::directory_source::DirectorySource;
use packhorse_storage::disk::{Disk, DiskCall, DiskHook, Verdict};
use packhorse_storage::root::{Method, Root};
use packhorse_storage::source::{Found, Source, SourceDirectory, SourceError, SourceFile};
use packhorse_storage::walk::{TreeWalk, WalkItem, WalkOptions};
use tempfile::TempDir;

pub(crate) const METHODS: [Method; 2] = [Method::Openat2, Method::Steps];

pub(crate) const KEEP: EntryOptions = EntryOptions {
    links: LinkMode::Keep,
    xattrs: false,
    hard_links: false,
};

pub(crate) const FOLLOW: EntryOptions = EntryOptions {
    links: LinkMode::Follow,
    ..KEEP
};

pub(crate) fn path(text: impl AsRef<[u8]>) -> RelativePath {
    RelativePath::parse(text.as_ref()).unwrap()
}

pub(crate) fn name(text: impl AsRef<[u8]>) -> Name {
    Name::parse(text.as_ref()).unwrap()
}

/// A directory `root`, to be served, and room beside it.
pub(crate) struct Tree {
    base: TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self::beneath(tempfile::tempdir().unwrap())
    }

    /// A tree in memory if this machine has room for one there: a test that makes thousands waits
    /// for the disk otherwise.
    pub(crate) fn in_memory() -> Self {
        Self::beneath(
            tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .unwrap(),
        )
    }

    fn beneath(base: TempDir) -> Self {
        fs::create_dir(base.path().join("root")).unwrap();
        Self { base }
    }

    pub(crate) fn at(&self, below: impl AsRef<Path>) -> PathBuf {
        self.base.path().join("root").join(below)
    }

    pub(crate) fn directory(&self, below: impl AsRef<Path>) -> &Self {
        fs::create_dir_all(self.at(below)).unwrap();
        self
    }

    pub(crate) fn file(&self, below: impl AsRef<Path>, content: impl AsRef<[u8]>) -> &Self {
        let file = self.at(below);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        self
    }

    pub(crate) fn link(&self, below: impl AsRef<Path>, target: impl AsRef<Path>) -> &Self {
        std::os::unix::fs::symlink(target, self.at(below)).unwrap();
        self
    }

    pub(crate) fn fifo(&self, below: impl AsRef<Path>) -> &Self {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mkfifoat(rustix::fs::CWD, self.at(below), mode).unwrap();
        self
    }

    pub(crate) fn root(&self, disk: Disk, method: Method) -> Root {
        Root::open_with(disk, &self.at(""), method).unwrap()
    }

    pub(crate) fn source(&self) -> Arc<dyn Source> {
        self.source_on(Disk::new())
    }

    pub(crate) fn source_on(&self, disk: Disk) -> Arc<dyn Source> {
        Arc::new(DirectorySource::open(disk, &self.at("")).unwrap())
    }
}

/// A disk that asks `decide` before each call.
pub(crate) fn disk_with(
    decide: impl Fn(&DiskCall<'_>) -> io::Result<Verdict> + Send + Sync + 'static,
) -> Disk {
    struct Deciding<F>(F);
    impl<F: Fn(&DiskCall<'_>) -> io::Result<Verdict> + Send + Sync> DiskHook for Deciding<F> {
        fn before(&self, call: &DiskCall<'_>) -> io::Result<Verdict> {
            (self.0)(call)
        }
    }
    Disk::with_hook(Arc::new(Deciding(decide)))
}

pub(crate) fn open_directory(source: &dyn Source, at: &str) -> Box<dyn SourceDirectory> {
    match source.find(&path(at), KEEP).unwrap() {
        Found::Directory(directory) => directory,
        other => panic!("{at} is {other:?}"),
    }
}

/// The content of the file at `at`.
pub(crate) fn read(
    source: &dyn Source,
    at: &str,
    options: EntryOptions,
) -> Result<Vec<u8>, SourceError> {
    let file = source.find(&path(at), options)?.into_file()?;
    content(&*file)
}

pub(crate) fn content(file: &dyn SourceFile) -> Result<Vec<u8>, SourceError> {
    let mut content = vec![0; 1 << 16];
    let length = file.read_at(0, &mut content)?;
    content.truncate(length);
    Ok(content)
}

/// What a walk tells, without what it says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Directory(RelativePath),
    File(Name),
    Link(Name),
    Skipped(Vec<u8>, Refusal),
}

pub(crate) fn tell(walk: TreeWalk) -> Vec<Told> {
    walk.map(|item| match item {
        WalkItem::Directory { path, .. } => Told::Directory(path),
        WalkItem::File { name, .. } => Told::File(name),
        WalkItem::Link { name, .. } => Told::Link(name),
        WalkItem::Skipped { path, refusal } => Told::Skipped(path, refusal),
    })
    .collect()
}

/// What a walk tells, as lines to read: a directory ends in `/`, a link in `@`.
pub(crate) fn lines(walk: TreeWalk) -> Vec<String> {
    let told = tell(walk).into_iter();
    told.map(|told| match told {
        Told::Directory(path) => format!("{path}/"),
        Told::File(name) => name.to_string(),
        Told::Link(name) => format!("{name}@"),
        Told::Skipped(path, refusal) => format!("{} {refusal:?}", Escaped(&path)),
    })
    .collect()
}

pub(crate) fn options(entries: EntryOptions) -> WalkOptions {
    WalkOptions {
        entries,
        recursive: true,
        filter: Filter::new(&Patterns::default()).unwrap(),
    }
}

pub(crate) fn walk_from(
    source: &Arc<dyn Source>,
    start: &str,
    entries: EntryOptions,
    cursor: Option<Cursor>,
) -> TreeWalk {
    TreeWalk::open(Arc::clone(source), &path(start), options(entries), cursor).unwrap()
}
