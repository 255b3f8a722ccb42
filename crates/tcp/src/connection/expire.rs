//! What a connection does when its time comes.

use super::Connection;
use crate::event::Failure;
use crate::keep_alive::Expired;
use crate::state::State;
use crate::time::Instant;

impl Connection {
    /// Does what is due by `now`.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        if let Some(handshake) = &mut self.handshake {
            if handshake.handle_timeout(now) {
                self.fail(Failure::TimedOut);
            }
            return;
        }
        let has_passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if has_passed(self.time_wait_until) {
            self.end();
            return;
        }
        let patience = self.user_timeout;
        if has_passed(self.sender.waiting_since().map(|since| since + patience)) {
            // RFC 9293 §3.10.8.
            self.fail(Failure::TimedOut);
            return;
        }
        if has_passed(self.fin_wait_2_until) {
            self.send_reset();
            self.fail(Failure::TimedOut);
            return;
        }
        if has_passed(self.keep_alive_at()) {
            self.expire_keep_alive(now);
        }
        if self.state != State::Closed {
            self.sender.handle_timeout(now, &mut self.stats);
        }
    }

    fn expire_keep_alive(&mut self, now: Instant) {
        match self.keep_alive.expire(now) {
            Expired::NotYet => {}
            Expired::Ask => {
                self.stats.keep_alive_probes += 1;
                self.keep_alive_due = true;
            }
            Expired::GiveUp => {
                self.send_reset();
                self.fail(Failure::TimedOut);
            }
        }
    }
}
