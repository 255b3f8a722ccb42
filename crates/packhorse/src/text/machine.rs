//! What this machine would not do, and what is wrong with the files that a server is given.

use std::fmt::Display;

use super::texts;

texts! {
    /// No threads for the network.
    no_runtime() {
        en "cannot start the runtime"
        zh "无法启动运行环境"
    }

    /// No threads for the disk.
    no_disk_workers() {
        en "cannot start the disk workers"
        zh "无法启动读写磁盘的线程"
    }

    /// A thread for the disk has failed.
    no_disk_work() {
        en "cannot write"
        zh "无法写入"
    }

    /// No thread.
    no_thread() {
        en "cannot start a thread"
        zh "无法启动线程"
    }

    /// No thread for the log.
    no_log() {
        en "cannot start the log"
        zh "无法启动日志"
    }

    /// No signals.
    no_signals() {
        en "cannot listen to signals"
        zh "无法接收信号"
    }

    /// No random numbers.
    no_randomness() {
        en "the system has no randomness"
        zh "系统没有可用的随机数"
    }

    /// No connections any more.
    no_more_connections() {
        en "the server can accept no more connections"
        zh "服务器无法再接受连接"
    }

    /// Nothing more can be printed.
    no_output() {
        en "standard output cannot be written to"
        zh "无法写入标准输出"
    }

    /// Nothing more can be read.
    no_input() {
        en "standard input cannot be read"
        zh "无法读取标准输入"
    }

    /// The terminal cannot be read from.
    no_terminal() {
        en "cannot use the terminal"
        zh "无法使用终端"
    }

    /// A file with a secret is neither there nor can it be made.
    no_secret_file(path: impl Display) {
        en "cannot read or make {path}"
        zh "无法读取或创建 {path}"
    }

    /// No place for what is remembered.
    no_state_directory(path: impl Display) {
        en "cannot make the state directory {path}"
        zh "无法创建状态目录 {path}"
    }

    /// Nowhere is a home.
    no_place_for_state() {
        en "there is no place to keep state: set HOME, or PACKHORSE_STATE to a directory of your own"
        zh "没有存放状态的位置：请设置 HOME，或将 PACKHORSE_STATE 设为您自己的目录"
    }

    /// A server that was accepted will be asked about again.
    cannot_remember(path: impl Display) {
        en "cannot remember the server in {path}"
        zh "无法把该服务器记入 {path}"
    }

    /// The report of `get`.
    cannot_write_report(path: impl Display) {
        en "cannot write the report {path}"
        zh "无法写入报告 {path}"
    }

    /// The report of `get`, to which some lines could not be written.
    report_incomplete(path: impl Display) {
        en "the report {path} is not complete"
        zh "报告 {path} 不完整"
    }

    /// A file of an identity, which is none.
    not_an_identity(path: impl Display) {
        en "cannot use the identity in {path}"
        zh "无法使用 {path} 中的身份"
    }

    /// A file of a certificate, which is none.
    not_a_certificate(path: impl Display) {
        en "cannot show the certificate in {path}"
        zh "无法出示 {path} 中的证书"
    }

    /// A file of a key, which is none.
    not_a_key(path: impl Display) {
        en "{path} has something else in it than a key that `packhorse serve` made; remove it, and a new one is made"
        zh "{path} 中的内容不是 `packhorse serve` 创建的密钥；请删除它，之后会重新创建"
    }
}
