// tidy: long because the table has 34 functions, each a few lines that read alike.

//! What stands in the table: each turns its pointers into what the adapter takes, and an error
//! into -1 and `errno`. The text of `Interface` says which call of libc each is like.

use std::ffi::{c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use libc::{
    AF_INET, AF_INET6, epoll_event, iovec, msghdr, nfds_t, off64_t, pollfd, size_t, sockaddr,
    sockaddr_in, sockaddr_in6, socklen_t, ssize_t, timeval,
};

use crate::adapter::{Adapter, Patience};
use crate::machine::{Attempt, Errno, Machine, Readiness};
use crate::table::{Interface, Userdata};

unsafe extern "C" {
    fn packhorse_variadic_fcntl(userdata: Userdata, fd: c_int, cmd: c_int, ...) -> c_int;
    fn packhorse_variadic_ioctl(userdata: Userdata, fd: c_int, request: c_ulong, ...) -> c_int;
}

/// The table for a host.
pub(crate) fn interface(userdata: Userdata) -> Interface {
    Interface {
        userdata,
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read,
        readv,
        recv,
        recvfrom,
        recvmsg,
        write,
        writev,
        send,
        sendto,
        sendmsg,
        fcntl: packhorse_variadic_fcntl,
        ioctl: packhorse_variadic_ioctl,
        close,
        shutdown,
        getsockopt,
        setsockopt,
        poll,
        netdev_send,
        netdev_receive,
        usleep,
        gettimeofday,
        epoll_create,
        epoll_ctl,
        epoll_wait,
        pipe,
        splice,
    }
}

/// The adapter behind a table.
///
/// # Safety
/// `userdata` comes from `packetdrill_interface_init`, and `free` was not called.
pub(crate) unsafe fn adapter<'a>(userdata: Userdata) -> &'a Adapter {
    // SAFETY: it was a box of an adapter, which lives until `free`.
    unsafe { &*userdata.cast::<Adapter>() }
}

/// An outcome as C has it.
fn answer<T: From<i8>>(outcome: Result<T, Errno>) -> T {
    outcome.unwrap_or_else(|Errno(number)| {
        // SAFETY: the address is that of this thread's `errno`.
        unsafe { *libc::__errno_location() = number };
        T::from(-1)
    })
}

fn count(bytes: usize) -> ssize_t {
    ssize_t::try_from(bytes).unwrap_or(ssize_t::MAX)
}

/// # Safety
/// `address` is null or has `length` bytes to read.
unsafe fn address_from(address: *const sockaddr, length: socklen_t) -> Result<SocketAddr, Errno> {
    let length = length as usize;
    if address.is_null() || length < size_of::<sockaddr_in>() {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: there are as many bytes as a `sockaddr_in` has, and more where the family says so;
    // they need not be aligned.
    unsafe {
        match c_int::from(address.cast::<sockaddr_in>().read_unaligned().sin_family) {
            AF_INET => {
                let v4 = address.cast::<sockaddr_in>().read_unaligned();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Ok(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
            }
            AF_INET6 if length >= size_of::<sockaddr_in6>() => {
                let v6 = address.cast::<sockaddr_in6>().read_unaligned();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Ok(SocketAddr::from((ip, u16::from_be(v6.sin6_port))))
            }
            _ => Err(Errno(libc::EAFNOSUPPORT)),
        }
    }
}

/// An address in the layout of its family.
pub(crate) fn address_bytes(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend((AF_INET as u16).to_ne_bytes());
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.resize(size_of::<sockaddr_in>(), 0);
        }
        SocketAddr::V6(v6) => {
            bytes.extend((AF_INET6 as u16).to_ne_bytes());
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(v6.ip().octets());
            bytes.resize(size_of::<sockaddr_in6>(), 0);
        }
    }
    bytes
}

/// Copies `bytes` to where C wants them, as many as fit, and says how many there are.
///
/// # Safety
/// `into` is null or has `*length` bytes to write; `length` is null or may be read and written.
unsafe fn give(bytes: &[u8], into: *mut c_void, length: *mut socklen_t) {
    if into.is_null() || length.is_null() {
        return;
    }
    // SAFETY: no more is written than the caller says there is room for.
    unsafe {
        let fits = bytes.len().min(*length as usize);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), into.cast(), fits);
        *length = socklen_t::try_from(bytes.len()).unwrap_or(socklen_t::MAX);
    }
}

unsafe extern "C" fn free(userdata: Userdata) {
    // SAFETY: the box of `packetdrill_interface_init`, which C lets go of only once.
    drop(unsafe { Box::from_raw(userdata.cast::<Adapter>()) });
}

