//! The files that the rules look at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// The files of a repository by their path from its root, read once.
#[derive(Debug)]
pub(crate) struct Tree {
    /// `None` for what is not UTF-8 text.
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads every file that git tracks or would track.
    ///
    /// New files count before `git add`, so that a finding comes before the commit.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let listing = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .context("cannot run git")?;
        ensure!(
            listing.status.success(),
            "git ls-files failed: {}",
            String::from_utf8_lossy(&listing.stderr)
        );
        let names = String::from_utf8(listing.stdout).context("a file name is not UTF-8")?;
        let mut files = BTreeMap::new();
        for name in names.split_terminator('\0') {
            let path = root.join(name);
            // A tracked file may be deleted and not yet committed so.
            if path.symlink_metadata().is_err() {
                continue;
            }
            let text = if path.is_file() {
                let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
                String::from_utf8(bytes).ok()
            } else {
                None
            };
            files.insert(name.to_owned(), text);
        }
        Ok(Self { files })
    }

    /// A tree that exists only in memory.
    #[cfg(test)]
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files.into_iter();
        Self {
            files: files
                .map(|(path, text)| (path.into(), Some(text.into())))
                .collect(),
        }
    }

    /// Number of files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Paths of all files, text or not.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Path and content of every text file.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Path and content of every file of Rust source.
    pub(crate) fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// Content of the text file at `path`.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Whether `path` is a file, or a folder with a file in it.
    pub(crate) fn contains(&self, path: &str) -> bool {
        if path.is_empty() || self.files.contains_key(path) {
            return true;
        }
        let folder = format!("{path}/");
        let next = self.files.range(folder.clone()..).next();
        next.is_some_and(|(file, _)| file.starts_with(&folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tracked_and_new_files_but_not_ignored_or_deleted_ones() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let git = |arguments: &[&str]| {
            let status = Command::new("git")
                .args(arguments)
                .current_dir(root)
                .status();
            assert!(status.unwrap().success(), "git {arguments:?}");
        };
        git(&["init", "--quiet"]);
        fs::create_dir(root.join("src")).unwrap();
        fs::write(root.join(".gitignore"), "ignored\n").unwrap();
        fs::write(root.join("src/tracked.rs"), "fn f() {}\n").unwrap();
        fs::write(root.join("deleted.rs"), "").unwrap();
        git(&["add", "."]);
        fs::remove_file(root.join("deleted.rs")).unwrap();
        fs::write(root.join("ignored"), "").unwrap();
        fs::write(root.join("new.bin"), [0xff, 0xfe]).unwrap();

        let tree = Tree::read(root).unwrap();

        assert_eq!(
            tree.paths().collect::<Vec<_>>(),
            [".gitignore", "new.bin", "src/tracked.rs"]
        );
        assert_eq!(tree.text("src/tracked.rs"), Some("fn f() {}\n"));
        assert_eq!(tree.text("new.bin"), None);
    }

    #[test]
    fn contains_files_and_folders_and_no_prefixes() {
        let tree = Tree::of([("a/b.md", ""), ("a.md", "")]);
        for (path, expected) in [("a/b.md", true), ("a", true), ("a/b", false), ("b", false)] {
            assert_eq!(tree.contains(path), expected, "{path}");
        }
    }
}
