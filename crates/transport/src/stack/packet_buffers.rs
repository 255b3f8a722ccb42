//! Memory that packets have used, for the next ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What is smaller is asked of the allocator, which has it at hand.
const REUSED_BYTES_MIN: usize = 1_024;

/// What is larger is seldom, and would make the rest hold on to more than they need.
const REUSED_BYTES_MAX: usize = 2_048;

/// Buffers that wait for a packet, at most.
const FREE_MAX: usize = 2_048;

/// Gives each packet a buffer of its own, so that one that waits to be read holds on to nothing
/// else.
///
/// A packet is made by the task that drives the device, and let go by the one that reads. An
/// allocator does much for memory that goes this way, and asks the system for it again and again.
#[derive(Debug, Default)]
pub(super) struct PacketBuffers {
    /// Taken out of `free`, all at once.
    at_hand: Vec<Vec<u8>>,
    free: Arc<Free>,
}

#[derive(Debug, Default)]
struct Free(Mutex<Vec<Vec<u8>>>);

/// A buffer that goes back when nobody looks at the packet in it any more.
struct Lent {
    packet: Vec<u8>,
    free: Arc<Free>,
}

impl PacketBuffers {
    /// A copy of `packet`.
    pub(super) fn copy(&mut self, packet: &[u8]) -> Bytes {
        if !(REUSED_BYTES_MIN..=REUSED_BYTES_MAX).contains(&packet.len()) {
            return Bytes::copy_from_slice(packet);
        }
        if self.at_hand.is_empty() {
            core::mem::swap(&mut self.at_hand, &mut self.free.lock());
        }
        let mut buffer = self.at_hand.pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(packet.len());
        buffer.extend_from_slice(packet);
        Bytes::from_owner(Lent {
            packet: buffer,
            free: Arc::clone(&self.free),
        })
    }
}

impl Free {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.packet
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.free.lock();
        if free.len() < FREE_MAX {
            free.push(core::mem::take(&mut self.packet));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_again_once_its_packet_is_gone() {
        let mut buffers = PacketBuffers::default();
        let first = buffers.copy(&[1; 1_500]);
        let part = first.slice(100..200);
        let at = first.as_ptr();
        drop(first);
        let second = buffers.copy(&[2; 1_400]);
        assert_ne!(second.as_ptr(), at, "a part of the first is still there");
        assert_eq!(part, [1; 100][..]);
        drop(part);
        let third = buffers.copy(&[3; 1_300]);
        assert_eq!((third.as_ptr(), &third[..]), (at, &[3; 1_300][..]));
    }

    #[test]
    fn only_packets_of_the_usual_size_are_reused_and_not_without_bound() {
        let mut buffers = PacketBuffers::default();
        for bytes in [REUSED_BYTES_MIN - 1, REUSED_BYTES_MAX + 1] {
            assert_eq!(buffers.copy(&vec![1; bytes]), vec![1; bytes]);
        }
        assert!(buffers.free.lock().is_empty());
        let packets: Vec<Bytes> = (0..FREE_MAX + 2)
            .map(|_| buffers.copy(&[1; REUSED_BYTES_MIN]))
            .collect();
        drop(packets);
        assert_eq!(buffers.free.lock().len(), FREE_MAX);
    }
}
