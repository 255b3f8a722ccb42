//! The headers of a POSIX tar (pax interchange format, IEEE Std 1003.1).

use packhorse_protocol::entry::Timestamp;

use super::entry::{Entry, EntryKind};

/// Everything in a tar comes in units of this.
const UNIT_BYTES: usize = 512;

/// Two empty units end a tar.
pub(super) const END_BYTES: usize = 2 * UNIT_BYTES;

/// The largest number of 11 octal digits.
const OCTAL_11_MAX: u64 = 0o77_777_777_777;

const NAME_BYTES: usize = 100;

/// The length of an entry with its header, content and padding.
pub(super) fn length(entry: &Entry, name: &[u8]) -> u64 {
    if name.is_empty() {
        return 0;
    }
    header(entry, name).len() as u64 + entry.size() + padding(entry.size()) as u64
}

/// The zeros behind content of this size.
pub(super) fn padding(size: u64) -> usize {
    let over = (size % UNIT_BYTES as u64) as usize;
    (UNIT_BYTES - over) % UNIT_BYTES
}

/// The header of an entry, which is always the same: owners are left out. With a pax header before
/// it if something does not fit.
pub(super) fn header(entry: &Entry, name: &[u8]) -> Vec<u8> {
    let (kind, mode, target): (u8, u32, &[u8]) = match &entry.kind {
        EntryKind::Directory { mode } => (b'5', mode.bits(), b""),
        EntryKind::File { mode, .. } => (b'0', mode.bits(), b""),
        EntryKind::Link { target } => (b'2', 0o777, target),
    };
    let mut records = Vec::new();
    if needs_record(name) || needs_record(target) {
        let is_text = std::str::from_utf8(name).is_ok() && std::str::from_utf8(target).is_ok();
        if !is_text {
            push_record(&mut records, "hdrcharset", b"BINARY");
        }
    }
    if needs_record(name) {
        push_record(&mut records, "path", name);
    }
    if needs_record(target) {
        push_record(&mut records, "linkpath", target);
    }
    let size = entry.size();
    if size > OCTAL_11_MAX {
        push_record(&mut records, "size", size.to_string().as_bytes());
    }
    let time = u64::try_from(entry.modified.seconds())
        .ok()
        .filter(|&it| it <= OCTAL_11_MAX);
    if time.is_none() || entry.modified.nanoseconds() > 0 {
        push_record(&mut records, "mtime", decimal(entry.modified).as_bytes());
    }
    let mut bytes = Vec::new();
    if !records.is_empty() {
        let extended = Ustar {
            name: b"PaxHeaders/packhorse",
            mode: 0o644,
            size: records.len() as u64,
            time: 0,
            kind: b'x',
            target: b"",
        };
        bytes.extend_from_slice(&extended.encode());
        bytes.extend_from_slice(&records);
        bytes.resize(bytes.len() + padding(records.len() as u64), 0);
    }
    let ustar = Ustar {
        name,
        mode,
        size: if size > OCTAL_11_MAX { 0 } else { size },
        time: time.unwrap_or(0),
        kind,
        target,
    };
    bytes.extend_from_slice(&ustar.encode());
    bytes
}

/// Whether a name does not fit into a plain header. One that is short and no text is there as it is:
/// that is what every tar makes of such bytes.
fn needs_record(name: &[u8]) -> bool {
    name.len() > NAME_BYTES || (!name.is_ascii() && std::str::from_utf8(name).is_ok())
}

/// A time in seconds, with as many decimals as it has.
fn decimal(time: Timestamp) -> String {
    const NANOSECONDS: i128 = 1_000_000_000;
    let total = i128::from(time.seconds()) * NANOSECONDS + i128::from(time.nanoseconds());
    let sign = if total < 0 { "-" } else { "" };
    let (seconds, rest) = (total.abs() / NANOSECONDS, total.abs() % NANOSECONDS);
    let text = format!("{sign}{seconds}.{rest:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself too.
fn push_record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// One header of the older format.
struct Ustar<'a> {
    name: &'a [u8],
    mode: u32,
    size: u64,
    time: u64,
    kind: u8,
    target: &'a [u8],
}

impl Ustar<'_> {
    /// Names that do not fit are cut: a pax header has them whole.
    fn encode(&self) -> [u8; UNIT_BYTES] {
        let mut unit = [0; UNIT_BYTES];
        let mut put = |at: usize, bytes: &[u8]| unit[at..at + bytes.len()].copy_from_slice(bytes);
        let cut = |name: &'_ [u8]| name[..name.len().min(NAME_BYTES)].to_vec();
        put(0, &cut(self.name));
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", self.size).as_bytes());
        put(136, format!("{:011o}\0", self.time).as_bytes());
        // The sum counts its own place as spaces.
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &cut(self.target));
        put(257, b"ustar\x0000");
        let sum: u32 = unit.iter().map(|&byte| u32::from(byte)).sum();
        unit[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_exactly() {
        for (seconds, nanoseconds, expected) in [
            (0, 0, "0"),
            (10, 0, "10"),
            (10, 500_000_000, "10.5"),
            (10, 1, "10.000000001"),
            (-1, 500_000_000, "-0.5"),
            (-2, 0, "-2"),
            (-2, 999_999_999, "-1.000000001"),
            (i64::MAX, 999_999_999, "9223372036854775807.999999999"),
        ] {
            let time = Timestamp::new(seconds, nanoseconds).unwrap();
            assert_eq!(decimal(time), expected);
        }
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        for length in 0..2000 {
            let mut records = Vec::new();
            push_record(&mut records, "path", &vec![b'a'; length]);
            let end = records.iter().position(|&byte| byte == b' ').unwrap();
            let stated = std::str::from_utf8(&records[..end]).unwrap();
            assert_eq!(stated, records.len().to_string());
        }
    }
}
