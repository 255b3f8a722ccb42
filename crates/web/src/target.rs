//! What a request names: a path, and what is asked of it.

use std::borrow::Cow;

use packhorse_protocol::path::{Name, PathError, RelativePath};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What stands for itself in a URL: the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The path of a URL, decoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) path: RelativePath,
    /// It ends in a slash, which only a directory may.
    pub(crate) is_directory: bool,
}

impl Target {
    /// Reads the path of a URL. Separators are found before anything is decoded, so that an encoded
    /// one is part of a name, which no name has.
    ///
    /// # Errors
    /// The rule for paths that it breaks.
    pub(crate) fn parse(path: &str) -> Result<Self, PathError> {
        let below = path.strip_prefix('/').ok_or(PathError::EmptyPart)?;
        if below.is_empty() {
            return Ok(Self {
                path: RelativePath::ROOT,
                is_directory: true,
            });
        }
        let (names, is_directory) = match below.strip_suffix('/') {
            Some(names) => (names, true),
            None => (below, false),
        };
        let mut path = RelativePath::ROOT;
        for part in names.split('/') {
            let bytes: Cow<'_, [u8]> = percent_decode_str(part).into();
            path = path.join(&Name::parse(&bytes)?)?;
        }
        Ok(Self { path, is_directory })
    }
}

/// `name` as one part of a URL's path or as a value in its query.
pub(crate) fn encode(name: &[u8]) -> String {
    percent_encode(name, RESERVED).to_string()
}

/// `path` as a URL's path, without a slash before or behind it.
pub(crate) fn encode_path(path: &RelativePath) -> String {
    let parts: Vec<_> = path.components().map(encode).collect();
    parts.join("/")
}

/// A reference that leads from a directory's or file's own URL to the same without its query. It is
/// relative, so that it is right behind a proxy that adds something in front.
pub(crate) fn reference_to_itself(target: &Target) -> String {
    match (target.is_directory, target.path.split_last()) {
        (false, Some((_, name))) => format!("./{}", encode(name.as_bytes())),
        _ => "./".to_owned(),
    }
}

/// What stands behind the `?`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) key: Option<String>,
    pub(crate) archive: Option<String>,
    pub(crate) at: Option<String>,
    pub(crate) sort: Option<String>,
    pub(crate) order: Option<String>,
    pub(crate) search: Option<String>,
    pub(crate) page: Option<String>,
    pub(crate) download: bool,
    pub(crate) preview: bool,
    pub(crate) style: bool,
}

impl Query {
    /// Reads a query as HTML forms write it. What is not known is skipped; of two, the first counts.
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs(text) {
            let place = match &*name {
                "key" => &mut query.key,
                "archive" => &mut query.archive,
                "at" => &mut query.at,
                "sort" => &mut query.sort,
                "order" => &mut query.order,
                "q" => &mut query.search,
                "page" => &mut query.page,
                "download" => {
                    query.download = true;
                    continue;
                }
                "preview" => {
                    query.preview = true;
                    continue;
                }
                "style" => {
                    query.style = true;
                    continue;
                }
                _ => continue,
            };
            place.get_or_insert(value.into_owned());
        }
        query
    }
}

/// `text` without its keys, as it was otherwise.
pub(crate) fn without_key(text: &str) -> String {
    let kept: Vec<_> = text
        .split('&')
        .filter(|part| !part.is_empty() && decode(part.split('=').next().unwrap_or("")) != "key")
        .collect();
    kept.join("&")
}

fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    text.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return text.into();
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
    decoded.into_owned().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_decoded_once_and_never_climb() {
        type Expected = Option<(&'static [u8], bool)>;
        let cases: &[(&str, Expected)] = &[
            ("/", Some((b"", true))),
            ("/a", Some((b"a", false))),
            ("/a/", Some((b"a", true))),
            ("/a/b%20c", Some((b"a/b c", false))),
            ("/%ff%FE", Some((b"\xff\xfe", false))),
            ("/%2e%2ex", Some((b"..x", false))),
            ("/%252e%252e/a", Some((b"%2e%2e/a", false))),
            ("/a\\..\\b", Some((b"a\\..\\b", false))),
            ("/C:/x", Some((b"C:/x", false))),
            ("/%c0%ae%c0%ae/x", Some((b"\xc0\xae\xc0\xae/x", false))),
            ("/%zz", Some((b"%zz", false))),
            ("", None),
            ("a", None),
            ("//", None),
            ("//evil.example/", None),
            ("/a//b", None),
            ("/.", None),
            ("/..", None),
            ("/a/../b", None),
            ("/a/./b", None),
            ("/%2e%2e/a", None),
            ("/%2e", None),
            ("/a%2fb", None),
            ("/a%00", None),
            ("/.packhorse-partial/0", None),
        ];
        for (path, expected) in cases {
            let found = Target::parse(path).ok();
            let found = found
                .as_ref()
                .map(|target| (target.path.as_bytes(), target.is_directory));
            assert_eq!(found, *expected, "{path}");
        }
    }

    #[test]
    fn queries_are_read_and_lose_their_key() {
        let query = Query::parse("key=abc&q=a+b%26c&sort=size&key=x&download&unknown=1");
        assert_eq!(query.key.as_deref(), Some("abc"));
        assert_eq!(query.search.as_deref(), Some("a b&c"));
        assert_eq!(query.sort.as_deref(), Some("size"));
        assert!(query.download && !query.preview);
        let cases = [
            ("key=abc", ""),
            ("a=1&key=abc&b=%20", "a=1&b=%20"),
            ("k%65y=abc&keys=1", "keys=1"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(without_key(text), expected);
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_back(bytes: Vec<u8>) {
            if let Ok(name) = Name::parse(&bytes) {
                let url = format!("/{}", encode(name.as_bytes()));
                let target = Target::parse(&url).unwrap();
                prop_assert_eq!(target.path.as_bytes(), name.as_bytes());
            }
        }
    }
}
