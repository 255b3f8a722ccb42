//! Which bytes a `Range` field asks for (RFC 9110 §14).

use std::ops::Range;

use crate::limits::Limits;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it, as if nothing had been asked.
    Whole,
    /// These bytes: at least one range, none empty, in ascending order, none touching another. So
    /// together they are never more than the whole.
    Parts(Vec<Range<u64>>),
    /// Nothing of what is asked for exists.
    Unsatisfiable,
}

impl Selection {
    /// Reads the field `Range` for something of `size` bytes. What is not understood, or asks for
    /// absurdly many ranges, is ignored (§14.2).
    pub(crate) fn of(field: &[u8], size: u64, limits: &Limits) -> Self {
        let Some(asked) = parse(field, limits.ranges_asked_max) else {
            return Self::Whole;
        };
        // A suffix of nothing is satisfiable, and no `Content-Range` can say so (§14.1.2).
        if size == 0 && asked.iter().any(|spec| matches!(spec, Spec::Last(1..))) {
            return Self::Whole;
        }
        let mut parts: Vec<_> = asked.iter().filter_map(|spec| spec.within(size)).collect();
        if parts.is_empty() {
            return Self::Unsatisfiable;
        }
        parts.sort_unstable_by_key(|part| part.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for part in parts {
            match joined.last_mut() {
                Some(last) if part.start <= last.end => {
                    last.end = last.end.max(part.end);
                }
                _ => joined.push(part),
            }
        }
        match joined.len() > limits.ranges_sent_max {
            true => Self::Whole,
            false => Self::Parts(joined),
        }
    }
}

/// One range as it is asked for.
enum Spec {
    From(u64),
    FromTo(u64, u64),
    Last(u64),
}

impl Spec {
    fn within(&self, size: u64) -> Option<Range<u64>> {
        let range = match *self {
            Self::From(first) => first..size,
            Self::FromTo(first, last) => first..last.saturating_add(1).min(size),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// `None` unless every part of the field is a range.
fn parse(field: &[u8], specs_max: usize) -> Option<Vec<Spec>> {
    let field = std::str::from_utf8(field).ok()?.trim();
    let (unit, set) = field.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    // A list may have empty elements (§5.6.1.2).
    for text in set
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        if specs.len() == specs_max {
            return None;
        }
        let (first, last) = text.split_once('-')?;
        specs.push(match (first, last) {
            ("", count) => Spec::Last(number(count)?),
            (first, "") => Spec::From(number(first)?),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                Spec::FromTo(first, last)
            }
        });
    }
    (!specs.is_empty()).then_some(specs)
}

/// Digits alone; more than fit are as good as the largest number.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "one range is as good a list as several"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(field: &str, size: u64) -> Selection {
        Selection::of(field.as_bytes(), size, &Limits::default())
    }

    fn parts<const N: usize>(parts: [Range<u64>; N]) -> Selection {
        Selection::Parts(parts.into())
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let far = u64::MAX - 1;
        let whole = Selection::Whole;
        let unsatisfiable = Selection::Unsatisfiable;
        let cases: &[(&str, u64, Selection)] = &[
            ("bytes=0-0", 10, parts([0..1])),
            ("bytes=0-", 10, parts([0..10])),
            ("Bytes=3-4", 10, parts([3..5])),
            ("bytes=-3", 10, parts([7..10])),
            ("bytes=-30", 10, parts([0..10])),
            ("bytes=9-99", 10, parts([9..10])),
            ("bytes=0-18446744073709551615", 10, parts([0..10])),
            ("bytes=0-99999999999999999999999", 10, parts([0..10])),
            ("bytes=5-18446744073709551615", far, parts([5..far])),
            ("bytes= 0-1 , ,2-3", 10, parts([0..4])),
            ("bytes=900-999,0-9", 1000, parts([0..10, 900..1000])),
            ("bytes=0-9,20-29", 1000, parts([0..10, 20..30])),
            ("bytes=0-9,10-29,5-12", 1000, parts([0..30])),
            ("bytes=0-9,5000-", 1000, parts([0..10])),
            ("bytes=10-", 10, unsatisfiable.clone()),
            ("bytes=-0", 10, unsatisfiable.clone()),
            ("bytes=99999999999999999999-", 10, unsatisfiable.clone()),
            ("bytes=0-", 0, unsatisfiable.clone()),
            ("bytes=-5", 0, whole.clone()),
            ("bytes=5-4", 10, whole.clone()),
            ("bytes=", 10, whole.clone()),
            ("bytes=,", 10, whole.clone()),
            ("bytes=-", 10, whole.clone()),
            ("bytes=a-b", 10, whole.clone()),
            ("bytes=+1-2", 10, whole.clone()),
            ("bytes=0x1-2", 10, whole.clone()),
            ("bytes=--1", 10, whole.clone()),
            ("bytes=1-2-3", 10, whole.clone()),
            ("bytes=0-1,x", 10, whole.clone()),
            ("lines=0-1", 10, whole.clone()),
            ("0-1", 10, whole.clone()),
            ("", 10, whole.clone()),
        ];
        for (field, size, expected) in cases {
            assert_eq!(of(field, *size), *expected, "{field} of {size}");
        }
    }

    #[test]
    fn very_many_ranges_get_one_answer() {
        let many = |count: u64, step: u64| {
            let specs: Vec<_> = (0..count)
                .map(|n| format!("{}-{}", n * step, n * step))
                .collect();
            of(&format!("bytes={}", specs.join(",")), 10 << 20)
        };
        assert_eq!(many(10_000, 1000), Selection::Whole);
        assert_eq!(many(100, 1000), Selection::Whole);
        assert_eq!(many(200, 1), parts([0..200]));
        let overlapping = vec!["0-"; 200].join(",");
        assert_eq!(of(&format!("bytes={overlapping}"), 1000), parts([0..1000]));
    }

    proptest! {
        /// Against the simplest model: a flag for each byte.
        #[test]
        fn what_is_sent_covers_what_is_asked_and_is_never_more_than_the_whole(
            size in 0u64..2000,
            asked in proptest::collection::vec((0u64..2500, 0u64..2500, 0..3), 1..40),
        ) {
            let mut wanted = vec![false; size as usize];
            let mut specs = Vec::new();
            let mut any = false;
            for (a, b, kind) in asked {
                let (first, last) = (a.min(b), a.max(b));
                let (spec, range) = match kind {
                    0 => (format!("{first}-{last}"), first..(last + 1).min(size)),
                    1 => (format!("{first}-"), first..size),
                    _ => (format!("-{a}"), size.saturating_sub(a)..size),
                };
                specs.push(spec);
                for at in range {
                    wanted[at as usize] = true;
                    any = true;
                }
            }
            match of(&format!("bytes={}", specs.join(",")), size) {
                Selection::Whole => {}
                Selection::Unsatisfiable => prop_assert!(!any),
                Selection::Parts(parts) => {
                    prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
                    prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                    for part in &parts {
                        prop_assert!(wanted[part.start as usize] && wanted[part.end as usize - 1]);
                    }
                    for (at, wanted) in wanted.iter().enumerate() {
                        let sent = parts.iter().any(|part| part.contains(&(at as u64)));
                        prop_assert!(sent || !wanted);
                    }
                }
            }
        }

        #[test]
        fn no_bytes_are_too_strange(field: Vec<u8>, size: u64) {
            let _ = Selection::of(&field, size, &Limits::default());
        }
    }
}
