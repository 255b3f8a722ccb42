//! Events that wait for the user.

use alloc::collections::VecDeque;

use crate::event::Event;

/// At most one of each kind, in the order in which they happened.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    waiting: VecDeque<Event>,
}

impl EventQueue {
    pub(crate) fn push(&mut self, event: Event) {
        if !self.waiting.contains(&event) {
            self.waiting.push_back(event);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }
}
