//! How a connection ends.

use alloc::boxed::Box;

use super::Connection;
use crate::event::{Event, Failure};
use crate::state::State;
use crate::time::Instant;
use crate::wire::{Flags, Segment};

impl Connection {
    /// Sends nothing more after what was written; the peer may go on (CLOSE of RFC 9293 §3.10.4).
    ///
    /// In SYN-SENT with nothing written, the connection is gone at once.
    pub fn shutdown(&mut self, now: Instant) {
        match self.state {
            State::SynSent if !self.sender.has_unacked() => self.end(),
            State::SynSent | State::SynReceived => self.sender.finish(now),
            State::Established => {
                self.sender.finish(now);
                self.state = State::FinWait1;
            }
            State::CloseWait => {
                self.sender.finish(now);
                self.state = State::LastAck;
            }
            State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
            | State::TimeWait
            | State::Closed => {}
        }
    }

    /// Closes both ways: what was written is still sent, nothing more is read.
    ///
    /// If there is anything that was not read, or it comes later, the peer is reset, so
    /// that it does not take its data for delivered (RFC 9293 §3.6.1, RFC 1122 §4.2.2.13).
    pub fn close(&mut self, now: Instant) {
        if self.readable() > 0 {
            self.abort(now);
            return;
        }
        self.reader_gone = true;
        if let Some(receiver) = &mut self.receiver {
            receiver.discard();
        }
        self.shutdown(now);
        self.limit_fin_wait_2(now);
    }

    /// Ends the connection now; the peer is reset (ABORT of RFC 9293 §3.10.5).
    pub fn abort(&mut self, now: Instant) {
        let _ = now;
        match self.state {
            State::Closed => return,
            State::SynSent | State::TimeWait => {}
            // Both sides have said that they are done.
            State::Closing | State::LastAck if !self.sender.has_unsent() => {}
            _ => self.send_reset(),
        }
        self.fail(Failure::Aborted);
    }

    /// Our FIN may have been acknowledged (RFC 9293 §3.10.7.4, fifth check).
    pub(super) fn follow_our_fin(&mut self, now: Instant) {
        if !self.sender.is_finished() {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                self.limit_fin_wait_2(now);
            }
            State::Closing => self.wait(now),
            State::LastAck => {
                self.events.push(Event::Finished);
                self.end();
            }
            _ => {}
        }
    }

    /// The peer's FIN has come in order (RFC 9293 §3.10.7.4, eighth check).
    pub(super) fn follow_peers_fin(&mut self, now: Instant) {
        self.events.push(Event::PeerClosed);
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.wait(now),
            _ => {}
        }
    }

    /// Enters TIME-WAIT.
    fn wait(&mut self, now: Instant) {
        self.state = State::TimeWait;
        self.fin_wait_2_until = None;
        self.time_wait_until = Some(now + self.config.time_wait);
        self.events.push(Event::Finished);
    }

    /// With nobody to read, the peer's FIN is not waited for without end.
    fn limit_fin_wait_2(&mut self, now: Instant) {
        if self.reader_gone && self.state == State::FinWait2 {
            self.fin_wait_2_until = Some(now + self.config.fin_wait_2_timeout);
        }
    }

    /// The connection has failed: what was written is given up, what was read stays readable.
    pub(super) fn fail(&mut self, failure: Failure) {
        if self.state == State::Closed {
            return;
        }
        self.failure = Some(failure);
        self.events.push(Event::Failed(failure));
        self.end();
    }

    pub(super) fn end(&mut self) {
        self.state = State::Closed;
        self.handshake = None;
        self.time_wait_until = None;
        self.fin_wait_2_until = None;
        self.keep_alive_due = false;
        self.events.push(Event::Closed);
    }

    /// Resets the peer as its own numbers demand (RFC 9293 §3.10.7.4, fifth check).
    pub(super) fn send_reset_for(&mut self, segment: &Segment) {
        if let Some(ack) = segment.ack
            && !segment.flags.contains(Flags::RST)
        {
            let mut reset = Segment::new(ack, None);
            reset.flags = Flags::RST;
            self.reset = Some(Box::new(reset));
        }
    }

    /// Resets the peer with a number that it must believe (RFC 5961 §3.2).
    pub(super) fn send_reset(&mut self) {
        let position = self.acceptable_number();
        let ack = self
            .receiver
            .as_ref()
            .map(|receiver| receiver.space().number(receiver.next()));
        let mut reset = Segment::new(self.sender.space().number(position), ack);
        reset.flags = Flags::RST;
        self.reset = Some(Box::new(reset));
    }
}
