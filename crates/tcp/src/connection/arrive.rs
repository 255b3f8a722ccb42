//! A segment arrives in any state but CLOSED and SYN-SENT (RFC 9293 §3.10.7.4).

use super::Connection;
use crate::event::{Event, Failure};
use crate::handshake::Role;
use crate::receiver::Echo;
use crate::sender::{Ack, AckClass};
use crate::seq::SequenceSpace;
use crate::state::State;
use crate::time::Instant;
use crate::timestamps;
use crate::wire::{Flags, Segment, Timestamps};

/// What is done with a segment before its acknowledgement and its data are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Drop,
    /// Dropped, and answered with what we expect.
    Answer,
    /// Dropped, and answered to make sure that it was meant (RFC 5961).
    Challenge,
    /// The peer has not seen our SYN: it goes out again.
    RepeatSyn,
    /// The connection is over.
    Reset,
    /// The segment is acceptable.
    Process,
}

/// Where a segment lies in the peer's sequence space.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The position of its first byte of data, behind its SYN if it has one.
    start: u64,
    /// Behind its data, without a FIN.
    end: u64,
    /// Behind all that takes sequence space.
    behind: u64,
    next: u64,
    edge: u64,
}

impl Connection {
    pub(super) fn arrive(&mut self, now: Instant, segment: &mut Segment) {
        let Some(place) = self.place(segment) else {
            return;
        };
        if self.is_paws_rejected(now, segment) {
            self.stats.paws_dropped += 1;
            self.answer(now, segment);
            return;
        }
        match self.judge(segment, &place) {
            Verdict::Drop => {}
            Verdict::Answer => {
                self.note_duplicate(now, segment, &place);
                self.answer(now, segment);
            }
            Verdict::Challenge => self.challenge(now),
            Verdict::RepeatSyn => {
                if let Some(handshake) = &mut self.handshake {
                    handshake.repeat(now);
                }
            }
            Verdict::Reset => self.fail_by_reset(),
            Verdict::Process => self.process(now, segment, &place),
        }
    }

    /// Fifth check and on: the segment is acceptable.
    fn process(&mut self, now: Instant, segment: &mut Segment, place: &Place) {
        if !self.take_ack(now, segment, place) {
            return;
        }
        self.keep_alive.on_heard(now);
        self.challenges.on_agreement();
        // Only now: whoever guesses a number within the window, but not what we have sent
        // (RFC 5961 §5), would have PAWS drop all that the peer sends from here on.
        let stamp = segment.options.timestamps;
        if let (Some(state), Some(stamp), Some(receiver)) =
            (&mut self.timestamps, stamp, &self.receiver)
        {
            state.update(stamp.value, place.start, receiver.last_ack_sent(), now);
        }
        self.follow_our_fin(now);
        if self.state != State::Closed {
            self.take_text(now, segment, place.start);
        }
    }

    fn place(&self, segment: &Segment) -> Option<Place> {
        let receiver = self.receiver.as_ref()?;
        let (next, edge) = (receiver.next(), receiver.edge());
        let syn = u64::from(segment.flags.contains(Flags::SYN));
        let at = receiver.space().position(segment.seq, next);
        let start = at + syn;
        let end = start + segment.payload.len() as u64;
        Some(Place {
            start,
            end,
            behind: at + segment.sequence_bytes(),
            next,
            edge,
        })
    }

    /// PAWS, and timestamps that are missing (RFC 7323 §3.2, §5.3).
    fn is_paws_rejected(&self, now: Instant, segment: &Segment) -> bool {
        let Some(state) = &self.timestamps else {
            return false;
        };
        if segment.flags.contains(Flags::RST) {
            return false;
        }
        match segment.options.timestamps {
            Some(stamp) => state.is_old(stamp.value, now),
            // DEVIATION: RFC 7323 §3.2 would have it dropped in silence. Boxes that strip
            // options in the middle of a connection exist, and the rest of the checks
            // stands; only what has a timestamp is protected by it.
            None => false,
        }
    }

