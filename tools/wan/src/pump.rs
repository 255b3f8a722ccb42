//! The thread that moves the packets of one direction: it reads one device, writes the other, and
//! sleeps in between.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};
use tun_rs::SyncDevice;

use crate::line::{Buffers, Counts, Line};

/// Upper ends of the classes in which lateness is counted; the last class has none.
pub(crate) const LATE_EDGES_US: [u64; 7] = [50, 100, 200, 500, 1_000, 2_000, 5_000];

/// The first class of what is a millisecond late.
pub(crate) const LATE_BY_1_MS: usize = 5;

/// Packets written or read before the other is looked at again.
const WRITE_BATCH: usize = 64;
const READ_BATCH: usize = 128;

/// Packets after which the clock is read again.
const CLOCK_BATCH: usize = 16;

/// The longest sleep, after which it is looked whether to stop.
const SLEEP_NS_MAX: u64 = 20_000_000;

/// A device gives no packet that is longer than its MTU; a few more bytes would show that it does.
const ROOM_BYTES: usize = 64;

/// Time since a moment that both directions share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

/// How a direction was carried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) counts: Counts,
    /// Packets by how much later than due they were delivered.
    pub(crate) late: [u64; LATE_EDGES_US.len() + 1],
    pub(crate) late_us_max: u64,
    pub(crate) write_errors: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) wakeups: u64,
    pub(crate) in_flight: u64,
    pub(crate) aim_early_us: u64,
}

/// One direction, before its thread begins.
pub(crate) struct Pump {
    pub(crate) line: Line,
    pub(crate) from: Arc<SyncDevice>,
    pub(crate) to: Arc<SyncDevice>,
    pub(crate) mtu_bytes: usize,
    /// While packets flow, new ones are looked for this often, instead of a wake-up for each.
    pub(crate) tick_ns: u64,
    pub(crate) is_real_time: bool,
    pub(crate) clock: Clock,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

impl Report {
    /// Counts a packet delivered so much later than it was due.
    fn count_late(&mut self, late_ns: u64) {
        let late_us = late_ns / 1_000;
        self.late_us_max = self.late_us_max.max(late_us);
        let class = LATE_EDGES_US.iter().position(|&edge| late_us < edge);
        self.late[class.unwrap_or(LATE_EDGES_US.len())] += 1;
    }
}

impl Pump {
    /// Carries packets until told to stop.
    pub(crate) fn run(mut self) -> Report {
        prefer_this_thread(self.is_real_time);
        let mut report = Report::default();
        let mut buffers = Buffers::default();
        let early_ns = self.oversleep_ns();
        report.aim_early_us = early_ns / 1_000;
        let mut woke = self.clock.now_ns();
        while !self.stop.load(Ordering::Relaxed) {
            let written = self.write(early_ns, &mut report, &mut buffers);
            let read = self.read(&mut buffers);
            if read == READ_BATCH || written == WRITE_BATCH {
                continue;
            }
            let now = self.clock.now_ns();
            let due = self.line.poll_timeout();
            let due = due.map(|due| due.saturating_sub(early_ns));
            if due.is_some_and(|due| due <= now) && now >= woke + self.tick_ns {
                continue;
            }
            report.wakeups += 1;
            if read + written > 0 && self.tick_ns > 0 {
                // However close together packets are due, there is one wake-up in a tick.
                let tick = now + self.tick_ns;
                let until = due.map_or(tick, |due| due.min(tick));
                let until = until.max(woke + self.tick_ns);
                sleep(Duration::from_nanos(until.saturating_sub(now)));
            } else if due.is_none_or(|due| due > now) {
                let sleep_ns = due.map_or(SLEEP_NS_MAX, |due| due - now);
                self.wait_for_packet(sleep_ns.min(SLEEP_NS_MAX));
            }
            woke = self.clock.now_ns();
        }
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        report.cpu_seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        report.in_flight = self.line.in_flight() as u64;
        report.counts = self.line.counts().clone();
        report
    }

    /// Delivers what is due; gives how many.
    fn write(&mut self, early_ns: u64, report: &mut Report, buffers: &mut Buffers) -> usize {
        let mut written = 0;
        let mut now = self.clock.now_ns();
        while written < WRITE_BATCH
            && let Some(next) = self.line.poll_packet(now + early_ns)
        {
            report.count_late(now.saturating_sub(next.due_ns));
            if self.to.send(&next.packet).is_err() {
                report.write_errors += 1;
            }
            buffers.put(next.packet);
            written += 1;
            if written.is_multiple_of(CLOCK_BATCH) {
                now = self.clock.now_ns();
            }
        }
        written
    }

    /// Takes what waits in the device; gives how many.
    fn read(&mut self, buffers: &mut Buffers) -> usize {
        let mut read = 0;
        let mut now = self.clock.now_ns();
        while read < READ_BATCH {
            let mut buffer = buffers.take();
            buffer.resize(self.mtu_bytes + ROOM_BYTES, 0);
            let Ok(length @ 1..) = self.from.recv(&mut buffer) else {
                buffers.put(buffer);
                break;
            };
            buffer.truncate(length);
            self.line.handle_packet(now, buffer, buffers);
            read += 1;
            if read.is_multiple_of(CLOCK_BATCH) {
                now = self.clock.now_ns();
            }
        }
        read
    }

    /// By how much a sleep takes longer here than asked: so much earlier is aimed.
    fn oversleep_ns(&self) -> u64 {
        const ASKED_NS: u64 = 150_000;
        let mut over = [0; 15];
        for over in &mut over {
            let start = self.clock.now_ns();
            sleep(Duration::from_nanos(ASKED_NS));
            *over = (self.clock.now_ns() - start).saturating_sub(ASKED_NS);
        }
        over.sort_unstable();
        over[over.len() / 2].min(60_000)
    }

    fn wait_for_packet(&self, at_most_ns: u64) {
        let at_most = Timespec {
            tv_sec: 0,
            tv_nsec: at_most_ns as _,
        };
        let device = self.from.as_fd();
        // An early return costs only another look.
        let _ = poll(&mut [PollFd::new(&device, PollFlags::IN)], Some(&at_most));
    }
}

/// Lets this thread run before others where this machine permits it.
fn prefer_this_thread(is_real_time: bool) {
    // A nanosecond: sleeps end when they should.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let thread = gettid();
    let is_set = is_real_time && {
        let mut chrt = Command::new("chrt");
        chrt.args(["--rr", "--pid", "1", &thread.as_raw_nonzero().to_string()]);
        chrt.stdout(Stdio::null()).stderr(Stdio::null());
        chrt.status().is_ok_and(|status| status.success())
    };
    if !is_set {
        let _ = rustix::process::setpriority_process(Some(thread), -20);
    }
}
