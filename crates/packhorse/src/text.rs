//! What is said to a person, in the language of that person.
//!
//! Each text stands once, in the file of its subject, in both languages, one below the other. The
//! compiler sees that none is missing, that both say all that they are given, and that each is used.

pub(crate) mod address;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod failure;
pub(crate) mod fetching;
pub(crate) mod files;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod plain;
pub(crate) mod port;
pub(crate) mod progress;
pub(crate) mod shell;
pub(crate) mod talk;
pub(crate) mod trust;
pub(crate) mod usage;
pub(crate) mod wrapping;

use std::fmt::{self, Display};

use packhorse_protocol::address::{Address, HostPort};
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::plain_address::PlainName;

use crate::language::Language;

/// A text for a person, in the person's language, and in English for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    english: String,
    /// `None` where the person reads English, or where there is no other text.
    chinese: Option<String>,
}

impl Text {
    /// A text that is written differently in each language; only what is needed is written.
    pub(crate) fn of(english: impl FnOnce() -> String, chinese: impl FnOnce() -> String) -> Self {
        let is_chinese = Language::current() == Language::Chinese;
        Self {
            english: Language::English.render(english),
            chinese: is_chinese.then(|| Language::Chinese.render(chinese)),
        }
    }

    /// The name of `named`.
    pub(crate) fn of_name(named: impl Named) -> Self {
        Self::untranslated(named)
    }

    /// What a library says and we have no words for. Words of ours are texts.
    fn untranslated(text: impl Display) -> Self {
        Self {
            english: text.to_string(),
            chinese: None,
        }
    }

    /// `what (details)`, as the language puts it.
    #[must_use]
    pub(crate) fn with_details(self, details: &str) -> Self {
        Self::of(
            || format!("{self} ({details})"),
            || format!("{self}（{details}）"),
        )
    }

    /// The same, said by Packhorse among the words of other programs.
    #[must_use]
    pub(crate) fn of_packhorse(self) -> Self {
        Self::of(
            || format!("packhorse: {self}"),
            || format!("packhorse: {self}"),
        )
    }

    /// The text for programs.
    #[must_use]
    pub(crate) fn english(&self) -> &str {
        &self.english
    }

    /// `what: why`, as the language puts it.
    #[must_use]
    pub(crate) fn because(self, why: impl Into<Self>) -> Self {
        let why = why.into();
        Self::of(|| format!("{self}: {why}"), || format!("{self}：{why}"))
    }

    /// `what, other`, as the language puts it.
    #[must_use]
    pub(crate) fn and(self, other: &Self) -> Self {
        Self::of(|| format!("{self}, {other}"), || format!("{self}，{other}"))
    }

    /// `what; other`, as the language puts it.
    #[must_use]
    pub(crate) fn then(self, other: &Self) -> Self {
        Self::of(|| format!("{self}; {other}"), || format!("{self}；{other}"))
    }
}

/// What bears the same name in every language: paths and addresses. Nothing else is said without a
/// text, but for what libraries say.
pub(crate) trait Named: Display {}

impl Named for Escaped<'_> {}
impl Named for RelativePath {}
impl Named for PlainName {}
impl Named for Address {}
impl Named for HostPort {}
impl<N: Named + ?Sized> Named for &N {}

/// So that parsers of flags can fail with a text.
impl std::error::Error for Text {}

impl Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chinese = self.chinese.as_ref();
        let chinese = chinese.filter(|_| Language::current() == Language::Chinese);
        out.write_str(chinese.unwrap_or(&self.english))
    }
}

/// Defines texts: a function for each, which takes what the text names and returns a [`Text`].
///
/// Each argument must stand in both languages. Where another text stands in a text, it is in the
/// same language.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),* $(,)?) {
        en $english:literal
        zh $chinese:literal
    })*) => {
        $(
            $(#[$doc])*
            #[allow(clippy::useless_format, reason = "a text may name nothing")]
            pub(crate) fn $name($($argument: $type),*) -> $crate::text::Text {
                $crate::text::Text::of(
                    || {
                        $(let $argument = &$argument;)*
                        format!($english)
                    },
                    || {
                        $(let $argument = &$argument;)*
                        format!($chinese)
                    },
                )
            }
        )*

        /// The name of every text here, and what it is in each language.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str, &str)] =
            &[$((stringify!($name), $english, $chinese)),*];
    };
}
use texts;

#[cfg(test)]
mod tests {
    use super::*;

    texts! {
        /// A text that names another.
        outer(what: &Text, count: usize) {
            en "{what}, {count} times"
            zh "{what}，{count} 次"
        }

        /// The other.
        inner() {
            en "inside"
            zh "里面"
        }
    }

    #[test]
    fn a_text_and_what_it_names_are_in_one_language() {
        let text = || outer(&inner().because(Text::of_name(Escaped(b"x"))), 2);
        assert_eq!(text().to_string(), "inside: x, 2 times");
        Language::Chinese.render(|| {
            let text = text();
            assert_eq!(text.to_string(), "里面：x，2 次");
            assert_eq!(text.english(), "inside: x, 2 times");
            let english = Language::English.render(|| text.to_string());
            assert_eq!(english, "inside: x, 2 times");
        });
    }

    #[test]
    fn chinese_is_written_as_chinese_is() {
        const SUBJECTS: &[&[(&str, &str, &str)]] = &[
            ALL, // of these tests
            address::ALL,
            bench::ALL,
            demo::ALL,
            fetching::ALL,
            files::ALL,
            log::ALL,
            machine::ALL,
            plain::ALL,
            port::ALL,
            progress::ALL,
            shell::ALL,
            talk::ALL,
            trust::ALL,
            usage::ALL,
        ];

        for (name, _, chinese) in SUBJECTS.iter().copied().flatten() {
            let characters: Vec<_> = chinese.chars().collect();
            let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
            assert!(
                characters.iter().any(|&c| is_chinese(c)),
                "{name}: no Chinese"
            );
            for pair in characters.windows(2) {
                let [before, after] = [pair[0], pair[1]];
                let is_narrow = is_chinese(before) && ",:;?!()".contains(after);
                assert!(!is_narrow, "{name}: `{after}` is not a Chinese mark");
                let touches = is_chinese(before) && after.is_ascii_alphanumeric()
                    || before.is_ascii_alphanumeric() && is_chinese(after);
                assert!(
                    !touches,
                    "{name}: a space belongs between `{before}` and `{after}`"
                );
            }
        }
    }
}
