//! A trace as text: one line for each packet, sequence numbers counted from those of the SYNs.

use std::fmt::Write;

use crate::Instant;
use crate::trace::{Passing, Record};
use crate::wire::{Flags, TcpOption, TcpPacket};
use crate::world::Side;

/// The text for `records`: when, where, `>` for sent or `<` for arrived, and the segment.
pub fn write<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    write_from(Bases::default(), records)
}

/// The text for `records` with sequence numbers counted from `bases`.
pub fn write_from<'a>(mut bases: Bases, records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut text = String::new();
    for record in records {
        let Record {
            at, side, passing, ..
        } = record;
        let name = match side {
            Side::Left => "left ",
            Side::Right => "right",
        };
        let (arrow, sender, remark) = match passing {
            Passing::Out(fate) => ('>', *side, fate.remark()),
            Passing::In => ('<', side.other(), ""),
        };
        let segment = match TcpPacket::decode(&record.packet) {
            Ok(packet) => bases.describe(sender, &packet),
            Err(error) => format!("{} bytes, unreadable: {error}", record.packet.len()),
        };
        let line = format!("{:>12} {name} {arrow} {segment}", seconds(*at));
        if remark.is_empty() {
            let _ = writeln!(text, "{line}");
        } else {
            let _ = writeln!(text, "{line}  [{remark}]");
        }
    }
    text
}

/// The time since the world began, in seconds to the microsecond.
#[must_use]
pub fn seconds(at: Instant) -> String {
    let micros = at.as_nanos() / 1000;
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The sequence numbers that are printed as 0, by sender.
#[derive(Debug, Default)]
pub struct Bases {
    first: [Option<u32>; 2],
    /// Whether a SYN moves them.
    are_given: bool,
}

impl From<[u32; 2]> for Bases {
    /// The numbers of the SYNs, known beforehand; the left one first.
    fn from(isns: [u32; 2]) -> Self {
        Self {
            first: isns.map(Some),
            are_given: true,
        }
    }
}

impl Bases {
    /// A segment from `sender` in words.
    pub fn describe(&mut self, sender: Side, packet: &TcpPacket) -> String {
        let ours = &mut self.first[sender.index()];
        if ours.is_none() || (packet.flags.has(Flags::SYN) && !self.are_given) {
            *ours = Some(packet.seq);
        }
        if packet.flags.has(Flags::ACK) {
            // What is acknowledged came before: at the least the SYN.
            let theirs = &mut self.first[sender.other().index()];
            theirs.get_or_insert(packet.ack.wrapping_sub(1));
        }
        let first = self.relative(sender, packet.seq);
        let length = packet.payload.len();
        let mut text = format!(
            "{:<4} {first}:{}({length})",
            packet.flags.to_string(),
            first + length as i64
        );
        if packet.flags.has(Flags::ACK) {
            let _ = write!(text, " ack {}", self.relative(sender.other(), packet.ack));
        }
        let _ = write!(text, " win {}", packet.window);
        if packet.urgent != 0 {
            let _ = write!(text, " urg {}", packet.urgent);
        }
        if !packet.options.is_empty() {
            let options = packet.options.iter();
            let told: Vec<_> = options.map(|o| self.describe_option(sender, o)).collect();
            let _ = write!(text, " <{}>", told.join(","));
        }
        text
    }

    fn describe_option(&self, sender: Side, option: &TcpOption) -> String {
        match option {
            TcpOption::Mss(mss) => format!("mss {mss}"),
            TcpOption::WindowScale(shift) => format!("wscale {shift}"),
            TcpOption::SackPermitted => "sackOK".to_owned(),
            TcpOption::Sack(blocks) => {
                let of = sender.other();
                let blocks = blocks.iter().map(|(first, behind)| {
                    let edges = [first, behind].map(|edge| self.relative(of, *edge));
                    format!(" {}:{}", edges[0], edges[1])
                });
                format!("sack{}", blocks.collect::<String>())
            }
            TcpOption::Timestamps { value, echo } => format!("TS val {value} ecr {echo}"),
            TcpOption::Other(kind, body) => {
                let body: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("kind {kind} {body}")
            }
        }
    }

    /// How far `number` is from the first one of `sender`, up to half the space either way.
    fn relative(&self, sender: Side, number: u32) -> i64 {
        let base = self.first[sender.index()].unwrap_or(number);
        i64::from(number.wrapping_sub(base) as i32)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::link::Fate;
    use crate::trace::Trace;

    #[test]
    fn numbers_count_from_the_syn_of_each_side() {
        let left = TcpPacket {
            source: "192.0.2.1:80".parse().expect("an address"),
            destination: "192.0.2.2:81".parse().expect("an address"),
            seq: u32::MAX,
            ack: 0,
            flags: Flags::SYN,
            window: 1000,
            urgent: 0,
            options: vec![TcpOption::Mss(1460), TcpOption::SackPermitted],
            payload: Bytes::new(),
        };
        let right = TcpPacket {
            source: left.destination,
            destination: left.source,
            seq: 5000,
            ack: 0,
            flags: Flags::SYN | Flags::ACK,
            options: Vec::new(),
            ..left.clone()
        };
        let data = TcpPacket {
            seq: 0,
            ack: 5001,
            flags: Flags::ACK | Flags::PSH,
            options: vec![TcpOption::Sack(vec![(5101, 5201)])],
            payload: Bytes::from_static(&[0; 10]),
            ..left.clone()
        };
        let mut trace = Trace::default();
        let at = |ms| Instant::default() + Duration::from_millis(ms);
        trace.send(at(0), Side::Left, left.encode(), Fate::Passed);
        trace.receive(at(10), Side::Right, left.encode());
        trace.send(at(10), Side::Right, right.encode(), Fate::Lost);
        trace.send(at(20), Side::Left, data.encode(), Fate::Duplicated);
        trace.receive(at(30), Side::Right, Bytes::from_static(&[0x45, 0]));
        assert_eq!(
            write(trace.records()),
            "    0.000000 left  > S    0:0(0) win 1000 <mss 1460,sackOK>\n\
             \x20   0.010000 right < S    0:0(0) win 1000 <mss 1460,sackOK>\n\
             \x20   0.010000 right > S.   0:0(0) ack 1 win 1000  [LOST]\n\
             \x20   0.020000 left  > P.   1:11(10) ack 1 win 1000 <sack 101:201>  [duplicated]\n\
             \x20   0.030000 right < 2 bytes, unreadable: a length does not fit\n"
        );
    }
}
