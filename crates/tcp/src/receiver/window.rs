//! The window that the peer is offered (RFC 9293 §3.8.6.2.2).

use core::ops::RangeInclusive;

/// The largest shift; larger ones count as this (RFC 7323 §2.3).
pub(crate) const SHIFT_MAX: u8 = 14;

/// The largest window: 65,535 shifted by 14 (RFC 7323 §2.2).
const WINDOW_BYTES_MAX: u32 = (u16::MAX as u32) << SHIFT_MAX;

/// What was promised, and what there is room for.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// Behind the last position that the peer may use; it never moves back (SHLD-14).
    edge: u64,
    /// What may be held, promised or not; it begins with `initial`.
    capacity: u64,
    initial: u32,
    /// The most that it grows to.
    limit: u32,
    mss: u32,
    shift: u8,
}

/// The shift with which a buffer of `capacity` can be offered in full.
pub(crate) fn shift_for(capacity: u64) -> u8 {
    let mut shift = 0;
    while shift < SHIFT_MAX && u64::from(u16::MAX) << shift < capacity {
        shift += 1;
    }
    shift
}

impl ReceiveWindow {
    /// The window of a SYN, which is not scaled, was offered from `next` on.
    ///
    /// At first the start of `held` may be held, bytes, and its end at most, however it grows.
    pub(super) fn new(next: u64, held: RangeInclusive<u64>, mss: u64, shift: u8) -> Self {
        let shift = shift.min(SHIFT_MAX);
        let clip = |bytes: u64| {
            u32::try_from(bytes)
                .unwrap_or(u32::MAX)
                .min(WINDOW_BYTES_MAX)
        };
        let initial = clip(*held.start());
        Self {
            edge: next + u64::from(initial.min(u16::MAX.into())),
            capacity: initial.into(),
            initial,
            // More than the window can tell of is of no use.
            limit: clip(*held.end())
                .min(u32::from(u16::MAX) << shift)
                .max(initial),
            mss: clip(mss),
            shift,
        }
    }

    /// What may be held.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// By how much that is more than at first.
    pub(super) fn grown(&self) -> u64 {
        self.capacity.saturating_sub(self.initial.into())
    }

    /// Holds `wanted` bytes from now on if it held less, with at most `spare` bytes more.
    ///
    /// With nothing to spare, it gives back what is far more than it wants and has `held`.
    pub(super) fn resize(&mut self, wanted: u64, held: u64, spare: u64) {
        let wanted = wanted.min(self.limit.into());
        if wanted > self.capacity {
            self.capacity += (wanted - self.capacity).min(spare);
        } else if spare == 0 && wanted < self.capacity / 2 {
            self.give_back(wanted.max(held));
        }
    }

    /// Holds no more than `wanted` bytes from now on, or what it began with.
    ///
    /// What was promised stays so (RFC 9293 §3.8.6, SHLD-14): the edge waits until there is room
    /// before it.
    pub(super) fn give_back(&mut self, wanted: u64) {
        self.capacity = self.capacity.min(wanted.max(self.initial.into()));
    }

    /// Behind the last position that there is room for, with `unread` bytes before `next`: the
    /// edge, unless some of the room before it was given back.
    pub(super) fn room_end(&self, next: u64, unread: u64) -> u64 {
        self.edge.min(self.promise_end(next, unread))
    }

    /// Behind the last position that may be promised: to the unit of the scale, which is the most
    /// that rounding up adds.
    fn promise_end(&self, next: u64, unread: u64) -> u64 {
        next.saturating_sub(unread) + self.capacity + (1 << self.shift)
    }

    pub(super) fn shift(&self) -> u8 {
        self.shift
    }

    pub(super) fn edge(&self) -> u64 {
        self.edge
    }

    /// The window field of a segment with `next` acknowledged and `unread` bytes held.
    ///
    /// Behaviour 7: the edge moves by a segment or half of the buffer, or not at all.
    pub(super) fn field(&mut self, next: u64, unread: u64) -> u16 {
        let wanted = self.offer_end(next, unread);
        let target = if wanted >= self.edge + self.step() {
            wanted
        } else {
            self.edge
        };
        let unit = 1_u64 << self.shift;
        let mut field = target.saturating_sub(next) >> self.shift;
        // Rounding down would take back what was promised; rounding up would, byte by
        // byte, promise more than the buffer holds, so it may do so by one unit only.
        let end = self.promise_end(next, unread);
        if next + field * unit < self.edge && next + (field + 1) * unit <= end {
            field += 1;
        }
        let field = u16::try_from(field).unwrap_or(u16::MAX);
        self.edge = self.edge.max(next + u64::from(field) * unit);
        field
    }

    /// Whether a reader has made so much room that the peer should hear of it.
    pub(super) fn is_update_due(&self, next: u64, unread: u64) -> bool {
        let gained = self.offer_end(next, unread).saturating_sub(self.edge);
        let left = self.edge.saturating_sub(next);
        let worth = if left < 2 * u64::from(self.mss) {
            self.step()
        } else {
            self.step().max(self.capacity.min(self.told_max()) / 4)
        };
        gained >= worth
    }

    /// Behind the last position that there is room for and the window can tell of.
    ///
    /// More than it can tell of would be an update that is always due, and says nothing: to the
    /// peer a duplicate acknowledgement, three of which stand for a loss (RFC 5681 §2).
    fn offer_end(&self, next: u64, unread: u64) -> u64 {
        next + self.capacity.saturating_sub(unread).min(self.told_max())
    }

    /// The largest window that the field can tell of.
    fn told_max(&self) -> u64 {
        u64::from(u16::MAX) << self.shift
    }

