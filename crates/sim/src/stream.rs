//! What the two sides tell each other: streams whose every byte follows from its place.

/// The stream of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What the left side sends.
    Left,
    /// What the right side sends.
    Right,
}

impl Stream {
    /// `length` bytes of the stream from `offset` on.
    #[must_use]
    pub fn bytes(self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        let mut word = offset / 8;
        while bytes.len() < length + (offset % 8) as usize {
            bytes.extend(self.word(word).to_le_bytes());
            word += 1;
        }
        bytes.drain(..(offset % 8) as usize);
        bytes.truncate(length);
        bytes
    }

    /// Where `bytes`, read at `offset`, first differ from the stream.
    #[must_use]
    pub fn difference(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let expected = self.bytes(offset, bytes.len());
        let place = expected.iter().zip(bytes).position(|(a, b)| a != b)?;
        Some(offset + place as u64)
    }

    /// Eight bytes that repeat nowhere in a stream of any length that is sent here.
    fn word(self, index: u64) -> u64 {
        let salt = match self {
            Self::Left => 0x5851_f42d_4c95_7f2d,
            Self::Right => 0x1405_7b7e_f767_814f,
        };
        let mixed = (index.wrapping_add(salt)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_is_a_part_of_the_whole() {
        let whole = Stream::Left.bytes(0, 100);
        for offset in 0..100 {
            for length in 0..=100 - offset {
                let part = Stream::Left.bytes(offset as u64, length);
                assert_eq!(part, whole[offset..offset + length]);
            }
        }
        assert_ne!(whole, Stream::Right.bytes(0, 100));
    }

    #[test]
    fn a_difference_is_found_at_its_place() {
        let mut bytes = Stream::Right.bytes(1000, 50);
        assert_eq!(Stream::Right.difference(1000, &bytes), None);
        bytes[7] ^= 1;
        assert_eq!(Stream::Right.difference(1000, &bytes), Some(1007));
        assert_eq!(Stream::Right.difference(1001, &bytes[1..]), Some(1007));
        assert!(Stream::Right.difference(1008, &bytes[1..]).is_some());
    }
}