    /// First to fourth check.
    fn judge(&self, segment: &Segment, place: &Place) -> Verdict {
        let flags = segment.flags;
        if let Some(verdict) = self.judge_handshake(segment, place) {
            return verdict;
        }
        if flags.contains(Flags::RST) {
            return self.judge_reset(segment, place);
        }
        if flags.contains(Flags::SYN) {
            // RFC 5961 §4.2: whatever its number is.
            return Verdict::Challenge;
        }
        if !place.is_acceptable() {
            return Verdict::Answer;
        }
        if segment.ack.is_none() {
            return Verdict::Drop;
        }
        Verdict::Process
    }

    /// A SYN that repeats the one that began this connection.
    fn judge_handshake(&self, segment: &Segment, place: &Place) -> Option<Verdict> {
        let first = SequenceSpace::ORIGIN + 1;
        let repeats = self.handshake.is_some()
            && segment.flags.contains(Flags::SYN)
            && !segment.flags.contains(Flags::RST)
            && place.start == first;
        if !repeats {
            return None;
        }
        // RFC 9293 §3.5, figure 7: in a simultaneous open, the SYN comes again with the
        // acknowledgement of ours.
        Some(if segment.ack.is_some() {
            Verdict::Process
        } else {
            Verdict::RepeatSyn
        })
    }

    /// RFC 9293 §3.10.7.4, second check, as RFC 5961 §3.2 and RFC 1337 have it.
    ///
    /// Its own number counts, also if there is a SYN beside it.
    fn judge_reset(&self, segment: &Segment, place: &Place) -> Verdict {
        let syn = u64::from(segment.flags.contains(Flags::SYN));
        let at = place.start - syn;
        if self.state == State::TimeWait {
            // RFC 1337 §3, fix F1: TIME-WAIT must not be cut short.
            Verdict::Drop
        } else if at == place.next {
            Verdict::Reset
        } else if place.next < at && at < place.edge {
            Verdict::Challenge
        } else {
            Verdict::Drop
        }
    }

    fn fail_by_reset(&mut self) {
        let refused = self.state == State::SynReceived
            && self
                .handshake
                .as_ref()
                .is_some_and(|handshake| handshake.role() == Role::Simultaneous);
        self.fail(if refused {
            Failure::Refused
        } else {
            Failure::Reset
        });
    }

    /// Tells the sender of duplicates by D-SACK (RFC 2883 §4).
    fn note_duplicate(&mut self, now: Instant, segment: &Segment, place: &Place) {
        if let Some(receiver) = &mut self.receiver
            && place.end > place.start
            && place.end <= place.next
            && !self.reader_gone
            && self.state != State::TimeWait
        {
            self.stats.duplicate_segments += 1;
            receiver.take(place.start, segment.payload.clone(), false, now);
        }
        let is_peers_fin = segment.flags.contains(Flags::FIN) && place.behind == place.next;
        if self.state == State::TimeWait && is_peers_fin {
            // RFC 9293 §3.10.7.4, first and eighth check: with the peer's FIN, and no other, the
            // wait begins anew.
            self.time_wait_until = Some(now + self.config.time_wait);
        }
    }

    /// Answers a segment that is not acceptable with what we expect.
    ///
    /// One that takes sequence space is answered always, or its sender would never stop;
    /// any other as often as the limit permits, or two stacks that disagree would never.
    fn answer(&mut self, now: Instant, segment: &Segment) {
        if segment.flags.contains(Flags::RST) {
            return;
        }
        if segment.sequence_bytes() > 0 && !segment.flags.contains(Flags::SYN) {
            self.demand_ack();
        } else {
            self.challenge(now);
        }
    }

    fn challenge(&mut self, now: Instant) {
        if self.challenges.permit(now) {
            self.stats.challenge_acks += 1;
            self.demand_ack();
        } else {
            self.stats.acks_withheld += 1;
        }
    }

