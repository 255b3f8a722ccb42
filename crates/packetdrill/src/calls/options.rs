//! What a socket is told, and tells, beside its data.

use std::ffi::{c_int, c_long, c_ulong, c_void};

use libc::socklen_t;

use super::buffers::{give, readable};
use super::{adapter, answer};
use crate::machine::Errno;
use crate::table::Userdata;

unsafe extern "C" {
    pub(super) fn packhorse_variadic_fcntl(userdata: Userdata, fd: c_int, cmd: c_int, ...)
    -> c_int;
    pub(super) fn packhorse_variadic_ioctl(
        userdata: Userdata,
        fd: c_int,
        request: c_ulong,
        ...
    ) -> c_int;
}

/// `fcntl`, from the C that takes its last argument.
#[unsafe(no_mangle)]
unsafe extern "C" fn packhorse_fcntl(
    userdata: Userdata,
    fd: c_int,
    command: c_int,
    argument: c_long,
) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    answer(adapter.at_once(|machine| match command {
        libc::F_GETFL => {
            let is_nonblocking = machine.is_nonblocking(fd)?;
            Ok(libc::O_RDWR | if is_nonblocking { libc::O_NONBLOCK } else { 0 })
        }
        libc::F_SETFL => {
            let is = argument & c_long::from(libc::O_NONBLOCK) != 0;
            machine.set_nonblocking(fd, is).map(|()| 0)
        }
        _ => Err(Errno(libc::EINVAL)),
    }))
}

/// `ioctl`, from the C that takes its last argument.
#[unsafe(no_mangle)]
unsafe extern "C" fn packhorse_ioctl(
    userdata: Userdata,
    fd: c_int,
    request: c_ulong,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    if request != libc::FIONREAD || argument.is_null() {
        return answer(Err(Errno(libc::EINVAL)));
    }
    answer(
        adapter
            .at_once(|machine| machine.readable(fd))
            .map(|bytes| {
                // SAFETY: FIONREAD has the address of an int.
                unsafe { *argument.cast() = c_int::try_from(bytes).unwrap_or(c_int::MAX) };
                0
            }),
    )
}

pub(super) unsafe extern "C" fn getsockopt(
    userdata: Userdata,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    let number = |value: c_int| value.to_ne_bytes().to_vec();
    let found = adapter.at_once(|machine| match (level, name) {
        (libc::SOL_SOCKET, libc::SO_ERROR) => machine.take_error(fd).map(number),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => {
            machine.is_nodelay(fd).map(|is| number(c_int::from(is)))
        }
        (libc::IPPROTO_TCP, libc::TCP_INFO) => machine.info(fd),
        _ => Err(Errno(libc::ENOPROTOOPT)),
    });
    answer(found.map(|bytes| {
        // SAFETY: as getsockopt(2) has it.
        unsafe {
            let room = length.as_ref().copied().unwrap_or(0) as usize;
            give(&bytes[..bytes.len().min(room)], value, length);
        }
        0
    }))
}

pub(super) unsafe extern "C" fn setsockopt(
    userdata: Userdata,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    // SAFETY: as setsockopt(2) has it.
    let (adapter, value) = unsafe { (adapter(userdata), readable(value, length as usize)) };
    let number = |at: usize| {
        let bytes = value.get(at..at + 4)?;
        Some(c_int::from_ne_bytes(bytes.try_into().ok()?))
    };
    answer(adapter.at_once(|machine| match (level, name) {
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => {
            let is = number(0).ok_or(Errno(libc::EINVAL))?;
            machine.set_nodelay(fd, is != 0).map(|()| 0)
        }
        (libc::SOL_SOCKET, libc::SO_LINGER) => {
            let (on, seconds) = number(0).zip(number(4)).ok_or(Errno(libc::EINVAL))?;
            machine.set_resets(fd, on != 0 && seconds == 0).map(|()| 0)
        }
        // Nothing here is in the way of a port that was used before.
        (libc::SOL_SOCKET, libc::SO_REUSEADDR | libc::SO_REUSEPORT) => Ok(0),
        _ => Err(Errno(libc::ENOPROTOOPT)),
    }))
}
