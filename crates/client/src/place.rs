//! What disk jobs do with the pages of a tree and with small files.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_protocol::content::ContentHash;
use packhorse_protocol::entry::{DirectoryInfo, FileInfo, Mode, Refusal, Timestamp};
use packhorse_protocol::filter::{Filter, Subject};
use packhorse_protocol::limits::INLINE_BYTES_MAX;
use packhorse_protocol::path::{Name, PathError, RelativePath};
use packhorse_protocol::session::{Content, Fetched, Item, Violation};
use packhorse_storage::destination::{
    Destination, EntryError, Existing, Placed, Presence, SmallFile,
};

use crate::connection_count::CONNECTIONS_MAX;
use crate::directory::{DirectoryNode, SealQueue};
use crate::links::Links;
use crate::plan::{Candidate, Plan, Wanted};
use crate::report::{Event, Failure, Observer, Totals};
use crate::settings::DownloadSettings;

/// Everything that the jobs of one download share.
pub(crate) struct Site {
    pub(crate) settings: DownloadSettings,
    /// Where what is asked for lands, below the destination.
    pub(crate) base: RelativePath,
    /// What becomes of a file that is there already and differs.
    pub(crate) existing: Existing,
    pub(crate) filter: Filter,
    pub(crate) destination: Destination,
    pub(crate) plan: Plan,
    pub(crate) totals: Arc<Totals>,
    pub(crate) observer: Arc<dyn Observer>,
    /// Whether what is asked for has nothing in its place yet, so that small files come in line.
    pub(crate) in_line: bool,
    seals: Arc<SealQueue>,
    tree: Mutex<TreePlace>,
    pub(crate) links: Links,
}

/// What a [`Site`] is made of.
pub(crate) struct SiteParts {
    pub(crate) settings: DownloadSettings,
    pub(crate) existing: Existing,
    pub(crate) filter: Filter,
    pub(crate) destination: Destination,
    pub(crate) totals: Arc<Totals>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) in_line: bool,
}

/// Where the listing is: the open directories from the root of the tree down.
#[derive(Default)]
struct TreePlace {
    stack: Vec<(RelativePath, Arc<DirectoryNode>)>,
    /// It is a single file or link, which was told.
    is_single: bool,
}

/// An entry of a page with the directory that it goes into.
pub(crate) enum Entry {
    File {
        wanted: Wanted,
        content: Option<(Range<usize>, ContentHash)>,
    },
    Link {
        directory: Arc<DirectoryNode>,
        path: RelativePath,
        target: Vec<u8>,
        modified: Timestamp,
    },
}

impl Entry {
    /// Where it will appear in the destination.
    pub(crate) fn into_path(self) -> RelativePath {
        match self {
            Self::File { wanted, .. } => wanted.path,
            Self::Link { path, .. } => path,
        }
    }
}

/// The place of a name in a page.
struct Location {
    directory: Arc<DirectoryNode>,
    remote: RelativePath,
    path: RelativePath,
    name: Name,
}

impl Location {
    fn file(self, info: FileInfo) -> Wanted {
        let Self {
            directory,
            remote,
            path,
            name,
        } = self;
        Wanted {
            remote,
            directory,
            name,
            info,
            path,
            attempt: 0,
            compare: None,
            is_taken: false,
            counted: None,
        }
    }
}

impl Site {
    /// The shared parts of a download into `destination`.
    pub(crate) fn new(parts: SiteParts) -> Self {
        let SiteParts {
            settings,
            existing,
            filter,
            destination,
            totals,
            observer,
            in_line,
        } = parts;
        Self {
            plan: Plan::new(settings.connections.unwrap_or(CONNECTIONS_MAX)),
            base: Self::base(&settings),
            settings,
            existing,
            filter,
            destination,
            totals,
            observer,
            in_line,
            seals: Arc::default(),
            tree: Mutex::default(),
            links: Links::default(),
        }
    }

    /// Where what is asked for lands, below the destination: under its own name, and the root of a
    /// server as its content.
    pub(crate) fn base(settings: &DownloadSettings) -> RelativePath {
        settings
            .path
            .split_last()
            .map_or(RelativePath::ROOT, |(_, name)| name.into())
    }

