//! What the plain mode has to say for itself.

use std::fmt::Display;

use super::{Text, texts};

texts! {
    /// Wherever something came in the plain mode.
    not_verified() {
        en "nothing is verified: the plain mode has no key, no encryption and no hashes"
        zh "内容未经校验：明文模式没有密钥、加密和哈希"
    }

    /// Of a file behind which more came.
    incomplete() {
        en "more of it came after a silence had been taken for its end: what is here is not all of it; fetch it again with a longer --silence"
        zh "静默被当作文件结尾之后，又有内容到达：这里的内容并不完整；请用更长的 --silence 重新获取"
    }

    /// Of a file of which nothing came.
    taken_for_empty(name: impl Display, silence: impl Display) {
        en "{name}: nothing came within {silence}, so it is taken for an empty file; if the server is slow, use a longer --silence"
        zh "{name}：{silence} 之内没有收到任何内容，因此当作空文件；如果服务器较慢，请用更长的 --silence"
    }

    /// A file that was written.
    wrote(name: impl Display, bytes: u64) {
        en "wrote {name}, {bytes} bytes, not verified"
        zh "已写入 {name}，{bytes} 字节，未经校验"
    }

    /// A file is in the way of a `get`.
    exists_for_get() {
        en "it exists here already; --overwrite replaces it, --keep-both keeps both"
        zh "本机已有该文件；--overwrite 替换它，--keep-both 两者都保留"
    }

    /// A file is in the way of a shell.
    exists_for_shell() {
        en "it exists here already; move it away first"
        zh "本机已有该文件；请先将它移走"
    }

    /// `ls`, which needs another address.
    no_lists() {
        en "the plain mode has no lists; `get` and `shell` speak it"
        zh "明文模式没有列表；可以使用 `get` 和 `shell`"
    }

    /// `ls`, `cd` and `pwd` in its shell.
    no_directories() {
        en "the plain mode has no lists and no directories to go to"
        zh "明文模式没有列表，也没有可进入的目录"
    }

    /// Addresses of both kinds.
    one_kind_each() {
        en "addresses that begin with ph:// and with plain:// need a `get` each"
        zh "以 ph:// 开头和以 plain:// 开头的地址，请分别用 `get` 获取"
    }

    /// A flag for something that the plain mode does not have.
    useless(flag: &str) {
        en "{flag} makes no sense with plain://, which has nothing but the bytes of single files; a ph:// address has it"
        zh "{flag} 不能用于 plain://，它只传送单个文件的字节；ph:// 地址支持该选项"
    }

    /// A flag for the plain mode only.
    silence_is_for_plain() {
        en "--silence is for plain:// addresses; others say where a file ends"
        zh "--silence 只用于 plain:// 地址；其他地址会说明文件在何处结束"
    }

    /// An address without a name.
    single_files_only(address: &str) {
        en "{address}: the plain mode has single files only; name one behind the `/`, or use `packhorse shell {address}`"
        zh "{address}：明文模式只有单个文件；请在 `/` 之后写出文件名，或使用 `packhorse shell {address}`"
    }

    /// A name that no file here can have.
    no_such_name_here(address: &str, why: &Text) {
        en "{address}: no file here can be called so: {why}; --as gives a name"
        zh "{address}：本机的文件不能用这个名字：{why}；请用 --as 指定名字"
    }

    /// The same, in a shell.
    unusable_here(name: impl Display, why: &Text) {
        en "{name}: as a name here, {why}"
        zh "{name}：作为本机的文件名，{why}"
    }

    /// An address of a file where a server belongs.
    shell_begins_at_server(address: impl Display, name: impl Display) {
        en "{address}: a shell begins at a server; `packhorse get {address}` fetches `{name}`"
        zh "{address}：shell 以服务器的地址开始；`packhorse get {address}` 可获取 `{name}`"
    }
}
