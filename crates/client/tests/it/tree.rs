//! The tree that the scripted server serves, in memory, and what an honest server says of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use packhorse_protocol::content::{GroupHash, GroupIndex, group_length};
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::filter::{Filter, Subject};
use packhorse_protocol::limits::{GROUP_BYTES, INLINE_BYTES_MAX};
use packhorse_protocol::message::{FetchRequest, ReadRequest, ReadWhat, TreeRequest};
use packhorse_protocol::path::RelativePath;

use crate::wire::{Answer, DirectoryInfo, Fetched, Info, Inline, Told, group};

/// When everything in a tree was last changed, unless a test says otherwise.
pub(crate) const MODIFIED: (i64, u32) = (1_700_000_000, 123_456_789);

/// What is served, by path; the root is the empty path.
#[derive(Debug, Clone)]
pub(crate) struct ServedTree {
    pub(crate) nodes: BTreeMap<String, Node>,
    /// Items of a page.
    pub(crate) page_items: usize,
    /// Files of one `Contents` frame.
    pub(crate) contents_files: usize,
    /// Hashes of one `Hashes` frame.
    pub(crate) frame_hashes: u64,
    next_version: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Directory(DirectoryInfo),
    File(ServedFile),
    Link(Vec<u8>),
    /// Told as skipped; as failed if it is asked for.
    Refused(Refusal),
}

#[derive(Debug, Clone)]
pub(crate) struct ServedFile {
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) info: Info,
    pub(crate) settled: bool,
}

impl ServedTree {
    pub(crate) fn new() -> Self {
        let mut tree = Self {
            nodes: BTreeMap::new(),
            page_items: 3,
            contents_files: 2,
            frame_hashes: 2,
            next_version: 0,
        };
        tree.directory("");
        tree
    }

    pub(crate) fn directory(&mut self, path: &str) -> &mut Self {
        let info = DirectoryInfo {
            modified: MODIFIED,
            mode: 0o755,
            xattrs: Vec::new(),
        };
        self.nodes.insert(path.to_owned(), Node::Directory(info));
        self
    }

