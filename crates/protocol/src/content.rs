//! Content hashes: BLAKE3 over groups of 1 MiB, each checked on its own, merged to the hash of the
//! whole file, which is the value that `b3sum` prints.

use std::fmt;

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{FILE_BYTES_MAX, GROUP_BYTES};

/// The position of a group in its file: group `n` begins at byte `n` MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(u64);

impl GroupIndex {
    /// The first group.
    pub const FIRST: Self = Self(0);

    /// The `index`th group; `None` beyond the largest file.
    #[must_use]
    pub fn new(index: u64) -> Option<Self> {
        (index <= FILE_BYTES_MAX / GROUP_BYTES as u64).then_some(Self(index))
    }

    /// The index as a number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// Where the group begins, in bytes.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.0 * GROUP_BYTES as u64
    }
}

/// A half-open range of groups, never reversed and never beyond the largest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupRange {
    start: u64,
    end: u64,
}

impl GroupRange {
    /// No groups at all.
    pub const EMPTY: Self = Self { start: 0, end: 0 };

    /// The groups `start..end`; `None` if reversed or beyond the largest file.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start <= end && end <= group_count(FILE_BYTES_MAX)).then_some(Self { start, end })
    }

    /// All groups of a file of `size` bytes.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        Self {
            start: 0,
            end: group_count(size.min(FILE_BYTES_MAX)),
        }
    }

    /// The first group's index.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// The index behind the last group.
    #[must_use]
    pub fn end(self) -> u64 {
        self.end
    }

    /// How many groups.
    #[must_use]
    pub fn count(self) -> u64 {
        self.end - self.start
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `group` lies in the range.
    #[must_use]
    pub fn contains(self, group: GroupIndex) -> bool {
        (self.start..self.end).contains(&group.0)
    }

    /// The groups, in order.
    pub fn iter(self) -> impl Iterator<Item = GroupIndex> {
        (self.start..self.end).map(GroupIndex)
    }

    /// The first `count` groups and the rest.
    #[must_use]
    pub fn split_at(self, count: u64) -> (Self, Self) {
        let middle = self.start.saturating_add(count).min(self.end);
        (
            Self {
                start: self.start,
                end: middle,
            },
            Self {
                start: middle,
                end: self.end,
            },
        )
    }
}

/// How many groups a file of `size` bytes has; an empty file has none.
#[must_use]
pub fn group_count(size: u64) -> u64 {
    size.div_ceil(GROUP_BYTES as u64)
}

/// The length in bytes of `group` in a file of `size` bytes; 0 beyond its end.
#[must_use]
pub fn group_length(group: GroupIndex, size: u64) -> usize {
    usize::try_from(size.saturating_sub(group.offset()).min(GROUP_BYTES as u64))
        .unwrap_or(GROUP_BYTES)
}

/// The BLAKE3 hash of a whole file; prints as `b3sum` does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentHash([u8; 32]);

/// Some text is not a hash as `b3sum` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a hash is 64 hexadecimal digits, as `b3sum` prints it")]
pub struct ContentHashError;

impl ContentHash {
    /// The hash of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// The hash's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for ContentHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::str::FromStr for ContentHash {
    type Err = ContentHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| ContentHashError)?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ContentHash({self})")
    }
}

/// The hash of one group: of the whole file if that is its only group, else the chaining value of
/// its subtree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupHash([u8; 32]);

impl GroupHash {
    /// Hashes `bytes`, the content of `group` in a file of `size` bytes.
    ///
    /// `bytes` must not be empty and at most [`GROUP_BYTES`] long; only the last group of a file is
    /// shorter.
    #[must_use]
    pub fn of(group: GroupIndex, size: u64, bytes: &[u8]) -> Self {
        debug_assert!(!bytes.is_empty() && bytes.len() <= GROUP_BYTES);
        if group_count(size) == 1 {
            return Self(*blake3::hash(bytes).as_bytes());
        }
        let mut hasher = Hasher::new();
        hasher.set_input_offset(group.offset());
        hasher.update(bytes);
        Self(hasher.finalize_non_root())
    }

    /// The hash's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for GroupHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for GroupHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "GroupHash({})", ContentHash(self.0))
    }
}

/// Merges the hashes of all groups of a file, in order, to the hash of the file.
#[must_use]
pub fn merge_groups(groups: &[GroupHash]) -> ContentHash {
    match groups {
        [] => ContentHash::of(b""),
        [only] => ContentHash(only.0),
        _ => {
            let (left, right) = groups.split_at(left_length(groups.len()));
            let root = merge_subtrees_root(&merge(left), &merge(right), Mode::Hash);
            ContentHash(*root.as_bytes())
        }
    }
}

fn merge(groups: &[GroupHash]) -> [u8; 32] {
    if let [only] = groups {
        return only.0;
    }
    let (left, right) = groups.split_at(left_length(groups.len()));
    merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
}

/// BLAKE3's left subtree: the largest power of two that leaves something on the right.
fn left_length(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_groups(content: &[u8]) -> ContentHash {
        let size = content.len() as u64;
        let hashes: Vec<_> = GroupRange::whole(size)
            .iter()
            .map(|group| {
                let start = usize::try_from(group.offset()).unwrap();
                GroupHash::of(
                    group,
                    size,
                    &content[start..start + group_length(group, size)],
                )
            })
            .collect();
        merge_groups(&hashes)
    }

    #[test]
    fn merged_groups_are_the_hash_of_the_file() {
        let content: Vec<u8> = (0..9 * GROUP_BYTES + 5)
            .map(|n| (n * 31 % 251) as u8)
            .collect();
        for groups in 0..=9 {
            for extra in [0, 1, 5] {
                let part = &content[..groups * GROUP_BYTES + extra];
                assert_eq!(
                    by_groups(part),
                    ContentHash::of(part),
                    "{groups} groups and {extra}"
                );
            }
        }
    }

    #[test]
    fn ranges_stay_in_bounds() {
        assert_eq!(GroupRange::new(2, 1), None);
        assert_eq!(GroupRange::new(0, u64::MAX), None);
        assert_eq!(GroupIndex::new(u64::MAX), None);
        let range = GroupRange::new(3, 8).unwrap();
        let (first, rest) = range.split_at(2);
        assert_eq!((first.count(), rest.start(), rest.end()), (2, 5, 8));
        assert!(range.split_at(u64::MAX).1.is_empty());
        assert_eq!(group_count(0), 0);
        assert_eq!(group_count(GROUP_BYTES as u64 + 1), 2);
        assert_eq!(group_length(GroupIndex(1), GROUP_BYTES as u64 + 1), 1);
        assert_eq!(group_length(GroupIndex(7), 3), 0);
    }

    #[test]
    fn a_hash_reads_back_what_it_prints() {
        let hash = ContentHash::of(b"abc");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("zz".parse::<ContentHash>(), Err(ContentHashError));
    }
}
