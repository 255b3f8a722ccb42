//! The options of a TCP header.

use alloc::vec::Vec;

use super::packet::ParseError;
use crate::seq::SeqNumber;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const USER_TIMEOUT: u8 = 28;

/// What the SACK option takes beside its blocks: two bytes of padding, kind and length.
const SACK_HEADER_BYTES: u64 = 4;
const SACK_BLOCK_BYTES: u64 = 8;

/// The options that this stack knows; others are skipped (RFC 9293 §3.1, MUST-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The largest payload that the sender of the SYN takes (RFC 9293 §3.7.1).
    pub mss: Option<u16>,
    /// By how many bits its windows are shifted, as it was sent (RFC 7323 §2.2).
    pub window_scale: Option<u8>,
    /// Whether it takes SACK blocks (RFC 2018 §2).
    pub sack_permitted: bool,
    /// The blocks that arrived (RFC 2018 §3), a duplicate first (RFC 2883).
    pub sack: SackBlocks,
    /// Timestamps (RFC 7323 §3.2).
    pub timestamps: Option<Timestamps>,
    /// How long the sender waits for acknowledgements (RFC 5482 §4).
    pub user_timeout: Option<UserTimeoutOption>,
}

/// Value and echo of a timestamps option, in ticks of whoever sent the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock (TSval).
    pub value: u32,
    /// What the sender echoes (TSecr); means something only with ACK set.
    pub echo: u32,
}

/// A user timeout as it is on the wire: 15 bits of seconds or minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserTimeoutOption {
    /// Whether `count` is in minutes and not in seconds.
    pub minutes: bool,
    /// 0 to 32,767; larger counts are cut off when encoded.
    pub count: u16,
}

/// A run of bytes that arrived: from `left`, up to but not including `right`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SackBlock {
    /// The first byte's number.
    pub left: SeqNumber,
    /// The number behind the last byte.
    pub right: SeqNumber,
}

/// Up to four SACK blocks, in the order in which they are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SackBlocks {
    blocks: [SackBlock; SackBlocks::COUNT_MAX],
    count: usize,
}

impl SackBlocks {
    /// More blocks do not fit into 40 bytes of options.
    pub const COUNT_MAX: usize = 4;

    /// Adds a block behind the others, unless there are four already.
    pub fn push(&mut self, block: SackBlock) {
        if let Some(place) = self.blocks.get_mut(self.count) {
            *place = block;
            self.count += 1;
        }
    }

    /// The blocks in order.
    #[must_use]
    pub fn as_slice(&self) -> &[SackBlock] {
        &self.blocks[..self.count]
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many blocks fit beside other options that take `other_bytes`.
    #[must_use]
    pub(crate) fn count_beside(other_bytes: usize) -> usize {
        Self::count_within(super::OPTIONS_BYTES_MAX.saturating_sub(other_bytes) as u64)
    }

    /// How many blocks fit into `bytes`, kind, length and padding included.
    #[must_use]
    pub(crate) fn count_within(bytes: u64) -> usize {
        let count = bytes.saturating_sub(SACK_HEADER_BYTES) / SACK_BLOCK_BYTES;
        usize::try_from(count).map_or(Self::COUNT_MAX, |count| count.min(Self::COUNT_MAX))
    }

    /// What the option takes in a segment, padding included; nothing without blocks.
    #[must_use]
    pub(crate) fn wire_bytes(&self) -> u64 {
        match self.count as u64 {
            0 => 0,
            count => SACK_HEADER_BYTES + count * SACK_BLOCK_BYTES,
        }
    }
}

impl FromIterator<SackBlock> for SackBlocks {
    fn from_iter<T: IntoIterator<Item = SackBlock>>(blocks: T) -> Self {
        let mut all = Self::default();
        for block in blocks {
            all.push(block);
        }
        all
    }
}

impl Options {
    /// The bytes that these options take in a header, padding included.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        if *self
            == (Self {
                timestamps: self.timestamps,
                ..Self::default()
            })
        {
            // What nearly every segment has.
            return self.timestamps.map_or(0, |_| 12);
        }
        let mut counted = Vec::new();
        self.encode(&mut counted);
        counted.len()
    }

