//! The sending half of a connection: what goes out, and what is known of its fate.

mod acknowledge;
mod expire;
mod recovery;
mod transmit;

use alloc::boxed::Box;
use core::time::Duration;

use bytes::Bytes;

pub(crate) use acknowledge::{Ack, AckClass};
pub(crate) use transmit::{Outgoing, Room};

use crate::config::Config;
use crate::congestion::{self, Congestion, CongestionControl, Start};
use crate::deadline::{Deadline, Reason};
use crate::delivery_rate::DeliveryRate;
use crate::pacing::Pacer;
use crate::rack::Rack;
use crate::rto::RetransmitTimer;
use crate::rtt::RttEstimator;
use crate::scoreboard::Scoreboard;
use crate::send_buffer::SendBuffer;
use crate::send_window::SendWindow;
use crate::seq::SequenceSpace;
use crate::spurious::{Episode, UndoLimit};
use crate::stats::Stats;
use crate::tail_loss::TailLoss;
use crate::time::Instant;
use crate::window_probe::WindowProbe;
use recovery::Phase;

/// The time-out for the first data after a handshake whose SYN was sent again (RFC 6298 §5.7).
const RTO_AFTER_LOST_SYN: Duration = Duration::from_secs(3);

/// Everything between what the user writes and what the peer has acknowledged.
#[derive(Debug)]
pub(crate) struct Sender {
    space: SequenceSpace,
    settings: Settings,
    buffer: SendBuffer,
    /// Where the FIN is, once the user has closed.
    fin: Option<u64>,
    board: Scoreboard,
    window: SendWindow,
    rtt: RttEstimator,
    timer: RetransmitTimer,
    rack: Rack,
    tail: TailLoss,
    /// When RACK gives up the next segment.
    reordering_due: Option<Instant>,
    phase: Phase,
    /// Seldom there.
    episode: Option<Box<Episode>>,
    undo_limit: UndoLimit,
    /// Bytes that duplicate acknowledgements of a peer without SACK stand for.
    presumed_bytes: u64,
    /// How many of those came in a row.
    duplicates: usize,
    controller: Box<dyn CongestionControl>,
    pacer: Pacer,
    rate: DeliveryRate,
    probe: WindowProbe,
    /// When a small segment goes out though the window is small.
    small_due: Option<Instant>,
    urge: Urge,
    /// When the congestion window or the pacer last kept data back, as far as it does still.
    window_limited: bool,
    pacing_due: Option<Instant>,
    last_sent_at: Option<Instant>,
    /// When the peer last took something, or something began to wait for it.
    progress_at: Instant,
    /// What an acknowledgement reports, kept for its memory.
    delivered: alloc::vec::Vec<crate::scoreboard::Sent>,
}

/// What does not change once the handshake is complete.
#[derive(Debug, Clone, Copy)]
struct Settings {
    nagle: bool,
    pacing: bool,
    congestion: Congestion,
    initial_window_segments: u32,
    segments_in_flight_max: usize,
    sack: bool,
    /// What our timestamps are offset by, if there are any.
    timestamp_offset: Option<u32>,
    /// The payload of a full segment, timestamps counted out (Eff.snd.MSS).
    mss: u64,
}

/// What the handshake has settled for the sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    /// Payload of a full segment, bytes, timestamps counted out.
    pub(crate) mss: u64,
    pub(crate) sack: bool,
    pub(crate) timestamp_offset: Option<u32>,
    /// The position of the peer's segment and its window.
    pub(crate) seq: u64,
    pub(crate) window: u64,
    /// The round trip of the SYN, if it was sent once.
    pub(crate) rtt: Option<Duration>,
    pub(crate) syn_lost: bool,
}

/// One segment that goes out whatever the windows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urge {
    None,
    /// The first lost segment, after a time-out.
    Retransmit,
    /// A tail loss probe.
    LossProbe,
    /// A probe of the closed window.
    WindowProbe,
    /// A segment smaller than is sensible.
    Small,
}

