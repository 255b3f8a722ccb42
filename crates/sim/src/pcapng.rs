//! Traces as files that Wireshark opens (draft-ietf-opsawg-pcapng).

use crate::trace::{Passing, Record};
use crate::world::Side;

/// Packets begin with their IP header (LINKTYPE_RAW).
const LINK_TYPE_RAW: u16 = 101;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_PACKET_FLAGS: u16 = 2;

/// Times are in units of 10 to the minus this many seconds.
const NANOSECONDS: u8 = 9;

/// The file for `records`, with one interface for each host.
///
/// To see a connection as a host would, give the records of that host only: with both, Wireshark
/// takes an arrival for a retransmission.
pub fn write<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    let mut file = Vec::new();
    // Byte order, version 1.0, a section of unknown length.
    let mut header = Vec::new();
    header.extend(0x1a2b_3c4d_u32.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend(0_u16.to_le_bytes());
    header.extend(u64::MAX.to_le_bytes());
    block(&mut file, SECTION_HEADER, &header);
    for name in ["left", "right"] {
        interface(&mut file, name);
    }
    for record in records {
        packet(&mut file, record);
    }
    file
}

fn interface(file: &mut Vec<u8>, name: &str) {
    let mut body = Vec::new();
    body.extend(LINK_TYPE_RAW.to_le_bytes());
    body.extend([0; 2]);
    // No limit to a packet's length.
    body.extend(0_u32.to_le_bytes());
    option(&mut body, OPTION_INTERFACE_NAME, name.as_bytes());
    option(&mut body, OPTION_TIME_RESOLUTION, &[NANOSECONDS]);
    option(&mut body, OPTION_END, &[]);
    block(file, INTERFACE_DESCRIPTION, &body);
}

fn packet(file: &mut Vec<u8>, record: &Record) {
    let Record {
        at,
        side,
        passing,
        packet,
    } = record;
    let interface: u32 = match side {
        Side::Left => 0,
        Side::Right => 1,
    };
    let length = u32::try_from(packet.len()).expect("an IP packet is at most 64 KiB long");
    let time = at.as_nanos();
    let mut body = Vec::new();
    body.extend(interface.to_le_bytes());
    body.extend(((time >> 32) as u32).to_le_bytes());
    body.extend((time as u32).to_le_bytes());
    // Captured, and as it was on the wire.
    body.extend(length.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(&packet[..]);
    pad(&mut body);
    let (direction, remark) = match passing {
        Passing::In => (1_u32, ""),
        Passing::Out(fate) => (2, fate.remark()),
    };
    if !remark.is_empty() {
        option(&mut body, OPTION_COMMENT, remark.as_bytes());
    }
    option(&mut body, OPTION_PACKET_FLAGS, &direction.to_le_bytes());
    option(&mut body, OPTION_END, &[]);
    block(file, ENHANCED_PACKET, &body);
}

/// A block is told with its length on either side of its body.
fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = u32::try_from(12 + body.len()).expect("a block holds one packet");
    file.extend(kind.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(body);
    file.extend(length.to_le_bytes());
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("options are names and remarks");
    body.extend(code.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Everything in a block begins at a multiple of four.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::Instant;
    use crate::link::Fate;

    #[test]
    fn blocks_are_laid_out_as_the_draft_says() {
        let record = Record {
            at: Instant::default() + Duration::from_nanos(0x1_0000_0002),
            side: Side::Right,
            passing: Passing::Out(Fate::Lost),
            packet: Bytes::from_static(&[0x45, 1, 2, 3, 4]),
        };
        let file = write([&record]);
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four"));
        // The section header, then two interfaces.
        assert_eq!((word(0), word(4), word(24)), (SECTION_HEADER, 28, 28));
        assert_eq!(word(8), 0x1a2b_3c4d);
        let mut blocks = Vec::new();
        let mut at = 0;
        while at < file.len() {
            let length = word(at + 4) as usize;
            assert_eq!((length % 4, word(at + length - 4)), (0, length as u32));
            blocks.push((word(at), at));
            at += length;
        }
        let kinds: Vec<u32> = blocks.iter().map(|block| block.0).collect();
        assert_eq!(kinds, [SECTION_HEADER, 1, 1, 6]);
        let body = blocks[3].1 + 8;
        let fields: Vec<u32> = (0..5).map(|field| word(body + 4 * field)).collect();
        assert_eq!(fields, [1, 1, 2, 5, 5]);
        assert_eq!(file[body + 20..body + 28], [0x45, 1, 2, 3, 4, 0, 0, 0]);
        assert_eq!(file[body + 28..body + 36], *b"\x01\0\x04\0LOST");
    }
}
