//! A connection at the mercy of bytes: each input is a play of segments, calls and times.
//!
//! There is no instrumented build here: libFuzzer wants a nightly compiler and AFL a C compiler
//! of its own, and neither can be asked of everybody who runs the tests. What an input reaches is
//! judged by what the connection itself says, which for a state machine is most of what coverage
//! would say: its states, the ways between them, and its counters in each. An input that reaches
//! something new is kept. Segments are aimed at the edges of the windows, or near them. What a
//! connection costs is counted, too, so that nothing quadratic hides behind a fast machine.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use bytes::Bytes;
use packhorse_tcp::{Config, KeepAlive};

use crate::Instant;
use crate::random::Random;
use crate::tcp_host::TcpHost;
use crate::wire::{Flags, TcpOption, TcpPacket};
use crate::world::Host;

/// The longest input, in bytes; more would only be slower.
pub const INPUT_BYTES_MAX: usize = 1024;

/// The most segments that one step may bring out: a full window of the smallest segments, and then
/// some.
const SEGMENTS_PER_STEP_MAX: usize = 20_000;

/// The most records that a connection may look at for each segment, sent or received, each step of
/// the play, and each time-out: what it costs must not grow with the square of anything.
const STEPS_PER_EVENT_MAX: u64 = 64;

/// The most often that a connection may ask for the clock in one step.
const TURNS_PER_STEP_MAX: u32 = 20_000;

const LOCAL: ([u8; 4], u16) = ([192, 0, 2, 1], 80);
const REMOTE: ([u8; 4], u16) = ([192, 0, 2, 2], 4000);

/// What an input reached: a state, or a counter with its magnitude in a state.
pub type Features = BTreeSet<String>;

/// Why an input is kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The connection sends without end.
    #[error("one step brought out {0} segments")]
    Storm(usize),
    /// The connection asks for the clock without end.
    #[error("one step asked for the clock {0} times")]
    Livelock(u32),
    /// The connection works more than what happened to it is worth.
    #[error("it looked at {steps} records for {events} events")]
    Costly {
        /// Records looked at.
        steps: u64,
        /// Segments, steps of the play, and segments in flight at time-outs.
        events: u64,
    },
    /// What it sent cannot be read.
    #[error("it sent something that is no packet: {0}")]
    Unreadable(crate::wire::WireError),
}

/// Plays `input`.
///
/// # Errors
/// What must never be. A panic of the stack is left to fly.
pub fn play(input: &[u8]) -> Result<Features, Finding> {
    let mut player = Player::new(input);
    while player.step()? {}
    Ok(player.features)
}

/// Makes a new input of an old one.
#[must_use]
pub fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.between(1..=4) {
        let length = bytes.len() as u64;
        match random.below(5) {
            0 if length > 0 => {
                let place = random.below(length) as usize;
                bytes[place] = random.next_u64() as u8;
            }
            1 if length > 0 => {
                bytes.remove(random.below(length) as usize);
            }
            2 => bytes.insert(random.below(length + 1) as usize, random.next_u64() as u8),
            3 if !other.is_empty() => {
                // A part of another input, where it may do something else.
                let from = random.below(other.len() as u64) as usize;
                let to = random.between(from as u64..=other.len() as u64) as usize;
                let place = random.below(length + 1) as usize;
                bytes.splice(place..place, other[from..to].iter().copied());
            }
            _ => bytes.extend((0..random.between(1..=30)).map(|_| random.next_u64() as u8)),
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// The inputs in a directory, by the names of their files.
///
/// # Errors
/// It cannot be read.
pub fn corpus(directory: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "input")
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            inputs.push((name.into_owned(), fs::read(&path)?));
        }
    }
    inputs.sort();
    Ok(inputs)
}

struct Player<'a> {
    input: &'a [u8],
    host: TcpHost,
    now: Instant,
    /// What the stack acknowledged last, so that segments can be aimed at it.
    receives_at: u32,
    /// Behind what it has sent.
    sent_to: u32,
    timestamp: u32,
    /// Steps played.
    played: u64,
    /// The state before this step.
    state: &'static str,
    features: Features,
}

