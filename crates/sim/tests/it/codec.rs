//! The product's codec and this crate's own one, on packets that were valid before something
//! happened to them: neither panics, and they agree on every field.

use bytes::Bytes;
use packhorse_sim::random::Random;
use packhorse_sim::wire::{Flags, TcpOption, TcpPacket};
use packhorse_tcp::{Packet, Timestamps};

const PACKETS: u64 = 200_000;

#[test]
fn both_codecs_read_the_same() {
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    for seed in 0..PACKETS {
        let mut random = Random::new(seed);
        let mut bytes = draw_packet(&mut random).encode().to_vec();
        for _ in 0..random.below(4) {
            damage(&mut bytes, &mut random);
        }
        if random.chance(900_000) {
            mend_checksums(&mut bytes);
        }
        match check(seed, &Bytes::from(bytes)) {
            true => accepted += 1,
            false => refused += 1,
        }
    }
    assert!(accepted > PACKETS / 4, "{accepted} packets were read");
    assert!(refused > PACKETS / 4, "{refused} packets were refused");
}

/// Whether the packet is one. The product may read more than we do, never less or otherwise: it
/// skips IPv6 extension headers and cuts off what the link added.
fn check(seed: u64, bytes: &Bytes) -> bool {
    let ours = TcpPacket::decode(bytes);
    let parsed = Packet::parse(bytes);
    if let (Ok(ours), Ok(packet)) = (&ours, &parsed) {
        compare(seed, ours, packet);
    }
    if let (Ok(ours), Err(error)) = (&ours, &parsed) {
        panic!("seed {seed}: the codec refuses ({error}) {ours:?}");
    }
    let Ok(mut packet) = parsed else {
        return false;
    };
    // What was read can be written, and is read the same again; only of SACK blocks the last ones
    // may be left out, since we align what others need not.
    let mut written = Vec::new();
    packet.encode(&mut written);
    let written = Bytes::from(written);
    let again = Packet::parse(&written);
    let again = again.unwrap_or_else(|error| panic!("seed {seed}: {error} in {written:?}"));
    let blocks = again.segment.options.sack;
    let all = packet.segment.options.sack;
    assert!(all.as_slice().starts_with(blocks.as_slice()), "seed {seed}");
    packet.segment.options.sack = blocks;
    assert_eq!(again, packet, "seed {seed}");
    let ours = TcpPacket::decode(&written);
    let ours = ours.unwrap_or_else(|error| panic!("seed {seed}: {error} in {written:?}"));
    compare(seed, &ours, &packet);
    true
}

fn compare(seed: u64, ours: &TcpPacket, packet: &Packet) {
    let segment = &packet.segment;
    assert_eq!(ours.source, packet.source, "seed {seed}");
    assert_eq!(ours.destination, packet.destination, "seed {seed}");
    assert_eq!(ours.seq, segment.seq.get(), "seed {seed}");
    let ack = ours.flags.has(Flags::ACK).then_some(ours.ack);
    assert_eq!(ack, segment.ack.map(|ack| ack.get()), "seed {seed}");
    assert_eq!(ours.window, segment.window, "seed {seed}");
    assert_eq!(ours.urgent, segment.urgent, "seed {seed}");
    assert_eq!(ours.payload, segment.payload, "seed {seed}");
    for (flag, theirs) in [
        (Flags::FIN, packhorse_tcp::Flags::FIN),
        (Flags::SYN, packhorse_tcp::Flags::SYN),
        (Flags::RST, packhorse_tcp::Flags::RST),
        (Flags::PSH, packhorse_tcp::Flags::PSH),
        (Flags(0x20), packhorse_tcp::Flags::URG),
        (Flags(0x40), packhorse_tcp::Flags::ECE),
        (Flags(0x80), packhorse_tcp::Flags::CWR),
        (Flags(0x100), packhorse_tcp::Flags::AE),
    ] {
        assert_eq!(
            ours.flags.has(flag),
            segment.flags.contains(theirs),
            "seed {seed}"
        );
    }
    // Where an option comes twice it is for the reader to choose; then there is nothing to compare.
    let kinds = |kind: fn(&TcpOption) -> bool| ours.options.iter().filter(|o| kind(o)).count();
    if kinds(|o| matches!(o, TcpOption::Mss(_))) == 1 {
        assert!(
            ours.options
                .contains(&TcpOption::Mss(segment.options.mss.unwrap_or(0)))
        );
    }
    if kinds(|o| matches!(o, TcpOption::Timestamps { .. })) == 1 {
        let Some(Timestamps { value, echo }) = segment.options.timestamps else {
            panic!("seed {seed}: no timestamps in {segment:?}");
        };
        assert!(
            ours.options
                .contains(&TcpOption::Timestamps { value, echo })
        );
    }
    if kinds(|o| matches!(o, TcpOption::Sack(_))) == 1 {
        let blocks = segment.options.sack.as_slice();
        let blocks = blocks
            .iter()
            .map(|block| (block.left.get(), block.right.get()));
        assert!(
            ours.options.contains(&TcpOption::Sack(blocks.collect())),
            "seed {seed}"
        );
    }
}

