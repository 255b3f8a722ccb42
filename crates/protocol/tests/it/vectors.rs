//! The section "Test vectors" of `PROTOCOL.md`, read from there: the values were derived from the
//! document, not printed by this crate.

use std::collections::BTreeMap;
use std::fmt::Debug;

use packhorse_protocol::content::{
    ContentHash, GroupHash, GroupIndex, GroupRange, group_count, merge_groups,
};
use packhorse_protocol::entry::{
    DirectoryInfo, FileInfo, Mode, Refusal, Timestamp, Version, Xattr,
};
use packhorse_protocol::filter::Patterns;
use packhorse_protocol::frame::{FRAME_HEADER_BYTES, FrameBuilder, FrameHeader, FrameType};
use packhorse_protocol::key::{Key, Pin, Token};
use packhorse_protocol::limits::{FRAME_BYTES_MAX, GROUP_BYTES};
use packhorse_protocol::message::{
    Blob, Completion, Denial, Done, EntryOptions, FetchItem, FetchRequest, HashesHead, Hello, Hole,
    Inline, LinkMode, MeasureRequest, MeasureWhat, Measured, PROTOCOL_VERSION, PageItem,
    ReadRequest, ReadWhat, Request, TreeRequest, Welcome, begin_group, encode, filler,
    finish_group,
};
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::proof::{ChannelBinding, Proof, Prover};
use packhorse_protocol::session::{
    Answer, ClientSession, Fetched, GreetingError, Item, ServerEvent, ServerSession,
};
use packhorse_protocol::tree::Cursor;

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../PROTOCOL.md"));

/// The vectors of the document by their names; a quoted one is its text.
struct Vectors(BTreeMap<&'static str, Vec<u8>>);

impl Vectors {
    fn read() -> Self {
        let (_, section) = DOCUMENT
            .split_once("\n## Test vectors\n")
            .expect("the document has the section");
        let mut vectors = BTreeMap::new();
        // Every second part between fences is outside of them.
        for fenced in section.split("```").skip(1).step_by(2) {
            let mut name = "";
            for line in fenced.lines().skip(1) {
                if let Some(value) = line.strip_prefix("  ") {
                    append(vectors.entry(name).or_default(), value);
                } else {
                    name = line;
                    assert!(!vectors.contains_key(name), "`{name}` stands there twice");
                }
            }
        }
        Self(vectors)
    }

    fn bytes(&self, name: &str) -> &[u8] {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("the document has no vector `{name}`"))
    }

    fn text(&self, name: &str) -> &str {
        std::str::from_utf8(self.bytes(name)).unwrap()
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }

    /// The type and the body of a vector that is a frame.
    fn frame(&self, name: &str) -> (FrameType, &[u8]) {
        let (header, body) = self.bytes(name).split_first_chunk().unwrap();
        match FrameHeader::parse(*header, FRAME_BYTES_MAX) {
            Ok(FrameHeader::Known(kind, length)) if length == body.len() => (kind, body),
            other => panic!("`{name}` is no frame: {other:?}"),
        }
    }

    fn token(&self) -> Token {
        Token::from(self.array("token"))
    }

    fn binding(&self) -> ChannelBinding {
        ChannelBinding(self.array("binding"))
    }

    fn proof(&self, name: &str) -> Proof {
        Proof::from(self.array(name))
    }
}

fn append(value: &mut Vec<u8>, line: &str) {
    let line = line.split(" ;").next().unwrap_or_default().trim();
    if let Some(text) = line.strip_prefix('"') {
        value.extend(text.strip_suffix('"').unwrap().bytes());
    } else {
        assert!(line.len().is_multiple_of(2), "odd hex: {line}");
        value.extend((0..line.len()).step_by(2).map(|at| {
            u8::from_str_radix(&line[at..at + 2], 16).unwrap_or_else(|_| panic!("no hex: {line}"))
        }));
    }
}

#[track_caller]
fn check<T: Debug + PartialEq>(name: &str, ours: T, documented: T) {
    assert_eq!(ours, documented, "`{name}` in PROTOCOL.md");
}

fn path(bytes: &[u8]) -> RelativePath {
    RelativePath::parse(bytes).unwrap()
}

fn name(bytes: &[u8]) -> Name {
    Name::parse(bytes).unwrap()
}

fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp::new(seconds, nanoseconds).unwrap()
}

fn version() -> Version {
    Version(std::array::from_fn(|at| 0xa0 + at as u8))
}

