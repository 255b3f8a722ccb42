//! What a client would like to get, and in which language (RFC 9110 §12).

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_LANGUAGE};

/// A client's wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// It names HTML: a browser, on the way to a page.
    pub(crate) html: bool,
    /// It would rather have JSON than a page.
    pub(crate) json: bool,
    /// What people are spoken to in.
    pub(crate) language: Language,
}

/// A language that the pages know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

impl Accepted {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let (mut html, mut json) = (0.0, 0.0);
        for (kind, weight) in weighed(headers, &ACCEPT) {
            match kind.as_str() {
                "text/html" | "application/xhtml+xml" => html = f32::max(html, weight),
                "application/json" => json = f32::max(json, weight),
                _ => {}
            }
        }
        Self {
            html: html > 0.0,
            json: json > html,
            language: Language::of(headers),
        }
    }
}

impl Language {
    fn of(headers: &HeaderMap) -> Self {
        let (mut best, mut best_weight) = (Self::English, 0.0);
        for (tag, weight) in weighed(headers, &ACCEPT_LANGUAGE) {
            let language = match tag.split('-').next() {
                Some("zh") => Self::Chinese,
                Some("en") => Self::English,
                _ => continue,
            };
            if weight > best_weight {
                (best, best_weight) = (language, weight);
            }
        }
        best
    }
}

/// The elements of a list in lower case, each with its weight (§12.4.2), without their other
/// parameters.
fn weighed(headers: &HeaderMap, name: &http::HeaderName) -> Vec<(String, f32)> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|element| {
            let mut parts = element.split(';').map(str::trim);
            let value = parts.next().unwrap_or("").to_ascii_lowercase();
            let weight = parts
                .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .and_then(|weight| weight.parse().ok())
                .unwrap_or(1.0);
            (value, weight)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_weighed() {
        use Language::{Chinese, English};
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let cases = [
            ("", "", (false, false, English)),
            ("*/*", "*", (false, false, English)),
            (browser, "en-US,en;q=0.5", (true, false, English)),
            (browser, "zh-CN,zh;q=0.9,en;q=0.8", (true, false, Chinese)),
            ("application/json", "de,zh-TW;q=0.2", (false, true, Chinese)),
            ("application/json, */*", "en, zh", (false, true, English)),
            (
                "text/html;q=0.5, application/json;q=0.4",
                "de",
                (true, false, English),
            ),
            (
                "application/json;q=0",
                "zh;q=0, en;q=0.1",
                (false, false, English),
            ),
        ];
        for (accept, language, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            headers.insert(ACCEPT_LANGUAGE, language.parse().unwrap());
            let found = Accepted::of(&headers);
            assert_eq!((found.html, found.json, found.language), expected);
        }
    }
}
