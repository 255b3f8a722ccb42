//! The scripts that lie in this crate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Script, Variant};

/// Where preambles lie, which are no scripts of their own.
const PREAMBLES: &str = "state/";

/// The scripts below `scripts/`, by their path there.
#[derive(Debug)]
pub struct Library {
    root: PathBuf,
    names: Vec<String>,
    wanted: BTreeSet<String>,
}

impl Library {
    /// The scripts of this crate.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let mut names = Vec::new();
        collect(&root, &root, &mut names)?;
        names.retain(|name| !name.starts_with(PREAMBLES));
        names.sort();
        // A wanted script stands in the list as `- \`subject/name.pkt\`: why`.
        let list = fs::read_to_string(root.join("WANTED.md"))?;
        let rows = list.lines().filter_map(|line| line.strip_prefix("- `"));
        let wanted = rows
            .filter_map(|row| row.split('`').next())
            .map(str::to_owned)
            .collect();
        Ok(Self {
            root,
            names,
            wanted,
        })
    }

    /// All of them, sorted; preambles are not among them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Those that WANTED.md lists: what they check does not hold yet.
    #[must_use]
    pub fn wanted(&self) -> &BTreeSet<String> {
        &self.wanted
    }

    /// Whether WANTED.md lists it.
    #[must_use]
    pub fn is_wanted(&self, name: &str) -> bool {
        self.wanted.contains(name)
    }

    /// The name of the script at `path`, which may be a name already.
    #[must_use]
    pub fn name_of(&self, path: &Path) -> String {
        let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let below = full.strip_prefix(&self.root).unwrap_or(path);
        below.display().to_string()
    }

    /// The text of a script or preamble.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(name))
    }

    /// Plays a script in every way of `variants`.
    ///
    /// # Errors
    /// What did not hold, in words.
    pub fn play(&self, name: &str, variants: &[Variant]) -> Result<(), String> {
        let text = self.text(name).map_err(|error| error.to_string())?;
        let script = Script::parse(&text, &|name| self.text(name).ok())
            .map_err(|error| error.to_string())?;
        for variant in variants {
            script
                .play(*variant)
                .map_err(|failure| failure.to_string())?;
        }
        Ok(())
    }
}

fn collect(root: &Path, directory: &Path, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            let below = path.strip_prefix(root).unwrap_or(&path);
            names.push(below.display().to_string());
        }
    }
    Ok(())
}
