//! From a request to its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_storage::clock::wall_clock;
use packhorse_storage::source::{Found, SourceDirectory, SourceError};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::accept::Accepted;
use crate::access::{Admission, Authority, CookiePlace};
use crate::body::Body;
use crate::disposition::Disposition;
use crate::file::{
    Answer, ENTRY_OPTIONS, OpenedFile, Payload, READ_AT_ONCE_BYTES_MAX, is_to_the_end,
};
use crate::record::Record;
use crate::service::{Gatekeeper, Shared};
use crate::target::{Query, Target, reference_to_itself, without_key};

/// What a single file is called that the root of a source is.
const NAMELESS: &[u8] = b"file";

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Answers the requests of one connection.
pub(crate) struct Answerer {
    shared: Arc<Shared>,
    peer: SocketAddr,
    secure: bool,
    gatekeeper: Arc<dyn Gatekeeper>,
    /// Whether the server has room for this client; asked once.
    admitted: OnceCell<bool>,
}

/// A request that may be answered.
pub(crate) struct Request {
    pub(crate) head: Parts,
    pub(crate) target: Target,
    pub(crate) query: Query,
    /// As the client calls this server.
    pub(crate) authority: Option<Authority>,
    pub(crate) secure: bool,
}

/// What a path leads to, opened.
enum Opened {
    File(Box<OpenedFile>, Name),
    Directory(Box<dyn SourceDirectory>),
}

/// Why a request is not answered as it would like.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A status with a line for people.
    Status(StatusCode, String),
    /// What the source says.
    Source(SourceError),
    /// A method that is not served.
    Method,
    /// No key, or a wrong one.
    Key,
}

