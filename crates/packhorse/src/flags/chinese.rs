//! The help in Chinese; in English it stands with the flags themselves.

/// The help of a command.
pub(super) struct Help {
    /// Its name; that of `packhorse` itself is empty.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// What each argument is for, by its id.
    pub(super) arguments: &'static [(&'static str, &'static str)],
    /// What stands below the flags.
    pub(super) after: &'static str,
}

/// What clap writes by itself, and what it becomes.
pub(super) const WORDS: [(&str, &str); 8] = [
    ("Usage:", "用法："),
    ("Arguments:", "参数："),
    ("Options:", "选项："),
    ("Commands:", "命令："),
    ("Limits:", "限制："),
    ("[default: ", "[默认："),
    ("[OPTIONS]", "[选项]"),
    ("<COMMAND>", "<命令>"),
];

/// What clap's own flags are for.
pub(super) const FLAG_HELP: &str = "显示帮助";
pub(super) const FLAG_VERSION: &str = "显示版本";
pub(super) const COMMAND_HELP: &str = "显示本帮助，或某个命令的帮助";

/// All of it, in the order of the commands.
pub(super) const HELP: [Help; 9] = [
    Help {
        name: "",
        about: "通过 TCP 在机器之间传送文件，每个字节都经过校验",
        arguments: &[],
        after: "\
示例：
  packhorse serve ~/photos              共享一个目录，并显示可供粘贴的地址
  packhorse get ph://KEY@HOST:7225/     把其中的全部内容取到当前目录
  packhorse ls ph://KEY@HOST:7225/      看看那里有什么
  packhorse shell ph://KEY@HOST:7225/   输入文件名逐个获取
  packhorse talk HOST:9000              与监听该处的程序对话
  packhorse bench ph://KEY@HOST:7225/   看看是什么限制了从那里获取的速率
  packhorse demo                        无需任何准备，亲眼看一遍全过程

ADDRESS 的形式为 ph://KEY@HOST:PORT/PATH。其中含有密钥，请像密码一样保管：写作 `-` 时从标准输入读取；未给出时使用环境变量 PACKHORSE_ADDRESS。

退出码：0 全部完成，1 部分文件失败，2 用法错误，3 无法连接，4 密钥或身份被拒绝，5 无法保证内容完整，6 本机读写失败。",
    },
    Help {
        name: "serve",
        about: "以只读方式共享一个目录或若干文件，凭密钥访问",
        arguments: &[
            ("paths", "一个目录，或若干文件和目录（以各自的名字出现）[默认：当前目录]"),
            ("listen", "监听的位置；端口 0 表示任选空闲端口 [默认：所有地址，端口 7225]"),
            ("open", "任何人无需密钥即可读取"),
            ("key_file", "把密钥的保密部分存放在 FILE 中（没有则创建），使地址长期有效"),
            ("identity", "把本服务器的身份存放在 FILE 中（没有则创建）[默认：状态目录之中]"),
            ("once", "完成一次完整的传送后退出"),
            ("rate_limit", "对所有客户端合计每秒最多发送这么多字节，如 500k、10M 或 1.5G"),
            ("congestion", "让内核使用此拥塞控制算法，如 bbr [默认：由系统决定]"),
            ("grace", "收到结束信号后，正在进行的传送还可以持续多久"),
            ("log_format", "标准错误的格式：text 供人阅读，json 供程序处理"),
            ("cert", "向浏览器出示此证书（PEM，后附证书链），而不是服务器自己的证书"),
            ("cert_key", "--cert 的私钥（PEM，未加密）"),
            ("http", "在同一端口上也应答不用 TLS 的浏览器和 `curl`"),
            ("plain", "任何人用明文发来文件名（例如用 `nc`），就把文件发给他；详见 README"),
            ("qr", "同时把供浏览器使用的网址显示为二维码"),
            ("max_clients", "同时服务的客户端数；超出者会被告知稍后再试"),
            ("max_unproven", "尚未出示密钥的连接数上限；超出时断开最早的一个"),
            ("greeting_timeout", "一个连接可以用多长时间来出示密钥"),
            ("idle_timeout", "客户端可以多久不提出任何请求"),
            ("stall_timeout", "客户端可以多久不接收它所请求的内容"),
        ],
        after: "\
示例：
  packhorse serve                          当前目录，所有地址，新的密钥
  packhorse serve a.iso b.iso              只共享这两个文件
  packhorse serve --key-file ~/.key data   每次启动地址都相同
  packhorse serve --once --listen 192.168.1.5:7000 report.pdf

含有密钥的地址只写到标准输出，别处都不会出现。
SIGTERM 或 Ctrl-C 一次：等正在进行的传送结束；两次：立即结束。",
    },
    Help {
        name: "get",
        about: "获取文件和整个目录树",
        arguments: &[
            ("addresses", "要获取的内容；`-` 表示从标准输入读取一行 [默认：PACKHORSE_ADDRESS 的值]"),
            ("destination", "取到哪个目录，没有则创建；`-` 表示把单个文件写到标准输出"),
            ("name", "单个文件在本机使用的名字"),
            ("overwrite", "替换本机已有但内容不同的文件；只获取其中不同的部分"),
            ("keep_both", "与本机文件不同时，另取一个名字保存"),
            ("checksum", "比较本机已有文件时看内容，而不是大小和时间"),
            ("expect", "只接受 BLAKE3 哈希为此值的单个文件（与 `b3sum` 的输出一致）"),
            ("connections", "同时使用的连接数 [默认：3；服务器较远且有效时增至 16]"),
            ("rate_limit", "每秒最多接收这么多字节，如 500k、10M 或 1.5G"),
            ("durable", "确保断电也不会丢失之后，才报告成功"),
            ("follow_links", "不保留链接，而是获取链接所指的内容"),
            ("unsafe_links", "指向目录树之外的链接也保留"),
            ("xattrs", "同时获取扩展属性"),
            ("hard_links", "同一文件的多个名字仍保持为硬链接"),
            ("include", "只获取匹配的文件；可多次给出"),
            ("exclude", "不获取匹配的条目及其中的内容；可多次给出"),
            ("exclude_from", "排除 FILE 中的各个模式，每行一个；以 `#` 开头的是注释"),
            ("retry_for", "连接中断后，若一直没有进展，重试多长时间"),
            ("silence", "仅用于 plain://：服务器静默多久即认为文件已完整 [默认：2s]"),
            ("trust_first_use", "地址中没有密钥时，接受并记住应答的服务器"),
            ("dry_run", "什么也不写；只列出将会获取的内容"),
            ("json", "以 JSON 行的形式输出所发生的事"),
            ("report", "把所发生的事以 JSON 行的形式写入 FILE"),
            ("quiet", "只说明失败的内容"),
        ],
        after: "\
示例：
  packhorse get ph://KEY@host:7225/                 服务器上的全部，到当前目录
  packhorse get ph://KEY@host:7225/a.iso -o /tmp    把一个文件取到 /tmp
  packhorse get ph://KEY@host:7225/docs --exclude '*.tmp' --overwrite
  packhorse get ph://KEY@host:7225/a.tar -o - | tar x
  packhorse get - < address.txt                     密钥不会出现在 `ps` 中
  packhorse get plain://host:7225/a.txt             明文模式：不做任何校验

进度只显示在终端上；写入管道时，只有失败的内容和最后一行，--json 每秒报告一次进度。

再次执行同一命令，只会获取缺少的部分。",
    },
    Help {
        name: "ls",
        about: "列出服务器上的内容",
        arguments: &[
            ("address", "要列出的位置；`-` 表示从标准输入读取一行 [默认：PACKHORSE_ADDRESS 的值]"),
            ("long", "同时显示权限、大小和时间"),
            ("recursive", "进入子目录"),
            ("json", "以 JSON 行的形式输出"),
            ("trust_first_use", "地址中没有密钥时，接受并记住应答的服务器"),
        ],
        after: "\
示例：
  packhorse ls ph://KEY@host:7225/          根目录中的名字
  packhorse ls -lR ph://KEY@host:7225/docs  docs 之下的全部内容，附大小和时间
  packhorse ls --json - < address.txt       供程序处理",
    },
    Help {
        name: "shell",
        about: "询问文件名，获取该文件，再询问下一个",
        arguments: &[
            ("address", "起始位置；`-` 表示从标准输入读取一行 [默认：PACKHORSE_ADDRESS 的值]"),
            ("prefix", "在所获取的每个文件的名字前加上 TEXT"),
            ("destination", "取到哪个目录，没有则创建"),
            ("silence", "仅用于 plain://：服务器静默多久即认为文件已完整 [默认：2s]"),
            ("trust_first_use", "地址中没有密钥时，接受并记住应答的服务器"),
        ],
        after: "\
示例：
  packhorse shell ph://KEY@host:7225/
  packhorse shell ph://KEY@host:7225/ --prefix new     a.txt 存为 newa.txt
  packhorse shell plain://host:7225                    明文模式：不做任何校验
  printf 'a.txt\\nb.txt\\n' | packhorse shell ph://KEY@host:7225/ -o /tmp

输入文件名即可获取；`help` 列出所有命令；空行结束。",
    },
    Help {
        name: "listen",
        about: "显示经明文 TCP 连接进来的各方发来的消息，并作答",
        arguments: &[
            ("place", "监听的位置，也可以只写端口；端口 0 表示任选空闲端口 [默认：所有地址，端口 7225]"),
            ("reply", "以 TEXT 回答每条消息，行尾与该消息相同"),
            ("echo", "把每条消息原样送回"),
            ("exec", "以 COMMAND 的输出回答每条消息；COMMAND 由 shell 执行，消息是它的输入"),
            ("once", "从每个对端接收一条消息，回答后关闭连接"),
            ("peers", "只让 N 个对端进来，它们都离开后退出"),
            ("backlog", "可以排队等待接受的连接数"),
        ],
        after: "\
示例：
  packhorse listen                       接听连到端口 7225 的任何人，用键盘作答
  packhorse listen :9000 --echo          原样送回收到的内容
  packhorse listen :9000 --reply ok --once
  packhorse listen :9000 --exec 'tr a-z A-Z'

不用 --reply、--echo 或 --exec 时，键入的内容发给最新的对端，`@2 文字` 发给第二个，`@all 文字` 发给所有对端。一行是一条消息；没有行尾的内容在 200 毫秒后也算一条。COMMAND 对每条消息都重新启动一次。标准输出中，对端的每个动作和每句话各占一行，非普通文本会被转义。内容不加密，任何人都可以连接。",
    },
    Help {
        name: "talk",
        about: "经明文 TCP 或 TLS 与监听某处的程序对话",
        arguments: &[
            ("place", "连接的对象；与 --tls 合用时也可以是 ph://KEY@HOST:PORT/ 形式的地址，以使用其中的密钥"),
            ("bind", "从本机的哪个地址和端口发起连接"),
            ("tls", "使用 TLS 1.3；对方须持有地址中的密钥，或此前已被接受"),
            ("timeout", "连接超过 TIME 则放弃；连通后若 TIME 之内没有任何往来则结束"),
            ("hex", "以十六进制显示收到的内容"),
            ("trust_first_use", "与 --tls 合用：接受并记住应答的对方"),
        ],
        after: "\
示例：
  packhorse talk 192.168.1.5:9000            键入的内容会发出，收到的内容会显示
  echo hello | packhorse talk host:9000 --timeout 2s
  packhorse talk host:9000 --hex < request.bin
  packhorse talk --tls host:443 --trust-first-use

对方结束时随之结束。输入结束后只关闭自己这一侧，并等待其余内容。在终端上，非普通文本会被转义；写入管道时保持原样。",
    },
    Help {
        name: "bench",
        about: "分别测量线路、磁盘和处理器，并指出瓶颈所在",
        arguments: &[
            ("address", "让服务器读取的内容；`-` 表示从标准输入读取一行 [默认：PACKHORSE_ADDRESS 的值]"),
            ("destination", "要写入的磁盘上的一个目录；不会留下任何内容"),
            ("time", "线路和每个磁盘各测量多长时间"),
            ("connections", "同时使用的连接数 [默认：与 `get` 相同]"),
            ("json", "以 JSON 行的形式输出所发生的事"),
            ("trust_first_use", "地址中没有密钥时，接受并记住应答的服务器"),
        ],
        after: "\
示例：
  packhorse bench ph://KEY@host:7225/              全部内容，以及当前目录所在的磁盘
  packhorse bench ph://KEY@host:7225/big.iso       服务器读取这个文件有多快
  packhorse bench ph://KEY@host:7225/ -o /mnt/disk --time 10s
  packhorse bench ph://KEY@host:7225/ --connections 1

下载的每个环节都单独测量：线路，传送的内容不在任何磁盘上；服务器的磁盘，让它读取那里的文件并计算哈希，已在内存中的也算；本机的磁盘，写入最后会消失的内容；以及双方各自的哈希计算和加密。其中最慢的就是获取大文件时的瓶颈。大量小文件可能比这些都慢。",
    },
    Help {
        name: "demo",
        about: "向多个客户端共享一棵示例目录树，中途杀掉一个再续传，并校验全部结果",
        arguments: &[("directory", "在哪里创建临时目录 [默认：系统的临时目录]")],
        after: "\
示例：
  packhorse demo
  packhorse demo --directory /mnt/disk    在该磁盘上演示；临时占用约 150 MB",
    },
];
