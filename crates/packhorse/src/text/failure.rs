//! What went wrong, as the libraries and the system have it.
//!
//! They speak English, in logs and to programs; here are the same sentences in Chinese. What has
//! none here is said in English.

use std::error::Error;
use std::fmt::{self, Display};
use std::io::{self, ErrorKind};

use packhorse_client::bench::BenchError;
use packhorse_client::cat::CatError;
use packhorse_client::download::DownloadError;
use packhorse_client::list::ListError;
use packhorse_client::plain::PlainError;
use packhorse_client::report::Failure;
use packhorse_client::talk::TalkError;
use packhorse_protocol::address::AddressError;
use packhorse_protocol::content::ContentHashError;
use packhorse_protocol::entry::Refusal;
use packhorse_protocol::filter::FilterError;
use packhorse_protocol::key::KeyError;
use packhorse_protocol::limits::{FILTER_BYTES_MAX, FILTER_RULES_MAX};
use packhorse_protocol::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, PLAIN_NAME_BYTES_MAX};
use packhorse_protocol::path::PathError;
use packhorse_protocol::plain_address::{PlainAddressError, PlainNameError};
use packhorse_server::listen::SendError;
use packhorse_storage::destination::{DestinationError, EntryError};
use packhorse_storage::selection::SelectionError;
use packhorse_storage::status::Kind;
use packhorse_storage::workers::JobLost;
use packhorse_transport::identity::IdentityError;
use packhorse_transport::kernel::BindError;
use packhorse_transport::tls::WebCertificateError;
use rustyline::error::ReadlineError;

use super::Text;
use crate::byte_count::ByteCount;

mod connecting;

/// What a library says in English.
pub(crate) trait Worded: Display {
    /// The same in Chinese; `None` where only the library's words say it.
    fn in_chinese(&self) -> Option<String>;

    /// All of it in English.
    fn in_english(&self) -> String {
        self.to_string()
    }
}

impl<E: Worded> From<E> for Text {
    fn from(said: E) -> Self {
        Self::of(|| said.in_english(), || chinese(&said))
    }
}

impl<E: Worded> Worded for &E {
    fn in_chinese(&self) -> Option<String> {
        (**self).in_chinese()
    }

    fn in_english(&self) -> String {
        (**self).in_english()
    }
}

/// What the demo meets on its way.
impl Worded for anyhow::Error {
    fn in_chinese(&self) -> Option<String> {
        let texts = self.chain().map(|part| match part.downcast_ref() {
            Some(error) => chinese::<io::Error>(error),
            None => part.to_string(),
        });
        Some(texts.collect::<Vec<_>>().join("："))
    }

    fn in_english(&self) -> String {
        format!("{self:#}")
    }
}

