//! What the shell answers.

use std::fmt::Display;

use super::{Text, texts};

texts! {
    /// Above the first prompt.
    welcome() {
        en "Type a file name to fetch it, `help` for all commands, an empty line to end."
        zh "输入文件名即可获取该文件，输入 `help` 查看所有命令，空行结束。"
    }

    /// What can be asked for.
    help() {
        en "\
NAME               fetch that file
get NAME...        fetch files or whole directories, also those called like a command
ls [-l] [PATH]     list
cd [PATH]          go to another directory; without PATH, to the root
pwd                say where you are
cat NAME           show a file
help               show this
an empty line      end

Names are typed as `ls` shows them; quote those with spaces, or put \\ before each space."
        zh "\
NAME               获取该文件
get NAME...        获取文件或整个目录，名字与命令相同的也可以
ls [-l] [PATH]     列出内容
cd [PATH]          进入另一个目录；不写 PATH 则回到根目录
pwd                显示当前位置
cat NAME           显示一个文件
help               显示本帮助
空行               结束

名字照 `ls` 显示的样子输入；含有空格的请加引号，或在每个空格前加 \\。"
    }

    /// What can be asked for in the plain mode.
    plain_help() {
        en "\
NAME               fetch that file
get NAME...        fetch files, also those called like a command
cat NAME           show a file
help               show this
an empty line      end

The server is one of the plain mode: it has no lists, and nothing of what comes is verified."
        zh "\
NAME               获取该文件
get NAME...        获取文件，名字与命令相同的也可以
cat NAME           显示一个文件
help               显示本帮助
空行               结束

该服务器使用明文模式：没有列表，收到的内容也不经任何校验。"
    }

    /// A line that is not complete.
    open_quote() {
        en "a quote is not closed"
        zh "引号没有闭合"
    }

    /// A line that is not complete.
    lone_backslash() {
        en "something is missing behind a backslash; `\\\\` means one"
        zh "反斜杠后面缺少内容；`\\\\` 表示反斜杠本身"
    }

    /// A command without what it needs.
    what(command: &str) {
        en "{command} what? Try `{command} NAME`"
        zh "{command} 后面要写什么？试试 `{command} NAME`"
    }

    /// More than the command takes.
    too_much() {
        en "that is too much; names with spaces need quotes"
        zh "参数太多；含有空格的名字要加引号"
    }

    /// More than one place.
    one_place() {
        en "list one place at a time; names with spaces need quotes"
        zh "一次只能列出一处；含有空格的名字要加引号"
    }

    /// A file has arrived.
    wrote(path: impl Display, bytes: u64) {
        en "wrote {path}, {bytes} bytes"
        zh "已写入 {path}，{bytes} 字节"
    }

    /// A file was here.
    kept(path: impl Display) {
        en "kept {path}: it is here already, the same"
        zh "保留 {path}：本机已有，内容相同"
    }

    /// A link is in place.
    linked(path: impl Display) {
        en "linked {path}"
        zh "已建立链接 {path}"
    }

    /// Another file is here.
    differs(path: impl Display) {
        en "{path}: it is here already and differs; move it away first"
        zh "{path}：本机已有，但内容不同；请先将它移走"
    }

    /// Ctrl-C.
    stopped() {
        en "interrupted; ask for it again to fetch the rest"
        zh "已中断；再次输入即可获取其余部分"
    }

    /// Ctrl-C.
    interrupted() {
        en "interrupted"
        zh "已中断"
    }

    /// A file where a directory belongs.
    not_a_directory() {
        en "it is not a directory"
        zh "它不是目录"
    }

    /// A directory where a file belongs.
    is_a_directory(path: impl Display, name: &str) {
        en "{path}: it is a directory; `cd {name}` enters it, `get {name}` fetches it"
        zh "{path}：它是目录；`cd {name}` 进入，`get {name}` 获取"
    }

    /// A name that is none with what goes before it.
    with_prefix(path: impl Display, why: &Text) {
        en "{path}: with the prefix before it, {why}"
        zh "{path}：加上前缀之后，{why}"
    }
}
