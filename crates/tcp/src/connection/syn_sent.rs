//! A segment arrives in SYN-SENT (RFC 9293 §3.10.7.3).

use super::Connection;
use crate::event::Failure;
use crate::seq::SequenceSpace;
use crate::state::State;
use crate::time::Instant;
use crate::wire::{Flags, Segment};

/// What a segment means to a connection that has sent its SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// It is for another connection, or for none.
    Nothing,
    /// It acknowledges what was never sent: an old connection's, to be reset.
    Strange,
    Refusal,
    /// SYN and ACK of ours.
    Answer,
    /// A SYN that crossed ours.
    Crossing,
}

impl Connection {
    pub(super) fn arrive_in_syn_sent(&mut self, now: Instant, segment: &mut Segment) {
        match self.meaning_in_syn_sent(segment) {
            Meaning::Nothing => {}
            Meaning::Strange => self.send_reset_for(segment),
            Meaning::Refusal => self.fail(Failure::Refused),
            Meaning::Answer => {
                if let Some(handshake) = &mut self.handshake {
                    handshake.on_answered(segment.options);
                }
                self.take_syn(segment, now);
                self.establish(now, SequenceSpace::ORIGIN, u64::from(segment.window));
                if let Some(receiver) = &mut self.receiver {
                    // The third segment of the handshake is not delayed.
                    receiver.demand_ack();
                }
                self.take_text(now, segment, SequenceSpace::ORIGIN + 1);
            }
            Meaning::Crossing => {
                if let Some(handshake) = &mut self.handshake {
                    handshake.on_simultaneous(segment.options);
                }
                self.take_syn(segment, now);
                self.state = State::SynReceived;
            }
        }
    }

    fn meaning_in_syn_sent(&self, segment: &Segment) -> Meaning {
        let expected = self.sender.space().number(SequenceSpace::ORIGIN + 1);
        let reset = segment.flags.contains(Flags::RST);
        match segment.ack {
            Some(ack) if ack != expected => {
                if reset {
                    Meaning::Nothing
                } else {
                    Meaning::Strange
                }
            }
            Some(_) if reset => Meaning::Refusal,
            // RFC 9293 §3.10.7.3, second check: without an ACK a reset proves nothing.
            None if reset => Meaning::Nothing,
            _ if !segment.flags.contains(Flags::SYN) => Meaning::Nothing,
            Some(_) => Meaning::Answer,
            None => Meaning::Crossing,
        }
    }
}