impl Text {
    /// What a parser of a flag's value says.
    pub(super) fn of_parser(error: &(dyn Error + 'static)) -> Self {
        if let Some(text) = error.downcast_ref::<Self>() {
            return text.clone();
        }
        match error.downcast_ref::<ContentHashError>() {
            Some(error) => Self::from(error),
            None => Self::untranslated(error),
        }
    }
}

fn chinese<E: Worded>(said: &E) -> String {
    said.in_chinese().unwrap_or_else(|| said.in_english())
}

impl Worded for io::Error {
    fn in_chinese(&self) -> Option<String> {
        let words = match self.kind() {
            ErrorKind::NotFound => "没有那个文件或目录",
            ErrorKind::PermissionDenied => "权限不够",
            ErrorKind::ConnectionRefused => "连接被拒绝",
            ErrorKind::ConnectionReset => "连接被对方重置",
            ErrorKind::ConnectionAborted => "连接已中止",
            ErrorKind::NotConnected => "没有连接",
            ErrorKind::HostUnreachable => "没有到该主机的路由",
            ErrorKind::NetworkUnreachable => "网络不可达",
            ErrorKind::AddrInUse => "地址已被占用",
            ErrorKind::AddrNotAvailable => "本机没有这个地址",
            ErrorKind::BrokenPipe => "管道已断开",
            ErrorKind::AlreadyExists => "已经存在",
            ErrorKind::NotADirectory => "不是目录",
            ErrorKind::IsADirectory => "是一个目录",
            ErrorKind::ReadOnlyFilesystem => "文件系统是只读的",
            ErrorKind::StorageFull => "磁盘已满",
            ErrorKind::QuotaExceeded => "磁盘配额已用尽",
            ErrorKind::FileTooLarge => "文件过大",
            ErrorKind::TimedOut => "超时",
            ErrorKind::UnexpectedEof => "连接提前结束",
            _ => return None,
        };
        match self.raw_os_error() {
            Some(code) => Some(format!("{words}（系统错误 {code}）")),
            // What a library put there instead of the system's answer says more than its kind,
            // unless all that it can say is that the other side has gone.
            None => {
                let is_all = self.get_ref().is_none() || self.kind() == ErrorKind::UnexpectedEof;
                is_all.then(|| words.to_owned())
            }
        }
    }
}

impl Worded for Refusal {
    fn in_chinese(&self) -> Option<String> {
        let words = match self {
            Self::NotFound => "服务器上不存在",
            Self::PermissionDenied => "服务器无权读取",
            Self::Special => "是 FIFO、套接字或设备",
            Self::LeavesTree => "是指向目录树之外的链接",
            Self::IsDirectory => "是一个目录",
            Self::NotDirectory => "不是目录",
            Self::LinkLoop => "是循环链接",
            Self::UnusableName => "名字或路径过长，或为保留名",
            Self::Changed => "获取期间在服务器上发生了变化",
            Self::TooLarge => "获取期间在服务器上变大了",
            Self::Unreadable => "服务器的磁盘读取失败",
            Self::Busy => "服务器太忙，无法打开；请稍后再试",
        };
        Some(words.into())
    }
}

impl Worded for Failure {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Refused(refusal) => chinese(refusal),
            Self::Destination(error) => chinese(error),
            Self::Exists => "本机已有且内容不同；--overwrite 替换它，--keep-both 两者都保留".into(),
            Self::Taken => {
                "获取期间它的名字被占用，占用者未作改动；已取到的部分会保留，供 --overwrite \
                            或 --keep-both 使用"
                    .into()
            }
            Self::Hollow => "空洞太多，无法核对它的哈希".into(),
            Self::NoDirectory => "无法创建它所在的目录".into(),
            Self::NoOtherName => "它是某个未能取到的文件的另一个名字".into(),
            Self::Damaged => "服务器发来的内容与其哈希不符，重新请求后依然如此".into(),
            Self::NoContent => "它是链接，自身没有内容；--follow-links 获取它所指的内容".into(),
            Self::Unexpected { expected, found } => unexpected(expected, found),
        })
    }

    fn in_english(&self) -> String {
        match self {
            Self::Destination(error) => error.in_english(),
            other => other.to_string(),
        }
    }
}

fn unexpected(expected: &impl Display, found: &impl Display) -> String {
    format!("它的哈希是 {found}，而不是 {expected}")
}

impl Worded for DownloadError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Connect(error) => chinese(error),
            Self::Refused(refusal) => chinese(refusal),
            Self::NotFile => "是一个目录：名字和哈希只能用于单个文件".into(),
            Self::Destination(error) => chinese(error),
            Self::Filter(error) => chinese(error),
            Self::Worker => "磁盘线程出错；这是 Packhorse 的缺陷".into(),
        })
    }
}

impl Worded for ListError {
    fn in_chinese(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.in_chinese(),
            Self::Refused(refusal) => refusal.in_chinese(),
        }
    }
}

impl Worded for BenchError {
    fn in_chinese(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.in_chinese(),
            Self::NoFeature => Some("此服务器版本较旧，无法测量".into()),
            Self::Incredible => Some("服务器报告的用时不可能是真的".into()),
        }
    }
}

impl Worded for CatError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Connect(error) => chinese(error),
            Self::Refused(refusal) => chinese(refusal),
            Self::Damaged => chinese(&Failure::Damaged),
            Self::Unexpected { expected, found } => unexpected(expected, found),
            Self::Output(error) => format!("无法写出所获取的内容：{}", chinese(error)),
        })
    }
}

impl Worded for TalkError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Lost(error) => format!("连接中断：{}", chinese(error)),
            Self::Output(error) => format!("无法写出收到的内容：{}", chinese(error)),
        })
    }
}

impl Worded for PlainError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Dial(error) => chinese(error),
            Self::NotFound => "服务器上不存在：它关闭了连接，什么也没有发来".into(),
            Self::Lost {
                received_bytes,
                source,
            } => format!("收到 {received_bytes} 字节后连接中断：{}", chinese(source)),
        })
    }
}

impl Worded for DestinationError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::InUse { path } => {
                format!(
                    "另一个针对同一地址的 `get` 正在写入 {}，或已被杀死而仍在等待磁盘；请等它结束，\
                     或获取到另一个目录",
                    path.display()
                )
            }
            Self::NoInodes { path } => {
                format!(
                    "{} 所在的磁盘没有空闲的 inode：无法再创建文件",
                    path.display()
                )
            }
            Self::ForeignPartial { path } => {
                format!("{} 不是您的目录；请把它移走", path.display())
            }
            Self::Io { path, source, .. } => {
                format!("无法使用 {}：{}", path.display(), chinese(source))
            }
        })
    }
}

