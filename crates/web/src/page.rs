//! The pages for people. They need no script, and what is named in them cannot become markup.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, Response, StatusCode};
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use packhorse_protocol::entry::Timestamp;
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::key::Key;
use packhorse_protocol::path::{Name, RelativePath};

use crate::accept::{Accepted, Language};
use crate::answer::{Refused, Request};
use crate::body::Body;
use crate::file::OpenedFile;
use crate::listing::{Entry, EntryKind, Listing, Sort, View, page_response};
use crate::media_type::Preview;
use crate::readme::{Readme, ReadmeText};
use crate::service::Shared;
use crate::target::{encode, encode_path};

mod words;

use words::Words;

/// What a page may do: show pictures and previews of this server, and nothing else.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
    frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

const STYLE: &str = include_str!("page/style.css");

/// How much of a text is previewed.
const PREVIEW_BYTES_MAX: usize = 64 << 10;

/// A picture that is larger is not shown beside its name.
const PICTURE_BYTES_MAX: u64 = 32 << 20;

const FOLDER_ICON: PreEscaped<&str> = PreEscaped(
    "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path fill=\"currentColor\" d=\"M1.5 3A1.5 \
     1.5 0 0 0 0 4.5v8A1.5 1.5 0 0 0 1.5 14h13a1.5 1.5 0 0 0 1.5-1.5v-7A1.5 1.5 0 0 0 14.5 4H8L6.6 \
     3.3A2 2 0 0 0 5.7 3z\"/></svg>",
);

const FILE_ICON: PreEscaped<&str> = PreEscaped(
    "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path fill=\"none\" stroke=\"currentColor\" \
     d=\"M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3\"/></svg>",
);

const EMBLEM: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 \
    16'%3E%3Crect width='16' height='16' rx='3' fill='%23b9862b'/%3E%3Cpath fill='white' d='M4 \
    3h5a3.5 3.5 0 0 1 0 7H7v3H4zm3 2.5v2h1.5a1 1 0 0 0 0-2z'/%3E%3C/svg%3E";

/// The page of a directory.
pub(crate) fn directory(
    shared: &Shared,
    listing: &Listing,
    request: &Request,
    language: Language,
) -> String {
    let words = Words::of(language);
    let path = &request.target.path;
    let title = path
        .split_last()
        .map_or_else(|| words.top.to_owned(), |(_, name)| shown(name.as_bytes()));
    let content = html! {
        a.skip href="#files" { (words.to_the_list) }
        header {
            (breadcrumbs(path, words))
            (bar(&listing.view, words))
        }
        main id="files" {
            (table(listing, path, words))
            (pages(listing, words))
            @if let Some(readme) = &listing.readme { (readme_section(readme, words)) }
        }
        (foot(shared, request, words))
    };
    page(
        &title,
        words,
        &style_reference(path.depth()),
        html! { body { (content) } },
    )
}

fn page(title: &str, words: &Words, style: &str, body: Markup) -> String {
    html! {
        (DOCTYPE)
        html lang=(words.tag) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) }
                link rel="icon" href=(EMBLEM);
                link rel="stylesheet" href=(style);
            }
            (body)
        }
    }
    .into_string()
}

/// Where the style sheet is, from a page that lies `depth` directories deep. The hash makes a new
/// version a new reference, so that browsers can keep it for ever.
fn style_reference(depth: usize) -> String {
    let root = match depth {
        0 => "./".to_owned(),
        depth => "../".repeat(depth),
    };
    format!("{root}?style={}", style_version())
}

fn style_version() -> String {
    blake3::hash(STYLE.as_bytes()).to_hex()[..16].to_owned()
}

/// The style sheet, which is no secret.
pub(crate) fn style_sheet(headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{}\"", style_version());
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|value| *value == *tag);
    let mut response = Response::new(match is_known {
        true => Body::empty(),
        false => Body::bytes(STYLE),
    });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, forever);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    let kind = HeaderValue::from_static("text/css; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    response
}

fn breadcrumbs(path: &RelativePath, words: &Words) -> Markup {
    let names: Vec<_> = path.names().collect();
    let up = |levels: usize| match levels {
        0 => "./".to_owned(),
        levels => "../".repeat(levels),
    };
    html! {
        nav aria-label=(words.where_you_are) {
            ol {
                li { a href=(up(names.len())) { (words.top) } }
                @for (index, name) in names.iter().enumerate() {
                    @let is_last = index + 1 == names.len();
                    li {
                        a href=(up(names.len() - index - 1)) aria-current=[is_last.then_some("page")] {
                            bdi { (shown(name.as_bytes())) }
                        }
                    }
                }
            }
        }
    }
}

