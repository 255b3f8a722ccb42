//! `packhorse generate`: what a package installs beside the command, made from the flags.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::exit::{Exit, OrExit, Outcome};
use crate::flags::{GenerateFlags, command};
use crate::language::Language;
use crate::text::files;

/// What stands above the parts of a man page, and what it becomes in Chinese.
const HEADINGS: [(&str, &str); 7] = [
    (".SH NAME\n", ".SH 名称\n"),
    (".SH SYNOPSIS\n", ".SH 概要\n"),
    (".SH DESCRIPTION\n", ".SH 描述\n"),
    (".SH OPTIONS\n", ".SH 选项\n"),
    (".SH SUBCOMMANDS\n", ".SH 命令\n"),
    (".SH EXAMPLES\n", ".SH 示例\n"),
    (".SH VERSION\n", ".SH 版本\n"),
];

/// Writes man pages in both languages, and completions.
pub(crate) fn run(flags: &GenerateFlags) -> Outcome {
    let directory = &flags.directory;
    generate(directory).or_exit(Exit::LocalIo, || files::cannot_write(directory.display()))?;
    Ok(Exit::Done)
}

fn generate(directory: &Path) -> io::Result<()> {
    let pages = [
        ("man/man1", Language::English),
        ("man/zh_CN/man1", Language::Chinese),
    ];
    for (place, language) in pages {
        let place = directory.join(place);
        fs::create_dir_all(&place)?;
        let mut whole = language.render(command).disable_help_subcommand(true);
        whole.build();
        write_pages(&whole, &place, language)?;
    }
    let place = directory.join("completions");
    fs::create_dir_all(&place)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut whole = Language::English.render(command);
        clap_complete::generate_to(shell, &mut whole, "packhorse", &place)?;
    }
    Ok(())
}

fn write_pages(command: &Command, place: &Path, language: Language) -> io::Result<()> {
    let is_ours = |one: &&Command| !one.is_hide_set() && one.get_name() != "help";
    for one in command.get_subcommands().filter(is_ours) {
        write_pages(one, place, language)?;
    }
    let man = Man::new(command.clone())
        .manual("Packhorse")
        .source(concat!("packhorse ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    let mut page = with_examples(&page);
    if language == Language::Chinese {
        for (english, chinese) in HEADINGS {
            page = page.replace(english, chinese);
        }
    }
    fs::write(place.join(man.get_filename()), page)
}

/// What stands below the flags is examples first of all; their lines, which are indented, stay apart.
fn with_examples(page: &str) -> String {
    let Some((before, below)) = page.split_once(".SH EXTRA\n") else {
        return page.to_owned();
    };
    let mut text = format!("{before}.SH EXAMPLES\n");
    let mut is_apart = false;
    for line in below.lines() {
        // The heading says it.
        if matches!(line, "Examples:" | "示例：") {
            continue;
        }
        let stays_apart = line.starts_with("  ");
        if stays_apart != is_apart {
            text.push_str(if stays_apart { ".nf\n" } else { ".fi\n" });
            is_apart = stays_apart;
        }
        text.push_str(line.strip_prefix("  ").unwrap_or(line));
        text.push('\n');
    }
    if is_apart {
        text.push_str(".fi\n");
    }
    text
}