impl Worded for EntryError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Exists { path, found } => {
                format!("`{path}` 已经存在（{}），未作改动", KindName(*found))
            }
            Self::Collides { path } => format!("`{path}` 与本文件系统上的另一个条目同名"),
            Self::NotDirectory { path } => format!("`{path}` 在本机不是目录；不会跟随链接"),
            Self::NotFile { path } => format!("`{path}` 在本机不是普通文件"),
            Self::LinkLeaves { path } => format!("`{path}` 是可能指向目标目录之外的链接"),
            Self::TooManyLinks { path } => {
                format!("等待其目标的链接太多；请再执行一次以创建 `{path}`")
            }
            Self::UnusableTarget { path } => format!("`{path}` 是没有有效目标的链接"),
            Self::NoHardLink { path, source } => {
                format!(
                    "无法在这里为同一文件创建另一个名字 `{path}`：{}",
                    chinese(source)
                )
            }
            Self::UnusableName { path, source } => {
                format!("本文件系统不支持名字 `{path}`：{}", chinese(source))
            }
            Self::TooLarge { path, size } => {
                format!(
                    "`{path}` 有 {}，超过本文件系统或 `ulimit -f` 允许的大小",
                    ByteCount(*size)
                )
            }
            Self::WrongLength { path, size } => {
                format!("`{path}` 的长度不是所声明的 {size} 字节")
            }
            Self::ChangedHere { path } => format!("`{path}` 在读取期间于本机发生了变化"),
            Self::OtherFileSystem { path } => {
                format!("`{path}` 与目标目录不在同一文件系统；请直接以它为目标目录")
            }
            Self::NoRoom { path, needed, free } => format!(
                "磁盘空间不足以存放 `{path}`：需要 {}，可用 {}",
                ByteCount(*needed),
                ByteCount(*free)
            ),
            Self::DiskFull { path, .. } => format!("磁盘已满：无法写入 `{path}`"),
            Self::NoInodes { path, .. } => {
                format!("磁盘没有空闲的 inode：无法创建 `{path}`")
            }
            Self::QuotaUsedUp { path, .. } => format!("您的磁盘配额已用尽：无法写入 `{path}`"),
            Self::SyncFailed { path, source } => {
                format!("磁盘未能确认 `{path}`，必须重新获取：{}", chinese(source))
            }
            Self::NoJobFolder { path, source } => {
                format!("无法写入 `{path}`：{}", chinese(source))
            }
            Self::Io { path, source, .. } => format!("无法处理 `{path}`：{}", chinese(source)),
        })
    }

    /// Amounts as people read them.
    fn in_english(&self) -> String {
        match self {
            Self::NoRoom { path, needed, free } => format!(
                "the disk has no room for `{path}`: {} are needed, {} are free",
                ByteCount(*needed),
                ByteCount(*free)
            ),
            Self::TooLarge { path, size } => format!(
                "`{path}` of {} is larger than this file system or `ulimit -f` allows",
                ByteCount(*size)
            ),
            other => other.to_string(),
        }
    }
}

/// What kind of thing something is, in Chinese.
struct KindName(Kind);

impl Display for KindName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Kind::File => "文件",
            Kind::Directory => "目录",
            Kind::Symlink => "符号链接",
            Kind::Special => "FIFO、套接字或设备",
            Kind::Unknown => "类型未知",
        })
    }
}

impl Worded for KeyError {
    fn in_chinese(&self) -> Option<String> {
        Some("地址中的密钥有误：请重新复制服务器显示的完整地址".into())
    }
}

impl Worded for AddressError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Scheme => "地址以 `ph://` 开头，如 ph://KEY@HOST:PORT/PATH".into(),
            Self::Key(error) => chinese(error),
            Self::Host => "地址中没有主机，或主机的写法有误".into(),
            Self::Brackets(place) => format!("IPv6 地址须写在方括号中：{place}"),
            Self::Port => "地址中的端口必须是 1 到 65535 之间的数".into(),
            Self::Percent => {
                "地址路径中的 `%` 之后须有两位十六进制数字；`%` 本身请写作 `%25`".into()
            }
            Self::Path(error) => format!("无法请求地址中的路径：{}", chinese(error)),
        })
    }
}

