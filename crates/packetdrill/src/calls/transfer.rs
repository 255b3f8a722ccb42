//! Data in and out.

use std::ffi::{c_int, c_void};

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use super::buffers::{give, readable, vectors, writable};
use super::waiting::waits;
use super::{adapter, answer};
use crate::adapter::{Adapter, Patience};
use crate::machine::Errno;
use crate::table::Userdata;

pub(super) unsafe extern "C" fn read(
    userdata: Userdata,
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
) -> ssize_t {
    // SAFETY: as read(2) has it.
    unsafe { recv(userdata, fd, buffer, length, 0) }
}

pub(super) unsafe extern "C" fn recv(
    userdata: Userdata,
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as recv(2) has it.
    let (adapter, buffer) = unsafe { (adapter(userdata), writable(buffer, length)) };
    answer(receive(adapter, fd, &mut [buffer], flags))
}

pub(super) unsafe extern "C" fn recvfrom(
    userdata: Userdata,
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    // SAFETY: as recvfrom(2) has it; on a stream, the sender is left out.
    unsafe {
        give(&[], address.cast(), address_length);
        recv(userdata, fd, buffer, length, flags)
    }
}

pub(super) unsafe extern "C" fn readv(
    userdata: Userdata,
    fd: c_int,
    vector: *const iovec,
    length: c_int,
) -> ssize_t {
    // SAFETY: as readv(2) has it.
    let adapter = unsafe { adapter(userdata) };
    let vector = unsafe { vectors(vector, usize::try_from(length).unwrap_or(0)) };
    let buffers = vector.iter();
    let mut buffers: Vec<_> = buffers
        .map(|entry| unsafe { writable(entry.iov_base, entry.iov_len) })
        .collect();
    answer(receive(adapter, fd, &mut buffers, 0))
}

pub(super) unsafe extern "C" fn recvmsg(
    userdata: Userdata,
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as recvmsg(2) has it.
    let adapter = unsafe { adapter(userdata) };
    let Some(message) = (unsafe { message.as_mut() }) else {
        return answer(Err(Errno(libc::EFAULT)));
    };
    message.msg_namelen = 0;
    message.msg_controllen = 0;
    message.msg_flags = 0;
    let vector = unsafe { vectors(message.msg_iov, message.msg_iovlen) };
    let mut buffers: Vec<_> = vector
        .iter()
        .map(|entry| unsafe { writable(entry.iov_base, entry.iov_len) })
        .collect();
    answer(receive(adapter, fd, &mut buffers, flags))
}

pub(super) unsafe extern "C" fn write(
    userdata: Userdata,
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
) -> ssize_t {
    // SAFETY: as write(2) has it.
    unsafe { send(userdata, fd, buffer, length, 0) }
}

pub(super) unsafe extern "C" fn send(
    userdata: Userdata,
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as send(2) has it.
    let (adapter, buffer) = unsafe { (adapter(userdata), readable(buffer, length)) };
    answer(transmit(adapter, fd, &[buffer], flags))
}

pub(super) unsafe extern "C" fn sendto(
    userdata: Userdata,
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    _address: *const sockaddr,
    _address_length: socklen_t,
) -> ssize_t {
    // SAFETY: as sendto(2) has it; a connection's address stays what it is.
    unsafe { send(userdata, fd, buffer, length, flags) }
}

pub(super) unsafe extern "C" fn writev(
    userdata: Userdata,
    fd: c_int,
    vector: *const iovec,
    length: c_int,
) -> ssize_t {
    // SAFETY: as writev(2) has it.
    let adapter = unsafe { adapter(userdata) };
    let vector = unsafe { vectors(vector, usize::try_from(length).unwrap_or(0)) };
    let buffers = vector.iter();
    let buffers: Vec<_> = buffers
        .map(|entry| unsafe { readable(entry.iov_base, entry.iov_len) })
        .collect();
    answer(transmit(adapter, fd, &buffers, 0))
}

pub(super) unsafe extern "C" fn sendmsg(
    userdata: Userdata,
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as sendmsg(2) has it.
    let adapter = unsafe { adapter(userdata) };
    let Some(message) = (unsafe { message.as_ref() }) else {
        return answer(Err(Errno(libc::EFAULT)));
    };
    let vector = unsafe { vectors(message.msg_iov, message.msg_iovlen) };
    let buffers: Vec<_> = vector
        .iter()
        .map(|entry| unsafe { readable(entry.iov_base, entry.iov_len) })
        .collect();
    answer(transmit(adapter, fd, &buffers, flags))
}

/// Reads into several buffers, one after the other; waits for the first byte only.
fn receive(
    adapter: &Adapter,
    fd: c_int,
    buffers: &mut [&mut [u8]],
    flags: c_int,
) -> Result<ssize_t, Errno> {
    let mut waits = waits(adapter, fd, flags)?;
    let mut total = 0;
    for buffer in buffers.iter_mut().filter(|buffer| !buffer.is_empty()) {
        match adapter.until_done(waits, |machine| machine.read(fd, buffer)) {
            Ok(read) => {
                total += read;
                if read < buffer.len() {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
        waits = Patience::None;
    }
    Ok(count(total))
}

/// Writes several buffers; one that waits, waits until all is taken.
fn transmit(
    adapter: &Adapter,
    fd: c_int,
    buffers: &[&[u8]],
    flags: c_int,
) -> Result<ssize_t, Errno> {
    let waits = waits(adapter, fd, flags)?;
    let mut total = 0;
    for buffer in buffers {
        let mut rest = *buffer;
        while !rest.is_empty() {
            match adapter.until_done(waits, |machine| machine.write(fd, rest)) {
                Ok(taken) => {
                    total += taken;
                    rest = &rest[taken..];
                }
                Err(_) if total > 0 => return Ok(count(total)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(count(total))
}

fn count(bytes: usize) -> ssize_t {
    ssize_t::try_from(bytes).unwrap_or(ssize_t::MAX)
}
