//! Plays a script against a stack, in virtual time.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::settings::Settings;
use super::{Action, OptionPattern, Pattern, ReadResult, Script, Stack, Step, When};
use crate::Instant;
use crate::link::Fate;
use crate::stream::Stream;
use crate::tcp_host::{Reading, TcpHost};
use crate::time_sequence::{Bases, seconds};
use crate::trace::Trace;
use crate::wire::{Flags, TcpOption, TcpPacket};
use crate::world::Side;

/// How much earlier or later than written a segment may come, unless the script says otherwise.
const TOLERANCE: Duration = Duration::from_millis(1);

/// How long `*` waits.
const WHENEVER_MAX: Duration = Duration::from_secs(3600);

/// How often a stack may ask for the clock within one step.
const TURNS_PER_STEP_MAX: u32 = 100_000;

/// What a script leaves open, and is played with in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Over IPv6.
    pub is_ipv6: bool,
    /// Our first sequence number.
    pub isn_local: u32,
    /// The peer's.
    pub isn_remote: u32,
}

impl Variant {
    /// Both families, each with plain numbers and with numbers about to wrap.
    pub const ALL: [Self; 6] = [
        Self::new(false, 1_000_000, 2_000_000),
        Self::new(true, 1_000_000, 2_000_000),
        Self::new(false, u32::MAX - 50, u32::MAX - 550),
        Self::new(true, u32::MAX - 1200, u32::MAX),
        Self::new(false, 0x7fff_ff00, 0x7fff_fffe),
        Self::new(true, 0x8000_0000, 0x7fff_f000),
    ];

    const fn new(is_ipv6: bool, isn_local: u32, isn_remote: u32) -> Self {
        Self {
            is_ipv6,
            isn_local,
            isn_remote,
        }
    }

    /// The stack's end, and the peer's.
    #[must_use]
    pub fn addresses(self) -> [SocketAddr; 2] {
        let (local, remote): (IpAddr, IpAddr) = if self.is_ipv6 {
            (
                [0xfd3d, 0, 0, 0, 0, 0, 0, 1].into(),
                [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            )
        } else {
            ([192, 168, 0, 1].into(), [192, 0, 2, 1].into())
        };
        [
            SocketAddr::new(local, 8080),
            SocketAddr::new(remote, 40_000),
        ]
    }
}

/// Where a script and the stack went apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{text}`\n    {message}\n    ({variant:?})\n{transcript}")]
pub struct Failure {
    /// The line of the step, 0 in an included script.
    pub line: usize,
    /// The step.
    pub text: String,
    /// What was wrong.
    pub message: String,
    /// How it was played.
    pub variant: Variant,
    /// Every segment up to there; the stack is on the left.
    pub transcript: String,
}

impl Script {
    /// Plays it in one way. To be played over one family only is no failure in the other.
    ///
    /// # Errors
    /// The first step that does not hold.
    pub fn play(&self, variant: Variant) -> Result<(), Box<Failure>> {
        let settings = self.resolve(variant)?;
        let [local, remote] = variant.addresses();
        let config = settings.config.clone();
        self.play_on(
            variant,
            TcpHost::new(local, remote, config, variant.isn_local),
        )
    }

    /// Plays it against a host that was configured already.
    ///
    /// # Errors
    /// The first step that does not hold.
    pub fn play_on(&self, variant: Variant, host: impl Stack) -> Result<(), Box<Failure>> {
        let settings = self.resolve(variant)?;
        let fail = |line, text: &str, message, transcript| {
            Box::new(Failure {
                line,
                text: text.to_owned(),
                message,
                variant,
                transcript,
            })
        };
        if settings
            .is_ipv6_only
            .is_some_and(|only| only != variant.is_ipv6)
        {
            return Ok(());
        }
        let mut player = Player::new(settings, variant, host);
        for step in &self.steps {
            player
                .play(step)
                .map_err(|message| fail(step.line, &step.text, message, player.transcript()))?;
        }
        match player.outbox.front() {
            Some(extra) => {
                let message = format!("at the end, unexpected: {}", player.describe(extra));
                Err(fail(0, "", message, player.transcript()))
            }
            None => Ok(()),
        }
    }

