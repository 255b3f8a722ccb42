//! Why a server cannot listen where it should.

use std::fmt::Display;
use std::io::ErrorKind;

use packhorse_transport::kernel::BindError;

use super::{Text, texts};

texts! {
    /// Something listens there; `example` takes a free port.
    in_use(address: impl Display, example: &str) {
        en "cannot listen on {address}: another program, perhaps another Packhorse, has that port; choose another one, or have one chosen: `{example}`"
        zh "无法监听 {address}：该端口已被其他程序占用，也可能是另一个 Packhorse；请换一个端口，或任选空闲端口：`{example}`"
    }

    /// A low port, which is not for everyone.
    not_permitted(address: impl Display, example: &str) {
        en "cannot listen on {address}: ports below 1024 need special rights here; choose a higher one, or have one chosen: `{example}`"
        zh "无法监听 {address}：在这里使用 1024 以下的端口需要特殊权限；请用更大的端口，或任选空闲端口：`{example}`"
    }

    /// Another machine's address, or nobody's.
    not_of_this_machine(address: impl Display, example: &str) {
        en "cannot listen on {address}: this machine does not have that address; give one that it has, or a port alone for all of them, as in `{example}`"
        zh "无法监听 {address}：本机没有这个地址；请换一个本机的地址，或只写端口以监听所有地址，如 `{example}`"
    }
}

/// What to do about `error`; `example` listens on any free port of all addresses.
pub(crate) fn cannot_bind(error: &BindError, example: &str) -> Text {
    let BindError::Address { address, source } = error else {
        return error.into();
    };
    match source.kind() {
        ErrorKind::AddrInUse => in_use(address, example),
        ErrorKind::PermissionDenied => not_permitted(address, example),
        ErrorKind::AddrNotAvailable => not_of_this_machine(address, example),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::language::Language;

    #[test]
    fn each_cause_has_its_advice() {
        let cases = [
            (ErrorKind::AddrInUse, "has that port", "已被其他程序占用"),
            (ErrorKind::PermissionDenied, "below 1024", "1024 以下"),
            (
                ErrorKind::AddrNotAvailable,
                "does not have",
                "本机没有这个地址",
            ),
        ];
        for (kind, english, chinese) in cases {
            let error = BindError::Address {
                address: ([127, 0, 0, 1], 80).into(),
                source: io::Error::from(kind),
            };
            let text = || cannot_bind(&error, "x :0").to_string();
            let chinese_text = Language::Chinese.render(text);
            for (text, words) in [(text(), english), (chinese_text, chinese)] {
                assert!(text.contains(words), "{text}");
                assert!(
                    text.contains("127.0.0.1:80") && text.ends_with("`x :0`"),
                    "{text}"
                );
            }
        }
    }
}
