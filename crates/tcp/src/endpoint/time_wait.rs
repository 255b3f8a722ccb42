//! Connections that are over and must be remembered (RFC 9293 §3.6.1), each in a few bytes.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;
use core::time::Duration;

use super::ends::Ends;
use crate::challenge_ack::ChallengeAcks;
use crate::seq::SeqNumber;
use crate::time::Instant;
use crate::timestamps::{self, TimestampState};
use crate::wire::{Ecn, Flags, Options, Packet, Segment};

/// What is left of a connection in TIME-WAIT.
#[derive(Debug)]
pub(crate) struct Remnant {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// SND.NXT.
    pub(crate) next: SeqNumber,
    /// RCV.NXT.
    pub(crate) expected: SeqNumber,
    pub(crate) window: u16,
    pub(crate) timestamps: Option<TimestampState>,
    pub(crate) challenges: ChallengeAcks,
    pub(crate) until: Instant,
    /// How long it waits from the beginning.
    pub(crate) span: Duration,
}

/// What is done about a segment for a connection in TIME-WAIT.
#[derive(Debug)]
pub(super) enum Verdict {
    Nothing,
    Answer(Packet),
    /// A SYN that begins the next connection; our number must be behind this one.
    Reuse(SeqNumber),
}

#[derive(Debug)]
pub(super) struct TimeWaits {
    by_ends: BTreeMap<Ends, Remnant>,
    by_end: BTreeSet<(Instant, Ends)>,
    count_max: usize,
}

impl TimeWaits {
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            by_ends: BTreeMap::new(),
            by_end: BTreeSet::new(),
            count_max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_ends.len()
    }

    pub(super) fn contains(&self, ends: &Ends) -> bool {
        self.by_ends.contains_key(ends)
    }

    /// Remembers a connection; true if another was forgotten for it, or it for others.
    pub(super) fn insert(&mut self, remnant: Remnant) -> bool {
        let ends = Ends::new(remnant.local, remnant.remote);
        self.remove(&ends);
        self.by_end.insert((remnant.until, ends));
        self.by_ends.insert(ends, remnant);
        if self.by_ends.len() <= self.count_max {
            return false;
        }
        if let Some((_, first)) = self.by_end.pop_first() {
            self.by_ends.remove(&first);
        }
        true
    }

    pub(super) fn remove(&mut self, ends: &Ends) {
        if let Some(remnant) = self.by_ends.remove(ends) {
            self.by_end.remove(&(remnant.until, *ends));
        }
    }

    /// When the first is over.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.by_end.first().map(|(until, _)| *until)
    }

    /// Forgets what is over by `now`.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((until, _)) = self.by_end.first()
            && *until <= now
        {
            if let Some((_, ends)) = self.by_end.pop_first() {
                self.by_ends.remove(&ends);
            }
        }
    }

    /// Takes a segment for `ends`; `None` if these are not in TIME-WAIT.
    pub(super) fn handle_segment(
        &mut self,
        now: Instant,
        ends: &Ends,
        segment: &Segment,
    ) -> Option<Verdict> {
        let remnant = self.by_ends.get_mut(ends)?;
        let before = remnant.until;
        let verdict = remnant.handle_segment(now, segment);
        if remnant.until != before {
            self.by_end.remove(&(before, *ends));
            self.by_end.insert((remnant.until, *ends));
        }
        Some(verdict)
    }
}

impl Remnant {
    fn handle_segment(&mut self, now: Instant, segment: &Segment) -> Verdict {
        if segment.flags.contains(Flags::RST) {
            // RFC 1337 §3, fix F1.
            return Verdict::Nothing;
        }
        if segment.flags.contains(Flags::SYN) && segment.ack.is_none() {
            // RFC 6191 §2: what does not begin the next connection is dropped in silence.
            return if self.is_followed_by(segment) {
                Verdict::Reuse(self.next)
            } else {
                Verdict::Nothing
            };
        }
        if segment.flags.contains(Flags::FIN) && self.ends_stream(segment) {
            // RFC 9293 §3.10.7.4, first and eighth check: with the peer's FIN, and no other, the
            // wait begins anew.
            self.until = now + self.span;
        }
        // What takes sequence space is answered always, so that its sender stops; the rest as
        // often as two stacks can that disagree.
        let is_heard = segment.sequence_bytes() > 0 && !segment.flags.contains(Flags::SYN);
        let is_in_order = segment.seq == self.expected && segment.ack == Some(self.next);
        if is_heard || !is_in_order && self.challenges.permit(now) {
            Verdict::Answer(self.answer(now))
        } else {
            Verdict::Nothing
        }
    }

    /// Whether this segment ends where the peer's stream did.
    fn ends_stream(&self, segment: &Segment) -> bool {
        let taken = u32::try_from(segment.sequence_bytes());
        taken.is_ok_and(|taken| segment.seq.advanced_by(taken) == self.expected)
    }

    /// Whether this SYN cannot be one of the connection that is over (RFC 6191 §2).
    fn is_followed_by(&self, syn: &Segment) -> bool {
        let is_behind = syn.seq.is_after(self.expected);
        match (&self.timestamps, syn.options.timestamps) {
            (Some(old), Some(new)) => {
                let recent = old.recent();
                timestamps::is_before(recent, new.value) || recent == new.value && is_behind
            }
            // Its timestamps will tell the new connection's segments from the old one's.
            (None, Some(_)) => true,
            (_, None) => is_behind,
        }
    }

    fn answer(&self, now: Instant) -> Packet {
        let mut segment = Segment::new(self.next, Some(self.expected));
        segment.window = self.window;
        segment.options = Options {
            timestamps: self.timestamps.map(|state| state.option(now)),
            ..Options::default()
        };
        Packet {
            source: self.local,
            destination: self.remote,
            ecn: Ecn::NotCapable,
            segment,
        }
    }
}