    fn resolve(&self, variant: Variant) -> Result<Settings, Box<Failure>> {
        Settings::resolve(&self.settings, variant.is_ipv6).map_err(|error| {
            Box::new(Failure {
                line: error.line,
                text: error.text,
                message: error.message,
                variant,
                transcript: String::new(),
            })
        })
    }
}

struct Player<S> {
    settings: Settings,
    variant: Variant,
    addresses: [SocketAddr; 2],
    host: S,
    now: Instant,
    /// The time of the last step.
    last: Instant,
    /// What the stack has sent and no step has expected yet.
    outbox: VecDeque<(Instant, TcpPacket)>,
    /// What is added to a timestamp of ours in a script.
    timestamp_base: Option<u32>,
    written: u64,
    read: u64,
    trace: Trace,
}

impl<S: Stack> Player<S> {
    fn new(settings: Settings, variant: Variant, host: S) -> Self {
        Self {
            settings,
            variant,
            addresses: variant.addresses(),
            host,
            now: Instant::default(),
            last: Instant::default(),
            outbox: VecDeque::new(),
            timestamp_base: None,
            written: 0,
            read: 0,
            trace: Trace::default(),
        }
    }

    fn play(&mut self, step: &Step) -> Result<(), String> {
        if let Action::Expect(pattern) = &step.action {
            return self.expect(step.when, pattern);
        }
        let at = match step.when {
            When::At(span) => Instant::default() + span,
            When::After(span) => self.last + span,
            When::Between(..) | When::Whenever => {
                return Err("only a segment of the stack has a time that is open".to_owned());
            }
        };
        self.advance(at)?;
        if let Some(extra) = self.outbox.front() {
            return Err(format!("before that, unexpected: {}", self.describe(extra)));
        }
        self.last = self.now;
        self.act(&step.action)?;
        self.drain()
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Inject(pattern) => self.inject(pattern),
            Action::Expect(_) | Action::Quiet => {}
            Action::Connect => self.host.connect(self.now),
            Action::Listen => self.host.listen(),
            Action::Write(bytes, taken) => {
                let data = Stream::Left.bytes(self.written, *bytes);
                let really = self.host.write(self.now, &data);
                self.written += really as u64;
                if really != *taken {
                    return Err(format!("{really} bytes were taken"));
                }
            }
            Action::Read(bytes, expected) => self.read(*bytes, *expected)?,
            Action::Shutdown => self.host.shutdown(self.now),
            Action::Abort => self.host.abort(self.now),
            Action::State(name) => {
                let state = self.host.state_name();
                if state != name {
                    return Err(format!("the state is {state}"));
                }
            }
            Action::Event(name) => self.event(name)?,
        }
        Ok(())
    }

    /// Reads up to `bytes`, in as many pieces as the stack gives.
    fn read(&mut self, bytes: usize, expected: ReadResult) -> Result<(), String> {
        let mut count = 0;
        let last = loop {
            if count == bytes && bytes > 0 {
                break ReadResult::Bytes(count);
            }
            match self.host.read(self.now, bytes - count) {
                Reading::Data(data) => {
                    if Stream::Right.difference(self.read, &data).is_some() {
                        return Err("what was read is not what the peer sent".to_owned());
                    }
                    self.read += data.len() as u64;
                    count += data.len();
                }
                _ if count > 0 => break ReadResult::Bytes(count),
                Reading::End => break ReadResult::End,
                Reading::Blocked => break ReadResult::Blocked,
                Reading::Failed => break ReadResult::Failed,
            }
        };
        if last != expected {
            return Err(format!("what is read is {last:?}"));
        }
        Ok(())
    }

    fn event(&mut self, name: &str) -> Result<(), String> {
        let mut others = Vec::new();
        while let Some(event) = self.host.next_event() {
            if event == name {
                return Ok(());
            }
            others.push(event);
        }
        Err(format!("no such event has come, but {others:?}"))
    }

