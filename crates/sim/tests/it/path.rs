//! A simulated path under a real runtime: a device for our stack, with links that lose and reorder.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use packhorse_sim::Instant;
use packhorse_sim::link::{Link, LinkConfig, LinkCounters};
use packhorse_sim::random::Random;
use packhorse_transport::stack::PacketDevice;
use tokio::sync::Notify;
use tokio::time::Instant as Clock;

/// One end of a path of two simulated links.
pub(crate) struct PathEnd {
    outgoing: Arc<Direction>,
    incoming: Arc<Direction>,
}

struct Direction {
    start: Clock,
    state: Mutex<State>,
    sent: Notify,
}

struct State {
    link: Link,
    /// By time of arrival, and of two at once in the order of sending.
    under_way: BTreeMap<(Instant, u64), Bytes>,
    count: u64,
}

/// What happened on both links, once the ends have gone to their stacks.
pub(crate) struct PathReport([Arc<Direction>; 2]);

/// Both ends of a path that behaves as `config` says in each direction.
pub(crate) fn path(config: &LinkConfig, seed: u64) -> (PathEnd, PathEnd, PathReport) {
    let mut random = Random::new(seed);
    let [there, back] = [(); 2].map(|()| {
        Arc::new(Direction {
            start: Clock::now(),
            state: Mutex::new(State {
                link: Link::new(config.clone(), random.fork()),
                under_way: BTreeMap::new(),
                count: 0,
            }),
            sent: Notify::new(),
        })
    });
    let report = PathReport([Arc::clone(&there), Arc::clone(&back)]);
    let near = PathEnd {
        outgoing: Arc::clone(&there),
        incoming: Arc::clone(&back),
    };
    let far = PathEnd {
        outgoing: back,
        incoming: there,
    };
    (near, far, report)
}

impl PathReport {
    pub(crate) fn counters(&self) -> LinkCounters {
        let mut sum = LinkCounters::default();
        for direction in &self.0 {
            sum.add(direction.state.lock().unwrap().link.counters());
        }
        sum
    }
}

impl Direction {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    /// The packet that has arrived, or when the next one does.
    fn take(&self) -> Result<Bytes, Option<Instant>> {
        let mut state = self.state.lock().unwrap();
        let State {
            link, under_way, ..
        } = &mut *state;
        let first = under_way.first_entry().ok_or(None)?;
        let (at, number) = *first.key();
        if at > self.now() {
            return Err(Some(at));
        }
        link.handle_arrival(number);
        Ok(first.remove())
    }
}

impl PacketDevice for PathEnd {
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.incoming.take() {
                Ok(packet) => {
                    buffer[..packet.len()].copy_from_slice(&packet);
                    return Ok(packet.len());
                }
                Err(Some(at)) => {
                    let at = self.incoming.start + Duration::from_nanos(at.as_nanos());
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.incoming.sent.notified() => {}
                    }
                }
                Err(None) => self.incoming.sent.notified().await,
            }
        }
    }

    async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let mut state = self.outgoing.state.lock().unwrap();
        let mut passages = Vec::new();
        let now = self.outgoing.now();
        let packet = Bytes::copy_from_slice(packet);
        state.link.send(now, packet, &mut passages);
        for passage in passages {
            let number = state.count;
            state.count += 1;
            state
                .under_way
                .insert((passage.arrives, number), passage.packet);
        }
        drop(state);
        self.outgoing.sent.notify_one();
        Ok(())
    }
}
