//! Which entries of a tree are wanted: include and exclude patterns.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{FILTER_BYTES_MAX, FILTER_RULES_MAX};
use crate::path::RelativePath;

/// Patterns as a person gives them and as they travel.
///
/// `*` and `?` do not match `/`, `**` does. A pattern without `/` (other than at its end) is
/// compared with the last name, any other with the whole path below the root of the tree. One that
/// ends in `/` means directories only. Exclusion wins over inclusion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patterns {
    /// If there are any: only files and links that match one of these.
    pub include: Vec<String>,
    /// Never what matches one of these, nor what lies below it.
    pub exclude: Vec<String>,
}

/// Patterns that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FilterError {
    /// More than [`FILTER_RULES_MAX`] patterns or [`FILTER_BYTES_MAX`] bytes.
    #[error("too many patterns: at most {FILTER_RULES_MAX}, {FILTER_BYTES_MAX} bytes in all")]
    TooMany,
    /// A pattern that is not a glob.
    #[error("`{pattern}` is not a pattern: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Compiled [`Patterns`].
#[derive(Debug, Clone)]
pub struct Filter {
    include: Option<Matcher>,
    exclude: Matcher,
}

/// What a filter is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A directory.
    Directory,
    /// A file or a link.
    Other,
}

impl Filter {
    /// Compiles `patterns`.
    ///
    /// # Errors
    /// Too many of them, or one that is not a glob.
    pub fn new(patterns: &Patterns) -> Result<Self, FilterError> {
        let Patterns { include, exclude } = patterns;
        let all = || include.iter().chain(exclude);
        if all().count() > FILTER_RULES_MAX
            || all().map(String::len).sum::<usize>() > FILTER_BYTES_MAX
        {
            return Err(FilterError::TooMany);
        }
        let include = if include.is_empty() {
            None
        } else {
            Some(Matcher::new(include)?)
        };
        Ok(Self {
            include,
            exclude: Matcher::new(exclude)?,
        })
    }

    /// Whether the entry at `path` below the root of the tree is wanted.
    ///
    /// A directory is wanted unless it is excluded: what lies in it may match.
    #[must_use]
    pub fn wants(&self, path: &RelativePath, subject: Subject) -> bool {
        if self.exclude.matches(path, subject) {
            return false;
        }
        match (&self.include, subject) {
            (None, _) | (_, Subject::Directory) => true,
            (Some(include), Subject::Other) => include.matches(path, subject),
        }
    }

    /// Whether only some files are wanted, so that a directory may turn out to hold none.
    #[must_use]
    pub fn is_selective(&self) -> bool {
        self.include.is_some()
    }
}

#[derive(Debug, Clone)]
struct Matcher {
    any: GlobSet,
    directories: GlobSet,
}

impl Matcher {
    fn new(patterns: &[String]) -> Result<Self, FilterError> {
        let (mut any, mut directories) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let failed = |error: globset::Error| FilterError::Pattern {
                pattern: pattern.escape_debug().to_string(),
                why: error.kind().to_string(),
            };
            let (text, set) = match pattern.strip_suffix('/') {
                Some(text) => (text, &mut directories),
                None => (pattern.as_str(), &mut any),
            };
            let anchored = match text.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if text.contains('/') => text.to_owned(),
                None => format!("**/{text}"),
            };
            let mut glob = GlobBuilder::new(&anchored);
            set.add(
                glob.literal_separator(true)
                    .backslash_escape(true)
                    .build()
                    .map_err(failed)?,
            );
        }
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|error| FilterError::Pattern {
                pattern: error.glob().unwrap_or_default().to_owned(),
                why: error.kind().to_string(),
            })
        };
        Ok(Self {
            any: build(any)?,
            directories: build(directories)?,
        })
    }

    fn matches(&self, path: &RelativePath, subject: Subject) -> bool {
        let candidate = Candidate::from_bytes(path.as_bytes());
        self.any.is_match_candidate(&candidate)
            || (subject == Subject::Directory && self.directories.is_match_candidate(&candidate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Filter::new(&Patterns {
            include: texts(include),
            exclude: texts(exclude),
        })
        .unwrap()
    }

    #[test]
    fn patterns_choose() {
        use Subject::{Directory, Other};
        let cases = [
            (&[][..], &["*.o"][..], "a/b.o", Other, false),
            (&[], &["*.o"], "a/b.c", Other, true),
            (&[], &["/b"], "a/b", Other, true),
            (&[], &["/b"], "b", Other, false),
            (&[], &["a/*"], "a/b", Other, false),
            (&[], &["a/*"], "x/a/b", Other, true),
            (&[], &["**/a/*"], "x/a/b", Other, false),
            (&[], &["target/"], "x/target", Directory, false),
            (&[], &["target/"], "x/target", Other, true),
            (&["*.txt"], &[], "a/b.txt", Other, true),
            (&["*.txt"], &[], "a/b.md", Other, false),
            (&["*.txt"], &[], "a", Directory, true),
            (&["*.txt"], &["secret*"], "secret.txt", Other, false),
        ];
        for (include, exclude, path, subject, wanted) in cases {
            let path = RelativePath::parse(path.as_bytes()).unwrap();
            let chosen = filter(include, exclude).wants(&path, subject);
            assert_eq!(chosen, wanted, "{include:?} {exclude:?} {path}");
        }
        assert!(
            !filter(&[], &["\u{e9}*"])
                .wants(&RelativePath::parse("\u{e9}a".as_bytes()).unwrap(), Other)
        );
        assert!(!filter(&[], &["?a"]).wants(&RelativePath::parse(b"\xffa").unwrap(), Other));
    }

    #[test]
    fn bad_patterns_are_refused() {
        let with = |exclude: Vec<String>| {
            Filter::new(&Patterns {
                include: vec![],
                exclude,
            })
        };
        assert!(matches!(
            with(vec!["[".into()]),
            Err(FilterError::Pattern { .. })
        ));
        assert_eq!(
            with(vec!["x".into(); 257]).unwrap_err(),
            FilterError::TooMany
        );
        assert_eq!(
            with(vec!["x".repeat(FILTER_BYTES_MAX + 1)]).unwrap_err(),
            FilterError::TooMany
        );
    }
}
