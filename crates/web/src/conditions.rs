//! Validators, and the conditions that a request puts on them (RFC 9110 §8.8 and §13).

use std::time::{Duration, SystemTime};

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};
use httpdate::{fmt_http_date, parse_http_date};
use packhorse_protocol::entry::Timestamp;

/// The last second that a date in HTTP can name.
const LAST_SECOND: i64 = 253_402_300_799;

/// A date may stand for several states of what changed within its second, or just before it was
/// asked for.
const DATE_SETTLED_SECONDS: i64 = 2;

/// What tells states of one thing apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) tag: Tag,
    /// Seconds since the epoch, never in the future; `None` where no date can say it.
    modified: Option<u64>,
    /// The date names one state and no other.
    is_date_settled: bool,
}

/// What an `ETag` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Equal bytes, and no others, have it.
    Strong(String),
    /// It may soon stand for other bytes. It is sent as weak, and nothing is ever equal to it.
    Passing(String),
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// The client has it: 304.
    NotModified,
    /// 412.
    Failed,
}

impl Validators {
    pub(crate) fn new(tag: Tag, modified: Timestamp, now: Timestamp) -> Self {
        // §8.8.2.1: never later than the answer itself.
        let seconds = modified.seconds().min(now.seconds());
        Self {
            tag,
            modified: u64::try_from(seconds)
                .ok()
                .filter(|_| seconds <= LAST_SECOND),
            is_date_settled: modified.is_before_by(now, DATE_SETTLED_SECONDS),
        }
    }

    /// The value of `Last-Modified`.
    pub(crate) fn last_modified(&self) -> Option<String> {
        self.modified.map(|seconds| fmt_http_date(at(seconds)))
    }

    /// Weighs the conditions in the order of §13.2.2. `If-Range` is not among them.
    pub(crate) fn weigh(&self, headers: &HeaderMap) -> Verdict {
        if let Some(tags) = Tags::of(headers, &IF_MATCH) {
            if !tags.hold_strongly(&self.tag) {
                return Verdict::Failed;
            }
        } else if let Some(date) = date(headers, &IF_UNMODIFIED_SINCE)
            && self.modified.is_some_and(|modified| modified > date)
        {
            return Verdict::Failed;
        }
        if let Some(tags) = Tags::of(headers, &IF_NONE_MATCH) {
            if tags.hold_weakly(&self.tag) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = date(headers, &IF_MODIFIED_SINCE)
            && self.is_date_settled
            && self.modified.is_some_and(|modified| modified <= date)
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether a range may be answered as such: there is no `If-Range`, or it names this very state
    /// (§13.1.5).
    pub(crate) fn allow_range(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(IF_RANGE) else {
            return true;
        };
        if let Some(tags) = Tags::parse(value.as_bytes()) {
            return tags.list.len() == 1 && tags.hold_strongly(&self.tag);
        }
        // A date counts only if it is exactly ours and is a strong validator (§8.8.2.2).
        let date = date(headers, &IF_RANGE);
        date.is_some() && self.is_date_settled && date == self.modified
    }
}

impl Tag {
    /// The value of `ETag`.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::Strong(tag) => format!("\"{tag}\""),
            Self::Passing(tag) => format!("W/\"{tag}\""),
        };
        HeaderValue::from_str(&text).ok()
    }
}

/// The tags of `If-Match` or `If-None-Match`.
struct Tags<'a> {
    any: bool,
    /// Each with whether it is weak.
    list: Vec<(bool, &'a [u8])>,
}

impl<'a> Tags<'a> {
    /// `None` without the field. Of a list that is broken, what stands before the break counts.
    fn of(headers: &'a HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut lines = headers.get_all(name).into_iter().peekable();
        lines.peek()?;
        let mut all = Self {
            any: false,
            list: Vec::new(),
        };
        for line in lines {
            if line.as_bytes().trim_ascii() == b"*" {
                all.any = true;
            } else {
                all.list.extend(split_tags(line.as_bytes()));
            }
        }
        Some(all)
    }

    /// `None` if it does not begin with a tag.
    fn parse(value: &'a [u8]) -> Option<Self> {
        let list = split_tags(value);
        (!list.is_empty()).then_some(Self { any: false, list })
    }

    fn hold_strongly(&self, tag: &Tag) -> bool {
        let Tag::Strong(tag) = tag else {
            return self.any;
        };
        let is_same = |(weak, other): &(bool, &[u8])| !weak && *other == tag.as_bytes();
        self.any || self.list.iter().any(is_same)
    }

