//! What this machine's files would not do.

use std::fmt::Display;

use super::texts;

texts! {
    /// A file or directory could not be written.
    cannot_write(path: impl Display) {
        en "cannot write {path}"
        zh "无法写入 {path}"
    }

    /// A file could not be read.
    cannot_read(path: impl Display) {
        en "cannot read {path}"
        zh "无法读取 {path}"
    }
}
