//! What lies in a directory, chosen, sorted and cut into pages.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY,
};
use http::{Response, StatusCode};
use packhorse_protocol::entry::{Refusal, Timestamp};
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::path::Name;
use packhorse_storage::source::{SourceDirectory, SourceEntry, SourceError, SourceNames};

use crate::accept::Accepted;
use crate::answer::{Refused, Request, redirect};
use crate::archive::{self, Format};
use crate::body::Body;
use crate::json::JsonPieces;
use crate::page;
use crate::readme::Readme;
use crate::service::Shared;
use crate::target::{Query, encode};

/// What a listing is sorted by; directories always come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Name,
    Size,
    Time,
}

/// What is wanted of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) sort: Sort,
    pub(crate) is_descending: bool,
    /// Part of the names, in lower case; empty for all.
    pub(crate) search: String,
    /// From 1 on.
    pub(crate) page: usize,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) kind: EntryKind,
}

/// What an entry is, and what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Directory { modified: Timestamp },
    File { size: u64, modified: Timestamp },
    Refused(Refusal),
}

/// The part of a directory that a view shows.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) view: View,
    pub(crate) entries: Vec<Entry>,
    /// On all pages together.
    pub(crate) entries_total: usize,
    pub(crate) pages: usize,
    pub(crate) readme: Option<Readme>,
}

/// The names in a directory that a view wants, in its order.
pub(crate) struct Chosen {
    pub(crate) directory: Box<dyn SourceDirectory>,
    names: SourceNames,
    order: Vec<u32>,
}

/// Answers a request for a directory.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    directory: Box<dyn SourceDirectory>,
    request: Request,
    accepted: Accepted,
) -> Result<Response<Body>, Refused> {
    if let Some(name) = &request.query.archive {
        let format = Format::of(name).ok_or_else(|| {
            let text = "There are archives as tar and as zip.".to_owned();
            Refused::Status(StatusCode::BAD_REQUEST, text)
        })?;
        return archive::answer(shared, &request, format).await;
    }
    if accepted.json {
        return json(shared, directory, &request).await;
    }
    if !request.target.is_directory
        && let Some((_, name)) = request.target.path.split_last()
    {
        // Links in the page are relative to the directory.
        return Ok(redirect(
            &request,
            &format!("./{}/", encode(name.as_bytes())),
        ));
    }
    let view = View::of(&request.query);
    let entries_max = shared.limits.page_entries_max;
    let listing = shared
        .work(move || Listing::read(directory, view, entries_max))
        .await??;
    let html = page::directory(shared, &listing, &request, accepted.language);
    Ok(page_response(html, &request))
}

async fn json(
    shared: &Arc<Shared>,
    directory: Box<dyn SourceDirectory>,
    request: &Request,
) -> Result<Response<Body>, Refused> {
    let view = View::of(&request.query);
    let path = request.target.path.clone();
    let pieces = shared
        .work(move || Chosen::new(directory, &view).map(|chosen| JsonPieces::new(&path, chosen)))
        .await??;
    let body = Body::pieces(Box::new(pieces), None, &shared.workers, &shared.ahead);
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    Ok(response)
}

/// A page as an answer, which a client that has it already need not get again.
pub(crate) fn page_response(html: String, request: &Request) -> Response<Body> {
    let hash = blake3::hash(html.as_bytes()).to_hex();
    let tag = format!("\"{}\"", &hash[..32]);
    let asked = request.head.headers.get_all(IF_NONE_MATCH);
    let is_known = asked.into_iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.contains(&tag)
    });
    let mut response = Response::new(match is_known {
        true => Body::empty(),
        false => Body::bytes(html),
    });
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(page::POLICY),
    );
    response
}

impl View {
    pub(crate) fn of(query: &Query) -> Self {
        let sort = match query.sort.as_deref() {
            Some("size") => Sort::Size,
            Some("time") => Sort::Time,
            _ => Sort::Name,
        };
        let page = query.page.as_deref().and_then(|page| page.parse().ok());
        Self {
            sort,
            is_descending: query.order.as_deref() == Some("desc"),
            search: query.search.as_deref().unwrap_or("").to_lowercase(),
            page: page.unwrap_or(1).max(1),
        }
    }
}

impl EntryKind {
    fn size(self) -> Option<u64> {
        match self {
            Self::File { size, .. } => Some(size),
            Self::Directory { .. } | Self::Refused(_) => None,
        }
    }

    pub(crate) fn modified(self) -> Option<Timestamp> {
        match self {
            Self::File { modified, .. } | Self::Directory { modified } => Some(modified),
            Self::Refused(_) => None,
        }
    }
}

impl Chosen {
    /// Chooses and sorts names; on a disk worker. Only a sort by size or time looks at all of them.
    ///
    /// # Errors
    /// Why the directory cannot be read.
    pub(crate) fn new(
        directory: Box<dyn SourceDirectory>,
        view: &View,
    ) -> Result<Self, SourceError> {
        let names = directory.names()?;
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let others = u32::try_from(names.others()).unwrap_or(u32::MAX);
        let is_wanted = |index: &u32| {
            let name = names.name(*index as usize);
            view.search.is_empty()
                || Escaped(name.as_bytes())
                    .to_string()
                    .to_lowercase()
                    .contains(&view.search)
        };
        let mut parts = [
            (others..count).filter(is_wanted).collect::<Vec<_>>(),
            (0..others).filter(is_wanted).collect(),
        ];
        for part in &mut parts {
            if view.sort != Sort::Name {
                part.sort_by_cached_key(|&index| {
                    let kind = look_at(&*directory, &names.name(index as usize));
                    match view.sort {
                        Sort::Size => (kind.size(), None),
                        Sort::Name | Sort::Time => (None, kind.modified()),
                    }
                });
            }
            if view.is_descending {
                part.reverse();
            }
        }
        Ok(Self {
            directory,
            names,
            order: parts.concat(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The entry at `index` of the view.
    pub(crate) fn entry(&self, index: usize) -> Entry {
        let name = self.names.name(self.order[index] as usize);
        let kind = look_at(&*self.directory, &name);
        Entry { name, kind }
    }
}

impl Listing {
    /// Reads what `view` shows of a directory; on a disk worker.
    ///
    /// # Errors
    /// Why the directory cannot be read.
    pub(crate) fn read(
        directory: Box<dyn SourceDirectory>,
        mut view: View,
        page_entries_max: usize,
    ) -> Result<Self, SourceError> {
        let chosen = Chosen::new(directory, &view)?;
        let pages = chosen.len().div_ceil(page_entries_max).max(1);
        view.page = view.page.min(pages);
        let start = (view.page - 1) * page_entries_max;
        let end = (start + page_entries_max).min(chosen.len());
        let entries = (start..end).map(|index| chosen.entry(index)).collect();
        let readme = match view.page == 1 && view.search.is_empty() {
            true => Readme::of(&*chosen.directory, &chosen.names),
            false => None,
        };
        Ok(Self {
            entries,
            entries_total: chosen.len(),
            pages,
            readme,
            view,
        })
    }
}

fn look_at(directory: &dyn SourceDirectory, name: &Name) -> EntryKind {
    match directory.entry(name) {
        Ok(SourceEntry::File(info)) => EntryKind::File {
            size: info.size,
            modified: info.modified,
        },
        Ok(SourceEntry::Directory(info)) => EntryKind::Directory {
            modified: info.modified,
        },
        Ok(SourceEntry::Link(_)) => EntryKind::Refused(Refusal::Changed),
        Err(error) => EntryKind::Refused(error.refusal),
    }
}