    /// Makes the directories of a page and adds to `entries` what is to be placed in them.
    ///
    /// Pages must come here in their order; what it adds may be placed in any.
    ///
    /// # Errors
    /// `Excess`: a single file or link is told that is not the one that was asked for.
    pub(crate) fn enter_page(
        &self,
        items: Vec<Item>,
        entries: &mut VecDeque<Entry>,
    ) -> Result<(), Violation> {
        entries.reserve(items.len());
        let mut tree = self.tree();
        for item in items {
            match item {
                Item::Directory { path, info } => self.enter_directory(&mut tree, path, info),
                Item::File {
                    directory,
                    name,
                    info,
                    content,
                } => {
                    Totals::add(&self.totals.files_seen, 1);
                    Totals::add(&self.totals.bytes_seen, info.size);
                    let location = self.locate(&mut tree, &directory, name)?;
                    let wanted = location.map(|location| location.file(info));
                    // That is settled here, in the order of the listing: jobs have none.
                    let wanted = wanted.filter(|wanted| !self.is_further_name(wanted));
                    entries.extend(wanted.map(|wanted| Entry::File { wanted, content }));
                }
                Item::Link {
                    directory,
                    name,
                    target,
                    modified,
                } => {
                    let location = self.locate(&mut tree, &directory, name)?;
                    entries.extend(location.map(|location| Entry::Link {
                        directory: location.directory,
                        path: location.path,
                        target,
                        modified,
                    }));
                }
                Item::Skipped { path, refusal } => {
                    let is_tree = !tree.stack.is_empty();
                    self.handle_skipped(&told_path(&self.base, is_tree, &path), refusal);
                }
            }
        }
        Ok(())
    }

    fn enter_directory(&self, tree: &mut TreePlace, below: RelativePath, info: DirectoryInfo) {
        if !below.is_root() && !self.filter.wants(&below, Subject::Directory) {
            return;
        }
        while tree
            .stack
            .last()
            .is_some_and(|(top, _)| below.strip_prefix(top).is_none())
        {
            tree.stack.pop();
        }
        // In a directory that has no place here, as it is not wanted, nothing has one.
        let parent = below.split_last().map(|(parent, _)| parent);
        if tree.stack.last().map(|(top, _)| top) != parent.as_ref() {
            return;
        }
        let path = match self.base.join_path(&below) {
            Ok(path) => path,
            Err(error) => return self.fail_path(below.as_bytes(), error),
        };
        Totals::add(&self.totals.directories, 1);
        let parent = tree.stack.last().map(|(_, node)| Arc::clone(node));
        let node = DirectoryNode::new(path, Some(info), parent, &self.seals);
        if !self.filter.is_selective() && !self.settings.dry_run {
            self.make(&node);
        }
        tree.stack.push((below, node));
    }

    /// The place of a name in a page, told of the directory `below`; `None` if it is not wanted or
    /// cannot be.
    fn locate(
        &self,
        tree: &mut TreePlace,
        below: &RelativePath,
        name: Name,
    ) -> Result<Option<Location>, Violation> {
        let directory = match tree.stack.last() {
            // Told again, since a connection was lost before the end was told.
            _ if tree.is_single => return Ok(None),
            None => return self.single(tree, name).map(Some),
            Some((top, directory)) if top == below => directory,
            // It lies in a directory that has no place here.
            Some(_) => return Ok(None),
        };
        let joined = below.join(&name).and_then(|below| {
            let path = self.base.join_path(&below)?;
            let remote = self.settings.path.join_path(&below)?;
            Ok((below, path, remote))
        });
        match joined {
            Ok((below, path, remote)) => {
                let directory = Arc::clone(directory);
                let wanted = self.filter.wants(&below, Subject::Other);
                Ok(wanted.then_some(Location {
                    directory,
                    remote,
                    path,
                    name,
                }))
            }
            Err(error) => {
                self.fail_path(&[below.as_bytes(), b"/", name.as_bytes()].concat(), error);
                Ok(None)
            }
        }
    }

    /// The place of a file or link that was asked for and nothing else.
    fn single(&self, tree: &mut TreePlace, name: Name) -> Result<Location, Violation> {
        if !self.settings.is_asked_for(&name) {
            return Err(Violation::Excess);
        }
        tree.is_single = true;
        let directory = DirectoryNode::new(RelativePath::ROOT, None, None, &self.seals);
        tree.stack
            .push((RelativePath::ROOT, Arc::clone(&directory)));
        let name = self.settings.name.clone().unwrap_or(name);
        let (remote, path) = (self.settings.path.clone(), RelativePath::from(name.clone()));
        Ok(Location {
            directory,
            remote,
            path,
            name,
        })
    }

