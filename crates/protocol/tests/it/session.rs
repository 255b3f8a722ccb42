//! A client session against a server that means harm.

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::frame::FrameType;
use packhorse_protocol::key::Token;
use packhorse_protocol::limits::{GROUP_BYTES, INLINE_BYTES_MAX, PAGE_ITEMS_MAX};
use packhorse_protocol::message::{
    Blob, FetchItem, Inline, MeasureRequest, MeasureWhat, PROTOCOL_VERSION, PageItem, Request,
};
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::proof::{ChannelBinding, Proof, Prover};
use packhorse_protocol::session::{Answer, ClientSession, GreetingError, Violation};
use packhorse_protocol::tree::Cursor;
use proptest::prelude::*;

use crate::frames::{
    Frame, begun_page, contents, directory, directory_info, done, fetch, file, finish, group,
    hashes, hashes_of, hole, info, inline, link, page, read, tree, welcome,
};

const BINDING: ChannelBinding = ChannelBinding([7; 32]);

#[test]
fn an_answer_that_was_not_asked_for_ends_the_connection() {
    for (kind, body) in answers() {
        check(kind, &[], &[(kind, body)], unexpected(kind));
    }
    for (request, answered) in [
        (tree(None), FrameType::Page),
        (fetch(2), FrameType::Contents),
        (read(0, 2), FrameType::Group),
        (hashes(0, 2), FrameType::Hashes),
    ] {
        for (kind, body) in answers() {
            // Failed may end any answer but Contents, and Hole is content as Group is.
            let fits = kind == answered
                || kind == FrameType::Failed && answered != FrameType::Contents
                || kind == FrameType::Hole && answered == FrameType::Group;
            if !fits {
                let what = format!("{kind:?} to a request for {answered:?}");
                check(what, &[&request], &[(kind, body)], unexpected(kind));
            }
        }
    }
}

#[test]
fn a_greeting_comes_first_and_once() {
    let token = Token::from([1; 16]);
    let right = Proof::new(&token, &BINDING, Prover::Server);
    let reflected = Proof::new(&token, &BINDING, Prover::Client);
    for (what, has_token, proof, admitted) in [
        ("the right proof", true, Some(right), Ok(())),
        ("an open server", true, None, Ok(())),
        ("no token at all", false, None, Ok(())),
        ("our own proof back", true, Some(reflected), Err(())),
        ("a proof of nothing", false, Some(right), Err(())),
    ] {
        let mut client = ClientSession::new(has_token.then(|| token.clone()), BINDING);
        let greeting = client.handle_greeting(FrameType::Welcome, &welcome(proof));
        let expected = admitted.map_err(|()| GreetingError::ServerProof);
        assert_eq!(greeting, Ok(expected), "{what}");
        let after = client.handle_frame(FrameType::Welcome, welcome(proof));
        assert_eq!(after.err(), Some(unexpected(FrameType::Welcome)), "{what}");
    }
    for (kind, body) in answers() {
        let mut client = ClientSession::new(None, BINDING);
        client.request(&tree(None));
        client.request(&read(0, 2));
        let early = client.handle_frame(kind, body.clone());
        assert_eq!(early.err(), Some(unexpected(kind)), "before Welcome");
        if !matches!(kind, FrameType::Welcome | FrameType::Denied) {
            let greeting = client.handle_greeting(kind, &body);
            assert_eq!(greeting, Err(unexpected(kind)), "instead of Welcome");
        }
    }
    let mut other = welcome(None);
    other[0] = PROTOCOL_VERSION + 1;
    let greeting = ClientSession::new(None, BINDING).handle_greeting(FrameType::Welcome, &other);
    assert_eq!(greeting, Err(Violation::Malformed(FrameType::Welcome)));
}

