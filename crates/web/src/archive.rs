//! A directory and all that lies in it, as one file.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName,
    HeaderValue, RANGE,
};
use http::{Method, Response, StatusCode};
use packhorse_protocol::path::RelativePath;
use packhorse_storage::clock::wall_clock;
use tokio::time::sleep;
use tracing::warn;

use crate::answer::{Refused, Request};
use crate::body::Body;
use crate::conditions::{Tag, Validators, Verdict};
use crate::disposition::Disposition;
use crate::file::{Payload, content_range, describe_state, failed, not_modified, unsatisfiable};
use crate::ranges::Selection;
use crate::service::Shared;

mod entry;
mod pieces;
mod survey;
mod tar;
mod zip;

use pieces::ArchivePieces;
use survey::{Survey, Surveyor};

/// How many entries were left out: what cannot be read, links that leave the tree, and what is
/// neither file, directory nor link.
const SKIPPED: HeaderName = HeaderName::from_static("packhorse-skipped");

/// What an archive of the root is called.
const NAMELESS: &[u8] = b"files";

/// A file that changed within this time before a survey could change again unseen.
const SETTLING: Duration = Duration::from_secs(2);

/// The kinds of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// POSIX tar with pax headers: links as links, and any part of it can be asked for.
    Tar,
    /// ZIP without compression, with what is behind links: for who has nothing else.
    Zip,
}

impl Format {
    /// By its name in a query.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "tar" => Some(Self::Tar),
            "zip" => Some(Self::Zip),
            _ => None,
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Zip => "zip",
        }
    }

    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Tar => "application/x-tar",
            Self::Zip => "application/zip",
        })
    }
}

/// Answers a request for the directory that it names, as an archive.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: &Request,
    format: Format,
) -> Result<Response<Body>, Refused> {
    let path = &request.target.path;
    let survey = Arc::new(survey(shared, path, format).await?);
    if let Some(wanted) = &request.query.at
        && *wanted != survey.version
    {
        let text = "The folder has changed: what you have of it and what there is now do not fit. \
            Begin again, without the part that you have.";
        return Err(Refused::Status(
            StatusCode::PRECONDITION_FAILED,
            text.to_owned(),
        ));
    }
    let tag = match survey.is_settled {
        true => Tag::Strong(survey.version.clone()),
        false => Tag::Passing(survey.version.clone()),
    };
    let validators = Validators::new(tag, survey.modified, wall_clock());
    let mut response = Response::new(());
    let headers = response.headers_mut();
    describe_state(&validators, headers);
    headers.insert(CONTENT_TYPE, format.media_type());
    headers.insert(CONTENT_DISPOSITION, disposition(path, format));
    headers.insert(
        ACCEPT_RANGES,
        HeaderValue::from_static(match format {
            Format::Tar => "bytes",
            Format::Zip => "none",
        }),
    );
    if survey.skipped > 0 {
        headers.insert(SKIPPED, HeaderValue::from(survey.skipped));
        warn!(
            %path,
            entries = survey.skipped,
            "left out of an archive"
        );
    }
    let asked = &request.head.headers;
    match validators.weigh(asked) {
        Verdict::Failed => return Ok(shared.respond(failed(response))),
        Verdict::NotModified => return Ok(shared.respond(not_modified(response))),
        Verdict::Proceed => {}
    }
    let range = asked.get(RANGE).filter(|_| {
        format == Format::Tar && request.head.method == Method::GET && validators.allow_range(asked)
    });
    let length = survey.length;
    let selection = range.map_or(Selection::Whole, |range| {
        Selection::of(range.as_bytes(), length, &shared.limits)
    });
    let part = match selection {
        Selection::Unsatisfiable => return Ok(shared.respond(unsatisfiable(response, length))),
        Selection::Parts(parts) if parts.len() == 1 => {
            let part = parts[0].clone();
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let headers = response.headers_mut();
            headers.insert(CONTENT_RANGE, content_range(&part, length));
            part
        }
        // Several parts of an archive are of no use to anyone.
        Selection::Parts(_) | Selection::Whole => 0..length,
    };
    let part_length = part.end - part.start;
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(part_length));
    let source = Arc::clone(&shared.source);
    let pieces = ArchivePieces::new(source, path.clone(), format, survey, part);
    Ok(shared.respond((response, Payload::Pieces(Box::new(pieces), part_length))))
}

/// Looks at the whole tree, and again if it changed just now: then it could change once more
/// without that being seen.
async fn survey(
    shared: &Arc<Shared>,
    path: &RelativePath,
    format: Format,
) -> Result<Survey, Refused> {
    let first = survey_once(shared, path, format).await?;
    if first.is_settled {
        return Ok(first);
    }
    sleep(SETTLING).await;
    survey_once(shared, path, format).await
}

/// Looks at the whole tree, block by block, so that no disk worker is kept for long.
async fn survey_once(
    shared: &Arc<Shared>,
    path: &RelativePath,
    format: Format,
) -> Result<Survey, Refused> {
    let (source, path) = (Arc::clone(&shared.source), path.clone());
    // The semaphore is never closed, and without it this would only be less fair.
    let _turn = shared.surveys.acquire().await;
    let mut surveyor = shared
        .work(move || Surveyor::open(source, &path, format))
        .await??;
    loop {
        let (next, is_done) = shared
            .work(move || {
                let is_done = surveyor.step();
                (surveyor, is_done)
            })
            .await?;
        surveyor = next;
        if is_done {
            return Ok(surveyor.finish(wall_clock()));
        }
    }
}

fn disposition(path: &RelativePath, format: Format) -> HeaderValue {
    let name = path.split_last();
    let name = name.as_ref().map_or(NAMELESS, |(_, name)| name.as_bytes());
    let file = [name, b".", format.extension().as_bytes()].concat();
    Disposition::Attachment.header(&file)
}
