//! Why there is no connection, or no more.

use std::io;

use packhorse_client::connect::ConnectError;
use packhorse_protocol::frame::FrameError;
use packhorse_protocol::message::Denial;
use packhorse_protocol::session::{GreetingError, Violation};
use packhorse_transport::accept::{AcceptError, OpenError};
use packhorse_transport::dial::{DialError, Stage};

use super::{Worded, chinese};

impl Worded for AcceptError {
    fn in_chinese(&self) -> Option<String> {
        let (what, error) = match self {
            Self::Gone(error) => ("有一个连接在被接受之前结束", error),
            Self::Exhausted(error) => ("目前无法接受更多连接", error),
            Self::Broken(error) => ("再也无法接受连接", error),
        };
        Some(format!("{what}：{}", chinese(error)))
    }
}

impl Worded for OpenError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Silent => "客户端什么也没有发来就离开了".into(),
            Self::IdentityRefused => "它要找的是另一个身份：它的地址属于别的服务器或已经过时，\
                                      或者它是尚未获准信任本服务器的浏览器"
                .into(),
            Self::Tls(error) => format!("TLS 握手失败：{}", chinese_of_handshake(error)),
            Self::Io(error) => format!("连接在建立之前中断：{}", chinese(error)),
        })
    }
}

impl Worded for DialError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { place, source } => format!(
                "找不到 `{}` 的地址：请检查拼写和本机的网络（{}）",
                place.host,
                chinese_of_lookup(source)
            ),
            Self::Refused { place } => {
                format!("{place} 拒绝了连接：请检查端口，以及服务器是否在运行")
            }
            Self::TimedOut {
                place,
                stage,
                after,
            } => {
                let stage = match stage {
                    Stage::Lookup => "查不到它的名字；请检查本机的网络，或改用 IP 地址",
                    Stage::Connect => {
                        "可能有防火墙默默丢弃了连接，或对方没有开机；请检查地址，以及防火墙是否放行\
                         该端口"
                    }
                    Stage::Handshake => "它接受了连接，但它是 Packhorse 服务器吗？",
                };
                format!("{place} 在 {after:?} 之内没有应答：{stage}")
            }
            Self::Unreachable { place, source } => {
                format!(
                    "从这里没有通往 {place} 的路（{}）：请检查地址和本机的网络",
                    chinese(source)
                )
            }
            Self::HungUp { place } => {
                format!("{place} 随即关闭了连接：它可能太忙，或者不是 Packhorse 服务器")
            }
            Self::NotPackhorse { place, source } => format!(
                "在 {place} 应答的不是此版本的 Packhorse 服务器（{}）",
                chinese_of_handshake(source)
            ),
            Self::WrongIdentity {
                place,
                expected,
                found,
            } => {
                format!("{place} 处的服务器不是预期的那一个：它的指纹是 {found}，而不是 {expected}")
            }
            Self::Impersonated { place } => {
                format!("有人冒充 {place} 处的服务器：它并不持有它所出示的密钥")
            }
            Self::Damaged { place, source } => format!(
                "与 {place} 的安全连接失败：传输的数据在途中受损（{}）",
                chinese_of_handshake(source)
            ),
            Self::Io { place, source } => format!("与 {place} 的连接失败：{}", chinese(source)),
            _ => return None,
        })
    }
}

impl Worded for ConnectError {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Dial(error) => chinese(error),
            Self::Greeting(error) => chinese(error),
            Self::Violation(violation) => format!("服务器违反了协议：{}", chinese(violation)),
            Self::Lost(error) => format!("连接中断：{}", chinese(error)),
            Self::Closed => "服务器没有发完就关闭了连接".into(),
            Self::Silent(time) => format!("服务器已有 {} 秒没有任何应答", time.as_secs()),
            Self::Estranged(error) => format!(
                "{}；此前曾用同一地址连上过它，它可能在没有 --key-file 或 --identity 的情况下重启过：\
                 那样就需要它的新地址",
                chinese(&**error)
            ),
            Self::Deaf(time) => format!("服务器已有 {} 秒没有接收任何数据", time.as_secs()),
        })
    }
}