#[test]
fn groups_come_in_order_and_whole() {
    let malformed = Violation::Malformed(FrameType::Group);
    let cases: [(&str, &[Frame], Violation); 16] = [
        ("before the range", &[group(4, 1)], Violation::Range),
        ("not the first", &[group(6, 1)], Violation::Range),
        ("behind the range", &[group(8, 1)], Violation::Range),
        ("of any number", &[group(u64::MAX, 1)], Violation::Range),
        ("twice", &[group(5, 1), group(5, 1)], Violation::Range),
        ("left out", &[group(5, 1), group(7, 1)], Violation::Range),
        ("empty", &[group(5, 0)], malformed),
        ("too long", &[group(5, GROUP_BYTES + 1)], malformed),
        ("no hash", &[(FrameType::Group, vec![5; 24])], malformed),
        ("hole before", &[hole(4, 1)], Violation::Range),
        ("hole of none", &[hole(5, 0)], Violation::Range),
        ("hole too long", &[hole(5, 4)], Violation::Range),
        ("hole around all", &[hole(5, u64::MAX)], Violation::Range),
        (
            "hole over a group",
            &[group(5, 1), hole(5, 2)],
            Violation::Range,
        ),
        (
            "done early",
            &[group(5, 1), done()],
            unexpected(FrameType::Done),
        ),
        ("one more", &[hole(5, 3), group(8, 1)], Violation::Range),
    ];
    for (what, frames, refused) in cases {
        check(what, &[&read(5, 8)], frames, refused);
    }
    let largest = [group(5, GROUP_BYTES), hole(6, 2), done()];
    assert!(answers_to(&[&read(5, 8)], &largest).is_ok());
}

#[test]
fn hashes_come_in_order_and_whole() {
    let malformed = Violation::Malformed(FrameType::Hashes);
    let cases: [(&str, &[Frame], Violation); 6] = [
        ("not the first", &[hashes_of(6, 32)], Violation::Range),
        ("too many", &[hashes_of(5, 4 * 32)], Violation::Range),
        ("none", &[hashes_of(5, 0)], malformed),
        ("half of one", &[hashes_of(5, 48)], malformed),
        (
            "twice",
            &[hashes_of(5, 32), hashes_of(5, 32)],
            Violation::Range,
        ),
        (
            "done early",
            &[hashes_of(5, 64), done()],
            unexpected(FrameType::Done),
        ),
    ];
    for (what, frames, refused) in cases {
        check(what, &[&hashes(5, 8)], frames, refused);
    }
}

