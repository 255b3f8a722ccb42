//! What the pages say, in each language.

use crate::accept::Language;

/// All words of the pages.
pub(crate) struct Words {
    pub(crate) tag: &'static str,
    pub(crate) top: &'static str,
    pub(crate) to_the_list: &'static str,
    pub(crate) where_you_are: &'static str,
    pub(crate) search: &'static str,
    pub(crate) search_go: &'static str,
    pub(crate) show_all: &'static str,
    pub(crate) nothing_found: &'static str,
    pub(crate) empty: &'static str,
    pub(crate) name: &'static str,
    pub(crate) size: &'static str,
    pub(crate) modified: &'static str,
    pub(crate) parent: &'static str,
    pub(crate) download: &'static str,
    pub(crate) preview: &'static str,
    pub(crate) preview_of: &'static str,
    pub(crate) whole_folder: &'static str,
    pub(crate) as_tar: &'static str,
    pub(crate) as_zip: &'static str,
    pub(crate) previous: &'static str,
    pub(crate) next: &'static str,
    pub(crate) page: &'static str,
    pub(crate) cut: &'static str,
    pub(crate) every_byte: &'static str,
    pub(crate) needs_key: &'static str,
    pub(crate) resume: &'static str,
}

impl Words {
    pub(crate) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }

    /// How many entries there are.
    pub(crate) fn count(&self, entries: usize) -> String {
        match (self.tag, entries) {
            ("en", 1) => "1 entry".to_owned(),
            ("en", _) => format!("{entries} entries"),
            (_, _) => format!("{entries} \u{9879}"),
        }
    }
}

const ENGLISH: Words = Words {
    tag: "en",
    top: "All files",
    to_the_list: "To the list",
    where_you_are: "Where you are",
    search: "Search in this folder",
    search_go: "Search",
    show_all: "Show all",
    nothing_found: "No name here has that in it.",
    empty: "This folder is empty.",
    name: "Name",
    size: "Size",
    modified: "Modified (UTC)",
    parent: "Parent folder",
    download: "Download",
    preview: "Preview",
    preview_of: "Preview of",
    whole_folder: "Whole folder:",
    as_tar: ".tar",
    as_zip: ".zip",
    previous: "Previous",
    next: "Next",
    page: "Page",
    cut: "This is only its beginning.",
    every_byte: "With every byte verified, and times, modes and links kept:",
    needs_key: "This server also asks for its key: put it into the environment as PACKHORSE_KEY.",
    resume: "A download of the whole folder that can be resumed, where VERSION is what stands \
        between the quotes of the ETag; once the folder has changed, the answer is 412:",
};

const CHINESE: Words = Words {
    tag: "zh",
    top: "\u{5168}\u{90e8}\u{6587}\u{4ef6}",
    to_the_list: "\u{8df3}\u{5230}\u{5217}\u{8868}",
    where_you_are: "\u{5f53}\u{524d}\u{4f4d}\u{7f6e}",
    search: "\u{5728}\u{6b64}\u{6587}\u{4ef6}\u{5939}\u{4e2d}\u{641c}\u{7d22}",
    search_go: "\u{641c}\u{7d22}",
    show_all: "\u{663e}\u{793a}\u{5168}\u{90e8}",
    nothing_found: "\u{6ca1}\u{6709}\u{5339}\u{914d}\u{7684}\u{540d}\u{79f0}\u{3002}",
    empty: "\u{6b64}\u{6587}\u{4ef6}\u{5939}\u{4e3a}\u{7a7a}\u{3002}",
    name: "\u{540d}\u{79f0}",
    size: "\u{5927}\u{5c0f}",
    modified: "\u{4fee}\u{6539}\u{65f6}\u{95f4}\u{ff08}UTC\u{ff09}",
    parent: "\u{4e0a}\u{7ea7}\u{6587}\u{4ef6}\u{5939}",
    download: "\u{4e0b}\u{8f7d}",
    preview: "\u{9884}\u{89c8}",
    preview_of: "\u{9884}\u{89c8}",
    whole_folder: "\u{6574}\u{4e2a}\u{6587}\u{4ef6}\u{5939}\u{ff1a}",
    as_tar: ".tar",
    as_zip: ".zip",
    previous: "\u{4e0a}\u{4e00}\u{9875}",
    next: "\u{4e0b}\u{4e00}\u{9875}",
    page: "\u{9875}",
    cut: "\u{8fd9}\u{91cc}\u{53ea}\u{663e}\u{793a}\u{5f00}\u{5934}\u{90e8}\u{5206}\u{3002}",
    every_byte: "\u{9010}\u{5b57}\u{8282}\u{6821}\u{9a8c}\u{ff0c}\u{5e76}\u{4fdd}\u{7559}\
        \u{65f6}\u{95f4}\u{3001}\u{6743}\u{9650}\u{548c}\u{94fe}\u{63a5}\u{ff1a}",
    needs_key: "\u{6b64}\u{670d}\u{52a1}\u{5668}\u{8fd8}\u{9700}\u{8981}\u{5bc6}\u{94a5}\u{ff1a}\
        \u{8bf7}\u{5c06}\u{5176}\u{653e}\u{5165}\u{73af}\u{5883}\u{53d8}\u{91cf} PACKHORSE_KEY\u{3002}",
    resume: "\u{53ef}\u{7eed}\u{4f20}\u{5730}\u{4e0b}\u{8f7d}\u{6574}\u{4e2a}\u{6587}\u{4ef6}\
        \u{5939}\u{ff1a}VERSION \u{662f} ETag \u{5f15}\u{53f7}\u{4e2d}\u{7684}\u{5185}\u{5bb9}\u{ff1b}\
        \u{6587}\u{4ef6}\u{5939}\u{6539}\u{53d8}\u{540e}\u{4f1a}\u{8fd4}\u{56de} 412\u{ff1a}",
};
