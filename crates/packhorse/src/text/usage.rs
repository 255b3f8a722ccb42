//! What is wrong with what was typed.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Text, texts};
use crate::flags::in_our_words;
use crate::output::without_secrets;

texts! {
    /// For someone who types `packhorse` and nothing else.
    first_steps() {
        en "\
Packhorse moves files from one machine to others over TCP, every byte verified.

On the machine that has the files:
  packhorse serve ~/photos              prints the address to paste

On the machine that needs them, with the address pasted:
  packhorse get ph://KEY@HOST:7225/     all of it, into this directory
  packhorse ls ph://KEY@HOST:7225/      what is there
  packhorse shell ph://KEY@HOST:7225/   one file after the other, by name

Plain messages over TCP:
  packhorse listen :9000                on one machine
  packhorse talk HOST:9000              on the other

With nothing set up:
  packhorse demo                        the main job, done and proven here

`packhorse --help` names all commands, `packhorse COMMAND --help` one's flags."
        zh "\
Packhorse 通过 TCP 在机器之间传送文件，每个字节都经过校验。

在存有文件的机器上：
  packhorse serve ~/photos              显示可供粘贴的地址，以及供浏览器使用的网址

在需要文件的机器上，粘贴这个地址：
  packhorse get ph://KEY@HOST:7225/     把全部内容取到当前目录
  packhorse ls ph://KEY@HOST:7225/      看看有什么
  packhorse shell ph://KEY@HOST:7225/   输入文件名逐个获取

经 TCP 收发普通消息：
  packhorse listen :9000                在一台机器上
  packhorse talk HOST:9000              在另一台机器上

无需任何准备：
  packhorse demo                        就在本机完成主要工作并加以验证

`packhorse --help` 列出所有命令，`packhorse COMMAND --help` 列出某个命令的选项。"
    }

    /// What the flags have wrong with them.
    mistake(what: &Text) {
        en "error: {what}"
        zh "错误：{what}"
    }

    /// Two flags, or one of them twice.
    conflict(flag: &str, other: &str) {
        en "the argument '{flag}' cannot be used with '{other}'"
        zh "参数 '{flag}' 不能与 '{other}' 同时使用"
    }

    /// One flag, given again.
    repeated(flag: &str) {
        en "the argument '{flag}' cannot be used multiple times"
        zh "参数 '{flag}' 不能重复给出"
    }

    /// A flag that needs a value.
    no_value(flag: &str) {
        en "a value is required for '{flag}' but none was supplied"
        zh "'{flag}' 需要一个值，但没有给出"
    }

    /// A value that makes no sense.
    wrong_value(value: &str, flag: &str) {
        en "invalid value '{value}' for '{flag}'"
        zh "'{flag}' 的值 '{value}' 无效"
    }

    /// A value that makes no sense, and the values that do.
    none_of(value: &str, flag: &str, values: &str) {
        en "invalid value '{value}' for '{flag}'; possible values: {values}"
        zh "'{flag}' 的值 '{value}' 无效；可用的值：{values}"
    }

    /// A word where a command belongs.
    unknown_command(name: &str) {
        en "unrecognized subcommand '{name}'"
        zh "没有名为 '{name}' 的命令"
    }

    /// Something that no flag is called.
    unknown_flag(flag: &str) {
        en "unexpected argument '{flag}' found"
        zh "无法识别的参数 '{flag}'"
    }

    /// A value behind a flag that takes none, or one more than it takes.
    too_many(value: &str, flag: &str) {
        en "unexpected value '{value}' for '{flag}' found; no more were expected"
        zh "'{flag}' 不需要值 '{value}'"
    }

    /// What must be given and was not.
    missing(what: &str) {
        en "the following required arguments were not provided: {what}"
        zh "缺少必需的参数：{what}"
    }

    /// Bytes that are no text where only text makes sense.
    not_text() {
        en "invalid UTF-8 was detected in one or more arguments"
        zh "有参数不是有效的 UTF-8 文本"
    }

    /// Not a number of connections and the like.
    not_from_to(from: u64, to: u64) {
        en "it must be a number from {from} to {to}"
        zh "必须是 {from} 到 {to} 之间的数"
    }

    /// Not a number, or none that makes sense.
    not_from(from: u64) {
        en "it must be a number from {from} on"
        zh "必须是不小于 {from} 的数"
    }

    /// A unit that no rate has.
    rate_unit() {
        en "the unit must be k, M, G or T, as in 500k, 10M or 1.5G (bytes per second)"
        zh "单位必须是 k、M、G 或 T，如 500k、10M 或 1.5G（每秒字节数）"
    }

    /// Something else than a rate.
    not_a_rate() {
        en "a rate is a number of bytes per second, as in 500k, 10M or 1.5G"
        zh "速率是每秒的字节数，如 500k、10M 或 1.5G"
    }

    /// A rate at which nothing happens, or that nothing has.
    rate_beyond_reason() {
        en "a rate is at least 1 byte per second, and not beyond reason"
        zh "速率至少是每秒 1 字节，也不能大得离谱"
    }

    /// A length of time that makes no sense here.
    not_a_time_from_to(from: &str, to: &str) {
        en "it must be a time from {from} to {to}"
        zh "必须是 {from} 到 {to} 之间的时间"
    }

    /// Something else than a length of time.
    not_a_time() {
        en "a time is a number with a unit, as in 500ms, 30s, 2m or 1h"
        zh "时间是带单位的数，如 500ms、30s、2m 或 1h"
    }

    /// A length of time that nobody waits.
    time_too_long() {
        en "that is too long"
        zh "时间太长"
    }

    /// Something else than where to listen.
    not_a_place() {
        en "a place to listen is HOST:PORT, as in 192.168.1.5:7225, [::1]:7225 or :7225"
        zh "监听位置的写法是 HOST:PORT，如 192.168.1.5:7225、[::1]:7225 或 :7225"
    }

    /// A host that has no address to listen on.
    cannot_listen(host: &str) {
        en "cannot listen on {host}"
        zh "无法在 {host} 上监听"
    }

    /// A flag that does not go with standard output.
    useless_for_output(flag: &str) {
        en "{flag} makes no sense with `-o -`, which writes one file out"
        zh "{flag} 不能与 `-o -` 同用，后者只写出一个文件"
    }

    /// Several addresses, and standard output.
    one_file_to_output() {
        en "`-o -` writes one file out"
        zh "`-o -` 只写出一个文件"
    }

    /// A flag for one file, and several addresses.
    for_single_address(flags: &str) {
        en "only with a single ADDRESS: {flags}"
        zh "只能用于单个 ADDRESS：{flags}"
    }

    /// What `--as` or `--prefix` make.
    not_a_file_name(why: &Text) {
        en "that is no name for a file: {why}"
        zh "这不能用作文件名：{why}"
    }

    /// What was probably meant.
    similar(name: &str) {
        en "a similar one exists: '{name}'"
        zh "是否想输入 '{name}'？"
    }

    /// The last line.
    more_help() {
        en "For more information, try '--help'."
        zh "详细说明请用 '--help' 查看。"
    }
}

