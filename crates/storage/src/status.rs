//! What the file system says of one object.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::fs::{FileType, Stat, StatFs};

use packhorse_protocol::entry::Timestamp;

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, a socket or a device; never opened.
    Special,
    /// The listing did not say; ask for the status.
    Unknown,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Special => "a FIFO, a socket or a device",
            Self::Unknown => "of a kind unknown",
        })
    }
}

impl From<FileType> for Kind {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Unknown => Self::Unknown,
            _ => Self::Special,
        }
    }
}

/// The state of one object at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its kind; never `Unknown`.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: Timestamp,
    /// When its content or anything said of it last changed; no program can set it.
    pub changed: Timestamp,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The number of the user who owns it.
    pub owner: u32,
    /// The device that holds it.
    pub device: u64,
    /// Its number on that device.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// How much it occupies, in units of 512 bytes.
    pub blocks: u64,
}

impl Status {
    /// Whether both are states of one object.
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<Stat> for Status {
    // The fields have other widths and signs on other processors.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    fn from(stat: Stat) -> Self {
        let timestamp = |seconds: i64, nanoseconds: u64| {
            let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
            Timestamp::new(seconds, nanoseconds)
                .unwrap_or_else(|| Timestamp::new(seconds, 0).expect("0 is below a second"))
        };
        Self {
            kind: match Kind::from(FileType::from_raw_mode(stat.st_mode)) {
                Kind::Unknown => Kind::Special,
                known => known,
            },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: timestamp(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: timestamp(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
            mode: stat.st_mode as u32 & 0o7777,
            owner: stat.st_uid as u32,
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            links: stat.st_nlink as u64,
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        }
    }
}

/// Whether a file system is the kernel's way to show itself. What looks like a file there has no
/// size, waits, or acts when it is read, and none of it is anyone's data.
pub(crate) fn shows_the_kernel(file_system: &StatFs) -> bool {
    /// By the magic numbers of Linux, from `linux/magic.h` and the file systems' own sources.
    const MAGIC: [u32; 17] = [
        0x0000_1cd1, // devpts
        0x0000_9fa0, // proc
        0x0027_e0eb, // cgroup
        0x1980_0202, // mqueue
        0x4249_4e4d, // binfmt_misc
        0x6165_676c, // pstore
        0x6262_6572, // sysfs
        0x6265_6570, // configfs
        0x6367_7270, // cgroup2
        0x6462_6720, // debugfs
        0x6573_5543, // fusectl
        0x6e73_6673, // nsfs
        0x7363_6673, // securityfs
        0x7472_6163, // tracefs
        0xcafe_4a11, // bpf
        0xde5e_81e4, // efivarfs
        0xf97c_ff8c, // selinuxfs
    ];
    // The field's width differs between processors; the numbers have 32 bits.
    MAGIC.contains(&(file_system.f_type as u32))
}

/// Whether a file system is one of those that ask no other machine and no other program, whatever
/// they are asked: what the kernel has of them in memory is had at once.
pub(crate) fn lies_on_this_machine(file_system: &StatFs) -> bool {
    const MAGIC: [u32; 10] = [
        0x0000_4d44, // FAT
        0x0000_ef53, // ext2, ext3, ext4
        0x0102_1994, // tmpfs
        0x2011_bab0, // exFAT
        0x2fc1_2fc1, // ZFS
        0x5846_5342, // XFS
        0x7366_746e, // NTFS
        0x9123_683e, // Btrfs
        0xca45_1a4e, // bcachefs
        0xf2f5_2010, // F2FS
    ];
    MAGIC.contains(&(file_system.f_type as u32))
}

/// Whether a file system tells of a failed write only when the file is closed, or durable. A close
/// that fails is not heard of, so the file must be made durable to know.
pub(crate) fn tells_late(file_system: &StatFs) -> bool {
    const MAGIC: [u32; 7] = [
        0x0000_517b, // SMB
        0x0000_6969, // NFS
        0x00c3_6400, // Ceph
        0x5346_414f, // AFS
        0x6b41_4653, // the kernel's own AFS
        0xfe53_4d42, // SMB 2
        0xff53_4d42, // CIFS
    ];
    MAGIC.contains(&(file_system.f_type as u32))
}

/// A regular file was asked for and something else is there; the source of an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRegular(pub Kind);

impl NotRegular {
    /// What `error` says stands in the place of a regular file, if it says that.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Kind> {
        error
            .get_ref()
            .and_then(|source| source.downcast_ref::<Self>())
            .map(|&Self(kind)| kind)
    }
}

impl fmt::Display for NotRegular {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Kind::Directory => "it is a directory, not a file",
            Kind::Symlink => "it is a symbolic link, not a file",
            Kind::File | Kind::Special | Kind::Unknown => "it is a FIFO, a socket or a device",
        })
    }
}

impl Error for NotRegular {}

impl From<NotRegular> for io::Error {
    fn from(error: NotRegular) -> Self {
        Self::other(error)
    }
}