impl Sender {
    pub(crate) fn new(config: &Config, space: SequenceSpace, now: Instant) -> Self {
        let mss = 536;
        let settings = Settings {
            nagle: config.nagle,
            pacing: config.pacing,
            congestion: config.congestion,
            initial_window_segments: config.initial_window_segments,
            segments_in_flight_max: config.segments_in_flight_max.max(1),
            sack: false,
            timestamp_offset: None,
            mss,
        };
        Self {
            space,
            settings,
            buffer: SendBuffer::new(config.send_buffer_bytes.max(1)),
            fin: None,
            board: Scoreboard::new(),
            window: SendWindow::new(0, SequenceSpace::ORIGIN + 1, 0),
            rtt: RttEstimator::new(),
            timer: RetransmitTimer::new(config.rto),
            rack: Rack::new(),
            tail: TailLoss::default(),
            reordering_due: None,
            phase: Phase::Open,
            episode: None,
            undo_limit: UndoLimit::default(),
            presumed_bytes: 0,
            duplicates: 0,
            controller: settings.controller(),
            pacer: Pacer::default(),
            rate: DeliveryRate::default(),
            probe: WindowProbe::new(config.rto.max),
            small_due: None,
            urge: Urge::None,
            window_limited: false,
            pacing_due: None,
            last_sent_at: None,
            progress_at: now,
            delivered: alloc::vec::Vec::new(),
        }
    }

    /// The handshake is complete: data may flow.
    pub(crate) fn begin(&mut self, agreed: &Agreed, now: Instant) {
        self.settings.mss = agreed.mss.max(1);
        self.settings.sack = agreed.sack;
        self.settings.timestamp_offset = agreed.timestamp_offset;
        self.window = SendWindow::new(agreed.seq, SequenceSpace::ORIGIN + 1, agreed.window);
        if agreed.syn_lost {
            // RFC 6928 §2: one segment to begin with if the SYN was lost; RFC 6298 §5.7.
            self.settings.initial_window_segments = 1;
            self.rtt = RttEstimator::new();
            self.timer.raise_initial(RTO_AFTER_LOST_SYN);
        }
        self.controller = self.settings.controller();
        if let Some(rtt) = agreed.rtt {
            self.rtt.sample(rtt, 1, now);
        }
        self.progress_at = now;
        self.update_pacing();
    }

    /// Takes as much of `data` as there is room for; nothing once the user has closed.
    pub(crate) fn write(&mut self, data: Bytes, now: Instant) -> usize {
        if self.fin.is_some() {
            return 0;
        }
        self.begin_waiting(now);
        self.buffer.write(data)
    }

    /// What `write` would take.
    pub(crate) fn room(&self) -> u64 {
        if self.fin.is_some() {
            0
        } else {
            self.buffer.room()
        }
    }