/// What clap finds wrong with the flags. It quotes what was typed, which may be an address with its
/// key: that is not in the text.
pub(crate) fn of_clap(error: &clap::Error) -> Text {
    let words = || without_secrets(words_of_clap(error).trim_end());
    Text::of(words, words)
}

fn words_of_clap(error: &clap::Error) -> String {
    let Some(what) = what_is_wrong(error) else {
        return error.render().to_string();
    };
    let mut parts = vec![mistake(&what).to_string()];
    let suggestions = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    if let Some(names) = suggestions
        .into_iter()
        .find_map(|kind| strings(error, kind))
    {
        parts.push(format!("  {}", similar(&names.join("' '"))));
    }
    if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        parts.push(in_our_words(&usage.to_string()).trim_end().to_owned());
    }
    parts.push(more_help().to_string());
    parts.join("\n\n")
}

/// `None` for what hardly anyone meets.
fn what_is_wrong(error: &clap::Error) -> Option<Text> {
    let text = |kind| strings(error, kind).map(|texts| texts.join(", "));
    let flag = || text(ContextKind::InvalidArg);
    let value = || text(ContextKind::InvalidValue);
    Some(match error.kind() {
        ErrorKind::ArgumentConflict => {
            let (flag, other) = (flag()?, text(ContextKind::PriorArg)?);
            match flag == other {
                true => repeated(&flag),
                false => conflict(&flag, &other),
            }
        }
        ErrorKind::InvalidValue => match (value()?, text(ContextKind::ValidValue)) {
            (value, _) if value.is_empty() => no_value(&flag()?),
            (value, Some(values)) if !values.is_empty() => none_of(&value, &flag()?, &values),
            (value, _) => wrong_value(&value, &flag()?),
        },
        ErrorKind::ValueValidation => {
            let what = wrong_value(&value()?, &flag()?);
            match error.source() {
                Some(why) => what.because(Text::of_parser(why)),
                None => what,
            }
        }
        ErrorKind::InvalidSubcommand => unknown_command(&text(ContextKind::InvalidSubcommand)?),
        ErrorKind::UnknownArgument => unknown_flag(&flag()?),
        ErrorKind::TooManyValues => too_many(&value()?, &flag()?),
        ErrorKind::MissingRequiredArgument => missing(&flag()?),
        ErrorKind::InvalidUtf8 => not_text(),
        _ => return None,
    })
}

fn strings(error: &clap::Error, kind: ContextKind) -> Option<Vec<String>> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(vec![text.clone()]),
        ContextValue::Strings(texts) => Some(texts.clone()),
        _ => None,
    }
}
