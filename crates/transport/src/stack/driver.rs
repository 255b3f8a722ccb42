//! The task that moves packets between a device and an endpoint.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::{Deadline, Packet};
use tokio::time::Instant as Clock;

use super::device::PacketDevice;
use super::{Inner, Shared};

/// The largest packet that a device can hand over.
const PACKET_BYTES_MAX: usize = 65_535;

/// Packets that are made before the lock is given back and they are sent.
const BATCH_PACKETS_MAX: usize = 64;

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
    loop {
        let deadline = loop {
            let deadline = batch.fill(shared);
            for packet in batch.packets() {
                device.send(packet).await?;
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
            length = device.recv(&mut buffer) => {
                if let Ok(packet) = Packet::parse(&Bytes::copy_from_slice(&buffer[..length?])) {
                    let now = shared.now();
                    shared.lock().endpoint.handle_packet(now, &packet);
                }
            }
            () = tokio::time::sleep_until(until) => {
                let now = shared.now();
                shared.lock().endpoint.handle_timeout(now);
            }
            () = shared.work.notified() => {}
        }
    }
}

/// Packets to be sent, one behind the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    wake: Vec<Waker>,
    /// There is nothing to send behind it.
    is_last: bool,
    /// Nor will there ever be.
    is_over: bool,
}

impl Batch {
    /// Takes what there is to send, wakes whom the rest concerns, and gives the next deadline.
    fn fill(&mut self, shared: &Shared) -> Option<Deadline> {
        self.bytes.clear();
        self.ends.clear();
        let now = shared.now();
        let mut inner = shared.lock();
        self.is_last = false;
        while self.ends.len() < BATCH_PACKETS_MAX {
            let Some(transmit) = inner.endpoint.poll_transmit(now, 1) else {
                self.is_last = true;
                break;
            };
            for packet in transmit.packets() {
                packet.encode(&mut self.bytes);
                self.ends.push(self.bytes.len());
            }
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
        self.is_over = *handles == 0 && endpoint.connections() == 0;
        let deadline = endpoint.poll_timeout();
        drop(inner);
        self.wake.drain(..).for_each(Waker::wake);
        deadline
    }

    fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let ranges = starts.zip(&self.ends);
        ranges.map(|(&start, &end)| &self.bytes[start..end])
    }
}
