//! Which language the person reads.

use std::cell::Cell;
use std::ffi::OsString;
use std::sync::OnceLock;

/// A language that texts for people are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    /// Chinese in simplified characters.
    Chinese,
}

/// What this process speaks; English until it is settled.
static SPOKEN: OnceLock<Language> = OnceLock::new();

thread_local! {
    /// What is rendered at the moment, where that is another language than the process speaks.
    static RENDERED: Cell<Option<Language>> = const { Cell::new(None) };
}

impl Language {
    /// What the locale says, `variable` being the environment: the first of `LC_ALL`,
    /// `LC_MESSAGES` and `LANG` that is not empty (POSIX.1-2024 §8.2), and, unless that is the C
    /// locale, before it the list in `LANGUAGE`, as GNU's programs have it.
    pub(crate) fn of_locale(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let locale = locale(&variable, "LC_MESSAGES");
        let Some(locale) = locale.filter(|locale| is_readable(locale)) else {
            return Self::English;
        };
        let wanted = value(&variable, "LANGUAGE").unwrap_or_default();
        let mut wanted = wanted.split(':').chain([locale.as_str()]);
        wanted.find_map(Self::of_tag).unwrap_or(Self::English)
    }

    /// The language that the process speaks, or that is being rendered.
    pub(crate) fn current() -> Self {
        let spoken = || SPOKEN.get().copied().unwrap_or(Self::English);
        RENDERED.get().unwrap_or_else(spoken)
    }

    /// Has the process speak this language from now on; only the first call counts.
    pub(crate) fn speak(self) {
        let _ = SPOKEN.set(self);
    }

    /// Does `work`, in which [`current`](Self::current) is this language.
    pub(crate) fn render<T>(self, work: impl FnOnce() -> T) -> T {
        let before = RENDERED.replace(Some(self));
        let done = work();
        RENDERED.set(before);
        done
    }

    /// The language of a tag such as `zh_CN.UTF-8`, `zh-Hans` or `en`; `None` if it is another one.
    fn of_tag(tag: &str) -> Option<Self> {
        let tag = tag.split(['.', '@']).next().unwrap_or_default();
        let mut parts = tag.split(['_', '-']);
        let language = parts.next().unwrap_or_default();
        if language.eq_ignore_ascii_case("en") {
            return Some(Self::English);
        }
        let is_traditional = |part: &str| {
            let traditional = ["Hant", "TW", "HK", "MO"];
            traditional
                .iter()
                .any(|other| part.eq_ignore_ascii_case(other))
        };
        let script_or_region = parts.next();
        (language.eq_ignore_ascii_case("zh") && !script_or_region.is_some_and(is_traditional))
            .then_some(Self::Chinese)
    }
}

/// Whether more than ASCII can be drawn, `variable` being the environment: the first of `LC_ALL`,
/// `LC_CTYPE` and `LANG` that is not empty says so.
pub(crate) fn shows_unicode(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    locale(&variable, "LC_CTYPE").is_some_and(|locale| is_readable(&locale))
}

/// The locale for what `category` is about; `None` where no variable names one.
fn locale(variable: &impl Fn(&str) -> Option<OsString>, category: &str) -> Option<String> {
    let mut names = ["LC_ALL", category, "LANG"].into_iter();
    names.find_map(|name| value(variable, name))
}

fn value(variable: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<String> {
    let value = variable(name)?.into_string().ok()?;
    Some(value).filter(|value| !value.is_empty())
}

/// Whether what is written in UTF-8 can be read there in more than ASCII. A locale that names no
/// encoding is taken for one of today's.
fn is_readable(locale: &str) -> bool {
    let encoding = locale.split_once('.').map(|(_, encoding)| encoding);
    let encoding = encoding.map(|encoding| encoding.split('@').next().unwrap_or_default());
    match encoding {
        Some(encoding) => encoding.replace('-', "").eq_ignore_ascii_case("utf8"),
        None => locale != "C" && locale != "POSIX",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides() {
        use Language::{Chinese, English};

        let cases: [(&[(&str, &str)], _); 24] = [
            (&[], English),
            (&[("LANG", "zh_CN.UTF-8")], Chinese),
            (&[("LANG", "zh_CN.utf8")], Chinese),
            (&[("LANG", "zh_CN")], Chinese),
            (&[("LANG", "zh_SG.UTF-8")], Chinese),
            (&[("LANG", "zh-Hans")], Chinese),
            (&[("LANG", "zh-Hans-HK")], Chinese),
            (&[("LANG", "zh")], Chinese),
            (&[("LANG", "zh_TW.UTF-8")], English),
            (&[("LANG", "zh-Hant")], English),
            (&[("LANG", "de_DE.UTF-8")], English),
            (&[("LANG", "zhx_CN.UTF-8")], English),
            (&[("LANG", "zh_CN.GB18030")], English),
            (&[("LANG", "zh_CN.UTF-8@pinyin")], Chinese),
            (&[("LANG", "C.UTF-8")], English),
            (&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")], English),
            (&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "")], Chinese),
            (
                &[("LANG", "zh_CN.UTF-8"), ("LC_MESSAGES", "POSIX")],
                English,
            ),
            (&[("LANG", "C"), ("LC_MESSAGES", "zh_CN.UTF-8")], Chinese),
            (&[("LC_ALL", "zh_CN.UTF-8"), ("LC_MESSAGES", "C")], Chinese),
            (
                &[("LANG", "de_DE.UTF-8"), ("LANGUAGE", "de:zh_CN:en")],
                Chinese,
            ),
            (&[("LANG", "zh_CN.UTF-8"), ("LANGUAGE", "en:zh")], English),
            (&[("LANG", "C"), ("LANGUAGE", "zh_CN")], English),
            (&[("LANGUAGE", "zh_CN")], English),
        ];
        for (variables, expected) in cases {
            let variable = |name: &str| {
                let found = variables.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| value.into())
            };
            assert_eq!(Language::of_locale(variable), expected, "{variables:?}");
        }
    }

    #[test]
    fn the_locale_decides_what_can_be_drawn() {
        let cases: [(&[(&str, &str)], bool); 8] = [
            (&[], false),
            (&[("LANG", "en_US.UTF-8")], true),
            (&[("LANG", "de_DE")], true),
            (&[("LANG", "de_DE.ISO-8859-1")], false),
            (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")], false),
            (&[("LANG", "en_US.UTF-8"), ("LC_CTYPE", "POSIX")], false),
            (&[("LANG", "C"), ("LC_CTYPE", "C.UTF-8")], true),
            (&[("LANG", "en_US.UTF-8"), ("LC_MESSAGES", "C")], true),
        ];
        for (variables, expected) in cases {
            let found = shows_unicode(|name| {
                let variable = variables.iter().find(|(known, _)| *known == name);
                variable.map(|(_, value)| value.into())
            });
            assert_eq!(found, expected, "{variables:?}");
        }
    }

    #[test]
    fn what_is_rendered_can_be_another_language() {
        assert_eq!(Language::current(), Language::English);
        Language::Chinese.render(|| {
            assert_eq!(Language::current(), Language::Chinese);
            Language::English.render(|| assert_eq!(Language::current(), Language::English));
            assert_eq!(Language::current(), Language::Chinese);
        });
        assert_eq!(Language::current(), Language::English);
    }
}
