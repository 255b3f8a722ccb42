//! Deciding what goes out now.

use core::time::Duration;

use bytes::Bytes;

use super::recovery::Phase;
use super::{Sender, Urge};
use crate::stats::Counters;
use crate::time::Instant;

/// How long a small segment waits for a window that it fits (RFC 9293 §3.8.6.2.1).
const SMALL_WAIT_MIN: Duration = Duration::from_millis(100);
const SMALL_WAIT_MAX: Duration = Duration::from_secs(1);

/// The most bytes of data that go out at once: with its headers, one packet can say its length.
const RUN_BYTES_MAX: u64 = 65_535 - 120;

/// A part of the stream to be sent now, as one segment or a run of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// The position of its first byte.
    pub(crate) start: u64,
    pub(crate) payload: Bytes,
    /// The payload of each segment but the last.
    pub(crate) segment_bytes: usize,
    pub(crate) fin: bool,
    /// Whether nothing waits behind it.
    pub(crate) push: bool,
}

/// The most bytes of data that a segment takes beside its options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// One that goes out again.
    pub(crate) again: u64,
    /// A new one.
    pub(crate) new: u64,
    /// How many new ones may go out at once.
    pub(crate) segments_max: usize,
}

/// What may go out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Old data, from `start` to `end`.
    Retransmit {
        start: u64,
        end: u64,
    },
    /// New data up to `end`, the FIN with it if it ends there.
    New {
        end: u64,
    },
    Nothing(Blocked),
}

/// What keeps data back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// There is none.
    NoData,
    /// The peer's window, or a peer's window too small to fill sensibly.
    PeerWindow,
    /// Less than a segment, while an acknowledgement is awaited (Nagle).
    Nagle,
    CongestionWindow,
    Pacing(Instant),
    /// Too many segments are in flight.
    Segments,
}

