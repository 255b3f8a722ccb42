//! What needs files of the process.

use std::ffi::{c_int, c_uint};

use libc::{epoll_event, off64_t, size_t};

use super::answer;
use crate::machine::Errno;
use crate::table::Userdata;

pub(super) unsafe extern "C" fn epoll_create(_userdata: Userdata, _size: c_int) -> c_int {
    unsupported()
}

pub(super) unsafe extern "C" fn epoll_ctl(
    _userdata: Userdata,
    _epfd: c_int,
    _op: c_int,
    _fd: c_int,
    _event: *mut epoll_event,
) -> c_int {
    unsupported()
}

pub(super) unsafe extern "C" fn epoll_wait(
    _userdata: Userdata,
    _epfd: c_int,
    _events: *mut epoll_event,
    _most: c_int,
    _millis: c_int,
) -> c_int {
    unsupported()
}

pub(super) unsafe extern "C" fn pipe(_userdata: Userdata, _ends: *mut c_int) -> c_int {
    unsupported()
}

pub(super) unsafe extern "C" fn splice(
    _userdata: Userdata,
    _from: c_int,
    _from_offset: *mut off64_t,
    _to: c_int,
    _to_offset: *mut off64_t,
    _length: size_t,
    _flags: c_uint,
) -> c_int {
    unsupported()
}

/// Sockets here are no files of the process, which an epoll instance or a pipe would have to be.
fn unsupported() -> c_int {
    answer(Err(Errno(libc::ENOSYS)))
}
