//! What came of a download.

use std::fmt::Display;

use packhorse_client::report::Failure;
use packhorse_protocol::escape::Escaped;

use super::{Text, texts};

texts! {
    /// An entry is left out for what it is.
    skipped_entry(path: impl Display, why: &Text) {
        en "skipped {path}: {why}"
        zh "已跳过 {path}：{why}"
    }

    /// Further ones, which are not named.
    skipped_more(count: u64) {
        en "skipped {count} more"
        zh "另外还跳过了 {count} 项"
    }

    /// A connection is lost.
    dialling_again(why: &Text) {
        en "{why}; dialling again"
        zh "{why}；正在重新连接"
    }

    /// A directory, and standard output.
    only_a_file() {
        en "only a single file can be written out"
        zh "只能写出单个文件"
    }

    /// The place of what is half done stays.
    not_removed() {
        en "the folder `.packhorse-partial` could not be removed"
        zh "无法删除目录 `.packhorse-partial`"
    }

    /// A dry run.
    would_fetch(files: &Text, bytes: impl Display) {
        en "would fetch {files}, {bytes}"
        zh "将会获取 {files}，{bytes}"
    }

    /// Nothing that has content.
    fetched(files: &Text, time: impl Display) {
        en "fetched {files} in {time}"
        zh "已获取 {files}，用时 {time}"
    }

    /// All that was to be fetched.
    fetched_bytes(files: &Text, bytes: impl Display, time: impl Display, rate: impl Display) {
        en "fetched {files}, {bytes} in {time} ({rate}/s)"
        zh "已获取 {files}，{bytes}，用时 {time}（{rate}/s）"
    }

    /// Links that are in place.
    linked(count: u64) {
        en "{count} linked"
        zh "链接 {count}"
    }

    /// Entries left out for what they are.
    skipped(count: u64) {
        en "{count} skipped"
        zh "跳过 {count}"
    }

    /// Files that were listed and have not arrived.
    unfinished(count: u64) {
        en "{count} unfinished"
        zh "未完成 {count}"
    }

    /// What an interrupted run had left was of use.
    resumed(bytes: impl Display) {
        en "went on with {bytes} of an interrupted run"
        zh "沿用了中断的运行留下的 {bytes}"
    }

    /// What had to be fetched twice.
    fetched_again(what: &Text) {
        en "fetched again: {what}"
        zh "重新获取：{what}"
    }

    /// Why it was fetched twice.
    damaged(bytes: impl Display) {
        en "{bytes} damaged on the way"
        zh "途中损坏的 {bytes}"
    }

    /// Why it was fetched twice.
    differing(bytes: impl Display) {
        en "{bytes} left by an interrupted run and not right"
        zh "中断的运行留下而内容有误的 {bytes}"
    }

    /// Why it was fetched twice.
    changed(bytes: impl Display) {
        en "{bytes} changed on the server meanwhile"
        zh "其间在服务器上改变的 {bytes}"
    }

    /// Why it was fetched twice.
    unconfirmed(bytes: impl Display) {
        en "{bytes} not confirmed by the disk"
        zh "磁盘没有确认的 {bytes}"
    }

    /// What the next run can go on with.
    half_done(bytes: impl Display, files: &Text) {
        en "kept {bytes} of {files} half done: run the same command again to go on"
        zh "{files}尚未完成，已保留 {bytes}：再次运行同一命令即可接着进行"
    }

    /// The same where names were taken meanwhile.
    half_done_and_taken(bytes: impl Display, files: &Text) {
        en "kept {bytes} of {files} half done: run the same command with --overwrite or --keep-both to go on"
        zh "{files}尚未完成，已保留 {bytes}：加上 --overwrite 或 --keep-both 再次运行同一命令即可接着进行"
    }
}

/// Why the entry at `path` did not arrive. Its path is said once: some reasons hold it.
pub(crate) fn not_arrived(path: &[u8], failure: &Failure) -> Text {
    let names_path = match failure {
        Failure::Destination(error) => error.path().as_bytes() == path,
        _ => false,
    };
    match names_path || path.is_empty() {
        true => failure.into(),
        false => Text::of_name(Escaped(path)).because(failure),
    }
}