fn draw_packet(random: &mut Random) -> TcpPacket {
    let is_ipv6 = random.chance(500_000);
    let [source, destination] = if is_ipv6 {
        ["[2001:db8::1]:80", "[fd3d::2]:4000"]
    } else {
        ["192.0.2.1:80", "192.168.0.1:4000"]
    };
    let mut options = Vec::new();
    let mut room = 40;
    for _ in 0..random.below(5) {
        let option = match random.below(6) {
            0 => TcpOption::Mss(random.next_u64() as u16),
            1 => TcpOption::WindowScale(random.next_u64() as u8),
            2 => TcpOption::SackPermitted,
            3 => TcpOption::Sack(
                (0..random.between(1..=3))
                    .map(|_| (random.next_u64() as u32, random.next_u64() as u32))
                    .collect(),
            ),
            4 => TcpOption::Timestamps {
                value: random.next_u64() as u32,
                echo: random.next_u64() as u32,
            },
            _ => TcpOption::Other(
                random.between(30..=255) as u8,
                vec![7; random.below(10) as usize],
            ),
        };
        let takes = match &option {
            TcpOption::Sack(blocks) => 2 + blocks.len() * 8,
            TcpOption::Other(_, body) => 2 + body.len(),
            TcpOption::Timestamps { .. } => 10,
            TcpOption::Mss(_) => 4,
            TcpOption::WindowScale(_) => 3,
            TcpOption::SackPermitted => 2,
        };
        if takes <= room {
            room -= takes;
            options.push(option);
        }
    }
    TcpPacket {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        seq: random.next_u64() as u32,
        ack: random.next_u64() as u32,
        flags: Flags(random.next_u64() as u16 & 0x1ff),
        window: random.next_u64() as u16,
        urgent: random.next_u64() as u16,
        options,
        payload: vec![0x5a; random.below(60) as usize].into(),
    }
}

/// Changes a byte, most often in a header, or the length.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    match random.below(8) {
        0 => {
            let length = random.below(bytes.len() as u64 + 1) as usize;
            bytes.truncate(length);
        }
        1 => bytes.push(random.next_u64() as u8),
        _ => {
            let most = bytes.len().min(110) as u64;
            let place = random.below(most) as usize;
            bytes[place] =
                random.pick(&[0, 1, 2, 5, 8, 0x40, 0xff, random.clone().next_u64() as u8]);
        }
    }
}

/// Makes the sums right again, so that what lies behind their check is reached.
fn mend_checksums(bytes: &mut [u8]) {
    let (header, addresses) = match bytes.first().map(|first| first >> 4) {
        Some(4) => (usize::from(bytes[0] & 0xf) * 4, 12..20),
        Some(6) => (40, 8..40),
        _ => return,
    };
    if bytes.len() < header.max(addresses.end) + 20 || header < 20 {
        return;
    }
    if addresses.end == 20 {
        bytes[10..12].fill(0);
        let sum = sum_of(&bytes[..header]);
        bytes[10..12].copy_from_slice(&(!fold(sum)).to_be_bytes());
    }
    let length = bytes.len() - header;
    let pseudo = sum_of(&bytes[addresses]) + length as u64 + 6;
    bytes[header + 16..header + 18].fill(0);
    let sum = !fold(pseudo + sum_of(&bytes[header..]));
    bytes[header + 16..header + 18].copy_from_slice(&sum.to_be_bytes());
}

fn sum_of(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    words
        .map(|pair| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low)))
        .sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
