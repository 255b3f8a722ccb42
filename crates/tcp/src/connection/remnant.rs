//! What an endpoint keeps of a connection once its user has let go, and how it makes one from a cookie.

use super::Connection;
use crate::endpoint::Remnant;
use crate::state::State;
use crate::time::Instant;
use crate::wire::{Flags, Segment};

impl Connection {
    /// What TIME-WAIT has to remember; `None` in any other state.
    pub(crate) fn remnant(&self) -> Option<Remnant> {
        let until = self
            .time_wait_until
            .filter(|_| self.state == State::TimeWait)?;
        let receiver = self.receiver.as_ref()?;
        let window = receiver.edge().saturating_sub(receiver.next()) >> receiver.shift();
        Some(Remnant {
            local: self.local,
            remote: self.remote,
            next: self.sender.space().number(self.sender.next()),
            expected: receiver.space().number(receiver.next()),
            window: u16::try_from(window).unwrap_or(u16::MAX),
            timestamps: self.timestamps,
            challenges: self.challenges,
            until,
            span: self.config.time_wait,
        })
    }

    /// Whether `segment` acknowledges something, but not our SYN.
    pub(crate) fn is_unanswered_by(&self, segment: &Segment) -> bool {
        let expected = self.sender.space().initial().advanced_by(1);
        self.state == State::SynReceived
            && !segment.flags.contains(Flags::RST)
            && segment.ack.is_some_and(|ack| ack != expected)
    }

    /// Our SYN went out already, as a cookie, and nobody knows when.
    pub(crate) fn assume_syn_sent(&mut self) {
        if let Some(handshake) = &mut self.handshake {
            handshake.assume_sent();
        }
    }

    /// Gives back the memory of buffers that are empty: of many connections most have nothing
    /// to do for long.
    pub(crate) fn shed(&mut self) {
        if !self.sender.has_unacked() {
            self.sender.shed();
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.shed();
        }
    }

    /// Whether an acknowledgement has to go out now.
    pub(crate) fn owes_ack(&self, now: Instant) -> bool {
        self.receiver
            .as_ref()
            .is_some_and(|receiver| receiver.is_ack_due(now))
    }

    /// Whether `poll_event` would give something.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }
}
