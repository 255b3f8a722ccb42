//! Sequence numbers on the wire, and the positions that stand for them inside.

/// A sequence number as it is on the wire: a point on a circle of 2^32.
///
/// It has no order, since of two points on a circle neither is the first:
/// `is_after` asks on which side of another it lies (RFC 9293 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNumber(u32);

impl SeqNumber {
    /// The number with these 32 bits.
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// Its 32 bits.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number `count` further on, around the circle.
    #[must_use]
    pub const fn advanced_by(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// The number `count` before this one, around the circle.
    #[must_use]
    pub const fn back_by(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }

    /// Whether this lies in the half circle behind `other`.
    #[must_use]
    pub const fn is_after(self, other: Self) -> bool {
        self.distance_from(other) > 0
    }

    /// How far this lies behind `other`; `None` if it lies before it.
    #[must_use]
    pub const fn span_since(self, other: Self) -> Option<u32> {
        let distance = self.distance_from(other);
        if distance < 0 {
            None
        } else {
            Some(distance.unsigned_abs())
        }
    }

    /// The shorter way from `other` to this, negative if it leads backwards.
    #[must_use]
    pub const fn distance_from(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

/// One direction's sequence numbers, unrolled: a 64-bit position for each.
///
/// Inside, everything is compared as positions, which do not wrap. The initial
/// sequence number is at `ORIGIN`, so that whatever lies half a circle before it
/// still has a position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SequenceSpace {
    initial: SeqNumber,
}

impl SequenceSpace {
    /// Where the SYN is; the first byte of data comes right behind it.
    pub(crate) const ORIGIN: u64 = 1 << 32;

    pub(crate) const fn new(initial: SeqNumber) -> Self {
        Self { initial }
    }

    pub(crate) const fn initial(self) -> SeqNumber {
        self.initial
    }

    /// The number on the wire for `position`.
    pub(crate) const fn number(self, position: u64) -> SeqNumber {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the wire has the low 32 bits only"
        )]
        let low = position as u32;
        self.initial.advanced_by(low)
    }

    /// The position of `number` that is nearest to `near`.
    pub(crate) const fn position(self, number: SeqNumber, near: u64) -> u64 {
        let distance = number.distance_from(self.number(near));
        near.saturating_add_signed(distance as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_the_shorter_way_around() {
        for (number, other, after, span) in [
            (5, 5, false, Some(0)),
            (6, 5, true, Some(1)),
            (5, 6, false, None),
            (0, u32::MAX, true, Some(1)),
            (u32::MAX, 0, false, None),
            (0x7fff_ffff, 0, true, Some(0x7fff_ffff)),
            (0x8000_0001, 0, false, None),
        ] {
            let (number, other) = (SeqNumber::new(number), SeqNumber::new(other));
            assert_eq!(number.is_after(other), after, "{number:?} {other:?}");
            assert_eq!(number.span_since(other), span, "{number:?} {other:?}");
        }
    }

    /// Behaviour 8: ISNs near 2^31 and 2^32, streams over 4 GiB.
    #[test]
    fn positions_survive_the_wrap() {
        for initial in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX] {
            let space = SequenceSpace::new(SeqNumber::new(initial));
            for sent in [0, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 32, (5 << 32) + 7] {
                let near = SequenceSpace::ORIGIN + sent;
                for off in [-0x7fff_ffff_i64, -1, 0, 1, 0x7fff_ffff] {
                    let position = near.saturating_add_signed(off);
                    let number = space.number(position);
                    assert_eq!(
                        space.position(number, near),
                        position,
                        "{initial} {sent} {off}"
                    );
                }
            }
        }
    }
}