unsafe extern "C" fn socket(
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

unsafe extern "C" fn bind(
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

unsafe extern "C" fn listen(userdata: Userdata, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    let backlog = usize::try_from(backlog).unwrap_or(1);
    answer(adapter.at_once(|machine| machine.listen(fd, backlog).map(|()| 0)))
}

unsafe extern "C" fn accept(
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

unsafe extern "C" fn connect(
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

/// How long a call on `fd` waits.
fn waits(adapter: &Adapter, fd: c_int, flags: c_int) -> Result<Patience, Errno> {
    let is_nonblocking = adapter.at_once(|machine| machine.is_nonblocking(fd))?;
    Ok(if is_nonblocking || flags & libc::MSG_DONTWAIT != 0 {
        Patience::None
    } else {
        Patience::Forever
    })
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

/// # Safety
/// `buffer` is null or has `length` bytes to write.
unsafe fn writable<'a>(buffer: *mut c_void, length: size_t) -> &'a mut [u8] {
    if buffer.is_null() || length == 0 {
        return &mut [];
    }
    // SAFETY: the caller says so.
    unsafe { std::slice::from_raw_parts_mut(buffer.cast(), length) }
}

/// # Safety
/// `buffer` is null or has `length` bytes to read.
unsafe fn readable<'a>(buffer: *const c_void, length: size_t) -> &'a [u8] {
    if buffer.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller says so.
    unsafe { std::slice::from_raw_parts(buffer.cast(), length) }
}

/// # Safety
/// `vector` is null or has `length` entries, each with a buffer of its length.
unsafe fn vectors<'a>(vector: *const iovec, length: usize) -> &'a [iovec] {
    if vector.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller says so.
    unsafe { std::slice::from_raw_parts(vector, length) }
}

unsafe extern "C" fn read(
    userdata: Userdata,
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
) -> ssize_t {
    // SAFETY: as read(2) has it.
    unsafe { recv(userdata, fd, buffer, length, 0) }
}

unsafe extern "C" fn recv(
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

unsafe extern "C" fn recvfrom(
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

unsafe extern "C" fn readv(
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

unsafe extern "C" fn recvmsg(
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

unsafe extern "C" fn write(
    userdata: Userdata,
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
) -> ssize_t {
    // SAFETY: as write(2) has it.
    unsafe { send(userdata, fd, buffer, length, 0) }
}

unsafe extern "C" fn send(
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

unsafe extern "C" fn sendto(
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

unsafe extern "C" fn writev(
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

unsafe extern "C" fn sendmsg(
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

unsafe extern "C" fn close(userdata: Userdata, fd: c_int) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    answer(adapter.at_once(|machine| machine.close(fd).map(|()| 0)))
}

unsafe extern "C" fn shutdown(userdata: Userdata, fd: c_int, how: c_int) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    answer(adapter.at_once(|machine| machine.shutdown(fd, how).map(|()| 0)))
}

unsafe extern "C" fn getsockopt(
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

unsafe extern "C" fn setsockopt(
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

unsafe extern "C" fn poll(
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

unsafe extern "C" fn netdev_send(
    userdata: Userdata,
    buffer: *const c_void,
    length: size_t,
) -> c_int {
    // SAFETY: packetdrill passes a packet of that length.
    let (adapter, packet) = unsafe { (adapter(userdata), readable(buffer, length)) };
    adapter.at_once(|machine| machine.handle_packet(packet));
    0
}

unsafe extern "C" fn netdev_receive(
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

unsafe extern "C" fn usleep(userdata: Userdata, micros: c_uint) -> c_int {
    // SAFETY: packetdrill passes what it got.
    let adapter = unsafe { adapter(userdata) };
    adapter.sleep(Duration::from_micros(micros.into()));
    0
}

unsafe extern "C" fn gettimeofday(
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

/// Sockets here are no files of the process, which an epoll instance or a pipe would have to be.
fn unsupported() -> c_int {
    answer(Err(Errno(libc::ENOSYS)))
}

unsafe extern "C" fn epoll_create(_userdata: Userdata, _size: c_int) -> c_int {
    unsupported()
}

unsafe extern "C" fn epoll_ctl(
    _userdata: Userdata,
    _epfd: c_int,
    _op: c_int,
    _fd: c_int,
    _event: *mut epoll_event,
) -> c_int {
    unsupported()
}

unsafe extern "C" fn epoll_wait(
    _userdata: Userdata,
    _epfd: c_int,
    _events: *mut epoll_event,
    _most: c_int,
    _millis: c_int,
) -> c_int {
    unsupported()
}

unsafe extern "C" fn pipe(_userdata: Userdata, _ends: *mut c_int) -> c_int {
    unsupported()
}

unsafe extern "C" fn splice(
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
