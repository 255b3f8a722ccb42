//! The connections, by number and by their ends, and when each needs the clock.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::hash::Hasher;
use core::net::SocketAddr;
use core::ops::Bound;

use hashbrown::HashTable;
use siphasher::sip::SipHasher24;

use super::accept_queue::ListenerId;
use super::ends::Ends;
use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::time::Instant;

/// A connection of an endpoint, from `accept` or `connect` until `release`.
///
/// It is never given to two connections, so that an old one does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    index: u32,
    generation: u32,
}

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A peer's SYN was answered.
    HalfOpen(ListenerId),
    /// It waits in the accept queue.
    Waiting(ListenerId),
    /// A user has it.
    Owned,
    /// The user has let go.
    Released,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) connection: Connection,
    pub(super) stage: Stage,
    pub(super) is_dirty: bool,
    /// It is among those whose user has something to hear.
    pub(super) has_events: bool,
    /// Its ends lead to it.
    is_linked: bool,
    /// What stands in `Table::alarms` for it: its deadline, or an earlier time.
    alarm: Option<Deadline>,
    /// What of `Table::receive_growth` is this connection's.
    receive_growth: u64,
}

#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Places in `slots` of those that are linked, by a hash of their ends that nobody outside
    /// can foresee.
    by_ends: HashTable<u32>,
    key: [u8; 16],
    alarms: BTreeSet<(Instant, u32)>,
    half_open: usize,
    /// What was found last: most packets are for the same connection as the one before.
    last: Option<(SocketAddr, SocketAddr, ConnectionId)>,
    /// By how much receive buffers have grown, bytes.
    receive_growth: u64,
    /// Places in `slots` of those that have grown, and whose turn it was last to give back.
    grown: BTreeSet<u32>,
    asked: u32,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    entry: Option<Box<Entry>>,
}

impl Table {
    /// An empty one; `key` must be random.
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_ends: HashTable::new(),
            key,
            alarms: BTreeSet::new(),
            half_open: 0,
            receive_growth: 0,
            grown: BTreeSet::new(),
            asked: 0,
            last: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn half_open(&self) -> usize {
        self.half_open
    }

    pub(super) fn receive_growth(&self) -> u64 {
        self.receive_growth
    }

    /// Counts by how much a connection's receive buffer has grown by now.
    pub(super) fn follow_growth(&mut self, id: ConnectionId) {
        if let Some(entry) = self.get_mut(id) {
            let grown = entry.connection.receive_grown();
            let before = core::mem::replace(&mut entry.receive_growth, grown);
            self.receive_growth = self.receive_growth - before + grown;
            if before == 0 && grown > 0 {
                self.grown.insert(id.index);
            } else if before > 0 && grown == 0 {
                self.grown.remove(&id.index);
            }
        }
    }

    /// Has one of those that have grown give back what it has not needed for a while; they take
    /// turns.
    pub(super) fn reclaim_growth(&mut self, now: Instant) {
        let behind = (Bound::Excluded(self.asked), Bound::Unbounded);
        let next = self.grown.range(behind).next();
        let Some(&index) = next.or_else(|| self.grown.first()) else {
            return;
        };
        self.asked = index;
        let id = self.id(index);
        if let Some(entry) = self.get_mut(id) {
            entry.connection.give_back(now);
            self.follow_growth(id);
        }
    }

    pub(super) fn contains(&self, ends: &Ends) -> bool {
        self.find(ends).is_some()
    }

    pub(super) fn find(&self, ends: &Ends) -> Option<ConnectionId> {
        let is_it = |index: &u32| ends_in(&self.slots, *index) == Some(*ends);
        let index = self.by_ends.find(hash(self.key, ends), is_it)?;
        Some(self.id(*index))
    }

    /// The connection between these ends, if it is the one remembered.
    #[inline]
    pub(super) fn find_again(
        &self,
        local: &SocketAddr,
        remote: &SocketAddr,
    ) -> Option<ConnectionId> {
        let (known_local, known_remote, id) = self.last.as_ref()?;
        (known_remote == remote && known_local == local).then_some(*id)
    }

    /// Remembers a connection that was found by its ends.
    pub(super) fn remember(&mut self, id: ConnectionId) {
        if let Some(entry) = self.get(id) {
            self.last = Some((entry.connection.local(), entry.connection.remote(), id));
        }
    }

