//! What is said of a file, a directory or a link besides its content.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOSECONDS_PER_SECOND: u32 = 1_000_000_000;

/// A moment since the Unix epoch, to the nanosecond; moments before it have negative seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// `nanoseconds` count forward from `seconds`; `None` unless they are below a second.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        (nanoseconds < NANOSECONDS_PER_SECOND).then_some(Self {
            seconds,
            nanoseconds,
        })
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    #[must_use]
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// Whether this lies at least `seconds` before `now`.
    #[must_use]
    pub fn is_before_by(self, now: Self, seconds: i64) -> bool {
        (self.seconds.saturating_add(seconds), self.nanoseconds) <= (now.seconds, now.nanoseconds)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (seconds, nanoseconds) = <(i64, u32)>::deserialize(deserializer)?;
        Self::new(seconds, nanoseconds)
            .ok_or_else(|| de::Error::custom("nanoseconds beyond a second"))
    }
}

/// Permission bits and the sticky bit; setuid and setgid cannot be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(u16);

impl Mode {
    const MASK: u32 = 0o1777;

    /// The permission bits of a `st_mode`; every other bit is dropped.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self((bits & Self::MASK) as u16)
    }

    /// The bits, at most `0o1777`.
    #[must_use]
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_bits(u32::from(u16::deserialize(deserializer)?)))
    }
}

/// Which state of a source some content comes from: equal versions mean that size, times and inode
/// were the same. Opaque to a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version(pub [u8; 16]);

impl fmt::Debug for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Version({:032x})", u128::from_be_bytes(self.0))
    }
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xattr {
    /// The full name, such as `user.origin`.
    pub name: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// What is said of a regular file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// The content's length in bytes.
    pub size: u64,
    /// When the content last changed.
    pub modified: Timestamp,
    /// Permission bits.
    pub mode: Mode,
    /// The state of the source that this describes.
    pub version: Version,
    /// The source occupies less than its size: runs of zeros in it are holes.
    pub sparse: bool,
    /// Names of one file share a number here; 0 if it has one name or hard links were not asked for.
    pub link_group: u64,
    /// Extended attributes, if asked for.
    pub xattrs: Vec<Xattr>,
}

/// What is said of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryInfo {
    /// When the set of names in it last changed.
    pub modified: Timestamp,
    /// Permission bits.
    pub mode: Mode,
    /// Extended attributes, if asked for.
    pub xattrs: Vec<Xattr>,
}

/// Why a server does not send something. The same reasons stand in a tree, where the rest goes on,
/// and as the answer to a request for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// There is nothing of that name.
    NotFound,
    /// The server may not read it.
    PermissionDenied,
    /// A FIFO, socket or device.
    Special,
    /// A link that points out of the tree.
    LeavesTree,
    /// A directory where a file was asked for.
    IsDirectory,
    /// A file where a directory was asked for.
    NotDirectory,
    /// Links that lead to one another.
    LinkLoop,
    /// The name or its path is too long, or reserved.
    UnusableName,
    /// The file is no longer the version that was asked for.
    Changed,
    /// The file is too large to be sent in line.
    TooLarge,
    /// The server could not read it: an input/output error there.
    Unreadable,
    /// The server is out of descriptors or memory; trying again later may help.
    Busy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotFound => "it does not exist on the server",
            Self::PermissionDenied => "the server may not read it",
            Self::Special => "it is a FIFO, a socket or a device",
            Self::LeavesTree => "it is a link that leaves the tree",
            Self::IsDirectory => "it is a directory",
            Self::NotDirectory => "it is not a directory",
            Self::LinkLoop => "it is a link in a loop of links",
            Self::UnusableName => "its name or path is too long, or reserved",
            Self::Changed => "it changed on the server while it was fetched",
            Self::TooLarge => "it grew on the server while it was fetched",
            Self::Unreadable => "the server's disk could not read it",
            Self::Busy => "the server is too busy to open it; try again later",
        })
    }
}

impl Refusal {
    /// Whether this only says what kind of thing it is: left out of a tree without that being a
    /// failure.
    #[must_use]
    pub fn is_by_kind(self) -> bool {
        matches!(self, Self::Special | Self::LeavesTree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_never_holds_setuid_or_setgid() {
        assert_eq!(Mode::from_bits(0o107_755).bits(), 0o1755);
        let encoded = postcard::to_allocvec(&0o7777u16).unwrap();
        assert_eq!(
            postcard::from_bytes::<Mode>(&encoded).unwrap().bits(),
            0o1777
        );
    }

    #[test]
    fn a_timestamp_has_less_than_a_second_of_nanoseconds() {
        assert_eq!(Timestamp::new(0, 1_000_000_000), None);
        let encoded = postcard::to_allocvec(&(5i64, 1_000_000_000u32)).unwrap();
        assert!(postcard::from_bytes::<Timestamp>(&encoded).is_err());
        let at = |seconds, nanoseconds| Timestamp::new(seconds, nanoseconds).unwrap();
        assert!(at(5, 3).is_before_by(at(7, 3), 2));
        assert!(!at(5, 4).is_before_by(at(7, 3), 2));
        assert!(!at(i64::MAX, 0).is_before_by(at(7, 3), 2));
    }
}
