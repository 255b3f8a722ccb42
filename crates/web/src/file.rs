//! A file as an answer: the whole of it, ranges of it, or that the client has it already.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, Response, StatusCode};
use packhorse_protocol::entry::{FileInfo, Refusal, Timestamp, Version};
use packhorse_protocol::message::{EntryOptions, LinkMode};
use packhorse_protocol::path::Name;
use packhorse_storage::clock::wall_clock;
use packhorse_storage::source::{SourceError, SourceFile, WholeFile};

use crate::body::{BodyError, Produce};
use crate::conditions::{Tag, Validators, Verdict};
use crate::disposition::Disposition;
use crate::limits::Limits;
use crate::media_type::{HEAD_BYTES, MediaType};
use crate::ranges::Selection;

/// A file that changed just now is told apart by its content too, up to this size. Its times alone
/// could not tell the next change.
const HASHED_BYTES_MAX: u64 = 16 << 20;

/// What is read at once for such a hash.
const HASH_CHUNK_BYTES: usize = 256 << 10;

/// How often a file is looked at again because it changed meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// Files of at most this size are read as they are opened, in one go.
pub(crate) const READ_AT_ONCE_BYTES_MAX: u64 = 64 << 10;

/// What may be done by an HTML page or an SVG picture that is served: nothing with the right to
/// read that its reader's cookie gives.
const ACTIVE_CONTENT_POLICY: &str = "sandbox; default-src 'none'; img-src 'self' data:; \
    media-src 'self'; font-src 'self' data:; style-src 'self' 'unsafe-inline'";

/// Links are followed while they stay in the tree.
pub(crate) const ENTRY_OPTIONS: EntryOptions = EntryOptions {
    links: LinkMode::Follow,
    xattrs: false,
    hard_links: false,
};

/// An opened file and what is said of it.
pub(crate) struct OpenedFile {
    size: u64,
    validators: Validators,
    media_type: MediaType,
    content: Content,
}

/// Where the bytes of a file are.
enum Content {
    /// Here: it is small.
    Held(Bytes),
    /// Still in the file, as long as that has this version.
    InFile(Arc<dyn SourceFile>, Version),
}

/// An answer's head, and what follows it.
pub(crate) type Answer = (Response<()>, Payload);

/// What follows the head.
pub(crate) enum Payload {
    Bytes(Bytes),
    Pieces(Box<dyn Produce>, u64),
}

impl OpenedFile {
    /// Looks at `file` once more and at its first bytes; on a disk worker. `headers` are the
    /// request's.
    ///
    /// # Errors
    /// `Changed` if it changes faster than it can be looked at; otherwise why it cannot be read.
    pub(crate) fn new(
        file: Box<dyn SourceFile>,
        name: &Name,
        headers: &HeaderMap,
    ) -> Result<Self, SourceError> {
        let file: Arc<dyn SourceFile> = Arc::from(file);
        for _ in 0..ATTEMPTS_MAX {
            if let Some(opened) = Self::look(&file, name, headers)? {
                return Ok(opened);
            }
        }
        Err(Refusal::Changed.into())
    }