    /// The least by which the edge moves (RFC 9293 §3.8.6.2.2, MUST-39).
    fn step(&self) -> u64 {
        (self.capacity / 2).min(self.mss.into()).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shift_fits_the_buffer() {
        for (capacity, shift) in [
            (0, 0),
            (65_535, 0),
            (65_536, 1),
            (1 << 20, 5),
            (u64::MAX, SHIFT_MAX),
        ] {
            assert_eq!(shift_for(capacity), shift, "{capacity}");
        }
    }

    /// RFC 9293 §3.8.6.2.2 (MUST-39): by a segment, or by half of a small buffer.
    #[test]
    fn the_edge_moves_by_a_segment_or_not_at_all() {
        let mut window = ReceiveWindow::new(1_000, 10_000..=10_000, 1_460, 0);
        assert_eq!(window.field(1_000, 0), 10_000);
        assert_eq!(window.field(3_000, 2_000), 8_000);
        assert_eq!(
            window.field(3_000, 600),
            8_000,
            "1,400 bytes are not worth it"
        );
        assert_eq!(window.field(3_000, 500), 9_500);
        let mut small = ReceiveWindow::new(1_000, 1_000..=1_000, 1_460, 0);
        assert_eq!(small.field(2_000, 1_000), 0);
        assert_eq!(small.field(2_000, 501), 0);
        assert_eq!(small.field(2_000, 500), 500);
    }

    #[test]
    fn an_update_is_due_once_it_is_worth_a_segment() {
        let mut window = ReceiveWindow::new(1_000, 10_000..=10_000, 1_000, 0);
        assert_eq!(window.field(11_000, 10_000), 0);
        assert!(!window.is_update_due(11_000, 9_001));
        assert!(window.is_update_due(11_000, 9_000));
        assert_eq!(window.field(11_000, 5_000), 5_000);
        assert!(
            !window.is_update_due(11_000, 4_000),
            "the peer can still send"
        );
        assert!(window.is_update_due(11_000, 2_500));
        assert_eq!(window.field(14_000, 8_000), 2_000);
        assert!(
            !window.is_update_due(14_000, 6_000),
            "it can send two segments"
        );
        assert_eq!(window.field(14_001, 8_001), 1_999);
        assert!(window.is_update_due(14_001, 6_001));
    }

    /// As long as the unit that is rounded up to is one that may be promised, to its last byte.
    #[test]
    fn rounding_up_keeps_what_was_promised() {
        let mut window = ReceiveWindow::new(1_000, 10_000..=10_000, 1_460, 2);
        for (next, edge) in [
            (1_000, 11_000),
            (1_001, 11_001),
            (1_002, 11_002),
            (1_003, 11_003),
            (1_004, 11_004),
            (1_005, 11_004),
        ] {
            let field = window.field(next, next - 1_000);
            assert_eq!(window.edge(), edge, "{next}");
            let offered = next + 4 * u64::from(field);
            assert_eq!(offered, if next < 1_005 { edge } else { 11_001 }, "{next}");
        }
    }

    /// A reader that never reads, and a peer that fills the window byte by byte: what was
    /// promised stays promised, and no more than a unit beyond the buffer.
    #[test]
    fn rounding_neither_takes_back_nor_runs_away() {
        for shift in [0, 5, 14] {
            let capacity = 100_000;
            let mut window = ReceiveWindow::new(1_000, capacity..=capacity, 1_460, shift);
            let mut next = 1_000;
            let mut edge = window.edge();
            for _ in 0..200_000 {
                window.field(next, next - 1_000);
                assert!(window.edge() >= edge);
                edge = window.edge();
                if next < edge {
                    next += 1;
                }
            }
            assert!(edge - 1_000 <= capacity + (1 << shift), "{shift}: {edge}");
        }
    }
    /// RFC 9293 §3.8.6 (SHLD-14): what is given back was not promised, or is waited for.
    #[test]
    fn the_edge_never_moves_back() {
        let mut window = ReceiveWindow::new(1_000, 50_000..=200_000, 1_460, 2);
        window.resize(500_000, 0, 100_000);
        assert_eq!((window.capacity(), window.grown()), (150_000, 100_000));
        window.field(1_000, 0);
        let edge = window.edge();
        assert_eq!(edge, 151_000);
        window.resize(60_000, 0, 1);
        assert_eq!(window.capacity(), 150_000, "nobody else needs it");
        window.resize(75_000, 0, 0);
        assert_eq!(window.capacity(), 150_000, "half of it is much of it");
        window.resize(60_000, 70_000, 0);
        assert_eq!(window.capacity(), 70_000, "so much is held");
        window.give_back(0);
        assert_eq!((window.capacity(), window.grown()), (50_000, 0));
        for (next, unread, room) in [
            (1_000, 0, 51_004),
            (50_000, 20_000, 80_004),
            (101_000, 4, edge),
        ] {
            window.field(next, unread);
            assert_eq!(window.edge(), edge, "{next}");
            assert_eq!(window.room_end(next, unread), room, "{next}");
        }
        window.field(110_000, 0);
        assert_eq!(window.edge(), 160_000);
        assert_eq!(window.room_end(110_000, 0), 160_000);
    }

    /// RFC 7323 §2.3: a window that is not scaled tells of 65,535 bytes.
    #[test]
    fn it_grows_no_further_than_the_scale_lets_it() {
        let mut window = ReceiveWindow::new(1_000, 10_000..=1 << 20, 1_460, 0);
        window.resize(u64::MAX, 0, u64::MAX);
        assert_eq!(window.capacity(), 65_535);
    }
}
