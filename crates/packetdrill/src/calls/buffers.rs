//! The caller's memory, to read from and to write to.

use std::ffi::c_void;

use libc::{iovec, size_t, socklen_t};

/// Copies `bytes` to where C wants them, as many as fit, and says how many there are.
///
/// # Safety
/// `into` is null or has `*length` bytes to write; `length` is null or may be read and written.
pub(super) unsafe fn give(bytes: &[u8], into: *mut c_void, length: *mut socklen_t) {
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

/// # Safety
/// `buffer` is null or has `length` bytes to write.
pub(super) unsafe fn writable<'a>(buffer: *mut c_void, length: size_t) -> &'a mut [u8] {
    if buffer.is_null() || length == 0 {
        return &mut [];
    }
    // SAFETY: the caller says so.
    unsafe { std::slice::from_raw_parts_mut(buffer.cast(), length) }
}

/// # Safety
/// `buffer` is null or has `length` bytes to read.
pub(super) unsafe fn readable<'a>(buffer: *const c_void, length: size_t) -> &'a [u8] {
    if buffer.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller says so.
    unsafe { std::slice::from_raw_parts(buffer.cast(), length) }
}

/// # Safety
/// `vector` is null or has `length` entries, each with a buffer of its length.
pub(super) unsafe fn vectors<'a>(vector: *const iovec, length: usize) -> &'a [iovec] {
    if vector.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller says so.
    unsafe { std::slice::from_raw_parts(vector, length) }
}