impl From<SourceError> for Refused {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl Answerer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        peer: SocketAddr,
        secure: bool,
        gatekeeper: Arc<dyn Gatekeeper>,
    ) -> Self {
        Self {
            shared,
            peer,
            secure,
            gatekeeper,
            admitted: OnceCell::new(),
        }
    }

    /// Answers one request; its body is not read.
    pub(crate) async fn answer(&self, head: Parts) -> Response<Body> {
        let mut record = Record::new(self.peer, &head.method, head.uri.path());
        let is_head = head.method == Method::HEAD;
        let accepted = Accepted::of(&head.headers);
        let mut response = match self.try_answer(head, &mut record).await {
            Ok(response) => response,
            Err(refused) => self.refuse(refused, &accepted),
        };
        self.add_what_all_answers_have(response.headers_mut());
        if is_head {
            if let Some(length) = response.body().length().filter(|&length| length > 0) {
                let headers = response.headers_mut();
                headers.entry(CONTENT_LENGTH).or_insert(length.into());
            }
            *response.body_mut() = Body::empty();
        }
        record.set_status(response.status());
        response.body_mut().set_record(record);
        response
    }

    async fn try_answer(
        &self,
        head: Parts,
        record: &mut Record,
    ) -> Result<Response<Body>, Refused> {
        let bad = |text: &str| Refused::Status(StatusCode::BAD_REQUEST, text.to_owned());
        let authority = Authority::of(&head.uri, &head.headers, head.version)
            .ok_or_else(|| bad("A request needs one Host, and a right one."))?;
        if !self.secure && !self.shared.clear_text {
            return Err(bad(&where_to_go(&head, authority.as_ref())));
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Refused::Method);
        }
        let query = Query::parse(head.uri.query().unwrap_or(""));
        if query.style {
            return Ok(crate::page::style_sheet(&head.headers));
        }
        self.check_host(authority.as_ref())?;
        let place = CookiePlace {
            port: authority.as_ref().map_or(0, |it| it.port(self.secure)),
            secure: self.secure,
        };
        let access = &self.shared.access;
        let admission = access.admit(&head.headers, query.key.as_deref(), place);
        match admission {
            Admission::Granted | Admission::GrantedByUrl => {}
            Admission::Missing => return Err(Refused::Key),
            Admission::Wrong => {
                sleep(self.shared.limits.denial_time).await;
                return Err(Refused::Key);
            }
        }
        if !*self
            .admitted
            .get_or_init(async || self.gatekeeper.admit())
            .await
        {
            let text = "This server has as many clients as it takes. Try again later.";
            return Err(Refused::Status(
                StatusCode::SERVICE_UNAVAILABLE,
                text.to_owned(),
            ));
        }
        let target = Target::parse(head.uri.path()).map_err(|error| {
            Refused::Status(StatusCode::BAD_REQUEST, format!("The path: {error}."))
        })?;
        let request = Request {
            head,
            target,
            query,
            authority,
            secure: self.secure,
        };
        let by_url = admission == Admission::GrantedByUrl;
        let mut response = self.find(request, by_url, record).await?;
        if by_url && let Some(cookie) = self.shared.access.set_cookie(place) {
            let cookie = HeaderValue::from_str(&cookie).expect("it is ASCII without controls");
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// A name that leads to this machine only because someone else made it so is refused where
    /// there is no key: by it, a page from elsewhere could read what an open server has.
    fn check_host(&self, authority: Option<&Authority>) -> Result<(), Refused> {
        let is_foreign = authority.is_some_and(|authority| !authority.is_local());
        if self.shared.access.is_open() && self.peer.ip().is_loopback() && is_foreign {
            let text = "This server answers to localhost and to addresses, not to this name.";
            return Err(Refused::Status(
                StatusCode::MISDIRECTED_REQUEST,
                text.to_owned(),
            ));
        }
        Ok(())
    }

    async fn find(
        &self,
        request: Request,
        by_url: bool,
        record: &mut Record,
    ) -> Result<Response<Body>, Refused> {
        let accepted = Accepted::of(&request.head.headers);
        // A browser is sent on, so that the key does not stay in its address bar and history. Other
        // programs get the file itself: most would not keep the cookie that comes with it.
        if by_url && (accepted.html || (request.target.is_directory && !request.names_content())) {
            return Ok(redirect(&request, &reference_to_itself(&request.target)));
        }
        match self.open(&request).await? {
            Opened::File(..) if request.target.is_directory => {
                Err(SourceError::from(Refusal::NotDirectory).into())
            }
            Opened::File(file, name) if request.query.preview => {
                crate::page::preview(self.shared.as_ref(), *file, name, &request).await
            }
            Opened::File(file, name) => Ok(self.file(*file, &name, &request, record)),
            Opened::Directory(directory) => {
                let is_archive =
                    request.query.archive.is_some() && request.head.method == Method::GET;
                let range = request.head.headers.get(RANGE).cloned();
                let response =
                    crate::listing::answer(&self.shared, directory, request, accepted).await?;
                if is_archive && completes(&response, range.as_ref()) {
                    record.completes(&self.gatekeeper);
                }
                Ok(response)
            }
        }
    }

    /// Opens what the request names: here if it is a small file that is at hand, otherwise on a
    /// disk worker.
    async fn open(&self, request: &Request) -> Result<Opened, Refused> {
        if let Some(opened) = self.open_at_hand(request)? {
            return Ok(opened);
        }
        let source = Arc::clone(&self.shared.source);
        let path = request.target.path.clone();
        let headers = request.head.headers.clone();
        let opened = self.shared.work(move || {
            Ok::<_, SourceError>(match source.find(&path, ENTRY_OPTIONS)? {
                Found::Directory(directory) => Opened::Directory(directory),
                Found::Link(_) => return Err(Refusal::Changed.into()),
                Found::File(file) => {
                    let name = file_name(&path)?;
                    let file = OpenedFile::new(file, &name, &headers)?;
                    Opened::File(Box::new(file), name)
                }
            })
        });
        Ok(opened.await??)
    }

    fn open_at_hand(&self, request: &Request) -> Result<Option<Opened>, SourceError> {
        let path = &request.target.path;
        let now = wall_clock();
        let source = &self.shared.source;
        let Some(file) = source.at_hand(path, READ_AT_ONCE_BYTES_MAX, ENTRY_OPTIONS) else {
            return Ok(None);
        };
        let name = file_name(path)?;
        let file = OpenedFile::at_hand(file, &name, &request.head.headers, now)?;
        Ok(Some(Opened::File(Box::new(file), name)))
    }

    fn file(
        &self,
        file: OpenedFile,
        name: &Name,
        request: &Request,
        record: &mut Record,
    ) -> Response<Body> {
        let disposition = match request.query.download {
            true => Disposition::Attachment,
            false => Disposition::Inline,
        };
        let Parts {
            method, headers, ..
        } = &request.head;
        let is_head = method == Method::HEAD;
        let answer = file.answer(name, headers, disposition, is_head, &self.shared.limits);
        let completes = completes(&answer.0, headers.get(RANGE));
        if !is_head && completes && !is_part_of_a_page(headers) {
            record.completes(&self.gatekeeper);
        }
        self.shared.respond(answer)
    }

    fn refuse(&self, refused: Refused, accepted: &Accepted) -> Response<Body> {
        let (status, text) = match &refused {
            Refused::Status(status, text) => (*status, text.clone()),
            Refused::Source(error) => (status_of(error.refusal), sentence(error.refusal)),
            Refused::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Only GET and HEAD are served.".to_owned(),
            ),
            Refused::Key => (
                StatusCode::UNAUTHORIZED,
                "This server needs its key. Use the whole address that it printed, with ?key=; \
                 or send the key as a password or bearer token."
                    .to_owned(),
            ),
        };
        let mut response = crate::page::message(status, &text, accepted);
        let headers = response.headers_mut();
        match refused {
            Refused::Key => {
                for challenge in [
                    "Basic realm=\"packhorse\", charset=\"UTF-8\"",
                    "Bearer realm=\"packhorse\"",
                ] {
                    headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
                }
            }
            Refused::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Refused::Status(StatusCode::SERVICE_UNAVAILABLE, _)
            | Refused::Source(SourceError {
                refusal: Refusal::Busy,
                ..
            }) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Refused::Status(StatusCode::BAD_REQUEST, _) => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Refused::Status(..) | Refused::Source(_) => {}
        }
        response
    }

    fn add_what_all_answers_have(&self, headers: &mut HeaderMap) {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        // It may be kept, and must be asked for again each time: that costs little, by its tag.
        let cache = match self.shared.access.is_open() {
            true => "no-cache",
            false => "private, no-cache",
        };
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static(cache));
    }
}

