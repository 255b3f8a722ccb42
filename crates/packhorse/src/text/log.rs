//! What a server's log says to people.

use super::{Text, texts};

texts! {
    /// Before something that may need attention.
    warning(what: &Text) {
        en "warning: {what}"
        zh "警告：{what}"
    }

    /// Before something that went wrong.
    error(what: &Text) {
        en "error: {what}"
        zh "错误：{what}"
    }

    /// What is served.
    serving(path: &str) {
        en "serving {path}"
        zh "提供 {path}"
    }

    /// Where connections are accepted.
    listening(address: &str, fingerprint: &str, congestion: &str) {
        en "listening on {address}, fingerprint {fingerprint}, congestion control {congestion}"
        zh "监听 {address}，指纹 {fingerprint}，拥塞控制 {congestion}"
    }

    /// A peer is admitted.
    connected(peer: &str) {
        en "{peer} connected"
        zh "{peer} 已连接"
    }

    /// A peer is admitted.
    connected_by_http(peer: &str) {
        en "{peer} connected by HTTP"
        zh "{peer} 已通过 HTTP 连接"
    }

    /// A peer is admitted.
    connected_in_plain_mode(peer: &str) {
        en "{peer} connected in the plain mode"
        zh "{peer} 已以明文模式连接"
    }

    /// A peer wants a file or a tree.
    asks(peer: &str, path: &str) {
        en "{peer} asks for {path}"
        zh "{peer} 请求 {path}"
    }

    /// A peer has a file.
    has_file(peer: &str, path: &str, amount: &Text) {
        en "{peer} has {path}: {amount}"
        zh "{peer} 已取得 {path}：{amount}"
    }

    /// A peer has a file or a tree.
    has_files(peer: &str, path: &str, files: &Text, amount: &Text) {
        en "{peer} has {path}: {files}, {amount}"
        zh "{peer} 已取得 {path}：{files}，{amount}"
    }

    /// A number of files.
    one_file() {
        en "1 file"
        zh "1 个文件"
    }

    /// A number of files.
    several_files(count: u64) {
        en "{count} files"
        zh "{count} 个文件"
    }

    /// Of the files, some did not arrive.
    with_failures(what: &Text, failed: u64) {
        en "{what}, {failed} failed"
        zh "{what}，失败 {failed}"
    }

    /// A request of a browser.
    answered(peer: &str, request: &str, status: &str, amount: &Text) {
        en "{peer} {request}: {status}, {amount}"
        zh "{peer} 请求 {request}：{status}，{amount}"
    }

    /// A request that came to no end.
    broken_off(what: &Text, why: &str) {
        en "{what}, broken off: {why}"
        zh "{what}，中途断开：{why}"
    }

    /// An archive does not hold all that is in its folder.
    left_out(path: &str, entries: u64) {
        en "an archive of {path} lacks {entries} of its entries: what cannot be read, links that leave the tree, special files"
        zh "{path} 的归档缺少 {entries} 项：无法读取的内容、指向目录之外的链接和特殊文件"
    }

    /// Something is not sent.
    refused(peer: &str, name: &str, why: &str) {
        en "{peer} was refused {name}: {why}"
        zh "拒绝向 {peer} 发送 {name}：{why}"
    }

    /// A request is none.
    refused_all(peer: &str, why: &str) {
        en "{peer} was refused: {why}"
        zh "拒绝 {peer}：{why}"
    }

    /// A peer is gone, in good order.
    left(peer: &str) {
        en "{peer} left"
        zh "{peer} 已离开"
    }

    /// A peer is gone, in good order.
    left_with(peer: &str, amount: &Text) {
        en "{peer} left; it took {amount}"
        zh "{peer} 已离开；共取走 {amount}"
    }

    /// A peer is gone in the middle of something.
    lost(peer: &str, why: &str) {
        en "{peer} was lost: {why}"
        zh "与 {peer} 的连接中断：{why}"
    }

    /// A peer is gone in the middle of something.
    lost_after(peer: &str, amount: &Text, why: &str) {
        en "{peer} was lost after {amount}: {why}"
        zh "与 {peer} 的连接中断，此前 {amount}：{why}"
    }

    /// A peer is not admitted.
    turned_away(peer: &str) {
        en "{peer} was turned away"
        zh "未接纳 {peer}"
    }

    /// A peer is not admitted.
    turned_away_because(peer: &str, why: &Text) {
        en "{peer} was turned away: {why}"
        zh "未接纳 {peer}：{why}"
    }

    /// How much, in what time.
    amount(bytes: &str, time: &str) {
        en "{bytes} in {time}"
        zh "{bytes}，用时 {time}"
    }

    /// How much, in what time, and how fast that was.
    amount_with_rate(bytes: &str, time: &str, rate: &str) {
        en "{bytes} in {time} ({rate}/s)"
        zh "{bytes}，用时 {time}（{rate}/s）"
    }

    /// The terminal is too narrow for a picture.
    no_room_for_qr_code(columns: u64, needed: u64) {
        en "the QR code needs {needed} columns, and this terminal has {columns}; widen it and start again, or open the URL above"
        zh "二维码需要 {needed} 列，而这个终端只有 {columns} 列；请加宽后重新启动，或者直接打开上面的网址"
    }

    /// There is no picture of what is so long.
    url_too_long_for_qr_code() {
        en "the URL is too long for a QR code"
        zh "网址太长，无法显示为二维码"
    }

    /// Where lines found no room.
    missing(lines: u64) {
        en "({lines} lines are missing here: they came too fast)"
        zh "（此处缺少 {lines} 行：来得太快）"
    }
}

/// A number of files.
pub(crate) fn files(count: u64) -> Text {
    match count {
        1 => one_file(),
        _ => several_files(count),
    }
}
