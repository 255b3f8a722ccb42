//! How a connection begins.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;

use super::Connection;
use crate::addresses::is_unicast;
use crate::challenge_ack::ChallengeAcks;
use crate::config::Config;
use crate::event::{Event, Failure};
use crate::event_queue::EventQueue;
use crate::handshake::{self, Handshake, Role};
use crate::keep_alive::KeepAliveTimer;
use crate::receiver::Receiver;
use crate::sender::{Agreed, Sender};
use crate::seq::{SeqNumber, SequenceSpace};
use crate::state::State;
use crate::stats::Counters;
use crate::time::Instant;
use crate::timestamps::TimestampState;
use crate::user_timeout;
use crate::wire::{Flags, Packet, Segment};

impl Connection {
    /// Opens a connection from `local` to `remote`: the SYN is the first thing to transmit.
    ///
    /// `isn` comes from an [`IsnGenerator`](crate::IsnGenerator). The connection has failed
    /// already if `remote` is not the address of one host (RFC 9293 §3.9.2.3, MUST-46).
    #[must_use]
    pub fn connect(
        config: &Config,
        local: SocketAddr,
        remote: SocketAddr,
        isn: SeqNumber,
        now: Instant,
    ) -> Self {
        let shared = Arc::new(config.clone());
        Self::connect_shared(shared, config.timestamp_offset, local, remote, isn, now)
    }

    /// Like `connect`, with a configuration that others have too.
    pub(crate) fn connect_shared(
        config: Arc<Config>,
        timestamp_offset: u32,
        local: SocketAddr,
        remote: SocketAddr,
        isn: SeqNumber,
        now: Instant,
    ) -> Self {
        let handshake = Handshake::new(&config, Role::Active, None, now);
        let mut connection = Self::new(config, local, remote, isn, handshake, now);
        connection.timestamp_offset = timestamp_offset;
        if !is_unicast(remote.ip()) {
            connection.fail(Failure::NotUnicast);
        }
        connection
    }

    /// Answers the SYN in `packet`; `None` if it is not one that opens a connection, or comes
    /// from or goes to what is not one host (RFC 9293 §3.9.2.3, MUST-57, MUST-63).
    ///
    /// Data in the SYN is not taken; the peer sends it again.
    #[must_use]
    pub fn accept(config: &Config, packet: &Packet, isn: SeqNumber, now: Instant) -> Option<Self> {
        let shared = Arc::new(config.clone());
        Self::accept_shared(shared, config.timestamp_offset, packet, isn, now)
    }

    /// Like `accept`, with a configuration that others have too.
    pub(crate) fn accept_shared(
        config: Arc<Config>,
        timestamp_offset: u32,
        packet: &Packet,
        isn: SeqNumber,
        now: Instant,
    ) -> Option<Self> {
        let syn = &packet.segment;
        let opens = syn.flags.contains(Flags::SYN)
            && !syn.flags.contains(Flags::FIN)
            && !syn.flags.contains(Flags::RST)
            && syn.ack.is_none()
            && is_unicast(packet.source.ip())
            && is_unicast(packet.destination.ip());
        if !opens {
            return None;
        }
        let handshake = Handshake::new(&config, Role::Passive, Some(syn.options), now);
        let (local, remote) = (packet.destination, packet.source);
        let mut connection = Self::new(config, local, remote, isn, handshake, now);
        connection.timestamp_offset = timestamp_offset;
        connection.state = State::SynReceived;
        connection.take_syn(syn, now);
        Some(connection)
    }

    fn new(
        config: Arc<Config>,
        local: SocketAddr,
        remote: SocketAddr,
        isn: SeqNumber,
        handshake: Handshake,
        now: Instant,
    ) -> Self {
        Self {
            timestamp_offset: config.timestamp_offset,
            local,
            remote,
            state: State::SynSent,
            handshake: Some(Box::new(handshake)),
            sender: Sender::new(&config, SequenceSpace::new(isn), now),
            receiver: None,
            timestamps: None,
            peer_shift: 0,
            payload_max: 0,
            challenges: ChallengeAcks::default(),
            keep_alive: KeepAliveTimer::new(config.keep_alive, now),
            keep_alive_due: false,
            user_timeout: config.user_timeout.local,
            time_wait_until: None,
            fin_wait_2_until: None,
            reader_gone: false,
            reader_waits: true,
            writer_waits: false,
            reset: None,
            failure: None,
            events: EventQueue::default(),
            stats: Counters::default(),
            config,
        }
    }

    /// Takes the numbers and options of the peer's SYN.
    pub(super) fn take_syn(&mut self, syn: &Segment, now: Instant) {
        let agreement = handshake::agree(&self.config, self.remote.ip(), &syn.options);
        let space = SequenceSpace::new(syn.seq);
        let own_mss = handshake::own_mss(&self.config, self.remote.ip());
        self.receiver = Some(Receiver::new(
            &self.config,
            space,
            own_mss,
            agreement.our_shift,
        ));
        self.peer_shift = agreement.peer_shift;
        self.payload_max = agreement.payload_max();
        if let Some(stamp) = syn.options.timestamps
            && agreement.timestamps
        {
            let state = TimestampState::new(self.timestamp_offset, stamp.value, now);
            self.timestamps = Some(state);
        }
        self.user_timeout =
            user_timeout::agree(&self.config.user_timeout, syn.options.user_timeout);
    }

    /// Both SYNs are acknowledged; `window` is the peer's, scaled, from a segment at `seq`.
    pub(super) fn establish(&mut self, now: Instant, seq: u64, window: u64) {
        let Some(handshake) = self.handshake.take() else {
            return;
        };
        let remote = self.remote.ip();
        let sack = handshake
            .peer()
            .is_some_and(|peer| handshake::agree(&self.config, remote, peer).sack);
        let agreed = Agreed {
            mss: self.payload_max,
            sack,
            timestamp_offset: self.timestamps.map(|_| self.timestamp_offset),
            seq,
            window,
            rtt: handshake.measured(now),
            syn_lost: handshake.was_lost(),
        };
        self.sender.begin(&agreed, now);
        self.state = State::Established;
        self.events.push(Event::Connected);
        if self.sender.is_closing() {
            self.state = State::FinWait1;
        }
    }
}
