//! What the processor does to every byte on its way, without the way: to see how fast this machine is
//! at it.

use std::hint::black_box;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use packhorse_protocol::content::ContentHash;
use packhorse_protocol::limits::GROUP_BYTES;

/// TLS encrypts in records of at most this many bytes (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 << 10;

/// What is done to a byte; each side does both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Hashing, as content is.
    Hashing,
    /// Encryption, as TLS does it between two of our own.
    Encryption,
}

impl Work {
    /// How long one core takes for so many groups of 1 MiB that are in memory.
    #[must_use]
    pub fn time_for(self, groups: u64) -> Duration {
        let mut group = vec![0; GROUP_BYTES];
        let key = sealing_key();
        let start = Instant::now();
        for _ in 0..groups {
            match self {
                Self::Hashing => {
                    black_box(ContentHash::of(black_box(&group)));
                }
                Self::Encryption => seal(&key, &mut group),
            }
        }
        start.elapsed()
    }
}

/// Cores that this process may work on.
#[must_use]
pub fn cores() -> u16 {
    let cores = available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(u16::MAX)
}

/// A key that everybody knows: what it protects is thrown away.
fn sealing_key() -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, &[0; 32]);
    LessSafeKey::new(key.expect("the key is as long as it must be"))
}

/// Encrypts `bytes` where they lie, record by record, with the cipher that our two sides agree on.
fn seal(key: &LessSafeKey, bytes: &mut [u8]) {
    for record in bytes.chunks_mut(RECORD_BYTES) {
        // It protects nothing, so a nonce may come twice.
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), record);
        black_box(tag.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_encrypted() {
        let mut bytes = vec![0; 2 * RECORD_BYTES + 100];
        seal(&sealing_key(), &mut bytes);
        for record in bytes.chunks(RECORD_BYTES) {
            let zeros = record.iter().filter(|&&byte| byte == 0).count();
            assert!(zeros < record.len() / 8, "{zeros} of {}", record.len());
        }
    }

    #[test]
    fn work_takes_time_and_none_takes_none() {
        for work in [Work::Hashing, Work::Encryption] {
            assert!(work.time_for(4) > Duration::ZERO);
        }
    }
}