    /// Appends the options, padded to whole words; SACK blocks only as far as they fit.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            mss,
            window_scale,
            sack_permitted,
            sack,
            timestamps,
            user_timeout,
        } = self;
        let start = out.len();
        if let Some(mss) = mss {
            out.extend([MSS, 4]);
            out.extend(mss.to_be_bytes());
        }
        if let Some(shift) = window_scale {
            out.extend([NO_OPERATION, WINDOW_SCALE, 3, *shift]);
        }
        if *sack_permitted {
            out.extend([SACK_PERMITTED, 2]);
        }
        if let Some(Timestamps { value, echo }) = timestamps {
            if !*sack_permitted {
                out.extend([NO_OPERATION; 2]);
            }
            out.extend([TIMESTAMPS, 10]);
            out.extend(value.to_be_bytes());
            out.extend(echo.to_be_bytes());
        }
        if let Some(UserTimeoutOption { minutes, count }) = user_timeout {
            out.extend([USER_TIMEOUT, 4]);
            let field = u16::from(*minutes) << 15 | (*count).min(0x7fff);
            out.extend(field.to_be_bytes());
        }
        let fitting = SackBlocks::count_beside((out.len() - start).next_multiple_of(4));
        let blocks = sack.as_slice();
        encode_sack(&blocks[..blocks.len().min(fitting)], out);
        while !(out.len() - start).is_multiple_of(4) {
            out.push(END);
        }
    }

    /// Timestamps and nothing else, if that is what there is.
    #[inline]
    pub(super) fn parse_timestamps(options: &[u8; 12]) -> Option<Self> {
        let &[
            NO_OPERATION,
            NO_OPERATION,
            TIMESTAMPS,
            10,
            v0,
            v1,
            v2,
            v3,
            e0,
            e1,
            e2,
            e3,
        ] = options
        else {
            return None;
        };
        Some(Self {
            timestamps: Some(Timestamps {
                value: u32::from_be_bytes([v0, v1, v2, v3]),
                echo: u32::from_be_bytes([e0, e1, e2, e3]),
            }),
            ..Self::default()
        })
    }

    /// Reads the options between the header and the data.
    ///
    /// # Errors
    /// `BadOptionLength` if one ends before it begins or behind the header (MUST-7).
    pub(super) fn parse(mut rest: &[u8]) -> Result<Self, ParseError> {
        let mut options = Self::default();
        while let Some((&kind, tail)) = rest.split_first() {
            match kind {
                END => break,
                NO_OPERATION => rest = tail,
                _ => {
                    let length = usize::from(*tail.first().ok_or(ParseError::BadOptionLength)?);
                    if length < 2 || length > rest.len() {
                        return Err(ParseError::BadOptionLength);
                    }
                    let (option, behind) = rest.split_at(length);
                    options.take(kind, &option[2..]);
                    rest = behind;
                }
            }
        }
        Ok(options)
    }

    /// Takes one option; one that we do not know, or of a wrong length, changes nothing.
    fn take(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (SACK, blocks) if blocks.len().is_multiple_of(8) => {
                let (blocks, _) = blocks.as_chunks::<8>();
                self.sack = blocks.iter().map(parse_block).collect();
            }
            (TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
                self.timestamps = Some(Timestamps {
                    value: u32::from_be_bytes([v0, v1, v2, v3]),
                    echo: u32::from_be_bytes([e0, e1, e2, e3]),
                });
            }
            (USER_TIMEOUT, &[high, low]) => {
                let field = u16::from_be_bytes([high, low]);
                self.user_timeout = Some(UserTimeoutOption {
                    minutes: field >> 15 == 1,
                    count: field & 0x7fff,
                });
            }
            _ => {}
        }
    }
}