fn xattr(value: &[u8]) -> Xattr {
    Xattr {
        name: b"user.k".into(),
        value: value.into(),
    }
}

/// The file `f` of the vectors.
fn small(xattrs: Vec<Xattr>) -> FileInfo {
    FileInfo {
        size: 5,
        modified: time(-2, 500_000_000),
        mode: Mode::from_bits(0o640),
        version: version(),
        sparse: false,
        link_group: 0,
        xattrs,
    }
}

/// The file `g` of the vectors.
fn large() -> FileInfo {
    FileInfo {
        size: 1_048_577,
        modified: time(1_700_000_000, 999_999_999),
        mode: Mode::from_bits(0o1777),
        version: version(),
        sparse: true,
        link_group: 300,
        xattrs: Vec::new(),
    }
}

fn hello_hash() -> [u8; 32] {
    *ContentHash::of(b"hello").as_bytes()
}

#[test]
fn keys_are_as_documented() {
    let vectors = Vectors::read();
    let pin = Pin::from(vectors.array("pin"));
    for (vector, token) in [
        ("key with token", Some(vectors.token())),
        ("key without token", None),
    ] {
        let key = Key { pin, token };
        check(vector, key.reveal().as_str(), vectors.text(vector));
        check(vector, Key::parse(vectors.text(vector)), Ok(key));
    }
}

#[test]
fn proofs_are_as_documented() {
    let vectors = Vectors::read();
    let (token, binding) = (vectors.token(), vectors.binding());
    let key = blake3::derive_key(
        "packhorse/1 2026-11 access token proof",
        vectors.bytes("token"),
    );
    check("K", key, vectors.array("K"));
    for (vector, prover) in [
        ("proof of client", Prover::Client),
        ("proof of server", Prover::Server),
    ] {
        let proof = Proof::new(&token, &binding, prover);
        check(vector, *proof.as_bytes(), vectors.array(vector));
    }
}

#[test]
fn greetings_are_as_documented() {
    let vectors = Vectors::read();
    for (hello, welcome, token) in [
        ("Hello without proof", "Welcome of an open server", None),
        (
            "Hello with proof",
            "Welcome with proof",
            Some(vectors.token()),
        ),
    ] {
        let mut client = ClientSession::new(token.clone(), vectors.binding());
        let mut server = ServerSession::new(token.clone(), vectors.binding());
        check(hello, client.hello(), vectors.bytes(hello).to_vec());
        let (kind, body) = vectors.frame(hello);
        let admitted = ServerEvent::Admitted(vectors.bytes(welcome).to_vec());
        check(welcome, server.handle_frame(kind, body), Ok(admitted));
        let (kind, body) = vectors.frame(welcome);
        check(welcome, client.handle_greeting(kind, body), Ok(Ok(())));

        let proof = |name| token.as_ref().map(|_| vectors.proof(name));
        let sent = Hello {
            version: PROTOCOL_VERSION,
            features: 0,
            proof: proof("proof of client"),
        };
        check(
            hello,
            &*encode(FrameType::Hello, &sent),
            vectors.bytes(hello),
        );
        let answer = Welcome {
            version: PROTOCOL_VERSION,
            features: 0,
            proof: proof("proof of server"),
        };
        let encoded = encode(FrameType::Welcome, &answer);
        check(welcome, &*encoded, vectors.bytes(welcome));
    }
}

#[test]
fn a_denial_is_as_documented() {
    let vectors = Vectors::read();
    let denied = ServerEvent::Denied(Denial::Access, vectors.bytes("Denied").to_vec());
    let mut server = ServerSession::new(Some(vectors.token()), vectors.binding());
    let (kind, hello) = vectors.frame("Hello without proof");
    check("Denied", server.handle_frame(kind, hello), Ok(denied));
    let mut client = ClientSession::new(None, vectors.binding());
    let (kind, body) = vectors.frame("Denied");
    let greeting = client.handle_greeting(kind, body);
    let denied = GreetingError::Denied(Denial::Access);
    check("Denied", greeting, Ok(Err(denied)));
}

#[test]
fn requests_are_as_documented() {
    let vectors = Vectors::read();
    for (vector, request) in requests() {
        check(vector, request.encode(), vectors.bytes(vector).to_vec());
        let (kind, body) = vectors.frame(vector);
        check(vector, Request::decode(kind, body), Ok(request));
    }
}

