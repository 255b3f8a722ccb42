//! Two devices in memory: what one sends the other receives.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::device::PacketDevice;

/// One end of a path in memory that loses what does not fit into its queue.
#[derive(Debug)]
pub struct PacketPipe {
    incoming: Arc<Queue>,
    outgoing: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    packets: Mutex<VecDeque<Vec<u8>>>,
    count_max: usize,
    arrived: Notify,
}

impl PacketPipe {
    /// Both ends of a path on which `count_max` packets may wait in each direction.
    #[must_use]
    pub fn pair(count_max: usize) -> (Self, Self) {
        let [there, back] = [(); 2].map(|()| {
            Arc::new(Queue {
                packets: Mutex::default(),
                count_max,
                arrived: Notify::new(),
            })
        });
        let near = Self {
            incoming: Arc::clone(&back),
            outgoing: Arc::clone(&there),
        };
        let far = Self {
            incoming: there,
            outgoing: back,
        };
        (near, far)
    }
}

impl PacketDevice for PacketPipe {
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let packet = self.incoming.lock().pop_front();
            if let Some(packet) = packet {
                let length = packet.len().min(buffer.len());
                buffer[..length].copy_from_slice(&packet[..length]);
                return Ok(length);
            }
            self.incoming.arrived.notified().await;
        }
    }

    async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let mut packets = self.outgoing.lock();
        if packets.len() < self.outgoing.count_max {
            packets.push_back(packet.to_vec());
            drop(packets);
            self.outgoing.arrived.notify_one();
        }
        Ok(())
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