#[test]
fn a_tree_comes_in_order() {
    let cases: [(&str, &[&[PageItem<'_>]]); 13] = [
        ("a directory first of all", &[&[directory("a")]]),
        ("the root twice", &[&[directory(""), directory("")]]),
        ("a file twice", &[&[directory(""), file("a"), file("a")]]),
        (
            "a file and a link",
            &[&[directory(""), file("a"), link("a", b"t")]],
        ),
        (
            "files out of order",
            &[&[directory(""), file("b"), file("a")]],
        ),
        (
            "twice over two pages",
            &[&[directory(""), file("a")], &[file("a")]],
        ),
        (
            "a directory twice",
            &[&[directory(""), directory("a"), directory("a")]],
        ),
        (
            "a directory again",
            &[&[directory(""), directory("b"), directory("a")]],
        ),
        ("a directory in none", &[&[directory(""), directory("a/b")]]),
        (
            "back to a branch",
            &[
                &[directory(""), directory("a"), directory("b")],
                &[directory("a/c")],
            ],
        ),
        ("beside a single file", &[&[file("f"), file("g")]]),
        (
            "behind the end",
            &[&[directory(""), PageItem::End, file("a")]],
        ),
        (
            "a page behind the end",
            &[&[directory(""), PageItem::End], &[directory("a")]],
        ),
    ];
    for (what, pages) in cases {
        let frames: Vec<_> = pages.iter().map(|items| page(items)).collect();
        let more = Request::More { tree: 1 };
        check(what, &[&tree(None), &more], &frames, Violation::TreeOrder);
    }
    let again = [
        page(&[directory(""), PageItem::End]),
        page(&[PageItem::End]),
    ];
    let more = Request::More { tree: 1 };
    assert!(answers_to(&[&tree(None), &more], &again).is_ok());
}

#[test]
fn a_tree_goes_on_only_behind_its_cursor() {
    let cursor = || {
        Some(Cursor {
            directory: RelativePath::parse(b"d").unwrap(),
            after: Some(Name::parse(b"m").unwrap()),
        })
    };
    let cases: [(&str, &[PageItem<'_>]); 5] = [
        ("the item itself", &[file("m")]),
        ("a file before it", &[file("a")]),
        ("its directory", &[directory("d")]),
        ("a directory before it", &[directory("c")]),
        ("the root", &[directory("")]),
    ];
    for (what, items) in cases {
        check(
            what,
            &[&tree(cursor())],
            &[page(items)],
            Violation::TreeOrder,
        );
    }
    let behind = [file("n"), directory("d/a"), directory("e"), PageItem::End];
    assert!(answers_to(&[&tree(cursor())], &[page(&behind)]).is_ok());
}

#[test]
fn names_that_cannot_be_are_refused() {
    let malformed = Violation::Malformed(FrameType::Page);
    let (long, deep) = ("x".repeat(256), "a/".repeat(5000) + "a");
    let mut names: Vec<&str> = vec![
        "../x",
        "/abs",
        "",
        ".",
        "..",
        "a\0b",
        "a/b",
        ".packhorse-partial",
    ];
    names.push(&long);
    for name in names {
        let mut raw = begun_page(&[directory("")]);
        // A file: its number, its name as any bytes, its state, no content.
        raw.append(&1u8);
        raw.append(&Blob(name.as_bytes()));
        raw.append(&info(1));
        raw.append(&None::<Inline<'_>>);
        check(
            name,
            &[&tree(None)],
            &[finish(FrameType::Page, raw)],
            malformed,
        );
    }
    for path in [
        "..",
        "a/../b",
        "/abs",
        "a/",
        "a//b",
        "a\0",
        ".packhorse-partial/x",
        &long,
        &deep,
    ] {
        let mut raw = begun_page(&[directory("")]);
        raw.append(&0u8);
        raw.append(&Blob(path.as_bytes()));
        raw.append(&directory_info());
        check(
            path,
            &[&tree(None)],
            &[finish(FrameType::Page, raw)],
            malformed,
        );
    }
}

#[test]
fn items_that_cannot_be_are_refused() {
    let malformed = Violation::Malformed(FrameType::Page);
    let long = [b'x'; 4096];
    let inline_of = |size, bytes| PageItem::File {
        name: Name::parse(b"f").unwrap(),
        info: info(size),
        content: Some(inline(bytes)),
    };
    let large = vec![0; INLINE_BYTES_MAX as usize + 1];
    let cases = [
        ("a target of nothing", link("l", b""), malformed),
        ("a target with a NUL", link("l", b"a\0b"), malformed),
        ("a target too long", link("l", &long), malformed),
        ("content too short", inline_of(4, b"abc"), Violation::Excess),
        ("content too long", inline_of(2, b"abc"), Violation::Excess),
        (
            "content of a file without",
            inline_of(0, b"a"),
            Violation::Excess,
        ),
        (
            "a size beyond all",
            inline_of(u64::MAX, b"abc"),
            Violation::Excess,
        ),
        (
            "a large file in line",
            inline_of(INLINE_BYTES_MAX + 1, &large),
            Violation::Excess,
        ),
    ];
    for (what, item, refused) in cases {
        check(
            what,
            &[&tree(None)],
            &[page(&[directory(""), item])],
            refused,
        );
    }
    check("an empty page", &[&tree(None)], &[page(&[])], malformed);
    let unknown = (FrameType::Page, vec![5]);
    check("an unknown item", &[&tree(None)], &[unknown], malformed);
    let names: Vec<_> = (0..PAGE_ITEMS_MAX).map(|n| format!("{n:05}")).collect();
    let many: Vec<_> = std::iter::once(directory(""))
        .chain(names.iter().map(|name| file(name)))
        .collect();
    check(
        "too many items",
        &[&tree(None)],
        &[page(&many)],
        Violation::TreeOrder,
    );
}

#[test]
fn contents_are_what_was_asked_for() {
    let malformed = Violation::Malformed(FrameType::Contents);
    let file = |size, bytes| FetchItem::File {
        info: info(size),
        content: inline(bytes),
    };
    let failed = || FetchItem::Failed {
        refusal: Refusal::NotFound,
    };
    let cases: [(&str, &[&[FetchItem<'_>]], Violation); 5] = [
        (
            "one too many",
            &[&[failed(), failed(), failed()]],
            Violation::Excess,
        ),
        (
            "one too many later",
            &[&[failed()], &[failed(), failed()]],
            Violation::Excess,
        ),
        ("none", &[&[]], malformed),
        ("content too short", &[&[file(2, b"a")]], Violation::Excess),
        ("content too long", &[&[file(0, b"a")]], Violation::Excess),
    ];
    for (what, frames, refused) in cases {
        let frames: Vec<_> = frames.iter().map(|items| contents(items)).collect();
        check(what, &[&fetch(2)], &frames, refused);
    }
    let behind = [contents(&[failed(), failed()]), contents(&[failed()])];
    check(
        "after all",
        &[&fetch(2)],
        &behind,
        unexpected(FrameType::Contents),
    );
    assert!(answers_to(&[&fetch(2)], &[contents(&[failed(), file(1, b"a")])]).is_ok());
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let requests = [&read(0, 1), &tree(None)];
    let early = [page(&[directory("")])];
    check(
        "a page first",
        &requests,
        &early,
        unexpected(FrameType::Page),
    );
    let in_order = [group(0, 1), done(), page(&[directory("")])];
    assert!(answers_to(&requests, &in_order).is_ok());
    let after_failure = [(FrameType::Failed, vec![0]), group(0, 1)];
    let refused = unexpected(FrameType::Group);
    check("a group after Failed", &requests, &after_failure, refused);
    let close = Request::CloseTree { tree: 1 };
    let closed = [&tree(None), &close];
    let late = [page(&[directory("")])];
    check(
        "a page of a closed tree",
        &closed,
        &late,
        unexpected(FrameType::Page),
    );
}

#[test]
fn what_is_measured_is_what_was_asked_for() {
    let measure = |what, groups| Request::Measure(MeasureRequest { what, groups });
    let (path, work) = (
        measure(MeasureWhat::Path, 2),
        measure(MeasureWhat::Hashing, 2),
    );
    let whole = [filler(), filler(), measured(), measured()];
    assert!(answers_to(&[&path, &work], &whole).is_ok());
    let unasked = unexpected(FrameType::Filler);
    check(
        "a third",
        &[&path],
        &[filler(), filler(), filler()],
        unasked,
    );
    check("one for work", &[&work], &[filler()], unasked);
    check(
        "one behind the end",
        &[&work],
        &[measured(), filler()],
        unasked,
    );
    let early = unexpected(FrameType::Measured);
    check("an early end", &[&path], &[filler(), measured()], early);
    check("another end", &[&read(0, 1)], &[measured()], early);
    for length in [0, 1, GROUP_BYTES - 1] {
        let short = (FrameType::Filler, vec![0; length]);
        check(length, &[&path], &[short], unasked);
    }
    let refused = (FrameType::Failed, vec![0]);
    check(
        "a refusal",
        &[&work],
        &[refused],
        unexpected(FrameType::Failed),
    );
}

#[test]
fn a_frame_cut_anywhere_is_refused_or_only_ends_early() {
    for (request, (kind, body)) in requests().iter().zip(whole_answers()) {
        let whole = answers_to(&[request], &[(kind, body.clone())]);
        let length = whole.as_ref().map(|answers| items(&answers[0])).unwrap();
        for end in 0..body.len() {
            // A list may end between two items; a last item that looks whole is refused by its hash.
            match answers_to(&[request], &[(kind, body[..end].to_vec())]) {
                Err(violation) => assert_eq!(violation, Violation::Malformed(kind), "{end}"),
                Ok(answers) => assert!(items(&answers[0]) < length, "{kind:?} cut to {end}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in 0u8..=80, body: Vec<u8>, request in 0usize..5) {
        let Some(kind) = FrameType::from_byte(kind) else { return Ok(()) };
        let _ = ClientSession::new(None, BINDING).handle_greeting(kind, &body);
        let _ = answers_to(&[&requests()[request]], &[(kind, body)]);
    }

    #[test]
    fn no_damage_to_a_frame_panics(
        which in 0usize..5,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (kind, mut body) = whole_answers().swap_remove(which);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let _ = answers_to(&[&requests()[which]], &[(kind, body)]);
    }
}

/// Asks `requests` and hands over `frames`: all but the last are taken, the last is `refused`.
#[track_caller]
fn check(what: impl std::fmt::Debug, requests: &[&Request], frames: &[Frame], refused: Violation) {
    let (_, before) = frames.split_last().expect("there is a frame to refuse");
    if let Err(violation) = answers_to(requests, before) {
        panic!("{what:?}: refused too early: {violation}");
    }
    let violation = answers_to(requests, frames).err();
    assert_eq!(violation, Some(refused), "{what:?}");
}

fn answers_to(requests: &[&Request], frames: &[Frame]) -> Result<Vec<Answer>, Violation> {
    let mut client = ClientSession::new(None, BINDING);
    let greeting = client.handle_greeting(FrameType::Welcome, &welcome(None))?;
    assert_eq!(greeting, Ok(()));
    for request in requests {
        client.request(request);
    }
    frames
        .iter()
        .map(|(kind, body)| client.handle_frame(*kind, body.clone()))
        .collect()
}

fn unexpected(kind: FrameType) -> Violation {
    Violation::Unexpected(kind)
}

/// How much an answer holds.
fn items(answer: &Answer) -> usize {
    match answer {
        Answer::Page(page) => page.items.len() + usize::from(page.ended),
        Answer::Contents(files, _) => files.len(),
        Answer::Group(group) => group.bytes().len(),
        Answer::Hashes(_, _, hashes) => hashes.len(),
        Answer::Filler(bytes) => bytes.len(),
        Answer::Hole(..) | Answer::Done(_) | Answer::Failed(_) | Answer::Measured(_) => 1,
    }
}

/// One request for each frame of `whole_answers`.
fn requests() -> [Request; 5] {
    [tree(None), fetch(2), read(0, 2), read(0, 2), hashes(0, 2)]
}

fn whole_answers() -> Vec<Frame> {
    let content = PageItem::File {
        name: Name::parse(b"a").unwrap(),
        info: info(3),
        content: Some(inline(b"abc")),
    };
    let skipped = PageItem::Skipped {
        path: Blob(b"s"),
        refusal: Refusal::Special,
    };
    let items = [
        directory(""),
        content,
        link("l", b"t"),
        skipped,
        directory("d"),
        PageItem::End,
    ];
    let fetched = FetchItem::File {
        info: info(3),
        content: inline(b"abc"),
    };
    let failed = FetchItem::Failed {
        refusal: Refusal::Busy,
    };
    vec![
        page(&items),
        contents(&[fetched, failed]),
        group(0, 9),
        hole(0, 2),
        hashes_of(0, 64),
    ]
}

fn filler() -> Frame {
    (FrameType::Filler, vec![0; GROUP_BYTES])
}

fn measured() -> Frame {
    (FrameType::Measured, vec![7, 1])
}

/// A sound frame of each type that a server sends.
fn answers() -> Vec<Frame> {
    let failed = FetchItem::Failed {
        refusal: Refusal::NotFound,
    };
    vec![
        (FrameType::Welcome, welcome(None)),
        (FrameType::Denied, vec![1]),
        page(&[directory(""), PageItem::End]),
        contents(&[failed]),
        group(0, 1),
        hole(0, 1),
        hashes_of(0, 32),
        done(),
        (FrameType::Failed, vec![0]),
        filler(),
        measured(),
    ]
}
