//! The story that the demo tells, in its order.

use std::fmt::Display;

use super::{Text, texts};

texts! {
    /// Before the tree.
    making_tree() {
        en "1. Making a tree of files to serve."
        zh "1. 创建一个用来共享的目录树。"
    }

    /// The tree.
    tree(files: &Text, bytes: impl Display, large: impl Display) {
        en "   {files}, {bytes}: small ones, nested ones, one of {large}, names with line breaks, spaces and bytes that are no text, a link, an empty directory."
        zh "   {files}，共 {bytes}：有小文件，有多层目录中的文件，有一个 {large} 的大文件；有的名字含有换行、空格和不是文本的字节；还有一个链接和一个空目录。"
    }

    /// The server.
    server_started(process: u32, place: &str) {
        en "2. Started a server, process {process}, on {place}, with a fresh identity and a fresh key."
        zh "2. 启动了服务器，进程 {process}，位于 {place}，使用全新的身份和密钥。"
    }

    /// A client that may not.
    wrong_key_refused() {
        en "3. A client with one wrong character in its key was refused (exit code 4)."
        zh "3. 一个密钥错了一个字符的客户端被拒绝（退出码 4）。"
    }

    /// Those that may.
    clients_started(first: u32, second: u32, third: u32) {
        en "4. Three clients fetch everything at once: processes {first}, {second} and {third} (the third slowed down, so that there is time to kill it)."
        zh "4. 三个客户端同时获取全部内容：进程 {first}、{second} 和 {third}（第三个限制了速度，以便有时间杀死它）。"
    }

    /// One of them is not let finish.
    killed(files: u64, bytes: impl Display) {
        en "5. Killed the third client (SIGKILL) on the way. {files} of its files had their names by then; each of them is complete and right. The large one has no name yet; {bytes} of it have arrived."
        zh "5. 途中用 SIGKILL 杀死了第三个客户端。当时它有 {files} 个文件已经得名，每一个都完整无误。大文件尚未得名，已到达 {bytes}。"
    }

    /// What it left is made wrong.
    byte_changed() {
        en "   Changed one byte of what has arrived of it."
        zh "   把已到达的内容改动了一个字节。"
    }

    /// The same once more.
    started_again(process: u32) {
        en "6. Started the same command again, process {process}."
        zh "6. 再次运行同一命令，进程 {process}。"
    }

    /// What became of what was half done.
    resumed(resumed: impl Display, differing: impl Display) {
        en "   The third client went on with {resumed} that had arrived before it was killed. {differing} of that, around the changed byte, did not match the server's hash and were fetched again."
        zh "   第三个客户端沿用了被杀死之前到达的 {resumed}。其中被改动的字节所在的 {differing} 与服务器的哈希不符，已重新获取。"
    }

    /// A client.
    first() {
        en "first"
        zh "第一个"
    }

    /// A client.
    second() {
        en "second"
        zh "第二个"
    }

    /// A client.
    third() {
        en "third"
        zh "第三个"
    }

    /// A client has everything.
    done(name: &Text, files: &Text, bytes: impl Display, rate: impl Display, kept: &Text) {
        en "   The {name} client is done: fetched {files}, {bytes}, at {rate}/s; had {kept} already."
        zh "   {name}客户端已完成：获取了 {files}，共 {bytes}，速率 {rate}/s；此前已有 {kept}。"
    }

    /// The proof.
    comparing() {
        en "7. Comparing every file, byte for byte, with names, times, modes and links."
        zh "7. 逐字节比较每个文件，并比较名字、时间、权限和链接。"
    }

    /// The proof.
    same(name: &Text, files: &Text, folders: u64, links: u64) {
        en "   {name}: {files}, folders: {folders}, links: {links}; all are the same, and nothing else is there."
        zh "   {name}：{files}，目录：{folders}，链接：{links}；全部相同，也没有多余的内容。"
    }

    /// The server is not needed any more.
    server_ended() {
        en "8. Told the server to end; it did."
        zh "8. 通知服务器结束，它已结束。"
    }

    /// What it was about.
    conclusion() {
        en "9. What this has shown: one server gives a whole tree to several clients at once; a name appears only when its content is complete; a client that is killed leaves nothing wrong behind, and the same command finishes its work with what is there and right; a wrong key opens nothing; every byte, name, time, mode and link arrived."
        zh "9. 以上表明：一个服务器可以同时向多个客户端提供整个目录树；内容完整之后，名字才会出现；被杀死的客户端不会留下任何错误，再次运行同一命令即可利用其中正确的部分完成其余工作；错误的密钥什么也打不开；每个字节、名字、时间、权限和链接都已到达。"
    }

    /// It did not go as it should.
    failed(why: &Text) {
        en "the demo did not come to its end: {why}"
        zh "演示没有进行到底：{why}"
    }

    /// The trees differ.
    differs(why: &Text) {
        en "what arrived is not what was sent: {why}"
        zh "到达的内容与发送的不同：{why}"
    }
}
