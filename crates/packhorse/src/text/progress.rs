//! How far a download is, and what a server is doing.

use super::{Text, texts};

texts! {
    /// How much is in place, of how much.
    share(done: &str, seen: &str) {
        en "{done} of {seen}"
        zh "{done}，共 {seen}"
    }

    /// The listing still runs.
    total_unknown() {
        en "total not known yet"
        zh "总量尚不清楚"
    }

    /// How long it still takes.
    time_left(left: &str) {
        en "{left} left"
        zh "还需 {left}"
    }

    /// Nothing comes.
    waiting() {
        en "waiting"
        zh "等待中"
    }

    /// Connections that are open.
    one_connection() {
        en "1 connection"
        zh "1 个连接"
    }

    /// Connections that are open.
    several_connections(count: u64) {
        en "{count} connections"
        zh "{count} 个连接"
    }

    /// How many files are done, of how many.
    files(done: u64, seen: &str) {
        en "{done} of {seen} files"
        zh "文件 {done}，共 {seen}"
    }

    /// Files that were here already.
    kept(count: u64) {
        en "{count} kept"
        zh "保留 {count}"
    }

    /// Files that did not arrive.
    failed(count: u64) {
        en "{count} failed"
        zh "失败 {count}"
    }

    /// The person has had enough.
    interrupted() {
        en "interrupted; the same command again goes on from here"
        zh "已中断；再次运行同一命令即可接着进行"
    }

    /// A server waits.
    nobody(sent: &str) {
        en "nobody is connected  {sent} sent"
        zh "无人连接  已发送 {sent}"
    }

    /// A server serves.
    serving(connections: &Text, rate: &str, sent: &str) {
        en "{connections}  {rate}/s  {sent} sent"
        zh "{connections}  {rate}/s  已发送 {sent}"
    }
}

/// Connections that are open.
pub(crate) fn connections(count: u64) -> Text {
    match count {
        1 => one_connection(),
        _ => several_connections(count),
    }
}
