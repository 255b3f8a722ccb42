//! An open regular file.

use std::io::{self, IoSliceMut};
use std::ops::Range;

use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{
    FallocateFlags, FlockOperation, Mode, SeekFrom, Timespec, Timestamps, UTIME_OMIT, XattrFlags,
};
use rustix::io::{Errno, ReadWriteFlags};

use packhorse_protocol::entry::{self, Timestamp};

use crate::disk::{Operation, Place};
use crate::status::{Kind, NotRegular, Status};

/// Zeros written at once where no hole can be made.
const ZEROS_BYTES: usize = 16 << 10;

/// An open regular file; closed when dropped.
#[derive(Debug)]
pub struct File {
    handle: Handle,
    opened: Status,
}

impl File {
    /// Takes `descriptor` if it is of a regular file, and otherwise closes it unread.
    pub(crate) fn new(descriptor: OwnedFd, place: Place) -> io::Result<Self> {
        let handle = Handle { descriptor, place };
        let opened = handle.status()?;
        match opened.kind {
            Kind::File => Ok(Self { handle, opened }),
            other => Err(NotRegular(other).into()),
        }
    }

    /// The file's state when it was opened.
    #[must_use]
    pub fn opened(&self) -> &Status {
        &self.opened
    }

    /// The file's state now.
    ///
    /// # Errors
    /// The system's own.
    pub fn status(&self) -> io::Result<Status> {
        self.handle.status()
    }

    /// Reads from `offset` on until `buffer` is full or the file ends. Returns how many bytes.
    ///
    /// # Errors
    /// The system's own; some of the buffer may have been filled.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let (at, rest) = (offset.saturating_add(filled as u64), &mut buffer[filled..]);
            let length = rest.len();
            let operation = Operation::Read { offset: at, length };
            match self.handle.place.transfer(operation, length, |length| {
                rustix::io::pread(&self.handle.descriptor, &mut rest[..length], at)
            })? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// Reads the start of the file into `buffer`, as far as the kernel has it in memory. Returns how
    /// many bytes.
    ///
    /// # Errors
    /// `WouldBlock` if it has nothing of it; `Unsupported` where it cannot tell; otherwise the
    /// system's own.
    pub(crate) fn read_cached(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len();
        let operation = Operation::Read { offset: 0, length };
        self.handle.place.transfer(operation, length, |length| {
            let mut parts = [IoSliceMut::new(&mut buffer[..length])];
            let file = &self.handle.descriptor;
            rustix::io::preadv2(file, &mut parts, 0, ReadWriteFlags::NOWAIT)
        })
    }

    /// Appends to `buffer` what lies from `offset` on: `length` bytes, or fewer if the file ends.
    /// Returns how many. The memory is not filled with zeros first.
    ///
    /// # Errors
    /// The system's own; the buffer may have grown.
    pub fn append_at(&self, offset: u64, length: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let start = buffer.len();
        let end = start + length;
        buffer.reserve(length);
        while buffer.len() < end {
            let at = offset.saturating_add((buffer.len() - start) as u64);
            let missing = end - buffer.len();
            let operation = Operation::Read {
                offset: at,
                length: missing,
            };
            let read = self.handle.place.transfer(operation, missing, |allowed| {
                let file = &self.handle.descriptor;
                if allowed == missing {
                    return rustix::io::pread(file, spare_capacity(buffer), at);
                }
                let mut part = vec![0; allowed];
                let read = rustix::io::pread(file, &mut part[..], at)?;
                buffer.extend_from_slice(&part[..read]);
                Ok(read)
            })?;
            if read == 0 {
                break;
            }
        }
        // What was allocated beyond the request may have been filled too.
        buffer.truncate(end);
        Ok(buffer.len() - start)
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's own; some bytes may have been written.
    pub fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let (offset, bytes) = (offset.saturating_add(written as u64), &bytes[written..]);
            let operation = Operation::Write { offset, bytes };
            match self
                .handle
                .place
                .transfer(operation, bytes.len(), |length| {
                    rustix::io::pwrite(&self.handle.descriptor, &bytes[..length], offset)
                })? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => written += count,
            }
        }
        Ok(())
    }

    /// Cuts the file or extends it with a hole.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_length(&self, length: u64) -> io::Result<()> {
        self.handle.call(Operation::SetLength { length }, |file| {
            rustix::fs::ftruncate(file, length)
        })
    }

    /// Makes `range` zeros: a hole where the file system can.
    ///
    /// # Errors
    /// The system's own; some of it may have been cleared.
    pub fn clear(&self, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end
            && let Some(data) = self.next_data(at)?
            && data.start < range.end
        {
            let end = data.end.min(range.end);
            self.clear_data(data.start, end - data.start)?;
            at = end;
        }
        Ok(())
    }

    fn clear_data(&self, offset: u64, length: u64) -> io::Result<()> {
        let punched = self
            .handle
            .call(Operation::Punch { offset, length }, |file| {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(file, flags, offset, length)
            });
        match punched {
            Err(error) if lacks_holes(&error) => {}
            other => return other,
        }
        let zeros = [0; ZEROS_BYTES];
        let mut written = 0;
        while written < length {
            let bytes = (length - written).min(ZEROS_BYTES as u64);
            let bytes = usize::try_from(bytes).map_or(&zeros[..], |bytes| &zeros[..bytes]);
            self.write_all_at(offset + written, bytes)?;
            written += bytes.len() as u64;
        }
        Ok(())
    }

    /// Reserves space for the first `length` bytes, without a change to the file's size.
    ///
    /// # Errors
    /// `Unsupported` where the file system cannot; otherwise the system's own.
    pub fn allocate(&self, length: u64) -> io::Result<()> {
        self.handle.call(Operation::Allocate { length }, |file| {
            rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length)
        })
    }

    /// Sets the permission bits.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_mode(&self, mode: entry::Mode) -> io::Result<()> {
        self.handle.set_mode_bits(mode.bits())
    }

    /// Sets when the content last changed.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_times(&self, modified: Timestamp) -> io::Result<()> {
        self.handle.set_times(modified)
    }

    /// Makes content and attributes durable.
    ///
    /// # Errors
    /// The system's own. What was written before may be lost then, and a second call may wrongly
    /// succeed: never try again, write anew.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync()
    }

    /// Takes the file's lock for this process alone until the file is dropped; `false` if another
    /// holds it.
    ///
    /// # Errors
    /// The system's own.
    pub fn try_lock(&self) -> io::Result<bool> {
        match self.handle.call(Operation::Lock, |file| {
            rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
        }) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets go of the file's lock, for every process that has come to share this open file: a child
    /// that is being started holds what its parent has open for a moment. A failure leaves it to the
    /// end of all of them, so no disk is asked first.
    pub(crate) fn unlock(&self) {
        let _ = rustix::fs::flock(&self.handle.descriptor, FlockOperation::Unlock);
    }

    /// The first run of data at or behind `offset`; `None` if only holes follow. Where the file
    /// system knows nothing of holes, all of the file is data.
    ///
    /// # Errors
    /// The system's own.
    pub fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let seek = |to: SeekFrom| {
            self.handle.call(Operation::Seek { offset }, |file| {
                rustix::fs::seek(file, to)
            })
        };
        let start = match seek(SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(error) => {
                return match Errno::from_io_error(&error) {
                    Some(Errno::NXIO) => Ok(None),
                    Some(Errno::INVAL | Errno::OPNOTSUPP) => {
                        let size = self.status()?.size;
                        Ok((offset < size).then_some(offset..size))
                    }
                    _ => Err(error),
                };
            }
        };
        match seek(SeekFrom::Hole(start)) {
            Ok(end) => Ok(Some(start..end)),
            // The file was cut in between.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of all extended attributes that this process may see.
    ///
    /// # Errors
    /// The system's own; none where the file system has no such attributes.
    pub fn xattr_names(&self) -> io::Result<Vec<Vec<u8>>> {
        self.handle.xattr_names()
    }

    /// The value of the extended attribute `name`; `None` if there is none.
    ///
    /// # Errors
    /// The system's own.
    pub fn xattr(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.handle.xattr(name)
    }

    /// Sets the extended attribute `name`.
    ///
    /// # Errors
    /// The system's own.
    pub fn set_xattr(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.handle.set_xattr(name, value)
    }

    /// Removes the extended attribute `name`.
    ///
    /// # Errors
    /// The system's own.
    pub fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        self.handle.remove_xattr(name)
    }
}