    fn inject(&mut self, pattern: &Pattern) {
        let (local, remote) = (self.variant.isn_local, self.variant.isn_remote);
        let [destination, source] = self.addresses;
        let options = pattern.options.iter().flatten();
        let base = if pattern.is_raw { 0 } else { remote };
        let packet = TcpPacket {
            source,
            destination,
            seq: absolute(base, pattern.seq),
            ack: pattern.ack.map_or(0, |ack| absolute(local, ack)),
            flags: pattern.flags,
            window: pattern.window.unwrap_or(0),
            urgent: pattern.urgent.unwrap_or(0),
            options: options
                .map(|option| self.option(option, [local, remote], false))
                .collect(),
            // The SYN takes the number before the first byte.
            payload: {
                let first = pattern.seq + i64::from(pattern.flags.has(Flags::SYN)) - 1;
                Stream::Right.bytes(first as u64, pattern.length).into()
            },
        };
        let mut bytes = packet.encode();
        if pattern.has_bad_checksum {
            let mut damaged = bytes.to_vec();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            bytes = Bytes::from(damaged);
        }
        self.trace.receive(self.now, Side::Left, bytes.clone());
        self.host.handle_packet(self.now, bytes);
    }

    /// An option of a pattern with absolute numbers; `isns` are of the side that a SACK block
    /// tells about, and of the other.
    fn option(&self, option: &OptionPattern, isns: [u32; 2], is_ours: bool) -> TcpOption {
        match option {
            OptionPattern::Plain(option) => option.clone(),
            OptionPattern::Sack(blocks) => {
                let edges = |(first, behind): &(i64, i64)| {
                    (absolute(isns[0], *first), absolute(isns[0], *behind))
                };
                TcpOption::Sack(blocks.iter().map(edges).collect())
            }
            OptionPattern::Timestamps(value, echo) => {
                let base = self.timestamp_base.unwrap_or(0);
                let (value, echo) = (value.unwrap_or(0) as u32, echo.unwrap_or(0) as u32);
                if is_ours {
                    TcpOption::Timestamps {
                        value: value.wrapping_add(base),
                        echo,
                    }
                } else {
                    TcpOption::Timestamps {
                        value,
                        echo: echo.wrapping_add(base),
                    }
                }
            }
        }
    }

    fn expect(&mut self, when: When, pattern: &Pattern) -> Result<(), String> {
        let (earliest, latest) = match when {
            When::At(span) => (Instant::default() + span, Instant::default() + span),
            When::After(span) => (self.last + span, self.last + span),
            When::Between(low, high) => (self.last + low, self.last + high),
            When::Whenever => (self.last, self.last + WHENEVER_MAX),
        };
        let until = latest + self.settings.tolerance.unwrap_or(TOLERANCE);
        let (at, packet) = self
            .next_packet(until)?
            .ok_or_else(|| format!("nothing was sent until {}", seconds(until)))?;
        if at + self.settings.tolerance.unwrap_or(TOLERANCE) < earliest || at > until {
            let told = self.describe(&(at, packet));
            return Err(format!(
                "{} s is the earliest, {} s the latest, but: {told}",
                seconds(earliest),
                seconds(latest)
            ));
        }
        self.last = at;
        self.compare(pattern, &packet)
            .map_err(|what| format!("{what} differs: {}", self.describe(&(at, packet))))
    }

    fn next_packet(&mut self, until: Instant) -> Result<Option<(Instant, TcpPacket)>, String> {
        for _ in 0..TURNS_PER_STEP_MAX {
            if let Some(first) = self.outbox.pop_front() {
                return Ok(Some(first));
            }
            match self.host.poll_timeout() {
                Some(at) if at <= until => self.turn(at)?,
                _ => {
                    return Ok(None);
                }
            }
        }
        Err("the stack asks for the clock over and over".to_owned())
    }

    /// Lets time pass until `at`.
    fn advance(&mut self, at: Instant) -> Result<(), String> {
        for _ in 0..TURNS_PER_STEP_MAX {
            match self.host.poll_timeout() {
                Some(due) if due <= at => self.turn(due)?,
                _ => {
                    self.now = self.now.max(at);
                    return Ok(());
                }
            }
        }
        Err("the stack asks for the clock over and over".to_owned())
    }

