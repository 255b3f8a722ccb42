//! Both ends and the two directions between them.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::Context;
use serde_json::Value;

use crate::end::{End, EndPlan};
use crate::flags::LinkFlags;
use crate::guard::{Guard, NAME_PREFIX};
use crate::line::Line;
use crate::pump::{Clock, Pump, Report};
use crate::quantity::time_ns;
use crate::settings::LineSettings;
use crate::summary::{Direction, summary};

/// A link that carries packets.
pub(crate) struct Link {
    ends: [End; 2],
    /// Told that it is not needed only once the ends are gone, which stand before it.
    _guard: Guard,
    pumps: Vec<JoinHandle<Report>>,
    stop: Arc<AtomicBool>,
    settings: [LineSettings; 2],
    seed: u64,
    start: Instant,
}

impl Link {
    /// Makes it. With `names`, namespaces for which `flags` have no name get one.
    pub(crate) fn bring_up(flags: &LinkFlags, names: bool) -> anyhow::Result<Self> {
        let settings = flags.lines()?;
        let tick_ns = time_ns(&flags.tick)?;
        let ends = [
            End::make(plan(flags, names, true))?,
            End::make(plan(flags, names, false))?,
        ];
        let guard = Guard::start(&ends)?;
        let stop = Arc::new(AtomicBool::new(false));
        let clock = Clock::start();
        let mut pumps = Vec::new();
        for (direction, settings) in settings.iter().enumerate() {
            let seed = flags.seed.wrapping_mul(2).wrapping_add(direction as u64);
            let pump = Pump {
                line: Line::new(settings.clone(), seed, clock.now_ns()),
                from: ends[direction].device(),
                to: ends[1 - direction].device(),
                mtu_bytes: flags.mtu.into(),
                tick_ns,
                is_real_time: !flags.no_rt,
                clock,
                stop: Arc::clone(&stop),
            };
            let name = ["wan-ab", "wan-ba"][direction].to_owned();
            let thread = thread::Builder::new().name(name);
            pumps.push(thread.spawn(|| pump.run()).context("no thread")?);
        }
        Ok(Self {
            ends,
            _guard: guard,
            pumps,
            stop,
            settings,
            seed: flags.seed,
            start: Instant::now(),
        })
    }

    /// The server's end.
    pub(crate) fn a(&self) -> &End {
        &self.ends[0]
    }

    /// The client's end.
    pub(crate) fn b(&self) -> &End {
        &self.ends[1]
    }

    /// Since when it is up.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Ends what runs at both ends, takes the link down, and gives the summary.
    pub(crate) fn bring_down(mut self, client: Value) -> Value {
        let seconds = self.start.elapsed().as_secs_f64();
        for end in &self.ends {
            end.kill_all();
        }
        let reports = self.stop();
        let dropped = self.ends.each_ref().map(End::dropped);
        let direction = |from: usize| Direction {
            settings: &self.settings[from],
            report: &reports[from],
            missed: dropped[from].1,
            receiver_dropped: dropped[1 - from].0,
        };
        summary(self.seed, seconds, client, &[direction(0), direction(1)])
    }

    fn stop(&mut self) -> Vec<Report> {
        self.stop.store(true, Ordering::Relaxed);
        let pumps = self.pumps.drain(..);
        pumps.map(|pump| pump.join().unwrap_or_default()).collect()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop();
    }
}

fn plan(flags: &LinkFlags, names: bool, is_a: bool) -> EndPlan {
    let (given, letter, address, peer, address_v6) = match is_a {
        true => (&flags.ns_a, 'a', &flags.addr_a, &flags.addr_b, "fd77::1/64"),
        false => (&flags.ns_b, 'b', &flags.addr_b, &flags.addr_a, "fd77::2/64"),
    };
    let own_name = || names.then(|| format!("{NAME_PREFIX}{}-{letter}", process::id()));
    EndPlan {
        name: given.clone().or_else(own_name),
        address: address.clone(),
        peer_address: peer.clone(),
        prefix: flags.prefix,
        address_v6: flags.ipv6.then_some(address_v6),
        mtu_bytes: flags.mtu,
        device_queue: flags.txqueuelen,
        sysctls: flags.sysctl.clone(),
        congestion: flags.cc.clone(),
    }
}