impl Request {
    /// It asks for something that is kept rather than looked at.
    fn names_content(&self) -> bool {
        self.query.archive.is_some() || Accepted::of(&self.head.headers).json
    }
}

impl Shared {
    /// Has a disk worker do `work`.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        self.workers.run(work).await.map_err(|error| {
            Refused::Status(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}."))
        })
    }

    pub(crate) fn respond(&self, (response, payload): Answer) -> Response<Body> {
        let body = match payload {
            Payload::Bytes(bytes) => Body::bytes(bytes),
            Payload::Pieces(producer, length) => {
                Body::pieces(producer, Some(length), &self.workers, &self.ahead)
            }
        };
        response.map(|()| body)
    }
}

/// What the file at `path` is called.
fn file_name(path: &RelativePath) -> Result<Name, SourceError> {
    match path.split_last() {
        Some((_, name)) => Ok(name),
        None => Ok(Name::parse(NAMELESS)?),
    }
}

/// Sends the client to `reference`, with what the query has besides the key.
pub(crate) fn redirect(request: &Request, reference: &str) -> Response<Body> {
    let rest = without_key(request.head.uri.query().unwrap_or(""));
    let location = match rest.is_empty() {
        true => reference.to_owned(),
        false => format!("{reference}?{rest}"),
    };
    let condition = match request.query.key {
        Some(_) => ", for who keeps the cookie that comes with this",
        None => "",
    };
    let mut response = Response::new(Body::bytes(format!("It is at {location}{condition}.\n")));
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, location);
    }
    headers.insert(VARY, HeaderValue::from_static("accept"));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Where a client that speaks without TLS finds this server.
fn where_to_go(head: &Parts, authority: Option<&Authority>) -> String {
    let path = head.uri.path();
    let place = authority.map_or_else(|| "this host".to_owned(), |it| it.place(false));
    format!("This server speaks TLS here: use https://{place}{path}")
}

/// Whether a client that takes this answer to `range` has all then: the whole, or the rest of what
/// it had begun before. Who asks for some last bytes only wants to look at them.
fn completes<T>(response: &Response<T>, range: Option<&HeaderValue>) -> bool {
    let is_tail = range.is_some_and(|range| range.as_bytes().starts_with(b"bytes=-"));
    match response.status() {
        StatusCode::OK => true,
        StatusCode::PARTIAL_CONTENT => !is_tail && is_to_the_end(response.headers()),
        _ => false,
    }
}

/// A picture or a frame in a page rather than something that is fetched for itself.
fn is_part_of_a_page(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-dest")
        .is_some_and(|place| !matches!(place.as_bytes(), b"document" | b"empty"))
}

fn status_of(refusal: Refusal) -> StatusCode {
    match refusal {
        // A file that has a slash behind it, or something below it, is nothing.
        Refusal::NotFound | Refusal::NotDirectory | Refusal::UnusableName => StatusCode::NOT_FOUND,
        Refusal::PermissionDenied
        | Refusal::Special
        | Refusal::LeavesTree
        | Refusal::LinkLoop
        | Refusal::IsDirectory => StatusCode::FORBIDDEN,
        Refusal::Changed | Refusal::TooLarge | Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Unreadable => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn sentence(refusal: Refusal) -> String {
    format!("This cannot be had: {refusal}.")
}