    /// `None` if it changed meanwhile.
    fn look(
        file: &Arc<dyn SourceFile>,
        name: &Name,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, SourceError> {
        let FileInfo {
            size,
            modified,
            version,
            ..
        } = file.info()?;
        let now = wall_clock();
        let length = match size <= READ_AT_ONCE_BYTES_MAX {
            true => size as usize,
            false => HEAD_BYTES,
        };
        let mut head = vec![0; length];
        let count = file.read_at(0, &mut head)?;
        let state = file.state()?;
        if count != length || state.version != version {
            return Ok(None);
        }
        let media_type = MediaType::of(name, &head[..head.len().min(HEAD_BYTES)]);
        let content = match size == length as u64 {
            true => Content::Held(head.into()),
            false => Content::InFile(Arc::clone(file), version),
        };
        let is_settled = state.is_settled(now);
        let tag = content.tag(size, version, is_settled, headers)?;
        Ok(Some(Self {
            size,
            validators: Validators::new(tag, modified, now),
            media_type,
            content,
        }))
    }

    /// A small file that was read without a look at it before, which began at `now`.
    pub(crate) fn at_hand(
        file: WholeFile,
        name: &Name,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Self, SourceError> {
        let WholeFile {
            info:
                FileInfo {
                    size,
                    modified,
                    version,
                    ..
                },
            state,
            content,
        } = file;
        let media_type = MediaType::of(name, &content[..content.len().min(HEAD_BYTES)]);
        let content = Content::Held(content.into());
        let tag = content.tag(size, version, state.is_settled(now), headers)?;
        Ok(Self {
            size,
            validators: Validators::new(tag, modified, now),
            media_type,
            content,
        })
    }

    /// Answers a GET or HEAD with these headers.
    pub(crate) fn answer(
        self,
        name: &Name,
        headers: &HeaderMap,
        disposition: Disposition,
        is_head: bool,
        limits: &Limits,
    ) -> Answer {
        let mut response = Response::new(());
        self.describe(name, disposition, response.headers_mut());
        match self.validators.weigh(headers) {
            Verdict::Failed => return failed(response),
            Verdict::NotModified => return not_modified(response),
            Verdict::Proceed => {}
        }
        // §14.2: a server ignores the field in any other request than GET.
        let range = headers
            .get(RANGE)
            .filter(|_| !is_head && self.validators.allow_range(headers));
        let selection = range.map_or(Selection::Whole, |range| {
            Selection::of(range.as_bytes(), self.size, limits)
        });
        self.select(selection, response)
    }

    fn select(self, selection: Selection, mut response: Response<()>) -> Answer {
        let size = self.size;
        let parts = match selection {
            Selection::Whole => vec![Segment::File(0..size)],
            Selection::Unsatisfiable => return unsatisfiable(response, size),
            Selection::Parts(parts) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let headers = response.headers_mut();
                match parts.as_slice() {
                    [only] => {
                        headers.insert(CONTENT_RANGE, content_range(only, size));
                        vec![Segment::File(only.clone())]
                    }
                    parts => multipart(parts, size, headers),
                }
            }
        };
        let length = parts.iter().map(Segment::length).sum();
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
        let payload = match self.content {
            Content::Held(content) => Payload::Bytes(assemble(&content, &parts)),
            Content::InFile(file, version) => {
                let pieces = FilePieces {
                    file,
                    version,
                    segments: parts.into(),
                };
                Payload::Pieces(Box::new(pieces), length)
            }
        };
        (response, payload)
    }

    /// Says what the file is.
    fn describe(&self, name: &Name, disposition: Disposition, headers: &mut HeaderMap) {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        describe_state(&self.validators, headers);
        if let Ok(value) = HeaderValue::from_str(&self.media_type.value) {
            headers.insert(CONTENT_TYPE, value);
        }
        headers.insert(CONTENT_DISPOSITION, disposition.header(name.as_bytes()));
        if self.media_type.is_active {
            let policy = HeaderValue::from_static(ACTIVE_CONTENT_POLICY);
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
    }

    /// The start of the file, up to `bytes_max`, and whether that is all.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn start(&self, bytes_max: usize) -> Result<(Vec<u8>, bool), SourceError> {
        let length = usize::try_from(self.size).unwrap_or(usize::MAX);
        let start = match &self.content {
            Content::Held(content) => content[..length.min(bytes_max)].to_vec(),
            Content::InFile(file, _) => {
                let mut start = vec![0; length.min(bytes_max)];
                let count = file.read_at(0, &mut start)?;
                start.truncate(count);
                start
            }
        };
        Ok((start, length <= bytes_max))
    }
}

impl Content {
    /// What tells states of a file with this content apart, for a request with these headers.
    fn tag(
        &self,
        size: u64,
        version: Version,
        is_settled: bool,
        headers: &HeaderMap,
    ) -> Result<Tag, SourceError> {
        let text = format!("{:032x}", u128::from_be_bytes(version.0));
        let with_content = format!("{text}-");
        // Who got a tag while the file was not settled may bring it back later.
        let brings_content = [IF_MATCH, IF_NONE_MATCH, IF_RANGE]
            .iter()
            .flat_map(|name| headers.get_all(name))
            .any(|value| {
                value
                    .to_str()
                    .is_ok_and(|value| value.contains(&with_content))
            });
        if is_settled && !brings_content {
            return Ok(Tag::Strong(text));
        }
        if size > HASHED_BYTES_MAX {
            return Ok(match is_settled {
                true => Tag::Strong(text),
                false => Tag::Passing(text),
            });
        }
        let hash = match self {
            Self::Held(content) => blake3::hash(content),
            Self::InFile(file, _) => hash(&**file, size)?,
        };
        Ok(Tag::Strong(format!(
            "{with_content}{}",
            &hash.to_hex()[..16]
        )))
    }
}

fn hash(file: &dyn SourceFile, size: u64) -> Result<blake3::Hash, SourceError> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; HASH_CHUNK_BYTES];
    let mut offset = 0;
    while offset < size {
        let count = file.read_at(offset, &mut chunk)?;
        if count == 0 {
            return Err(Refusal::Changed.into());
        }
        hasher.update(&chunk[..count]);
        offset += count as u64;
    }
    Ok(hasher.finalize())
}

/// The headers that name a state.
pub(crate) fn describe_state(validators: &Validators, headers: &mut HeaderMap) {
    if let Some(tag) = validators.tag.header() {
        headers.insert(ETAG, tag);
    }
    if let Some(Ok(date)) = validators
        .last_modified()
        .map(|date| HeaderValue::from_str(&date))
    {
        headers.insert(LAST_MODIFIED, date);
    }
}