fn requests() -> [(&'static str, Request); 9] {
    [
        ("Tree", Request::Tree(tree_behind_cursor())),
        ("Tree of all", Request::Tree(tree_of_all())),
        ("More", Request::More { tree: 7 }),
        ("CloseTree", Request::CloseTree { tree: 300 }),
        (
            "Fetch",
            Request::Fetch(FetchRequest {
                options: EntryOptions {
                    links: LinkMode::Follow,
                    xattrs: false,
                    hard_links: false,
                },
                paths: vec![path(b"a/b"), path(b"\n")],
            }),
        ),
        (
            "Read of content",
            Request::Read(ReadRequest {
                path: path(b"big"),
                follow_links: false,
                what: ReadWhat::Content,
                range: GroupRange::new(1, 2).unwrap(),
                version: Some(version()),
            }),
        ),
        (
            "Read of hashes",
            Request::Read(ReadRequest {
                path: path(b"big"),
                follow_links: true,
                what: ReadWhat::Hashes,
                range: GroupRange::new(300, 1324).unwrap(),
                version: None,
            }),
        ),
        (
            "Complete",
            Request::Complete(Completion {
                files: 3,
                bytes: 70_000,
                failed: 1,
            }),
        ),
        (
            "Measure",
            Request::Measure(MeasureRequest {
                what: MeasureWhat::Hashing,
                groups: 64,
            }),
        ),
    ]
}

fn tree_behind_cursor() -> TreeRequest {
    TreeRequest {
        tree: 7,
        path: path(b"a/b"),
        options: EntryOptions {
            links: LinkMode::Keep,
            xattrs: true,
            hard_links: true,
        },
        recursive: true,
        inline_bytes_max: 262_144,
        patterns: Patterns {
            include: vec!["*.c".into()],
            exclude: vec!["/x".into(), "tmp/".into()],
        },
        cursor: Some(Cursor {
            directory: path(b"d"),
            after: Some(name(b"f\xff")),
        }),
    }
}

fn tree_of_all() -> TreeRequest {
    TreeRequest {
        tree: u32::MAX,
        path: RelativePath::ROOT,
        options: EntryOptions::default(),
        recursive: false,
        inline_bytes_max: 0,
        patterns: Patterns::default(),
        cursor: None,
    }
}

/// A client that waits for the answer to `request`.
fn waiting_for(request: &Request) -> ClientSession {
    let mut client = ClientSession::new(None, ChannelBinding([0; 32]));
    client
        .handle_greeting(FrameType::Welcome, &[PROTOCOL_VERSION, 0, 0])
        .unwrap()
        .unwrap();
    client.request(request);
    client
}

fn read(what: ReadWhat, start: u64, end: u64) -> Request {
    Request::Read(ReadRequest {
        path: path(b"big"),
        follow_links: false,
        what,
        range: GroupRange::new(start, end).unwrap(),
        version: None,
    })
}

/// What a client that waits for `request` makes of the frame `vector`.
fn answer(vectors: &Vectors, vector: &str, request: &Request) -> Answer {
    let (kind, body) = vectors.frame(vector);
    waiting_for(request)
        .handle_frame(kind, body.to_vec())
        .unwrap_or_else(|violation| panic!("`{vector}` in PROTOCOL.md: {violation}"))
}

#[test]
fn a_page_is_as_documented() {
    let vectors = Vectors::read();
    let mut frame = FrameBuilder::new(FrameType::Page, 0);
    for item in page_items() {
        frame.append(&item);
    }
    check("Page", &*frame.finish(), vectors.bytes("Page"));

    let request = Request::Tree(TreeRequest {
        recursive: true,
        ..tree_of_all()
    });
    let Answer::Page(page) = answer(&vectors, "Page", &request) else {
        panic!("another answer");
    };
    let bodies: Vec<_> = page
        .items
        .iter()
        .filter_map(|item| match item {
            Item::File { content, .. } => content.as_ref(),
            _ => None,
        })
        .map(|(range, hash)| (page.content.get(range), *hash.as_bytes()))
        .collect();
    assert_eq!(bodies, [(&b"hello"[..], hello_hash())]);
    assert_eq!(without_ranges(page.items), decoded_items());
    assert!(page.ended);
}

/// The items as a server writes them.
fn page_items() -> [PageItem<'static>; 7] {
    [
        PageItem::Directory {
            path: RelativePath::ROOT,
            info: root(),
        },
        PageItem::File {
            name: name(b"f"),
            info: small(vec![xattr(b"v")]),
            content: Some(Inline {
                bytes: Blob(b"hello"),
                hash: hello_hash(),
            }),
        },
        PageItem::File {
            name: name(b"g"),
            info: large(),
            content: None,
        },
        PageItem::Link {
            name: name(b"l"),
            target: Blob(b"../f"),
            modified: time(-1, 1),
        },
        PageItem::Skipped {
            path: Blob(b"p/q"),
            refusal: Refusal::Special,
        },
        PageItem::Directory {
            path: path(b"s"),
            info: below(),
        },
        PageItem::End,
    ]
}

/// The items as a client gets them, less where content lies.
fn decoded_items() -> Vec<Item> {
    let directory = RelativePath::ROOT;
    vec![
        Item::Directory {
            path: directory.clone(),
            info: root(),
        },
        Item::File {
            directory: directory.clone(),
            name: name(b"f"),
            info: small(vec![xattr(b"v")]),
            content: None,
        },
        Item::File {
            directory: directory.clone(),
            name: name(b"g"),
            info: large(),
            content: None,
        },
        Item::Link {
            directory,
            name: name(b"l"),
            target: b"../f".into(),
            modified: time(-1, 1),
        },
        Item::Skipped {
            path: b"p/q".into(),
            refusal: Refusal::Special,
        },
        Item::Directory {
            path: path(b"s"),
            info: below(),
        },
    ]
}

fn root() -> DirectoryInfo {
    DirectoryInfo {
        modified: time(1, 0),
        mode: Mode::from_bits(0o755),
        xattrs: Vec::new(),
    }
}

fn below() -> DirectoryInfo {
    DirectoryInfo {
        modified: time(0, 0),
        mode: Mode::from_bits(0o700),
        xattrs: vec![xattr(b"")],
    }
}

fn without_ranges(mut items: Vec<Item>) -> Vec<Item> {
    for item in &mut items {
        if let Item::File { content, .. } = item {
            *content = None;
        }
    }
    items
}

#[test]
fn contents_are_as_documented() {
    let vectors = Vectors::read();
    let mut frame = FrameBuilder::new(FrameType::Contents, 0);
    frame.append(&FetchItem::File {
        info: small(Vec::new()),
        content: Inline {
            bytes: Blob(b"hello"),
            hash: hello_hash(),
        },
    });
    frame.append(&FetchItem::Failed {
        refusal: Refusal::TooLarge,
    });
    check("Contents", &*frame.finish(), vectors.bytes("Contents"));

    let request = Request::Fetch(FetchRequest {
        options: EntryOptions::default(),
        paths: vec![path(b"f"), path(b"g")],
    });
    let Answer::Contents(files, content) = answer(&vectors, "Contents", &request) else {
        panic!("another answer");
    };
    let [
        Fetched::File {
            info,
            content: (range, hash),
        },
        Fetched::Failed { refusal },
    ] = files.as_slice()
    else {
        panic!("other items: {files:?}");
    };
    assert_eq!(*info, small(Vec::new()));
    assert_eq!(content.get(range), b"hello");
    assert_eq!(*hash.as_bytes(), hello_hash());
    assert_eq!(*refusal, Refusal::TooLarge);
}

#[test]
fn a_group_is_as_documented() {
    let vectors = Vectors::read();
    let hash = GroupHash::from(vectors.array("hash of group 1"));
    let byte = [(GROUP_BYTES % 251) as u8];
    let mut frame = begin_group(GroupIndex::new(1).unwrap(), version(), Vec::new());
    frame.buffer().extend(byte);
    let frame = finish_group(frame, hash);
    check("Group", &*frame, vectors.bytes("Group"));

    let request = read(ReadWhat::Content, 1, 2);
    let Answer::Group(group) = answer(&vectors, "Group", &request) else {
        panic!("another answer");
    };
    assert_eq!((group.index.get(), group.version), (1, version()));
    assert_eq!((group.bytes(), group.hash()), (&byte[..], hash));
}

#[test]
fn a_hole_and_hashes_are_as_documented() {
    let vectors = Vectors::read();
    let hole = Hole {
        start: 130,
        count: 2,
        version: version(),
    };
    let encoded = encode(FrameType::Hole, &hole);
    check("Hole", &*encoded, vectors.bytes("Hole"));
    let answered = answer(&vectors, "Hole", &read(ReadWhat::Content, 130, 140));
    let Answer::Hole(range, of) = answered else {
        panic!("another answer");
    };
    assert_eq!((range.start(), range.end(), of), (130, 132, version()));

    let hashes = ["hash of group 0", "hash of group 1"]
        .map(|vector| GroupHash::from(vectors.array::<32>(vector)));
    let mut frame = FrameBuilder::new(FrameType::Hashes, 0);
    frame.append(&HashesHead {
        start: 0,
        version: version(),
    });
    for hash in hashes {
        frame.buffer().extend(hash.as_bytes());
    }
    check("Hashes", &*frame.finish(), vectors.bytes("Hashes"));
    let answered = answer(&vectors, "Hashes", &read(ReadWhat::Hashes, 0, 2));
    let Answer::Hashes(range, of, decoded) = answered else {
        panic!("another answer");
    };
    assert_eq!((range, of), (GroupRange::new(0, 2).unwrap(), version()));
    assert_eq!(decoded, hashes);
}

#[test]
fn the_ends_of_an_answer_are_as_documented() {
    let vectors = Vectors::read();
    let done = Done {
        version: version(),
        size: 1_048_577,
        settled: true,
    };
    let encoded = encode(FrameType::Done, &done);
    check("Done", &*encoded, vectors.bytes("Done"));
    let request = read(ReadWhat::Content, 0, 0);
    let Answer::Done(decoded) = answer(&vectors, "Done", &request) else {
        panic!("another answer");
    };
    check("Done", decoded, done);

    let encoded = encode(FrameType::Failed, &Refusal::Changed);
    check("Failed", &*encoded, vectors.bytes("Failed"));
    let Answer::Failed(refusal) = answer(&vectors, "Failed", &request) else {
        panic!("another answer");
    };
    check("Failed", refusal, Refusal::Changed);
}

#[test]
fn what_is_measured_is_as_documented() {
    let vectors = Vectors::read();
    let frame = filler(Vec::new());
    let (head, rest) = frame.split_at(vectors.bytes("Filler, its head").len());
    check("Filler, its head", head, vectors.bytes("Filler, its head"));
    assert_eq!(rest, [0; GROUP_BYTES]);
    let measure = |what, groups| Request::Measure(MeasureRequest { what, groups });
    let mut client = waiting_for(&measure(MeasureWhat::Path, 1));
    let filled = client.handle_frame(FrameType::Filler, rest.to_vec());
    assert!(matches!(filled, Ok(Answer::Filler(bytes)) if bytes == rest));

    let measured = Measured {
        nanoseconds: 1_000_000,
        cores: 300,
    };
    let encoded = encode(FrameType::Measured, &measured);
    check("Measured", &*encoded, vectors.bytes("Measured"));
    let request = measure(MeasureWhat::Hashing, 64);
    let Answer::Measured(decoded) = answer(&vectors, "Measured", &request) else {
        panic!("another answer");
    };
    check("Measured", decoded, measured);
}

#[test]
fn group_hashes_are_as_documented() {
    let vectors = Vectors::read();
    let content: Vec<u8> = (0..=GROUP_BYTES).map(|n| (n % 251) as u8).collect();
    let size = content.len() as u64;
    assert_eq!(group_count(size), 2);
    let (first, second) = content.split_at(GROUP_BYTES);
    let hashes = [(0, first), (1, second)]
        .map(|(index, bytes)| GroupHash::of(GroupIndex::new(index).unwrap(), size, bytes));
    for (vector, hash) in ["hash of group 0", "hash of group 1"].iter().zip(hashes) {
        check(vector, hash.as_bytes(), &vectors.array(vector));
    }
    let whole = vectors.array("hash of the file");
    check("hash of the file", *merge_groups(&hashes).as_bytes(), whole);
    check(
        "hash of the file",
        *ContentHash::of(&content).as_bytes(),
        whole,
    );
    let only = GroupHash::of(GroupIndex::FIRST, 5, b"hello");
    let vector = "hash of the only group of \"hello\"";
    check(vector, *only.as_bytes(), vectors.array(vector));
}

#[test]
fn every_frame_type_has_a_vector() {
    let vectors = Vectors::read();
    let documented: Vec<u8> = vectors
        .0
        .iter()
        .filter(|(name, _)| name.starts_with(char::is_uppercase) && **name != "K")
        .map(|(_, bytes)| bytes[0])
        .collect();
    for kind in (0..=u8::MAX).filter(|&byte| FrameType::from_byte(byte).is_some()) {
        assert!(
            documented.contains(&kind),
            "frame type {kind} has no vector"
        );
    }
    assert_eq!(FRAME_HEADER_BYTES, 5);
}