    fn hold_weakly(&self, tag: &Tag) -> bool {
        let Tag::Strong(tag) = tag else {
            return self.any;
        };
        self.any || self.list.iter().any(|(_, other)| *other == tag.as_bytes())
    }
}

/// The entity tags at the start of `text` (§8.8.3).
fn split_tags(mut text: &[u8]) -> Vec<(bool, &[u8])> {
    let mut tags = Vec::new();
    loop {
        while let [b' ' | b'\t' | b',', rest @ ..] = text {
            text = rest;
        }
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let Some((tag, rest)) = quoted.strip_prefix(b"\"").and_then(|inner| {
            let end = inner.iter().position(|&byte| byte == b'"')?;
            Some((&inner[..end], &inner[end + 1..]))
        }) else {
            return tags;
        };
        tags.push((weak, tag));
        text = rest;
    }
}

/// The date of a field in seconds since the epoch; one that is none is ignored.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let date = parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
    const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";
    const AFTER: &str = "Sun, 09 Sep 2001 01:46:41 GMT";

    fn validators(tag: Tag, now: i64) -> Validators {
        let time = |seconds| Timestamp::new(seconds, 0).unwrap();
        Validators::new(tag, time(1_000_000_000), time(now))
    }

    fn settled() -> Validators {
        validators(Tag::Strong("v".into()), 2_000_000_000)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn conditions_are_weighed_in_their_order() {
        use Verdict::{Failed, NotModified, Proceed};
        let cases: &[(&[(&'static str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("if-none-match", "\"v\"")], NotModified),
            (&[("if-none-match", "W/\"v\"")], NotModified),
            (&[("if-none-match", "\"a\", \"v\"")], NotModified),
            (&[("if-none-match", "\"a,\"v\"")], Proceed),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "v")], Proceed),
            (&[("if-none-match", "\"a\"")], Proceed),
            (&[("if-modified-since", MODIFIED)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", "yesterday")], Proceed),
            (
                &[("if-none-match", "\"a\""), ("if-modified-since", MODIFIED)],
                Proceed,
            ),
            (&[("if-match", "\"v\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "W/\"v\"")], Failed),
            (&[("if-match", "\"a\"")], Failed),
            (&[("if-unmodified-since", MODIFIED)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (
                &[("if-match", "\"v\""), ("if-unmodified-since", BEFORE)],
                Proceed,
            ),
            (&[("if-match", "\"a\""), ("if-none-match", "\"v\"")], Failed),
            (
                &[("if-match", "\"v\""), ("if-none-match", "\"v\"")],
                NotModified,
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(settled().weigh(&headers(fields)), *expected, "{fields:?}");
        }
    }

    #[test]
    fn a_range_needs_the_very_state() {
        let passing = validators(Tag::Passing("v".into()), 1_000_000_001);
        let cases: &[(&str, bool)] = &[
            ("\"v\"", true),
            ("W/\"v\"", false),
            ("\"a\"", false),
            ("\"v\", \"v\"", false),
            (MODIFIED, true),
            (BEFORE, false),
            (AFTER, false),
            ("nonsense", false),
        ];
        for (value, expected) in cases {
            let headers = headers(&[("if-range", value)]);
            assert_eq!(settled().allow_range(&headers), *expected, "{value}");
            assert!(!passing.allow_range(&headers), "{value}, not settled");
        }
        assert!(settled().allow_range(&HeaderMap::new()));
    }

    #[test]
    fn what_is_not_settled_is_never_held_to_be_the_same() {
        let passing = validators(Tag::Passing("v".into()), 1_000_000_001);
        for field in [
            ("if-none-match", "W/\"v\""),
            ("if-none-match", "\"v\""),
            ("if-modified-since", AFTER),
        ] {
            assert_eq!(passing.weigh(&headers(&[field])), Verdict::Proceed);
        }
        assert_eq!(passing.tag.header().unwrap(), "W/\"v\"");
    }

    #[test]
    fn dates_that_cannot_be_are_left_out() {
        let time = |seconds| Timestamp::new(seconds, 0).unwrap();
        let of = |modified, now| {
            let tag = Tag::Strong(String::new());
            Validators::new(tag, time(modified), time(now)).last_modified()
        };
        assert_eq!(of(1_000_000_000, 2_000_000_000).as_deref(), Some(MODIFIED));
        assert_eq!(of(i64::MAX, 1_000_000_000).as_deref(), Some(MODIFIED));
        assert_eq!(of(-1, 1_000_000_000), None);
        assert_eq!(of(i64::MIN, 1_000_000_000), None);
        assert_eq!(of(i64::MAX, i64::MAX), None);
    }
}