/// 412, §15.5.13.
pub(crate) fn failed(mut response: Response<()>) -> Answer {
    *response.status_mut() = StatusCode::PRECONDITION_FAILED;
    plain(response, "It has changed.\n")
}

/// 304 with what the client may have to renew, §15.4.5.
pub(crate) fn not_modified(mut response: Response<()>) -> Answer {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    for name in [CONTENT_TYPE, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY] {
        response.headers_mut().remove(name);
    }
    (response, Payload::Bytes(Bytes::new()))
}

/// 416 with how much there is, §15.5.17.
pub(crate) fn unsatisfiable(mut response: Response<()>, size: u64) -> Answer {
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    plain(response, "There are no such bytes in it.\n")
}

fn plain(mut response: Response<()>, text: &'static str) -> Answer {
    let headers = response.headers_mut();
    headers.remove(CONTENT_DISPOSITION);
    headers.remove(CONTENT_SECURITY_POLICY);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    (
        response,
        Payload::Bytes(Bytes::from_static(text.as_bytes())),
    )
}

/// `Content-Range` for a part of `size` bytes.
pub(crate) fn content_range(part: &Range<u64>, size: u64) -> HeaderValue {
    let value = format!("bytes {}-{}/{size}", part.start, part.end - 1);
    HeaderValue::from_str(&value).expect("digits can stand in a header")
}

/// Whether the one part that an answer with these headers has is the last of the whole.
pub(crate) fn is_to_the_end(headers: &HeaderMap) -> bool {
    let range = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let part = range.and_then(|range| range.split_once('-')?.1.split_once('/'));
    part.is_some_and(|(last, size)| {
        let (last, size) = (last.parse::<u64>(), size.parse::<u64>());
        last.is_ok_and(|last| size == Ok(last + 1))
    })
}

/// Several ranges as one body (§14.6); sets its type.
fn multipart(parts: &[Range<u64>], size: u64, headers: &mut HeaderMap) -> Vec<Segment> {
    let kind = headers.remove(CONTENT_TYPE);
    let kind = kind
        .as_ref()
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("application/octet-stream");
    // Nobody who writes a file may know what will part it.
    let boundary = format!(
        "{:016x}{:016x}",
        RandomState::new().build_hasher().finish(),
        RandomState::new().build_hasher().finish()
    );
    let mut segments = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let line_end = if index == 0 { "" } else { "\r\n" };
        let (first, last) = (part.start, part.end - 1);
        let head = format!(
            "{line_end}--{boundary}\r\nContent-Type: {kind}\r\n\
             Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
        );
        segments.push(Segment::Bytes(head.into()));
        segments.push(Segment::File(part.clone()));
    }
    segments.push(Segment::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    let value = format!("multipart/byteranges; boundary={boundary}");
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_str(&value).expect("hexadecimal digits can stand in a header"),
    );
    segments
}

/// A part of a body.
#[derive(Debug, Clone)]
enum Segment {
    Bytes(Bytes),
    File(Range<u64>),
}

impl Segment {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(range) => range.end - range.start,
        }
    }
}

/// A body of `parts`, those of the file from its `content`.
fn assemble(content: &Bytes, parts: &[Segment]) -> Bytes {
    let piece = |part: &Segment| match part {
        Segment::Bytes(bytes) => bytes.clone(),
        Segment::File(range) => content.slice(range.start as usize..range.end as usize),
    };
    match parts {
        [only] => piece(only),
        parts => parts.iter().map(piece).collect::<Vec<_>>().concat().into(),
    }
}

/// Parts of one version of a file, and what stands between them.
struct FilePieces {
    file: Arc<dyn SourceFile>,
    version: Version,
    segments: VecDeque<Segment>,
}

impl Produce for FilePieces {
    fn next(&mut self, bytes: usize) -> Result<Option<Bytes>, BodyError> {
        match self.segments.pop_front() {
            None => Ok(None),
            Some(Segment::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Segment::File(range)) => {
                let end = range.end.min(range.start.saturating_add(bytes as u64));
                let piece = read_unchanged(&*self.file, self.version, range.start..end)?;
                if end < range.end {
                    self.segments.push_front(Segment::File(end..range.end));
                }
                Ok(Some(piece))
            }
        }
    }
}

/// Reads a part of a file, if the file is still in the state `version` afterwards.
///
/// # Errors
/// `Changed`; otherwise why it cannot be read.
pub(crate) fn read_unchanged(
    file: &dyn SourceFile,
    version: Version,
    range: Range<u64>,
) -> Result<Bytes, BodyError> {
    let mut piece = vec![0; (range.end - range.start) as usize];
    let count = file.read_at(range.start, &mut piece)?;
    if count != piece.len() || file.state()?.version != version {
        return Err(BodyError::Changed);
    }
    Ok(piece.into())
}
