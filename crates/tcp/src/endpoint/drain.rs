//! What an endpoint has to send, to say, and to wait for.

use super::table::{ConnectionId, Stage};
use super::{Endpoint, EndpointEvent};
use crate::deadline::{Deadline, Reason};
use crate::state::State;
use crate::time::Instant;
use crate::transmit::Transmit;

impl Endpoint {
    /// The next thing to send now; call it until it gives `None`.
    ///
    /// At most `segments_max` segments of one connection; those with much to say take turns.
    pub fn poll_transmit(&mut self, now: Instant, segments_max: usize) -> Option<Transmit> {
        if segments_max == 0 {
            return None;
        }
        if let Some(packet) = self.outbox.pop_front() {
            return Some(Transmit::from(packet));
        }
        while let Some(id) = self.dirty.pop_front() {
            let Some(entry) = self.table.get_mut(id) else {
                continue;
            };
            if let Some(transmit) = entry.connection.poll_transmit(now, segments_max) {
                self.dirty.push_back(id);
                return Some(transmit);
            }
            entry.is_dirty = false;
            self.settle(id);
        }
        None
    }

    /// The next event; call it until it gives `None`.
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        if let Some(listener) = self.listeners.next_news() {
            return Some(EndpointEvent::Acceptable(listener));
        }
        while let Some(&id) = self.eventful.front() {
            if let Some(entry) = self.table.get_mut(id) {
                if entry.stage == Stage::Owned
                    && let Some(event) = entry.connection.poll_event()
                {
                    return Some(EndpointEvent::Connection(id, event));
                }
                entry.has_events = false;
            }
            self.eventful.pop_front();
        }
        None
    }

    /// When `handle_timeout` is due next, and why; `None` if never.
    ///
    /// It may be early: a deadline that moves further away is not always followed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let time_wait = self.time_waits.next_end();
        Deadline::first([
            self.table.next_alarm(),
            time_wait.map(|at| Deadline::new(at, Reason::TimeWait)),
        ])
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.time_waits.expire(now);
        while let Some(id) = self.table.pop_alarm(now) {
            let Some(entry) = self.table.get_mut(id) else {
                continue;
            };
            let due = entry.connection.poll_timeout();
            if due.is_some_and(|due| due.at() <= now) {
                entry.connection.handle_timeout(now);
                self.touch(id);
            } else {
                self.table.refresh_alarm(id);
            }
        }
    }

    /// Draws the consequences once a connection has nothing more to send.
    fn settle(&mut self, id: ConnectionId) {
        let Some(entry) = self.table.get(id) else {
            return;
        };
        let state = entry.connection.state();
        match entry.stage {
            Stage::HalfOpen(_) | Stage::Waiting(_) if state == State::Closed => {
                if let Stage::Waiting(listener) = entry.stage {
                    self.listeners.withdraw(listener, id);
                }
                self.table.remove(id);
                return;
            }
            Stage::Released if state == State::Closed => {
                self.table.remove(id);
                return;
            }
            Stage::Released if state == State::TimeWait => {
                let remnant = entry.connection.remnant();
                self.table.remove(id);
                if let Some(remnant) = remnant
                    && self.time_waits.insert(remnant)
                {
                    self.stats.time_waits_cut_short += 1;
                }
                return;
            }
            _ => {}
        }
        if state == State::Closed {
            self.table.unlink(id);
        }
        if let Some(entry) = self.table.get_mut(id) {
            entry.connection.shed();
        }
        self.tell(id);
        self.table.refresh_alarm(id);
    }

    /// Puts a connection among those whose users have something to hear.
    fn tell(&mut self, id: ConnectionId) {
        if let Some(entry) = self.table.get_mut(id)
            && entry.stage == Stage::Owned
            && !entry.has_events
            && entry.connection.has_events()
        {
            entry.has_events = true;
            self.eventful.push_back(id);
        }
    }
}
