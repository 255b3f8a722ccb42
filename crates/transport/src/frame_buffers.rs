//! Memory that large frames have used, for the next ones.

use std::sync::{Mutex, PoisonError};

/// What is smaller goes back to the allocator, which keeps it at hand by itself.
const REUSED_BYTES_MIN: usize = 64 << 10;

/// Buffers of frames that are done with. Memory of that size goes back to the system when it is
/// freed, and costs a page fault for every 4 KiB of it when it is asked for again.
#[derive(Debug)]
pub struct FrameBuffers {
    free: Mutex<Vec<Vec<u8>>>,
    free_max: usize,
}

impl FrameBuffers {
    /// Keeps at most `free_max` buffers that nobody uses.
    #[must_use]
    pub fn new(free_max: usize) -> Self {
        Self {
            free: Mutex::default(),
            free_max,
        }
    }

    /// An empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        let mut buffer = match capacity < REUSED_BYTES_MIN {
            true => None,
            false => self.free().pop(),
        }
        .unwrap_or_default();
        buffer.reserve_exact(capacity);
        buffer
    }

    /// Takes back a buffer, whatever is in it.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < REUSED_BYTES_MIN {
            return;
        }
        buffer.clear();
        let mut free = self.free();
        if free.len() < self.free_max {
            free.push(buffer);
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_come_again_and_are_bounded() {
        let buffers = FrameBuffers::new(2);
        for _ in 0..3 {
            buffers.give(vec![7; 1 << 20]);
        }
        buffers.give(vec![7; 100]);
        assert_eq!(buffers.free().len(), 2);
        assert_eq!(buffers.take(100).capacity(), 100);
        for room in [1 << 20, (1 << 20) + 50, 1 << 20] {
            let buffer = buffers.take(room);
            assert!(buffer.is_empty() && buffer.capacity() >= room);
        }
        assert_eq!(buffers.free().len(), 0);
    }
}
