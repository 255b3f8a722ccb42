//! What was measured, and what it means.

use super::{Text, texts};

texts! {
    /// For an address of the plain mode.
    no_plain_mode() {
        en "the plain mode cannot be measured; it needs an address ph://KEY@HOST:PORT/"
        zh "明文模式无法测量；请使用 ph://KEY@HOST:PORT/ 形式的地址"
    }

    /// A part of a download.
    path() {
        en "path"
        zh "线路"
    }

    /// A part of a download.
    source() {
        en "source disk"
        zh "源磁盘"
    }

    /// A part of a download.
    destination() {
        en "destination disk"
        zh "目标磁盘"
    }

    /// A part of a download.
    hashing_there() {
        en "hashing there"
        zh "对方计算哈希"
    }

    /// A part of a download.
    hashing_here() {
        en "hashing here"
        zh "本机计算哈希"
    }

    /// A part of a download.
    encryption_there() {
        en "encryption there"
        zh "对方加密"
    }

    /// A part of a download.
    encryption_here() {
        en "encryption here"
        zh "本机加密"
    }

    /// A part is being measured.
    measuring(stage: &Text) {
        en "measuring: {stage}"
        zh "正在测量：{stage}"
    }

    /// How the path was measured.
    path_note(connections: &Text, round_trip: &str) {
        en "{connections}, round trip {round_trip}"
        zh "{connections}，往返 {round_trip}"
    }

    /// How the source disk was measured.
    source_note(bytes: &str) {
        en "{bytes} read and hashed, from disk or memory"
        zh "对方读取并计算哈希 {bytes}（磁盘或内存）"
    }

    /// How the destination disk was measured.
    destination_note(bytes: &str, directory: &str) {
        en "{bytes} written and synced in {directory}"
        zh "在 {directory} 写入并同步 {bytes}"
    }

    /// How a processor was measured.
    one_core(rate: &str) {
        en "{rate} on one core"
        zh "{rate}，单核"
    }

    /// How a processor was measured.
    several_cores(rate: &str, cores: u64) {
        en "{rate} on each of {cores} cores"
        zh "每核 {rate}，共 {cores} 核"
    }

    /// Why the source disk was not measured.
    nothing_to_read() {
        en "no file of 1 MiB or more there"
        zh "对方没有 1 MiB 以上的文件可供读取"
    }

    /// The measuring was ended by Ctrl-C.
    interrupted() {
        en "interrupted; nothing is left behind"
        zh "已中断；没有留下任何内容"
    }

    /// Why a part was not measured.
    not_measured(why: &Text) {
        en "not measured: {why}"
        zh "未测量：{why}"
    }

    /// Above the picture.
    picture(time: &str) {
        en "the path over {time}"
        zh "线路在 {time} 内的速率"
    }

    /// The slowest part is far slower than the next.
    clear(stage: &Text, rate: &str) {
        en "The bottleneck is the {stage}, clearly: large files come at about {rate}."
        zh "瓶颈显然是{stage}：获取大文件的速率约为 {rate}。"
    }

    /// The slowest part is slower than the next.
    likely(stage: &Text, rate: &str) {
        en "The bottleneck is probably the {stage}: large files come at about {rate}."
        zh "瓶颈很可能是{stage}：获取大文件的速率约为 {rate}。"
    }

    /// The slowest part is hardly slower than the next.
    close(stage: &Text, rate: &str) {
        en "No part is the bottleneck alone; the {stage} is the slowest: large files come at about {rate}."
        zh "没有单独的瓶颈；最慢的是{stage}：获取大文件的速率约为 {rate}。"
    }

    /// What would be the slowest if it were not for the slowest.
    lifted(next: &Text, rate: &str) {
        en "Without that, the next limit is the {next}, at {rate}."
        zh "若不受此限，下一个限制是{next}：{rate}。"
    }

    /// There is no verdict without it.
    no_verdict() {
        en "Which part is the bottleneck cannot be said: the path was not measured."
        zh "无法判断哪里是瓶颈：线路未能测量。"
    }

    /// What helps a slow path.
    help_path() {
        en "What can help: a better line, `serve --congestion bbr` where packets are lost, or more `--connections`."
        zh "可以尝试：更好的线路；有丢包时使用 `serve --congestion bbr`；增加 `--connections`。"
    }

    /// What a path without a line means.
    help_same_machine() {
        en "Both sides are on this machine: there is no line, and what the path does is up to the processors they share."
        zh "双方都在本机：其间没有线路，速率取决于双方共用的处理器。"
    }

    /// What a path means that keeps a processor busy.
    help_processor_path() {
        en "This machine's processor was busy all the time: a faster line would hardly help, a faster processor would."
        zh "测量期间本机处理器一直满负荷：更快的线路帮助不大，更快的处理器才有用。"
    }

    /// What helps a slow source.
    help_source() {
        en "What can help: a faster disk on the server, or fewer others who use it."
        zh "可以尝试：让服务器使用更快的磁盘，或减少同时使用它的程序。"
    }

    /// What helps a slow destination.
    help_destination() {
        en "What can help: `-o` on a faster disk. A short burst can be faster, as long as memory takes it."
        zh "可以尝试：用 `-o` 指定更快的磁盘。只要内存容得下，短时间内可以更快。"
    }

    /// What helps a slow processor.
    help_processor_there() {
        en "What can help: more or faster processors on the server, or fewer others who use them."
        zh "可以尝试：让服务器有更多或更快的处理器，或减少同时使用它的程序。"
    }

    /// What helps a slow processor.
    help_processor_here() {
        en "What can help: more or faster processors here, or fewer programs that use them."
        zh "可以尝试：让本机有更多或更快的处理器，或减少同时使用它的程序。"
    }

    /// Nothing can be written there.
    cannot_write(directory: &str) {
        en "cannot write to {directory}"
        zh "无法写入 {directory}"
    }

    /// So little is free there that measuring would get in the way of others.
    too_little_room(directory: &str, mib_min: u64) {
        en "less than {mib_min} MiB are free in {directory}; make room first"
        zh "{directory} 的可用空间不足 {mib_min} MiB；请先腾出空间"
    }
}
