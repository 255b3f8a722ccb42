//! What a connection sends next.

use super::Connection;
use crate::handshake;
use crate::sender::{Outgoing, Room};
use crate::seq::SequenceSpace;
use crate::state::State;
use crate::time::Instant;
use crate::transmit::Transmit;
use crate::wire::{Flags, Options, SackBlocks, Segment};

impl Connection {
    /// A reset, then the SYN, then data, which says what has arrived, and what of that does
    /// not fit beside it in a bare acknowledgement.
    pub(super) fn next_transmit(&mut self, now: Instant, segments_max: usize) -> Option<Transmit> {
        if self.reset.is_none() && self.state != State::Closed && self.handshake.is_none() {
            let stamp = self.timestamps.map(|state| state.option(now).value);
            let room = self.room(segments_max);
            let stats = &mut self.stats;
            if let Some(outgoing) = self.sender.poll_transmit(now, room, stamp, stats) {
                self.keep_alive_due = false;
                let segment_bytes = outgoing.segment_bytes;
                let segment = self.data_segment(now, outgoing);
                let ends = (self.local, self.remote);
                return Some(Transmit::new(ends.0, ends.1, segment, segment_bytes));
            }
        }
        let segment = self.next_without_data(now)?;
        Some(Transmit::new(self.local, self.remote, segment, 1))
    }

    fn next_without_data(&mut self, now: Instant) -> Option<Segment> {
        if let Some(reset) = self.reset.take() {
            self.stats.resets_sent += 1;
            return Some(*reset);
        }
        if self.state == State::Closed {
            return None;
        }
        if self.handshake.is_some() {
            return self.next_syn(now).or_else(|| self.handshake_ack(now));
        }
        if core::mem::take(&mut self.keep_alive_due) {
            return self.keep_alive_probe(now);
        }
        if self.is_ack_due(now) {
            self.bare_ack(now)
        } else {
            None
        }
    }

    /// What a segment has room for: while there are holes, new data leaves some for the blocks
    /// that tell of them. What goes out again keeps its length.
    fn room(&self, segments_max: usize) -> Room {
        let again = self.payload_max;
        let blocks = self.sack_option(again).wire_bytes();
        let new = again - if 2 * blocks <= again { blocks } else { 0 };
        // Segments that tell of holes are not alike: each says what the one before had no room for.
        let segments_max = if blocks > 0 { 1 } else { segments_max };
        Room {
            again,
            new,
            segments_max,
        }
    }

    /// The SACK blocks that fit into `bytes` beside the options that every segment has.
    fn sack_option(&self, bytes: u64) -> SackBlocks {
        let Some(receiver) = self.receiver.as_ref().filter(|_| self.has_sack_blocks()) else {
            return SackBlocks::default();
        };
        let others = if self.timestamps.is_some() {
            handshake::TIMESTAMPS_BYTES
        } else {
            0
        };
        let others = usize::try_from(others).unwrap_or(usize::MAX);
        let fit = SackBlocks::count_within(bytes).min(SackBlocks::count_beside(others));
        receiver.sack_blocks(fit)
    }

    fn next_syn(&mut self, now: Instant) -> Option<Segment> {
        let remote = self.remote.ip();
        let answers = self.state == State::SynReceived;
        let receiver = self.receiver.as_ref();
        let number = receiver.map(|receiver| receiver.space().number(SequenceSpace::ORIGIN + 1));
        let handshake = self
            .handshake
            .as_mut()
            .filter(|handshake| handshake.is_due())?;
        handshake.on_sent(now);
        let mut syn = Segment::new(
            self.sender.space().initial(),
            if answers { number } else { None },
        );
        syn.flags = Flags::SYN;
        syn.options = handshake.options(&self.config, self.timestamp_offset, remote, now);
        syn.window = handshake::window(&self.config);
        Some(syn)
    }

    fn is_ack_due(&self, now: Instant) -> bool {
        self.receiver
            .as_ref()
            .is_some_and(|receiver| receiver.is_ack_due(now))
    }

    fn has_sack_blocks(&self) -> bool {
        self.sender.has_sack()
            && self
                .receiver
                .as_ref()
                .is_some_and(|receiver| receiver.has_sack_blocks())
    }

    fn data_segment(&mut self, now: Instant, outgoing: Outgoing) -> Segment {
        let mut options = self.options(now);
        let left = self
            .payload_max
            .saturating_sub(outgoing.payload.len() as u64);
        options.sack = self.sack_option(left);
        let whole = !self.has_sack_blocks() || !options.sack.as_slice().is_empty();
        let mut segment = self.segment(outgoing.start, options, whole);
        if outgoing.push && !outgoing.payload.is_empty() {
            segment.flags = segment.flags | Flags::PSH;
        }
        if outgoing.fin {
            segment.flags = segment.flags | Flags::FIN;
        }
        segment.payload = outgoing.payload;
        segment
    }

    /// In SYN-RECEIVED, too, what is not acceptable is answered (RFC 9293 §3.10.7.4, first check).
    fn handshake_ack(&mut self, now: Instant) -> Option<Segment> {
        if self.state == State::SynReceived && self.is_ack_due(now) {
            self.bare_ack(now)
        } else {
            None
        }
    }

    /// SND.NXT, or what the peer takes for it.
    pub(super) fn acceptable_number(&self) -> u64 {
        if self.handshake.is_some() {
            SequenceSpace::ORIGIN + 1
        } else {
            self.sender.acceptable_number()
        }
    }

    fn bare_ack(&mut self, now: Instant) -> Option<Segment> {
        let mut options = self.options(now);
        options.sack = self.sack_option(u64::MAX);
        self.stats.pure_acks_sent += 1;
        Some(self.segment(self.acceptable_number(), options, true))
    }

    /// A segment that the peer has to answer: it lies before what it expects (RFC 9293 §3.8.4).
    fn keep_alive_probe(&mut self, now: Instant) -> Option<Segment> {
        self.receiver.as_ref()?;
        let options = self.options(now);
        Some(self.segment(self.sender.unacked() - 1, options, false))
    }

    /// The options that every segment has.
    fn options(&self, now: Instant) -> Options {
        Options {
            timestamps: self.timestamps.map(|state| state.option(now)),
            ..Options::default()
        }
    }

    /// A segment at `position` that acknowledges what has arrived.
    fn segment(&mut self, position: u64, options: Options, whole: bool) -> Segment {
        let seq = self.sender.space().number(position);
        let Some(receiver) = &mut self.receiver else {
            return Segment::new(seq, None);
        };
        let ack = receiver.space().number(receiver.next());
        let mut segment = Segment::new(seq, Some(ack));
        segment.options = options;
        segment.window = receiver.window_field();
        receiver.on_ack_sent(whole);
        segment
    }
}