fn bar(view: &View, words: &Words) -> Markup {
    html! {
        div.bar {
            form method="get" action="./" role="search" {
                input type="search" name="q" value=(view.search) placeholder=(words.search)
                    aria-label=(words.search) accesskey="s";
                button { (words.search_go) }
                @if !view.search.is_empty() { a.button href="./" { (words.show_all) } }
            }
            span {
                span.quiet { (words.whole_folder) } " "
                a.button href="?archive=tar" { (words.as_tar) } " "
                a.button href="?archive=zip" { (words.as_zip) }
            }
        }
    }
}

fn table(listing: &Listing, path: &RelativePath, words: &Words) -> Markup {
    let view = &listing.view;
    html! {
        table {
            thead {
                tr {
                    (column(view, Sort::Name, "name", words.name))
                    (column(view, Sort::Size, "size", words.size))
                    (column(view, Sort::Time, "time", words.modified))
                    th.keep { span.quiet { (words.count(listing.entries_total)) } }
                }
            }
            tbody {
                @if !path.is_root() {
                    tr {
                        td.name.folder { (FOLDER_ICON) a href="../" { (words.parent) } }
                        td.size {} td.time {} td.keep {}
                    }
                }
                @for entry in &listing.entries { (row(entry, words)) }
                @if listing.entries.is_empty() {
                    tr {
                        td.quiet colspan="4" {
                            @if view.search.is_empty() { (words.empty) }
                            @else { (words.nothing_found) }
                        }
                    }
                }
            }
        }
    }
}

/// The head of a column: a link that sorts by it, and turns the order around if it does already.
fn column(view: &View, sort: Sort, class: &str, title: &str) -> Markup {
    let is_current = view.sort == sort;
    let turned = View {
        sort,
        // Who sorts by size or time looks for the largest or the latest.
        is_descending: match is_current {
            true => !view.is_descending,
            false => sort != Sort::Name,
        },
        search: view.search.clone(),
        page: 1,
    };
    let order = match view.is_descending {
        true => "descending",
        false => "ascending",
    };
    let arrow = match (is_current, view.is_descending) {
        (false, _) => "",
        (true, true) => " \u{2193}",
        (true, false) => " \u{2191}",
    };
    html! {
        th class=(class) scope="col" aria-sort=[is_current.then_some(order)] {
            a href=(reference(&turned)) { (title) (arrow) }
        }
    }
}

/// The reference to another view of the same directory.
fn reference(view: &View) -> String {
    let View {
        sort,
        is_descending,
        search,
        page,
    } = view;
    let mut parts = Vec::new();
    match sort {
        Sort::Name => {}
        Sort::Size => parts.push("sort=size".to_owned()),
        Sort::Time => parts.push("sort=time".to_owned()),
    }
    if *is_descending {
        parts.push("order=desc".to_owned());
    }
    if !search.is_empty() {
        parts.push(format!("q={}", encode(search.as_bytes())));
    }
    if *page > 1 {
        parts.push(format!("page={page}"));
    }
    match parts.is_empty() {
        true => "./".to_owned(),
        false => format!("./?{}", parts.join("&")),
    }
}

fn row(entry: &Entry, words: &Words) -> Markup {
    let Entry { name, kind } = entry;
    let (text, url) = (shown(name.as_bytes()), encode(name.as_bytes()));
    match *kind {
        EntryKind::Directory { modified } => html! {
            tr {
                td.name.folder { (FOLDER_ICON) a href={ "./" (url) "/" } { bdi { (text) } } }
                td.size {}
                td.time { (time(modified)) }
                td.keep {}
            }
        },
        EntryKind::File { size, modified } => html! {
            tr {
                td.name {
                    (FILE_ICON) a href={ "./" (url) } { bdi { (text) } }
                    (preview_of(name, size, &text, &url, words))
                }
                td.size { data value=(size) title=(size) { (amount(size)) } }
                td.time { (time(modified)) }
                td.keep {
                    a href={ "./" (url) "?download" } aria-label={ (words.download) " " (text) } {
                        (words.download)
                    }
                }
            }
        },
        EntryKind::Refused(refusal) => html! {
            tr {
                td.name { (FILE_ICON) span.quiet { bdi { (text) } " \u{2013} " (refusal) } }
                td.size {} td.time {} td.keep {}
            }
        },
    }
}

/// What shows a picture or a text under its name, once it is opened: only then is it fetched.
fn preview_of(name: &Name, size: u64, text: &str, url: &str, words: &Words) -> Markup {
    let alternative = format!("{} {text}", words.preview_of);
    html! {
        @match Preview::of(name) {
            Some(Preview::Picture) if size <= PICTURE_BYTES_MAX => {
                details {
                    summary { (words.preview) }
                    img loading="lazy" src={ "./" (url) } alt=(alternative);
                }
            }
            Some(Preview::Text) if size > 0 => {
                details {
                    summary { (words.preview) }
                    iframe loading="lazy" src={ "./" (url) "?preview" } title=(alternative) {}
                }
            }
            _ => {}
        }
    }
}