/// Whether the file system cannot make holes, or not there.
fn lacks_holes(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
    )
}

/// What an open file and an open directory have in common.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) descriptor: OwnedFd,
    pub(crate) place: Place,
}

impl Handle {
    pub(crate) fn call<T>(
        &self,
        operation: Operation<'_>,
        mut call: impl FnMut(&OwnedFd) -> Result<T, Errno>,
    ) -> io::Result<T> {
        self.place.call(b"", operation, || call(&self.descriptor))
    }

    pub(crate) fn status(&self) -> io::Result<Status> {
        self.call(Operation::Status, |it| rustix::fs::fstat(it))
            .map(Status::from)
    }

    pub(crate) fn set_mode_bits(&self, mode: u32) -> io::Result<()> {
        self.call(Operation::SetMode { mode }, |it| {
            rustix::fs::fchmod(it, Mode::from_raw_mode(mode))
        })
    }

    pub(crate) fn set_times(&self, modified: Timestamp) -> io::Result<()> {
        self.call(Operation::SetTimes { modified }, |it| {
            rustix::fs::futimens(it, &timestamps(modified))
        })
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.call(Operation::Sync, |it| rustix::fs::fsync(it))
    }

    pub(crate) fn xattr_names(&self) -> io::Result<Vec<Vec<u8>>> {
        let names = grown(|buffer| {
            self.call(Operation::ListXattrs, |it| {
                rustix::fs::flistxattr(it, &mut *buffer)
            })
        });
        match names {
            Ok(names) => Ok(names
                .split(|&byte| byte == 0)
                .filter(|name| !name.is_empty())
                .map(<[u8]>::to_vec)
                .collect()),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn xattr(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let value = grown(|buffer| {
            self.call(Operation::GetXattr { name }, |it| {
                rustix::fs::fgetxattr(it, name, &mut *buffer)
            })
        });
        match value {
            Ok(value) => Ok(Some(value)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NODATA) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn set_xattr(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.call(Operation::SetXattr { name, value }, |it| {
            rustix::fs::fsetxattr(it, name, value, XattrFlags::empty())
        })
    }

    pub(crate) fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        self.call(Operation::RemoveXattr { name }, |it| {
            rustix::fs::fremovexattr(it, name)
        })
    }
}

/// Leaves the time of the last access alone.
pub(crate) fn timestamps(modified: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: modified.seconds(),
            tv_nsec: modified.nanoseconds().into(),
        },
    }
}

/// Calls `fill` with buffers of growing size until one is large enough; the kernel allows no list of
/// attributes and no value above the last.
fn grown(mut fill: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    const SIZES: [usize; 3] = [256, 4 << 10, 64 << 10];
    for size in SIZES {
        let mut buffer = vec![0; size];
        match fill(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::TOOBIG.into())
}