    /// Takes a connection whose ends are free.
    pub(super) fn insert(&mut self, connection: Connection, stage: Stage) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("2^32 connections take more than 2^40 bytes")
        });
        self.half_open += usize::from(matches!(stage, Stage::HalfOpen(_)));
        let ends = Ends::new(connection.local(), connection.remote());
        self.slots[index as usize].entry = Some(Box::new(Entry {
            connection,
            stage,
            is_dirty: false,
            has_events: false,
            is_linked: true,
            alarm: None,
            receive_growth: 0,
        }));
        let Self {
            slots,
            by_ends,
            key,
            ..
        } = self;
        let hash_of = |index: &u32| ends_in(slots, *index).map_or(0, |ends| hash(*key, &ends));
        by_ends.insert_unique(hash(*key, &ends), index, hash_of);
        self.id(index)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Entry> {
        let slot = self.slots.get(id.index as usize)?;
        slot.entry
            .as_deref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.entry
            .as_deref_mut()
            .filter(|_| slot.generation == id.generation)
    }

    /// Its ends are free for another connection; the user may still read what has come.
    pub(super) fn unlink(&mut self, id: ConnectionId) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        if core::mem::take(&mut entry.is_linked) {
            let ends = Ends::new(entry.connection.local(), entry.connection.remote());
            let hash = hash(self.key, &ends);
            if let Ok(found) = self.by_ends.find_entry(hash, |index| *index == id.index) {
                found.remove();
            }
            self.last = None;
        }
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        self.unlink(id);
        self.set_alarm(id, None);
        self.leave_half_open(id);
        if let Some(entry) = self.get(id) {
            self.receive_growth -= entry.receive_growth;
            self.grown.remove(&id.index);
            let slot = &mut self.slots[id.index as usize];
            slot.entry = None;
            // After 2^32 connections in one slot an id comes again; it must be long forgotten.
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.index);
        }
    }

    /// What was half open waits now, or is let go.
    pub(super) fn advance(&mut self, id: ConnectionId, stage: Stage) {
        self.leave_half_open(id);
        if let Some(entry) = self.get_mut(id) {
            entry.stage = stage;
        }
    }

    fn leave_half_open(&mut self, id: ConnectionId) {
        if let Some(entry) = self.get_mut(id)
            && matches!(entry.stage, Stage::HalfOpen(_))
        {
            entry.stage = Stage::Released;
            self.half_open -= 1;
        }
    }

    /// Every connection that a listener has and nobody has accepted.
    pub(super) fn of_listener(&self, listener: ListenerId) -> Vec<ConnectionId> {
        let slots = self.slots.iter().zip(0..);
        let of_listener = slots.filter_map(|(slot, index)| match slot.entry.as_ref()?.stage {
            Stage::HalfOpen(of) | Stage::Waiting(of) if of == listener => Some(self.id(index)),
            _ => None,
        });
        of_listener.collect()
    }

    /// Sees that the clock is heard by the time that the connection asks for.
    ///
    /// One that asks for a later time than before is heard at the earlier one too: most
    /// deadlines move with every segment and never come, and moving them in the set each time
    /// would be the greater cost.
    pub(super) fn refresh_alarm(&mut self, id: ConnectionId) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        let due = entry.connection.poll_timeout();
        let is_covered = match (entry.alarm, due) {
            (Some(alarm), Some(due)) => alarm.at() <= due.at(),
            (_, None) => true,
            (None, Some(_)) => false,
        };
        if !is_covered {
            self.set_alarm(id, due);
        }
    }

    fn set_alarm(&mut self, id: ConnectionId, due: Option<Deadline>) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        let before = core::mem::replace(&mut entry.alarm, due);
        if let Some(before) = before {
            self.alarms.remove(&(before.at(), id.index));
        }
        if let Some(due) = due {
            self.alarms.insert((due.at(), id.index));
        }
    }

    /// The first alarm.
    pub(super) fn next_alarm(&self) -> Option<Deadline> {
        let (_, index) = self.alarms.first()?;
        self.slots[*index as usize].entry.as_ref()?.alarm
    }

    /// A connection whose alarm has come by `now`, without it.
    pub(super) fn pop_alarm(&mut self, now: Instant) -> Option<ConnectionId> {
        let &(at, index) = self.alarms.first()?;
        if at > now {
            return None;
        }
        let id = self.id(index);
        self.set_alarm(id, None);
        Some(id)
    }

    fn id(&self, index: u32) -> ConnectionId {
        let generation = self.slots[index as usize].generation;
        ConnectionId { index, generation }
    }
}

/// The ends of the connection in a slot.
fn ends_in(slots: &[Slot], index: u32) -> Option<Ends> {
    let entry = slots.get(index as usize)?.entry.as_ref()?;
    let connection = &entry.connection;
    Some(Ends::new(connection.local(), connection.remote()))
}

fn hash(key: [u8; 16], ends: &Ends) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&key);
    hasher.write(ends.as_bytes());
    // Peers see initial numbers, hashes with the same key: nothing else that is hashed ends so.
    hasher.write(b"e");
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most of what a connection with nothing under way takes; the rest are its controller,
    /// its slot and its places in the tables (`examples/idle_connections.rs` has the sum).
    const ENTRY_BYTES_MAX: usize = 1_672;

    #[test]
    fn a_connection_is_small() {
        let bytes = size_of::<Entry>();
        assert!(bytes <= ENTRY_BYTES_MAX, "{bytes} bytes");
    }
}