fn pages(listing: &Listing, words: &Words) -> Markup {
    let view = &listing.view;
    let to = |page| {
        reference(&View {
            page,
            ..view.clone()
        })
    };
    html! {
        @if listing.pages > 1 {
            div.pages {
                @if view.page > 1 {
                    a.button rel="prev" href=(to(view.page - 1)) { (words.previous) }
                }
                span.quiet { (words.page) " " (view.page) " / " (listing.pages) }
                @if view.page < listing.pages {
                    a.button rel="next" href=(to(view.page + 1)) { (words.next) }
                }
            }
        }
    }
}

fn readme_section(readme: &Readme, words: &Words) -> Markup {
    html! {
        section {
            h2 { bdi { (shown(readme.name.as_bytes())) } }
            @match &readme.text {
                ReadmeText::Plain(text) => pre dir="auto" { (text) },
                ReadmeText::Markdown(html) => div.text dir="auto" { (html) },
            }
            @if !readme.is_all { p.quiet { (words.cut) } }
        }
    }
}

/// How to get the same with more care. The key of the server is in none of it: a page is kept in
/// caches, and shown to others.
fn foot(shared: &Shared, request: &Request, words: &Words) -> Markup {
    let Some(authority) = &request.authority else {
        return html! {};
    };
    let path = encode_path(&request.target.path);
    let place = authority.place(request.secure);
    let pin = Key {
        pin: shared.pin,
        token: None,
    };
    let (scheme, insecure) = match request.secure {
        true => ("https", "-k "),
        false => ("http", ""),
    };
    let user = match shared.access.is_open() {
        true => "",
        false => "-u :KEY ",
    };
    let slash = if path.is_empty() { "" } else { "/" };
    let output = match request.target.path.split_last() {
        Some((_, name)) => encode(name.as_bytes()),
        None => "files".to_owned(),
    };
    html! {
        footer {
            p.quiet { (words.every_byte) }
            pre.line { "packhorse get ph://" (pin.reveal()) "@" (place) "/" (path) }
            @if !shared.access.is_open() { p.quiet { (words.needs_key) } }
            p.quiet { (words.resume) }
            pre.line {
                "curl " (insecure) (user) "-C - -o " (output) ".tar '" (scheme) "://" (place) "/"
                (path) (slash) "?archive=tar&at=VERSION'"
            }
        }
    }
}

/// The beginning of a text file, for a frame in the page of its directory.
pub(crate) async fn preview(
    shared: &Shared,
    file: OpenedFile,
    name: Name,
    request: &Request,
) -> Result<Response<Body>, Refused> {
    let (start, is_all) = shared.work(move || file.start(PREVIEW_BYTES_MAX)).await??;
    let words = Words::of(Accepted::of(&request.head.headers).language);
    let text = String::from_utf8_lossy(&start);
    let depth = request.target.path.depth().saturating_sub(1);
    let body = html! {
        body.preview {
            pre dir="auto" { (text) }
            @if !is_all { p.quiet { (words.cut) } }
        }
    };
    let title = shown(name.as_bytes());
    let html = page(&title, words, &style_reference(depth), body);
    Ok(page_response(html, request))
}

/// A page or, for programs, a line that says why there is nothing else.
pub(crate) fn message(status: StatusCode, text: &str, accepted: &Accepted) -> Response<Body> {
    let mut response = match accepted.html {
        false => Response::new(Body::bytes(format!("{text}\n"))),
        true => {
            let words = Words::of(accepted.language);
            let title = status.to_string();
            let body = html! {
                body { main.message { h1 { (title) } p { (text) } } }
            };
            // An error has no place of its own, so it takes the style from the root.
            let style = format!("/?style={}", style_version());
            Response::new(Body::bytes(page(&title, words, &style, body)))
        }
    };
    *response.status_mut() = status;
    let kind = match accepted.html {
        true => "text/html; charset=utf-8",
        false => "text/plain; charset=utf-8",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// A name as people see it: what would hide or turn characters around is escaped.
fn shown(name: &[u8]) -> String {
    Escaped(name).to_string()
}

fn time(modified: Timestamp) -> Markup {
    let zoned = jiff::Timestamp::from_second(modified.seconds())
        .unwrap_or_default()
        .to_zoned(TimeZone::UTC);
    html! {
        time datetime=(rfc3339(modified)) { (zoned.strftime("%Y-%m-%d %H:%M")) }
    }
}

/// A moment for programs, to the nanosecond.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    let nanoseconds = i32::try_from(moment.nanoseconds()).unwrap_or(0);
    jiff::Timestamp::new(moment.seconds(), nanoseconds)
        .unwrap_or_default()
        .to_string()
}

/// A size for people.
fn amount(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match value < 9.95 {
        true => format!("{value:.1} {}", UNITS[unit]),
        false => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_240, "10 KiB"),
            (1_047_552, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(amount(bytes), expected);
        }
    }
}
