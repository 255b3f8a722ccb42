//! How long calls wait, and the time.

use std::ffi::{c_int, c_uint, c_void};
use std::time::Duration;

use libc::{nfds_t, pollfd, timeval};

use super::{adapter, answer};
use crate::adapter::{Adapter, Patience};
use crate::machine::{Attempt, Errno, Machine, Readiness};
use crate::table::Userdata;

pub(super) unsafe extern "C" fn poll(
    userdata: Userdata,
    entries: *mut pollfd,
    length: nfds_t,
    millis: c_int,
) -> c_int {
    // SAFETY: as poll(2) has it.
    let adapter = unsafe { adapter(userdata) };
    let entries = if entries.is_null() || length == 0 {
        &mut []
    } else {
        unsafe { std::slice::from_raw_parts_mut(entries, length as usize) }
    };
    let patience = match u64::try_from(millis) {
        Ok(0) => Patience::None,
        Ok(millis) => Patience::Until(adapter.now() + Duration::from_millis(millis)),
        Err(_) => Patience::Forever,
    };
    let outcome = adapter.until_done(patience, |machine| {
        let mut found = 0;
        for entry in entries.iter_mut() {
            entry.revents = poll_one(machine, entry.fd, entry.events);
            found += c_int::from(entry.revents != 0);
        }
        if found > 0 {
            Attempt::Done(Ok(found))
        } else {
            Attempt::Blocked
        }
    });
    answer(match outcome {
        Err(Errno(libc::EAGAIN)) => Ok(0),
        other => other,
    })
}

pub(super) unsafe extern "C" fn usleep(userdata: Userdata, micros: c_uint) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    adapter.sleep(Duration::from_micros(micros.into()));
    0
}

pub(super) unsafe extern "C" fn gettimeofday(
    userdata: Userdata,
    time: *mut timeval,
    _zone: *mut c_void,
) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    let micros = adapter.look_at_clock().as_nanos() / 1_000;
    // SAFETY: as gettimeofday(2) has it.
    if let Some(time) = unsafe { time.as_mut() } {
        time.tv_sec = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
        time.tv_usec = i64::try_from(micros % 1_000_000).unwrap_or(0);
    }
    0
}

/// How long a call on `fd` waits.
pub(super) fn waits(adapter: &Adapter, fd: c_int, flags: c_int) -> Result<Patience, Errno> {
    let is_nonblocking = adapter.at_once(|machine| machine.is_nonblocking(fd))?;
    Ok(if is_nonblocking || flags & libc::MSG_DONTWAIT != 0 {
        Patience::None
    } else {
        Patience::Forever
    })
}

fn poll_one(machine: &mut Machine, fd: c_int, events: i16) -> i16 {
    let Ok(readiness) = machine.readiness(fd) else {
        return libc::POLLNVAL;
    };
    let Readiness {
        readable,
        writable,
        hung_up,
        failed,
    } = readiness;
    let asked = [(readable, libc::POLLIN), (writable, libc::POLLOUT)];
    let always = [(hung_up, libc::POLLHUP), (failed, libc::POLLERR)];
    let bit = |&(is, bit): &(bool, i16)| if is { bit } else { 0 };
    let found = asked.iter().map(bit).fold(0, |bits, bit| bits | bit) & events;
    found | always.iter().map(bit).fold(0, |bits, bit| bits | bit)
}