fn encode_sack(blocks: &[SackBlock], out: &mut Vec<u8>) {
    let Ok(count) = u8::try_from(blocks.len()) else {
        return;
    };
    if count == 0 {
        return;
    }
    out.extend([NO_OPERATION, NO_OPERATION, SACK, 2 + 8 * count]);
    for SackBlock { left, right } in blocks {
        out.extend(left.get().to_be_bytes());
        out.extend(right.get().to_be_bytes());
    }
}

fn parse_block(bytes: &[u8; 8]) -> SackBlock {
    let [l0, l1, l2, l3, r0, r1, r2, r3] = *bytes;
    SackBlock {
        left: SeqNumber::new(u32::from_be_bytes([l0, l1, l2, l3])),
        right: SeqNumber::new(u32::from_be_bytes([r0, r1, r2, r3])),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn block(left: u32, right: u32) -> SackBlock {
        SackBlock {
            left: SeqNumber::new(left),
            right: SeqNumber::new(right),
        }
    }

    fn check(options: Options, wire: &[u8]) {
        let mut bytes = Vec::new();
        options.encode(&mut bytes);
        assert_eq!(bytes, wire, "{options:?}");
        assert_eq!(Options::parse(wire), Ok(options));
        assert_eq!(options.wire_bytes(), wire.len());
    }

    #[test]
    fn a_syn_carries_everything_in_twenty_bytes() {
        check(
            Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some(Timestamps { value: 1, echo: 2 }),
                ..Options::default()
            },
            &[
                2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2,
            ],
        );
    }

    #[test]
    fn an_acknowledgement_carries_three_blocks_beside_timestamps() {
        let timestamps = Some(Timestamps { value: 1, echo: 2 });
        let sack: SackBlocks = [block(1, 2), block(3, 4), block(5, 6), block(7, 8)]
            .into_iter()
            .collect();
        let options = Options {
            timestamps,
            sack,
            ..Options::default()
        };
        assert_eq!(options.wire_bytes(), 40);
        let mut bytes = Vec::new();
        options.encode(&mut bytes);
        let parsed = Options::parse(&bytes).unwrap();
        assert_eq!(parsed.sack.as_slice(), &sack.as_slice()[..3]);
    }

    #[test]
    fn a_user_timeout_keeps_its_unit() {
        let user_timeout = Some(UserTimeoutOption {
            minutes: true,
            count: 5,
        });
        let options = Options {
            user_timeout,
            ..Options::default()
        };
        check(options, &[28, 4, 0x80, 5]);
    }

    /// Behaviour 20: unknown options are tolerated, as RFC 9293 §3.1 (MUST-6) asks.
    #[test]
    fn unknown_options_are_skipped() {
        let wire = [254, 4, 9, 9, 2, 4, 5, 180, 30, 3, 1, 0, 99];
        let options = Options::parse(&wire).unwrap();
        assert_eq!(
            options,
            Options {
                mss: Some(1460),
                ..Options::default()
            }
        );
    }

    #[test]
    fn a_known_option_of_a_wrong_length_is_skipped() {
        for wire in [
            vec![2, 3, 5],
            vec![3, 2],
            vec![8, 4, 1, 2],
            vec![5, 5, 1, 2, 3],
        ] {
            assert_eq!(Options::parse(&wire), Ok(Options::default()), "{wire:?}");
        }
    }

    #[test]
    fn an_illegal_length_is_an_error() {
        for wire in [
            &[2_u8][..],
            &[2, 0],
            &[2, 1],
            &[2, 5, 1, 1],
            &[1, 1, 254, 3],
        ] {
            assert_eq!(
                Options::parse(wire),
                Err(ParseError::BadOptionLength),
                "{wire:?}"
            );
        }
    }
}
