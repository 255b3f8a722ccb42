//! What was given in place of an address.

use std::fmt::Display;

use super::texts;

texts! {
    /// A URL, which `serve` prints beside the address.
    for_browsers() {
        en "that is a URL for browsers and curl; the address is what `packhorse serve` prints above it: ph://KEY@HOST:PORT/"
        zh "这是供浏览器和 curl 使用的网址；地址是 `packhorse serve` 显示在它上方的那一行：ph://KEY@HOST:PORT/"
    }

    /// A host and a port alone.
    without_scheme() {
        en "an address begins with `ph://`; paste all of what `packhorse serve` prints: ph://KEY@HOST:PORT/"
        zh "地址以 `ph://` 开头；请粘贴 `packhorse serve` 显示的完整地址：ph://KEY@HOST:PORT/"
    }

    /// There is none.
    missing() {
        en "no address: give one as an argument, `-` to read it from standard input, or set PACKHORSE_ADDRESS"
        zh "没有地址：请作为参数给出，或用 `-` 从标准输入读取，或设置 PACKHORSE_ADDRESS"
    }

    /// A variable with bytes in it that are no text.
    variable_not_text() {
        en "what PACKHORSE_ADDRESS holds is not text"
        zh "PACKHORSE_ADDRESS 的内容不是文本"
    }

    /// A variable with something else in it than a key.
    variable_not_a_key() {
        en "what PACKHORSE_KEY holds is not a key"
        zh "PACKHORSE_KEY 的内容不是密钥"
    }

    /// Nothing was typed or piped.
    none_on_input() {
        en "no address came on standard input"
        zh "标准输入中没有地址"
    }

    /// Something was, that is no text.
    not_on_input() {
        en "what came on standard input is not an address"
        zh "标准输入的内容不是地址"
    }

    /// A line of the remembered servers.
    damaged_hosts(line: usize, path: impl Display) {
        en "line {line} of {path} is damaged: mend or remove it; each line is an address such as ph://KEY@HOST:PORT/"
        zh "{path} 的第 {line} 行有误：请改正或删除；每行是一个地址，如 ph://KEY@HOST:PORT/"
    }

    /// What `talk` cannot dial.
    not_someone() {
        en "whom to talk to is HOST:PORT, as in 192.168.1.5:9000"
        zh "对话的对象写作 HOST:PORT，如 192.168.1.5:9000"
    }
}
