//! What was given in place of an address.

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

    /// What `talk` cannot dial.
    not_someone() {
        en "whom to talk to is HOST:PORT, as in 192.168.1.5:9000"
        zh "对话的对象写作 HOST:PORT，如 192.168.1.5:9000"
    }
}
