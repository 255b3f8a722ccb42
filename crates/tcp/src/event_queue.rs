//! Events that wait for the user.

use crate::event::Event;

/// As many kinds of events as one connection can have: it fails only once.
const KINDS: usize = 7;

/// At most one of each kind, in the order in which they happened.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    waiting: [Option<Event>; KINDS],
}

impl EventQueue {
    pub(crate) fn push(&mut self, event: Event) {
        if self.waiting.contains(&Some(event)) {
            return;
        }
        let free = self.waiting.iter_mut().find(|place| place.is_none());
        debug_assert!(free.is_some(), "there are no more kinds than places");
        if let Some(place) = free {
            *place = Some(event);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting[0].is_none()
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let first = self.waiting[0].take();
        self.waiting.rotate_left(1);
        first
    }
}
