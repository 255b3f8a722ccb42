//! A packet arrives: whose is it?

use alloc::sync::Arc;

use super::Endpoint;
use super::accept_queue::ListenerId;
use super::ends::Ends;
use super::table::{ConnectionId, Stage};
use super::time_wait::Verdict;
use crate::addresses::is_unicast;
use crate::connection::Connection;
use crate::seq::SeqNumber;
use crate::state::State;
use crate::stranger::answer_stranger;
use crate::time::Instant;
use crate::wire::{Flags, Packet};

/// How far a new connection's numbers lie behind those of the one before it, at the least.
const NUMBERS_APART: u32 = 1 << 16;

impl Endpoint {
    /// Takes a packet that arrived at `now`.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, mut packet: Packet) {
        self.take_packet(now, &mut packet);
    }

    fn take_packet(&mut self, now: Instant, packet: &mut Packet) {
        if let Some(id) = self.table.find_again(&packet.destination, &packet.source) {
            self.arrive_at(now, id, packet);
            return;
        }
        if !is_between_hosts(packet) {
            return;
        }
        let ends = Ends::new(packet.destination, packet.source);
        if let Some(id) = self.table.find(&ends) {
            self.table.remember(id);
            self.arrive_at(now, id, packet);
            return;
        }
        match self.time_waits.handle_segment(now, &ends, &packet.segment) {
            Some(Verdict::Nothing) => {}
            Some(Verdict::Answer(answer)) => self.send(answer),
            Some(Verdict::Reuse(old)) => self.follow(now, &ends, packet, old),
            None => match self.listeners.find(packet.destination) {
                Some(listener) => self.arrive_in_listen(now, listener, packet),
                None => self.refuse(packet),
            },
        }
    }

    fn arrive_at(&mut self, now: Instant, id: ConnectionId, packet: &mut Packet) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        let Stage::HalfOpen(listener) = entry.stage else {
            entry.connection.take_segment(now, &mut packet.segment);
            if !entry.is_dirty {
                entry.is_dirty = true;
                self.dirty.push_back(id);
            }
            return;
        };
        if entry.connection.state() == State::SynReceived
            && packet.segment.ack.is_some()
            && !packet.segment.flags.contains(Flags::RST)
            && self.listeners.is_full(listener)
        {
            // As if it had been lost: our SYN comes again, and its answer with it.
            self.stats.accept_queue_full += 1;
            return;
        }
        if entry.connection.is_unanswered_by(&packet.segment)
            && self.cookies.check(packet, now).is_some()
        {
            // Its first SYN got a cookie, and a later copy of it found room in the table. The
            // peer has taken the cookie.
            self.table.remove(id);
            self.arrive_with_cookie(now, listener, packet);
            return;
        }
        entry.connection.take_segment(now, &mut packet.segment);
        self.follow_handshake(id);
        self.touch(id);
    }

    /// Whose handshake is complete waits to be accepted, from this packet on: the next may
    /// come before the endpoint is drained, and must find the queue as full as it is.
    fn follow_handshake(&mut self, id: ConnectionId) {
        let Some(entry) = self.table.get(id) else {
            return;
        };
        let is_complete = !matches!(entry.connection.state(), State::SynReceived | State::Closed);
        if let Stage::HalfOpen(listener) = entry.stage
            && is_complete
        {
            self.table.advance(id, Stage::Waiting(listener));
            self.listeners.push(listener, id);
        }
    }

    /// RFC 9293 §3.10.7.2.
    fn arrive_in_listen(&mut self, now: Instant, listener: ListenerId, packet: &Packet) {
        let flags = packet.segment.flags;
        if flags.contains(Flags::RST) {
            return;
        }
        if packet.segment.ack.is_some() {
            let is_taken =
                !flags.contains(Flags::SYN) && self.arrive_with_cookie(now, listener, packet);
            // DEVIATION: RFC 9293 §3.10.7.2 resets every acknowledgement. While cookies are
            // about, one that is none is dropped in silence: where the segment that should bring
            // a cookie back is lost, what comes behind it brings none, and a reset would end the
            // connection before the first comes again.
            let may_come_again = self.cookies.are_about(now);
            if !is_taken && !may_come_again {
                self.refuse(packet);
            }
            return;
        }
        if flags.contains(Flags::SYN) && !flags.contains(Flags::FIN) {
            let isn = self.isns.generate(packet.destination, packet.source, now);
            self.begin(now, listener, packet, isn);
        }
    }

    /// A SYN ends the TIME-WAIT of the connection before it.
    fn follow(&mut self, now: Instant, ends: &Ends, packet: &Packet, old: SeqNumber) {
        let Some(listener) = self.listeners.find(packet.destination) else {
            self.refuse(packet);
            return;
        };
        if self.half_open() >= self.config.half_open_max || self.is_crowded(listener) {
            self.stats.syns_dropped += 1;
            return;
        }
        self.time_waits.remove(ends);
        self.stats.time_waits_reused += 1;
        let isn = self.isns.generate(packet.destination, packet.source, now);
        let least = old.advanced_by(NUMBERS_APART);
        let isn = if isn.is_after(least) { isn } else { least };
        self.begin(now, listener, packet, isn);
    }

    fn begin(&mut self, now: Instant, listener: ListenerId, syn: &Packet, isn: SeqNumber) {
        if self.is_crowded(listener) {
            self.stats.syns_dropped += 1;
            return;
        }
        let offset = self.isns.timestamp_offset(syn.destination, syn.source);
        if self.half_open() >= self.config.half_open_max {
            if self.config.syn_cookies {
                self.stats.cookies_sent += 1;
                let answer = self.cookies.answer(&self.shared, offset, syn, now);
                self.send(answer);
            } else {
                self.stats.syns_dropped += 1;
            }
            return;
        }
        let config = Arc::clone(&self.shared);
        if let Some(connection) = Connection::accept_shared(config, offset, syn, isn, now) {
            let id = self.table.insert(connection, Stage::HalfOpen(listener));
            self.touch(id);
        }
    }

    /// Whether a new connection would find no place, whoever asks for it.
    fn is_crowded(&self, listener: ListenerId) -> bool {
        self.table.len() >= self.config.connections_max || self.listeners.is_full(listener)
    }

    /// False if the packet brings no cookie back.
    fn arrive_with_cookie(&mut self, now: Instant, listener: ListenerId, packet: &Packet) -> bool {
        let Some((syn, isn)) = self.cookies.check(packet, now) else {
            return false;
        };
        if self.is_crowded(listener) {
            // As if it had been lost: what the peer sends next brings the cookie back again.
            self.stats.accept_queue_full += 1;
            return true;
        }
        let offset = self
            .isns
            .timestamp_offset(packet.destination, packet.source);
        let config = Arc::clone(&self.shared);
        let connection = Connection::accept_shared(config, offset, &syn, isn, now);
        if let Some(mut connection) = connection {
            connection.assume_syn_sent();
            connection.handle_segment(now, packet.segment.clone());
            self.stats.cookies_accepted += 1;
            let id = self.table.insert(connection, Stage::HalfOpen(listener));
            self.follow_handshake(id);
            self.touch(id);
        }
        true
    }

    /// RFC 9293 §3.10.7.1.
    fn refuse(&mut self, packet: &Packet) {
        if let Some(reset) = answer_stranger(packet) {
            self.stats.strangers_reset += 1;
            self.send(reset);
        }
    }

    fn send(&mut self, packet: Packet) {
        if self.outbox.len() < self.config.outbox_packets_max {
            self.outbox.push_back(packet);
        } else {
            self.stats.outbox_dropped += 1;
        }
    }
}

/// Whether a packet goes from one host to another: TCP knows nothing else (RFC 9293 §3.9.2.3).
///
/// One that seems to come from where it goes to would have us talk to ourselves.
fn is_between_hosts(packet: &Packet) -> bool {
    let (from, to) = (packet.source, packet.destination);
    is_unicast(from.ip()) && is_unicast(to.ip()) && from != to
}