    fn demand_ack(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.demand_ack();
        }
    }

    /// Fifth check; false if the segment is to be dropped.
    fn take_ack(&mut self, now: Instant, segment: &Segment, place: &Place) -> bool {
        let Some(number) = segment.ack else {
            return false;
        };
        let ack = self.sender.space().position(number, self.sender.next());
        // The window of a SYN is not scaled (behaviour 16).
        let syn = segment.flags.contains(Flags::SYN);
        let shift = if syn { 0 } else { self.peer_shift };
        let window = u64::from(segment.window) << shift;
        if self.state == State::SynReceived {
            if ack != self.sender.next() {
                self.send_reset_for(segment);
                return false;
            }
            self.establish(now, place.start, window);
        }
        let ack = Ack {
            ack,
            seq: place.start,
            window,
            sack: segment.options.sack,
            echo: segment.options.timestamps.map(|stamp| stamp.echo),
            has_data: segment.sequence_bytes() > 0,
        };
        match self.sender.handle_ack(now, &ack, &mut self.stats) {
            AckClass::BeyondSent => {
                // RFC 9293 §3.10.7.4: answered and dropped; limited, so that there is
                // no loop (behaviour 3).
                self.challenge(now);
                false
            }
            AckClass::TooOld => {
                // RFC 5961 §5.2.
                self.challenge(now);
                false
            }
            AckClass::Old | AckClass::Repeat | AckClass::Advances(_) => true,
        }
    }

    /// Sixth to eighth check: data, which is taken out of the segment, and FIN.
    pub(super) fn take_text(&mut self, now: Instant, segment: &mut Segment, start: u64) {
        let fin = segment.flags.contains(Flags::FIN);
        if segment.payload.is_empty() && !fin {
            return;
        }
        if self.state.peer_has_closed() || !self.state.is_synchronized() {
            // Only what was there before can come now.
            self.demand_ack();
            return;
        }
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        if self.reader_gone && start + segment.payload.len() as u64 > receiver.next() {
            // RFC 9293 §3.10.7.4 and RFC 1122 §4.2.2.13: data that nobody will read.
            self.send_reset();
            self.fail(Failure::Aborted);
            return;
        }
        let bytes = segment.payload.len() as u64;
        let payload = core::mem::take(&mut segment.payload);
        let arrival = receiver.take(start, payload, fin, now);
        if arrival.ready > 0 || arrival.out_of_order {
            self.note_new_data(now, bytes, segment.options.timestamps);
        }
        self.stats.bytes_received += arrival.ready;
        self.stats.out_of_order_segments += u64::from(arrival.out_of_order);
        self.stats.duplicate_segments +=
            u64::from(arrival.duplicate && arrival.ready == 0 && !arrival.out_of_order);
        self.stats.reassembly_dropped += arrival.dropped;
        if arrival.ready > 0 {
            self.wake_reader();
        }
        if arrival.finished {
            self.follow_peers_fin(now);
        }
    }

    /// A segment with `bytes` of data, some of it new, tells how long the round trip is.
    pub(super) fn note_new_data(&mut self, now: Instant, bytes: u64, stamp: Option<Timestamps>) {
        let stamp = stamp.filter(|_| self.timestamps.is_some());
        let echo = stamp.and_then(|stamp| {
            let age = timestamps::age(self.timestamp_offset, stamp.echo, now)?;
            let value = stamp.echo;
            Some(Echo { value, age })
        });
        if let Some(receiver) = &mut self.receiver {
            receiver.on_arrival(bytes, echo, self.sender.round_trip(), now);
        }
    }

    /// There is something to read.
    pub(super) fn wake_reader(&mut self) {
        if self.reader_waits {
            self.reader_waits = false;
            self.events.push(Event::Readable);
        }
    }
}

impl Place {
    /// RFC 9293 §3.10.7.4, first check: some of it lies in the window.
    ///
    /// What begins where we expect it is taken even if the window is closed, for its
    /// acknowledgement (MUST-66). DEVIATION: a segment that takes no space may also lie
    /// right at the window's edge, where a peer that has filled the window sends its
    /// acknowledgements from.
    fn is_acceptable(&self) -> bool {
        if self.start == self.next {
            return true;
        }
        if self.behind == self.start {
            return self.next <= self.start && self.start <= self.edge;
        }
        self.start < self.edge && self.behind > self.next
    }
}