impl Sender {
    /// What to send next, if there is anything, with as many bytes as `room` allows.
    ///
    /// `stamp` is our timestamp at this moment.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        room: Room,
        stamp: Option<u32>,
        stats: &mut Counters,
    ) -> Option<Outgoing> {
        self.restart_after_idle(now);
        let urge = core::mem::replace(&mut self.urge, Urge::None);
        let decision = match urge {
            Urge::LossProbe => self.decide_loss_probe(room),
            Urge::WindowProbe => self.decide_window_probe(),
            Urge::None | Urge::Retransmit | Urge::Small => self.decide(now, room, urge),
        };
        match decision {
            Decision::Retransmit { start, end } => {
                if urge == Urge::LossProbe {
                    stats.loss_probes += 1;
                    self.tail.on_sent(self.board.next(), true);
                }
                Some(self.retransmit(start, end, now, stamp, stats))
            }
            Decision::New { end } => {
                let segment_bytes = end - self.board.next();
                let end = match urge {
                    Urge::None => self.extend_run(end, room, now),
                    _ => end,
                };
                Some(self.send_new(end, segment_bytes, urge, now, stats))
            }
            Decision::Nothing(blocked) => {
                self.note_blocked(blocked, now);
                None
            }
        }
    }

    /// Old data before new, each within the windows.
    fn decide(&self, now: Instant, room: Room, urge: Urge) -> Decision {
        let new = self.decide_new(room.new, urge == Urge::Small);
        let episode = self.episode.as_ref();
        let prefers_new = episode.is_some_and(|episode| episode.prefers_new())
            && matches!(new, Decision::New { .. });
        let (chosen, bytes) = match self.board.first_lost() {
            Some(lost) if !prefers_new => {
                let start = lost.start;
                let end = self.clip_retransmission(start, lost.end, room.again);
                if end <= start {
                    return Decision::Nothing(Blocked::PeerWindow);
                }
                (Decision::Retransmit { start, end }, end - start)
            }
            _ => match new {
                Decision::New { end } => (new, end - self.board.next()),
                other => return other,
            },
        };
        if urge != Urge::None {
            return chosen;
        }
        // With nothing in flight no acknowledgement would ever open the window.
        let in_flight = self.in_flight();
        if in_flight > 0 && in_flight + bytes > self.congestion_window() {
            return Decision::Nothing(Blocked::CongestionWindow);
        }
        match self.pacer.wait(now) {
            Some(at) => Decision::Nothing(Blocked::Pacing(at)),
            None => chosen,
        }
    }

    /// New data within the peer's window, in sensible pieces (RFC 9293 §3.8.6.2.1).
    fn decide_new(&self, payload_max: u64, small_is_fine: bool) -> Decision {
        let next = self.board.next();
        let available = self.buffer.end().saturating_sub(next);
        let fin_waits = self.fin.is_some_and(|fin| next <= fin);
        if available == 0 && !fin_waits {
            return Decision::Nothing(Blocked::NoData);
        }
        if self.board.len() >= self.settings.segments_in_flight_max {
            return Decision::Nothing(Blocked::Segments);
        }
        let usable = self.window.edge().saturating_sub(next);
        let len = available.min(usable).min(payload_max);
        if fin_waits && len == available && usable > len {
            return Decision::New {
                end: next + len + 1,
            };
        }
        if len == 0 {
            return Decision::Nothing(Blocked::PeerWindow);
        }
        let alone = self.board.is_empty() || !self.settings.nagle;
        let sensible = len == payload_max
            || alone && (len == available || 2 * len >= self.window.size_max())
            || small_is_fine;
        if sensible {
            Decision::New { end: next + len }
        } else if self.board.is_empty() {
            Decision::Nothing(Blocked::PeerWindow)
        } else {
            Decision::Nothing(Blocked::Nagle)
        }
    }

    /// Behind the last segment that could follow the new one up to `end` now, if each were asked
    /// for by itself: a full one, without a FIN, out of the same buffer of the user's.
    fn extend_run(&self, end: u64, room: Room, now: Instant) -> u64 {
        let start = self.board.next();
        let open = matches!(self.phase, Phase::Open) && self.board.lost_bytes() == 0;
        if !open || room.segments_max <= 1 || end - start != room.new || end > self.buffer.end() {
            return end;
        }
        // The last byte before a FIN is not among them: the FIN goes out with it.
        let written = self.buffer.end() - u64::from(self.fin.is_some());
        let congestion = self.congestion_window().saturating_sub(self.in_flight());
        let most = [
            RUN_BYTES_MAX,
            self.buffer.contiguous(start),
            written.saturating_sub(start),
            self.window.edge().saturating_sub(start),
            congestion,
        ];
        let bytes = most.into_iter().fold(u64::MAX, u64::min);
        let records = self.settings.segments_in_flight_max - self.board.len();
        let count = (bytes / room.new)
            .min(room.segments_max as u64)
            .min(records as u64);
        let count = self.pacer.clone().permits(count, room.new, now);
        start + count.max(1) * room.new
    }

    /// A tail loss probe: new data if there is any, else the last segment (RFC 8985 §7.3).
    fn decide_loss_probe(&self, room: Room) -> Decision {
        if let Decision::New { end } = self.decide_new(room.new, true) {
            return Decision::New { end };
        }
        match self.board.last() {
            Some(last) => {
                let end = self.clip_retransmission(last.start, last.end, room.again);
                if end < last.end || end <= last.start {
                    return Decision::Nothing(Blocked::PeerWindow);
                }
                Decision::Retransmit {
                    start: last.start,
                    end,
                }
            }
            None => Decision::Nothing(Blocked::NoData),
        }
    }

    /// One byte behind the closed window, or the FIN (RFC 9293 §3.8.6.1).
    fn decide_window_probe(&self) -> Decision {
        match self.board.first() {
            Some(first) => Decision::Retransmit {
                start: first.start,
                end: first.start + 1,
            },
            None if self.has_unsent() => Decision::New {
                end: self.board.next() + 1,
            },
            None => Decision::Nothing(Blocked::NoData),
        }
    }

    /// How much of a segment can be sent again: what one segment holds and the peer takes.
    fn clip_retransmission(&self, start: u64, end: u64, payload_max: u64) -> u64 {
        let carries_fin = self.fin.is_some_and(|fin| end > fin);
        let holds = start + payload_max + u64::from(carries_fin && end - start == payload_max + 1);
        end.min(holds).min(self.window.edge())
    }

    fn retransmit(
        &mut self,
        start: u64,
        end: u64,
        now: Instant,
        stamp: Option<u32>,
        stats: &mut Counters,
    ) -> Outgoing {
        // A probe of the closed window repeats a byte of a segment that stays as it is.
        let whole = self.board.end_of(start);
        let probes = self.is_window_closed();
        if let Some(whole) = whole
            && !probes
        {
            // One that the peer's window cuts short keeps one record: a peer that moves
            // its window byte by byte would otherwise have us keep one of each byte.
            let mark = self.rate.on_sent(now, self.in_flight() == 0);
            self.board.retransmit(whole, end, now, mark);
            if let Some(episode) = &mut self.episode {
                episode.on_retransmit(start, whole, stamp);
            }
        }
        stats.retransmits += 1;
        stats.bytes_retransmitted += end - start;
        self.timer_after_sending(now);
        self.after_sending(end - start, now);
        self.outgoing(start, end, end - start)
    }

    /// Up to `end`, in segments of `segment_bytes`, which is a FIN more than the data of the only
    /// one if that has one.
    fn send_new(
        &mut self,
        end: u64,
        segment_bytes: u64,
        urge: Urge,
        now: Instant,
        stats: &mut Counters,
    ) -> Outgoing {
        let start = self.board.next();
        let mark = self.rate.on_sent(now, self.board.is_empty());
        self.board.push(end, segment_bytes, now, mark);
        stats.bytes_sent += self.buffer.end().min(end) - start.min(self.buffer.end());
        self.small_due = None;
        self.timer_after_sending(now);
        for _ in 0..(end - start) / segment_bytes {
            self.after_sending(segment_bytes, now);
        }
        if urge == Urge::LossProbe {
            stats.loss_probes += 1;
            self.tail.on_sent(self.board.next(), false);
        } else {
            self.schedule_loss_probe(now);
        }
        self.outgoing(start, end, segment_bytes)
    }

    fn timer_after_sending(&mut self, now: Instant) {
        if self.is_window_closed() {
            self.timer.stop();
        } else {
            // RFC 6298 §5.1.
            self.timer.ensure_started(now);
        }
    }

    fn after_sending(&mut self, bytes: u64, now: Instant) {
        self.pacing_due = None;
        self.window_limited = false;
        self.last_sent_at = Some(now);
        self.pacer.on_sent(bytes, now);
        if let Phase::Recovery { prr, .. } = &mut self.phase {
            prr.on_sent(bytes);
        }
    }

    fn outgoing(&self, start: u64, end: u64, segment_bytes: u64) -> Outgoing {
        let data_end = end.min(self.buffer.end());
        Outgoing {
            start,
            payload: self.buffer.slice(start.min(data_end), data_end),
            segment_bytes: usize::try_from(segment_bytes).unwrap_or(usize::MAX),
            fin: self.fin.is_some_and(|fin| end > fin),
            push: data_end == self.buffer.end(),
        }
    }

    /// Sets what has to happen before more can go out.
    fn note_blocked(&mut self, blocked: Blocked, now: Instant) {
        self.pacing_due = None;
        let in_flight = self.in_flight();
        match blocked {
            Blocked::Pacing(at) => {
                self.pacing_due = Some(at);
                self.window_limited = 2 * in_flight >= self.congestion_window();
            }
            Blocked::CongestionWindow => self.window_limited = true,
            Blocked::PeerWindow if self.is_window_closed() => {
                let rto = self.rto();
                self.probe.ensure_started(now, rto);
                self.rate.on_app_limited(in_flight);
            }
            Blocked::PeerWindow if self.board.is_empty() => {
                // RFC 9293 §3.8.6.2.1: after 0.1 to 1 s it goes out as it is.
                let wait = self.rto().clamp(SMALL_WAIT_MIN, SMALL_WAIT_MAX);
                self.small_due.get_or_insert(now + wait);
                self.rate.on_app_limited(in_flight);
            }
            Blocked::NoData | Blocked::Nagle | Blocked::PeerWindow | Blocked::Segments => {
                if in_flight + self.settings.mss <= self.congestion_window() {
                    self.window_limited = false;
                    self.rate.on_app_limited(in_flight);
                }
            }
        }
    }

    /// After a pause, the window says nothing about the path any more (RFC 5681 §4.1).
    fn restart_after_idle(&mut self, now: Instant) {
        if self.board.is_empty()
            && self.has_unsent()
            && let Some(at) = self.last_sent_at
            && now.saturating_since(at) > self.rto()
        {
            self.controller.on_idle();
            self.last_sent_at = None;
            self.update_pacing();
        }
    }
}
