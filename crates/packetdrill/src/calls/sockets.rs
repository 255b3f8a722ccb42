//! Sockets: made, bound, connected and closed.

use std::ffi::c_int;

use libc::{AF_INET, AF_INET6, sockaddr, socklen_t};

use super::addresses::{address_bytes, address_from};
use super::buffers::give;
use super::waiting::waits;
use super::{adapter, answer};
use crate::machine::Errno;
use crate::table::Userdata;

pub(super) unsafe extern "C" fn socket(
    userdata: Userdata,
    domain: c_int,
    kind: c_int,
    _protocol: c_int,
) -> c_int {
    let is_nonblocking = kind & libc::SOCK_NONBLOCK != 0;
    let kind = kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    if !matches!(domain, AF_INET | AF_INET6) || kind != libc::SOCK_STREAM {
        return answer(Err(Errno(libc::EPROTONOSUPPORT)));
    }
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    adapter.at_once(|machine| machine.socket(domain == AF_INET6, is_nonblocking))
}

pub(super) unsafe extern "C" fn bind(
    userdata: Userdata,
    fd: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    // SAFETY: as bind(2) has it.
    let (adapter, address) = unsafe { (adapter(userdata), address_from(address, length)) };
    answer(
        address
            .and_then(|address| adapter.at_once(|machine| machine.bind(fd, address).map(|()| 0))),
    )
}

pub(super) unsafe extern "C" fn listen(userdata: Userdata, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    let backlog = usize::try_from(backlog).unwrap_or(1);
    answer(adapter.at_once(|machine| machine.listen(fd, backlog).map(|()| 0)))
}

pub(super) unsafe extern "C" fn accept(
    userdata: Userdata,
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    let accepted = waits(adapter, fd, 0)
        .and_then(|waits| adapter.until_done(waits, |machine| machine.accept(fd)));
    answer(accepted.map(|(accepted, remote)| {
        // SAFETY: as accept(2) has it.
        unsafe { give(&address_bytes(remote), address.cast(), length) };
        accepted
    }))
}

pub(super) unsafe extern "C" fn connect(
    userdata: Userdata,
    fd: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    // SAFETY: as connect(2) has it.
    let (adapter, address) = unsafe { (adapter(userdata), address_from(address, length)) };
    let connected = address.and_then(|address| {
        let waits = waits(adapter, fd, 0)?;
        adapter.at_once(|machine| machine.connect(fd, address))?;
        let outcome = adapter.until_done(waits, |machine| machine.is_connected(fd));
        outcome.map_err(|error| match error {
            Errno(libc::EAGAIN) => Errno(libc::EINPROGRESS),
            other => other,
        })
    });
    answer(connected.map(|()| 0))
}

pub(super) unsafe extern "C" fn close(userdata: Userdata, fd: c_int) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    answer(adapter.at_once(|machine| machine.close(fd).map(|()| 0)))
}

pub(super) unsafe extern "C" fn shutdown(userdata: Userdata, fd: c_int, how: c_int) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    answer(adapter.at_once(|machine| machine.shutdown(fd, how).map(|()| 0)))
}