impl<'a> Player<'a> {
    fn new(input: &'a [u8]) -> Self {
        let mut player = Self {
            input,
            host: TcpHost::new(
                SocketAddr::from(LOCAL),
                SocketAddr::from(REMOTE),
                Config::default(),
                0,
            ),
            now: Instant::default(),
            receives_at: 0,
            sent_to: 0,
            timestamp: 0,
            played: 0,
            state: "CLOSED",
            features: Features::new(),
        };
        let (first, second) = (player.byte(), player.byte());
        let bit = |bit: u8| first & 1 << bit != 0;
        let config = Config {
            sack: bit(0),
            timestamps: bit(1),
            window_scale: bit(2),
            nagle: bit(3),
            pacing: bit(4),
            receive_buffer_bytes: if bit(5) { 3_000 } else { 1 << 20 },
            send_buffer_bytes: if bit(6) { 3_000 } else { 1 << 20 },
            mtu_bytes: if second & 1 == 0 { 1500 } else { 300 },
            keep_alive: (second & 2 == 0).then(KeepAlive::default),
            ..Config::default()
        };
        let isn = if second & 4 == 0 {
            0x1000
        } else {
            u32::MAX - 2000
        };
        player.receives_at = if second & 8 == 0 {
            0x2000
        } else {
            u32::MAX - 100
        };
        player.sent_to = isn.wrapping_add(1);
        player.host = TcpHost::new(
            SocketAddr::from(LOCAL),
            SocketAddr::from(REMOTE),
            config,
            isn,
        );
        if bit(7) {
            player.host.connect(player.now);
        } else {
            player.host.listen();
        }
        player
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.input.split_first() else {
            return 0;
        };
        self.input = rest;
        *first
    }

    /// Plays one step; `false` at the end of the input.
    fn step(&mut self) -> Result<bool, Finding> {
        if self.input.is_empty() {
            return Ok(false);
        }
        let (now, operation) = (self.now, self.byte());
        match operation % 16 {
            0..=7 => self.inject(operation),
            8 => self.inject_raw(),
            9 | 10 => {
                let exponent = self.byte() % 48;
                self.advance(Duration::from_micros(1 << exponent))?;
            }
            11 => {
                let next = self.host.poll_timeout().unwrap_or(now);
                self.advance(next.saturating_since(now))?;
            }
            12 => {
                let length = usize::from(self.byte()) * 40;
                self.host.write(now, &vec![0x77; length]);
            }
            13 => {
                let length = usize::from(self.byte()) * 40;
                let _ = self.host.read(now, length);
            }
            14 => self.host.shutdown(now),
            _ if self.byte() < 16 => self.host.abort(now),
            _ => {}
        }
        self.drain()?;
        self.observe(operation % 16);
        self.weigh()?;
        Ok(true)
    }

    fn inject(&mut self, operation: u8) {
        let flags = match self.byte() % 16 {
            0 => Flags::SYN,
            1 => Flags::SYN | Flags::ACK,
            2 => Flags::RST,
            3 => Flags::RST | Flags::ACK,
            4 | 5 => Flags::FIN | Flags::ACK,
            6 => Flags(u16::from(self.byte())),
            _ => Flags::ACK,
        };
        // Mostly exactly where the stack is, or near it, sometimes anywhere.
        let near = |player: &mut Self, base: u32| match player.byte() {
            0..=159 => base,
            160..=199 => base.wrapping_sub(u32::from(player.byte())),
            200..=239 => base.wrapping_add(u32::from(player.byte()) * 50),
            _ => base.wrapping_add(u32::from(player.byte()) << 24),
        };
        let seq = near(self, self.receives_at);
        let ack = near(self, self.sent_to);
        let window = u16::from(self.byte()) << 8 | u16::from(operation >> 4);
        let length = match self.byte() {
            0..=127 => 0,
            small @ 128..=191 => usize::from(small - 127),
            large => usize::from(large - 190) * 20,
        };
        let options = self.options(operation, ack);
        let packet = TcpPacket {
            source: SocketAddr::from(REMOTE),
            destination: SocketAddr::from(LOCAL),
            seq,
            ack,
            flags,
            window,
            urgent: 0,
            options,
            payload: vec![0x33; length].into(),
        };
        self.host.handle_packet(self.now, packet.encode());
    }

    fn options(&mut self, operation: u8, ack: u32) -> Vec<TcpOption> {
        let mut options = Vec::new();
        if operation & 16 != 0 {
            let step = self.byte();
            self.timestamp = self.timestamp.wrapping_add(u32::from(step));
            let value = if step < 240 {
                self.timestamp
            } else {
                self.timestamp.wrapping_sub(u32::from(step) << 20)
            };
            let echo = (self.now.as_nanos() / 1_000_000) as u32;
            // Some lie about what they answer, as if it had been sent long ago, or will be.
            let echo = match step {
                200..=219 => echo.wrapping_sub(u32::from(step) << 2),
                220..=239 => echo.wrapping_add(u32::from(step) << 20),
                _ => echo,
            };
            options.push(TcpOption::Timestamps { value, echo });
        }
        if operation & 32 != 0 {
            let mut blocks = Vec::new();
            for _ in 0..self.byte() % 4 {
                let first = ack
                    .wrapping_add(u32::from(self.byte()) * 100)
                    .wrapping_sub(500);
                let behind = first.wrapping_add(u32::from(self.byte()) * 20);
                blocks.push((first, behind));
            }
            if !blocks.is_empty() {
                options.push(TcpOption::Sack(blocks));
            }
        }
        if operation & 64 != 0 {
            options.push(TcpOption::Mss(u16::from(self.byte()) * 8));
        }
        if operation & 128 != 0 && options.len() < 2 {
            options.push(TcpOption::WindowScale(self.byte() % 20));
            options.push(TcpOption::SackPermitted);
        }
        options
    }

