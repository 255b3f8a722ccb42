//! Breaks one rule of the TCP crate after the other, and sees whether its script notices.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use toml::de::{DeTable, DeValue};

use crate::tree::Tree;

/// The rules, how each is broken, and the script that must fail then.
pub(crate) const LIST: &str = "crates/sim/mutations.toml";

/// Where the scripts are.
const SCRIPTS: &str = "crates/sim/scripts";

const USAGE: &str = "\
usage: cargo xtask mutate [WORD...]

Breaks the rules of the TCP crate one by one, each in a copy of the tree, and plays the script
that must notice. Without a WORD all of them, which takes half an hour; with some, those whose
rule or script holds one of them:

  cargo xtask mutate 'RFC 5961' prr/

The list is crates/sim/mutations.toml; `cargo xtask tidy` says which of its rows are out of date.
";

/// One way to break the code.
#[derive(Debug, PartialEq, Eq)]
struct Mutation {
    /// What is broken, with its RFC.
    rule: String,
    /// The file, from the root of the workspace.
    file: String,
    /// What stands there, exactly once.
    old: String,
    /// What stands there instead.
    new: String,
    /// The script that must fail.
    script: String,
}

/// Breaks every rule whose text or script holds one of `words`, or all if there are none.
pub(crate) fn run(root: &Path, words: &[OsString]) -> anyhow::Result<ExitCode> {
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let list = fs::read_to_string(root.join(LIST)).with_context(|| format!("no {LIST}"))?;
    let mutations = choose(parse(&list)?, words)?;
    let scratch = Scratch::make(root)?;
    ensure!(
        scratch.scripts_hold(&[])?,
        "the scripts do not hold even before a rule is broken"
    );
    let (mut noticed, mut missed) = (0, Vec::new());
    for mutation in &mutations {
        let Mutation { rule, script, .. } = mutation;
        match scratch.judge(mutation) {
            Ok(true) => {
                noticed += 1;
                println!("noticed  {rule}  ({script})");
            }
            Ok(false) => {
                println!("MISSED   {rule}  ({script})");
                missed.push(rule);
            }
            Err(error) => {
                println!("STALE    {rule}: {error:#}");
                missed.push(rule);
            }
        }
    }
    println!(
        "{noticed} broken rules were noticed, {} were not",
        missed.len()
    );
    Ok(if missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The lines of the list at which a row breaks nothing any more, or nobody would notice, and why.
pub(crate) fn stale(list: &str, tree: &Tree) -> Vec<(usize, String)> {
    let mutations = match parse(list) {
        Ok(mutations) => mutations,
        Err(error) => return vec![(1, format!("{error:#}"))],
    };
    let mut stale = Vec::new();
    for mutation in mutations {
        if let Err(error) = mutation.check(tree) {
            let rule = list.find(&mutation.rule).unwrap_or_default();
            let line = list[..rule].lines().count().max(1);
            stale.push((line, format!("{error:#}; mend the row")));
        }
    }
    stale
}

impl Mutation {
    /// Whether there is still something to break, and somebody to notice.
    fn check(&self, tree: &Tree) -> anyhow::Result<()> {
        let Self { file, old, new, .. } = self;
        let text = tree.text(file).with_context(|| format!("{file} is gone"))?;
        let broken = replace_once(text, old, new)?;
        ensure!(broken != text, "`new` is the same as `old`");
        let script = format!("{SCRIPTS}/{}", self.script);
        ensure!(tree.text(&script).is_some(), "{script} is gone");
        Ok(())
    }
}

/// Those whose rule or script holds one of `words`, or all if there are none.
///
/// # Errors
/// There is no such row: a misspelt word must not look like a rule that is guarded.
fn choose(mutations: Vec<Mutation>, words: &[OsString]) -> anyhow::Result<Vec<Mutation>> {
    let chosen: Vec<Mutation> = mutations
        .into_iter()
        .filter(|one| is_chosen(one, words))
        .collect();
    ensure!(
        !chosen.is_empty(),
        "no rule and no script in {LIST} holds any of the words; `--help` says more"
    );
    Ok(chosen)
}

fn is_chosen(mutation: &Mutation, words: &[OsString]) -> bool {
    let holds = |word: &OsString| {
        let word = word.to_string_lossy();
        mutation.rule.contains(&*word) || mutation.script.contains(&*word)
    };
    words.is_empty() || words.iter().any(holds)
}

fn parse(text: &str) -> anyhow::Result<Vec<Mutation>> {
    let document = DeTable::parse(text).context("the list is not TOML")?;
    let rows = document.get_ref().get("mutation");
    let rows = rows
        .and_then(|rows| rows.get_ref().as_array())
        .context("the list has no [[mutation]]")?;
    let mut mutations = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let DeValue::Table(table) = row.get_ref() else {
            bail!("mutation {number} is not a table");
        };
        let field = |name: &str| {
            let value = table.get(name).and_then(|value| value.get_ref().as_str());
            value
                .map(str::to_owned)
                .with_context(|| format!("mutation {number} has no `{name}`"))
        };
        mutations.push(Mutation {
            rule: field("rule")?,
            file: field("file")?,
            old: field("old")?,
            new: field("new")?,
            script: field("script")?,
        });
    }
    Ok(mutations)
}

/// The text with its one occurrence of `old` replaced.
fn replace_once(text: &str, old: &str, new: &str) -> anyhow::Result<String> {
    match text.matches(old).count() {
        1 => Ok(text.replacen(old, new, 1)),
        0 => bail!("`{old}` is not there any more"),
        count => bail!("`{old}` is there {count} times"),
    }
}

/// A copy of the workspace that may be broken.
struct Scratch {
    tree: PathBuf,
    build: PathBuf,
}

impl Scratch {
    fn make(root: &Path) -> anyhow::Result<Self> {
        let folder = root.join("target/mutate");
        let tree = folder.join("tree");
        if tree.exists() {
            fs::remove_dir_all(&tree).context("cannot clear the old copy")?;
        }
        for path in Tree::read(root)?.paths() {
            let to = tree.join(path);
            let parent = to.parent().context("a file lies in a folder")?;
            fs::create_dir_all(parent)?;
            fs::copy(root.join(path), &to).with_context(|| format!("cannot copy {path}"))?;
        }
        let build = folder.join("build");
        Ok(Self { tree, build })
    }

    /// Whether breaking the code makes the script fail.
    fn judge(&self, mutation: &Mutation) -> anyhow::Result<bool> {
        // A script that cannot be read fails too, and would seem to notice.
        let script = self.tree.join(SCRIPTS).join(&mutation.script);
        ensure!(script.is_file(), "there is no script {}", mutation.script);
        let path = self.tree.join(&mutation.file);
        let text = fs::read_to_string(&path).with_context(|| mutation.file.clone())?;
        fs::write(&path, replace_once(&text, &mutation.old, &mutation.new)?)?;
        let held = self.scripts_hold(&[&mutation.script]);
        fs::write(&path, text)?;
        Ok(!held?)
    }

    /// Builds the simulator and plays `scripts`, or all if there are none.
    fn scripts_hold(&self, scripts: &[&str]) -> anyhow::Result<bool> {
        let cargo = |arguments: &[&str]| {
            let mut command = Command::new("cargo");
            command
                .args(arguments)
                .current_dir(&self.tree)
                .env("CARGO_TARGET_DIR", &self.build)
                .env("CARGO_TERM_QUIET", "true");
            command
        };
        let built = cargo(&["build", "--package", "packhorse-sim"])
            .output()
            .context("cannot run cargo")?;
        ensure!(
            built.status.success(),
            "it does not compile:\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        let mut play = cargo(&["run", "--package", "packhorse-sim", "--", "script"]);
        let played = play.args(scripts).output().context("cannot run cargo")?;
        Ok(played.status.success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_what_is_broken_and_who_notices() {
        let text = "[[mutation]]\nrule = 'r'\nfile = 'f'\nold = 'o'\nnew = 'n'\nscript = 's'\n";
        let mutation = Mutation {
            rule: "r".into(),
            file: "f".into(),
            old: "o".into(),
            new: "n".into(),
            script: "s".into(),
        };
        assert!(is_chosen(&mutation, &["s".into(), "x".into()]));
        assert!(!is_chosen(&mutation, &["x".into()]));
        assert!(choose(vec![mutation], &["x".into()]).is_err());
        let mutation = parse(text).unwrap().remove(0);
        assert_eq!(mutation.rule, "r");
        let error = parse(&text.replace("rule", "role")).unwrap_err();
        assert!(error.to_string().contains("no `rule`"), "{error}");
    }

    #[test]
    fn what_is_not_there_once_is_not_replaced() {
        assert_eq!(replace_once("a < b", "<", "<=").unwrap(), "a <= b");
        for text in ["a > b", "a < b < c"] {
            assert!(replace_once(text, "<", "<=").is_err(), "{text}");
        }
    }
}
