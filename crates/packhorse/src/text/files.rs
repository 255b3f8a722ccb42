//! What this machine's files would not do.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::{Path, absolute};

use packhorse_protocol::escape::Escaped;
use packhorse_storage::destination::DestinationError;

use super::{Text, texts};

texts! {
    /// A file or directory could not be written.
    cannot_write(path: impl Display) {
        en "cannot write {path}"
        zh "无法写入 {path}"
    }

    /// Where a directory belongs, a file is.
    not_a_directory(path: impl Display) {
        en "{path} is a file; -o names a directory; --as gives a single file its name"
        zh "{path} 是一个文件；-o 指定目录；--as 指定单个文件的名字"
    }

    /// A directory that is to be made lies in a file.
    below_a_file(path: impl Display) {
        en "there can be no directory {path}: what it lies in is a file; choose another with -o"
        zh "无法创建目录 {path}：它的上级是一个文件；请用 -o 另选目录"
    }

    /// The file system makes no directories.
    cannot_make_directory(path: impl Display) {
        en "the directory {path} cannot be made there; choose another with -o"
        zh "无法在那里创建目录 {path}；请用 -o 另选目录"
    }

    /// Others may write there, or nobody.
    may_not_write(path: impl Display, why: &Text) {
        en "you may not write to {path} ({why}); choose another directory with -o"
        zh "您不能写入 {path}（{why}）；请用 -o 另选目录"
    }

    /// A path that is to be served leads to nothing; `absolute` is where it was looked for.
    nothing_to_serve(absolute: impl Display) {
        en "nothing to serve: {absolute} does not exist; check the spelling"
        zh "没有可共享的内容：{absolute} 不存在；请检查拼写"
    }

    /// What is to be served belongs to others.
    may_not_serve(path: impl Display) {
        en "cannot serve {path}: you may not read it; `ls -ld` shows who may"
        zh "无法共享 {path}：您无权读取；`ls -ld` 显示谁有权"
    }

    /// A file could not be read.
    cannot_read(path: impl Display) {
        en "cannot read {path}"
        zh "无法读取 {path}"
    }
}

/// Why a directory cannot be fetched into, and what to do about it.
pub(crate) fn destination(error: &DestinationError) -> Text {
    let DestinationError::Io { path, source, .. } = error else {
        return error.into();
    };
    let shown = shown(path);
    match source.kind() {
        ErrorKind::NotADirectory if path.is_file() => not_a_directory(shown),
        ErrorKind::NotADirectory => below_a_file(shown),
        ErrorKind::NotFound => cannot_make_directory(shown),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            may_not_write(shown, &source.into())
        }
        _ => error.into(),
    }
}

/// Why `path` cannot be served, where there is more to say of it than the system does.
pub(crate) fn unservable(path: &Path, error: &io::Error) -> Option<Text> {
    match error.kind() {
        ErrorKind::NotFound => {
            let absolute = absolute(path).unwrap_or_else(|_| path.to_owned());
            Some(nothing_to_serve(shown(&absolute)))
        }
        ErrorKind::PermissionDenied => Some(may_not_serve(shown(path))),
        _ => None,
    }
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}