    /// Bytes that may be no packet at all.
    fn inject_raw(&mut self) {
        let length = usize::from(self.byte()).min(self.input.len());
        let (raw, rest) = self.input.split_at(length);
        self.input = rest;
        self.host
            .handle_packet(self.now, Bytes::copy_from_slice(raw));
    }

    fn advance(&mut self, span: Duration) -> Result<(), Finding> {
        let until = self.now + span;
        for _ in 0..TURNS_PER_STEP_MAX {
            match self.host.poll_timeout() {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    self.host.handle_timeout(self.now);
                    self.drain()?;
                }
                _ => {
                    self.now = until;
                    return Ok(());
                }
            }
        }
        // Time goes on, if slowly: a keep-alive over years is no livelock.
        if self.now + Duration::from_secs(1) < until {
            self.now = until;
            return Ok(());
        }
        Err(Finding::Livelock(TURNS_PER_STEP_MAX))
    }

    fn drain(&mut self) -> Result<(), Finding> {
        let mut count = 0;
        while let Some(bytes) = self.host.poll_transmit(self.now) {
            count += 1;
            if count > SEGMENTS_PER_STEP_MAX {
                return Err(Finding::Storm(count));
            }
            let packet = TcpPacket::decode(&bytes).map_err(Finding::Unreadable)?;
            if packet.flags.has(Flags::ACK) {
                self.receives_at = packet.ack;
            }
            let end = packet.seq.wrapping_add(packet.sequence_length());
            if end.wrapping_sub(self.sent_to) < 1 << 31 {
                self.sent_to = end;
            }
        }
        while self.host.next_event().is_some() {}
        Ok(())
    }

    /// What tells one way through the code from another.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Some(stats) = self.host.stats() else {
            return Vec::new();
        };
        let counters = stats.counters;
        vec![
            ("received", counters.segments_received),
            ("sent", counters.segments_sent),
            ("bytes sent", counters.bytes_sent),
            ("bytes received", counters.bytes_received),
            ("bytes acked", counters.bytes_acked),
            ("retransmits", counters.retransmits),
            ("rtos", counters.rtos),
            ("recoveries", counters.fast_recoveries),
            ("loss probes", counters.loss_probes),
            ("window probes", counters.window_probes),
            ("keep-alive probes", counters.keep_alive_probes),
            ("undone", counters.spurious_undone),
            ("lost", counters.segments_lost),
            ("sacked", counters.bytes_sacked),
            ("dsacks", counters.dsacks_received),
            ("reneges", counters.reneges),
            ("duplicate acks", counters.duplicate_acks),
            ("duplicates", counters.duplicate_segments),
            ("out of order", counters.out_of_order_segments),
            ("paws", counters.paws_dropped),
            ("challenges", counters.challenge_acks),
            ("withheld", counters.acks_withheld),
            ("resets", counters.resets_sent),
            ("reordering", u64::from(stats.reordering_seen)),
            ("closed window", u64::from(stats.send_window == 0)),
        ]
    }

    /// Whether the connection works as much as what happened to it is worth.
    fn weigh(&mut self) -> Result<(), Finding> {
        self.played += 1;
        let Some(stats) = self.host.stats() else {
            return Ok(());
        };
        let counters = stats.counters;
        let segments = counters.segments_sent + counters.segments_received;
        // A time-out looks at all that is in flight, which was sent once.
        let events = (1 + counters.rtos) * segments + self.played;
        let steps = stats.steps;
        if steps > STEPS_PER_EVENT_MAX * events {
            return Err(Finding::Costly { steps, events });
        }
        Ok(())
    }

    fn observe(&mut self, operation: u8) {
        let state = self.host.state_name();
        if state != self.state {
            let before = std::mem::replace(&mut self.state, state);
            self.features
                .insert(format!("{before} to {state} by {operation}"));
        }
        for (name, count) in self.counters() {
            if count > 0 {
                let magnitude = count.ilog2().min(4);
                self.features.insert(format!("{state} {name} {magnitude}"));
            }
        }
        if !self.features.contains(state) {
            self.features.insert(state.to_owned());
        }
    }
}