    fn turn(&mut self, due: Instant) -> Result<(), String> {
        self.now = self.now.max(due);
        self.host.handle_timeout(self.now);
        self.drain()
    }

    fn drain(&mut self) -> Result<(), String> {
        while let Some(bytes) = self.host.poll_transmit(self.now) {
            self.trace
                .send(self.now, Side::Left, bytes.clone(), Fate::Passed);
            let packet = TcpPacket::decode(&bytes)
                .map_err(|error| format!("the stack sent something wrong: {error}"))?;
            let [local, remote] = self.addresses;
            if (packet.source, packet.destination) != (local, remote) {
                return Err(format!("the stack sent to nobody: {packet:?}"));
            }
            self.outbox.push_back((self.now, packet));
            if self.outbox.len() > 1000 {
                return Err("the stack sends without end".to_owned());
            }
        }
        Ok(())
    }

    /// What of `packet` is not as `pattern` says.
    fn compare(&mut self, pattern: &Pattern, packet: &TcpPacket) -> Result<(), &'static str> {
        let (local, remote) = (self.variant.isn_local, self.variant.isn_remote);
        let mask = if self.settings.compares_push {
            0x1ff
        } else {
            0x1ff & !Flags::PSH.0
        };
        if packet.flags.0 & mask != pattern.flags.0 & mask {
            return Err("a flag");
        }
        let base = if pattern.is_raw { 0 } else { local };
        if packet.seq != absolute(base, pattern.seq) {
            return Err("the sequence number");
        }
        if packet.payload.len() != pattern.length {
            return Err("the length");
        }
        if pattern
            .ack
            .is_some_and(|ack| packet.ack != absolute(remote, ack))
        {
            return Err("the acknowledgement");
        }
        if pattern.window.is_some_and(|window| packet.window != window) {
            return Err("the window");
        }
        if pattern.urgent.is_some_and(|urgent| packet.urgent != urgent) {
            return Err("the urgent pointer");
        }
        let first = pattern.seq + i64::from(packet.flags.has(Flags::SYN)) - 1;
        if packet.payload[..] != Stream::Left.bytes(first as u64, pattern.length)[..] {
            return Err("the data");
        }
        match &pattern.options {
            Some(options) => self.compare_options(options, &packet.options),
            None => Ok(()),
        }
    }

    fn compare_options(
        &mut self,
        patterns: &[OptionPattern],
        options: &[TcpOption],
    ) -> Result<(), &'static str> {
        if patterns.len() != options.len() {
            return Err("the number of options");
        }
        let isns = [self.variant.isn_remote, self.variant.isn_local];
        for pattern in patterns {
            let wanted = self.option(pattern, isns, true);
            let is_alike = |option: &&TcpOption| {
                std::mem::discriminant(*option) == std::mem::discriminant(&wanted)
            };
            let Some(option) = options.iter().find(is_alike) else {
                return Err("an option");
            };
            match (pattern, option) {
                (
                    OptionPattern::Timestamps(value, echo),
                    TcpOption::Timestamps {
                        value: real_value,
                        echo: real_echo,
                    },
                ) => {
                    if let Some(value) = value {
                        let base = real_value.wrapping_sub(*value as u32);
                        if *self.timestamp_base.get_or_insert(base) != base {
                            return Err("the timestamp");
                        }
                    }
                    if echo.is_some_and(|echo| echo as u32 != *real_echo) {
                        return Err("the echoed timestamp");
                    }
                }
                _ if *option != wanted => return Err("an option"),
                _ => {}
            }
        }
        Ok(())
    }

    fn describe(&self, (at, packet): &(Instant, TcpPacket)) -> String {
        let isns = [self.variant.isn_local, self.variant.isn_remote];
        let told = Bases::from(isns).describe(Side::Left, packet);
        format!("{} > {told}", seconds(*at))
    }

    fn transcript(&self) -> String {
        let isns = [self.variant.isn_local, self.variant.isn_remote];
        crate::time_sequence::write_from(Bases::from(isns), self.trace.records())
    }
}

fn absolute(isn: u32, relative: i64) -> u32 {
    isn.wrapping_add(relative as u32)
}