    /// Puts a FIN behind what was written.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.begin_waiting(now);
        self.fin.get_or_insert(self.buffer.end());
    }

    /// Whether the peer has acknowledged our FIN.
    pub(crate) fn is_finished(&self) -> bool {
        self.fin.is_some_and(|fin| self.board.unacked() > fin)
    }

    /// Whether anything of ours is not acknowledged, sent or not.
    pub(crate) fn has_unacked(&self) -> bool {
        self.board.unacked() < self.end()
    }

    /// The number of the next byte to send (SND.NXT).
    pub(crate) fn next(&self) -> u64 {
        self.board.next()
    }

    /// The number of a segment without data: SND.NXT, or the window's edge if the peer
    /// has drawn it in, so that the peer accepts it.
    pub(crate) fn acceptable_number(&self) -> u64 {
        let edge = self.window.edge().max(self.board.unacked());
        self.board.next().min(edge)
    }

    pub(crate) fn nagle(&self) -> bool {
        self.settings.nagle
    }

    pub(crate) fn set_nagle(&mut self, nagle: bool) {
        self.settings.nagle = nagle;
    }

    /// Whether the user has closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.fin.is_some()
    }

    /// Whether both sides take SACK blocks.
    pub(crate) fn has_sack(&self) -> bool {
        self.settings.sack
    }

    /// SND.UNA.
    pub(crate) fn unacked(&self) -> u64 {
        self.board.unacked()
    }

    pub(crate) fn space(&self) -> SequenceSpace {
        self.space
    }

    /// Bytes on the way, a peer without SACK taken into account.
    pub(crate) fn in_flight(&self) -> u64 {
        self.board.in_flight().saturating_sub(self.presumed_bytes)
    }

    /// Gives back the memory of what is empty.
    pub(crate) fn shed(&mut self) {
        self.board.shed();
        self.buffer.shed();
        self.delivered = alloc::vec::Vec::new();
    }

    /// Since when the peer owes us an acknowledgement.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        if self.is_window_closed() {
            // RFC 9293 §3.8.6.1: never given up while it answers, however rarely it is asked.
            return self.probe.unanswered_since();
        }
        self.has_unacked().then_some(self.progress_at)
    }

    /// The smoothed round trip, if it was ever measured.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    pub(crate) fn rto(&self) -> Duration {
        self.timer.rto(&self.rtt)
    }

    /// When the sender next needs the clock, and why.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let deadline = |at: Option<Instant>, reason| at.map(|at| Deadline::new(at, reason));
        Deadline::first([
            // RFC 8985 §7.2: of both at once the probe, which may save us the time-out.
            deadline(self.tail.due(), Reason::LossProbe),
            deadline(self.timer.expires_at(&self.rtt), Reason::Retransmit),
            deadline(self.reordering_due, Reason::Reordering),
            deadline(self.probe.due(), Reason::WindowProbe),
            deadline(self.small_due, Reason::SmallWindow),
            deadline(self.pacing_due, Reason::Pacing),
        ])
    }

    /// Writes the present estimates into `stats`.
    pub(crate) fn describe(&self, stats: &mut Stats) {
        stats.cwnd = self.congestion_window();
        stats.ssthresh = self.controller.slow_start_threshold();
        stats.send_window = self.window.size();
        stats.in_flight = self.in_flight();
        stats.srtt = self.rtt.smoothed().unwrap_or_default();
        stats.min_rtt = self.rtt.least().unwrap_or_default();
        stats.rto = self.rto();
        stats.pacing_rate = self.pacer.rate().unwrap_or_default();
        stats.reordering_seen = self.rack.reordering_seen();
        stats.delivery_rate = self.rate.latest();
        stats.steps += self.board.steps();
    }

    /// Something is about to wait for the peer.
    fn begin_waiting(&mut self, now: Instant) {
        if !self.has_unacked() {
            self.progress_at = now;
        }
    }

    /// Whether the peer takes nothing at all at present.
    fn is_window_closed(&self) -> bool {
        self.window.is_closed(self.board.unacked())
    }

    /// Behind everything that was written, and behind the FIN.
    fn end(&self) -> u64 {
        self.fin.map_or(self.buffer.end(), |fin| fin + 1)
    }

    /// Whether something that was written, or the FIN, has never been sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.board.next() < self.end()
    }

    fn update_pacing(&mut self) {
        if !self.settings.pacing {
            return;
        }
        let rate = self.controller.pacing_rate().or_else(|| {
            // Twice the window in slow start, which doubles it; a little more than the
            // window afterwards, so that pacing is not what limits it.
            let gain = if self.controller.in_slow_start() {
                200
            } else {
                120
            };
            let srtt = self.rtt.smoothed()?;
            // In a recovery the window is what is in flight and a little: not a rate.
            let window = self.controller.window().max(self.settings.mss);
            crate::pacing::window_rate(window, srtt, gain)
        });
        self.pacer.set_rate(rate);
    }
}

impl Settings {
    fn controller(&self) -> Box<dyn CongestionControl> {
        self.congestion.start(&Start {
            mss: self.mss,
            paced: self.pacing,
            initial_window: congestion::initial_window(self.mss, self.initial_window_segments),
        })
    }
}