    pub(crate) fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) -> &mut Self {
        let content = Arc::new(content.into());
        let info = Info {
            size: content.len() as u64,
            modified: MODIFIED,
            mode: 0o640,
            version: self.version(),
            sparse: false,
            link_group: 0,
            xattrs: Vec::new(),
        };
        let file = ServedFile {
            content,
            info,
            settled: true,
        };
        self.nodes.insert(path.to_owned(), Node::File(file));
        self
    }

    /// A file whose groups of zeros are holes.
    pub(crate) fn sparse(&mut self, path: &str, content: impl Into<Vec<u8>>) -> &mut Self {
        self.file(path, content);
        self.at(path).info.sparse = true;
        self
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> &mut Self {
        let target = target.as_bytes().to_vec();
        self.nodes.insert(path.to_owned(), Node::Link(target));
        self
    }

    pub(crate) fn refused(&mut self, path: &str, refusal: Refusal) -> &mut Self {
        self.nodes.insert(path.to_owned(), Node::Refused(refusal));
        self
    }

    /// The file at `path`, to be changed.
    pub(crate) fn at(&mut self, path: &str) -> &mut ServedFile {
        match self.nodes.get_mut(path) {
            Some(Node::File(file)) => file,
            other => panic!("{path} is {other:?}"),
        }
    }

    /// Gives the file at `path` other content and with it another version.
    pub(crate) fn change(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        let version = self.version();
        let file = self.at(path);
        file.content = Arc::new(content.into());
        file.info.size = file.content.len() as u64;
        file.info.version = version;
    }

    fn version(&mut self) -> [u8; 16] {
        self.next_version += 1;
        u128::from(self.next_version).to_be_bytes()
    }

    /// All items that a tree request asks for, `End` among them.
    pub(crate) fn items(&self, request: &TreeRequest) -> Result<Vec<Told>, Refusal> {
        let filter = Filter::new(&request.patterns).unwrap();
        let start = text(&request.path);
        let mut items = Vec::new();
        match self.nodes.get(start) {
            None => return Err(Refusal::NotFound),
            Some(Node::Refused(refusal)) => return Err(*refusal),
            Some(Node::Directory(info)) => {
                self.tell(start, "", info, request, &filter, &mut items);
            }
            Some(node) => {
                let name = start.rsplit('/').next().unwrap();
                items.push(told(name, name, node, request.inline_bytes_max));
            }
        }
        items.push(Told::End);
        if let Some(cursor) = &request.cursor {
            let after = cursor.after.as_ref().map(|name| name.as_bytes());
            let mut directory: &[u8] = b"";
            let told_last = items.iter().position(|item| {
                let name = match item {
                    Told::Directory { path, .. } => {
                        directory = path;
                        None
                    }
                    Told::File { name, .. } | Told::Link { name, .. } => Some(name.as_slice()),
                    Told::Skipped { .. } | Told::End => return false,
                };
                directory == cursor.directory.as_bytes() && name == after
            });
            items.drain(..=told_last.expect("the cursor names what was told"));
        }
        Ok(items)
    }

    fn tell(
        &self,
        at: &str,
        below: &str,
        info: &DirectoryInfo,
        request: &TreeRequest,
        filter: &Filter,
        items: &mut Vec<Told>,
    ) {
        items.push(Told::Directory {
            path: below.as_bytes().to_vec(),
            info: info.clone(),
        });
        if !below.is_empty() && !request.recursive {
            return;
        }
        let children = || {
            let nodes = self.nodes.iter();
            nodes.filter_map(|(path, node)| {
                let name = match at {
                    "" => path.as_str(),
                    _ => path.strip_prefix(at)?.strip_prefix('/')?,
                };
                let below = join(below, name);
                (!name.is_empty() && !name.contains('/')).then_some((name, below, node))
            })
        };
        let wants = |below: &str, subject| {
            filter.wants(&RelativePath::parse(below.as_bytes()).unwrap(), subject)
        };
        for (name, below, node) in children() {
            if !matches!(node, Node::Directory(_)) && wants(&below, Subject::Other) {
                items.push(told(name, &below, node, request.inline_bytes_max));
            }
        }
        for (name, below, node) in children() {
            if let Node::Directory(info) = node
                && wants(&below, Subject::Directory)
            {
                self.tell(&join(at, name), &below, info, request, filter, items);
            }
        }
    }

    /// The frames of the answer to a fetch.
    pub(crate) fn contents(&self, request: &FetchRequest) -> Vec<Answer> {
        let fetched: Vec<_> = request
            .paths
            .iter()
            .map(|path| match self.nodes.get(text(path)) {
                None => Fetched::Failed(Refusal::NotFound),
                Some(Node::Refused(refusal)) => Fetched::Failed(*refusal),
                Some(Node::Directory(_)) => Fetched::Failed(Refusal::IsDirectory),
                Some(Node::Link(_)) => Fetched::Failed(Refusal::Changed),
                Some(Node::File(file)) if file.info.size > INLINE_BYTES_MAX => {
                    Fetched::Failed(Refusal::TooLarge)
                }
                Some(Node::File(file)) => Fetched::File {
                    info: file.info.clone(),
                    inline: Inline::of(&file.content),
                },
            })
            .collect();
        fetched
            .chunks(self.contents_files)
            .map(|files| Answer::Contents(files.to_vec()))
            .collect()
    }

    /// The frames of the answer to a read.
    pub(crate) fn groups(&self, request: &ReadRequest) -> Vec<Answer> {
        let file = match self.nodes.get(text(&request.path)) {
            None => return vec![Answer::Failed(Refusal::NotFound)],
            Some(Node::Refused(refusal)) => return vec![Answer::Failed(*refusal)],
            Some(Node::Directory(_)) => return vec![Answer::Failed(Refusal::IsDirectory)],
            Some(Node::Link(_)) => return vec![Answer::Failed(Refusal::Changed)],
            Some(Node::File(file)) => file,
        };
        let is_other = |version| version != file.info.version;
        let range = request.range;
        let groups = file.info.size.div_ceil(GROUP_BYTES as u64);
        if request.version.is_some_and(|version| is_other(version.0)) || range.end() > groups {
            return vec![Answer::Failed(Refusal::Changed)];
        }
        let mut answers = Vec::new();
        for index in range.iter() {
            let content = file.group(index);
            match (request.what, answers.last_mut()) {
                (ReadWhat::Content, last) if file.is_hole(index) => match last {
                    Some(Answer::Hole { count, .. }) => *count += 1,
                    _ => answers.push(Answer::Hole {
                        start: index.get(),
                        count: 1,
                        version: file.info.version,
                    }),
                },
                (ReadWhat::Content, _) => {
                    answers.push(group(
                        index.get(),
                        file.info.size,
                        file.info.version,
                        content,
                    ));
                }
                (ReadWhat::Hashes, Some(Answer::Hashes { hashes, .. }))
                    if (hashes.len() as u64) < self.frame_hashes =>
                {
                    hashes.push(file.hash(index));
                }
                (ReadWhat::Hashes, _) => answers.push(Answer::Hashes {
                    start: index.get(),
                    version: file.info.version,
                    hashes: vec![file.hash(index)],
                }),
            }
        }
        answers.push(Answer::Done {
            version: file.info.version,
            size: file.info.size,
            settled: file.settled,
        });
        answers
    }
}

