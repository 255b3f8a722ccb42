//! packetdrill's part, for tests: every call goes through the table, as C has it.

use std::ffi::{CString, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ptr;
use std::time::Duration;

use bytes::Bytes;
use libc::{pollfd, sockaddr, socklen_t, ssize_t, timeval};

use crate::calls;
use crate::table::{Interface, packetdrill_interface_init};

/// A host, as packetdrill holds it: the thread that makes it is the one whose waits move time.
#[derive(Debug)]
pub struct Caller {
    interface: Interface,
}

/// A call gave -1, with this number in `errno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed(pub c_int);

// SAFETY: what `userdata` leads to is an adapter, which is for any number of threads.
unsafe impl Send for Caller {}
// SAFETY: the same.
unsafe impl Sync for Caller {}

impl Caller {
    /// A host that behaves as `--so_flags` says.
    ///
    /// # Panics
    /// There is a zero byte in `flags`.
    #[must_use]
    pub fn new(flags: &str) -> Self {
        let flags = CString::new(flags).expect("flags are text");
        let mut interface = MaybeUninit::uninit();
        // SAFETY: a string, and room for a table, which is filled then.
        let interface = unsafe {
            packetdrill_interface_init(flags.as_ptr(), interface.as_mut_ptr());
            interface.assume_init()
        };
        Self { interface }
    }

    /// A TCP socket.
    ///
    /// # Errors
    /// As socket(2).
    pub fn socket(&self, is_ipv6: bool) -> Result<c_int, Failed> {
        let Interface {
            userdata, socket, ..
        } = self.interface;
        let family = if is_ipv6 {
            libc::AF_INET6
        } else {
            libc::AF_INET
        };
        // SAFETY: the table's own `userdata`.
        fd(unsafe { socket(userdata, family, libc::SOCK_STREAM, libc::IPPROTO_TCP) })
    }

    /// Our end.
    ///
    /// # Errors
    /// As bind(2).
    pub fn bind(&self, socket: c_int, local: SocketAddr) -> Result<(), Failed> {
        let Interface { userdata, bind, .. } = self.interface;
        let (local, length) = address(local);
        // SAFETY: an address of that length.
        done(unsafe { bind(userdata, socket, local.as_ptr().cast::<sockaddr>(), length) })
    }

    /// Takes connections.
    ///
    /// # Errors
    /// As listen(2).
    pub fn listen(&self, socket: c_int, backlog: c_int) -> Result<(), Failed> {
        let Interface {
            userdata, listen, ..
        } = self.interface;
        // SAFETY: the table's own `userdata`.
        done(unsafe { listen(userdata, socket, backlog) })
    }

    /// The next connection.
    ///
    /// # Errors
    /// As accept(2).
    pub fn accept(&self, socket: c_int) -> Result<c_int, Failed> {
        let Interface {
            userdata, accept, ..
        } = self.interface;
        // SAFETY: no address is asked for.
        fd(unsafe { accept(userdata, socket, ptr::null_mut(), ptr::null_mut()) })
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// As connect(2).
    pub fn connect(&self, socket: c_int, remote: SocketAddr) -> Result<(), Failed> {
        let Interface {
            userdata, connect, ..
        } = self.interface;
        let (remote, length) = address(remote);
        // SAFETY: an address of that length.
        done(unsafe { connect(userdata, socket, remote.as_ptr().cast::<sockaddr>(), length) })
    }

    /// At most `most` bytes; none at the end.
    ///
    /// # Errors
    /// As read(2).
    pub fn read(&self, socket: c_int, most: usize) -> Result<Vec<u8>, Failed> {
        let Interface { userdata, read, .. } = self.interface;
        let mut buffer = vec![0_u8; most];
        // SAFETY: a buffer of that length.
        let count = size(unsafe { read(userdata, socket, buffer.as_mut_ptr().cast(), most) })?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// How many bytes were taken.
    ///
    /// # Errors
    /// As write(2).
    pub fn write(&self, socket: c_int, data: &[u8]) -> Result<usize, Failed> {
        let Interface {
            userdata, write, ..
        } = self.interface;
        // SAFETY: a buffer of that length.
        size(unsafe { write(userdata, socket, data.as_ptr().cast(), data.len()) })
    }

    /// No more data from us.
    ///
    /// # Errors
    /// As shutdown(2).
    pub fn shutdown(&self, socket: c_int) -> Result<(), Failed> {
        let Interface {
            userdata, shutdown, ..
        } = self.interface;
        // SAFETY: the table's own `userdata`.
        done(unsafe { shutdown(userdata, socket, libc::SHUT_WR) })
    }

    /// Lets go of a socket.
    ///
    /// # Errors
    /// As close(2).
    pub fn close(&self, socket: c_int) -> Result<(), Failed> {
        let Interface {
            userdata, close, ..
        } = self.interface;
        // SAFETY: the table's own `userdata`.
        done(unsafe { close(userdata, socket) })
    }

    /// Calls on the socket wait no more.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn set_nonblocking(&self, socket: c_int) -> Result<(), Failed> {
        let Interface {
            userdata, fcntl, ..
        } = self.interface;
        // SAFETY: F_SETFL has an int.
        done(unsafe { fcntl(userdata, socket, libc::F_SETFL, libc::O_NONBLOCK) })
    }

    /// Sets an option whose value is one or more ints.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_option(
        &self,
        socket: c_int,
        level: c_int,
        name: c_int,
        value: &[c_int],
    ) -> Result<(), Failed> {
        let Interface {
            userdata,
            setsockopt,
            ..
        } = self.interface;
        let length = socklen_t::try_from(size_of_val(value)).unwrap_or(0);
        // SAFETY: a value of that length.
        done(unsafe { setsockopt(userdata, socket, level, name, value.as_ptr().cast(), length) })
    }

    /// The state of a connection as `TCP_INFO` numbers it.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn state(&self, socket: c_int) -> Result<u8, Failed> {
        let Interface {
            userdata,
            getsockopt,
            ..
        } = self.interface;
        let mut info = [0_u8; 104];
        let mut length: socklen_t = 104;
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        // SAFETY: a buffer of that length.
        done(unsafe {
            getsockopt(
                userdata,
                socket,
                level,
                name,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        })?;
        Ok(info[0])
    }

    /// What `poll` finds of `events`, within `millis`; forever if that is negative.
    ///
    /// # Errors
    /// As poll(2).
    pub fn poll(&self, socket: c_int, events: i16, millis: c_int) -> Result<i16, Failed> {
        let Interface { userdata, poll, .. } = self.interface;
        let mut entry = pollfd {
            fd: socket,
            events,
            revents: 0,
        };
        // SAFETY: one entry.
        fd(unsafe { poll(userdata, &raw mut entry, 1, millis) })?;
        Ok(entry.revents)
    }

    /// A packet arrives at the host.
    pub fn netdev_send(&self, packet: &[u8]) {
        let Interface {
            userdata,
            netdev_send,
            ..
        } = self.interface;
        // SAFETY: a buffer of that length.
        unsafe { netdev_send(userdata, packet.as_ptr().cast(), packet.len()) };
    }

    /// The next packet that leaves the host and when, in microseconds; none if there will be none.
    #[must_use]
    pub fn netdev_receive(&self) -> Option<(i64, Bytes)> {
        let Interface {
            userdata,
            netdev_receive,
            ..
        } = self.interface;
        let mut buffer = vec![0_u8; 1 << 16];
        let (mut length, mut micros) = (buffer.len(), 0);
        // SAFETY: a buffer of that length, and two places to write to.
        unsafe {
            netdev_receive(
                userdata,
                buffer.as_mut_ptr().cast(),
                &raw mut length,
                &raw mut micros,
            )
        };
        buffer.truncate(length);
        (length > 0).then(|| (micros, buffer.into()))
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// It is more than an hour.
    pub fn sleep(&self, span: Duration) {
        let Interface {
            userdata, usleep, ..
        } = self.interface;
        let micros = c_uint::try_from(span.as_micros()).expect("no more than an hour");
        // SAFETY: the table's own `userdata`.
        unsafe { usleep(userdata, micros) };
    }

    /// The time of day, in microseconds.
    #[must_use]
    pub fn micros(&self) -> i64 {
        let Interface {
            userdata,
            gettimeofday,
            ..
        } = self.interface;
        let mut time = timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        // SAFETY: a place to write to.
        unsafe { gettimeofday(userdata, &raw mut time, ptr::null_mut::<c_void>()) };
        time.tv_sec * 1_000_000 + time.tv_usec
    }

    /// How many threads wait in a call. packetdrill cannot know; a test has to.
    #[must_use]
    pub fn waiting(&self) -> usize {
        // SAFETY: the table is not freed while there is a caller.
        unsafe { calls::adapter(self.interface.userdata) }.waiting()
    }

    /// Packets that have left the host and were not fetched.
    #[must_use]
    pub fn packets_waiting(&self) -> usize {
        // SAFETY: the same.
        let adapter = unsafe { calls::adapter(self.interface.userdata) };
        adapter.packets_waiting()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let Interface { userdata, free, .. } = self.interface;
        // SAFETY: nobody has this table but us.
        unsafe { free(userdata) };
    }
}

fn address(address: SocketAddr) -> (Vec<u8>, socklen_t) {
    let bytes = calls::address_bytes(address);
    let length = socklen_t::try_from(bytes.len()).unwrap_or(0);
    (bytes, length)
}

fn last_error() -> Failed {
    let error = std::io::Error::last_os_error();
    Failed(error.raw_os_error().unwrap_or(0))
}

fn fd(answer: c_int) -> Result<c_int, Failed> {
    if answer < 0 {
        Err(last_error())
    } else {
        Ok(answer)
    }
}

fn done(answer: c_int) -> Result<(), Failed> {
    fd(answer).map(|_| ())
}

fn size(answer: ssize_t) -> Result<usize, Failed> {
    usize::try_from(answer).map_err(|_| last_error())
}