    /// Places entries of one page, whose content lies in `content`.
    pub(crate) fn place(&self, entries: Vec<Entry>, content: &Content) {
        let (mut small, mut others) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Link {
                    directory,
                    path,
                    target,
                    modified,
                } => self.place_link(directory, &path, &target, modified),
                Entry::File { wanted, content } => match content {
                    Some((range, hash)) if self.in_line => small.push((wanted, range, hash)),
                    _ => others.push(wanted),
                },
            }
        }
        self.consider_all(others);
        self.place_small(small, content);
    }

    /// Places what a fetch has brought.
    pub(crate) fn place_fetched(
        &self,
        asked: VecDeque<Wanted>,
        fetched: Vec<Fetched>,
        content: &Content,
    ) {
        let mut small = Vec::with_capacity(fetched.len());
        for (mut wanted, fetched) in asked.into_iter().zip(fetched) {
            match fetched {
                Fetched::File {
                    info,
                    content: (range, hash),
                } => {
                    wanted.info = info;
                    small.push((wanted, range, hash));
                }
                Fetched::Failed { refusal } => self.handle_refused(wanted, refusal),
            }
        }
        self.place_small(small, content);
    }

    /// Checks small files and writes those that are intact, directory by directory.
    fn place_small(&self, files: Vec<(Wanted, Range<usize>, ContentHash)>, content: &Content) {
        let mut run: Vec<(Wanted, Range<usize>, ContentHash)> = Vec::new();
        for file in files {
            let (wanted, range, hash) = &file;
            if ContentHash::of(content.get(range)) != *hash {
                self.handle_damaged(file.0);
                continue;
            }
            if !self.is_expected(&wanted.path, *hash) {
                continue;
            }
            if run
                .first()
                .is_some_and(|(first, ..)| !Arc::ptr_eq(&first.directory, &wanted.directory))
            {
                self.write_run(std::mem::take(&mut run), content);
            }
            run.push(file);
        }
        self.write_run(run, content);
    }

    /// Writes files of one directory.
    fn write_run(&self, run: Vec<(Wanted, Range<usize>, ContentHash)>, content: &Content) {
        let Some((first, ..)) = run.first() else {
            return;
        };
        if !self.make(&first.directory) {
            return run
                .iter()
                .for_each(|(wanted, ..)| self.fail(&wanted.path, &Failure::NoDirectory));
        }
        let files: Vec<_> = run
            .iter()
            .map(|(wanted, range, _)| SmallFile {
                name: &wanted.name,
                info: &wanted.info,
                content: content.get(range),
            })
            .collect();
        let placed = self.destination.write_small(first.directory.path(), &files);
        for ((wanted, _, hash), placed) in run.iter().zip(placed) {
            match placed {
                Ok(placed) => {
                    Totals::add(&self.totals.bytes_fetched, wanted.info.size);
                    self.handle_fetched(wanted, &placed, Some(*hash));
                }
                Err(error) => self.handle_not_placed(wanted.clone(), error),
            }
        }
    }

    /// Decides what becomes of files that the tree names and whose content did not come with them.
    fn consider_all(&self, files: Vec<Wanted>) {
        if self.in_line {
            let absent = |wanted| self.consider(wanted, Ok(Presence::Absent));
            return files.into_iter().for_each(absent);
        }
        let is_one_run = |a: &Wanted, b: &Wanted| Arc::ptr_eq(&a.directory, &b.directory);
        let compared = files.chunk_by(is_one_run).flat_map(|run| {
            let entries = run.iter().map(|wanted| (&wanted.name, &wanted.info));
            let directory = run[0].directory.path();
            self.destination.compare_all(directory, entries)
        });
        let compared = compared.collect::<Vec<_>>();
        for (wanted, presence) in files.into_iter().zip(compared) {
            self.consider(wanted, presence);
        }
    }

    /// Decides what becomes of a file, by what is here under its name.
    pub(crate) fn consider(&self, wanted: Wanted, presence: Result<Presence, EntryError>) {
        let by_content = self.is_by_content();
        if let Ok(Presence::Different { .. } | Presence::OtherKind(_)) = presence
            && !by_content
        {
            match self.destination.find_beside(&wanted.path, &wanted.info) {
                Err(error) => return self.fail(&wanted.path, &error.into()),
                Ok(Some((path, mode))) => return self.keep(&wanted, &path, mode),
                Ok(None) => {}
            }
        }
        match presence {
            Err(error) => self.fail(&wanted.path, &error.into()),
            Ok(Presence::Same { mode }) if !by_content => self.keep(&wanted, &wanted.path, mode),
            Ok(Presence::Different { .. } | Presence::OtherKind(_))
                if self.existing == Existing::Refuse && !by_content =>
            {
                self.fail(&wanted.path, &Failure::Exists);
            }
            Ok(Presence::Same { .. } | Presence::Different { .. })
                if by_content || wanted.info.size > INLINE_BYTES_MAX =>
            {
                let candidate = Candidate {
                    path: wanted.path.clone(),
                    number: 0,
                };
                self.want_compared(wanted, candidate);
            }
            Ok(found) => {
                let is_taken = matches!(found, Presence::OtherKind(_));
                match is_taken.then(|| self.next_candidate(&wanted, 0)).flatten() {
                    Some(beside) => self.want_compared(wanted, beside),
                    None if self.settings.dry_run => self.report_wanted(&wanted),
                    None => self.plan.want(wanted),
                }
            }
        }
    }

    /// Has a file compared with one that is there.
    pub(crate) fn want_compared(&self, wanted: Wanted, candidate: Candidate) {
        self.plan.want(Wanted {
            compare: Some(candidate),
            ..wanted
        });
    }

    /// What an earlier run may have placed beside what has the name of a file, with a number above
    /// `after`, where only content tells. What cannot be looked at is in nobody's way.
    pub(crate) fn next_candidate(&self, wanted: &Wanted, after: u32) -> Option<Candidate> {
        if !self.is_by_content() {
            return None;
        }
        let size = wanted.info.size;
        let beside = self.destination.next_beside(&wanted.path, size, after);
        let (number, path) = beside.ok().flatten()?;
        Some(Candidate { path, number })
    }

    /// Whether size and time do not tell whether a file is the one that is wanted.
    fn is_by_content(&self) -> bool {
        self.settings.checksum || self.settings.expect.is_some()
    }

    /// Says that a file would be fetched.
    pub(crate) fn report_wanted(&self, wanted: &Wanted) {
        self.observer.handle(Event::Wanted {
            path: &wanted.path,
            bytes: wanted.info.size,
        });
    }

    /// The file `path` has the server's content already; it gets the server's time and mode too.
    pub(crate) fn keep_same_content(&self, wanted: &Wanted, path: &RelativePath) {
        match self.destination.compare(path, &wanted.info) {
            Ok(Presence::Same { mode }) => self.keep(wanted, path, mode),
            _ if self.settings.dry_run => self.keep(wanted, path, wanted.info.mode),
            _ => match self.destination.set_attributes(path, &wanted.info) {
                Ok(()) => self.keep(wanted, path, wanted.info.mode),
                Err(error) => self.fail(path, &error.into()),
            },
        }
    }

    /// A file is there already, as the server has it, under `path`.
    pub(crate) fn keep(&self, wanted: &Wanted, path: &RelativePath, mode: Mode) {
        if !self.settings.dry_run
            && let Err(error) = self.mend(path, &wanted.info, mode)
        {
            return self.fail(path, &error.into());
        }
        Totals::add(&self.totals.files_kept, 1);
        Totals::add(&self.totals.bytes_kept, wanted.info.size);
        self.links.handle_placed(&wanted.path, path);
        self.observer.handle(Event::Kept { path });
    }

    /// Gives a file that is kept, and has `mode`, what can change without a trace in its time.
    fn mend(&self, path: &RelativePath, info: &FileInfo, mode: Mode) -> Result<(), EntryError> {
        self.destination.mend_xattrs(path, info)?;
        if mode != info.mode {
            self.destination.set_mode(path, info.mode)?;
        }
        Ok(())
    }

    /// Whether a file's content is the one that was expected, if one was.
    pub(crate) fn is_expected(&self, path: &RelativePath, found: ContentHash) -> bool {
        match self.settings.expect {
            Some(expected) if expected != found => {
                self.fail(path, &Failure::Unexpected { expected, found });
                false
            }
            _ => true,
        }
    }

    /// A file has its name.
    pub(crate) fn handle_fetched(
        &self,
        wanted: &Wanted,
        placed: &Placed,
        hash: Option<ContentHash>,
    ) {
        let bytes = wanted.info.size;
        Totals::add(&self.totals.files_fetched, 1);
        let renamed = match placed {
            Placed::Beside(name) => wanted.directory.path().join(name).ok(),
            _ => None,
        };
        let path = renamed.as_ref().unwrap_or(&wanted.path);
        self.links.handle_placed(&wanted.path, path);
        self.observer.handle(Event::Fetched { path, bytes, hash });
    }

    fn place_link(
        &self,
        directory: Arc<DirectoryNode>,
        path: &RelativePath,
        target: &[u8],
        modified: Timestamp,
    ) {
        if self.settings.expect.is_some() {
            return self.fail(path, &Failure::NoContent);
        }
        if self.settings.dry_run {
            return self.observer.handle(Event::Wanted { path, bytes: 0 });
        }
        if !self.make(&directory) {
            return self.fail(path, &Failure::NoDirectory);
        }
        match self.destination.make_link(path, target, modified) {
            Ok(Placed::PutOff) => self.links.hold(directory),
            placed => self.handle_link_placed(path, placed),
        }
    }

    pub(crate) fn handle_link_placed(
        &self,
        path: &RelativePath,
        placed: Result<Placed, EntryError>,
    ) {
        match placed {
            Ok(Placed::Same) => {
                Totals::add(&self.totals.files_kept, 1);
                self.observer.handle(Event::Kept { path });
            }
            Ok(_) => self.handle_linked(path),
            Err(EntryError::LinkLeaves { .. }) if self.tree().is_single => {
                self.fail(path, &Failure::Refused(Refusal::LeavesTree));
            }
            Err(EntryError::LinkLeaves { .. }) => {
                self.handle_skipped(path.as_bytes(), Refusal::LeavesTree)
            }
            Err(EntryError::Exists { .. }) => self.fail(path, &Failure::Exists),
            Err(error) => self.fail(path, &error.into()),
        }
    }

    /// Whether this is a further name of a file that the tree has named before; it is linked later.
    fn is_further_name(&self, wanted: &Wanted) -> bool {
        self.settings.options.hard_links
            && wanted.info.link_group != 0
            && !self.settings.dry_run
            && self.links.is_further_name(wanted)
    }

    /// A link is in place.
    pub(crate) fn handle_linked(&self, path: &RelativePath) {
        Totals::add(&self.totals.links, 1);
        self.observer.handle(Event::Linked { path });
    }

    /// An entry is left out for what it is.
    pub(crate) fn handle_skipped(&self, path: &[u8], refusal: Refusal) {
        if refusal.is_by_kind() {
            Totals::add(&self.totals.skipped, 1);
            self.observer.handle(Event::Skipped { path, refusal });
        } else {
            self.keep_unlisted(refusal);
            self.fail_bytes(path, &Failure::Refused(refusal));
        }
    }

    /// The tree can no longer be listed: what was not named yet does not arrive.
    pub(crate) fn handle_root_refused(&self, refusal: Refusal) {
        self.keep_unlisted(refusal);
        self.fail(&self.base, &Failure::Refused(refusal));
    }

    /// What is not named this time, maybe a directory with all that is in it, may be named the next
    /// time: then what is half done of it is of use.
    fn keep_unlisted(&self, refusal: Refusal) {
        if Failure::Refused(refusal).leaves_a_use() {
            self.destination.keep_untouched();
        }
    }

    /// An entry did not arrive.
    pub(crate) fn fail(&self, path: &RelativePath, failure: &Failure) {
        if failure.leaves_a_use() {
            self.destination.keep_half_done(path);
        }
        self.fail_bytes(path.as_bytes(), failure);
    }

    fn fail_path(&self, path: &[u8], _: PathError) {
        self.fail_bytes(path, &Failure::Refused(Refusal::UnusableName));
    }

    fn fail_bytes(&self, path: &[u8], failure: &Failure) {
        self.totals.handle_failure(failure);
        self.observer.handle(Event::Failed { path, failure });
    }

    /// Makes a directory; whether it is there.
    pub(crate) fn make(&self, directory: &DirectoryNode) -> bool {
        directory.make(&self.destination).unwrap_or_else(|error| {
            self.fail(directory.path(), &error.into());
            false
        })
    }

    /// Finishes the directories in which nothing is under way any more.
    pub(crate) fn seal(&self) {
        for (path, error) in self.seals.seal(&self.destination) {
            self.fail(&path, &error.into());
        }
    }

    /// The listing has come to its end: its directories wait only for what is under way in them.
    pub(crate) fn leave_tree(&self) {
        // The nodes are dropped outside the lock: that queues them.
        let stack = std::mem::take(&mut self.tree().stack);
        drop(stack);
    }

    fn tree(&self) -> MutexGuard<'_, TreePlace> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path below the destination of an entry that the server leaves out, and names as it lies in
/// the tree; it may be no name that could be written.
pub(crate) fn told_path<'a>(base: &RelativePath, is_tree: bool, told: &'a [u8]) -> Cow<'a, [u8]> {
    if !is_tree || base.is_root() {
        return Cow::Borrowed(told);
    }
    Cow::Owned([base.as_bytes(), told].join(&b'/'))
}
