//! What a server's log says to people.

use std::io;

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::path::PathError;
use packhorse_transport::accept::OpenError;

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

    /// A peer measures the path and this machine.
    measures(peer: &str) {
        en "{peer} measures the path and this machine"
        zh "{peer} 正在测量线路和本机"
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
    broken_off(what: &Text, why: &Text) {
        en "{what}, broken off: {why}"
        zh "{what}，中途断开：{why}"
    }

    /// An archive does not hold all that is in its folder.
    left_out(path: &str, entries: u64) {
        en "an archive of {path} lacks {entries} of its entries: what cannot be read, links that leave the tree, special files"
        zh "{path} 的归档缺少 {entries} 项：无法读取的内容、指向目录之外的链接和特殊文件"
    }

    /// Something is not sent.
    refused(peer: &str, name: &str, why: &Text) {
        en "{peer} was refused {name}: {why}"
        zh "拒绝向 {peer} 发送 {name}：{why}"
    }

    /// A request is none.
    refused_all(peer: &str, why: &Text) {
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
    lost(peer: &str, why: &Text) {
        en "{peer} was lost: {why}"
        zh "与 {peer} 的连接中断：{why}"
    }

    /// A peer is gone in the middle of something.
    lost_after(peer: &str, amount: &Text, why: &Text) {
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

    /// The server asks nobody for a key.
    open_to_anyone() {
        en "open to anyone who can reach this machine"
        zh "任何能连到本机的人都可以访问"
    }

    /// The server answers browsers in clear text.
    http_in_clear() {
        en "HTTP without TLS: whoever is on the way can read the key and what is sent"
        zh "未加密的 HTTP：途经的任何人都能看到密钥和传送的内容"
    }

    /// The server answers without a key.
    plain_mode() {
        en "plain mode: whoever can reach this machine can read all that is served, without a key; nothing of it is encrypted or verified"
        zh "明文模式：任何能连到本机的人无需密钥即可读取全部共享内容；内容既不加密，也不校验"
    }

    /// How that is used.
    try_plain_mode(host: &str, port: u16) {
        en "plain mode: try `printf 'NAME\\n\\n' | nc {host} {port}`, NAME being a file's"
        zh "明文模式：可以试试 `printf 'NAME\\n\\n' | nc {host} {port}`，其中 NAME 是文件名"
    }

    /// A secret is one no more.
    exposed_secret(path: &str) {
        en "others on this machine may read {path}, which is secret: `chmod 600` mends that"
        zh "本机的其他用户可以读取 {path}，而它应当保密：可用 `chmod 600` 修正"
    }

    /// The system gives no more descriptors.
    no_higher_limit() {
        en "cannot raise the limit of open files"
        zh "无法提高可打开文件数的上限"
    }

    /// The system may give too few descriptors.
    few_descriptors(limit: u64, needed: u64) {
        en "all clients at once may need {needed} open files, and the system allows {limit}"
        zh "所有客户端同时在线时可能需要打开 {needed} 个文件，而系统只允许 {limit} 个"
    }

    /// Told to end.
    ending(grace: &str) {
        en "ending when running transfers have, after {grace} at most; once more ends at once"
        zh "进行中的传送结束之后退出，最多等待 {grace}；再次通知则立即退出"
    }

    /// The last line.
    ended() {
        en "ended"
        zh "已退出"
    }

    /// Told to end twice, or for too long.
    ended_early() {
        en "ended while transfers were running"
        zh "退出时仍有传送正在进行"
    }

    /// A file could be listed and not read.
    unreadable() {
        en "cannot read a file that is served"
        zh "无法读取一个共享的文件"
    }

    /// The system takes no more connections for now.
    waiting() {
        en "waiting"
        zh "等待中"
    }

    /// The system takes no more connections.
    giving_up() {
        en "ending"
        zh "即将退出"
    }

    /// A defect.
    failed_task() {
        en "a connection's task failed; this is a defect of Packhorse"
        zh "处理某个连接的任务出错；这是 Packhorse 的缺陷"
    }

    /// A browser was closed, perhaps.
    client_left() {
        en "the client left"
        zh "客户端离开了"
    }

    /// Before what the system says.
    connection_failed() {
        en "the connection failed"
        zh "连接失败"
    }

    /// The client's process was killed, perhaps.
    cut_off() {
        en "it was cut off"
        zh "连接被切断"
    }

    /// The same, of HTTP.
    connection_failed_within_answer() {
        en "error writing a body to connection"
        zh "发送内容时连接失败"
    }

    /// Someone speaks another protocol.
    not_served() {
        en "it speaks neither the native protocol nor any that is served here"
        zh "它使用的既不是本机协议，也不是这里提供的其他协议"
    }

    /// Before why not.
    not_admitted() {
        en "not admitted"
        zh "不予接纳"
    }

    /// A key was changed, perhaps.
    wrong_key() {
        en "its key is wrong or missing"
        zh "它的密钥有误，或没有给出密钥"
    }

    /// Another Packhorse.
    other_version() {
        en "it speaks another version of the protocol"
        zh "它使用另一个版本的协议"
    }

    /// All places are taken.
    full() {
        en "there are as many clients as are taken"
        zh "客户端已满"
    }

    /// It was told to.
    leaving() {
        en "this server is about to end"
        zh "本服务器即将退出"
    }

    /// Others came.
    made_room() {
        en "it had to make room before it said who it is"
        zh "它还没有表明身份，只能让位给他人"
    }

    /// A file is no longer what it was.
    changed_while_sent() {
        en "it changed while it was sent"
        zh "发送期间内容发生了变化"
    }

    /// A browser that keeps a connection for nothing.
    silent_for_too_long() {
        en "it was silent for too long"
        zh "它太久没有动静"
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

/// What is said of a server by the words that it is logged with: in the person's language where they
/// are known.
pub(crate) fn note(english: &str) -> Text {
    let notes = [
        open_to_anyone(),
        http_in_clear(),
        plain_mode(),
        no_higher_limit(),
        ended(),
        ended_early(),
        unreadable(),
        waiting(),
        giving_up(),
        failed_task(),
        url_too_long_for_qr_code(),
    ];
    let known = notes.into_iter().find(|note| note.english() == english);
    known.unwrap_or_else(|| Text::untranslated(english))
}

/// Why something happened, by the words that it is logged with: in the person's language where all
/// parts of it are known.
pub(crate) fn why(english: &str) -> Text {
    if let Some(text) = sentence(english) {
        return text;
    }
    let parts: Option<Vec<_>> = english.split(": ").map(sentence).collect();
    let whole = parts.and_then(|parts| parts.into_iter().reduce(Text::because));
    whole.unwrap_or_else(|| Text::untranslated(english))
}

/// A sentence that is logged often.
fn sentence(english: &str) -> Option<Text> {
    if let Some((words, code)) = english.rsplit_once(" (os error ") {
        let code = code.trim_end_matches(')').parse().ok()?;
        let text = Text::from(io::Error::from_raw_os_error(code));
        return match text.english() == english {
            true => Some(text),
            // What a library put before it in brackets is the same once more.
            false => sentence(words.split_once(" (")?.0),
        };
    }
    let of_errors = [
        OpenError::IdentityRefused.into(),
        OpenError::Silent.into(),
        Refusal::NotFound.into(),
        Refusal::PermissionDenied.into(),
        Refusal::IsDirectory.into(),
        Refusal::NotDirectory.into(),
        Refusal::LeavesTree.into(),
        Refusal::Special.into(),
        PathError::DotPart.into(),
        PathError::EmptyPart.into(),
        PathError::Reserved.into(),
    ];
    let mut sentences = of_errors.into_iter().chain([
        client_left(),
        connection_failed(),
        cut_off(),
        connection_failed_within_answer(),
        not_served(),
        not_admitted(),
        wrong_key(),
        other_version(),
        full(),
        leaving(),
        made_room(),
        changed_while_sent(),
        silent_for_too_long(),
    ]);
    sentences.find(|text| text.english() == english)
}