impl Worded for Violation {
    fn in_chinese(&self) -> Option<String> {
        Some(match self {
            Self::Frame(FrameError::UnknownType(kind)) => format!("它发来了未知类型 {kind} 的消息"),
            Self::Frame(FrameError::TooLong { length, max }) => {
                format!("它要发来 {length} 字节的消息，而最多允许 {max} 字节")
            }
            Self::Malformed(kind) => format!("它的 {kind:?} 消息格式有误"),
            Self::Unexpected(kind) => format!("它在不该发送 {kind:?} 消息时发来了一条"),
            Self::TooManyRequests => "它同时提出的请求超过了允许的数目".into(),
            Self::TooManyTrees => "它打开的目录树超过了允许的数目，或重复打开了同一棵".into(),
            Self::UnknownTree => "它请求了未曾打开的目录树".into(),
            Self::Range => "它使用了不可能存在的范围".into(),
            Self::TreeOrder => "它没有按顺序发送目录树的条目".into(),
            Self::Patterns => "它发来了无法使用的模式".into(),
            Self::Excess => "它发来的内容超出了所请求的".into(),
        })
    }
}

impl Worded for GreetingError {
    fn in_chinese(&self) -> Option<String> {
        let why = match self {
            Self::Denied(Denial::Version) => "它使用另一个版本的协议",
            Self::Denied(Denial::Access) => "密钥有误，或没有给出密钥",
            Self::Denied(Denial::Busy) => "客户端已满，请稍后再试",
            Self::Denied(Denial::Leaving) => "它即将退出",
            Self::ServerProof => return Some("服务器无法证明它知道密钥".into()),
        };
        Some(format!("服务器不接纳本客户端：{why}"))
    }
}

/// Why a name has no address, as the C library has it.
fn chinese_of_lookup(error: &io::Error) -> String {
    let said = error.to_string();
    match said.as_str() {
        _ if said.contains("not known") || said.contains("No address") => "没有这个名字".into(),
        _ if said.contains("Temporary failure") => "名字解析暂时失败".into(),
        _ => chinese(error),
    }
}

/// What the other side did in place of the handshake, as the TLS engine and its users have it. An
/// alert keeps its name.
fn chinese_of_handshake(error: &io::Error) -> String {
    let said = error.to_string();
    match said.as_str() {
        "it did not agree to the protocol" => "它没有同意使用该协议".into(),
        "it showed no certificate" => "它没有出示证书".into(),
        "cannot decrypt peer's message" => "无法解密它发来的数据".into(),
        _ if said.starts_with("received corrupt message") => "它发来的不是 TLS".into(),
        _ => match said.strip_prefix("received fatal alert: ") {
            Some(alert) => format!("它中止了 TLS 握手：{alert}"),
            None => chinese(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use packhorse_protocol::address::HostPort;

    use super::*;
    use crate::language::Language;
    use crate::text::Text;

    #[test]
    fn ways_to_get_no_connection_are_told_apart() {
        let place = || HostPort::parse("host:7225", None).unwrap();
        let timed_out = |stage| DialError::TimedOut {
            place: place(),
            stage,
            after: Duration::from_secs(15),
        };
        let not_found = DialError::NotFound {
            place: place(),
            source: io::Error::other("Name or service not known"),
        };
        let unreachable = DialError::Unreachable {
            place: place(),
            source: io::Error::from_raw_os_error(113),
        };
        let cases = [
            (
                timed_out(Stage::Connect),
                "a firewall may keep silent",
                "防火墙",
            ),
            (
                timed_out(Stage::Lookup),
                "could not be looked up",
                "查不到它的名字",
            ),
            (
                timed_out(Stage::Handshake),
                "is it a Packhorse server",
                "它是 Packhorse 服务器吗",
            ),
            (
                DialError::Refused { place: place() },
                "refused the connection",
                "拒绝了连接",
            ),
            (unreachable, "there is no way to", "没有通往"),
            (not_found, "no address was found", "找不到"),
        ];
        for (at, (error, ..)) in cases.iter().enumerate() {
            let english = Text::from(error).to_string();
            let chinese = Language::Chinese.render(|| Text::from(error).to_string());
            for (other, (_, english_words, chinese_words)) in cases.iter().enumerate() {
                let is_own = at == other;
                assert_eq!(english.contains(english_words), is_own, "{english}");
                assert_eq!(chinese.contains(chinese_words), is_own, "{chinese}");
            }
        }
    }
}
