//! What runs on top of a connection: a model that writes a known stream, reads with pauses, checks
//! every byte, and closes.

use std::time::Duration;

use bytes::Bytes;

use crate::Instant;
use crate::random::Random;
use crate::stream::Stream;
use crate::tcp_host::{Reading, TcpHost};
use crate::world::Host;

/// The most calls an application makes before it lets the stack go on.
const CALLS_PER_TURN_MAX: u32 = 100_000;

/// What an application does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it writes in all, in bytes.
    pub write_bytes: u64,
    /// The most it writes at once.
    pub write_chunk_bytes: usize,
    /// How many in a million writes are followed by a pause.
    pub write_pauses: u32,
    /// The most it reads at once.
    pub read_chunk_bytes: usize,
    /// How many in a million reads are followed by a pause.
    pub read_pauses: u32,
    /// The longest pause.
    pub pause: Duration,
    /// When it closes its half.
    pub closes: Closes,
    /// Closing, it closes both ways, and does not care for what the other side still says.
    pub is_rude: bool,
    /// It gives the connection up when it has read so many bytes.
    pub aborts_at: Option<u64>,
}

/// When an application closes its half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closes {
    /// As soon as it has written everything.
    WhenWritten,
    /// When it has read everything that the other side had to say, too.
    AfterTheOther,
}

/// How it ended for one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes that the stack took.
    pub written: u64,
    /// Bytes that came, each as it was sent.
    pub read: u64,
    /// Whether the end of the other's stream came.
    pub read_end: bool,
    /// Whether the stack said that the connection failed, or the application gave it up.
    pub failed: Option<&'static str>,
    /// Whether the stack said that everything was acknowledged and both halves are closed.
    pub finished: bool,
    /// Whether the stack has nothing left to do.
    pub closed: bool,
}

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A byte is not what was sent at its place.
    #[error("byte {0} of what was read is not what was sent")]
    WrongByte(u64),
    /// The end came too early, without a failure.
    #[error("the stream ended after {0} of {1} bytes, and nobody said that it failed")]
    EarlyEnd(u64, u64),
    /// More came than was sent.
    #[error("{0} bytes came of {1} that were sent")]
    TooMuch(u64, u64),
    /// More is held than there is room for.
    #[error("{0} bytes are held beyond the buffers")]
    Overfull(u64),
    /// The application cannot get the stack to say "not now".
    #[error("reading and writing do not come to an end")]
    Endless,
}

/// An application on its host.
#[derive(Debug)]
pub struct Application {
    host: TcpHost,
    plan: Plan,
    random: Random,
    ours: Stream,
    theirs: Stream,
    /// What the other side means to send.
    expected_bytes: u64,
    progress: Progress,
    reads_at: Instant,
    writes_at: Instant,
    is_connected: bool,
    /// The connection has failed, and nothing is left to read.
    is_drained: bool,
    has_shut_down: bool,
    breach: Option<Breach>,
}

impl Application {
    /// An application that sends `ours` and expects `expected_bytes` of the other stream.
    #[must_use]
    pub fn new(
        host: TcpHost,
        plan: Plan,
        ours: Stream,
        expected_bytes: u64,
        random: Random,
    ) -> Self {
        let theirs = match ours {
            Stream::Left => Stream::Right,
            Stream::Right => Stream::Left,
        };
        Self {
            host,
            plan,
            random,
            ours,
            theirs,
            expected_bytes,
            progress: Progress::default(),
            reads_at: Instant::default(),
            writes_at: Instant::default(),
            is_connected: false,
            is_drained: false,
            has_shut_down: false,
            breach: None,
        }
    }

