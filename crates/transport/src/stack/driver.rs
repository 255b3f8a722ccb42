//! The task that moves packets between a device and an endpoint.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use packhorse_tcp::{Deadline, Instant, Packet, Transmit};
use tokio::time::Instant as Clock;

use super::device::{PacketDevice, ReceivedPacket};
use super::packet_buffers::PacketBuffers;
use super::{Inner, Shared};

/// The largest packet that a device can hand over, with what a device may put before it.
const PACKET_BYTES_MAX: usize = 65_535 + 64;

/// Segments that are made before the lock is given back and they are sent.
const BATCH_SEGMENTS_MAX: usize = 128;

/// Packets that are taken before any of them is answered.
const ARRIVALS_MAX: usize = 32;

/// How long a device is left alone if nobody wants anything.
const IDLE: Duration = Duration::from_secs(3_600);

/// Runs until everybody has left, or the device breaks.
pub(super) async fn run(device: impl PacketDevice, shared: Arc<Shared>) -> io::Result<()> {
    let outcome = drive(device, &shared).await;
    if let Err(error) = &outcome {
        let mut wake = Vec::new();
        let mut inner = shared.lock();
        inner.broken = Some((error.kind(), error.to_string()));
        inner.sockets.take_all(&mut wake);
        drop(inner);
        wake.into_iter().for_each(Waker::wake);
    }
    outcome
}

async fn drive(device: impl PacketDevice, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    let mut batch = Batch::default();
    let mut buffers = PacketBuffers::default();
    let mut arrived = Vec::new();
    loop {
        let deadline = loop {
            let deadline = batch.fill(shared);
            for run in batch.runs.drain(..) {
                device.send_run(&run).await?;
            }
            if batch.is_last {
                break deadline;
            }
        };
        if batch.is_over {
            return Ok(());
        }
        let until = match deadline {
            Some(deadline) => shared.start + Duration::from_nanos(deadline.at().as_nanos()),
            None => Clock::now() + IDLE,
        };
        tokio::select! {
            received = device.recv_packet(&mut buffer) => {
                let mut next = Some(received?);
                while let Some(received) = next {
                    let packet = parse(&mut buffers, &buffer, received);
                    arrived.extend(packet.map(|packet| (shared.now(), packet)));
                    next = if arrived.len() < ARRIVALS_MAX {
                        device.try_recv_packet(&mut buffer)?
                    } else {
                        None
                    };
                }
                take(shared, &mut arrived);
            }
            () = tokio::time::sleep_until(until) => {
                let now = shared.now();
                shared.lock().endpoint.handle_timeout(now);
            }
            () = shared.work.notified() => {}
        }
    }
}

/// The packet in `buffer`, if it is one for TCP; its bytes are copied, since what waits to be read
/// should not hold on to a buffer of this size.
fn parse(buffers: &mut PacketBuffers, buffer: &[u8], received: ReceivedPacket) -> Option<Packet> {
    let bytes = buffers.copy(buffer.get(received.range)?);
    let packet = if received.is_verified {
        Packet::from_verified_bytes(bytes)
    } else {
        Packet::from_bytes(bytes)
    };
    packet.ok()
}

fn take(shared: &Shared, arrived: &mut Vec<(Instant, Packet)>) {
    let mut inner = shared.lock();
    for (now, packet) in arrived.drain(..) {
        inner.endpoint.handle_packet(now, packet);
    }
}

/// What is to be sent.
#[derive(Default)]
struct Batch {
    runs: Vec<Transmit>,
    wake: Vec<Waker>,
    /// There is nothing to send behind it.
    is_last: bool,
    /// Nor will there ever be.
    is_over: bool,
}

impl Batch {
    /// Takes what there is to send, wakes whom the rest concerns, and gives the next deadline.
    fn fill(&mut self, shared: &Shared) -> Option<Deadline> {
        let now = shared.now();
        let mut inner = shared.lock();
        self.is_last = false;
        let mut left = BATCH_SEGMENTS_MAX;
        while left > 0 {
            let Some(run) = inner.endpoint.poll_transmit(now, left) else {
                self.is_last = true;
                break;
            };
            left = left.saturating_sub(run.segments());
            self.runs.push(run);
        }
        let Inner {
            endpoint,
            sockets,
            handles,
            ..
        } = &mut *inner;
        while let Some(event) = endpoint.poll_event() {
            sockets.take(event, &mut self.wake);
        }
        // In TIME-WAIT a peer may still ask for an acknowledgement that was lost; with nobody to
        // answer, it asks until its user time-out.
        self.is_over = *handles == 0 && endpoint.connections() == 0 && endpoint.time_waits() == 0;
        let deadline = endpoint.poll_timeout();
        drop(inner);
        self.wake.drain(..).for_each(Waker::wake);
        deadline
    }
}