impl ServedFile {
    pub(crate) fn group(&self, index: GroupIndex) -> &[u8] {
        let start = usize::try_from(index.offset()).unwrap();
        &self.content[start..start + group_length(index, self.content.len() as u64)]
    }

    fn is_hole(&self, index: GroupIndex) -> bool {
        static ZEROS: [u8; GROUP_BYTES] = [0; GROUP_BYTES];
        let group = self.group(index);
        self.info.sparse && group == &ZEROS[..group.len()]
    }

    fn hash(&self, index: GroupIndex) -> [u8; 32] {
        *GroupHash::of(index, self.content.len() as u64, self.group(index)).as_bytes()
    }
}

pub(crate) fn text(path: &RelativePath) -> &str {
    std::str::from_utf8(path.as_bytes()).unwrap()
}

fn join(above: &str, name: &str) -> String {
    match above {
        "" => name.to_owned(),
        _ => format!("{above}/{name}"),
    }
}

fn told(name: &str, below: &str, node: &Node, inline_bytes_max: u64) -> Told {
    let name = name.as_bytes().to_vec();
    match node {
        Node::Directory(_) => unreachable!("directories are told by `tell`"),
        Node::Link(target) => Told::Link {
            name,
            target: target.clone(),
            modified: MODIFIED,
        },
        Node::Refused(refusal) => Told::Skipped {
            path: below.as_bytes().to_vec(),
            refusal: *refusal,
        },
        Node::File(file) => {
            let limit = inline_bytes_max.min(INLINE_BYTES_MAX);
            let in_line = inline_bytes_max > 0 && file.info.size <= limit;
            Told::File {
                name,
                info: file.info.clone(),
                inline: in_line.then(|| Inline::of(&file.content)),
            }
        }
    }
}

/// Bytes that repeat nowhere, from a seed. They are made once, as that takes an unoptimised test
/// longer than all else.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<u64, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let bytes = made.entry(seed).or_default();
    if bytes.len() < length {
        let mut random = Random::new(seed);
        *bytes = (0..length.div_ceil(8))
            .flat_map(|_| random.next().to_le_bytes())
            .collect();
    }
    bytes[..length].to_vec()
}

/// A small generator of numbers that look random (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}
