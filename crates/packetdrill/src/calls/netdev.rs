//! The device: packetdrill is its other end.

use std::ffi::{c_int, c_longlong, c_void};

use libc::size_t;

use super::buffers::{readable, writable};
use super::{adapter, answer};
use crate::adapter::Patience;
use crate::machine::{Attempt, Errno};
use crate::table::Userdata;

pub(super) unsafe extern "C" fn netdev_send(
    userdata: Userdata,
    buffer: *const c_void,
    length: size_t,
) -> c_int {
    // SAFETY: packetdrill passes a packet of that length.
    let (adapter, packet) = unsafe { (adapter(userdata), readable(buffer, length)) };
    adapter.at_once(|machine| machine.handle_packet(packet));
    0
}

pub(super) unsafe extern "C" fn netdev_receive(
    userdata: Userdata,
    buffer: *mut c_void,
    length: *mut size_t,
    micros: *mut c_longlong,
) -> c_int {
    if length.is_null() || micros.is_null() {
        return answer(Err(Errno(libc::EFAULT)));
    }
    // SAFETY: packetdrill passes a buffer of that length, and where to put a time.
    let (adapter, buffer) = unsafe { (adapter(userdata), writable(buffer, *length)) };
    let next = adapter.until_done(Patience::Forever, |machine| match machine.next_packet() {
        Some(packet) => Attempt::Done(Ok(packet)),
        None => Attempt::Blocked,
    });
    let (at, packet) = match next {
        Ok((at, packet)) => (at.as_nanos() / 1_000, packet),
        Err(_) => (adapter.now().as_nanos() / 1_000, bytes::Bytes::new()),
    };
    let fits = packet.len().min(buffer.len());
    buffer[..fits].copy_from_slice(&packet[..fits]);
    // SAFETY: neither is null.
    unsafe {
        *length = fits;
        *micros = c_longlong::try_from(at).unwrap_or(c_longlong::MAX);
    }
    0
}
