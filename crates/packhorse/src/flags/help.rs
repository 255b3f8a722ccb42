//! The command as clap knows it, with its help in the person's language.

use clap::{Arg, Command, CommandFactory};

use super::Flags;
use super::chinese::{COMMAND_HELP, FLAG_HELP, FLAG_VERSION, HELP, Help, WORDS};
use crate::language::Language;
use crate::output::terminal_columns;
use crate::text::wrapping::wrap;

/// The widest that help is written, in columns.
const COLUMNS_MAX: usize = 100;

/// The command, to parse flags with.
pub(crate) fn command() -> Command {
    let command = Flags::command();
    match Language::current() {
        Language::English => command,
        Language::Chinese => in_chinese(command),
    }
}

/// Prints help that was asked for.
pub(crate) fn print_help(asked: &clap::Error) {
    // If nobody reads it, nobody misses it.
    let _ = match Language::current() {
        Language::English => asked.print(),
        Language::Chinese => {
            let text = in_our_words(&asked.render().ansi().to_string());
            let columns = terminal_columns().unwrap_or(COLUMNS_MAX).min(COLUMNS_MAX);
            let lines: Vec<_> = text.lines().map(|line| wrap(line, columns)).collect();
            // Clap knows where colours belong.
            Command::new("")
                .override_help(lines.join("\n"))
                .print_help()
        }
    };
}

/// What clap writes by itself, in the person's language.
pub(crate) fn in_our_words(rendered: &str) -> String {
    if Language::current() == Language::English {
        return rendered.to_owned();
    }
    let replace = |text: String, (english, chinese): &(&str, &str)| text.replace(english, chinese);
    let text = WORDS.iter().fold(rendered.to_owned(), replace);
    // A Chinese colon holds its space; colours may end between the two.
    text.replace("： ", "：").replace("：\x1b[0m ", "：\x1b[0m")
}

fn in_chinese(mut command: Command) -> Command {
    // Only then there are clap's own flags.
    command.build();
    HELP.iter().fold(command.term_width(0), |command, help| {
        if help.name.is_empty() {
            translate(command, help).mut_subcommand("help", |command| command.about(COMMAND_HELP))
        } else {
            command.mut_subcommand(help.name, |command| translate(command.term_width(0), help))
        }
    })
}

fn translate(command: Command, help: &Help) -> Command {
    let with_arguments = command.mut_args(|argument: Arg| {
        let text = match argument.get_id().as_str() {
            "help" => FLAG_HELP,
            "version" => FLAG_VERSION,
            id => match help.arguments.iter().find(|(other, _)| *other == id) {
                Some((_, text)) => text,
                None => return argument,
            },
        };
        argument.help(text)
    });
    let translated = with_arguments.about(help.about);
    match help.after {
        "" => translated,
        after => translated.after_help(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_has_its_help_in_both_languages() {
        let command = Flags::command();
        let mut in_english = vec![of(&command, "")];
        let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        in_english.extend(shown.map(|sub| of(sub, sub.get_name())));
        let in_chinese = HELP.map(|help| {
            let ids = help.arguments.iter().map(|(id, _)| (*id).to_owned());
            (help.name.to_owned(), ids.collect(), help.after.is_empty())
        });
        assert_eq!(in_english, in_chinese);
    }

    /// A command's name, the ids of its arguments, and whether nothing stands below them.
    fn of(command: &Command, name: &str) -> (String, Vec<String>, bool) {
        let ids = command.get_arguments().map(|argument| {
            assert!(
                argument.get_help().is_some(),
                "{name} {}",
                argument.get_id()
            );
            argument.get_id().to_string()
        });
        let has_nothing_below = command.get_after_help().is_none();
        (name.to_owned(), ids.collect(), has_nothing_below)
    }
}
