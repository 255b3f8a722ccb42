//! Who a server is, and whether that is believed.

use std::fmt::Display;

use super::{Text, texts};

texts! {
    /// A server that nobody has vouched for is taken for the right one.
    accepted_on_first_use(place: impl Display, pin: impl Display) {
        en "the server at {place} is accepted on first use; its fingerprint is {pin}"
        zh "首次使用，已接受 {place} 的服务器；它的指纹是 {pin}"
    }

    /// Nobody is there to be asked.
    not_known(place: impl Display, pin: impl Display) {
        en "the server at {place} is not known here; its fingerprint is {pin}. Use its address with the key, as it prints it, or accept it with --trust-first-use"
        zh "本机不认识 {place} 的服务器；它的指纹是 {pin}。请使用它启动时显示的、带有密钥的地址，或者用 --trust-first-use 接受它"
    }

    /// Before the question.
    stranger(place: impl Display, pin: impl Display) {
        en "The server at {place} is not known here. Its fingerprint is\n    {pin}"
        zh "本机不认识 {place} 的服务器。它的指纹是\n    {pin}"
    }

    /// The question; the answers are the same in every language.
    is_it_the_one() {
        en "Is that the one it shows when it starts? [yes/no] "
        zh "它启动时显示的是这个指纹吗？[yes/no] "
    }

    /// The answer was a no.
    not_accepted() {
        en "the server was not accepted"
        zh "没有接受该服务器"
    }

    /// Another server than the one that is remembered.
    not_the_remembered(error: &Text, hosts: &str) {
        en "{error}. If it was set up anew, remove its line from {hosts}; if not, someone may be deceiving you"
        zh "{error}。如果它是重新安装的，请从 {hosts} 中删除它所在的行；如果不是，可能有人在冒充它"
    }

    /// Another server than the one that the address names.
    not_the_addressed(error: &Text) {
        en "{error}. Copy the whole address again, as the server prints it; if it is the right one, someone may be deceiving you"
        zh "{error}。请重新复制服务器显示的完整地址；如果地址无误，可能有人在冒充它"
    }

    /// Something else than TLS is there.
    no_tls(place: impl Display, why: impl Display) {
        en "what answers at {place} does not speak TLS 1.3 ({why})"
        zh "{place} 的应答方不使用 TLS 1.3（{why}）"
    }
}
