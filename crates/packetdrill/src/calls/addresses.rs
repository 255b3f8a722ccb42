//! Addresses in the layout of C.

use std::ffi::c_int;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use libc::{AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

use crate::machine::Errno;

/// # Safety
/// `address` is null or has `length` bytes to read.
pub(super) unsafe fn address_from(
    address: *const sockaddr,
    length: socklen_t,
) -> Result<SocketAddr, Errno> {
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