    /// The stack below.
    #[must_use]
    pub fn host(&self) -> &TcpHost {
        &self.host
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What must never be, if it was.
    #[must_use]
    pub fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// Begins an active open.
    pub fn connect(&mut self, now: Instant) {
        self.host.connect(now);
        self.work(now);
    }

    /// Waits for the other side's SYN.
    pub fn listen(&mut self) {
        self.host.listen();
    }

    fn work(&mut self, now: Instant) {
        self.take_events();
        match self.host.excess_bytes() {
            0 => {}
            bytes => self.breach = Some(Breach::Overfull(bytes)),
        }
        for _ in 0..CALLS_PER_TURN_MAX {
            let has_read = self.read(now);
            let has_written = self.write(now);
            if !has_read && !has_written {
                self.close(now);
                self.take_events();
                return;
            }
        }
        self.breach = Some(Breach::Endless);
    }

    fn take_events(&mut self) {
        while let Some(event) = self.host.next_event() {
            match event {
                "connected" => self.is_connected = true,
                "finished" => self.progress.finished = true,
                "closed" => self.progress.closed = true,
                "refused" | "reset" | "timed-out" | "aborted" => {
                    self.progress.failed = Some(event);
                }
                _ => {}
            }
        }
    }

    /// Reads once if it is time; whether that gave anything.
    fn read(&mut self, now: Instant) -> bool {
        if self.reads_at > now || self.progress.read_end || self.is_drained {
            return false;
        }
        match self.host.read(now, self.plan.read_chunk_bytes) {
            Reading::Data(data) => {
                self.check(&data);
                if self.random.chance(self.plan.read_pauses) {
                    self.reads_at = now + self.pause();
                }
                if self
                    .plan
                    .aborts_at
                    .is_some_and(|at| self.progress.read >= at)
                {
                    self.host.abort(now);
                    self.progress.failed = Some("aborted");
                    self.is_drained = true;
                    return false;
                }
                true
            }
            Reading::End => {
                self.progress.read_end = true;
                let (read, expected) = (self.progress.read, self.expected_bytes);
                if read != expected {
                    self.breach = Some(Breach::EarlyEnd(read, expected));
                }
                true
            }
            Reading::Blocked => false,
            Reading::Failed => {
                self.is_drained = true;
                false
            }
        }
    }

    fn check(&mut self, data: &[u8]) {
        if let Some(place) = self.theirs.difference(self.progress.read, data) {
            self.breach = Some(Breach::WrongByte(place));
        }
        self.progress.read += data.len() as u64;
        if self.progress.read > self.expected_bytes {
            let came = self.progress.read;
            self.breach = Some(Breach::TooMuch(came, self.expected_bytes));
        }
    }

    /// Writes once if it is time; whether anything was taken.
    fn write(&mut self, now: Instant) -> bool {
        let left = self.plan.write_bytes - self.progress.written;
        if self.writes_at > now || left == 0 {
            return false;
        }
        let most = left.min(self.plan.write_chunk_bytes as u64);
        let length = self.random.between(1..=most);
        // A byte more than fits is cut short as any more would be, and is sooner made.
        let length = length.min(self.host.writable() + 1) as usize;
        let data = self.ours.bytes(self.progress.written, length);
        let taken = self.host.write(now, &data);
        self.progress.written += taken as u64;
        if self.random.chance(self.plan.write_pauses) {
            self.writes_at = now + self.pause();
        }
        taken > 0
    }

    fn close(&mut self, now: Instant) {
        let may_close = match self.plan.closes {
            Closes::WhenWritten => true,
            Closes::AfterTheOther => self.progress.read_end,
        };
        let has_written = self.progress.written == self.plan.write_bytes;
        // A CLOSE before that would delete the connection (RFC 9293 §3.10.4).
        if self.is_connected && !self.has_shut_down && has_written && may_close {
            self.has_shut_down = true;
            if self.plan.is_rude {
                self.is_drained = true;
                self.host.close(now);
            } else {
                self.host.shutdown(now);
            }
        }
    }

    fn pause(&mut self) -> Duration {
        let longest = self.plan.pause.as_nanos() as u64;
        Duration::from_nanos(self.random.between(1..=longest.max(1)))
    }

    /// When the application itself wants to go on.
    fn wakes(&self) -> Option<Instant> {
        if !self.host.is_open() {
            return None;
        }
        // What came before a failure can still be read, and is.
        let may_read = !self.progress.read_end && !self.is_drained;
        let reads = may_read.then_some(self.reads_at);
        let has_failed = self.progress.failed.is_some();
        let has_more = !has_failed && self.progress.written < self.plan.write_bytes;
        let writes = has_more.then_some(self.writes_at);
        // A time that has come was used; from there on the stack says when it goes on.
        [reads, writes]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.host.latest())
            .min()
    }
}

impl Host for Application {
    fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        self.host.handle_packet(now, packet);
        self.work(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.host.poll_timeout().is_some_and(|at| at <= now) {
            self.host.handle_timeout(now);
        }
        self.host.pass(now);
        self.work(now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        self.host.poll_transmit(now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let wakes = self.wakes().into_iter();
        wakes.chain(self.host.poll_timeout()).min()
    }
}