impl Worded for PathError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::EmptyPart => "其中有空的部分（`//`，或以 `/` 开头或结尾）".into(),
            Self::DotPart => "其中有 `.` 或 `..`".into(),
            Self::Nul => "其中有 NUL 字节".into(),
            Self::Separator => "单个名字中不能有 `/`".into(),
            Self::NameTooLong => format!("其中有超过 {NAME_BYTES_MAX} 字节的部分"),
            Self::PathTooLong => format!("超过了 {PATH_BYTES_MAX} 字节"),
            Self::Reserved => "`.packhorse-partial` 是留给未完成下载的保留名".into(),
        })
    }
}

impl Worded for PlainAddressError {
    fn in_chinese(&self) -> Option<String> {
        match self {
            Self::Address(error) => error.in_chinese(),
            Self::Name(error) => error.in_chinese(),
        }
    }
}

impl Worded for PlainNameError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Empty => "名字是空的".into(),
            Self::LineEnd => "名字中不能有换行".into(),
            Self::TooLong => format!("名字不能超过 {PLAIN_NAME_BYTES_MAX} 字节"),
        })
    }
}

impl Worded for FilterError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::TooMany => {
                format!("模式太多：最多 {FILTER_RULES_MAX} 个，共 {FILTER_BYTES_MAX} 字节")
            }
            Self::Pattern { pattern, why } => format!("`{pattern}` 不是有效的模式：{why}"),
        })
    }
}

impl Worded for ContentHashError {
    fn in_chinese(&self) -> Option<String> {
        Some("哈希是 64 位十六进制数字，与 `b3sum` 的输出一致".into())
    }
}

impl Worded for SelectionError {
    fn in_english(&self) -> String {
        match self {
            Self::Open { error, .. } => format!("{self}: {error}"),
            Self::Name { .. } | Self::SameName { .. } => self.to_string(),
        }
    }

    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Open { path, error } => {
                format!("无法共享 `{}`：{}", path.display(), chinese(error))
            }
            Self::Name { path, error } => {
                format!(
                    "无法以这个名字共享 `{}`：{}",
                    path.display(),
                    chinese(error)
                )
            }
            Self::SameName { path } => format!(
                "`{}` 与前面某个路径的最后一段同名：请分别共享，或共享二者的上级目录",
                path.display()
            ),
        })
    }
}

impl Worded for BindError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Nowhere => "没有可以监听的地址".into(),
            Self::Congestion {
                name,
                available,
                source,
            } => format!(
                "无法使用拥塞控制算法 `{name}`：{}；本系统支持：{available}",
                chinese(source)
            ),
            Self::Address { address, source } => {
                format!("无法监听 {address}：{}", chinese(source))
            }
        })
    }
}

impl Worded for IdentityError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::NoKey => "没有找到私钥：身份文件为 PEM，其中有 `BEGIN PRIVATE KEY` 一节\
                            （PKCS #8，未加密）"
                .into(),
            Self::WrongKey => "私钥已损坏，或不是 ECDSA P-256（prime256v1）".into(),
            Self::NotMade(error) => format!("无法生成身份：{error}"),
        })
    }
}

impl Worded for WebCertificateError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::NoCertificate => "没有找到证书：须为 PEM，其中有 `BEGIN CERTIFICATE` 一节".into(),
            Self::NoKey => "没有找到私钥：须为 PEM，其中有 `BEGIN PRIVATE KEY` 一节，未加密".into(),
            Self::Unusable(error) => format!("证书和私钥无法使用：{error}"),
        })
    }
}

impl Worded for SendError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Nobody => "没有任何连接".into(),
            Self::NotHere(peer) => format!("对端 @{peer} 没有连接"),
            Self::Deaf(peer) => format!("对端 @{peer} 不接收发给它的内容；这一行已丢弃"),
        })
    }
}

impl Worded for JobLost {
    fn in_chinese(&self) -> Option<String> {
        Some("磁盘线程出错；这是 Packhorse 的缺陷".into())
    }
}

impl Worded for ReadlineError {
    fn in_chinese(&self) -> Option<String> {
        match self {
            Self::Io(error) => error.in_chinese(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn an_error_of_the_system_is_told_as_far_as_its_kind_is_all() {
        let full = ErrorKind::StorageFull;
        let cases = [
            (io::Error::from_raw_os_error(28), "磁盘已满（系统错误 28）"),
            (io::Error::from(full), "磁盘已满"),
            (io::Error::new(full, "the third disk"), "the third disk"),
            (
                io::Error::new(ErrorKind::UnexpectedEof, "it was cut off"),
                "连接提前结束",
            ),
        ];
        for (error, expected) in cases {
            let chinese = Language::Chinese.render(|| Text::from(error).to_string());
            assert_eq!(chinese, expected);
        }
    }
}
