//! What `listen` and `talk` say of peers and their messages.

use std::fmt::Display;

use super::{Text, texts};

texts! {
    /// Where peers are waited for.
    listening(address: impl Display) {
        en "listening on {address}"
        zh "监听 {address}"
    }

    /// A peer is here.
    connected(peer: impl Display) {
        en "{peer} connected"
        zh "{peer} 已连接"
    }

    /// A command that gives the answers was not found.
    command_not_run(peer: impl Display, why: &Text) {
        en "{peer}: the command cannot be run: {why}"
        zh "{peer}：无法运行该命令：{why}"
    }

    /// A command that gives the answers has failed.
    command_failed(peer: impl Display, status: impl Display) {
        en "{peer}: the command ended with {status}"
        zh "{peer}：该命令以 {status} 结束"
    }

    /// A peer is gone, in good order.
    left(peer: impl Display, counts: &Text) {
        en "{peer} left: {counts}"
        zh "{peer} 已离开：{counts}"
    }

    /// A peer is gone because its connection broke.
    left_because(peer: impl Display, counts: &Text, why: &Text) {
        en "{peer} left: {counts} ({why})"
        zh "{peer} 已离开：{counts}（{why}）"
    }

    /// A number of messages.
    one_message() {
        en "1 message"
        zh "1 条消息"
    }

    /// A number of messages.
    several_messages(count: u64) {
        en "{count} messages"
        zh "{count} 条消息"
    }

    /// A number of peers.
    one_peer() {
        en "1 peer"
        zh "1 个对端"
    }

    /// A number of peers.
    several_peers(count: u64) {
        en "{count} peers"
        zh "{count} 个对端"
    }

    /// What came and went.
    exchanged(received: impl Display, sent: impl Display) {
        en "{received} received, {sent} sent"
        zh "收到 {received}，发送 {sent}"
    }

    /// What went and came.
    sent_and_received(sent: impl Display, received: impl Display) {
        en "{sent} sent, {received} received"
        zh "发送 {sent}，收到 {received}"
    }

    /// No peers any more.
    cannot_listen_any_more() {
        en "cannot listen any more"
        zh "无法继续监听"
    }

    /// There is someone to talk to.
    connected_to(peer: impl Display) {
        en "connected to {peer}"
        zh "已连接到 {peer}"
    }

    /// There is someone to talk to.
    connected_from(peer: impl Display, local: impl Display) {
        en "connected to {peer} from {local}"
        zh "已从 {local} 连接到 {peer}"
    }

    /// There is someone to talk to.
    connected_by_tls(peer: impl Display) {
        en "connected to {peer} by TLS"
        zh "已通过 TLS 连接到 {peer}"
    }

    /// The end.
    closed() {
        en "the other side has closed the connection"
        zh "对方关闭了连接"
    }

    /// The end, after a silence.
    idle(time: impl Display) {
        en "nothing came or went for {time}"
        zh "{time} 之内没有收发任何内容"
    }

    /// `--bind` with a name that leads nowhere.
    no_address_to_bind() {
        en "--bind names no address"
        zh "--bind 没有指明地址"
    }

    /// A key, and clear text.
    key_means_tls() {
        en "an address with a key means TLS: add --tls"
        zh "带有密钥的地址要用 TLS：请加上 --tls"
    }
}

/// A number of messages.
pub(crate) fn messages(count: u64) -> Text {
    match count {
        1 => one_message(),
        _ => several_messages(count),
    }
}

/// A number of peers.
pub(crate) fn peers(count: u64) -> Text {
    match count {
        1 => one_peer(),
        _ => several_peers(count),
    }
}
